//! Leases of periodic work: one node at a time does what has a name.

use sqlx::Row as _;

use crate::error::Result;
use crate::store::{Read, Tx};

impl Read {
    /// Returns who holds leases whose names begin with `prefix` at `now_ms`, as name and owner.
    pub async fn leases(&mut self, prefix: &str, now_ms: i64) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query(
            "SELECT name, owner FROM leases WHERE SUBSTR(name, 1, LENGTH($1)) = $1 AND until_ms > $2 ORDER BY name",
        )
        .bind(prefix)
        .bind(now_ms)
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("name")?, row.try_get("owner")?)))
            .collect()
    }
}

impl Tx {
    /// Takes a lease, or keeps it, until `until_ms`; false while another owner holds it at `now_ms`.
    pub async fn take_lease(
        &mut self,
        name: &str,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO leases (name, owner, until_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
             owner = excluded.owner, until_ms = excluded.until_ms WHERE leases.owner = $2 OR leases.until_ms <= $4",
        )
        .bind(name)
        .bind(owner)
        .bind(until_ms)
        .bind(now_ms)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a lease back; one that another owner holds stays.
    pub async fn drop_lease(&mut self, name: &str, owner: &str) -> Result<()> {
        sqlx::query("DELETE FROM leases WHERE name = $1 AND owner = $2")
            .bind(name)
            .bind(owner)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets leases that ended before `before_ms`: names of nodes that are gone.
    pub async fn prune_leases(&mut self, before_ms: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM leases WHERE until_ms < $1")
            .bind(before_ms)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected())
    }
}
