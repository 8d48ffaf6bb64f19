//! What disks stand on, over two nodes of one object store: `one` has the disks, `two` sweeps while
//! `one` is away.

use std::collections::BTreeSet;

use blocks::{ManifestId, MemoryLocation};
use catalog::Content;
use domain::{ProvisioningState, ResourceId};
use engine::{Clock, Engine};
use serde_json::json;
use testkit::Database;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::shared_stores::node;
use super::world::{START_MS, World, noise, poll_times, version_body};

const BYTES: usize = 96 << 10;
/// Longer than a node counts that left without a word.
const GONE_MS: i64 = 601_000;
/// More polls than any work here needs.
const POLLS_MAX: usize = 2000;

/// A gallery over an object store; `one` is its node.
async fn world(store: &MemoryLocation) -> World {
    let dir = tempfile::tempdir().unwrap();
    let (clock, database) = (Clock::manual(START_MS), Database::sqlite(dir.path()));
    let one = node(dir.path(), "one", &clock, store).await;
    let world = World::begin(dir, database, clock, one).await;
    world.gallery(json!({})).await;
    world
}

/// Publishes what a disk of its own holds, and makes a disk from that; returns version and disk.
async fn disk_of_version(world: &World, name: &str, seed: u64) -> (ResourceId, ResourceId) {
    let source = world.disk("source", "eastus", &noise(BYTES, seed)).await;
    let version = world.version(&format!("{seed}.0.0"));
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    let disk = world.disk_from(name, &version, "eastus").await.unwrap();
    world.remove(&source).await;
    (version, disk)
}

/// Sweeps as a node that comes and goes; returns what it left, and whether it was put off.
async fn sweep_as_two(world: &World, store: &MemoryLocation) -> (BTreeSet<ManifestId>, bool) {
    let two = node(world.dir.path(), "two", &world.clock, store).await;
    two.open_stores().await;
    let put_off = two.sweep(0).await.unwrap().put_off;
    let left = two.store("eastus").await.unwrap().manifests().await;
    two.leave().await;
    (left.unwrap(), !put_off.is_empty())
}

async fn bases(engine: &Engine) -> Vec<catalog::LayerBase> {
    let mut read = engine.catalog().read().await.unwrap();
    read.layer_bases("eastus").await.unwrap()
}

#[tokio::test]
async fn a_node_sweeps_what_nobody_needs_and_leaves_what_disks_of_another_stand_on() {
    let store = MemoryLocation::default();
    let mut world = world(&store).await;
    let (version, disk) = disk_of_version(&world, "kept", 1).await;
    let (other, gone) = disk_of_version(&world, "gone", 2).await;
    world.write_disk(&disk, b"written").await;
    world.remove(&version).await;
    world.remove(&gone).await;
    world.engine.leave().await;
    // Two versions there were; one is a version still, of the other only a disk is left.
    assert_eq!(bases(&world.engine).await.len(), 1);
    let (left, is_put_off) = sweep_as_two(&world, &store).await;
    assert!(!is_put_off);
    assert_eq!(left.len(), 2);

    world.engine = node(world.dir.path(), "one", &world.clock, &store).await;
    let read = world.read_disk(&disk, BYTES).await;
    assert!(read[..7] == *b"written" && read[7..] == noise(BYTES, 1)[7..]);
    world.remove(&disk).await;
    world.remove(&other).await;
    world.engine.leave().await;
    let (left, is_put_off) = sweep_as_two(&world, &store).await;
    assert!(!is_put_off && left.is_empty(), "{left:?}");
    assert_eq!(bases(&world.engine).await, []);
}

#[tokio::test]
async fn disks_that_are_older_than_their_bases_in_the_catalog_wait_for_their_node() {
    let store = MemoryLocation::default();
    let mut world = world(&store).await;
    let (version, disk) = disk_of_version(&world, "old", 1).await;
    // As a release before this one left it.
    let known = bases(&world.engine).await;
    let mut tx = world.engine.catalog().write().await.unwrap();
    tx.drop_layer_bases(&disk.key(), None).await.unwrap();
    tx.commit().await.unwrap();
    world.remove(&version).await;
    world.engine.leave().await;
    let (left, is_put_off) = sweep_as_two(&world, &store).await;
    assert!(is_put_off && left.len() == 1, "{left:?}");

    world.engine = node(world.dir.path(), "one", &world.clock, &store).await;
    world.engine.maintenance_round().await.unwrap();
    assert_eq!(bases(&world.engine).await, known);
    world.engine.leave().await;
    let (left, is_put_off) = sweep_as_two(&world, &store).await;
    assert!(!is_put_off && left.len() == 1, "{left:?}");
    world.engine = node(world.dir.path(), "one", &world.clock, &store).await;
    assert!(world.read_disk(&disk, BYTES).await == noise(BYTES, 1));
}

