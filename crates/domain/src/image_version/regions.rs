//! Target regions of a version. Source: `API.md` 3.3, 5.3.

use serde_json::{Value, json};

use super::profile::{REPLICAS_MAX, STORAGE_TYPES, TARGET, check_count};
use crate::plan::{PutContext, canonical, drop_nothing, is_nothing, is_part, since, text};
use crate::resource::Document;
use crate::{Error, Region, Regions, Resource, Result};

/// What a change of regions may do.
#[derive(Clone, Copy)]
pub(super) struct Change {
    /// Whether there are no regions to keep.
    pub is_new: bool,
    /// Whether regions may go.
    pub may_remove: bool,
    /// Whether the version's own replica count stays as it is.
    pub is_count_kept: bool,
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
    let mut plan = Plan {
        ctx,
        profile: kept,
        old: &old,
        was_implied: implied_counts(row),
        implied: Vec::new(),
        is_count_kept: change.is_count_kept,
    };
    let mut regions = match listed {
        Some(list) => {
            let regions = list.iter().map(|item| plan.region(item));
            regions.collect::<Result<Vec<Value>>>()?
        }
        None if change.is_new => vec![plan.region(&json!({ "name": row.location }))?],
        None => {
            plan.implied.clone_from(&plan.was_implied);
            old.clone()
        }
    };
    let implied = plan.implied;
    check_list(ctx, row, &regions)?;
    check_removal(ctx, row, &old, &regions, change)?;
    follow_count(ctx, kept, &mut regions, &implied);
    check_total(&regions)?;
    kept.insert("targetRegions".to_owned(), Value::Array(regions));
    row.internal
        .insert("impliedCounts".to_owned(), json!(implied));
    Ok(())
}

/// Returns the short names of the regions that a version is to be in; its home when it names none.
pub fn target_regions(row: &Resource, regions: &Regions) -> Vec<String> {
    let names: Vec<String> = listed(row)
        .filter_map(|r| r.get("name").and_then(Value::as_str))
        .map(|name| regions.short(name))
        .collect();
    if names.is_empty() {
        vec![row.location.clone()]
    } else {
        names
    }
}

/// Returns what a region says of `excludeFromLatest`, which wins over the version's own word.
pub fn is_excluded_in(row: &Resource, region: &str, regions: &Regions) -> Option<bool> {
    listed(row)
        .find(|r| {
            r.get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| regions.short(name) == region)
        })?
        .get("excludeFromLatest")?
        .as_bool()
}

