//! Snapshots, managed images and disk encryption sets over plain HTTP, and versions made from them.

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const IMAGE_VERSION: &str = "2024-07-01";
const MIB: usize = 1 << 20;

/// Returns the id of a resource of the scene's group.
fn compute(scene: &Scene, tail: &str) -> String {
    format!("{}/providers/Microsoft.Compute/{tail}", scene.group)
}

fn from(location: &str, creation: &Value) -> Value {
    json!({ "location": location, "properties": { "creationData": creation } })
}

fn copy(source: &str) -> Value {
    json!({ "createOption": "Copy", "sourceResourceId": source })
}

/// Makes a snapshot or disk in eastus; returns what GET shows.
async fn make(scene: &Scene, id: &str, creation: &Value) -> Value {
    let body = from("eastus", creation);
    scene.arm.done("PUT", id, DISK_VERSION, Some(&body)).await
}

/// Reads all of a disk or snapshot through a URL, the VHD footer left out.
async fn bytes(scene: &Scene, id: &str) -> Vec<u8> {
    let url = scene.access(id, "Read").await;
    let request = scene
        .arm
        .http()
        .get(&url)
        .header("x-ms-version", "2021-12-02");
    let answer = request.send().await.expect("the URL answers");
    assert_eq!(answer.status(), 200, "{:?}", answer.headers());
    let mut bytes = answer.bytes().await.expect("the bytes come").to_vec();
    let end = format!("{id}/endGetAccess");
    scene.arm.done("POST", &end, DISK_VERSION, None).await;
    bytes.truncate(bytes.len() - 512);
    bytes
}

fn refused(answer: &Answer, status: u16, code: &str, text: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code), "{}", answer.body);
    assert!(answer.message().contains(text), "{}", answer.body);
}

/// Sends a write whose operation must fail; returns the code and the message.
async fn fails(scene: &Scene, id: &str, version: &str, body: &Value) -> (String, String) {
    let (answer, status) = scene.arm.over("PUT", id, version, Some(body)).await;
    let status = status.unwrap_or_else(|| panic!("refused at once: {}", answer.body));
    assert_eq!(status["status"], "Failed", "{status}");
    let text = |name: &str| {
        status["error"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("code"), text("message"))
}

#[tokio::test]
async fn a_snapshot_keeps_the_bytes_of_its_disk_and_a_disk_gets_them_back() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let original = random_disk(24 * MIB, 7);
    let disk = scene.upload("source", &original).await;
    let snapshot = compute(&scene, "snapshots/s1");
    let answer = scene
        .arm
        .send(
            "PUT",
            &snapshot,
            DISK_VERSION,
            Some(&from("eastus", &copy(&disk))),
        )
        .await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.body["properties"]["provisioningState"], "Updating");
    let url = answer.header("location").expect("a Location").to_owned();
    let shown = scene.arm.monitor(&url).await.body;
    assert_eq!(
        shown["sku"],
        json!({ "name": "Standard_LRS", "tier": "Standard" })
    );
    let properties = &shown["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded", "{shown}");
    assert_eq!(properties["diskSizeBytes"], 24 * MIB);
    assert_eq!(properties["incremental"], false);
    let source = scene.arm.send("GET", &disk, DISK_VERSION, None).await.body;
    assert_eq!(
        properties["creationData"]["sourceUniqueId"],
        source["properties"]["uniqueId"]
    );

    scene.arm.done("DELETE", &disk, DISK_VERSION, None).await;
    assert!(
        bytes(&scene, &snapshot).await == original,
        "the snapshot's bytes"
    );
    let terraform = json!({ "createOption": "Copy", "sourceUri": snapshot });
    let second = compute(&scene, "snapshots/s2");
    make(&scene, &second, &terraform).await;
    scene
        .arm
        .done("DELETE", &snapshot, DISK_VERSION, None)
        .await;
    let restored = scene.disk("restored");
    make(
        &scene,
        &restored,
        &json!({ "createOption": "Restore", "sourceResourceId": second }),
    )
    .await;
    assert!(
        bytes(&scene, &restored).await == original,
        "the disk's bytes"
    );

    let list = compute(&scene, "snapshots");
    let list = scene.arm.send("GET", &list, DISK_VERSION, None).await.body;
    assert_eq!(list["value"].as_array().map(Vec::len), Some(1), "{list}");
    let missing = scene
        .arm
        .send(
            "PUT",
            &snapshot,
            DISK_VERSION,
            Some(&from("eastus", &copy(&disk))),
        )
        .await;
    refused(&missing, 404, "NotFound", "Resource source is not found.");
    let far = scene
        .arm
        .send(
            "PUT",
            &snapshot,
            DISK_VERSION,
            Some(&from("westus2", &copy(&second))),
        )
        .await;
    refused(
        &far,
        400,
        "BadRequest",
        "does not belong to the same region as the snapshot",
    );
}

