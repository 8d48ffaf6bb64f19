//! Metering: what every subscription stores and moves, by day, from real counters.
//!
//! Storage is measured by a task of the schedule, bytes of replication are written with the replica
//! that they made, bytes of downloads are counted as they are sent and written every few seconds: a
//! node that dies loses the last of them, and never counts one twice. There is no charge but for
//! storage and egress (`azure-compute-gallery.txt`); what is shared with others is not taken off,
//! because a bill that says so would say what others have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use catalog::{EgressUsage, StorageUsage};
use domain::scope::subscription_in;
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde::Serialize;

use crate::error::catalog as db;
use crate::{Ctx, Engine};

/// The right to read what a subscription is charged for.
const READ_ACTION: &str = "Vitrine.Gallery/usage/read";
/// Rows of one report.
const ROWS_MAX: usize = 100_000;
/// Downloads that are counted before they are written; more are counted together.
const COUNTED_MAX: usize = 10_000;
const GIB: f64 = (1_u64 << 30) as f64;

/// Why bytes left a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meter {
    /// A copy in another region was made.
    Replication,
    /// A client read them.
    Download,
}

impl Meter {
    const fn name(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Download => "download",
        }
    }
}

/// Bytes that were sent and are not in the catalog yet: by resource and region.
#[derive(Clone, Default)]
pub(crate) struct Egress(Arc<Mutex<BTreeMap<(String, String), u64>>>);

/// Counts what one download sends.
#[derive(Clone)]
pub struct Download {
    egress: Egress,
    owner: String,
    region: String,
    metrics: crate::metrics::Metrics,
}

impl Download {
    /// Counts bytes that were handed to the client.
    pub fn sent(&self, bytes: u64) {
        self.metrics.add_download(bytes);
        let mut counted = self.egress.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.owner.clone(), self.region.clone());
        if counted.len() < COUNTED_MAX || counted.contains_key(&key) {
            *counted.entry(key).or_default() += bytes;
        }
    }
}

/// One line of what a subscription is charged for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// The subscription that pays.
    pub subscription: String,
    /// `storage`, `disks`, `snapshots`, `replication` or `download`.
    pub meter: &'static str,
    /// The resource's id.
    pub resource: String,
    /// Where it is stored, or where the bytes came from.
    pub region: String,
    /// The region that the bytes went to; empty for all but replication.
    pub target: String,
    /// Physical copies; 0 for egress.
    pub copies: i64,
    /// Bytes of the disks as they are seen; 0 for egress.
    pub logical_bytes: i64,
    /// Bytes that count: content that is not in holes, or bytes that were sent.
    pub bytes: i64,
    /// The same in the unit of a bill: GiB-days of storage, GiB of egress.
    pub quantity: f64,
}

/// Which days a report is about; both ends belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    from: String,
    to: String,
}

impl Days {
    /// Reads two days `YYYY-MM-DD`; without them the month of `now_ms` until now.
    pub fn parse(from: Option<&str>, to: Option<&str>, now_ms: i64) -> Result<Self> {
        let today = day(now_ms);
        let from = match from {
            Some(text) => checked(text)?,
            None => format!("{}01", &today[..8]),
        };
        let to = match to {
            Some(text) => checked(text)?,
            None => today,
        };
        if from > to {
            return Err(Error::bad_request(format!(
                "The first day {from} is after the last day {to}."
            )));
        }
        Ok(Self { from, to })
    }
}

