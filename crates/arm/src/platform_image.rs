//! Images of the marketplace as consumers read them. Source: recorded; the specification of virtual machine images.
//!
//! Members are named one by one: what is not named here – tags, sources, owner, gallery – never shows.

use domain::Resource;
use domain::platform_image::{PlatformSku, path};
use serde_json::{Map, Value, json};

/// The footer of the fixed VHD that sizes count.
const FOOTER_BYTES: u64 = 512;

/// What is known of a version that is shown.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// The definition behind it.
    pub definition: &'a Resource,
    /// The number.
    pub number: &'a str,
    /// The size of the system disk.
    pub os_bytes: u64,
    /// The numbers of the data disks.
    pub luns: &'a [i64],
    /// `imageDeprecationStatus`.
    pub deprecation: Value,
}

/// Returns a publisher, offer or SKU: the last of `names`.
pub fn name(subscription: &str, region: &str, names: &[&str]) -> Value {
    json!({
        "location": region,
        "name": names.last().copied().unwrap_or_default(),
        "id": path(subscription, region, names),
    })
}

/// Returns a version as lists show it: with what it is only when it was asked for.
pub fn item(
    subscription: &str,
    region: &str,
    sku: &PlatformSku,
    shown: &Shown<'_>,
    is_expanded: bool,
) -> Value {
    let mut out = Map::new();
    if is_expanded {
        out.insert("properties".to_owned(), properties(shown));
    }
    let id = path(subscription, region, &sku.names());
    out.insert("location".to_owned(), json!(region));
    out.insert("name".to_owned(), json!(shown.number));
    out.insert(
        "id".to_owned(),
        json!(format!("{id}/Versions/{}", shown.number)),
    );
    Value::Object(out)
}

fn properties(shown: &Shown<'_>) -> Value {
    let says = |name: &str| shown.definition.properties.get(name).cloned();
    let mut out = Map::new();
    out.insert(
        "hyperVGeneration".to_owned(),
        says("hyperVGeneration").unwrap_or_else(|| json!("V1")),
    );
    out.insert(
        "architecture".to_owned(),
        says("architecture").unwrap_or_else(|| json!("x64")),
    );
    // Machines here have managed disks alone, and nothing upgrades their systems.
    out.insert("replicaType".to_owned(), json!("Managed"));
    out.insert(
        "disallowed".to_owned(),
        json!({ "vmDiskType": "Unmanaged" }),
    );
    out.insert(
        "automaticOSUpgradeProperties".to_owned(),
        json!({ "automaticOSUpgradeSupported": false }),
    );
    out.insert(
        "imageDeprecationStatus".to_owned(),
        shown.deprecation.clone(),
    );
    if let Some(features) = says("features") {
        out.insert("features".to_owned(), features);
    }
    if let Some(plan) = says("purchasePlan") {
        out.insert("plan".to_owned(), plan);
    }
    let os_type = says("osType").unwrap_or_else(|| json!("Linux"));
    out.insert(
        "osDiskImage".to_owned(),
        json!({ "operatingSystem": os_type, "sizeInBytes": shown.os_bytes + FOOTER_BYTES }),
    );
    let data = shown.luns.iter().map(|lun| json!({ "lun": lun }));
    out.insert("dataDiskImages".to_owned(), data.collect());
    Value::Object(out)
}

/// Returns the document in which `az` looks up one word for an image: by system, then by word.
pub fn aliases<'a>(
    all: impl Iterator<Item = (&'a str, &'a PlatformSku, &'a str, &'a str)>,
) -> Value {
    let mut value = json!({ "Linux": {}, "Windows": {} });
    for (alias, sku, os_type, architecture) in all {
        value[os_type][alias] = json!({
            "publisher": sku.publisher,
            "offer": sku.offer,
            "sku": sku.sku,
            "version": "latest",
            "architecture": architecture,
        });
    }
    json!({ "outputs": { "aliases": { "type": "object", "value": value } } })
}