#[tokio::test]
async fn snapshots_grow_and_are_opened_by_one_url_at_a_time() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let original = random_disk(2 * MIB, 8);
    let disk = scene.upload("source", &original).await;
    let snapshot = compute(&scene, "snapshots/s");
    let mut body = from("eastus", &copy(&disk));
    body["properties"]["diskSizeGB"] = json!(1);
    let made = scene
        .arm
        .done("PUT", &snapshot, DISK_VERSION, Some(&body))
        .await;
    assert_eq!(made["properties"]["diskSizeBytes"], 1 << 30);
    let url = scene.access(&snapshot, "Read").await;
    let shown = scene
        .arm
        .send("GET", &snapshot, DISK_VERSION, None)
        .await
        .body;
    assert_eq!(shown["properties"]["diskState"], "ActiveSAS");
    let request = scene
        .arm
        .http()
        .get(&url)
        .header("x-ms-version", "2021-12-02");
    let head = request
        .header("x-ms-range", format!("bytes=0-{}", 2 * MIB - 1))
        .send()
        .await;
    let head = head
        .expect("the URL answers")
        .bytes()
        .await
        .expect("the bytes come");
    assert!(head == original, "the grown snapshot's bytes");
    let held = scene
        .arm
        .send("DELETE", &snapshot, DISK_VERSION, None)
        .await;
    refused(
        &held,
        409,
        "OperationNotAllowed",
        "outstanding for snapshot s",
    );
    let access = json!({ "access": "Write", "durationInSeconds": 60 });
    let write = scene
        .arm
        .send(
            "POST",
            &format!("{snapshot}/beginGetAccess"),
            DISK_VERSION,
            Some(&access),
        )
        .await;
    refused(
        &write,
        409,
        "OperationNotAllowed",
        "Only a snapshot with createOption 'Upload'",
    );
    scene
        .arm
        .done(
            "POST",
            &format!("{snapshot}/endGetAccess"),
            DISK_VERSION,
            None,
        )
        .await;
    let gone = scene
        .arm
        .http()
        .get(&url)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(gone.status(), 403);

    for (gib, is_good) in [(1, true), (3, true), (2, false)] {
        let size = json!({ "properties": { "diskSizeGB": gib } });
        let (answer, status) = scene
            .arm
            .over("PATCH", &snapshot, DISK_VERSION, Some(&size))
            .await;
        assert_eq!(answer.status < 300, is_good, "{gib}: {}", answer.body);
        assert!(status.is_none_or(|s| s["status"] == "Succeeded"), "{gib}");
    }
    let shown = scene
        .arm
        .send("GET", &snapshot, DISK_VERSION, None)
        .await
        .body;
    assert_eq!(shown["properties"]["diskSizeBytes"], 3_u64 << 30, "{shown}");
}

