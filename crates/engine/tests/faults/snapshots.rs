//! A crash while a snapshot or a managed image is made: run again, it is made once.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use domain::{ProvisioningState, ResourceId};
use serde_json::{Value, json};

use super::crash::{BYTES, for_each_crash, template};
use super::world::{World, noise};

async fn source(world: &World) -> ResourceId {
    world.disk("source", "eastus", &noise(BYTES, 1)).await
}

/// The body of a copy in eastus.
fn copy(source: &ResourceId, more: Value) -> Value {
    let mut properties = json!({ "creationData": { "createOption": "Copy", "sourceResourceId": source.to_string() } });
    for (name, value) in more.as_object().unwrap() {
        properties[name] = value.clone();
    }
    json!({ "location": "eastus", "properties": properties })
}

async fn succeeded(world: &World, id: &ResourceId) {
    let row = world.engine.get(&world.ctx, id).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
}

/// Copies a snapshot to a disk and reads that.
async fn first_bytes(world: &World, snapshot: &ResourceId) -> Vec<u8> {
    let disk = world.id("disks/probe");
    world.make(&disk, &copy(snapshot, json!({}))).await.unwrap();
    world.read_disk(&disk, BYTES).await
}

#[test]
fn a_larger_snapshot_is_made_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let body = copy(&source(world).await, json!({ "diskSizeGB": 1 }));
        world.put(&world.id("snapshots/s"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let snapshot = world.id("snapshots/s");
        succeeded(world, &snapshot).await;
        let replicas = world.replicas(&snapshot).await;
        assert_eq!(replicas.len(), 1);
        assert_eq!(replicas[0].bytes_total, 1 << 30);
        assert!(first_bytes(world, &snapshot).await == noise(BYTES, 1));
    });
}

#[test]
fn a_snapshot_reaches_another_region_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let near = world.id("snapshots/near");
        let body = copy(&source(world).await, json!({ "incremental": true }));
        world.make(&near, &body).await.unwrap();
        let creation = json!({ "createOption": "CopyStart", "sourceResourceId": near.to_string() });
        let body = json!({ "location": "westus2", "properties": { "creationData": creation, "incremental": true } });
        world.put(&world.id("snapshots/far"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let far = world.id("snapshots/far");
        succeeded(world, &far).await;
        let replicas = world.replicas(&far).await;
        assert_eq!(replicas.len(), 1);
        assert_eq!(replicas[0].region, "westus2");
    });
}

#[test]
fn a_managed_image_is_made_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let os = source(world).await;
        let data = world.disk("data", "eastus", &noise(BYTES, 2)).await;
        let body = json!({ "location": "eastus", "properties": { "storageProfile": {
            "osDisk": { "osType": "Linux", "osState": "Generalized", "managedDisk": { "id": os.to_string() } },
            "dataDisks": [{ "lun": 3, "diskSizeGB": 2, "managedDisk": { "id": data.to_string() } }] } } });
        world.put(&world.id("images/i"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let image = world.id("images/i");
        succeeded(world, &image).await;
        let replicas = world.replicas(&image).await;
        let found: Vec<(&str, i64)> = replicas
            .iter()
            .map(|replica| (replica.slot.as_str(), replica.bytes_total))
            .collect();
        assert_eq!(found, [("lun:3", 2 << 30), ("os", 1 << 30)]);
    });
}
