//! Settings of the installation: made once, read by every node.

use sqlx::Row as _;

use crate::error::Result;
use crate::store::{Read, Tx};

impl Read {
    /// Returns a setting.
    pub async fn setting(&mut self, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM settings WHERE key = $1")
            .bind(key)
            .fetch_optional(self.connection())
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }
}

impl Tx {
    /// Stores a setting unless it is there.
    pub async fn put_setting_if_absent(&mut self, key: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .bind(value)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Stores a setting in place of what is there.
    pub async fn put_setting(&mut self, key: &str, value: &str) -> Result<()> {
        sqlx::query("INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key)
            .bind(value)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
