//! `replicationStatus`, from replicas that really exist. Source: `API.md` 6.

use catalog::{Replica, ReplicaState};
use domain::artifact::target_regions;
use domain::{Kind, ProvisioningState, Regions, Resource, Result};
use serde_json::{Value, json};

use crate::Engine;
use crate::error::catalog as db;

impl Engine {
    /// Returns the member that `$expand=ReplicationStatus` shows.
    pub async fn replication_status(&self, version: &Resource) -> Result<Value> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&version.id.key()).await.map_err(db)?;
        Ok(status_of(version, &replicas, self.regions()))
    }
}

fn status_of(version: &Resource, replicas: &[Replica], regions: &Regions) -> Value {
    let summary: Vec<Regional> = target_regions(version, regions)
        .iter()
        .map(|region| regional(version, region, replicas, regions))
        .collect();
    let any = |state: &str| summary.iter().any(|region| region.state == state);
    let aggregated = if any("Failed") || any("Unknown") {
        "Failed"
    } else if any("Replicating") {
        "InProgress"
    } else {
        "Completed"
    };
    let summary: Vec<Value> = summary.into_iter().map(|region| region.shown).collect();
    json!({ "aggregatedState": aggregated, "summary": summary })
}

struct Regional {
    state: &'static str,
    shown: Value,
}

fn regional(version: &Resource, region: &str, replicas: &[Replica], regions: &Regions) -> Regional {
    let here: Vec<&Replica> = replicas.iter().filter(|r| r.region == region).collect();
    let (done, total) = bytes(&here);
    let failed = here.iter().find(|r| r.state == ReplicaState::Failed);
    // A profile is read from its row: there is nothing to copy.
    let is_row_alone =
        version.kind == Kind::AccessProfileVersion && version.state == ProvisioningState::Succeeded;
    let is_copied = !here.is_empty() && here.iter().all(|r| r.state == ReplicaState::Completed);
    let is_complete = is_copied || is_row_alone;
    let (state, details) = match failed {
        Some(failed) => ("Failed", failed.details.clone()),
        None if is_complete => ("Completed", physical_copies(version, region, regions)),
        // Given up before anything was copied: the operation says why.
        None if version.state == ProvisioningState::Failed => ("Unknown", None),
        None => ("Replicating", Some(format!("{done} of {total} bytes"))),
    };
    let mut shown = json!({ "region": region, "state": state });
    if let Some(details) = details {
        shown["details"] = json!(details);
    }
    shown["progress"] = json!(if is_complete {
        100
    } else {
        percent(done, total)
    });
    Regional { state, shown }
}

/// Says so where fewer copies exist than were asked for: a region has one store.
fn physical_copies(version: &Resource, region: &str, regions: &Regions) -> Option<String> {
    let profile = version.properties.get("publishingProfile")?;
    let listed = profile.get("targetRegions").and_then(Value::as_array)?;
    let named = |r: &&Value| {
        r["name"]
            .as_str()
            .is_some_and(|n| regions.short(n) == region)
    };
    let asked = listed
        .iter()
        .find(named)?
        .get("regionalReplicaCount")?
        .as_i64()?;
    (asked > 1).then(|| format!("1 physical copy of {asked} replicas: the region has 1 store"))
}

fn bytes(here: &[&Replica]) -> (i64, i64) {
    (
        here.iter().map(|r| r.bytes_done).sum(),
        here.iter().map(|r| r.bytes_total).sum(),
    )
}

/// Whole percents, 100 only when complete.
fn percent(done: i64, total: i64) -> i64 {
    if total <= 0 {
        0
    } else {
        (done.saturating_mul(100) / total).clamp(0, 99)
    }
}
