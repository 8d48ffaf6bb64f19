//! Periodic work: when it was done, what it found, when it is due again.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

/// The last run of a task in a region.
#[derive(Clone, Debug, PartialEq)]
pub struct CareRun {
    /// The task's name.
    pub task: String,
    /// The region's short name.
    pub region: String,
    /// When it ended, milliseconds since the epoch, UTC.
    pub ended_ms: i64,
    /// When it is due again, milliseconds since the epoch, UTC.
    pub due_ms: i64,
    /// What it did and found.
    pub result: Value,
    /// Why it did not come to its end.
    pub error: Option<String>,
}

impl Read {
    /// Returns the last run of every task, by task and region.
    pub async fn care_runs(&mut self) -> Result<Vec<CareRun>> {
        let rows = sqlx::query("SELECT * FROM care ORDER BY task, region")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Returns the last run of a task in a region.
    pub async fn care_run(&mut self, task: &str, region: &str) -> Result<Option<CareRun>> {
        let row = sqlx::query("SELECT * FROM care WHERE task = $1 AND region = $2")
            .bind(task)
            .bind(region)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }
}

impl Tx {
    /// Stores the last run of a task in a region.
    pub async fn put_care_run(&mut self, run: &CareRun) -> Result<()> {
        sqlx::query(
            "INSERT INTO care (task, region, ended_ms, due_ms, result, error) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (task, region) DO UPDATE SET ended_ms = excluded.ended_ms, due_ms = excluded.due_ms, \
             result = excluded.result, error = excluded.error",
        )
        .bind(run.task.clone())
        .bind(run.region.clone())
        .bind(run.ended_ms)
        .bind(run.due_ms)
        .bind(run.result.to_string())
        .bind(run.error.clone())
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

fn from_row(row: &AnyRow) -> Result<CareRun> {
    let task: String = row.try_get("task")?;
    let result: String = row.try_get("result")?;
    Ok(CareRun {
        result: serde_json::from_str(&result).map_err(|error| CatalogError::Corrupt {
            table: "care",
            key: task.clone(),
            reason: error.to_string(),
        })?,
        region: row.try_get("region")?,
        ended_ms: row.try_get("ended_ms")?,
        due_ms: row.try_get("due_ms")?,
        error: row.try_get("error")?,
        task,
    })
}
