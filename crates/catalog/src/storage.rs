//! The blob plane: containers, blobs, staged blocks, and access grants of disks.

use domain::ResourceId;
use domain::resource::Document;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::error::{CatalogError, Result, exists};
use crate::resources::Page;
use crate::store::{Read, Tx};

/// A container of blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Key of the storage account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Changes with every write.
    pub etag: String,
    /// Milliseconds since the epoch, UTC.
    pub modified_ms: i64,
    /// `x-ms-meta-*`.
    pub metadata: Document,
}

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// Pages of 512 bytes, written anywhere.
    Page,
    /// Blocks that a list puts in order.
    Block,
}

impl BlobKind {
    /// Returns the word on the wire and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "PageBlob",
            Self::Block => "BlockBlob",
        }
    }
}

/// A blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Key of the storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: BlobKind,
    /// Its length in bytes.
    pub size_bytes: i64,
    /// Changes with every write.
    pub etag: String,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
    /// Milliseconds since the epoch, UTC.
    pub modified_ms: i64,
    /// `x-ms-meta-*`.
    pub metadata: Document,
    /// Content type, encoding and the like.
    pub headers: Document,
    /// The layer that holds the bytes.
    pub layer: Uuid,
    /// The region of that layer.
    pub region: String,
    /// Page-blob sequence number.
    pub sequence: i64,
}

/// A block that no list has committed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedBlock {
    /// Key of the storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// The blob's name.
    pub blob: String,
    /// The id that the client chose, base64.
    pub block_id: String,
    /// The layer that holds the bytes.
    pub layer: Uuid,
    /// First byte in the layer.
    pub offset: i64,
    /// Its length in bytes.
    pub length: i64,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
}

/// A URL's right to read or write a disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// SHA-256 of the URL's secret.
    pub token_hash: String,
    /// The disk.
    pub resource: ResourceId,
    /// Whether it may write.
    pub write: bool,
    /// Milliseconds since the epoch, UTC.
    pub expires_ms: i64,
}

impl Read {
    /// Returns a container.
    pub async fn load_container(&mut self, account: &str, name: &str) -> Result<Option<Container>> {
        let row = sqlx::query("SELECT * FROM containers WHERE account = $1 AND name = $2")
            .bind(account)
            .bind(name)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(container).transpose()
    }

    /// Returns a page of containers by name.
    pub async fn list_containers(
        &mut self,
        account: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Container>> {
        const SQL: &str = "SELECT * FROM containers WHERE account = $1 AND {name} >= $2 AND {name} > $3 \
             ORDER BY {name} LIMIT $4";
        let rows = sqlx::query(AssertSqlSafe(self.dialect.in_byte_order(SQL)))
            .bind(account)
            .bind(prefix)
            .bind(after.unwrap_or_default())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        let items = rows.iter().map(container).collect::<Result<Vec<_>>>()?;
        Ok(page(items, prefix, limit, |item| &item.name))
    }

    /// Returns a blob.
    pub async fn load_blob(
        &mut self,
        account: &str,
        container: &str,
        name: &str,
    ) -> Result<Option<Blob>> {
        let row =
            sqlx::query("SELECT * FROM blobs WHERE account = $1 AND container = $2 AND name = $3")
                .bind(account)
                .bind(container)
                .bind(name)
                .fetch_optional(self.connection())
                .await?;
        row.as_ref().map(blob).transpose()
    }

    /// Returns a page of a container's blobs by name.
    pub async fn list_blobs(
        &mut self,
        account: &str,
        container: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Blob>> {
        const SQL: &str = "SELECT * FROM blobs WHERE account = $1 AND container = $2 AND {name} >= $3 AND {name} > $4 \
             ORDER BY {name} LIMIT $5";
        let rows = sqlx::query(AssertSqlSafe(self.dialect.in_byte_order(SQL)))
            .bind(account)
            .bind(container)
            .bind(prefix)
            .bind(after.unwrap_or_default())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        let items = rows.iter().map(blob).collect::<Result<Vec<_>>>()?;
        Ok(page(items, prefix, limit, |item| &item.name))
    }

    /// Returns every layer of a region that a blob or a staged block refers to.
    pub async fn blob_layers(&mut self, region: &str) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT layer FROM blobs WHERE region = $1 UNION SELECT layer FROM staged_blocks",
        )
        .bind(region)
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(|row| layer("blobs", row)).collect()
    }

