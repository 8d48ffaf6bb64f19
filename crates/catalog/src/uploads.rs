//! Uploads under way: what they hold of a quota, for as long as their nodes keep them alive.

use sqlx::Row as _;
use uuid::Uuid;

use crate::error::Result;
use crate::store::{Read, Tx};

/// What one upload holds until its bytes belong to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUpload {
    /// The layer that takes the bytes.
    pub id: Uuid,
    /// The subscription whose quota it is.
    pub subscription: String,
    /// The blob that it is for.
    pub blob: String,
    /// Bytes that it holds.
    pub bytes: i64,
    /// Bytes that it does not hold, because what it replaces gives them back.
    pub lent_bytes: i64,
    /// When it counts for nothing unless it is renewed, milliseconds since the epoch, UTC.
    pub until_ms: i64,
}

impl Read {
    /// Returns the bytes that a subscription's uploads hold at a time.
    pub async fn uploading_bytes(&mut self, subscription: &str, now_ms: i64) -> Result<i64> {
        const SQL: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS n FROM uploads \
             WHERE subscription = $1 AND until_ms > $2";
        self.sum_of_uploads(SQL, subscription, now_ms).await
    }

    /// Returns the bytes that uploads to a blob count on from what they replace.
    pub async fn lent_bytes(&mut self, blob: &str, now_ms: i64) -> Result<i64> {
        const SQL: &str = "SELECT CAST(COALESCE(SUM(lent_bytes), 0) AS BIGINT) AS n FROM uploads \
             WHERE blob = $1 AND until_ms > $2";
        self.sum_of_uploads(SQL, blob, now_ms).await
    }

    async fn sum_of_uploads(&mut self, sql: &'static str, of: &str, now_ms: i64) -> Result<i64> {
        let row = sqlx::query(sql)
            .bind(of)
            .bind(now_ms)
            .fetch_one(self.connection())
            .await?;
        Ok(row.try_get("n")?)
    }
}

impl Tx {
    /// Stores what an upload holds.
    pub async fn begin_upload(&mut self, upload: &HeldUpload) -> Result<()> {
        sqlx::query(
            "INSERT INTO uploads (id, subscription, blob, bytes, lent_bytes, until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(upload.id.to_string())
        .bind(upload.subscription.clone())
        .bind(upload.blob.clone())
        .bind(upload.bytes)
        .bind(upload.lent_bytes)
        .bind(upload.until_ms)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps an upload until a later time; whether it is still there.
    pub async fn renew_upload(&mut self, id: Uuid, until_ms: i64) -> Result<bool> {
        let done = sqlx::query("UPDATE uploads SET until_ms = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(until_ms)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives back what an upload holds; whether it still held anything.
    pub async fn end_upload(&mut self, id: Uuid) -> Result<bool> {
        let done = sqlx::query("DELETE FROM uploads WHERE id = $1")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets the uploads whose nodes have not kept them alive.
    pub async fn prune_uploads(&mut self, now_ms: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM uploads WHERE until_ms <= $1")
            .bind(now_ms)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected())
    }
}
