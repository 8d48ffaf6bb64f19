//! Galleries of others as consumers read them. Source: `API.md` 9.
//!
//! Members are named one by one: what is not named here – tags, sources, owner, group – never shows.

use domain::Resource;
use domain::confusable::Worth;
use domain::shared_image::Door;
use serde_json::{Map, Value, json};

/// What consumers read of a definition.
const IMAGE: [&str; 12] = [
    "osType",
    "osState",
    "endOfLifeDate",
    "recommended",
    "disallowed",
    "hyperVGeneration",
    "features",
    "purchasePlan",
    "architecture",
    "privacyStatementUri",
    "eula",
    "identifier",
];
const DISCLAIMER: &str = "https://aka.ms/community-gallery-disclaimer";

/// Returns an item of the list of shared galleries: it has no properties.
pub fn gallery_item(door: Door, name: &str, region: &str) -> Value {
    json!({ "location": region, "name": name, "identifier": { "uniqueId": unique_id(door, name) } })
}

/// Returns a gallery; a public one says what its name is worth.
pub fn gallery(door: Door, row: &Resource, name: &str, region: &str, worth: &Worth) -> Value {
    let mut out = json!({ "properties": {} });
    merge(&mut out, gallery_item(door, name, region));
    if door == Door::Community {
        let metadata = community_metadata(row, worth);
        out["properties"] = json!({ "disclaimer": DISCLAIMER, "communityMetadata": metadata });
        out["disclaimer"] = json!(DISCLAIMER);
        out["communityMetadata"] = metadata;
    }
    out
}

/// Returns a row of the query of public galleries.
pub fn community_row(
    row: &Resource,
    subscription: &str,
    name: &str,
    region: &str,
    worth: &Worth,
) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{region}/communityGalleries/{name}"),
        "name": name,
        "type": "microsoft.compute/locations/communitygalleries",
        "location": region,
        "properties": {
            "communityMetadata": community_metadata(row, worth),
            "disclaimer": DISCLAIMER,
            "identifier": { "uniqueId": unique_id(Door::Community, name) },
        },
    })
}

fn community_metadata(row: &Resource, worth: &Worth) -> Value {
    let info = row
        .properties
        .get("sharingProfile")
        .and_then(|p| p.get("communityGalleryInfo"));
    let mut shown = Map::new();
    for name in ["publisherUri", "publisherContact", "eula", "publicNames"] {
        if let Some(value) = info.and_then(|i| i.get(name)) {
            shown.insert(name.to_owned(), value.clone());
        }
    }
    // Members of this product: the original has neither badge nor warning.
    match worth {
        Worth::Verified(name) => {
            shown.insert("verifiedPublisher".to_owned(), json!(name));
        }
        Worth::LooksLike(name) => {
            let warning = format!(
                "The name looks like '{name}', and this gallery's publisher is not verified as that. Make sure whose images they are."
            );
            shown.insert("publisherWarning".to_owned(), json!(warning));
        }
        Worth::Plain => {}
    }
    Value::Object(shown)
}

/// Returns a definition.
pub fn image(door: Door, row: &Resource, gallery: &str, region: &str) -> Value {
    let mut properties = Map::new();
    for name in IMAGE {
        let value = row.properties.get(name).cloned();
        // Shown even when the owner recommends nothing.
        let value = value.or_else(|| (name == "recommended").then(|| json!({})));
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    }
    if door == Door::Community {
        properties.insert(
            "identifier".to_owned(),
            json!({ "publisher": "", "offer": "", "sku": "" }),
        );
    }
    let name = row.id.name();
    json!({
        "properties": properties,
        "location": region,
        "name": name,
        "identifier": { "uniqueId": format!("{}/Images/{name}", unique_id(door, gallery)) },
    })
}

/// Returns a version.
pub fn version(
    door: Door,
    row: &Resource,
    gallery: &str,
    region: &str,
    is_excluded: bool,
) -> Value {
    let profile = row.properties.get("publishingProfile");
    let mut properties = Map::new();
    for name in ["publishedDate", "endOfLifeDate"] {
        if let Some(value) = profile.and_then(|p| p.get(name)) {
            properties.insert(name.to_owned(), value.clone());
        }
    }
    properties.insert("excludeFromLatest".to_owned(), json!(is_excluded));
    let storage = row.properties.get("storageProfile");
    let mut shown = Map::new();
    if let Some(os) = storage.and_then(|s| s.get("osDiskImage")) {
        shown.insert("osDiskImage".to_owned(), disk(os));
    }
    if let Some(data) = storage
        .and_then(|s| s.get("dataDiskImages"))
        .and_then(Value::as_array)
    {
        shown.insert("dataDiskImages".to_owned(), data.iter().map(disk).collect());
    }
    properties.insert("storageProfile".to_owned(), Value::Object(shown));
    let image = row.id.names().nth(1).unwrap_or_default();
    let name = row.id.name();
    json!({
        "properties": properties,
        "location": region,
        "name": name,
        "identifier": { "uniqueId": format!("{}/Images/{image}/Versions/{name}", unique_id(door, gallery)) },
    })
}

fn disk(stored: &Value) -> Value {
    let mut out = Map::new();
    for (from, to) in [
        ("lun", "lun"),
        ("sizeInGB", "diskSizeGB"),
        ("hostCaching", "hostCaching"),
    ] {
        if let Some(value) = stored.get(from) {
            out.insert(to.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

fn unique_id(door: Door, name: &str) -> String {
    format!("/{}/{name}", door.as_str())
}

fn merge(out: &mut Value, more: Value) {
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
}
