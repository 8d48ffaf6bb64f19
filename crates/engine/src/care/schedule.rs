//! The schedule: which periodic work is due, done by one node at a time.
//!
//! Every task has a row per region with its last run and when it is due again. A node that finds one
//! due takes its lease, looks again, does it, records it. A node that dies in the middle leaves the
//! row as it was: another one does it when the lease is over.

use std::time::Duration;

use blocks::Store;
use catalog::CareRun;
use domain::Result;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::CareSettings;
use crate::error::catalog as db;
use crate::{Ctx, Engine};

/// How often the schedule is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long after a failure a task is tried again.
const RETRY_MS: i64 = 5 * MINUTE_MS;
pub(super) const MINUTE_MS: i64 = 60_000;

/// Periodic work on a region's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Removes what nothing refers to, rewrites packs with little left.
    Sweep,
    /// Reads what was not read for longest and checks it; heals what is damaged.
    Scrub,
    /// Compresses packs once more that stay.
    Condense,
    /// Compares index, packs, manifests and catalog; heals what is missing.
    Check,
    /// Measures what every resource stores.
    Meter,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] = [
        Self::Sweep,
        Self::Scrub,
        Self::Condense,
        Self::Check,
        Self::Meter,
    ];

    /// Returns the task's name in the catalog and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Scrub => "scrub",
            Self::Condense => "condense",
            Self::Check => "check",
            Self::Meter => "meter",
        }
    }
}

/// What a task did, and when it is due again.
pub(super) struct Done {
    pub result: Value,
    pub due_ms: i64,
}

/// The schedule of a gallery as its operators see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// How often.
    pub settings: CareSettings,
    /// The last run of every task in every region.
    pub runs: Vec<Run>,
}

/// The last run of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The task's name.
    pub task: String,
    /// The region's short name.
    pub region: String,
    /// When it ended, as clients read dates.
    pub ended: String,
    /// When it is due again.
    pub due: String,
    /// Why it did not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it did and found.
    pub result: Value,
}

impl Engine {
    /// Does what is due until `stop` is cancelled.
    pub async fn run_care(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.care_round(&stop).await {
                tracing::warn!(%error, "periodic work was not done; the next round repeats it");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        if let Err(error) = self.flush_egress().await {
            tracing::warn!(%error, "what was downloaded last is not metered");
        }
        self.leave().await;
    }

    /// Does what is due now; returns how many tasks ran on this node.
    pub async fn care_round(&self, stop: &CancellationToken) -> Result<usize> {
        self.flush_egress().await?;
        self.stay_in_stores().await?;
        let settings = self.care_settings().await?;
        let mut ran = 0;
        for task in Task::ALL {
            for (region, store) in self.stores() {
                if stop.is_cancelled() {
                    return Ok(ran);
                }
                if self.run_if_due(task, region, store, &settings).await? {
                    ran += 1;
                }
            }
        }
        ran += self.upgrade_followers().await?;
        while !stop.is_cancelled() && self.digest_once(stop).await? {
            ran += 1;
        }
        Ok(ran)
    }

    /// Returns the schedule, for the gallery's operators.
    pub async fn schedule(&self, ctx: &Ctx) -> Result<Schedule> {
        self.authorize_operator(ctx).await?;
        self.schedule_now().await
    }

    /// Returns the schedule, to whoever owns the gallery's directory.
    pub async fn schedule_now(&self) -> Result<Schedule> {
        let settings = self.care_settings().await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let runs = read.care_runs().await.map_err(db)?;
        let shown = runs.into_iter().map(|run| Run {
            ended: arm::time::format(run.ended_ms),
            due: arm::time::format(run.due_ms),
            task: run.task,
            region: run.region,
            error: run.error,
            result: run.result,
        });
        Ok(Schedule {
            settings,
            runs: shown.collect(),
        })
    }

    async fn run_if_due(
        &self,
        task: Task,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<bool> {
        if !self.is_due(task, region).await? {
            return Ok(false);
        }
        let lease = format!("care:{}:{region}", task.name());
        let work = async {
            // Another node may have done it between the look and the lease.
            if !self.is_due(task, region).await? {
                return Ok(false);
            }
            self.run_task(task, region, store, settings).await?;
            Ok(true)
        };
        Ok(Box::pin(self.with_lease(&lease, work))
            .await?
            .unwrap_or(false))
    }

    async fn is_due(&self, task: Task, region: &str) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let last = read.care_run(task.name(), region).await.map_err(db)?;
        Ok(last.is_none_or(|last| last.due_ms <= self.now_ms()))
    }

    async fn run_task(
        &self,
        task: Task,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<()> {
        let done = match task {
            Task::Sweep => self.sweep_task(region, store, settings).await,
            Task::Scrub => self.scrub_task(region, store, settings).await,
            Task::Condense => self.condense_task(region, store, settings).await,
            Task::Check => self.check_task(region, store, settings).await,
            Task::Meter => self.meter_task(region, store, settings).await,
        };
        let (done, error) = match done {
            Ok(done) => (done, None),
            Err(error) => {
                tracing::warn!(task = task.name(), region, %error, "{} of region {region} put off", task.name());
                let due_ms = self.now_ms() + RETRY_MS;
                let result = Value::Null;
                (Done { result, due_ms }, Some(error.message))
            }
        };
        let run = CareRun {
            task: task.name().to_owned(),
            region: region.to_owned(),
            ended_ms: self.now_ms(),
            due_ms: done.due_ms,
            result: done.result,
            error,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_care_run(&run).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }
}