#[tokio::test]
async fn incremental_snapshots_go_to_other_regions_and_uploads_become_immutable() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let original = random_disk(4 * MIB, 9);
    let disk = scene.upload("source", &original).await;
    let near = compute(&scene, "snapshots/near");
    let mut body = from("eastus", &copy(&disk));
    body["properties"]["incremental"] = json!(true);
    let made = scene
        .arm
        .done("PUT", &near, DISK_VERSION, Some(&body))
        .await;
    let family = &made["properties"]["incrementalSnapshotFamilyId"];
    assert!(family.is_string(), "{made}");
    let far = compute(&scene, "snapshots/far");
    let mut body = from(
        "westus2",
        &json!({ "createOption": "CopyStart", "sourceResourceId": near }),
    );
    body["properties"]["incremental"] = json!(true);
    let moved = scene.arm.done("PUT", &far, DISK_VERSION, Some(&body)).await;
    assert_eq!(moved["properties"]["completionPercent"], 100.0, "{moved}");
    assert_eq!(&moved["properties"]["incrementalSnapshotFamilyId"], family);
    assert!(bytes(&scene, &far).await == original, "the far bytes");

    let upload = compute(&scene, "snapshots/upload");
    let creation = json!({ "createOption": "Upload", "uploadSizeBytes": MIB + 512 });
    let made = make(&scene, &upload, &creation).await;
    assert_eq!(made["properties"]["diskState"], "ReadyToUpload", "{made}");
    let early = scene
        .arm
        .send(
            "PUT",
            &scene.disk("early"),
            DISK_VERSION,
            Some(&from("eastus", &copy(&upload))),
        )
        .await;
    refused(&early, 409, "OperationNotAllowed", "has no content yet");
    let url = scene.access(&upload, "Write").await;
    let page = random_disk(MIB, 10);
    let put = scene.arm.http().put(format!("{url}&comp=page"));
    let put = put
        .header("x-ms-version", "2021-12-02")
        .header("x-ms-page-write", "update");
    let put = put
        .header("x-ms-range", format!("bytes=0-{}", MIB - 1))
        .body(page.clone());
    assert_eq!(put.send().await.expect("the URL answers").status(), 201);
    scene
        .arm
        .done(
            "POST",
            &format!("{upload}/endGetAccess"),
            DISK_VERSION,
            None,
        )
        .await;
    assert!(bytes(&scene, &upload).await == page, "the uploaded bytes");
}

/// Returns the body of a version from an OS source and data sources.
fn version(os: &str, data: &[(i64, &str)], mode: &str) -> Value {
    let data: Vec<Value> = data
        .iter()
        .map(|(lun, id)| json!({ "lun": lun, "source": { "id": id } }))
        .collect();
    json!({ "location": "eastus", "properties": {
        "publishingProfile": { "targetRegions": [{ "name": "eastus" }], "replicationMode": mode },
        "storageProfile": { "osDiskImage": { "source": { "id": os } }, "dataDiskImages": data } } })
}

#[tokio::test]
async fn versions_are_made_from_snapshots_and_disks_per_number() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let (os, data) = (random_disk(4 * MIB, 1), random_disk(2 * MIB, 2));
    let os_disk = scene.upload("os", &os).await;
    let data_disk = scene.upload("data", &data).await;
    let snapshots = ["snapshots/os", "snapshots/data"].map(|name| compute(&scene, name));
    make(&scene, &snapshots[0], &copy(&os_disk)).await;
    make(&scene, &snapshots[1], &copy(&data_disk)).await;
    let full = version(
        &snapshots[0],
        &[(0, &snapshots[1]), (7, &data_disk)],
        "Full",
    );
    let one = scene.version("1.0.0");
    let made = scene
        .arm
        .done("PUT", &one, GALLERY_VERSION, Some(&full))
        .await;
    assert_eq!(
        made["properties"]["storageProfile"]["dataDiskImages"][1]["lun"], 7,
        "{made}"
    );
    let shallow = version(&snapshots[0], &[], "Shallow");
    let two = scene.version("2.0.0");
    scene
        .arm
        .done("PUT", &two, GALLERY_VERSION, Some(&shallow))
        .await;

    let pinned = scene
        .arm
        .send("DELETE", &snapshots[0], DISK_VERSION, None)
        .await;
    refused(
        &pinned,
        409,
        "OperationNotAllowed",
        "is the source of the shallow image version",
    );
    scene
        .arm
        .done("DELETE", &snapshots[1], DISK_VERSION, None)
        .await;
    scene
        .arm
        .done("DELETE", &data_disk, DISK_VERSION, None)
        .await;
    scene.arm.done("DELETE", &two, GALLERY_VERSION, None).await;
    scene
        .arm
        .done("DELETE", &snapshots[0], DISK_VERSION, None)
        .await;
    for (lun, expected) in [(None, &os), (Some(0), &data), (Some(7), &data)] {
        let disk = scene.disk("back");
        let mut reference = json!({ "id": one });
        if let Some(lun) = lun {
            reference["lun"] = json!(lun);
        }
        make(
            &scene,
            &disk,
            &json!({ "createOption": "FromImage", "galleryImageReference": reference }),
        )
        .await;
        assert!(bytes(&scene, &disk).await == *expected, "{lun:?}");
        scene.arm.done("DELETE", &disk, DISK_VERSION, None).await;
    }
}

