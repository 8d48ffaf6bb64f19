//! Target regions of a version. Source: `API.md` 3.3, 5.3.

use serde_json::{Value, json};

use super::encryption;
use super::profile::{REPLICAS_MAX, STORAGE_TYPES, TARGET, check_count};
use crate::plan::{PutContext, canonical, same, take, text};
use crate::region::normalise;
use crate::resource::Document;
use crate::{Error, Region, Resource, Result};

/// What a change of regions may do.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// Whether there are no regions to keep.
    pub is_new: bool,
    /// Whether regions may go.
    pub may_remove: bool,
}

/// Fills in `targetRegions` and remembers which counts were not said, so that they follow `replicaCount`.
pub(super) fn plan(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    kept: &mut Document,
    sent: &Document,
    change: Change,
) -> Result<()> {
    let old = kept
        .get("targetRegions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let listed = sent
        .get("targetRegions")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty());
    let mut implied = implied_counts(row);
    let mut regions = match listed {
        Some(list) => {
            implied.clear();
            let mut out = Vec::new();
            for item in list {
                out.push(plan_region(ctx, kept, item, &old, &mut implied)?);
            }
            out
        }
        None if change.is_new => {
            implied.clear();
            let home = json!({ "name": row.location });
            vec![plan_region(ctx, kept, &home, &old, &mut implied)?]
        }
        None => old.clone(),
    };
    check_list(ctx, row, &regions)?;
    check_removal(row, &old, &regions, change)?;
    follow_count(kept, &mut regions, &implied);
    check_total(&regions)?;
    encryption::check(row, &regions)?;
    kept.insert("targetRegions".to_owned(), Value::Array(regions));
    row.internal
        .insert("impliedCounts".to_owned(), json!(implied));
    Ok(())
}

