//! Encryption at rest: what is asked is stored and shown. Source: `API.md` 3.7.

use serde_json::{Value, json};

use super::member;
use crate::plan::{text, word};
use crate::resource::Document;
use crate::{Error, Resource, ResourceId, Result};

const TYPES: [&str; 3] = [
    "EncryptionAtRestWithPlatformKey",
    "EncryptionAtRestWithCustomerKey",
    "EncryptionAtRestWithPlatformAndCustomerKeys",
];

/// Plans `encryption`: a customer's key needs a set, and there is no way back to the platform's.
pub(super) fn plan(row: &mut Resource, sent: &Document) -> Result<()> {
    let target = member(row.kind, "encryption.type");
    let set_target = member(row.kind, "encryption.diskEncryptionSetId");
    let says = |name: &str| {
        let members = sent.get("encryption").and_then(Value::as_object);
        let value = members.and_then(|m| text(m, name));
        value.filter(|t| !t.is_empty())
    };
    let held = row.properties.get("encryption").and_then(Value::as_object);
    let held_type = held.and_then(|h| text(h, "type")).unwrap_or(TYPES[0]);
    let held_set = held.and_then(|h| text(h, "diskEncryptionSetId"));
    let set = says("diskEncryptionSetId").or(held_set);
    let kind = match says("type") {
        Some(kind) => word(kind, &TYPES, &target)?,
        None if held_type == TYPES[0] && set.is_some() => TYPES[1],
        None => word(held_type, &TYPES, &target)?,
    };
    if held_type != TYPES[0] && kind == TYPES[0] {
        return Err(Error::change_not_allowed(target));
    }
    let encryption = match set {
        None if kind != TYPES[0] => return Err(Error::required(set_target)),
        None => json!({ "type": kind }),
        Some(_) if kind == TYPES[0] => {
            return Err(Error::invalid_parameter(
                set_target,
                format!("A disk encryption set cannot be used with the encryption type '{kind}'."),
            ));
        }
        Some(id) if !is_set(id) => {
            return Err(Error::invalid_parameter(
                set_target.as_str(),
                format!("The value of parameter {set_target} is invalid."),
            ));
        }
        Some(id) => json!({ "diskEncryptionSetId": id, "type": kind }),
    };
    row.properties.insert("encryption".to_owned(), encryption);
    Ok(())
}

fn is_set(id: &str) -> bool {
    ResourceId::parse(id).is_ok_and(|id| {
        let kind = id.type_name();
        kind.eq_ignore_ascii_case("Microsoft.Compute/diskEncryptionSets")
    })
}

/// Returns the disk encryption set whose key encrypts a disk or snapshot.
pub fn encryption_set(row: &Resource) -> Option<ResourceId> {
    let encryption = row.properties.get("encryption")?.as_object()?;
    ResourceId::parse(text(encryption, "diskEncryptionSetId")?).ok()
}