#[tokio::test]
async fn sources_that_do_not_fit_are_refused_in_the_services_words() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let snapshot = async |name: &str, location: &str, extra: Value| {
        let id = compute(&scene, &format!("snapshots/{name}"));
        let mut properties =
            json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 });
        for (name, value) in extra.as_object().expect("members") {
            properties[name] = value.clone();
        }
        let body = json!({ "location": location, "properties": properties });
        scene.arm.done("PUT", &id, DISK_VERSION, Some(&body)).await;
        id
    };
    let mut number = 0;
    for (name, extra, text) in [
        (
            "generation",
            json!({ "hyperVGeneration": "V1" }),
            "has a different Hypervisor generation ['V1'] than the parent gallery image Hypervisor generation ['V2'].",
        ),
        (
            "system",
            json!({ "osType": "Windows" }),
            "has a different OS type ['Windows'] than the parent gallery image OS type generation ['Linux']",
        ),
        (
            "architecture",
            json!({ "supportedCapabilities": { "architecture": "Arm64" } }),
            "has a different Architecture ['Arm64']",
        ),
        (
            "controller",
            json!({ "supportedCapabilities": { "diskControllerTypes": "NVMe" } }),
            "has a different Disk controller type ['NVMe']",
        ),
        (
            "plan",
            json!({ "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } }),
            "has a different plan [",
        ),
        (
            "security",
            json!({ "hyperVGeneration": "V2", "securityProfile": { "securityType": "TrustedLaunch" } }),
            "has a different Security type ['TrustedLaunch']",
        ),
    ] {
        let id = snapshot(name, "eastus", extra).await;
        number += 1;
        let target = scene.version(&format!("1.0.{number}"));
        let (code, message) =
            fails(&scene, &target, GALLERY_VERSION, &version(&id, &[], "Full")).await;
        assert_eq!(code, "Conflict", "{message}");
        assert!(message.contains(text), "{message}");
        assert!(message.contains(&id), "{message}");
    }
    let good = snapshot("good", "eastus", json!({})).await;
    let far = snapshot("far", "westus2", json!({})).await;
    let gone = compute(&scene, "snapshots/gone");
    let target = scene.version("2.0.0");
    for (body, status, code, text) in [
        (
            version(&far, &[], "Full"),
            404,
            "NotFound",
            "is not found. Please check source exists, and is in the same region as gallery image version being created.",
        ),
        (
            version(&gone, &[], "Full"),
            404,
            "NotFound",
            "Source was not found: ",
        ),
        (
            version(&good, &[(0, &good)], "Full"),
            400,
            "InvalidParameter",
            "Duplicated source ids are found in the input disks.",
        ),
        (
            version(&scene.gallery, &[], "Full"),
            400,
            "InvalidParameter",
            "must be a managed disk or snapshot.",
        ),
    ] {
        let answer = scene
            .arm
            .send("PUT", &target, GALLERY_VERSION, Some(&body))
            .await;
        refused(&answer, status, code, text);
    }
    // A data disk only needs to be there: what system it holds does not matter.
    let windows = compute(&scene, "snapshots/system");
    scene
        .arm
        .done(
            "PUT",
            &target,
            GALLERY_VERSION,
            Some(&version(&good, &[(1, &windows)], "Full")),
        )
        .await;
}

#[tokio::test]
async fn a_managed_image_of_disks_becomes_a_version() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let (os, data) = (random_disk(4 * MIB, 3), random_disk(2 * MIB, 4));
    let os_disk = scene.upload("os", &os).await;
    let data_disk = scene.upload("data", &data).await;
    let snapshot = compute(&scene, "snapshots/data");
    make(&scene, &snapshot, &copy(&data_disk)).await;
    let image = compute(&scene, "images/golden");
    let body = json!({ "location": "eastus", "properties": { "hyperVGeneration": "V2", "storageProfile": {
        "osDisk": { "osType": "Linux", "osState": "Generalized", "managedDisk": { "id": os_disk } },
        "dataDisks": [{ "lun": 2, "caching": "ReadOnly", "snapshot": { "id": snapshot } }] } } });
    let answer = scene
        .arm
        .send("PUT", &image, IMAGE_VERSION, Some(&body))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["properties"]["provisioningState"], "Creating");
    let poll = answer
        .header("azure-asyncoperation")
        .expect("a URL to poll")
        .to_owned();
    assert!(poll.contains("/locations/eastus/operations/"), "{poll}");
    assert_eq!(scene.arm.poll(&poll).await["status"], "Succeeded");
    let shown = scene
        .arm
        .send("GET", &image, IMAGE_VERSION, None)
        .await
        .body;
    let profile = &shown["properties"]["storageProfile"];
    assert_eq!(
        (
            &profile["osDisk"]["diskSizeGB"],
            &profile["dataDisks"][0]["diskSizeGB"]
        ),
        (&json!(1), &json!(1)),
        "{shown}"
    );
    let again = scene
        .arm
        .over("PUT", &image, IMAGE_VERSION, Some(&shown))
        .await
        .0;
    assert_eq!(again.status, 200, "{}", again.body);
    let tagged = json!({ "tags": { "a": "b" } });
    assert_eq!(
        scene
            .arm
            .over("PATCH", &image, IMAGE_VERSION, Some(&tagged))
            .await
            .0
            .status,
        200
    );
    for id in [&os_disk, &data_disk, &snapshot] {
        scene.arm.done("DELETE", id, DISK_VERSION, None).await;
    }

    let new = json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "id": image } } } });
    let old = json!({ "location": "eastus", "properties": { "publishingProfile": { "source": { "managedImage": { "id": image } } } } });
    let made = scene
        .arm
        .done("PUT", &scene.version("1.0.0"), GALLERY_VERSION, Some(&new))
        .await;
    let disks = &made["properties"]["storageProfile"]["dataDiskImages"];
    assert_eq!(
        disks,
        &json!([{ "lun": 2, "sizeInGB": 1, "hostCaching": "ReadOnly" }]),
        "{made}"
    );
    let made = scene
        .arm
        .done("PUT", &scene.version("1.1.0"), "2018-06-01", Some(&old))
        .await;
    assert_eq!(
        made["properties"]["publishingProfile"]["source"]["managedImage"]["id"],
        json!(image),
        "{made}"
    );
    let deleted = scene
        .arm
        .over("DELETE", &image, IMAGE_VERSION, None)
        .await
        .0;
    assert_eq!(deleted.status, 202);
    for number in ["1.0.0", "1.1.0"] {
        assert!(
            scene
                .download(&scene.version(number), "eastus", "back")
                .await
                == os,
            "{number}"
        );
    }
    let list = scene
        .arm
        .send("GET", &compute(&scene, "images"), IMAGE_VERSION, None)
        .await
        .body;
    assert_eq!(list, json!({ "value": [] }));
}

