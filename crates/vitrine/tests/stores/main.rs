//! Regions of a gallery on object stores: a whole circle, kills in the middle, a store that goes away.

mod gallery;
mod proxy;

use std::time::Duration;

use serde_json::Value;
use testkit::{GALLERY_VERSION, random_disk, until};

use gallery::{Stores, World};

const REGIONS: [&str; 3] = ["eastus", "westus2", "westeurope"];
const DISK_BYTES: usize = 24 << 20;
/// How often the server is killed.
const KILLS: u64 = 8;

/// eastus is a directory, westus2 lies on S3, westeurope on Azure Blob.
async fn world() -> World {
    let mut world = World::new(Stores::from_environment()).await;
    world.server.stop();
    world.set("westus2", &world.stores.s3("westus2"));
    world.set("westeurope", &world.stores.azure("westeurope"));
    world.server.resume().await;
    world
}

async fn content_is_right(world: &World, version: &str, bytes: &[u8]) {
    for region in REGIONS {
        let name = format!("out-{region}");
        let out = world.scene.download(version, region, &name).await;
        assert!(out == bytes, "{region}: not the bytes that were published");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_on_s3_and_azure_hold_regions_through_a_whole_circle() {
    let mut world = world().await;
    let listed = world.verb(&["region", "list"]);
    let kinds: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| r["store"].as_str())
        .collect();
    assert_eq!(kinds.len(), 3, "{listed}");
    assert!(
        kinds[0] == "directory" && kinds[1].starts_with("s3://") && kinds[2].starts_with("az://")
    );
    let bytes = random_disk(DISK_BYTES, 3);
    let source = world.scene.upload("source", &bytes).await;
    let version = world.scene.version("1.0.0");
    let body = world.scene.version_body(&source, &REGIONS);
    world
        .scene
        .arm
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    content_is_right(&world, &version, &bytes).await;
    let file = world.server.scratch().join("out.raw");
    world.verb(&["export", "sig/debian/1.0.0", &file.display().to_string()]);
    assert!(std::fs::read(&file).unwrap() == bytes, "exported");
    assert!(!world.stores.left_on_s3("westus2").await.is_empty());

    // Another directory of the server takes over what lies in the bucket, and gives it back.
    assert!(world.server.stop());
    let moved = world.set("eastus", &world.stores.s3("eastus"));
    assert!(moved["moved"]["manifests"].as_u64() > Some(0), "{moved}");
    assert_eq!(
        world.set("eastus", &world.stores.s3("eastus"))["moved"]["bytes"],
        0,
        "again"
    );
    std::fs::remove_dir_all(world.server.data().join("regions/eastus")).unwrap();
    world.server.resume().await;
    content_is_right(&world, &version, &bytes).await;
    assert!(world.server.stop());
    world.set("eastus", &[]);
    // What is in the bucket is the owner's to remove; another region may not have the place.
    let refused = world.refused("westus2", &world.stores.s3("eastus"));
    assert!(
        refused.contains("another region or installation"),
        "{refused}"
    );
    world.server.resume().await;
    content_is_right(&world, &version, &bytes).await;

    world.nothing_is_left().await;
    assert_eq!(world.stores.left_on_s3("westus2").await, ["owner"]);
    world.nobody_told_a_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_on_s3_and_azure_survive_kills_in_the_middle() {
    let mut world = world().await;
    let bytes = random_disk(DISK_BYTES, 4);
    let source = world.scene.upload("source", &bytes).await;
    let body = world.scene.version_body(&source, &REGIONS);
    let version = world.scene.version("1.0.0");
    let answer = world
        .scene
        .arm
        .send("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let mut interrupted = 0;
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(20 + kill * 90)).await;
        let shown = world
            .scene
            .arm
            .send("GET", &version, GALLERY_VERSION, None)
            .await;
        if shown.body["properties"]["provisioningState"] == "Creating" {
            interrupted += 1;
        }
        world.server.kill();
        world.server.resume().await;
    }
    assert!(interrupted > 0, "no kill met the publish at work");
    world.state_is(&version, "Succeeded").await;
    content_is_right(&world, &version, &bytes).await;
    world.nothing_is_left().await;
    assert_eq!(world.stores.left_on_s3("westus2").await, ["owner"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_on_s3_and_azure_that_go_away_come_back_with_nothing_lost() {
    let mut world = world().await;
    let (first, second) = (random_disk(DISK_BYTES, 5), random_disk(DISK_BYTES, 6));
    let source = world.scene.upload("source", &first).await;
    let kept = world.scene.version("1.0.0");
    let body = world.scene.version_body(&source, &REGIONS);
    world
        .scene
        .arm
        .done("PUT", &kept, GALLERY_VERSION, Some(&body))
        .await;
    let other = world.scene.upload("other", &second).await;
    let version = world.scene.version("2.0.0");
    let body = world.scene.version_body(&other, &REGIONS);

    world.stores.set_down(true);
    world.put(&version, &body).await;
    world.state_is(&version, "Failed").await;
    let shown = world.shown(&version).await;
    let summary = shown["properties"]["replicationStatus"]["summary"]
        .as_array()
        .cloned();
    let states: Vec<Value> = summary
        .into_iter()
        .flatten()
        .map(|r| r["state"].clone())
        .collect();
    assert_eq!(states, ["Completed", "Failed", "Failed"], "{shown}");
    assert!(shown.to_string().contains("does not answer"), "{shown}");
    assert!(world.scene.download(&version, "eastus", "here").await == second);
    let metrics = world.metrics().await;
    for region in ["westus2", "westeurope"] {
        let line = format!("vitrine_store_up{{region=\"{region}\"}} 0");
        assert!(metrics.contains(&line), "{metrics}");
    }

    // A server that starts now says what is wrong, and serves what it can.
    assert!(world.server.stop());
    world.server.resume().await;
    until("the log tells it", Duration::from_secs(60), || async {
        let log = world.server.log_text();
        log.contains("the store of region westus2 cannot be opened")
            .then_some(())
    })
    .await;
    assert!(world.scene.download(&version, "eastus", "there").await == second);

    world.stores.set_down(false);
    world.put(&version, &body).await;
    world.state_is(&version, "Succeeded").await;
    content_is_right(&world, &version, &second).await;
    content_is_right(&world, &kept, &first).await;
    let scrub = world.metrics().await;
    assert!(
        scrub.contains("vitrine_store_up{region=\"westus2\"} 1"),
        "{scrub}"
    );

    // A server that does not know of the bucket is refused, and loses nothing.
    assert!(world.server.stop());
    let config = world.server.data().join("vitrine.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "").unwrap();
    let fsck = world.server.vitrine(&["fsck"]);
    let says = String::from_utf8_lossy(&fsck.stderr).into_owned();
    assert!(!fsck.status.success() && says.contains("westus2"), "{says}");
    world.server.resume().await;
    until(
        "the log tells where the content is",
        Duration::from_secs(60),
        || async {
            let log = world.server.log_text();
            log.contains("lies in s3://").then_some(())
        },
    )
    .await;
    assert!(world.server.stop());
    std::fs::write(&config, text).unwrap();
    world.server.resume().await;
    content_is_right(&world, &kept, &first).await;
    world.nothing_is_left().await;
    world.nobody_told_a_secret();
}
