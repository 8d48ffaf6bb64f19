//! What content exists where: progress of copies, and the roots of every sweep.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{CatalogError, Result};
use crate::resources::Page;
use crate::store::{Read, Tx};

/// What a replica refers to in its region's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An immutable disk: the manifest's id in hex.
    Manifest(String),
    /// A writable layer.
    Layer(Uuid),
}

/// Where a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// On its way.
    Replicating,
    /// All there and checked.
    Completed,
    /// Given up; the details say why.
    Failed,
}

/// One disk of one owner in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The resource's key.
    pub owner: String,
    /// `os`, `lun:N`, `disk`.
    pub slot: String,
    /// The region's short name.
    pub region: String,
    /// What is there.
    pub content: Content,
    /// Where the copy is.
    pub state: ReplicaState,
    /// Bytes to move in all.
    pub bytes_total: i64,
    /// Bytes moved.
    pub bytes_done: i64,
    /// Why it failed.
    pub details: Option<String>,
    /// Milliseconds since the epoch, UTC.
    pub updated_ms: i64,
}

impl ReplicaState {
    const ALL: [Self; 3] = [Self::Replicating, Self::Completed, Self::Failed];

    /// Returns the word on the wire and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replicating => "Replicating",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

impl Read {
    /// Returns every replica of an owner.
    pub async fn replicas(&mut self, owner: &str) -> Result<Vec<Replica>> {
        let rows = sqlx::query("SELECT * FROM replicas WHERE owner = $1 ORDER BY region, slot")
            .bind(owner)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Returns a page of what a region's store must keep.
    pub async fn contents(
        &mut self,
        region: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Replica>> {
        let (owner, slot) = after
            .and_then(|token| token.split_once('\n'))
            .unwrap_or_default();
        let rows = sqlx::query(
            "SELECT * FROM replicas WHERE region = $1 AND (owner > $2 OR (owner = $2 AND slot > $3)) \
             ORDER BY owner, slot LIMIT $4",
        )
        .bind(region)
        .bind(owner)
        .bind(slot)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        let items = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        let is_full = items.len() == limit;
        let next = items
            .last()
            .filter(|_| is_full)
            .map(|last| format!("{}\n{}", last.owner, last.slot));
        Ok(Page { items, next })
    }
}

impl Tx {
    /// Stores a replica in place of what is there.
    pub async fn put_replica(&mut self, replica: &Replica) -> Result<()> {
        const SQL: &str = "INSERT INTO replicas (owner, slot, region, content_kind, content_id, state, bytes_total, \
             bytes_done, details, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (owner, slot, region) DO UPDATE SET content_kind = excluded.content_kind, \
             content_id = excluded.content_id, state = excluded.state, bytes_total = excluded.bytes_total, \
             bytes_done = excluded.bytes_done, details = excluded.details, updated_ms = excluded.updated_ms";
        let (kind, id) = match &replica.content {
            Content::Manifest(id) => ("manifest", id.clone()),
            Content::Layer(id) => ("layer", id.to_string()),
        };
        sqlx::query(SQL)
            .bind(replica.owner.clone())
            .bind(replica.slot.clone())
            .bind(replica.region.clone())
            .bind(kind)
            .bind(id)
            .bind(replica.state.as_str())
            .bind(replica.bytes_total)
            .bind(replica.bytes_done)
            .bind(replica.details.clone())
            .bind(replica.updated_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets an owner's replicas whose slot is not among `slots`.
    pub async fn keep_replica_slots(&mut self, owner: &str, slots: &[&str]) -> Result<()> {
        for replica in self.replicas(owner).await? {
            if !slots.contains(&replica.slot.as_str()) {
                sqlx::query("DELETE FROM replicas WHERE owner = $1 AND slot = $2 AND region = $3")
                    .bind(owner)
                    .bind(replica.slot)
                    .bind(replica.region)
                    .execute(self.connection())
                    .await?;
            }
        }
        Ok(())
    }

    /// Forgets an owner's replicas, all or those of one region, and what its layers stood on.
    pub async fn delete_replicas(&mut self, owner: &str, region: Option<&str>) -> Result<u64> {
        let done =
            sqlx::query("DELETE FROM replicas WHERE owner = $1 AND ($2 = '' OR region = $2)")
                .bind(owner)
                .bind(region.unwrap_or_default())
                .execute(self.connection())
                .await?;
        self.drop_layer_bases(owner, region).await?;
        Ok(done.rows_affected())
    }
}

fn from_row(row: &AnyRow) -> Result<Replica> {
    let owner: String = row.try_get("owner")?;
    let corrupt = |reason: String| CatalogError::Corrupt {
        table: "replicas",
        key: owner.clone(),
        reason,
    };
    let kind: String = row.try_get("content_kind")?;
    let id: String = row.try_get("content_id")?;
    let content = match kind.as_str() {
        "manifest" => Content::Manifest(id),
        "layer" => Content::Layer(Uuid::parse_str(&id).map_err(|e| corrupt(e.to_string()))?),
        other => return Err(corrupt(format!("unknown content {other}"))),
    };
    let state: String = row.try_get("state")?;
    Ok(Replica {
        slot: row.try_get("slot")?,
        region: row.try_get("region")?,
        content,
        state: ReplicaState::ALL
            .into_iter()
            .find(|s| s.as_str() == state)
            .ok_or_else(|| corrupt(format!("unknown state {state}")))?,
        bytes_total: row.try_get("bytes_total")?,
        bytes_done: row.try_get("bytes_done")?,
        details: row.try_get("details")?,
        updated_ms: row.try_get("updated_ms")?,
        owner,
    })
}
