//! Machines: images of them hold what they wrote, and a crash at any await changes nothing of the end.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use domain::operation::Work;
use domain::virtual_machine::{Power, disks};
use domain::{ProvisioningState, Resource, ResourceId};
use serde_json::{Value, json};

use super::crash::{BYTES, for_each_crash, template};
use super::world::{World, noise, version_body};

fn machine_body(image: &ResourceId) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_B2s" },
            "storageProfile": {
                "imageReference": { "id": image.to_string() },
                "osDisk": { "createOption": "FromImage", "deleteOption": "Delete" },
                "dataDisks": [{ "lun": 2, "createOption": "Empty", "diskSizeGB": 1, "name": "data" }],
            },
            "osProfile": { "computerName": "one", "adminUsername": "me", "adminPassword": "Passw0rd!" },
        },
    })
}

fn one(world: &World) -> ResourceId {
    world.id("virtualMachines/one")
}

async fn publish(world: &World) -> ResourceId {
    let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    version
}

pub async fn make(world: &World) -> Resource {
    let version = publish(world).await;
    world
        .make(&one(world), &machine_body(&version))
        .await
        .unwrap()
}

async fn machine(world: &World) -> Resource {
    let row = world.engine.get(&world.ctx, &one(world)).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
    row
}

async fn disk_state(world: &World, disk: &ResourceId) -> (ProvisioningState, Value, bool) {
    let row = world.engine.get(&world.ctx, disk).await.unwrap();
    let state = row.properties["diskState"].clone();
    (row.state, state, row.top.contains_key("managedBy"))
}

async fn act(world: &World, work: Work) {
    let one = one(world);
    let accepted = world
        .engine
        .power_action(&world.ctx, &one, work, false)
        .await;
    let operation = accepted.unwrap().operation.unwrap();
    world.settle().await;
    assert_eq!(world.operation(&operation).await.error, None);
}

#[test]
fn a_machine_is_made_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let version = publish(world).await;
        world
            .put(&one(world), &machine_body(&version))
            .await
            .unwrap();
    });
    for_each_crash(&template, async |world| {
        let row = machine(world).await;
        assert_eq!(Power::of(&row), Power::Running);
        let all = disks(&row);
        assert_eq!(all.len(), 2);
        for disk in &all {
            let found = disk_state(world, &disk.id).await;
            assert_eq!(
                found,
                (ProvisioningState::Succeeded, json!("Attached"), true)
            );
        }
        assert!(world.read_disk(&all[0].id, BYTES).await == noise(BYTES, 1));
    });
}

#[test]
fn disks_change_hands_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world).await;
        let extra = world.disk("extra", "eastus", &noise(BYTES, 2)).await;
        let attach = json!({ "lun": 5, "createOption": "Attach", "managedDisk": { "id": extra.to_string() } });
        let body = json!({ "properties": { "storageProfile": { "dataDisks": [attach] } } });
        let patched = world.engine.patch(&world.ctx, &one(world), &body).await;
        patched.unwrap();
    });
    for_each_crash(&template, async |world| {
        machine(world).await;
        let gone = disk_state(world, &world.id("disks/data")).await;
        assert_eq!(
            gone,
            (ProvisioningState::Succeeded, json!("Unattached"), false)
        );
        let come = disk_state(world, &world.id("disks/extra")).await;
        assert_eq!(
            come,
            (ProvisioningState::Succeeded, json!("Attached"), true)
        );
    });
}

#[test]
fn disks_that_come_and_go_by_their_ids_do_so_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world).await;
        let extra = world.disk("extra", "eastus", &noise(BYTES, 2)).await;
        let data = world.id("disks/data");
        let request = json!({ "dataDisksToAttach": [{ "diskId": extra.to_string() }],
            "dataDisksToDetach": [{ "diskId": data.to_string() }] });
        let one = one(world);
        let asked = world.engine.attach_detach(&world.ctx, &one, &request);
        asked.await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let row = machine(world).await;
        let luns: Vec<Option<i64>> = disks(&row).iter().map(|disk| disk.lun).collect();
        assert_eq!(luns, [None, Some(0)]);
        for (name, state, is_held) in [("data", "Unattached", false), ("extra", "Attached", true)] {
            let found = disk_state(world, &world.id(&format!("disks/{name}"))).await;
            assert_eq!(found, (ProvisioningState::Succeeded, json!(state), is_held));
        }
    });
}

#[test]
fn a_machine_starts_in_a_place_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world).await;
        act(world, Work::Deallocate).await;
        let one = one(world);
        let asked = world
            .engine
            .power_action(&world.ctx, &one, Work::Start, false);
        asked.await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let row = machine(world).await;
        assert_eq!(Power::of(&row), Power::Running);
        for disk in disks(&row) {
            let (_, state, is_held) = disk_state(world, &disk.id).await;
            assert_eq!((state, is_held), (json!("Attached"), true));
        }
    });
}

