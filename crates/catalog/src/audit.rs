//! The audit: a chain that only grows. There is no statement here that changes or removes an entry.

use domain::audit::Entry;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::Result;
use crate::store::{Read, Tx};

/// Which entries of a subscription are read.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The subscription, in lower case.
    pub subscription: String,
    /// Not before this time.
    pub from_ms: i64,
    /// Not after this time.
    pub to_ms: i64,
    /// Only entries before this one in the chain.
    pub before: i64,
}

impl Read {
    /// Returns the last entry and its hash.
    pub async fn last_audit(&mut self) -> Result<Option<(Entry, String)>> {
        let row = sqlx::query("SELECT * FROM audit ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(entry).transpose()
    }

    /// Returns entries in their order, from the one after `sequence` on.
    pub async fn audit_after(
        &mut self,
        sequence: i64,
        limit: usize,
    ) -> Result<Vec<(Entry, String)>> {
        let rows =
            sqlx::query("SELECT * FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(sequence)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(self.connection())
                .await?;
        rows.iter().map(entry).collect()
    }

    /// Returns entries of a subscription, newest first.
    pub async fn audit_of(&mut self, filter: &AuditFilter, limit: usize) -> Result<Vec<Entry>> {
        const SQL: &str = "SELECT * FROM audit WHERE subscription = $1 AND at_ms >= $2 AND at_ms <= $3 AND sequence < $4 \
             ORDER BY sequence DESC LIMIT $5";
        let rows = sqlx::query(SQL)
            .bind(filter.subscription.clone())
            .bind(filter.from_ms)
            .bind(filter.to_ms)
            .bind(filter.before)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| Ok(entry(row)?.0)).collect()
    }
}

impl Tx {
    /// Adds the entry that follows the last one.
    pub async fn insert_audit(&mut self, entry: &Entry, hash: &str) -> Result<()> {
        const SQL: &str = "INSERT INTO audit (sequence, at_ms, tenant, subscription, principal, caller, action, scope, code, \
             correlation, client, before_digest, after_digest, hash, repeats) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        sqlx::query(SQL)
            .bind(entry.sequence)
            .bind(entry.at_ms)
            .bind(entry.tenant.clone())
            .bind(entry.subscription.clone())
            .bind(entry.principal.clone())
            .bind(entry.caller.clone())
            .bind(entry.action.clone())
            .bind(entry.scope.clone())
            .bind(entry.code.clone())
            .bind(entry.correlation.clone())
            .bind(entry.client.clone())
            .bind(entry.before.clone())
            .bind(entry.after.clone())
            .bind(hash)
            .bind(entry.repeats)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn entry(row: &AnyRow) -> Result<(Entry, String)> {
    let entry = Entry {
        sequence: row.try_get("sequence")?,
        at_ms: row.try_get("at_ms")?,
        tenant: row.try_get("tenant")?,
        subscription: row.try_get("subscription")?,
        principal: row.try_get("principal")?,
        caller: row.try_get("caller")?,
        action: row.try_get("action")?,
        scope: row.try_get("scope")?,
        code: row.try_get("code")?,
        correlation: row.try_get("correlation")?,
        client: row.try_get("client")?,
        before: row.try_get("before_digest")?,
        after: row.try_get("after_digest")?,
        repeats: row.try_get("repeats")?,
    };
    Ok((entry, row.try_get("hash")?))
}