#[tokio::test]
async fn managed_images_that_cannot_be_are_refused() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let image = compute(&scene, "images/i");
    let disk = scene.upload("os", &random_disk(MIB, 5)).await;
    let of = |location: &str, source: Value, generation: Option<&str>| {
        let mut os = json!({ "osType": "Linux", "osState": "Specialized" });
        for (name, value) in source.as_object().expect("members") {
            os[name] = value.clone();
        }
        let mut body =
            json!({ "location": location, "properties": { "storageProfile": { "osDisk": os } } });
        if let Some(generation) = generation {
            body["properties"]["hyperVGeneration"] = json!(generation);
        }
        body
    };
    let machine = json!({ "location": "eastus", "properties": { "sourceVirtualMachine": { "id": compute(&scene, "virtualMachines/vm1") } } });
    let blob = json!({ "blobUri": format!("{}/blob/nobody/c/b.vhd", server.endpoint()) });
    for (body, status, code, text) in [
        (
            of("eastus", blob.clone(), None),
            400,
            "InvalidParameter",
            "Required parameter 'hyperVGeneration' is missing (null).",
        ),
        (
            of("westus2", json!({ "managedDisk": { "id": disk } }), None),
            400,
            "BadRequest",
            "does not belong to the same region 'westus2' as the image.",
        ),
        (
            of(
                "eastus",
                json!({ "managedDisk": { "id": scene.disk("gone") } }),
                None,
            ),
            404,
            "NotFound",
            "Resource gone is not found.",
        ),
        (machine, 404, "NotFound", "Resource vm1 is not found."),
    ] {
        let answer = scene
            .arm
            .send("PUT", &image, IMAGE_VERSION, Some(&body))
            .await;
        refused(&answer, status, code, text);
    }
    // A failed image may be sent again with another source.
    fails(
        &scene,
        &image,
        IMAGE_VERSION,
        &of("eastus", blob, Some("V1")),
    )
    .await;
    let body = of(
        "eastus",
        json!({ "managedDisk": { "id": disk } }),
        Some("V1"),
    );
    scene
        .arm
        .done("PUT", &image, IMAGE_VERSION, Some(&body))
        .await;
    let version = json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "id": image } } } });
    let (code, message) = fails(&scene, &scene.version("1.0.0"), GALLERY_VERSION, &version).await;
    assert_eq!(code, "Conflict");
    assert!(
        message.contains("has a different Hypervisor generation ['V1']"),
        "{message}"
    );
}

