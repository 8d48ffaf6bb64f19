//! Writes of blobs: each names what it read, so that two writers never both win.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{CatalogError, Result};
use crate::storage::{Blob, Container, StagedBlock, layer, text};
use crate::store::{Read, Tx};

/// One block of a committed list: its id and its length in bytes.
pub type CommittedBlock = (String, i64);

impl Read {
    /// Returns the blocks that a block blob was committed from, in order.
    pub async fn block_list(
        &mut self,
        account: &str,
        container: &str,
        blob: &str,
    ) -> Result<Vec<CommittedBlock>> {
        let row = sqlx::query(
            "SELECT blocks FROM block_lists WHERE account = $1 AND container = $2 AND blob = $3",
        )
        .bind(account)
        .bind(container)
        .bind(blob)
        .fetch_optional(self.connection())
        .await?;
        let Some(row) = row else {
            return Ok(Vec::new());
        };
        let text: String = row.try_get("blocks")?;
        serde_json::from_str(&text).map_err(|error| CatalogError::Corrupt {
            table: "block_lists",
            key: blob.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Returns how many blocks of a blob are staged and how many bytes they hold.
    pub async fn staged_totals(
        &mut self,
        account: &str,
        container: &str,
        blob: &str,
    ) -> Result<(i64, i64)> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS blocks, CAST(COALESCE(SUM(length), 0) AS BIGINT) AS bytes FROM staged_blocks \
             WHERE account = $1 AND container = $2 AND blob = $3",
        )
        .bind(account)
        .bind(container)
        .bind(blob)
        .fetch_one(self.connection())
        .await?;
        Ok((row.try_get("blocks")?, row.try_get("bytes")?))
    }

    /// Returns the bytes of a container's blobs and staged blocks.
    pub async fn container_bytes(&mut self, account: &str, container: &str) -> Result<i64> {
        const SQL: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS n FROM (\
             SELECT size_bytes AS bytes FROM blobs WHERE account = $1 AND container = $2 \
             UNION ALL SELECT length AS bytes FROM staged_blocks WHERE account = $1 AND container = $2) AS held";
        let row = sqlx::query(SQL)
            .bind(account)
            .bind(container)
            .fetch_one(self.connection())
            .await?;
        Ok(row.try_get("n")?)
    }

    /// Returns the accounts that have staged blocks, and the bytes of these.
    pub async fn staged_by_account(&mut self) -> Result<Vec<(String, i64)>> {
        const SQL: &str = "SELECT account, CAST(SUM(length) AS BIGINT) AS bytes FROM staged_blocks \
             GROUP BY account ORDER BY account";
        let rows = sqlx::query(SQL).fetch_all(self.connection()).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("account")?, row.try_get("bytes")?)))
            .collect()
    }

    /// Returns a page of a region's blobs, by layer.
    pub async fn blobs_in(
        &mut self,
        region: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Blob>> {
        const SQL: &str =
            "SELECT * FROM blobs WHERE region = $1 AND layer > $2 ORDER BY layer LIMIT $3";
        let rows = sqlx::query(SQL)
            .bind(region)
            .bind(after.map(|layer| layer.to_string()).unwrap_or_default())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(crate::storage::blob).collect()
    }

    /// Returns a staged block by its id.
    pub async fn staged_block(
        &mut self,
        account: &str,
        container: &str,
        blob: &str,
        block_id: &str,
    ) -> Result<Option<StagedBlock>> {
        let row = sqlx::query(
            "SELECT * FROM staged_blocks WHERE account = $1 AND container = $2 AND blob = $3 AND block_id = $4",
        )
        .bind(account)
        .bind(container)
        .bind(blob)
        .bind(block_id)
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(crate::storage::staged_block).transpose()
    }

    /// Returns blocks that were staged before a time and never committed, oldest first.
    pub async fn stale_blocks(&mut self, before_ms: i64, limit: usize) -> Result<Vec<StagedBlock>> {
        let rows = sqlx::query(
            "SELECT * FROM staged_blocks WHERE created_ms < $1 ORDER BY created_ms LIMIT $2",
        )
        .bind(before_ms)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(crate::storage::staged_block).collect()
    }
}