    /// Returns the staged blocks of a blob, oldest first.
    pub async fn staged_blocks(
        &mut self,
        account: &str,
        container: &str,
        blob: &str,
    ) -> Result<Vec<StagedBlock>> {
        let rows = sqlx::query("SELECT * FROM staged_blocks WHERE account = $1 AND container = $2 AND blob = $3 ORDER BY created_ms, start, block_id")
            .bind(account)
            .bind(container)
            .bind(blob)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(staged_block).collect()
    }

    /// Returns a grant by the hash of its secret.
    pub async fn load_grant(&mut self, token_hash: &str) -> Result<Option<Grant>> {
        let row = sqlx::query("SELECT * FROM grants WHERE token_hash = $1")
            .bind(token_hash)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(grant).transpose()
    }

    /// Returns the grants of a resource.
    pub async fn grants_of(&mut self, resource: &ResourceId) -> Result<Vec<Grant>> {
        let rows = sqlx::query("SELECT * FROM grants WHERE resource_key = $1 ORDER BY token_hash")
            .bind(resource.key())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(grant).collect()
    }
}

impl Tx {
    /// Stores a new container.
    pub async fn insert_container(&mut self, container: &Container) -> Result<()> {
        sqlx::query("INSERT INTO containers (account, name, etag, modified_ms, metadata) VALUES ($1, $2, $3, $4, $5)")
            .bind(container.account.clone())
            .bind(container.name.clone())
            .bind(container.etag.clone())
            .bind(container.modified_ms)
            .bind(text(&container.metadata))
            .execute(self.connection())
            .await
            .map_err(exists("containers", &container.name))?;
        Ok(())
    }

