//! Managed disks. Source: `API.md` 3.7, `WIRE.md` 4.5.

mod access;
mod creation;
mod encryption;
mod size;
mod tier;

use serde_json::{Value, json};

use crate::plan::{
    PutContext, canonical, drop_nothing, is_nothing, is_part, properties, same, start, take, text,
};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

pub use access::{
    AccessLevel, AccessRequest, DiskState, attach, begin_access, check_delete, check_readable,
    closed_state, detach, holder, is_held_by, note_owner, reserve, set_state,
};
pub use creation::{check_copy_source, copy_source, version_reference};
pub use encryption::encryption_set;
pub use size::{set_size, size_bytes};

pub(crate) const SKUS: [&str; 7] = [
    "Standard_LRS",
    "Premium_LRS",
    "StandardSSD_LRS",
    "UltraSSD_LRS",
    "Premium_ZRS",
    "StandardSSD_ZRS",
    "PremiumV2_LRS",
];
const POLICIES: [&str; 3] = ["AllowAll", "AllowPrivate", "DenyAll"];
/// What a disk that is sold by its numbers may say; elsewhere they follow from size and sku.
const PERFORMANCE: [&str; 2] = ["diskIOPSReadWrite", "diskMBpsReadWrite"];
/// Objects that grow with the api-version: what is not named in them stays.
const MERGED: [&str; 2] = ["purchasePlan", "supportedCapabilities"];
/// Members that are said once, at first or later.
const ONCE: [&str; 2] = ["hyperVGeneration", "securityProfile"];
/// Members beside `properties` that are said once.
const ONCE_TOP: [&str; 2] = ["zones", "extendedLocation"];

/// Where disks and snapshots differ; everything else they share.
pub(crate) struct Rules {
    pub kind: Kind,
    /// The name of the resource in the service's texts.
    pub parameter: &'static str,
    pub skus: &'static [&'static str],
    /// The create options that are supported.
    pub options: &'static [&'static str],
    /// Members that may change as sent.
    pub mutable: &'static [&'static str],
}

const RULES: Rules = Rules {
    kind: Kind::Disk,
    parameter: "diskName",
    skus: &SKUS,
    options: &["Empty", "FromImage", "Import", "Upload", "Copy", "Restore"],
    mutable: &[
        "osType",
        "supportsHibernation",
        "burstingEnabled",
        "maxShares",
        "optimizedForFrequentAttach",
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
    let mut row = plan(&RULES, ctx, id, body, stored)?;
    let sent = properties(body);
    tier::plan(&mut row, &sent, stored)?;
    if let Some(bytes) = size_bytes(&row) {
        set_size(&mut row, bytes);
    }
    if is_sold_by_numbers(&row) {
        take(&mut row.properties, &sent, &PERFORMANCE);
    }
    Ok(row)
}

/// Decides what disks and snapshots share.
pub(crate) fn plan(
    rules: &Rules,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name(), rules.parameter)?;
    let mut row = start(ctx, rules.kind, id, body, stored)?;
    let mut sent = properties(body);
    plan_sku(rules, &mut row, body)?;
    for name in ONCE_TOP {
        let Some(value) = body.get(name) else {
            continue;
        };
        if stored.is_some() && !same(row.top.get(name), value) {
            let wire = rules.kind.wire_name();
            return Err(Error::change_not_allowed(format!("{wire}.{name}")));
        }
        if !is_nothing(value) {
            row.top.insert(name.to_owned(), value.clone());
        }
    }
    for (name, words) in [
        ("osType", &["Windows", "Linux"][..]),
        ("hyperVGeneration", &["V1", "V2"]),
        ("networkAccessPolicy", &POLICIES),
        ("publicNetworkAccess", &["Enabled", "Disabled"]),
    ] {
        canonical(&mut sent, name, words, &member(rules.kind, name))?;
    }
    creation::plan(rules, ctx, &mut row, &sent, stored.is_none())?;
    size::plan(&mut row, &sent)?;
    encryption::plan(&mut row, &sent)?;
    drop_nothing(
        &mut sent,
        &["purchasePlan", "supportedCapabilities", "securityProfile"],
    );
    take(&mut row.properties, &sent, rules.mutable);
    merge(&mut row.properties, &sent, &MERGED);
    for name in ONCE {
        let Some(value) = sent.get(name) else {
            continue;
        };
        let kept = row.properties.get(name);
        if kept.is_some() && !is_part(kept, value) {
            return Err(Error::change_not_allowed(member(rules.kind, name)));
        }
        row.properties.entry(name).or_insert_with(|| value.clone());
    }
    apply_defaults(&mut row);
    Ok(row)
}

