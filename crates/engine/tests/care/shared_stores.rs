//! Sweeps of an object store that several nodes use.

use std::path::Path;
use std::sync::Arc;

use blocks::{LayerId, MemoryLocation, Progress};
use catalog::{Content, Replica, ReplicaState};
use domain::ErrorKind;
use uuid::Uuid;

use engine::{Clock, Engine, Location, RegionSettings, Settings};

use super::world::START_MS;

pub async fn node(dir: &Path, name: &str, clock: &Clock, store: &MemoryLocation) -> Engine {
    at(dir, name, clock, Location::Memory(store.clone())).await
}

async fn at(dir: &Path, name: &str, clock: &Clock, store: Location) -> Engine {
    let settings = Settings {
        data: dir.join(name),
        database: format!("sqlite:{}?mode=rwc", dir.join("catalog.db").display()),
        regions: vec![RegionSettings {
            region: domain::region::known("eastus"),
            store,
        }],
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..engine::MachineSettings::default()
        },
    };
    std::fs::create_dir_all(dir.join(name)).unwrap();
    Engine::open(settings, clock.clone()).await.unwrap()
}

#[tokio::test]
async fn nothing_is_swept_while_another_node_may_be_writing() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (Clock::manual(START_MS), MemoryLocation::default());
    let one = node(dir.path(), "one", &clock, &store).await;
    one.open_stores().await;
    assert!(one.sweep(0).await.unwrap().put_off.is_empty(), "alone");

    let two = node(dir.path(), "two", &clock, &store).await;
    assert!(
        one.sweep(0).await.unwrap().put_off.is_empty(),
        "not open yet"
    );
    two.open_stores().await;
    for node in [&one, &two] {
        let put_off = node.sweep(0).await.unwrap().put_off;
        assert_eq!(put_off.len(), 1);
        assert!(put_off[0].reason.contains("1 other nodes"), "{put_off:?}");
    }
    two.leave().await;
    assert!(
        one.sweep(0).await.unwrap().put_off.is_empty(),
        "it has left"
    );

    // One that died counts for ten minutes.
    let three = node(dir.path(), "three", &clock, &store).await;
    three.open_stores().await;
    drop(three);
    clock.advance_ms(599_999);
    assert_eq!(one.sweep(0).await.unwrap().put_off.len(), 1);
    clock.advance_ms(1);
    assert!(one.sweep(0).await.unwrap().put_off.is_empty());
}

#[tokio::test]
async fn nobody_comes_in_while_a_store_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (Clock::manual(START_MS), MemoryLocation::default());
    let one = node(dir.path(), "one", &clock, &store).await;
    let now = clock.now_ms();
    let mut tx = one.catalog().write().await.unwrap();
    assert!(
        tx.take_lease("sweep:eastus", "sweeper", now, now + 1000)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    let refused = one.store("eastus").await.map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, domain::ErrorKind::Unavailable);
    assert!(refused.message.contains("Another node sweeps"), "{refused}");
    clock.advance_ms(1000);
    one.store("eastus").await.map(|_| ()).unwrap();
}

#[tokio::test]
async fn what_disks_of_other_nodes_stand_on_is_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (Clock::manual(START_MS), MemoryLocation::default());
    let one = node(dir.path(), "one", &clock, &store).await;
    one.open_stores().await;
    let mine = LayerId::from(Uuid::new_v4());
    let blocks = one.store("eastus").await.unwrap();
    drop(blocks.create_layer(mine, None, 4096).await.unwrap());
    for (owner, layer, is_swept) in [
        ("mine", mine, true),
        ("theirs", Uuid::new_v4().into(), false),
    ] {
        let replica = Replica {
            owner: owner.to_owned(),
            slot: "disk".to_owned(),
            region: "eastus".to_owned(),
            content: Content::Layer(layer.into()),
            state: ReplicaState::Completed,
            bytes_total: 0,
            bytes_done: 0,
            details: None,
            updated_ms: START_MS,
        };
        let mut tx = one.catalog().write().await.unwrap();
        tx.put_replica(&replica).await.unwrap();
        tx.commit().await.unwrap();
        let put_off = one.sweep(0).await.unwrap().put_off;
        assert_eq!(put_off.is_empty(), is_swept, "{owner}: {put_off:?}");
    }
}

#[tokio::test]
async fn a_node_that_was_killed_is_the_same_when_it_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (Clock::manual(START_MS), MemoryLocation::default());
    let killed = node(dir.path(), "one", &clock, &store).await;
    killed.open_stores().await;
    drop(killed);
    let again = node(dir.path(), "one", &clock, &store).await;
    again.open_stores().await;
    assert!(again.sweep(0).await.unwrap().put_off.is_empty());
}

#[tokio::test]
async fn a_region_is_where_its_content_is_and_moves_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (Clock::manual(START_MS), MemoryLocation::default());
    let one = node(dir.path(), "one", &clock, &store).await;
    let blocks = one.store("eastus").await.unwrap();
    let bytes = vec![7; 300_000];
    let source: Arc<dyn disk::Source> = Arc::new(disk::memory::Memory(bytes.clone()));
    let kept = blocks.ingest(source, &Progress::default()).await.unwrap();
    let owner = "version".to_owned();
    let replica = Replica {
        owner,
        slot: "os".to_owned(),
        region: "eastus".to_owned(),
        content: Content::Manifest(kept.manifest.to_string()),
        state: ReplicaState::Completed,
        bytes_total: 0,
        bytes_done: 0,
        details: None,
        updated_ms: START_MS,
    };
    let mut tx = one.catalog().write().await.unwrap();
    tx.put_replica(&replica).await.unwrap();
    tx.commit().await.unwrap();

    let directory = Location::Directory(dir.path().join("blocks"));
    let away = at(dir.path(), "two", &clock, directory.clone()).await;
    let refused = away.store("eastus").await.map(drop).unwrap_err();
    assert_eq!(
        (refused.code.as_ref(), refused.kind),
        ("StoreMoved", ErrorKind::Unavailable)
    );
    assert!(refused.message.contains("lies in memory"), "{refused}");
    let busy = away
        .move_store("eastus", directory.clone())
        .await
        .unwrap_err();
    assert_eq!(busy.code, "StoreShared", "{busy}");

    let moved = one.move_store("eastus", directory.clone()).await.unwrap();
    assert_eq!(moved.manifests, 1);
    assert!(moved.bytes > 0);
    let again = one.move_store("eastus", directory).await.unwrap();
    assert_eq!(again, engine::MovedStore::default());
    let reader = away.store("eastus").await.unwrap();
    let reader = reader.open_reader(kept.manifest).await.unwrap();
    assert!(reader.read(0, 300_000).await.unwrap() == bytes);
    // The old place does not count any more.
    let late = node(dir.path(), "three", &clock, &store).await;
    let refused = late.store("eastus").await.map(drop).unwrap_err();
    assert_eq!(refused.code, "StoreMoved");
}
