//! What a version is made from: gone, changed, malformed or of another kind than its definition.

use domain::{ProvisioningState, ResourceId};
use serde_json::{Value, json};

use super::world::{World, definition_body, noise, poll_times, version_body, vhd};
use tokio_util::sync::CancellationToken;

const BYTES: usize = 128 << 10;

async fn failed(world: &World, body: &Value) -> domain::Error {
    let version = world.version("1.0.0");
    let started_ms = world.clock.now_ms();
    let error = world.make(&version, body).await.expect_err("it must fail");
    let row = world.engine.get(&world.ctx, &version).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Failed, "{error}");
    assert_eq!(
        world.clock.now_ms(),
        started_ms,
        "what cannot succeed is not tried again: {error}"
    );
    assert_eq!(world.replicas(&version).await, [], "{error}");
    error
}

/// Replaces bytes of a VHD's footer and, when asked, makes its checksum right again.
fn with_footer(disk: &[u8], at: usize, bytes: &[u8], is_summed: bool) -> Vec<u8> {
    let mut all = vhd(disk);
    let footer = disk.len();
    all[footer + at..footer + at + bytes.len()].copy_from_slice(bytes);
    if is_summed {
        all[footer + 64..footer + 68].fill(0);
        let sum: u32 = all[footer..].iter().map(|b| u32::from(*b)).sum();
        all[footer + 64..footer + 68].copy_from_slice(&(!sum).to_be_bytes());
    }
    all
}

fn dynamic(disk: &[u8]) -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    disk::vhd::write_dynamic(&disk::memory::Memory(disk.to_vec()), &file).unwrap();
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
    bytes
}

#[tokio::test]
async fn a_blob_that_is_no_fixed_vhd_fails_with_the_reason_and_the_advice() {
    let disk = noise(BYTES, 1);
    let good = vhd(&disk);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), "shorter than a VHD footer"),
        (
            "footer",
            good[disk.len()..].to_vec(),
            "shorter than a VHD footer",
        ),
        (
            "truncated",
            good[..disk.len()].to_vec(),
            "cookie 'conectix' is missing",
        ),
        (
            "half",
            good[..BYTES / 2].to_vec(),
            "cookie 'conectix' is missing",
        ),
        (
            "cookie",
            with_footer(&disk, 0, b"connectix", false),
            "cookie 'conectix' is missing",
        ),
        (
            "sum",
            with_footer(&disk, 28, b"tool", false),
            "checksum is wrong",
        ),
        ("dynamic", dynamic(&disk), "dynamic VHD"),
        (
            "odd",
            [&good[..], &[0]].concat(),
            "cookie 'conectix' is missing",
        ),
        (
            "size",
            with_footer(&disk, 48, &(1_u64 << 30).to_be_bytes(), true),
            "the footer says 1073741824 bytes, the file holds 131072 bytes",
        ),
    ];
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    for (name, bytes, reason) in cases {
        let uri = world.blob(&account, name, &bytes).await;
        let error = failed(&world, &version_body(&uri, &["eastus"])).await;
        assert_eq!(error.code, "InvalidParameter", "{name}: {error}");
        let shown = format!("The blob '{uri}' is not a fixed VHD: ");
        assert!(error.message.starts_with(&shown), "{name}: {error}");
        assert!(error.message.contains(reason), "{name}: {error}");
        assert!(
            error.message.contains("Upload a fixed VHD"),
            "{name}: {error}"
        );
        let target = "galleryImageVersion.properties.storageProfile.osDiskImage.source.uri";
        assert_eq!(error.target.as_deref(), Some(target), "{name}");
    }
    // The same version takes the good source after all that.
    let uri = world.blob(&account, "good", &good).await;
    let version = world.version("1.0.0");
    world
        .make(&version, &version_body(&uri, &["eastus"]))
        .await
        .unwrap();
    assert!(world.content(&version, "eastus", BYTES).await.unwrap() == disk);
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_source_that_is_gone_before_its_capture_fails_the_version_and_names_it() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    let disk = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let uri = world.blob(&account, "source", &vhd(&noise(BYTES, 2))).await;
    let version = world.version("1.0.0");
    world
        .put(&version, &version_body(&disk, &["eastus"]))
        .await
        .unwrap();
    let of_disk = world
        .put(&version, &version_body(&disk, &["eastus"]))
        .await
        .unwrap();
    // The disk's delete is later, but nothing holds it up: do it before the version's work.
    let stop = CancellationToken::new();
    hold_and_remove(&world, &disk).await;
    while world.engine.work_once("late", &stop).await.unwrap() {}
    let error = world
        .operation(&of_disk.operation.unwrap())
        .await
        .error
        .unwrap();
    let text = format!("Source was not found: {disk}. Please make sure the source exists.");
    assert_eq!((error.code.as_ref(), &error.message), ("NotFound", &text));
    let row = world.engine.get(&world.ctx, &version).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Failed);

    let of_blob = world
        .put(&version, &version_body(&uri, &["eastus"]))
        .await
        .unwrap();
    world.delete_blob(&account, "source").await;
    world.settle().await;
    let error = world
        .operation(&of_blob.operation.unwrap())
        .await
        .error
        .unwrap();
    assert_eq!(error.code, "NotFound");
    assert!(
        error
            .message
            .starts_with(&format!("Source was not found: {uri}.")),
        "{error}"
    );
}

