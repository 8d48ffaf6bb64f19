//! Regions of a version: added, removed, down, repaired; what each can use meanwhile.

use domain::{ProvisioningState, ResourceId};
use serde_json::{Value, json};
use std::path::PathBuf;

use super::world::{World, noise, poll_times, version_body};
use tokio_util::sync::CancellationToken;

const BYTES: usize = 128 << 10;

async fn world_with_source() -> (World, ResourceId, ResourceId) {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    (world, source, version)
}

/// Puts a file in the place of a region's directory; returns where the directory is now.
fn take_down(world: &World, region: &str) -> PathBuf {
    let path = world.store_path(region);
    let aside = path.with_extension("aside");
    if path.exists() {
        std::fs::rename(&path, &aside).unwrap();
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "not a directory").unwrap();
    aside
}

fn repair(world: &World, region: &str) {
    let path = world.store_path(region);
    std::fs::remove_file(&path).unwrap();
    let aside = path.with_extension("aside");
    if aside.exists() {
        std::fs::rename(aside, path).unwrap();
    }
}

fn packs(world: &World, region: &str) -> Vec<(PathBuf, u64)> {
    let listed = std::fs::read_dir(world.store_path(region).join("packs")).unwrap();
    let packs = listed
        .map(|e| e.unwrap())
        .map(|e| (e.path(), e.metadata().unwrap().len()));
    let mut packs: Vec<_> = packs.collect();
    packs.sort();
    packs
}

async fn shown(world: &World, version: &ResourceId) -> Value {
    let row = world.engine.get(&world.ctx, version).await.unwrap();
    world.engine.replication_status(&row).await.unwrap()
}

#[tokio::test]
async fn regions_come_and_go_and_a_changed_count_moves_nothing() {
    let (world, source, version) = world_with_source().await;
    world
        .make(&version, &version_body(&source, &["eastus"]))
        .await
        .unwrap();
    world.remove(&source).await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &body).await.unwrap();
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(
        content == noise(BYTES, 1),
        "a region added later has the content without the source"
    );

    let before = packs(&world, "westus2");
    let mut more = body.clone();
    more["properties"]["publishingProfile"]["targetRegions"][1]["regionalReplicaCount"] = json!(3);
    world.make(&version, &more).await.unwrap();
    assert_eq!(packs(&world, "westus2"), before);
    let status = shown(&world, &version).await;
    let details = status["summary"][1]["details"].as_str().unwrap_or_default();
    assert_eq!(
        details,
        "1 physical copy of 3 replicas: the region has 1 store"
    );

    world
        .make(&version, &version_body(&source, &["eastus"]))
        .await
        .unwrap();
    let gone = world.content(&version, "westus2", BYTES).await.unwrap_err();
    assert_eq!(gone.code, "GalleryImageNotFound");
    world.engine.sweep(0).await.unwrap();
    assert_eq!(packs(&world, "westus2"), []);
    let content = world.content(&version, "eastus", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_disk_in_a_region_that_is_removed_keeps_its_content() {
    let (world, source, version) = world_with_source().await;
    let both = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &both).await.unwrap();
    let disk = world.disk_from("kept", &version, "westus2").await.unwrap();
    world
        .make(&version, &version_body(&source, &["eastus"]))
        .await
        .unwrap();
    world.remove(&version).await;
    world.engine.sweep(0).await.unwrap();
    assert!(world.read_disk(&disk, BYTES).await == noise(BYTES, 1));
    world.nothing_is_orphaned().await;
}

/// A region is down while a version is published to three; it fails alone, and after the repair the same PUT mends it.
async fn one_region_down(is_open_before: bool) {
    let (world, source, version) = world_with_source().await;
    if is_open_before {
        world.engine.open_stores().await;
    }
    take_down(&world, "westus2");
    let body = version_body(&source, &["eastus", "westus2", "westeurope"]);
    let error = world.make(&version, &body).await.unwrap_err();
    assert_eq!(error.code, "ReplicationFailed", "{error}");
    let begin = "Replication to all the target regions not completed. The replication job has not completed at region: 'West US 2'.";
    assert!(error.message.starts_with(begin), "{error}");
    assert!(error.message.contains("Check its storage"), "{error}");
    assert!(error.message.contains("Send the same PUT again"), "{error}");
    let row = world.engine.get(&world.ctx, &version).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Failed);
    let status = shown(&world, &version).await;
    assert_eq!(status["aggregatedState"], "Failed", "{status}");
    let states: Vec<&str> = status["summary"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| r["state"].as_str())
        .collect();
    assert_eq!(states, ["Completed", "Failed", "Completed"]);
    let details = status["summary"][1]["details"].as_str().unwrap_or_default();
    assert!(details.contains("does not answer"), "{status}");
    for region in ["eastus", "westeurope"] {
        let content = world.content(&version, region, BYTES).await.unwrap();
        assert!(content == noise(BYTES, 1), "{region} is usable");
    }
    let unusable = world.content(&version, "westus2", BYTES).await.unwrap_err();
    assert_eq!(unusable.code, "GalleryImageNotFound");

    repair(&world, "westus2");
    let before = (packs(&world, "eastus"), packs(&world, "westeurope"));
    world.remove(&source).await;
    world.make(&version, &body).await.unwrap();
    assert_eq!(
        (packs(&world, "eastus"), packs(&world, "westeurope")),
        before
    );
    let status = shown(&world, &version).await;
    assert_eq!(status["aggregatedState"], "Completed", "{status}");
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_region_that_is_down_from_the_start_fails_alone_and_is_mended_by_the_same_put() {
    one_region_down(false).await;
}

