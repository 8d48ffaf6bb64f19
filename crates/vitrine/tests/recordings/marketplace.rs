//! The marketplace that the recorded machines came from, made here: small images of the recorded sizes, offered by the
//! operator out of a subscription of its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Arm, Gallery};

use crate::exchange::Recording;

const GROUP_VERSION: &str = "2024-11-01";
/// Before definitions had a default security type.
const GALLERY_VERSION: &str = "2023-07-03";
const DISK_VERSION: &str = "2023-04-02";
/// The size of every recorded system disk.
const SIZE_GIB: u64 = 30;

/// Offers every image that a recording reads.
pub async fn offer(server: &Gallery, arm: &Arm, recording: &Recording) {
    let mut wanted: BTreeSet<[String; 4]> = BTreeSet::new();
    let mut features = Value::Null;
    for exchange in &recording.exchanges {
        let segments: Vec<&str> = exchange.path.split('/').collect();
        let at = |word: &str| {
            let at = segments.iter().position(|s| s.eq_ignore_ascii_case(word));
            at.and_then(|at| segments.get(at + 1))
                .map(ToString::to_string)
        };
        if let [Some(publisher), Some(offer), Some(sku), Some(version)] =
            ["publishers", "offers", "skus", "versions"].map(at)
        {
            wanted.insert([publisher, offer, sku, version]);
            features = exchange.body["properties"]["features"].clone();
        }
    }
    if wanted.is_empty() {
        return;
    }
    let owner = server.credential("clientId");
    let made = server.vitrine(&[
        "subscription",
        "create",
        "--name",
        "Publisher",
        "--owner",
        &owner,
    ]);
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let subscription = made["subscriptionId"].as_str().expect("an id");
    let group = format!("/subscriptions/{subscription}/resourceGroups/images");
    let compute = format!("{group}/providers/Microsoft.Compute");
    let gallery = format!("{compute}/galleries/images");
    let disk = format!("{compute}/disks/system");
    let here = json!({ "location": "westus" });
    let empty = json!({
        "location": "westus",
        "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": SIZE_GIB, "osType": "Linux" },
    });
    arm.done("PUT", &group, GROUP_VERSION, Some(&here)).await;
    arm.done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
    arm.done("PUT", &disk, DISK_VERSION, Some(&empty)).await;
    for (number, [publisher, offer, sku, version]) in wanted.iter().enumerate() {
        let definition = format!("{gallery}/images/image{number}");
        let mut properties = json!({
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V1",
            "identifier": { "publisher": publisher, "offer": offer, "sku": sku },
        });
        if features.is_array() {
            properties["features"] = features.clone();
        }
        let body = json!({ "location": "westus", "properties": properties });
        arm.done("PUT", &definition, GALLERY_VERSION, Some(&body))
            .await;
        let body = json!({ "location": "westus", "properties": {
            "publishingProfile": { "targetRegions": [{ "name": "westus" }, { "name": "eastus2" }] },
            "storageProfile": { "osDiskImage": { "source": { "id": disk } } },
        } });
        let path = format!("{definition}/versions/{version}");
        arm.done("PUT", &path, GALLERY_VERSION, Some(&body)).await;
        let names = format!("{publisher}:{offer}:{sku}");
        let offered = server.vitrine(&["image", "offer", &definition, "--as", &names]);
        assert!(offered.status.success(), "{offered:?}");
    }
}