/// Removes a disk while every version's operation is held by a worker that is dead.
async fn hold_and_remove(world: &World, disk: &ResourceId) {
    let mut held = Vec::new();
    world.delete(disk).await.unwrap();
    loop {
        let mut tx = world.engine.catalog().write().await.unwrap();
        let now_ms = world.clock.now_ms();
        let claimed = tx
            .claim_operation("dead", now_ms, 1)
            .await
            .unwrap()
            .unwrap();
        if claimed.resource == *disk {
            drop(tx);
            break;
        }
        tx.commit().await.unwrap();
        held.push(claimed);
    }
    let stop = CancellationToken::new();
    assert!(world.engine.work_once("now", &stop).await.unwrap());
    assert!(world.replicas(disk).await.is_empty(), "the disk is gone");
    world.clock.advance_ms(1);
}

#[tokio::test]
async fn a_source_that_changes_or_goes_after_its_capture_does_not_matter() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let disk = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    world
        .put(&version, &version_body(&disk, &["eastus", "westus2"]))
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let mut work = Box::pin(world.engine.work_once("stops", &stop));
    while world.replicas(&version).await.is_empty() {
        assert!(
            poll_times(work.as_mut(), 1).await.is_none(),
            "it stops midway"
        );
    }
    drop(work);
    world.write_disk(&disk, &noise(BYTES, 2)).await;
    world.delete(&disk).await.unwrap();
    world.settle().await;
    for region in ["eastus", "westus2"] {
        let content = world.content(&version, region, BYTES).await.unwrap();
        assert!(content == noise(BYTES, 1), "{region}");
    }
    world.nothing_is_orphaned().await;
}

/// Makes a version of a disk with `disk` words in a definition with `definition` words.
async fn mismatch(disk: Value, definition: Value) -> (World, ResourceId, domain::Error) {
    let world = World::new().await;
    let here = json!({ "location": "eastus" });
    world.make(&world.id("galleries/sig"), &here).await.unwrap();
    let id = world.id("galleries/sig/images/debian");
    world
        .make(&id, &definition_body("debian", definition))
        .await
        .unwrap();
    let source = world
        .disk_like("source", "eastus", disk, &noise(4096, 1))
        .await;
    let error = failed(&world, &version_body(&source, &["eastus"])).await;
    assert_eq!(error.code, "Conflict", "{error}");
    (world, source, error)
}

