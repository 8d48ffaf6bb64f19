//! Members that moved: old clients keep their words, the stored document has only the newest.
//!
//! Image versions before 2019-07-01 named their source in `publishingProfile.source.managedImage`;
//! disks of 2016-04-30-preview had `properties.accountType` where there is `sku` today.

use domain::{Error, Result};
use serde_json::{Value, json};

use super::Shape;

/// From this api-version on an image version says in `storageProfile` what it is made from.
const STORAGE_PROFILE_SINCE: &str = "2019-07-01";

/// Refuses a storage profile that names a source from clients to whom it was read-only. Source:
/// `API.md` 3.3.
///
/// What they read names none and may come back. The service says so before it looks into it, so this
/// comes before the check by table; `text` is known to be JSON.
pub(crate) fn check(shape: Shape, version: &str, text: &str) -> Result<()> {
    const TARGET: &str = "galleryImageVersion.properties.storageProfile";
    if shape != Shape::ImageVersion || version >= STORAGE_PROFILE_SINCE {
        return Ok(());
    }
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let profile = member(&body, "properties").and_then(|p| member(p, "storageProfile"));
    if !profile.is_some_and(names_source) {
        return Ok(());
    }
    let message = format!("Parameter '{TARGET}' is not allowed.");
    Err(Error::invalid_parameter(TARGET, message))
}

/// Returns a member whatever the case of its name.
fn member<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    let members = body.as_object()?;
    let found = members
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn names_source(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("source") && !value.is_null() || names_source(value)
        }),
        Value::Array(items) => items.iter().any(names_source),
        _ => false,
    }
}

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
        Shape::ImageVersion if version < STORAGE_PROFILE_SINCE => {
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
