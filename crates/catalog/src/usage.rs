//! Metering: what subscriptions store and move by day, and what they hold of their quota.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::Result;
use crate::store::{Read, Tx};

/// What a resource stores in a region, the last time it was measured on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageUsage {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// The subscription that pays.
    pub subscription: String,
    /// The resource's key.
    pub owner: String,
    /// The region's short name.
    pub region: String,
    /// Bytes of its disks as they are seen.
    pub logical_bytes: i64,
    /// Bytes of its disks that are not in holes.
    pub content_bytes: i64,
    /// Physical copies.
    pub copies: i64,
    /// When it was measured, milliseconds since the epoch, UTC.
    pub measured_ms: i64,
}

/// What left a region on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressUsage {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// The subscription that pays.
    pub subscription: String,
    /// The resource's key.
    pub owner: String,
    /// Why: `replication` or `download`.
    pub meter: String,
    /// Where the bytes came from.
    pub region: String,
    /// The region that they went to; empty for a download.
    pub target: String,
    /// How many.
    pub bytes: i64,
}

impl Read {
    /// Returns what a subscription stored on the days from `from` to `to`, both included.
    pub async fn storage_usage(
        &mut self,
        subscription: &str,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<StorageUsage>> {
        let rows = sqlx::query(
            "SELECT * FROM storage_usage WHERE subscription = $1 AND day >= $2 AND day <= $3 \
             ORDER BY day, owner, region LIMIT $4",
        )
        .bind(subscription)
        .bind(from)
        .bind(to)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(storage).collect()
    }

    /// Returns the last measurement of a resource in a region.
    pub async fn last_storage_usage(
        &mut self,
        subscription: &str,
        owner: &str,
        region: &str,
    ) -> Result<Option<StorageUsage>> {
        let row = sqlx::query(
            "SELECT * FROM storage_usage WHERE subscription = $1 AND owner = $2 AND region = $3 \
             ORDER BY day DESC LIMIT 1",
        )
        .bind(subscription)
        .bind(owner)
        .bind(region)
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(storage).transpose()
    }

    /// Returns what a subscription moved on the days from `from` to `to`, both included.
    pub async fn egress_usage(
        &mut self,
        subscription: &str,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<EgressUsage>> {
        let rows = sqlx::query(
            "SELECT * FROM egress_usage WHERE subscription = $1 AND day >= $2 AND day <= $3 \
             ORDER BY day, owner, meter, region, target LIMIT $4",
        )
        .bind(subscription)
        .bind(from)
        .bind(to)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(egress).collect()
    }

    /// Returns the bytes that a subscription's resources hold of its quota.
    pub async fn held_bytes(&mut self, subscription: &str) -> Result<i64> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS n FROM byte_holds WHERE subscription = $1",
        )
        .bind(subscription)
        .fetch_one(self.connection())
        .await?;
        Ok(row.try_get("n")?)
    }

    /// Returns the bytes that one resource holds.
    pub async fn bytes_of(&mut self, owner: &str) -> Result<i64> {
        let row = sqlx::query("SELECT bytes FROM byte_holds WHERE owner = $1")
            .bind(owner)
            .fetch_optional(self.connection())
            .await?;
        Ok(row
            .map(|row| row.try_get("bytes"))
            .transpose()?
            .unwrap_or(0))
    }
}

impl Tx {
    /// Stores a measurement in place of the day's last one.
    pub async fn put_storage_usage(&mut self, usage: &StorageUsage) -> Result<()> {
        sqlx::query(
            "INSERT INTO storage_usage (day, subscription, owner, region, logical_bytes, content_bytes, copies, \
             measured_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (subscription, day, owner, region) \
             DO UPDATE SET logical_bytes = excluded.logical_bytes, content_bytes = excluded.content_bytes, \
             copies = excluded.copies, measured_ms = excluded.measured_ms",
        )
        .bind(usage.day.clone())
        .bind(usage.subscription.clone())
        .bind(usage.owner.clone())
        .bind(usage.region.clone())
        .bind(usage.logical_bytes)
        .bind(usage.content_bytes)
        .bind(usage.copies)
        .bind(usage.measured_ms)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Adds bytes to what left a region on a day.
    pub async fn add_egress(&mut self, usage: &EgressUsage) -> Result<()> {
        sqlx::query(
            "INSERT INTO egress_usage (day, subscription, owner, meter, region, target, bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (subscription, day, owner, meter, region, target) \
             DO UPDATE SET bytes = egress_usage.bytes + excluded.bytes",
        )
        .bind(usage.day.clone())
        .bind(usage.subscription.clone())
        .bind(usage.owner.clone())
        .bind(usage.meter.clone())
        .bind(usage.region.clone())
        .bind(usage.target.clone())
        .bind(usage.bytes)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Stores the bytes that a resource holds of its subscription's quota.
    pub async fn hold_bytes(&mut self, owner: &str, subscription: &str, bytes: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO byte_holds (owner, subscription, bytes) VALUES ($1, $2, $3) \
             ON CONFLICT (owner) DO UPDATE SET bytes = excluded.bytes",
        )
        .bind(owner)
        .bind(subscription)
        .bind(bytes)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Adds to the bytes that a resource holds of its subscription's quota, or takes from them.
    pub async fn add_held_bytes(
        &mut self,
        owner: &str,
        subscription: &str,
        bytes: i64,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO byte_holds (owner, subscription, bytes) VALUES ($1, $2, $3) \
             ON CONFLICT (owner) DO UPDATE SET bytes = byte_holds.bytes + excluded.bytes",
        )
        .bind(owner)
        .bind(subscription)
        .bind(bytes)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Gives back the bytes that a resource holds.
    pub async fn free_bytes(&mut self, owner: &str) -> Result<()> {
        sqlx::query("DELETE FROM byte_holds WHERE owner = $1")
            .bind(owner)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn storage(row: &AnyRow) -> Result<StorageUsage> {
    Ok(StorageUsage {
        day: row.try_get("day")?,
        subscription: row.try_get("subscription")?,
        owner: row.try_get("owner")?,
        region: row.try_get("region")?,
        logical_bytes: row.try_get("logical_bytes")?,
        content_bytes: row.try_get("content_bytes")?,
        copies: row.try_get("copies")?,
        measured_ms: row.try_get("measured_ms")?,
    })
}

fn egress(row: &AnyRow) -> Result<EgressUsage> {
    Ok(EgressUsage {
        day: row.try_get("day")?,
        subscription: row.try_get("subscription")?,
        owner: row.try_get("owner")?,
        meter: row.try_get("meter")?,
        region: row.try_get("region")?,
        target: row.try_get("target")?,
        bytes: row.try_get("bytes")?,
    })
}
