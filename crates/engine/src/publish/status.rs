//! `replicationStatus`, from replicas that really exist. Source: `API.md` 6.

use catalog::{Replica, ReplicaState};
use domain::{Resource, Result};
use serde_json::{Value, json};

use super::replicate::target_regions;
use crate::Engine;
use crate::error::catalog as db;

impl Engine {
    /// Returns the member that `$expand=ReplicationStatus` shows.
    pub async fn replication_status(&self, version: &Resource) -> Result<Value> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&version.id.key()).await.map_err(db)?;
        Ok(status_of(version, &replicas))
    }
}

fn status_of(version: &Resource, replicas: &[Replica]) -> Value {
    let summary: Vec<(ReplicaState, Value)> = target_regions(version)
        .iter()
        .map(|region| regional(region, replicas))
        .collect();
    let aggregated = if summary
        .iter()
        .any(|(state, _)| *state == ReplicaState::Failed)
    {
        "Failed"
    } else if summary
        .iter()
        .all(|(state, _)| *state == ReplicaState::Completed)
    {
        "Completed"
    } else {
        "InProgress"
    };
    let summary: Vec<Value> = summary.into_iter().map(|(_, shown)| shown).collect();
    json!({ "aggregatedState": aggregated, "summary": summary })
}

fn regional(region: &str, replicas: &[Replica]) -> (ReplicaState, Value) {
    let here: Vec<&Replica> = replicas.iter().filter(|r| r.region == region).collect();
    let failed = here.iter().find(|r| r.state == ReplicaState::Failed);
    let is_complete = !here.is_empty() && here.iter().all(|r| r.state == ReplicaState::Completed);
    if let Some(failed) = failed {
        let shown = json!({
            "region": region, "state": "Failed", "details": failed.details, "progress": percent(&here),
        });
        return (ReplicaState::Failed, shown);
    }
    if is_complete {
        return (
            ReplicaState::Completed,
            json!({ "region": region, "state": "Completed", "progress": 100 }),
        );
    }
    let (done, total) = bytes(&here);
    let shown = json!({
        "region": region,
        "state": "Replicating",
        "details": format!("{done} of {total} bytes"),
        "progress": percent(&here),
    });
    (ReplicaState::Replicating, shown)
}

fn bytes(here: &[&Replica]) -> (i64, i64) {
    (
        here.iter().map(|r| r.bytes_done).sum(),
        here.iter().map(|r| r.bytes_total).sum(),
    )
}

/// Whole percents, 100 only when complete.
fn percent(here: &[&Replica]) -> i64 {
    let (done, total) = bytes(here);
    if total <= 0 {
        0
    } else {
        (done.saturating_mul(100) / total).clamp(0, 99)
    }
}
