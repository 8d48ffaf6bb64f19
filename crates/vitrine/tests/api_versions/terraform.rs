//! What Terraform's provider sends and waits for, by hand. Source: `WIRE.md` 0, 3, 4.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::until;

use crate::World;

const GALLERIES: &str = "2022-03-03";
const VERSIONS: &str = "2023-07-03";
const DISKS: &str = "2023-04-02";

impl World {
    /// Deletes as Terraform does: no poll URL is looked at, only the resource, until it is gone.
    async fn destroyed(&self, id: &str, version: &str) {
        let arm = &self.scene.arm;
        let deleted = arm.send("DELETE", id, version, None).await;
        assert_eq!(deleted.status, 202, "{id}: {}", deleted.body);
        until(id, Duration::from_secs(30), || async {
            let shown = arm.send("GET", id, version, None).await;
            assert!([200, 404].contains(&shown.status), "{id}: {}", shown.status);
            (shown.status == 404).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_disk_of_terraform_is_made_read_changed_and_destroyed() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let disk = world.scene.disk("tf");
    let absent = arm.send("GET", &disk, DISKS, None).await;
    assert_eq!((absent.status, absent.code()), (404, "ResourceNotFound"));
    let body = json!({
        "location": "eastus",
        "properties": {
            "creationData": { "createOption": "Empty", "performancePlus": false },
            "diskSizeGB": 1,
            "encryption": { "type": "EncryptionAtRestWithPlatformKey" },
            "networkAccessPolicy": "AllowAll",
            "optimizedForFrequentAttach": false,
            "osType": "",
            "publicNetworkAccess": "Enabled",
        },
        "sku": { "name": "Standard_LRS" },
        "tags": {},
    });
    let made = world.made(&disk, DISKS, &body).await;
    for name in [
        "encryption",
        "networkAccessPolicy",
        "publicNetworkAccess",
        "diskSizeGB",
    ] {
        assert_eq!(
            made["properties"][name], body["properties"][name],
            "{name}: {made}"
        );
    }
    assert_eq!(made["sku"]["name"], "Standard_LRS");
    assert_eq!(made["properties"].get("osType"), None, "{made}");
    let patch = json!({ "properties": { "diskSizeGB": 2 }, "tags": { "a": "b" } });
    let grown = arm.done("PATCH", &disk, DISKS, Some(&patch)).await;
    assert_eq!(grown["properties"]["diskSizeGB"], 2, "{grown}");
    assert_eq!(world.get(&disk, DISKS).await["tags"], json!({ "a": "b" }));
    world.destroyed(&disk, DISKS).await;
}

#[tokio::test]
async fn a_gallery_of_terraform_is_made_updated_from_what_was_read_and_destroyed() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let gallery = world.scene.gallery.replace("/sig", "/tf");
    let body = json!({ "location": "eastus", "properties": { "description": "d" }, "tags": {} });
    let mut read = world.made(&gallery, GALLERIES, &body).await;
    assert_eq!(read["tags"], json!({}), "what was sent is shown");
    read["properties"]["description"] = json!("changed");
    let updated = world.made(&gallery, GALLERIES, &read).await;
    assert_eq!(updated["properties"]["description"], "changed");

    let image = format!("{gallery}/images/tf");
    let body = json!({
        "location": "eastus",
        "properties": {
            "architecture": "x64",
            "description": "",
            "disallowed": { "diskTypes": [] },
            "eula": "",
            "features": [],
            "hyperVGeneration": "V1",
            "identifier": { "publisher": "p", "offer": "o", "sku": "s" },
            "osState": "Generalized",
            "osType": "Linux",
            "privacyStatementUri": "",
            "recommended": {},
            "releaseNoteUri": "",
        },
        "tags": {},
    });
    let read = world.made(&image, GALLERIES, &body).await;
    let again = world.made(&image, GALLERIES, &read).await;
    assert_eq!(again, read, "what was read changes nothing");

    let version = format!("{image}/versions/1.0.0");
    let region = |name: &str| json!({ "name": name, "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS", "excludeFromLatest": false });
    let body = json!({
        "location": "eastus",
        "properties": {
            "publishingProfile": {
                "excludeFromLatest": false,
                "replicationMode": "Full",
                "targetRegions": [region("eastus"), region("West US 2")],
            },
            "safetyProfile": { "allowDeletionOfReplicatedLocations": false },
            "storageProfile": { "osDiskImage": { "source": { "id": world.source } } },
        },
        "tags": {},
    });
    let read = world.made(&version, VERSIONS, &body).await;
    let types = |shown: &Value| {
        let regions = shown["properties"]["publishingProfile"]["targetRegions"].as_array();
        let regions = regions.into_iter().flatten();
        regions
            .map(|r| r["storageAccountType"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        types(&read),
        ["Standard_LRS", "Standard_LRS"],
        "no other spelling, no drift"
    );
    let again = world.made(&version, VERSIONS, &read).await;
    assert_eq!(again, read, "what was read changes nothing");

    world.destroyed(&version, VERSIONS).await;
    world.destroyed(&image, GALLERIES).await;
    world.destroyed(&gallery, GALLERIES).await;
    let left = format!(
        "{}/resources?$expand=provisioningState&$top=10",
        world.scene.group
    );
    let left = arm.send("GET", &left, "2023-07-01", None).await;
    let names = left.body["value"].as_array().map(Vec::len);
    assert_eq!(
        (left.status, names),
        (200, Some(3)),
        "the scene's own: {}",
        left.body
    );
}

#[tokio::test]
async fn a_community_gallery_of_terraform_is_opened_and_reset() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let gallery = world.scene.gallery.replace("/sig", "/community");
    let body = json!({
        "location": "eastus",
        "properties": { "sharingProfile": {
            "permissions": "Community",
            "communityGalleryInfo": {
                "eula": "https://example.org/eula",
                "publicNamePrefix": "prefix",
                "publisherContact": "images@example.org",
                "publisherUri": "https://example.org",
            },
        } },
        "tags": {},
    });
    let made = world.made(&gallery, GALLERIES, &body).await;
    let info = &made["properties"]["sharingProfile"]["communityGalleryInfo"];
    let name = info["publicNames"][0].as_str().expect("a public name");
    assert!(name.starts_with("prefix-"), "{made}");
    let share = format!("{gallery}/share");
    for (verb, permissions) in [("EnableCommunity", "Community"), ("Reset", "Private")] {
        let body = json!({ "operationType": verb, "groups": [] });
        let answer = arm.send("POST", &share, GALLERIES, Some(&body)).await;
        assert_eq!(answer.status, 202, "{verb}: {}", answer.body);
        let url = answer.header("azure-asyncoperation").expect("a poll URL");
        assert_eq!(arm.poll(url).await["status"], "Succeeded", "{verb}");
        let shown = world.get(&gallery, GALLERIES).await;
        let profile = &shown["properties"]["sharingProfile"];
        assert_eq!(profile["permissions"], permissions, "{verb}: {shown}");
    }
    world.destroyed(&gallery, GALLERIES).await;
}