#[test]
fn a_reimage_leaves_one_system_disk_after_a_crash_at_any_point() {
    for option in ["Delete", "Detach"] {
        let template = template(async |world| {
            let version = publish(world).await;
            let mut body = machine_body(&version);
            body["properties"]["storageProfile"]["osDisk"]["deleteOption"] = json!(option);
            let row = world.make(&one(world), &body).await.unwrap();
            let os = disks(&row)[0].id.clone();
            world.write_disk(&os, &noise(BYTES, 9)).await;
            if option == "Detach" {
                act(world, Work::Deallocate).await;
            }
            let (one, nothing) = (one(world), json!({}));
            let asked = world.engine.reimage(&world.ctx, &one, &nothing);
            asked.await.unwrap();
        });
        for_each_crash(&template, async |world| {
            let row = machine(world).await;
            assert_eq!(Power::of(&row), Power::Running);
            let all = disks(&row);
            for disk in &all {
                let found = disk_state(world, &disk.id).await;
                let attached = (ProvisioningState::Succeeded, json!("Attached"), true);
                assert_eq!(found, attached);
            }
            assert!(
                world.read_disk(&all[0].id, BYTES).await == noise(BYTES, 1),
                "the image's bytes"
            );
            let list = world.snapshot().await;
            let names = list.match_indices("one_OsDisk_1_");
            let names = names.filter_map(|(at, name)| list.get(at..at + name.len() + 32));
            let left: BTreeSet<&str> = names.collect();
            let wanted = if option == "Delete" { 1 } else { 2 };
            assert_eq!(left.len(), wanted, "{option}: {list}");
        });
    }
}

#[test]
fn an_image_of_a_running_machine_is_taken_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let row = make(world).await;
        for (disk, seed) in disks(&row).iter().zip([7, 8]) {
            world.write_disk(&disk.id, &noise(BYTES, seed)).await;
        }
        let kept = world
            .definition("kept", json!({ "osState": "Specialized" }))
            .await;
        let kept = kept.child(domain::Kind::ImageVersion, "1.0.0");
        let body = json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "virtualMachineId": one(world).to_string() } } } });
        world.put(&kept, &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        machine(world).await;
        let kept = world.id("galleries/sig/images/kept/versions/1.0.0");
        let row = world.engine.get(&world.ctx, &kept).await.unwrap();
        assert_eq!(row.state, ProvisioningState::Succeeded);
        let content = world.content(&kept, "eastus", BYTES).await.unwrap();
        assert!(content == noise(BYTES, 7));
    });
}

#[test]
fn a_snapshot_of_an_attached_disk_is_taken_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let row = make(world).await;
        let os = disks(&row)[0].id.clone();
        world.write_disk(&os, &noise(BYTES, 7)).await;
        let creation = json!({ "createOption": "Copy", "sourceResourceId": os.to_string() });
        let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
        world.put(&world.id("snapshots/s"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        machine(world).await;
        let snapshot = world.id("snapshots/s");
        let row = world.engine.get(&world.ctx, &snapshot).await.unwrap();
        assert_eq!(row.state, ProvisioningState::Succeeded);
        assert_eq!(world.replicas(&snapshot).await.len(), 1);
    });
}

#[test]
fn a_machine_gives_its_place_back_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world).await;
        let one = one(world);
        let asked = world
            .engine
            .power_action(&world.ctx, &one, Work::Deallocate, false);
        asked.await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let row = machine(world).await;
        assert_eq!(Power::of(&row), Power::Deallocated);
        for disk in disks(&row) {
            let (_, state, is_held) = disk_state(world, &disk.id).await;
            assert_eq!((state, is_held), (json!("Reserved"), true));
        }
    });
}

#[test]
fn a_deleted_machine_leaves_what_it_was_told_to_leave_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world).await;
        world.delete(&one(world)).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let gone = world.engine.get(&world.ctx, &one(world)).await.unwrap_err();
        assert_eq!(gone.code, "ResourceNotFound");
        let kept = disk_state(world, &world.id("disks/data")).await;
        assert_eq!(
            kept,
            (ProvisioningState::Succeeded, json!("Unattached"), false)
        );
        let list = world.snapshot().await;
        assert!(!list.contains("one_OsDisk_1_"), "{list}");
    });
}

