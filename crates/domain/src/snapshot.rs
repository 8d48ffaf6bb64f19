//! Snapshots: immutable copies of a disk. Source: `API.md` 3.7, `WIRE.md` 4.5.
//!
//! What they share with disks is decided there.

use serde_json::{Value, json};

use crate::disk::{self, Rules};
use crate::plan::{PutContext, properties, take_once};
use crate::{Error, Kind, Resource, ResourceId, Result};

const RULES: Rules = Rules {
    kind: Kind::Snapshot,
    parameter: "snapshotName",
    skus: &["Standard_LRS", "Premium_LRS", "Standard_ZRS"],
    options: &["Empty", "Import", "Upload", "Copy", "CopyStart"],
    mutable: &[
        "osType",
        "supportsHibernation",
        "dataAccessAuthMode",
        "networkAccessPolicy",
        "publicNetworkAccess",
    ],
};

/// Decides a PUT or, with `stored`, a change.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut row = disk::plan(&RULES, ctx, id, body, stored)?;
    let sent = properties(body);
    take_once(
        &mut row.properties,
        &sent,
        &["incremental"],
        stored.is_none(),
        Kind::Snapshot.wire_name(),
    )?;
    let is_incremental = row.properties.entry("incremental").or_insert(json!(false));
    let creation = body.pointer("/properties/creationData/createOption");
    let starts_copy = creation
        .and_then(Value::as_str)
        .is_some_and(|option| option.eq_ignore_ascii_case("CopyStart"));
    if stored.is_none() && starts_copy && is_incremental != &json!(true) {
        return Err(Error::invalid_parameter(
            "snapshot.properties.incremental",
            "The create option 'CopyStart' makes incremental snapshots only. Set incremental to true.",
        ));
    }
    Ok(row)
}

/// Records what a snapshot was made from: incremental snapshots of one disk are a family.
pub fn set_origin(row: &mut Resource, source: &Resource) {
    if row.properties.get("incremental") != Some(&json!(true)) {
        return;
    }
    let family = source.properties.get("incrementalSnapshotFamilyId");
    if let Some(family) = family.or(source.properties.get("uniqueId")).cloned() {
        row.properties
            .insert("incrementalSnapshotFamilyId".to_owned(), family);
    }
}

/// Records that all of a copy from another region is there.
pub fn set_copied(row: &mut Resource) {
    row.properties
        .insert("completionPercent".to_owned(), json!(100.0));
}