#[tokio::test]
async fn a_region_that_goes_down_while_its_store_is_open_fails_alone_and_is_mended_by_the_same_put()
{
    one_region_down(true).await;
}

#[tokio::test]
async fn a_publish_whose_own_region_is_down_fails_and_is_mended_by_the_same_put() {
    let (world, source, version) = world_with_source().await;
    take_down(&world, "eastus");
    let body = version_body(&source, &["eastus", "westus2"]);
    let error = world.make(&version, &body).await.unwrap_err();
    assert_eq!(error.code, "StoreUnavailable", "{error}");
    assert!(error.message.contains("Check its storage"), "{error}");
    repair(&world, "eastus");
    world.make(&version, &body).await.unwrap();
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_version_is_mended_without_the_region_that_is_down() {
    let (world, source, version) = world_with_source().await;
    take_down(&world, "westus2");
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &body).await.unwrap_err();
    let body = version_body(&source, &["eastus", "westeurope"]);
    let row = world.make(&version, &body).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
    let content = world.content(&version, "westeurope", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
    assert_eq!(
        shown(&world, &version).await["aggregatedState"],
        "Completed"
    );
    repair(&world, "westus2");
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_group_is_deleted_although_a_region_is_down() {
    let (world, source, version) = world_with_source().await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &body).await.unwrap();
    world.disk_from("far", &version, "westus2").await.unwrap();
    take_down(&world, "westus2");
    let group = ResourceId::group(&world.subscription, "rg");
    world.remove(&group).await;
    let gone = world.engine.get(&world.ctx, &group).await.unwrap_err();
    assert_eq!(gone.code, "ResourceGroupNotFound");
    // The other regions are swept meanwhile, this one when it is back.
    world.engine.sweep(0).await.unwrap();
    assert_eq!(packs(&world, "eastus"), []);
    repair(&world, "westus2");
    world.group().await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_region_serves_a_version_that_is_still_on_its_way_to_others() {
    let (world, source, version) = world_with_source().await;
    world.engine.open_stores().await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.put(&version, &body).await.unwrap();
    let stop = CancellationToken::new();
    let mut work = Box::pin(world.engine.work_once("slow", &stop));
    while world.regions_of(&version).await.get("westus2") != Some(&"Replicating") {
        assert!(
            poll_times(work.as_mut(), 1).await.is_none(),
            "it is seen under way"
        );
    }
    // It is paused here: its lease keeps others away, its transactions are gone.
    drop(work);
    let status = shown(&world, &version).await;
    assert_eq!(status["aggregatedState"], "InProgress", "{status}");
    for image in [version.clone(), version.parent().unwrap()] {
        let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": image.to_string() } });
        let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
        let disk = world.id("disks/early");
        world.put(&disk, &body).await.unwrap();
        world.work("other").await;
        assert!(world.read_disk(&disk, BYTES).await == noise(BYTES, 1));
        world.delete(&disk).await.unwrap();
        world.work("other").await;
        let elsewhere =
            json!({ "location": "westus2", "properties": { "creationData": creation } });
        let refused = world.put(&disk, &elsewhere).await.err().unwrap();
        assert_eq!(refused.kind, domain::ErrorKind::NotFound, "{refused}");
    }
    world.settle().await;
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
}

#[tokio::test]
async fn latest_is_decided_for_each_region_with_its_own_excludes() {
    let (world, _, _) = world_with_source().await;
    // Number, seed, regions, excluded everywhere, what each region says of its own.
    let versions = [
        (
            "1.9.0",
            1,
            vec!["eastus", "westus2"],
            false,
            vec![None, None],
        ),
        (
            "1.10.0",
            2,
            vec!["eastus", "westus2"],
            false,
            vec![None, Some(true)],
        ),
        ("2.0.0", 3, vec!["eastus"], false, vec![None]),
        (
            "3.0.0",
            4,
            vec!["eastus", "westus2"],
            true,
            vec![None, Some(false)],
        ),
        (
            "4.0.0",
            5,
            vec!["eastus", "westus2"],
            true,
            vec![None, None],
        ),
    ];
    for (number, seed, regions, everywhere, own) in versions {
        let disk = world
            .disk(&format!("s{seed}"), "eastus", &noise(4096, seed))
            .await;
        let mut body = version_body(&disk, &regions);
        let profile = &mut body["properties"]["publishingProfile"];
        profile["excludeFromLatest"] = json!(everywhere);
        for (at, word) in own.iter().enumerate().filter(|(_, word)| word.is_some()) {
            profile["targetRegions"][at]["excludeFromLatest"] = json!(word);
        }
        world.make(&world.version(number), &body).await.unwrap();
    }
    let definition = world.id("galleries/sig/images/debian");
    let steps = [
        ("3.0.0", 4, 3),
        ("2.0.0", 1, 3),
        ("1.10.0", 1, 2),
        ("1.9.0", 1, 1),
    ];
    for (gone, west, east) in steps {
        for (region, seed) in [("westus2", west), ("eastus", east)] {
            let content = world.content(&definition, region, 4096).await.unwrap();
            assert!(content == noise(4096, seed), "{region} before {gone} goes");
        }
        world.remove(&world.version(gone)).await;
    }
    let none = world
        .content(&definition, "eastus", 4096)
        .await
        .unwrap_err();
    let text = format!("There is no latest image version exists for \"{definition}\"");
    assert_eq!(none.message, text);
}
