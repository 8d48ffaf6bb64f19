//! Names that must be unique beyond the id: a gallery in its subscription, a triplet in its gallery.

use domain::ResourceId;
use sqlx::Row as _;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

impl Read {
    /// Returns the key of the resource that holds a name.
    pub async fn claimed(&mut self, scope: &str, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT owner FROM claims WHERE scope = $1 AND key = $2")
            .bind(scope)
            .bind(key)
            .fetch_optional(self.connection())
            .await?;
        Ok(row.map(|row| row.try_get("owner")).transpose()?)
    }

    /// Returns who has names in a scope, at most `limit`, by lower-case key.
    pub async fn claimants(&mut self, scope: &str, limit: usize) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT DISTINCT owner FROM claims WHERE scope = $1 ORDER BY owner LIMIT $2",
        )
        .bind(scope)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(|row| Ok(row.try_get("owner")?)).collect()
    }
}

impl Tx {
    /// Takes a name for `owner`; taking it twice for the same owner is fine.
    pub async fn claim(&mut self, scope: &str, key: &str, owner: &ResourceId) -> Result<()> {
        sqlx::query("INSERT INTO claims (scope, key, owner) VALUES ($1, $2, $3) ON CONFLICT (scope, key) DO NOTHING")
            .bind(scope)
            .bind(key)
            .bind(owner.key())
            .execute(self.connection())
            .await?;
        let row = sqlx::query("SELECT owner FROM claims WHERE scope = $1 AND key = $2")
            .bind(scope)
            .bind(key)
            .fetch_one(self.connection())
            .await?;
        let holder: String = row.try_get("owner")?;
        if holder == owner.key() {
            Ok(())
        } else {
            Err(CatalogError::Taken { owner: holder })
        }
    }

    /// Gives back the names that a resource has in a scope.
    pub async fn unclaim(&mut self, scope: &str, owner: &ResourceId) -> Result<()> {
        sqlx::query("DELETE FROM claims WHERE scope = $1 AND owner = $2")
            .bind(scope)
            .bind(owner.key())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Gives back every name of a resource.
    pub async fn release(&mut self, owner: &ResourceId) -> Result<()> {
        sqlx::query("DELETE FROM claims WHERE owner = $1")
            .bind(owner.key())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
