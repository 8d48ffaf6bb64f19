//! The publishing profile: regions, replica counts, storage types, dates. Source: `API.md` 3.3, 5.3.

use serde_json::{Value, json};

use super::{encryption, out_of_range, regions};
use crate::plan::{PutContext, canonical, check_end_of_life, moment, same, since, take, text};
use crate::resource::Document;
use crate::{Error, Resource, Result};

pub(super) const TARGET: &str = "galleryImageVersion.properties.publishingProfile";
pub(super) const STORAGE_TYPES: [&str; 4] = [
    "Standard_LRS",
    "Standard_ZRS",
    "Premium_LRS",
    "PremiumV2_LRS",
];
const STRATEGIES: [&str; 2] = ["PreferStandard_ZRS", "DefaultStandard_LRS"];
const MODES: [&str; 2] = ["Full", "Shallow"];
/// The most replicas in a region, and of a version in all.
pub(super) const REPLICAS_MAX: i64 = 100;
/// From this api-version on, regions with zones keep zone-redundant copies unless told otherwise.
const STRATEGY_SINCE: &str = "2025-03-03";
/// The order of members in recorded answers.
const ORDER: [&str; 9] = [
    "targetRegions",
    "replicaCount",
    "excludeFromLatest",
    "publishedDate",
    "endOfLifeDate",
    "storageAccountType",
    "storageAccountStrategy",
    "replicationMode",
    "targetExtendedLocations",
];

/// Fills in the publishing profile.
pub(super) fn plan(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let mut profile = sent
        .get("publishingProfile")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut kept = match row
        .properties
        .get("publishingProfile")
        .and_then(Value::as_object)
    {
        Some(kept) if !is_new => kept.clone(),
        _ => Document::new(),
    };
    refuse_edge_zones(&profile)?;
    let shown = row
        .properties
        .get("publishingProfile")
        .and_then(Value::as_object);
    plan_words(ctx, &mut kept, &mut profile, shown, is_new)?;
    if let Some(count) = profile.get("replicaCount").and_then(Value::as_i64) {
        check_count(&format!("{TARGET}.replicaCount"), count)?;
    }
    plan_dates(ctx, row, &mut kept, &profile)?;
    let is_count_kept = profile
        .get("replicaCount")
        .is_none_or(|count| kept.get("replicaCount") == Some(count));
    take(&mut kept, &profile, &["replicaCount", "excludeFromLatest"]);
    kept.entry("replicaCount").or_insert_with(|| json!(1));
    kept.entry("excludeFromLatest")
        .or_insert(Value::Bool(false));
    let may_remove = may_remove_regions(row, sent);
    regions::plan(
        ctx,
        row,
        &mut kept,
        &profile,
        regions::Change {
            is_new,
            may_remove,
            is_count_kept,
        },
    )?;
    let regions = kept.get("targetRegions").and_then(Value::as_array);
    encryption::check(row, sent, regions.map_or(&[][..], Vec::as_slice))?;
    check_shallow(row, &kept)?;
    row.properties.insert(
        "publishingProfile".to_owned(),
        Value::Object(in_order(kept)),
    );
    Ok(())
}