/// Returns the path of a property as error targets name it.
fn member(kind: Kind, name: &str) -> String {
    format!("{}.properties.{name}", kind.wire_name())
}

fn merge(row: &mut Document, sent: &Document, names: &[&str]) {
    for name in names {
        let Some(members) = sent.get(*name).and_then(Value::as_object) else {
            continue;
        };
        let kept = row.entry(*name).or_insert_with(|| json!({}));
        if let Some(kept) = kept.as_object_mut() {
            for (name, value) in members {
                kept.insert(name.clone(), value.clone());
            }
        }
    }
}

fn is_sold_by_numbers(row: &Resource) -> bool {
    let sku = row.top.get("sku").and_then(|s| s.get("name"));
    sku.and_then(Value::as_str)
        .is_some_and(|sku| sku.starts_with("Ultra") || sku.starts_with("PremiumV2"))
}

fn check_name(name: &str, parameter: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_good = (1..=80).contains(&name.len())
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(is_edge);
    if is_good {
        Ok(())
    } else {
        Err(crate::plan::invalid_entity_name(parameter))
    }
}

fn plan_sku(rules: &Rules, row: &mut Resource, body: &Value) -> Result<()> {
    let mut sku = body
        .get("sku")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let target = format!("{}.sku.name", rules.kind.wire_name());
    canonical(&mut sku, "name", rules.skus, &target)?;
    let held = row
        .top
        .get("sku")
        .and_then(|s| s.get("name"))
        .and_then(Value::as_str);
    let name = text(&sku, "name").or(held).unwrap_or("Standard_LRS");
    let tier = ["Ultra", "Premium"]
        .into_iter()
        .find(|tier| name.starts_with(tier))
        .unwrap_or("Standard");
    row.top
        .insert("sku".to_owned(), json!({ "name": name, "tier": tier }));
    Ok(())
}

/// Records what a disk or snapshot was copied from, and takes over its words.
pub fn take_source(row: &mut Resource, source: &Resource) {
    let creation = row.properties.get_mut("creationData");
    if let (Some(creation), Some(unique)) = (
        creation.and_then(Value::as_object_mut),
        source.properties.get("uniqueId"),
    ) {
        creation.insert("sourceUniqueId".to_owned(), unique.clone());
    }
    inherit(row, source);
    if row.kind == Kind::Snapshot {
        crate::snapshot::set_origin(row, source);
    }
}

/// Takes over from what it was made from (an image definition, a disk, a snapshot) what the row does not say itself.
pub fn inherit(row: &mut Resource, from: &Resource) {
    for name in [
        "osType",
        "hyperVGeneration",
        "purchasePlan",
        "supportedCapabilities",
        "securityProfile",
    ] {
        if let (None, Some(value)) = (row.properties.get(name), from.properties.get(name)) {
            row.properties.insert(name.to_owned(), value.clone());
        }
    }
    if let (None, Some(architecture)) = (
        row.properties.get("supportedCapabilities"),
        from.properties.get("architecture"),
    ) {
        row.properties.insert(
            "supportedCapabilities".to_owned(),
            json!({ "architecture": architecture }),
        );
    }
}

fn apply_defaults(row: &mut Resource) {
    let mut default = |name: &str, value: Value| {
        row.properties.entry(name).or_insert(value);
    };
    default("networkAccessPolicy", json!("AllowAll"));
    default("publicNetworkAccess", json!("Enabled"));
}