impl Engine {
    /// Returns what a subscription is charged for, by day, for those who may read it.
    pub async fn usage(&self, ctx: &Ctx, subscription: &str, days: &Days) -> Result<Vec<UsageRow>> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, READ_ACTION, &scope).await?;
        self.usage_now(subscription, days).await
    }

    /// Returns what a subscription is charged for, to whoever owns the gallery's directory.
    pub async fn usage_now(&self, subscription: &str, days: &Days) -> Result<Vec<UsageRow>> {
        self.flush_egress().await?;
        let subscription = subscription.to_ascii_lowercase();
        let mut read = self.catalog().read().await.map_err(db)?;
        let stored = read
            .storage_usage(&subscription, &days.from, &days.to, ROWS_MAX)
            .await
            .map_err(db)?;
        let moved = read
            .egress_usage(&subscription, &days.from, &days.to, ROWS_MAX)
            .await
            .map_err(db)?;
        if stored.len() + moved.len() >= ROWS_MAX {
            return Err(Error::bad_request(format!(
                "The report would have {ROWS_MAX} lines or more. Ask for fewer days."
            )));
        }
        let mut rows: Vec<UsageRow> = stored.into_iter().map(of_storage).collect();
        rows.extend(moved.into_iter().map(of_egress));
        rows.sort_by(|a, b| (&a.day, a.meter, &a.resource).cmp(&(&b.day, b.meter, &b.resource)));
        Ok(rows)
    }

    /// Returns the counter of a download of a resource's content.
    pub fn download_of(&self, row: &Resource) -> Download {
        Download {
            egress: self.egress().clone(),
            owner: row.id.key(),
            region: row.location.clone(),
            metrics: self.metrics().clone(),
        }
    }

    /// Returns what replication of an owner's content between two regions adds to its bill.
    pub(crate) fn replication_egress(
        &self,
        owner: &str,
        from: &str,
        to: &str,
        bytes: u64,
    ) -> Option<EgressUsage> {
        let subscription = subscription_in(owner)?.to_ascii_lowercase();
        if bytes == 0 {
            return None;
        }
        self.metrics().add_replication(bytes);
        Some(EgressUsage {
            day: day(self.now_ms()),
            subscription,
            owner: owner.to_owned(),
            meter: Meter::Replication.name().to_owned(),
            region: from.to_owned(),
            target: to.to_owned(),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        })
    }

    /// Writes what was downloaded since the last time.
    pub async fn flush_egress(&self) -> Result<()> {
        let counted = {
            let mut counted = self
                .egress()
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *counted)
        };
        if counted.is_empty() {
            return Ok(());
        }
        let written = self.write_egress(&counted).await;
        if written.is_err() {
            let mut again = self
                .egress()
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (key, bytes) in counted {
                *again.entry(key).or_default() += bytes;
            }
        }
        written
    }

    async fn write_egress(&self, counted: &BTreeMap<(String, String), u64>) -> Result<()> {
        let day = day(self.now_ms());
        let mut tx = self.catalog().write().await.map_err(db)?;
        for ((owner, region), bytes) in counted {
            let Some(subscription) = subscription_in(owner) else {
                continue;
            };
            tx.add_egress(&EgressUsage {
                day: day.clone(),
                subscription: subscription.to_ascii_lowercase(),
                owner: owner.clone(),
                meter: Meter::Download.name().to_owned(),
                region: region.clone(),
                target: String::new(),
                bytes: i64::try_from(*bytes).unwrap_or(i64::MAX),
            })
            .await
            .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }
}

/// Returns the day of a time, `YYYY-MM-DD`, UTC.
pub(crate) fn day(ms: i64) -> String {
    let text = arm::time::format_zulu(ms);
    text.get(..10).unwrap_or(&text).to_owned()
}

fn checked(text: &str) -> Result<String> {
    let is_day = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    if is_day {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(40).collect();
    Err(Error::bad_request(format!(
        "'{shown}' is not a day. Write it as 2026-11-25."
    )))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a bill of more than 8 PiB may be a byte off"
)]
fn gib(bytes: i64) -> f64 {
    let exact = bytes as f64 / GIB;
    (exact * 1e6).round() / 1e6
}

/// Returns the meter of what a resource stores: people keep disks and snapshots apart from images.
fn meter_of(owner: &str) -> &'static str {
    match ResourceId::parse(owner).ok().and_then(|id| id.kind()) {
        Some(Kind::Disk) => "disks",
        Some(Kind::Snapshot) => "snapshots",
        _ => "storage",
    }
}

fn of_storage(usage: StorageUsage) -> UsageRow {
    UsageRow {
        meter: meter_of(&usage.owner),
        resource: usage.owner,
        target: String::new(),
        copies: usage.copies,
        logical_bytes: usage.logical_bytes,
        bytes: usage.content_bytes,
        quantity: gib(usage.content_bytes.saturating_mul(usage.copies)),
        day: usage.day,
        subscription: usage.subscription,
        region: usage.region,
    }
}

fn of_egress(usage: EgressUsage) -> UsageRow {
    let meter = match usage.meter.as_str() {
        "replication" => Meter::Replication.name(),
        _ => Meter::Download.name(),
    };
    UsageRow {
        meter,
        resource: usage.owner,
        target: usage.target,
        copies: 0,
        logical_bytes: 0,
        bytes: usage.bytes,
        quantity: gib(usage.bytes),
        day: usage.day,
        subscription: usage.subscription,
        region: usage.region,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_764_072_000_000; // 2025-11-25T12:00:00Z

    #[test]
    fn a_report_is_of_this_month_unless_it_is_said() {
        let days = |from, to| Days::parse(from, to, NOON_MS).map(|d| (d.from, d.to));
        let named = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(days(None, None), Ok(named("2025-11-01", "2025-11-25")));
        assert_eq!(
            days(Some("2025-01-31"), Some("2025-02-01")),
            Ok(named("2025-01-31", "2025-02-01"))
        );
        for (from, to) in [
            (Some("2025-02-30"), None),
            (Some("yesterday"), None),
            (Some("2025-2-3"), None),
            (Some("2025-02-02"), Some("2025-02-01")),
            (Some("2025-12-01"), None),
        ] {
            let refused = days(from, to).unwrap_err();
            assert_eq!(refused.kind, domain::ErrorKind::Invalid, "{from:?} {to:?}");
        }
    }
}