impl Tx {
    /// Stores a blob where there is none; whether there was none.
    pub async fn create_blob(&mut self, blob: &Blob) -> Result<bool> {
        const SQL: &str = "INSERT INTO blobs (account, container, name, kind, size_bytes, etag, created_ms, modified_ms, \
             metadata, headers, layer, region, sequence) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (account, container, name) DO NOTHING";
        let done = sqlx::query(SQL)
            .bind(blob.account.clone())
            .bind(blob.container.clone())
            .bind(blob.name.clone())
            .bind(blob.kind.as_str())
            .bind(blob.size_bytes)
            .bind(blob.etag.clone())
            .bind(blob.created_ms)
            .bind(blob.modified_ms)
            .bind(text(&blob.metadata))
            .bind(text(&blob.headers))
            .bind(blob.layer.to_string())
            .bind(blob.region.clone())
            .bind(blob.sequence)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a blob in place of the one that had `etag`; whether that was still there.
    pub async fn replace_blob(&mut self, blob: &Blob, etag: &str) -> Result<bool> {
        const SQL: &str = "UPDATE blobs SET kind = $4, size_bytes = $5, etag = $6, created_ms = $7, modified_ms = $8, \
             metadata = $9, headers = $10, layer = $11, region = $12, sequence = $13 \
             WHERE account = $1 AND container = $2 AND name = $3 AND etag = $14";
        let done = sqlx::query(SQL)
            .bind(blob.account.clone())
            .bind(blob.container.clone())
            .bind(blob.name.clone())
            .bind(blob.kind.as_str())
            .bind(blob.size_bytes)
            .bind(blob.etag.clone())
            .bind(blob.created_ms)
            .bind(blob.modified_ms)
            .bind(text(&blob.metadata))
            .bind(text(&blob.headers))
            .bind(blob.layer.to_string())
            .bind(blob.region.clone())
            .bind(blob.sequence)
            .bind(etag.to_owned())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a blob a new etag because its bytes change; whether it still has the same layer.
    pub async fn touch_blob(&mut self, blob: &Blob) -> Result<bool> {
        const SQL: &str = "UPDATE blobs SET etag = $5, modified_ms = $6 \
             WHERE account = $1 AND container = $2 AND name = $3 AND layer = $4";
        let done = sqlx::query(SQL)
            .bind(blob.account.clone())
            .bind(blob.container.clone())
            .bind(blob.name.clone())
            .bind(blob.layer.to_string())
            .bind(blob.etag.clone())
            .bind(blob.modified_ms)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes the blob that has `etag` and its block list; whether it was there.
    pub async fn delete_blob(&mut self, blob: &Blob, etag: &str) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM blobs WHERE account = $1 AND container = $2 AND name = $3 AND etag = $4",
        )
        .bind(blob.account.clone())
        .bind(blob.container.clone())
        .bind(blob.name.clone())
        .bind(etag.to_owned())
        .execute(self.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.put_block_list(blob, &[]).await?;
        Ok(true)
    }

    /// Stores the list that a blob was committed from in place of the last one.
    pub async fn put_block_list(&mut self, blob: &Blob, blocks: &[CommittedBlock]) -> Result<()> {
        sqlx::query("DELETE FROM block_lists WHERE account = $1 AND container = $2 AND blob = $3")
            .bind(blob.account.clone())
            .bind(blob.container.clone())
            .bind(blob.name.clone())
            .execute(self.connection())
            .await?;
        if blocks.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_string(blocks).map_err(|error| CatalogError::Corrupt {
            table: "block_lists",
            key: blob.name.clone(),
            reason: error.to_string(),
        })?;
        sqlx::query(
            "INSERT INTO block_lists (account, container, blob, blocks) VALUES ($1, $2, $3, $4)",
        )
        .bind(blob.account.clone())
        .bind(blob.container.clone())
        .bind(blob.name.clone())
        .bind(text)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Forgets one staged block; whether it was still in that layer.
    pub async fn delete_staged_block(&mut self, block: &StagedBlock) -> Result<bool> {
        const SQL: &str = "DELETE FROM staged_blocks WHERE account = $1 AND container = $2 AND blob = $3 \
             AND block_id = $4 AND layer = $5";
        let done = sqlx::query(SQL)
            .bind(block.account.clone())
            .bind(block.container.clone())
            .bind(block.blob.clone())
            .bind(block.block_id.clone())
            .bind(block.layer.to_string())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a container with everything in it; returns blobs' names and layers that nothing refers to now.
    pub async fn delete_container(&mut self, container: &Container) -> Result<Vec<(String, Uuid)>> {
        let rows: Vec<AnyRow> = sqlx::query(
            "SELECT name, layer FROM blobs WHERE account = $1 AND container = $2 \
             UNION SELECT blob AS name, layer FROM staged_blocks WHERE account = $1 AND container = $2",
        )
        .bind(container.account.clone())
        .bind(container.name.clone())
        .fetch_all(self.connection())
        .await?;
        for sql in [
            "DELETE FROM containers WHERE account = $1 AND name = $2",
            "DELETE FROM blobs WHERE account = $1 AND container = $2",
            "DELETE FROM staged_blocks WHERE account = $1 AND container = $2",
            "DELETE FROM block_lists WHERE account = $1 AND container = $2",
        ] {
            sqlx::query(sql)
                .bind(container.account.clone())
                .bind(container.name.clone())
                .execute(self.connection())
                .await?;
        }
        rows.iter()
            .map(|row| Ok((row.try_get("name")?, layer("blobs", row)?)))
            .collect()
    }
}