fn listed(row: &Resource) -> impl Iterator<Item = &Value> {
    row.properties
        .get("publishingProfile")
        .and_then(|p| p.get("targetRegions"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
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

/// What all regions of one request are planned with.
struct Plan<'a, 'c> {
    ctx: &'a PutContext<'c>,
    profile: &'a Document,
    old: &'a [Value],
    /// Regions whose stored count follows the version's.
    was_implied: Vec<String>,
    /// Regions whose count follows from now on.
    implied: Vec<String>,
    /// Whether the version's own count stays as it is.
    is_count_kept: bool,
}

impl Plan<'_, '_> {
    fn region(&mut self, item: &Value) -> Result<Value> {
        let target = format!("{TARGET}.targetRegions");
        let mut sent = item.as_object().cloned().unwrap_or_default();
        drop_nothing(&mut sent, &["encryption"]);
        let name = text(&sent, "name")
            .filter(|n| !n.is_empty())
            .ok_or_else(|| Error::required(format!("{target}.name")))?;
        let region = self
            .ctx
            .regions
            .find(name)
            .ok_or_else(|| unknown_region(self.ctx, name, &target))?;
        let stored = self
            .old
            .iter()
            .find(|r| name_of(self.ctx, r) == region.name)
            .and_then(Value::as_object);
        canonical(
            &mut sent,
            "storageAccountType",
            &STORAGE_TYPES,
            &format!("{target}.storageAccountType"),
        )?;
        let mut out = Document::new();
        out.insert("name".to_owned(), json!(region.display_name));
        out.insert(
            "regionalReplicaCount".to_owned(),
            json!(self.count(&sent, stored, region)?),
        );
        let storage = storage_type(self.profile, &sent, stored, region)?;
        out.insert("storageAccountType".to_owned(), json!(storage));
        if let Some(encryption) = encryption_of(&sent, stored, &target)? {
            out.insert("encryption".to_owned(), encryption);
        }
        // What an older client cannot say stays as it is.
        for (name, first) in [
            ("excludeFromLatest", "2022-03-03"),
            ("additionalReplicaSets", "2024-03-03"),
        ] {
            let unsaid = stored
                .filter(|_| !since(self.ctx.api_version, first))
                .and_then(|s| s.get(name));
            if let Some(value) = sent.get(name).or(unsaid).filter(|v| !is_nothing(v)) {
                out.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(sets) = out.get("additionalReplicaSets").and_then(Value::as_array) {
            let sets = replica_sets(sets, region)?;
            out.insert("additionalReplicaSets".to_owned(), sets);
        }
        Ok(Value::Object(out))
    }

    /// The region's own count; one that was not said, or is only sent back, follows the version's.
    fn count(
        &mut self,
        sent: &Document,
        stored: Option<&Document>,
        region: &Region,
    ) -> Result<i64> {
        let said = sent.get("regionalReplicaCount").and_then(Value::as_i64);
        let shown = stored.and_then(|s| s.get("regionalReplicaCount")?.as_i64());
        let is_sent_back =
            self.is_count_kept && said == shown && self.was_implied.contains(&region.name);
        match said {
            Some(count) if !is_sent_back => {
                check_count(
                    &format!("{TARGET}.targetRegions.regionalReplicaCount"),
                    count,
                )?;
                Ok(count)
            }
            _ => {
                self.implied.push(region.name.clone());
                Ok(1)
            }
        }
    }
}

/// Names the data disk that is to be encrypted though the version was made without. Source: `API.md` 5.3.
fn check_new_luns(
    sent: &Document,
    held: Option<&Value>,
    value: &Value,
    target: &str,
) -> Result<()> {
    let luns = |encryption: &Value| -> Vec<i64> {
        let disks = encryption.get("dataDiskImages").and_then(Value::as_array);
        let disks = disks.into_iter().flatten();
        disks.filter_map(|disk| disk.get("lun")?.as_i64()).collect()
    };
    let known = held.map(luns).unwrap_or_default();
    let Some(lun) = luns(value).into_iter().find(|lun| !known.contains(lun)) else {
        return Ok(());
    };
    Err(Error::invalid_parameter(
        format!("{target}.encryption.dataDiskImages"),
        format!(
            "Cannot specify new data disk image encryption lun [{lun}] with a disk encryption set in region [{}] for update gallery \
             image version request. To update this version, either remove the new lun or if you need to change the data disk \
             image encryption settings, you must create a new gallery image version with the correct settings.",
            text(sent, "name").unwrap_or_default()
        ),
    ))
}

/// A region's encryption is said once.
fn encryption_of(
    sent: &Document,
    stored: Option<&Document>,
    target: &str,
) -> Result<Option<Value>> {
    let held = stored.and_then(|s| s.get("encryption"));
    match (sent.get("encryption"), stored) {
        (Some(value), Some(_)) if !is_part(held, value) => {
            check_new_luns(sent, held, value, target)?;
            Err(Error::change_not_allowed(format!("{target}.encryption")))
        }
        (Some(value), None) => {
            let mut value = value.clone();
            // Recorded answers always have it.
            if let Some(os) = value.get_mut("osDiskImage").and_then(Value::as_object_mut) {
                os.entry("securityProfile").or_insert_with(|| json!({}));
            }
            Ok(Some(value))
        }
        _ => Ok(held.cloned()),
    }
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

fn name_of(ctx: &PutContext<'_>, region: &Value) -> String {
    let name = region.get("name").and_then(Value::as_str);
    ctx.regions.short(name.unwrap_or_default())
}

fn check_list(ctx: &PutContext<'_>, row: &Resource, regions: &[Value]) -> Result<()> {
    let names: Vec<String> = regions.iter().map(|r| name_of(ctx, r)).collect();
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

fn check_removal(
    ctx: &PutContext<'_>,
    row: &Resource,
    old: &[Value],
    regions: &[Value],
    change: Change,
) -> Result<()> {
    let is_gone = |o: &Value| !regions.iter().any(|r| name_of(ctx, r) == name_of(ctx, o));
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
fn follow_count(
    ctx: &PutContext<'_>,
    profile: &Document,
    regions: &mut [Value],
    implied: &[String],
) {
    let count = profile
        .get("replicaCount")
        .cloned()
        .unwrap_or_else(|| json!(1));
    for region in regions {
        if implied.contains(&name_of(ctx, region))
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
