//! Members that moved: old clients keep their words, the stored document has only the newest.
//!
//! Image versions before 2019-07-01 named their source in `publishingProfile.source.managedImage`;
//! disks of 2016-04-30-preview had `properties.accountType` where there is `sku` today.

use serde_json::{Value, json};

use super::Shape;

/// Rewrites a checked request to the newest words.
pub(crate) fn to_newest(shape: Shape, body: &mut Value) {
    match shape {
        Shape::ImageVersion => {
            let Some(profile) = body.pointer_mut("/properties/publishingProfile") else {
                return;
            };
            let Some(source) = profile
                .as_object_mut()
                .and_then(|p| p.shift_remove("source"))
            else {
                return;
            };
            if let Some(id) = source.pointer("/managedImage/id") {
                let id = id.clone();
                body["properties"]["storageProfile"]["source"] = json!({ "id": id });
            }
        }
        Shape::Disk | Shape::Snapshot => {
            let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) else {
                return;
            };
            if let Some(account) = properties.shift_remove("accountType") {
                body["sku"] = json!({ "name": account });
            }
        }
        _ => {}
    }
}

/// Rewrites a response to the words of a known api-version, before unknown members are hidden.
pub(crate) fn to_version(shape: Shape, version: &str, body: &mut Value) {
    match shape {
        Shape::ImageVersion if version < "2019-07-01" => {
            let Some(id) = body
                .pointer("/properties/storageProfile/source/id")
                .cloned()
            else {
                return;
            };
            if let Some(profile) = body
                .pointer_mut("/properties/publishingProfile")
                .and_then(Value::as_object_mut)
            {
                profile.insert("source".to_owned(), json!({ "managedImage": { "id": id } }));
            }
        }
        Shape::Disk | Shape::Snapshot if version < "2017-03-30" => {
            let Some(name) = body.pointer("/sku/name").cloned() else {
                return;
            };
            if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("accountType".to_owned(), name);
            }
        }
        _ => {}
    }
}
