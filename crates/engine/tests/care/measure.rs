//! What deleting frees, said before and found after.

use domain::ResourceId;
use engine::care::OwnerStat;
use serde_json::json;

use super::world::{World, noise, version_body};

const BYTES: usize = 256 << 10;

async fn owners(world: &World) -> Vec<OwnerStat> {
    let stat = world.engine.stat_owners_now().await.unwrap();
    stat.owners.unwrap()
}

fn of<'a>(owners: &'a [OwnerStat], id: &ResourceId, region: &str) -> &'a OwnerStat {
    let found = owners
        .iter()
        .find(|o| o.region == region && o.id.eq_ignore_ascii_case(&id.to_string()));
    found.unwrap_or_else(|| panic!("{id} in {region}: {owners:?}"))
}

async fn stored(world: &World, region: &str) -> u64 {
    let stat = world.engine.stat_now().await.unwrap();
    let found = stat.regions.iter().find(|r| r.region == region);
    found.unwrap().stored_bytes
}

/// Two versions that have their first half in common, the second also in the west.
async fn two_versions() -> (World, ResourceId, ResourceId) {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let mut bytes = noise(BYTES, 1);
    let source = world.disk("source", "eastus", &bytes).await;
    let (one, two) = (world.version("1.0.0"), world.version("1.1.0"));
    let body = version_body(&source, &["eastus"]);
    world.make(&one, &body).await.unwrap();
    bytes[BYTES / 2..].copy_from_slice(&noise(BYTES / 2, 2));
    world.write_disk(&source, &bytes).await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&two, &body).await.unwrap();
    world.remove(&source).await;
    world.engine.sweep(0).await.unwrap();
    (world, one, two)
}

#[tokio::test]
async fn what_deleting_a_version_frees_is_what_nothing_else_needs() {
    let (world, one, two) = two_versions().await;
    let all = owners(&world).await;
    let (first, second) = (of(&all, &one, "eastus"), of(&all, &two, "eastus"));
    assert_eq!(first.shared_bytes, second.shared_bytes, "{all:?}");
    assert!(first.shared_bytes >= (BYTES / 2) as u64, "{all:?}");
    assert!(second.frees_bytes >= (BYTES / 2) as u64, "{all:?}");
    assert_eq!(second.content_bytes, BYTES as u64);
    assert_eq!(second.logical_bytes, 1 << 30);
    // In the west it is alone, so all of it goes.
    let west = of(&all, &two, "westus2");
    assert_eq!(
        (west.shared_bytes, west.frees_bytes),
        (0, west.stored_bytes)
    );

    let (east, far) = (
        stored(&world, "eastus").await,
        stored(&world, "westus2").await,
    );
    world.remove(&two).await;
    world.engine.sweep(0).await.unwrap();
    let freed = east - stored(&world, "eastus").await;
    let table = 64 << 10;
    assert!(
        (second.frees_bytes..second.frees_bytes + table).contains(&freed),
        "{freed} for {second:?}"
    );
    assert_eq!(stored(&world, "westus2").await, 0, "of {far}");
    let left = owners(&world).await;
    let alone = of(&left, &one, "eastus");
    assert_eq!(
        (alone.shared_bytes, alone.frees_bytes),
        (0, alone.stored_bytes)
    );
}

#[tokio::test]
async fn what_a_disk_a_snapshot_or_an_equal_version_needs_is_not_freed() {
    let (world, one, two) = two_versions().await;
    let frees = |all: &[OwnerStat], id: &ResourceId| of(all, id, "eastus").frees_bytes;
    assert!(frees(&owners(&world).await, &two) > 0);

    let disk = world.disk_from("d", &two, "eastus").await.unwrap();
    assert_eq!(frees(&owners(&world).await, &two), 0, "a disk stands on it");
    let snapshot = world.id("snapshots/s");
    let creation = json!({ "createOption": "Copy", "sourceResourceId": disk.to_string() });
    let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
    world.make(&snapshot, &body).await.unwrap();
    world.remove(&disk).await;
    let all = owners(&world).await;
    assert_eq!((frees(&all, &two), frees(&all, &snapshot)), (0, 0));
    world.remove(&snapshot).await;
    assert!(frees(&owners(&world).await, &two) > 0, "alone again");

    let again = world.version("2.0.0");
    world
        .make(&again, &version_body(&one, &["eastus"]))
        .await
        .unwrap();
    let all = owners(&world).await;
    assert_eq!((frees(&all, &one), frees(&all, &again)), (0, 0));
}

#[tokio::test]
async fn a_region_says_what_is_shared_and_what_is_needed() {
    let (world, one, two) = two_versions().await;
    let stat = world.engine.stat_owners_now().await.unwrap();
    let all = stat.owners.as_ref().unwrap();
    let east = &stat.regions[0];
    let (first, second) = (of(all, &one, "eastus"), of(all, &two, "eastus"));
    assert_eq!(east.shared_bytes, Some(first.shared_bytes));
    let needed = first.shared_bytes + first.frees_bytes + second.frees_bytes;
    assert_eq!(east.needed_bytes, Some(needed));
    assert!(east.stored_bytes >= needed);
}
