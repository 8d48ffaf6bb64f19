//! Deleting what others use, and what stays behind: nothing.

use domain::{ProvisioningState, ResourceId};
use engine::maintenance::SWEEP_GRACE_MS;
use serde_json::{Map, json};

use super::world::{World, noise, version_body, vhd};

#[tokio::test]
async fn a_session_of_an_account_that_is_deleted_makes_no_container_for_the_next_of_its_name() {
    let world = World::new().await;
    let account = world.account().await;
    let session = world.session(&account).await;
    world.delete(&account).await.unwrap();
    for _ in ["being deleted", "gone"] {
        let late = world.engine.create_container(&session, "late", Map::new());
        let refused = late.await.unwrap_err();
        assert_eq!(refused.code, "ResourceNotFound", "{refused}");
        world.settle().await;
    }
    let group = ResourceId::group(&world.subscription, "rg");
    let account = world.account().await;
    let session = world.session(&account).await;
    world.delete(&group).await.unwrap();
    let late = world.engine.create_container(&session, "late", Map::new());
    assert_eq!(late.await.unwrap_err().code, "ResourceNotFound");
    world.settle().await;
    world.group().await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_group_with_a_protected_version_is_not_deleted_and_says_why() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(4096, 1)).await;
    let version = world.version("1.0.0");
    let mut body = version_body(&source, &["eastus"]);
    body["properties"]["safetyProfile"]["blockDeletionBeforeEndOfLife"] = json!(true);
    body["properties"]["publishingProfile"]["endOfLifeDate"] = json!("2027-06-01T00:00:00Z");
    world.make(&version, &body).await.unwrap();
    let group = ResourceId::group(&world.subscription, "rg");
    let accepted = world.delete(&group).await.unwrap().unwrap();
    world.settle().await;
    let ended = world.operation(&accepted.operation.unwrap()).await;
    let code = "DeleteGalleryImageVersionBlockedBeforeEndOfLife";
    assert_eq!(ended.error.unwrap().code, code);
    let row = world.engine.get(&world.ctx, &group).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Failed);
    let content = world.content(&version, "eastus", 4096).await.unwrap();
    assert_eq!(content, noise(4096, 1));
    // When its time is over the same delete goes through.
    world.clock.advance_ms(365 * super::world::DAY_MS);
    world.group().await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn disks_live_on_without_the_version_and_the_disk_that_they_were_made_from() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let bytes = noise(64 << 10, 1);
    let source = world.disk("source", "eastus", &bytes).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    let of_version = world.disk_from("a", &version, "eastus").await.unwrap();
    let copy = world.id("disks/b");
    let creation = json!({ "createOption": "Copy", "sourceResourceId": source.to_string() });
    let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
    world.make(&copy, &body).await.unwrap();
    world.write_disk(&source, &noise(64 << 10, 2)).await;
    world.remove(&version).await;
    world.remove(&source).await;
    world.engine.sweep(0).await.unwrap();
    assert_eq!(world.read_disk(&of_version, bytes.len()).await, bytes);
    assert_eq!(world.read_disk(&copy, bytes.len()).await, bytes);
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn an_upload_that_takes_longer_than_a_sweep_waits_keeps_its_bytes() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    let disk = noise(10 << 20, 1);
    let (engine, clock) = (world.engine.clone(), world.clock.clone());
    let sweeps = async move {
        for _ in 0..2 {
            engine.maintenance_round().await.unwrap();
            clock.advance_ms(SWEEP_GRACE_MS);
        }
        engine.maintenance_round().await.unwrap();
    };
    let made = world
        .slow_blob(&account, "slow", &vhd(&disk), Box::pin(sweeps))
        .await;
    made.unwrap();
    let version = world.version("1.0.0");
    let uri = "https://localhost:8443/blob/vhdstore/vhds/slow";
    let body = version_body(uri, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    let content = world.content(&version, "eastus", disk.len()).await.unwrap();
    assert!(content == disk);
    world.nothing_is_orphaned().await;
}