#[tokio::test]
async fn encryption_sets_are_named_checked_and_held() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let set = async |name: &str, location: &str| {
        let id = compute(&scene, &format!("diskEncryptionSets/{name}"));
        let body = json!({ "location": location, "identity": { "type": "SystemAssigned" },
            "properties": { "activeKey": { "keyUrl": "https://vault/keys/k/1" } } });
        let made = scene.arm.done("PUT", &id, "2022-03-02", Some(&body)).await;
        assert!(made["identity"]["principalId"].is_string(), "{made}");
        assert_eq!(
            made["identity"]["tenantId"],
            json!(server.credential("tenantId"))
        );
        id
    };
    let (near, far) = (set("near", "eastus").await, set("far", "westus2").await);
    let empty = |set: &str| {
        json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1,
        "encryption": { "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": set } } })
    };
    let disk = scene.disk("d");
    let wrong = scene
        .arm
        .send("PUT", &disk, DISK_VERSION, Some(&empty(&far)))
        .await;
    refused(
        &wrong,
        400,
        "InvalidParameter",
        "must be in region 'eastus'",
    );
    let gone = compute(&scene, "diskEncryptionSets/gone");
    let wrong = scene
        .arm
        .send("PUT", &disk, DISK_VERSION, Some(&empty(&gone)))
        .await;
    refused(
        &wrong,
        404,
        "NotFound",
        &format!("The disk encryption set {gone} was not found."),
    );
    let made = scene
        .arm
        .done("PUT", &disk, DISK_VERSION, Some(&empty(&near)))
        .await;
    assert_eq!(
        made["properties"]["encryption"]["diskEncryptionSetId"],
        json!(near)
    );

    let encryption = |set: &str| json!({ "osDiskImage": { "diskEncryptionSetId": set } });
    let mut body = version(&disk, &[], "Full");
    body["properties"]["publishingProfile"]["targetRegions"] = json!([
        { "name": "eastus", "encryption": encryption(&near) }, { "name": "westus2", "encryption": encryption(&near) }]);
    let one = scene.version("1.0.0");
    let wrong = scene
        .arm
        .send("PUT", &one, GALLERY_VERSION, Some(&body))
        .await;
    refused(
        &wrong,
        400,
        "InvalidParameter",
        "must be in region 'westus2'",
    );
    body["properties"]["publishingProfile"]["targetRegions"][1]["encryption"] = encryption(&far);
    let made = scene
        .arm
        .done("PUT", &one, GALLERY_VERSION, Some(&body))
        .await;
    let shown =
        &made["properties"]["publishingProfile"]["targetRegions"][1]["encryption"]["osDiskImage"];
    assert_eq!(shown["diskEncryptionSetId"], json!(far), "{made}");
    let again = json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "id": one } } } });
    let refusal = scene
        .arm
        .send(
            "PUT",
            &scene.version("2.0.0"),
            GALLERY_VERSION,
            Some(&again),
        )
        .await;
    refused(
        &refusal,
        400,
        "InvalidParameter",
        "Encryption is not supported for source resource",
    );

    let users = async |set: &str| {
        let path = format!("{set}/associatedResources");
        scene.arm.send("GET", &path, DISK_VERSION, None).await.body["value"].clone()
    };
    assert_eq!(users(&near).await, json!([disk, one]));
    assert_eq!(users(&far).await, json!([one]));
    let held = scene.arm.send("DELETE", &near, DISK_VERSION, None).await;
    refused(
        &held,
        409,
        "OperationNotAllowed",
        "cannot be deleted because it is used by",
    );
    let other = set("other", "eastus").await;
    let change = json!({ "properties": { "encryption": { "diskEncryptionSetId": other } } });
    scene
        .arm
        .done("PATCH", &disk, DISK_VERSION, Some(&change))
        .await;
    assert_eq!(
        (users(&near).await, users(&other).await),
        (json!([one]), json!([disk]))
    );
    scene.arm.done("DELETE", &one, GALLERY_VERSION, None).await;
    scene.arm.done("DELETE", &disk, DISK_VERSION, None).await;
    for set in [&near, &far, &other] {
        scene.arm.done("DELETE", set, DISK_VERSION, None).await;
    }
}

