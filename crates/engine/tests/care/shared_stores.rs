//! Sweeps of an object store that several nodes use.

use blocks::MemoryLocation;
use engine::{Clock, Engine, Location, RegionSettings, Settings};

use super::world::START_MS;

async fn node(dir: &std::path::Path, name: &str, clock: &Clock, store: &MemoryLocation) -> Engine {
    let settings = Settings {
        data: dir.join(name),
        database: format!("sqlite:{}?mode=rwc", dir.join("catalog.db").display()),
        regions: vec![RegionSettings {
            region: domain::region::known("eastus"),
            store: Location::Memory(store.clone()),
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
