//! Files of applications and scripts: captured once, kept without their blobs, there in every region.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use catalog::Content;
use domain::{ProvisioningState, ResourceId};
use serde_json::{Value, json};

use super::crash::{for_each_crash, template};
use super::world::{World, noise};

/// Odd on purpose: a package is as long as it is.
const BYTES: usize = 70_001;

/// The application `app` with a package in a blob; returns the account and the blob's URL.
async fn package(world: &World) -> (ResourceId, String) {
    let account = world.account().await;
    let link = world.blob(&account, "app.zip", &noise(BYTES, 7)).await;
    let body = json!({ "location": "eastus", "properties": { "supportedOSType": "Linux" } });
    world
        .make(&world.id("galleries/sig/applications/app"), &body)
        .await
        .unwrap();
    (account, link)
}

fn version(world: &World) -> ResourceId {
    world.id("galleries/sig/applications/app/versions/1.0.0")
}

fn body(link: &str, regions: &[&str]) -> Value {
    let regions: Vec<Value> = regions.iter().map(|name| json!({ "name": name })).collect();
    json!({ "location": "eastus", "properties": { "publishingProfile": {
        "source": { "mediaLink": link }, "targetRegions": regions,
        "manageActions": { "install": "i", "remove": "r" },
    } } })
}

/// The package as a region holds it.
async fn content(world: &World, region: &str) -> Vec<u8> {
    let replicas = world.replicas(&version(world)).await;
    let held = replicas.iter().find(|r| r.region == region).unwrap();
    assert_eq!(held.slot, "package");
    let Content::Manifest(manifest) = &held.content else {
        panic!("{held:?}")
    };
    let store = world.engine.store(region).await.unwrap();
    let reader = store.open_reader(manifest.parse().unwrap()).await.unwrap();
    reader.read(0, BYTES).await.unwrap()
}

#[tokio::test]
async fn a_package_outlives_its_blob_and_reaches_new_regions() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let (account, link) = package(&world).await;
    let made = world
        .make(&version(&world), &body(&link, &["eastus"]))
        .await
        .unwrap();
    assert_eq!(made.state, ProvisioningState::Succeeded);
    world.delete_blob(&account, "app.zip").await;
    let wide = body(&link, &["eastus", "westus2"]);
    let row = world.make(&version(&world), &wide).await.unwrap();
    for region in ["eastus", "westus2"] {
        assert!(content(&world, region).await == noise(BYTES, 7), "{region}");
    }
    let status = world.engine.replication_status(&row).await.unwrap();
    assert_eq!(status["aggregatedState"], "Completed");
    assert_eq!(status["summary"].as_array().unwrap().len(), 2);
    world.remove(&version(&world)).await;
    assert!(world.replicas(&version(&world)).await.is_empty());
}

#[tokio::test]
async fn a_version_without_its_file_fails_and_may_be_sent_again() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let (_, link) = package(&world).await;
    let nowhere = link.replace("app.zip", "other.zip");
    let failed = world
        .make(&version(&world), &body(&nowhere, &["eastus"]))
        .await;
    let error = failed.unwrap_err();
    assert!(
        error.message.contains("Source was not found") && error.message.contains("Upload the file"),
        "{error}"
    );
    let row = world
        .engine
        .get(&world.ctx, &version(&world))
        .await
        .unwrap();
    assert_eq!(row.state, ProvisioningState::Failed);
    let made = world
        .make(&version(&world), &body(&link, &["eastus"]))
        .await
        .unwrap();
    assert_eq!(made.state, ProvisioningState::Succeeded);
}

#[tokio::test]
async fn scripts_and_profiles_are_there_in_their_regions() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let (_, link) = package(&world).await;
    let here = |properties: Value| json!({ "location": "eastus", "properties": properties });
    let script = world.id("galleries/sig/scripts/s");
    world
        .make(&script, &here(json!({ "supportedOSType": "Linux" })))
        .await
        .unwrap();
    let profile = world.id("galleries/sig/inVMAccessControlProfiles/p");
    let sent = json!({ "osType": "Linux", "applicableHostEndpoint": "IMDS" });
    world.make(&profile, &here(sent)).await.unwrap();
    for (parent, properties) in [
        (
            &script,
            json!({ "publishingProfile": { "source": { "scriptLink": link } } }),
        ),
        (
            &profile,
            json!({ "mode": "Audit", "defaultAccess": "Deny" }),
        ),
    ] {
        let id = ResourceId::parse(&format!("{parent}/versions/1.0.0")).unwrap();
        let row = world.make(&id, &here(properties)).await.unwrap();
        let status = world.engine.replication_status(&row).await.unwrap();
        assert_eq!(status["aggregatedState"], "Completed", "{id}");
        let refused = world.delete(parent).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, "CannotDeleteResource", "{parent}");
        world.remove(&id).await;
        world.remove(parent).await;
    }
}

#[test]
fn an_application_is_published_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let (_, link) = package(world).await;
        let body = body(&link, &["eastus", "westus2"]);
        world.put(&version(world), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let row = world.engine.get(&world.ctx, &version(world)).await.unwrap();
        assert_eq!(row.state, ProvisioningState::Succeeded);
        for region in ["eastus", "westus2"] {
            assert!(content(world, region).await == noise(BYTES, 7), "{region}");
        }
    });
}