#[tokio::test]
async fn a_definition_says_which_disk_types_its_versions_are_not_for() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let source = scene.upload("source", &random_disk(MIB, 6)).await;
    let one = scene.version("1.0.0");
    let body = scene.version_body(&source, &["eastus"]);
    scene
        .arm
        .done("PUT", &one, GALLERY_VERSION, Some(&body))
        .await;
    let disallowed = json!({ "properties": { "osType": "Linux", "disallowed": { "diskTypes": ["Premium_LRS"] } } });
    scene
        .arm
        .over(
            "PATCH",
            &scene.definition,
            GALLERY_VERSION,
            Some(&disallowed),
        )
        .await;
    for (sku, is_good) in [("Premium_LRS", false), ("StandardSSD_LRS", true)] {
        let mut body = from(
            "eastus",
            &json!({ "createOption": "FromImage", "galleryImageReference": { "id": one } }),
        );
        body["sku"] = json!({ "name": sku });
        let (answer, _) = scene
            .arm
            .over("PUT", &scene.disk("d"), DISK_VERSION, Some(&body))
            .await;
        assert_eq!(answer.status == 202, is_good, "{}", answer.body);
        if !is_good {
            refused(
                &answer,
                400,
                "InvalidParameter",
                "The disk type 'Premium_LRS' is not allowed",
            );
        }
    }
}