fn implied_counts(row: &Resource) -> Vec<String> {
    let names = row.internal.get("impliedCounts").and_then(Value::as_array);
    names
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn plan_region(
    ctx: &PutContext<'_>,
    profile: &Document,
    item: &Value,
    old: &[Value],
    implied: &mut Vec<String>,
) -> Result<Value> {
    let target = format!("{TARGET}.targetRegions");
    let mut sent = item.as_object().cloned().unwrap_or_default();
    let name = text(&sent, "name")
        .filter(|n| !n.is_empty())
        .ok_or_else(|| Error::required(format!("{target}.name")))?;
    let region = ctx
        .regions
        .find(name)
        .ok_or_else(|| unknown_region(ctx, name, &target))?;
    let stored = old
        .iter()
        .find(|r| name_of(r) == region.name)
        .and_then(Value::as_object);
    canonical(
        &mut sent,
        "storageAccountType",
        &STORAGE_TYPES,
        &format!("{target}.storageAccountType"),
    )?;
    let mut out = Document::new();
    out.insert("name".to_owned(), json!(region.display_name));
    match sent.get("regionalReplicaCount").and_then(Value::as_i64) {
        Some(count) => {
            check_count(&format!("{target}.regionalReplicaCount"), count)?;
            out.insert("regionalReplicaCount".to_owned(), json!(count));
        }
        None => {
            implied.push(region.name.clone());
            out.insert("regionalReplicaCount".to_owned(), json!(1));
        }
    }
    let storage = storage_type(profile, &sent, stored, region)?;
    out.insert("storageAccountType".to_owned(), json!(storage));
    if let Some(value) = sent
        .get("encryption")
        .or_else(|| stored.and_then(|s| s.get("encryption")))
    {
        if let Some(stored) = stored
            && !same(stored.get("encryption"), value)
        {
            return Err(Error::change_not_allowed(format!("{target}.encryption")));
        }
        out.insert("encryption".to_owned(), value.clone());
    }
    take(&mut out, &sent, &["excludeFromLatest"]);
    if let Some(sets) = sent
        .get("additionalReplicaSets")
        .and_then(Value::as_array)
        .filter(|s| !s.is_empty())
    {
        out.insert(
            "additionalReplicaSets".to_owned(),
            replica_sets(sets, region)?,
        );
    }
    Ok(Value::Object(out))
}

fn unknown_region(ctx: &PutContext<'_>, name: &str, target: &str) -> Error {
    let known: Vec<&str> = ctx.regions.iter().map(|r| r.name.as_str()).collect();
    Error::invalid_parameter(
        format!("{target}.name"),
        format!(
            "The target region '{name}' is not available. List of available regions is '{}'.",
            known.join(",")
        ),
    )
}

/// The region's own type, else what it has, else what the strategy says, else the version's.
fn storage_type(
    profile: &Document,
    sent: &Document,
    stored: Option<&Document>,
    region: &Region,
) -> Result<String> {
    let held = stored.and_then(|s| text(s, "storageAccountType"));
    let chosen = match (text(sent, "storageAccountType"), held) {
        (Some(sent), Some(held)) if sent != held => {
            return Err(Error::change_not_allowed(format!(
                "{TARGET}.targetRegions.storageAccountType"
            )));
        }
        (Some(sent), _) => sent,
        (None, Some(held)) => held,
        (None, None)
            if text(profile, "storageAccountStrategy") == Some("PreferStandard_ZRS")
                && region.has_zones =>
        {
            "Standard_ZRS"
        }
        (None, None) => text(profile, "storageAccountType").unwrap_or("Standard_LRS"),
    };
    check_zones(chosen, region)?;
    Ok(chosen.to_owned())
}

fn check_zones(storage: &str, region: &Region) -> Result<()> {
    if storage == "Standard_ZRS" && !region.has_zones {
        return Err(Error::invalid_parameter(
            format!("{TARGET}.targetRegions.storageAccountType"),
            "ZRS storage account type is not supported in this region.",
        ));
    }
    Ok(())
}

fn replica_sets(sets: &[Value], region: &Region) -> Result<Value> {
    let target = format!("{TARGET}.targetRegions.additionalReplicaSets");
    let mut out = Vec::new();
    for set in sets {
        let mut set = set.as_object().cloned().unwrap_or_default();
        canonical(
            &mut set,
            "storageAccountType",
            &STORAGE_TYPES,
            &format!("{target}.storageAccountType"),
        )?;
        check_zones(text(&set, "storageAccountType").unwrap_or_default(), region)?;
        if let Some(count) = set.get("regionalReplicaCount").and_then(Value::as_i64) {
            check_count(&format!("{target}.regionalReplicaCount"), count)?;
        }
        out.push(Value::Object(set));
    }
    Ok(Value::Array(out))
}

fn name_of(region: &Value) -> String {
    normalise(
        region
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )
}

fn check_list(ctx: &PutContext<'_>, row: &Resource, regions: &[Value]) -> Result<()> {
    let names: Vec<String> = regions.iter().map(name_of).collect();
    let shown = |n: &String| {
        ctx.regions
            .find(n)
            .map_or_else(|| n.clone(), |r| r.display_name.clone())
    };
    if names
        .iter()
        .enumerate()
        .any(|(at, name)| names[..at].contains(name))
    {
        return Err(Error::invalid_parameter(
            format!("{TARGET}.targetRegions"),
            "Duplicate regions are not allowed in target publishing regions.",
        ));
    }
    if names.contains(&row.location) {
        return Ok(());
    }
    let list: Vec<String> = names.iter().map(shown).collect();
    Err(Error::invalid_parameter(
        format!("{TARGET}.targetRegions"),
        format!(
            "Gallery image version publishing profile regions {} must contain the location of image version {}",
            list.join(", "),
            shown(&row.location)
        ),
    ))
}

fn check_removal(row: &Resource, old: &[Value], regions: &[Value], change: Change) -> Result<()> {
    let is_gone = |o: &Value| !regions.iter().any(|r| name_of(r) == name_of(o));
    if change.is_new || change.may_remove || !old.iter().any(is_gone) {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "Complete set of target locations not specified while updating gallery artifact '{}' and type 'GalleryImageVersion'. \
         Deletion of previously replicated locations is not allowed, and you need to specify a complete set of target \
         locations in the update request or specify null or empty set for target regions in the update request or set allow \
         deletion of replicated locations under safety profile property. To figure out complete set of target locations, you \
         can perform a get first on gallery artifact",
        row.id.name()
    )))
}

/// A count that was not said is the version's.
fn follow_count(profile: &Document, regions: &mut [Value], implied: &[String]) {
    let count = profile
        .get("replicaCount")
        .cloned()
        .unwrap_or_else(|| json!(1));
    for region in regions {
        if implied.contains(&name_of(region))
            && let Some(members) = region.as_object_mut()
        {
            members.insert("regionalReplicaCount".to_owned(), count.clone());
        }
    }
}

fn check_total(regions: &[Value]) -> Result<()> {
    let count = |r: &Value| {
        r.get("regionalReplicaCount")
            .and_then(Value::as_i64)
            .unwrap_or(1)
    };
    let more = |r: &Value| -> i64 {
        r.get("additionalReplicaSets")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(count)
            .sum()
    };
    let total: i64 = regions.iter().map(|r| count(r) + more(r)).sum();
    if total <= REPLICAS_MAX {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!("The image version would have {total} replicas, which is more than the maximum of {REPLICAS_MAX}. Lower the replica counts, then try again."),
    )
    .at(format!("{TARGET}.targetRegions")))
}