/// Lets `one` work until it dies at its n-th await point; whether it came to an end.
fn die_at(world: &World, store: &MemoryLocation, polls: usize) -> bool {
    // Dropping a runtime waits for what its blocking threads have begun, and begins nothing more.
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let one = node(world.dir.path(), "one", &world.clock, store).await;
        one.open_stores().await;
        let stop = CancellationToken::new();
        let mut work = Box::pin(one.work_once("dies", &stop));
        let worked = poll_times(work.as_mut(), polls).await;
        worked.is_some_and(|worked| worked.unwrap())
    })
}

/// Takes a version out of the catalog, as if it had been deleted while nobody worked.
async fn forget(world: &World, version: &ResourceId) {
    let mut tx = world.engine.catalog().write().await.unwrap();
    tx.delete_replicas(&version.key(), None).await.unwrap();
    tx.release(version).await.unwrap();
    assert!(tx.delete(version).await.unwrap());
    tx.commit().await.unwrap();
}

/// For every await point: `begin` accepts work, `one` dies in it, the version goes, `two` sweeps, and
/// `one` comes back and ends its work. Returns how many disks were made.
fn for_each_death(
    begin: impl AsyncFn(&World, &ResourceId, usize) -> ResourceId,
    check: impl AsyncFn(&World, &ResourceId),
) {
    let runtime = Runtime::new().unwrap();
    let store = MemoryLocation::default();
    let mut world = runtime.block_on(world(&store));
    for polls in 1..POLLS_MAX {
        let (version, disk) = runtime.block_on(async {
            let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
            let version = world.version(&format!("{polls}.0.0"));
            let body = version_body(&source, &["eastus"]);
            world.make(&version, &body).await.unwrap();
            world.remove(&source).await;
            let disk = begin(&world, &version, polls).await;
            world.engine.leave().await;
            // Who looks on opens no store.
            world.engine = node(world.dir.path(), "nobody", &world.clock, &store).await;
            (version, disk)
        });
        let is_over = die_at(&world, &store, polls);
        runtime.block_on(async {
            forget(&world, &version).await;
            world.clock.advance_ms(GONE_MS);
            let (_, is_put_off) = sweep_as_two(&world, &store).await;
            assert!(!is_put_off, "poll {polls}");
            world.engine = node(world.dir.path(), "one", &world.clock, &store).await;
            world.engine.open_stores().await;
            world.settle().await;
            check(&world, &disk).await;
            world.delete(&disk).await.unwrap();
            world.settle().await;
            assert_eq!(bases(&world.engine).await, [], "poll {polls}");
        });
        if is_over {
            assert!(polls > 5, "the work was cut into {polls} steps only");
            runtime.block_on(async {
                world.engine.leave().await;
                let (left, is_put_off) = sweep_as_two(&world, &store).await;
                assert!(!is_put_off && left.is_empty(), "{left:?}");
            });
            return;
        }
    }
    panic!("the work needs more than {POLLS_MAX} polls");
}

#[test]
fn a_disk_is_whole_or_not_there_wherever_its_node_dies_and_another_sweeps() {
    let (made, failed) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    for_each_death(
        async |world, version, number| {
            let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": version.to_string() } });
            let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
            let disk = world.id(&format!("disks/d{number}"));
            world.put(&disk, &body).await.unwrap();
            disk
        },
        async |world, disk| {
            let row = world.engine.get(&world.ctx, disk).await.unwrap();
            let has_layer = world
                .replicas(disk)
                .await
                .iter()
                .any(|r| matches!(r.content, Content::Layer(_)));
            if row.state == ProvisioningState::Succeeded {
                assert!(world.read_disk(disk, BYTES).await == noise(BYTES, 1));
                made.set(made.get() + 1);
            } else {
                assert!(!has_layer, "what has content must be whole");
                failed.set(failed.get() + 1);
            }
        },
    );
    assert!(made.get() > 0 && failed.get() > 0, "{made:?} {failed:?}");
}

#[test]
fn a_deleted_disk_is_gone_wherever_its_node_dies_and_another_sweeps() {
    for_each_death(
        async |world, version, number| {
            let disk = world
                .disk_from(&format!("d{number}"), version, "eastus")
                .await
                .unwrap();
            world.delete(&disk).await.unwrap();
            disk
        },
        async |world, disk| {
            let error = world.engine.get(&world.ctx, disk).await.unwrap_err();
            assert_eq!(error.kind, domain::ErrorKind::NotFound);
        },
    );
}
