//! Disks of a running machine, named one by one as sources: what is captured is of one moment.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blocks::{Layer, LayerId};
use catalog::Content;
use domain::ResourceId;
use domain::virtual_machine::disks;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::machines::make;
use super::world::{World, noise};

const IMAGES: usize = 10;
/// What the system disk takes a while to freeze.
const WRITTEN: usize = 8 << 20;

async fn layer(world: &World, disk: &ResourceId) -> Layer {
    let Content::Layer(id) = world.replicas(disk).await.remove(0).content else {
        panic!("{disk} has no layer");
    };
    let store = world.engine.store("eastus").await.unwrap();
    store.open_layer(LayerId::from(id)).await.unwrap()
}

/// Counts on every layer, one after the other: none is ever ahead of one before it.
async fn count(layers: Vec<Layer>, stop: Arc<AtomicBool>) -> u64 {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        for layer in &layers {
            layer.write_at(0, &number.to_le_bytes()).await.unwrap();
        }
    }
    number
}

/// The numbers that an image's disks hold, the system disk's first.
async fn counted(world: &World, image: &ResourceId) -> Vec<u64> {
    let store = world.engine.store("eastus").await.unwrap();
    let mut replicas = world.replicas(image).await;
    replicas.sort_by_key(|replica| replica.slot != "os");
    let mut seen = Vec::new();
    for replica in replicas {
        let Content::Manifest(id) = replica.content else {
            panic!("{image} has no manifest");
        };
        let reader = store.open_reader(id.parse().unwrap()).await.unwrap();
        let bytes = reader.read(0, 8).await.unwrap();
        seen.push(u64::from_le_bytes(bytes.try_into().unwrap()));
    }
    seen
}

fn version_of(os: &ResourceId, data: &ResourceId) -> Value {
    let source = |id: &ResourceId| json!({ "id": id.to_string() });
    json!({ "location": "eastus", "properties": { "storageProfile": {
        "osDiskImage": { "source": source(os) },
        "dataDiskImages": [{ "lun": 3, "source": source(data) }],
    } } })
}

fn image_of(os: &ResourceId, data: &ResourceId) -> Value {
    let disk = |id: &ResourceId| json!({ "id": id.to_string() });
    json!({ "location": "eastus", "properties": { "hyperVGeneration": "V2", "storageProfile": {
        "osDisk": { "osType": "Linux", "osState": "Generalized", "managedDisk": disk(os) },
        "dataDisks": [{ "lun": 3, "managedDisk": disk(data) }],
    } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_of_a_running_machine_that_are_named_one_by_one_are_of_one_moment() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let all = disks(&make(&world).await);
    let (os, data) = (&all[0].id, &all[1].id);
    world.write_disk(os, &noise(WRITTEN, 2)).await;
    let layers = vec![layer(&world, os).await, layer(&world, data).await];
    let stop = Arc::new(AtomicBool::new(false));
    let mut writer = JoinSet::new();
    writer.spawn(count(layers, stop.clone()));
    let mut last = 0;
    for number in 0..IMAGES {
        let version = world.version(&format!("2.0.{number}"));
        let image = world.id(&format!("images/i{number}"));
        for (id, body) in [
            (&version, version_of(os, data)),
            (&image, image_of(os, data)),
        ] {
            world.make(id, &body).await.unwrap();
            let seen = counted(&world, id).await;
            assert!(
                matches!(seen[..], [os, data] if os >= data && os - data <= 1 && os >= last),
                "{id}: {seen:?} are not of one moment"
            );
            last = seen[0];
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join_next().await.unwrap().unwrap() > 2 * IMAGES as u64);
    // One disk may stand in two places of a managed image.
    let twice = world.id("images/twice");
    world.make(&twice, &image_of(os, os)).await.unwrap();
    let seen = counted(&world, &twice).await;
    assert_eq!(seen[0], seen[1]);
    world.nothing_is_orphaned().await;
}