#[tokio::test]
async fn a_disk_that_does_not_fit_its_definition_fails_at_once_with_the_services_words() {
    let standard = json!([{ "name": "SecurityType", "value": "Standard" }]);
    let cases = [
        (
            json!({ "hyperVGeneration": "V2" }),
            json!({ "hyperVGeneration": "V1", "features": standard }),
            "The resource with id '{src}' has a different Hypervisor generation ['V2'] than the parent gallery image \
             Hypervisor generation ['V1'].",
        ),
        (
            json!({ "osType": "Windows" }),
            json!({}),
            "The resource with id '{src}' has a different OS type ['Windows'] than the parent gallery image OS type generation \
             ['Linux']",
        ),
        (
            json!({ "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } }),
            json!({}),
            "The resource with id '{src}' has a different plan \
             ['{\"name\":\"n\",\"publisher\":\"p\",\"product\":\"q\",\"promotionCode\":null}'] than the parent gallery image plan ['null']",
        ),
        (
            json!({ "supportedCapabilities": { "architecture": "Arm64" } }),
            json!({ "architecture": "x64" }),
            "The resource with id '{src}' has a different Architecture ['Arm64'] than the parent gallery image Architecture \
             ['x64'].",
        ),
    ];
    for (disk, definition, text) in cases {
        let (_world, source, error) = mismatch(disk, definition).await;
        assert_eq!(error.message, text.replace("{src}", &source.to_string()));
    }
}

#[tokio::test]
async fn a_version_of_another_kind_of_definition_does_not_fit() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let windows = json!({ "osType": "Windows", "osState": "Specialized" });
    world.definition("windows", windows).await;
    let disk = world.disk("source", "eastus", &noise(4096, 1)).await;
    let other = world.id("galleries/sig/images/windows/versions/1.0.0");
    world
        .make(&other, &version_body(&disk, &["eastus"]))
        .await
        .unwrap();
    let error = failed(&world, &version_body(&other, &["eastus"])).await;
    let text = format!(
        "The resource with id '{other}' has a different OS type ['Windows'] than the parent gallery image OS type generation \
         ['Linux']"
    );
    assert_eq!((error.code.as_ref(), error.message), ("Conflict", text));
}

#[tokio::test]
async fn a_version_is_made_from_one_in_another_gallery_and_lives_without_it() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let here = json!({ "location": "eastus" });
    world
        .make(&world.id("galleries/golden"), &here)
        .await
        .unwrap();
    let definition = world.id("galleries/golden/images/base");
    world
        .make(&definition, &definition_body("base", json!({})))
        .await
        .unwrap();
    let disk = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let golden = world.id("galleries/golden/images/base/versions/7.0.0");
    world
        .make(&golden, &version_body(&disk, &["eastus"]))
        .await
        .unwrap();

    let version = world.version("1.0.0");
    let body = version_body(&golden, &["eastus", "westus2"]);
    let made = world.make(&version, &body).await.unwrap();
    assert_eq!(
        made.properties["storageProfile"]["osDiskImage"]["sizeInGB"],
        1
    );
    world.remove(&golden).await;
    world.engine.sweep(0).await.unwrap();
    for region in ["eastus", "westus2"] {
        let content = world.content(&version, region, BYTES).await.unwrap();
        assert!(content == noise(BYTES, 1), "{region}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_captured_yet_cannot_be_a_source() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    let uri = world.blob(&account, "bad", &noise(4096, 1)).await;
    let empty = world.version("0.1.0");
    world
        .make(&empty, &version_body(&uri, &["eastus"]))
        .await
        .unwrap_err();
    let error = failed(&world, &version_body(&empty, &["eastus"])).await;
    let text = format!(
        "The source image '{empty}' is being used by another replication currently. Please retry after some time."
    );
    assert_eq!((error.code.as_ref(), error.message), ("Conflict", text));
}

#[tokio::test]
async fn a_shallow_version_pins_its_source_until_it_is_deleted() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let disk = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let mut body = version_body(&disk, &["eastus"]);
    body["properties"]["publishingProfile"]["replicationMode"] = json!("Shallow");
    world.make(&version, &body).await.unwrap();
    let refused = world.delete(&disk).await.err().unwrap();
    assert_eq!(refused.code, "OperationNotAllowed");
    assert!(refused.message.contains(&version.key()), "{refused}");
    assert!(
        refused.message.contains("Delete that version first"),
        "{refused}"
    );
    world.remove(&version).await;
    world.delete(&disk).await.unwrap();
    world.settle().await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn data_disks_are_kept_by_their_numbers() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let os = world.disk("os", "eastus", &noise(BYTES, 1)).await;
    let mut body = version_body(&os, &["eastus", "westeurope"]);
    let mut images = Vec::new();
    for (lun, seed) in [(3, 30), (0, 40)] {
        let disk = world
            .disk(&format!("data{lun}"), "eastus", &noise(BYTES, seed))
            .await;
        images.push(json!({ "lun": lun, "source": { "id": disk.to_string() } }));
    }
    body["properties"]["storageProfile"]["dataDiskImages"] = json!(images);
    let version = world.version("1.0.0");
    world.make(&version, &body).await.unwrap();
    for (lun, seed) in [(None, 1), (Some(3), 30), (Some(0), 40)] {
        let disk = world.id(&format!("disks/out{}", lun.unwrap_or(9)));
        let mut reference = json!({ "id": version.to_string() });
        if let Some(lun) = lun {
            reference["lun"] = json!(lun);
        }
        let creation = json!({ "createOption": "FromImage", "galleryImageReference": reference });
        let body = json!({ "location": "westeurope", "properties": { "creationData": creation } });
        world.make(&disk, &body).await.unwrap();
        assert!(
            world.read_disk(&disk, BYTES).await == noise(BYTES, seed),
            "{lun:?}"
        );
    }
    let reference = json!({ "id": version.to_string(), "lun": 1 });
    let creation = json!({ "createOption": "FromImage", "galleryImageReference": reference });
    let body = json!({ "location": "westeurope", "properties": { "creationData": creation } });
    let refused = world
        .put(&world.id("disks/none"), &body)
        .await
        .err()
        .unwrap();
    assert_eq!(
        refused.target.as_deref(),
        Some("imageReference"),
        "{refused}"
    );
    world.nothing_is_orphaned().await;
}
