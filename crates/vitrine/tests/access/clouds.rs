//! Clouds: nothing is replicated to a region of another one, and nothing is taken from there.

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION};

use crate::sharing::Market;
use crate::world::check;

/// Regions of other clouds, in both forms of their names.
const REGIONS: [&str; 6] = [
    "chinanorth3",
    "China East 2",
    "usgovvirginia",
    "USGov Arizona",
    "germanycentral",
    "Germany Northeast",
];
/// Where the blobs of other clouds are.
const SUFFIXES: [&str; 3] = [
    "core.chinacloudapi.cn",
    "core.usgovcloudapi.net",
    "core.cloudapi.de",
];

fn targets(regions: &[&str]) -> Value {
    let named: Vec<Value> = regions.iter().map(|name| json!({ "name": name })).collect();
    json!({ "properties": { "publishingProfile": { "targetRegions": named } } })
}

#[tokio::test]
async fn nothing_is_replicated_to_another_cloud() {
    let market = Market::new().await;
    let (owner, scene) = (&market.world.owner, &market.scene);
    let (there, next) = (scene.version("1.0.0"), scene.version("2.0.0"));
    let status = format!("{there}?$expand=ReplicationStatus");
    let before = owner.done("GET", &status, GALLERY_VERSION, None).await;
    let source = scene.disk("hiddensource");
    let snapshot = format!("{}/providers/Microsoft.Compute/snapshots/s", scene.group);
    for region in REGIONS {
        let fresh = scene.version_body(&source, &["eastus", region]);
        let patch = targets(&["eastus", region]);
        let mut update = patch.clone();
        update["location"] = json!("eastus");
        for (method, path, body) in [
            ("PUT", &next, &fresh),
            ("PUT", &there, &update),
            ("PATCH", &there, &patch),
        ] {
            let refused = owner.send(method, path, GALLERY_VERSION, Some(body)).await;
            check(&refused, 400, "InvalidParameter");
            assert_eq!(
                refused.body["error"]["target"],
                "galleryImageVersion.properties.publishingProfile.targetRegions.name"
            );
            assert_eq!(
                refused.message(),
                format!(
                    "The target region '{region}' is not available. List of available regions is 'eastus,westus2,westeurope'."
                )
            );
        }
        // Nor does anything begin there.
        let mut home = scene.version_body(&source, &[region]);
        home["location"] = json!(region);
        let creation = json!({ "createOption": "CopyStart", "sourceResourceId": source });
        let copy = json!({ "location": region, "properties": { "creationData": creation } });
        for (path, version, body) in [
            (&next, GALLERY_VERSION, &home),
            (&snapshot, DISK_VERSION, &copy),
        ] {
            let refused = owner.send("PUT", path, version, Some(body)).await;
            check(&refused, 400, "LocationNotAvailableForResourceType");
        }
    }
    let after = owner.done("GET", &status, GALLERY_VERSION, None).await;
    assert_eq!(before, after);
    for (path, version) in [(&next, GALLERY_VERSION), (&snapshot, DISK_VERSION)] {
        let missing = owner.send("GET", path, version, None).await;
        check(&missing, 404, "ResourceNotFound");
    }
    // A region of this gallery is one that it replicates to.
    let body = targets(&["eastus", "West US 2"]);
    owner
        .done("PATCH", &there, GALLERY_VERSION, Some(&body))
        .await;
    let shown = owner.done("GET", &status, GALLERY_VERSION, None).await;
    let summary = shown["properties"]["replicationStatus"]["summary"].as_array();
    assert_eq!(summary.map(Vec::len), Some(2), "{shown}");
}

#[tokio::test]
async fn a_blob_of_another_cloud_is_not_taken_for_one_of_the_same_name_here() {
    let market = Market::new().await;
    let (owner, scene) = (&market.world.owner, &market.scene);
    let account = format!(
        "{}/providers/Microsoft.Storage/storageAccounts/vhdstore",
        scene.group
    );
    let body =
        json!({ "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
    owner.done("PUT", &account, "2025-08-01", Some(&body)).await;
    for suffix in SUFFIXES {
        let uri = format!("https://vhdstore.blob.{suffix}/vhds/image.vhd");
        let source = json!({ "uri": uri, "storageAccountId": account });
        let version = json!({ "location": "eastus", "properties": {
            "storageProfile": { "osDiskImage": { "source": source } } } });
        let creation =
            json!({ "createOption": "Import", "sourceUri": uri, "storageAccountId": account });
        let disk = json!({ "location": "eastus", "properties": { "creationData": creation } });
        for (path, api, body) in [
            (scene.version("3.0.0"), GALLERY_VERSION, version),
            (scene.disk("imported"), DISK_VERSION, disk),
        ] {
            let (answer, status) = owner.over("PUT", &path, api, Some(&body)).await;
            let said = format!("{} {status:?}", answer.body);
            assert!(
                said.contains("It is not the https URL of a blob of this server."),
                "{path}: {said}"
            );
            let left = owner.send("GET", &path, api, None).await;
            let state = &left.body["properties"]["provisioningState"];
            assert!(
                left.status == 404 || state == "Failed",
                "{path}: {}",
                left.body
            );
            owner.over("DELETE", &path, api, None).await;
        }
    }
}