#[tokio::test]
async fn images_of_a_machine_hold_what_it_wrote() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let row = make(&world).await;
    let all = disks(&row);
    world.write_disk(&all[0].id, &noise(BYTES, 7)).await;
    world.write_disk(&all[1].id, &noise(BYTES, 8)).await;
    let from_machine = |id: &ResourceId| json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "virtualMachineId": id.to_string() } } } });
    let body = from_machine(&one(&world));
    let error = world
        .make(&world.version("2.0.0"), &body)
        .await
        .unwrap_err();
    assert!(
        error.message.contains(
            "since the OS State in the parent gallery image ('Generalized') is not 'Specialized'."
        ),
        "{error}"
    );
    let image = world.id("images/i");
    let of_machine = json!({ "location": "eastus", "properties": { "sourceVirtualMachine": { "id": one(&world).to_string() } } });
    let error = world.put(&image, &of_machine).await.err().unwrap();
    assert!(
        error.message.contains("has not been generalized"),
        "{error}"
    );

    let kept = world
        .definition("kept", json!({ "osState": "Specialized" }))
        .await;
    let kept = kept.child(domain::Kind::ImageVersion, "1.0.0");
    world.make(&kept, &body).await.unwrap();
    let content = world.content(&kept, "eastus", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 7), "a running machine's disk");

    act(&world, Work::Deallocate).await;
    world
        .engine
        .generalize(&world.ctx, &one(&world))
        .await
        .unwrap();
    let version = world.version("2.0.0");
    let made = world.make(&version, &body).await.unwrap();
    let profile = &made.properties["storageProfile"];
    assert_eq!(
        profile["source"]["virtualMachineId"],
        json!(one(&world).to_string())
    );
    assert_eq!(profile["dataDiskImages"][0]["lun"], 2);
    let image_row = world.make(&image, &of_machine).await.unwrap();
    let shown = &image_row.properties["storageProfile"];
    assert_eq!(shown["osDisk"]["osState"], "Generalized");
    assert_eq!(shown["dataDisks"][0]["lun"], 2);
    assert_eq!(image_row.properties["hyperVGeneration"], "V2");

    world.remove(&one(&world)).await;
    for (name, image) in [("two", &version), ("three", &image)] {
        let id = world.id(&format!("virtualMachines/{name}"));
        let mut body = machine_body(image);
        body["properties"]["storageProfile"] =
            json!({ "imageReference": { "id": image.to_string() } });
        let row = world.make(&id, &body).await.unwrap();
        let all = disks(&row);
        let luns: Vec<Option<i64>> = all.iter().map(|disk| disk.lun).collect();
        assert_eq!(luns, [None, Some(2)], "{name}");
        assert!(
            world.read_disk(&all[0].id, BYTES).await == noise(BYTES, 7),
            "{name}"
        );
        assert!(
            world.read_disk(&all[1].id, BYTES).await == noise(BYTES, 8),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_disk_that_grows_with_its_machine_counts_and_is_audited() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    make(&world).await;
    // A disk grows while its machine stands still.
    act(&world, Work::Deallocate).await;
    let body = |gib: u64| {
        let data = json!({ "lun": 2, "createOption": "Empty", "name": "data", "diskSizeGB": gib });
        json!({ "properties": { "storageProfile": { "dataDisks": [data] } } })
    };
    let engine = &world.engine;
    let held = engine.byte_quota(&world.subscription).await.unwrap();
    let limit = held.held_bytes + (1 << 30);
    let set = engine.set_byte_quota(&world.subscription, Some(limit));
    set.await.unwrap();
    let refused = engine.patch(&world.ctx, &one(&world), &body(3)).await;
    let refused = refused.map(|_| ()).unwrap_err();
    assert_eq!(refused.code, "QuotaExceeded");
    engine
        .patch(&world.ctx, &one(&world), &body(2))
        .await
        .unwrap();
    world.settle().await;
    let held = engine.byte_quota(&world.subscription).await.unwrap();
    assert_eq!(held.held_bytes, limit, "the disk counts in its new size");
    let disk = world.id("disks/data");
    let filter = engine::ActivityFilter {
        to_ms: i64::MAX,
        resource: Some(disk.to_string()),
        ..engine::ActivityFilter::default()
    };
    let log = engine.activity(&world.ctx, &world.subscription, &filter, None);
    let (log, _) = log.await.unwrap();
    assert_eq!(log.len(), 2, "made, and grown: {log:?}");
}

#[tokio::test]
async fn secrets_stand_in_no_view_and_in_no_digest() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let row = make(&world).await;
    let kept = domain::virtual_machine::secrets(&row).unwrap();
    assert!(kept.is_string(), "sealed: {kept}");
    let shown = domain::virtual_machine::shown(&row);
    let text = json!([shown.properties, shown.top, shown.tags]).to_string();
    assert!(!text.contains("Passw0rd"), "{text}");
    assert!(!format!("{row:?}").contains("Passw0rd"));
}