fn refuse_edge_zones(profile: &Document) -> Result<()> {
    let zones = profile
        .get("targetExtendedLocations")
        .and_then(Value::as_array);
    let Some(zone) = zones.and_then(|z| z.first()) else {
        return Ok(());
    };
    let name = zone
        .pointer("/extendedLocation/name")
        .or(zone.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    Err(Error::invalid_parameter(
        format!("{TARGET}.targetExtendedLocations"),
        format!(
            "The extended location '{name}' is not available. This installation has regions only."
        ),
    ))
}

/// Storage type, strategy and mode: said once, for ever.
fn plan_words(
    ctx: &PutContext<'_>,
    kept: &mut Document,
    sent: &mut Document,
    shown: Option<&Document>,
    is_new: bool,
) -> Result<()> {
    canonical(
        sent,
        "storageAccountType",
        &STORAGE_TYPES,
        &format!("{TARGET}.storageAccountType"),
    )?;
    canonical(
        sent,
        "storageAccountStrategy",
        &STRATEGIES,
        &format!("{TARGET}.storageAccountStrategy"),
    )?;
    canonical(
        sent,
        "replicationMode",
        &MODES,
        &format!("{TARGET}.replicationMode"),
    )?;
    // The answer of a create that failed shows both, and may be sent back.
    let is_sent_back = ["storageAccountType", "storageAccountStrategy"]
        .iter()
        .all(|name| shown.is_some_and(|s| sent.get(*name) == s.get(*name)));
    if is_new
        && sent.contains_key("storageAccountType")
        && sent.contains_key("storageAccountStrategy")
        && !is_sent_back
    {
        return Err(Error::invalid_parameter(
            format!("{TARGET}.storageAccountStrategy"),
            "Only one of storageAccountType and storageAccountStrategy can be specified.",
        ));
    }
    for name in [
        "storageAccountType",
        "storageAccountStrategy",
        "replicationMode",
    ] {
        let Some(value) = sent.get(name) else {
            continue;
        };
        if !is_new && !same(kept.get(name), value) {
            // What is so anyway may be said later.
            let is_default = value == "Full" || value == "DefaultStandard_LRS";
            if is_default && !kept.contains_key(name) {
                continue;
            }
            return Err(Error::change_not_allowed(format!("{TARGET}.{name}")));
        }
        kept.insert(name.to_owned(), value.clone());
    }
    if is_new && !kept.contains_key("storageAccountType") {
        if since(ctx.api_version, STRATEGY_SINCE) {
            kept.entry("storageAccountStrategy")
                .or_insert_with(|| json!("PreferStandard_ZRS"));
        }
        kept.insert("storageAccountType".to_owned(), json!("Standard_LRS"));
    }
    Ok(())
}

fn plan_dates(
    ctx: &PutContext<'_>,
    row: &Resource,
    kept: &mut Document,
    sent: &Document,
) -> Result<()> {
    if !kept.contains_key("publishedDate") {
        kept.insert("publishedDate".to_owned(), moment(ctx.now_ms)?);
    }
    let Some(ends) = sent.get("endOfLifeDate") else {
        return Ok(());
    };
    // Sent back as it is stored, a date that is over since changes nothing.
    let stored = row.properties.get("publishingProfile");
    if !same(stored.and_then(|p| p.get("endOfLifeDate")), ends) {
        check_end_of_life(sent, ctx.now_ms, &format!("{TARGET}.endOfLifeDate"))?;
    }
    kept.insert("endOfLifeDate".to_owned(), ends.clone());
    Ok(())
}

/// Whether regions may go: as the request says, else as is stored.
fn may_remove_regions(row: &Resource, sent: &Document) -> bool {
    let flag = |profile: Option<&Value>| {
        profile
            .and_then(|p| p.get("allowDeletionOfReplicatedLocations"))
            .and_then(Value::as_bool)
    };
    flag(sent.get("safetyProfile"))
        .or_else(|| flag(row.properties.get("safetyProfile")))
        .unwrap_or(false)
}

/// A shallow version is one copy at home. Source: `API.md` 6.
fn check_shallow(row: &Resource, kept: &Document) -> Result<()> {
    if text(kept, "replicationMode") != Some("Shallow") {
        return Ok(());
    }
    let regions = kept
        .get("targetRegions")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let count = |r: &Value| {
        r.get("regionalReplicaCount")
            .and_then(Value::as_i64)
            .unwrap_or(1)
    };
    let has_more = |r: &Value| r.get("additionalReplicaSets").is_some();
    if regions.len() == 1 && regions.iter().all(|r| count(r) == 1 && !has_more(r)) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        format!("{TARGET}.replicationMode"),
        format!(
            "The replication mode 'Shallow' keeps a single replica in the home region '{}'. Name that region alone with one \
             replica, or use the replication mode 'Full'.",
            row.location
        ),
    ))
}

/// Checks a replica count.
pub(super) fn check_count(target: &str, count: i64) -> Result<()> {
    if (1..=REPLICAS_MAX).contains(&count) {
        Ok(())
    } else {
        Err(out_of_range(target, count, 1, REPLICAS_MAX))
    }
}

fn in_order(mut kept: Document) -> Document {
    let mut out = Document::new();
    for name in ORDER {
        if let Some(value) = kept.shift_remove(name) {
            out.insert(name.to_owned(), value);
        }
    }
    out.extend(kept);
    out
}