    /// Stores a container in place of what is there.
    pub async fn put_container(&mut self, container: &Container) -> Result<()> {
        sqlx::query("INSERT INTO containers (account, name, etag, modified_ms, metadata) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, name) DO UPDATE SET etag = excluded.etag, modified_ms = excluded.modified_ms, metadata = excluded.metadata")
            .bind(container.account.clone())
            .bind(container.name.clone())
            .bind(container.etag.clone())
            .bind(container.modified_ms)
            .bind(text(&container.metadata))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Stores a staged block in place of one with its id.
    pub async fn put_staged_block(&mut self, block: &StagedBlock) -> Result<()> {
        const SQL: &str = "INSERT INTO staged_blocks (account, container, blob, block_id, layer, start, length, created_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, container, blob, block_id) DO UPDATE SET \
             layer = excluded.layer, start = excluded.start, length = excluded.length, created_ms = excluded.created_ms";
        sqlx::query(SQL)
            .bind(block.account.clone())
            .bind(block.container.clone())
            .bind(block.blob.clone())
            .bind(block.block_id.clone())
            .bind(block.layer.to_string())
            .bind(block.offset)
            .bind(block.length)
            .bind(block.created_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets the staged blocks of a blob.
    pub async fn delete_staged_blocks(
        &mut self,
        account: &str,
        container: &str,
        blob: &str,
    ) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM staged_blocks WHERE account = $1 AND container = $2 AND blob = $3",
        )
        .bind(account)
        .bind(container)
        .bind(blob)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a grant.
    pub async fn put_grant(&mut self, grant: &Grant) -> Result<()> {
        sqlx::query("INSERT INTO grants (token_hash, resource_key, resource, can_write, expires_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (token_hash) DO UPDATE SET expires_ms = excluded.expires_ms")
            .bind(grant.token_hash.clone())
            .bind(grant.resource.key())
            .bind(grant.resource.to_string())
            .bind(i64::from(grant.write))
            .bind(grant.expires_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Ends every grant of a resource.
    pub async fn delete_grants_of(&mut self, resource: &ResourceId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM grants WHERE resource_key = $1")
            .bind(resource.key())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Cuts what no longer has the prefix: names are sorted, so that is the end of the list.
fn page<T>(mut items: Vec<T>, prefix: &str, limit: usize, name: impl Fn(&T) -> &String) -> Page<T> {
    let is_full = items.len() == limit;
    let matching = items
        .iter()
        .take_while(|item| name(item).starts_with(prefix))
        .count();
    let is_cut = matching < items.len();
    items.truncate(matching);
    let next = items
        .last()
        .filter(|_| is_full && !is_cut)
        .map(|item| name(item).clone());
    Page { items, next }
}

pub(crate) fn text(document: &Document) -> String {
    Value::Object(document.clone()).to_string()
}

fn document(table: &'static str, row: &AnyRow, column: &str) -> Result<Document> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| corrupt(table, row, error.to_string()))
}

pub(crate) fn layer(table: &'static str, row: &AnyRow) -> Result<Uuid> {
    let text: String = row.try_get("layer")?;
    Uuid::parse_str(&text).map_err(|error| corrupt(table, row, error.to_string()))
}

fn corrupt(table: &'static str, row: &AnyRow, reason: String) -> CatalogError {
    let key = row.try_get::<String, _>("name").unwrap_or_default();
    CatalogError::Corrupt { table, key, reason }
}

fn container(row: &AnyRow) -> Result<Container> {
    Ok(Container {
        account: row.try_get("account")?,
        name: row.try_get("name")?,
        etag: row.try_get("etag")?,
        modified_ms: row.try_get("modified_ms")?,
        metadata: document("containers", row, "metadata")?,
    })
}

pub(crate) fn blob(row: &AnyRow) -> Result<Blob> {
    let kind: String = row.try_get("kind")?;
    Ok(Blob {
        account: row.try_get("account")?,
        container: row.try_get("container")?,
        name: row.try_get("name")?,
        kind: [BlobKind::Page, BlobKind::Block]
            .into_iter()
            .find(|k| k.as_str() == kind)
            .ok_or_else(|| corrupt("blobs", row, format!("unknown kind {kind}")))?,
        size_bytes: row.try_get("size_bytes")?,
        etag: row.try_get("etag")?,
        created_ms: row.try_get("created_ms")?,
        modified_ms: row.try_get("modified_ms")?,
        metadata: document("blobs", row, "metadata")?,
        headers: document("blobs", row, "headers")?,
        layer: layer("blobs", row)?,
        region: row.try_get("region")?,
        sequence: row.try_get("sequence")?,
    })
}

pub(crate) fn staged_block(row: &AnyRow) -> Result<StagedBlock> {
    Ok(StagedBlock {
        account: row.try_get("account")?,
        container: row.try_get("container")?,
        blob: row.try_get("blob")?,
        block_id: row.try_get("block_id")?,
        layer: layer("staged_blocks", row)?,
        offset: row.try_get("start")?,
        length: row.try_get("length")?,
        created_ms: row.try_get("created_ms")?,
    })
}

fn grant(row: &AnyRow) -> Result<Grant> {
    let resource: String = row.try_get("resource")?;
    let write: i64 = row.try_get("can_write")?;
    Ok(Grant {
        token_hash: row.try_get("token_hash")?,
        resource: ResourceId::parse(&resource).map_err(|e| CatalogError::Corrupt {
            table: "grants",
            key: resource.clone(),
            reason: e.to_string(),
        })?,
        write: write != 0,
        expires_ms: row.try_get("expires_ms")?,
    })
}
