//! What disks and snapshots hold: a writable layer, or an immutable manifest.

use std::collections::HashMap;

use ::disk::Extent;
use blocks::{Digest, Ingested, Layer, LayerId, ManifestId, Reader};
use catalog::{Content, Replica, ReplicaState};
use domain::operation::Operation;
use domain::{Error, Resource, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};
use crate::resources::not_found;

/// The slot of the only content of a disk or snapshot.
const SLOT: &str = "disk";

/// The open content of a disk or snapshot.
pub(crate) enum DiskContent {
    /// It can be written.
    Layer(Layer),
    /// It never changes.
    Manifest(Reader),
}

impl DiskContent {
    /// Returns the virtual size.
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Layer(layer) => layer.size_bytes(),
            Self::Manifest(reader) => reader.size_bytes(),
        }
    }

    /// Returns the run that `offset` lies in, from `offset` on.
    pub(crate) fn extent_at(&self, offset: u64) -> Result<Extent> {
        let found = match self {
            Self::Layer(layer) => layer.extent_at(offset),
            Self::Manifest(reader) => reader.extent_at(offset),
        };
        found.map_err(store_error)
    }

    /// Returns `length` bytes from `offset` on.
    pub(crate) async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let read = match self {
            Self::Layer(layer) => layer.read(offset, length).await,
            Self::Manifest(reader) => reader.read(offset, length).await,
        };
        read.map_err(store_error)
    }
}

/// Content at one moment.
#[derive(Clone)]
pub(crate) struct Frozen {
    /// Its name in every region.
    pub manifest: ManifestId,
    /// The digest of the raw bytes.
    pub digest: Digest,
    /// The virtual size.
    pub size_bytes: u64,
}

impl From<Ingested> for Frozen {
    fn from(made: Ingested) -> Self {
        Self {
            manifest: made.manifest,
            digest: made.content,
            size_bytes: made.size_bytes,
        }
    }
}

impl Engine {
    /// Returns what the catalog says a disk or snapshot holds; none while nothing was made.
    pub(crate) async fn content_of(&self, row: &Resource) -> Result<Option<Content>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&row.id.key()).await.map_err(db)?;
        let held = replicas.into_iter().find(|r| r.slot == SLOT);
        Ok(held.map(|replica| replica.content))
    }

    /// Opens the content of a disk or snapshot.
    pub(crate) async fn open_content(&self, row: &Resource) -> Result<DiskContent> {
        let store = self.store(&row.location).await?;
        match self.content_of(row).await? {
            Some(Content::Layer(id)) => {
                let layer = store.open_layer(id.into()).await.map_err(store_error)?;
                Ok(DiskContent::Layer(layer))
            }
            Some(Content::Manifest(id)) => {
                let reader = store.open_reader(parse(&id)?).await.map_err(store_error)?;
                Ok(DiskContent::Manifest(reader))
            }
            None => Err(not_found(&row.id)),
        }
    }

    /// Opens the content of a disk for writing.
    pub(crate) async fn disk_layer(&self, row: &Resource) -> Result<Layer> {
        match self.open_content(row).await? {
            DiskContent::Layer(layer) => Ok(layer),
            DiskContent::Manifest(_) => Err(Error::internal()),
        }
    }

    /// Returns the content of a disk or snapshot as it is now; it never changes again.
    pub(crate) async fn freeze_content(&self, row: &Resource) -> Result<Frozen> {
        let mut frozen = self.freeze_contents(&[row]).await?;
        frozen.pop().ok_or_else(Error::internal)
    }

    /// Returns the contents of disks and snapshots as they all are at one moment: of a machine that runs,
    /// what it finds after a power cut. One may come twice.
    pub(crate) async fn freeze_contents(&self, rows: &[&Resource]) -> Result<Vec<Frozen>> {
        let mut frozen = HashMap::new();
        let mut layers: Vec<(String, Layer)> = Vec::new();
        for row in rows {
            let key = row.id.key();
            match self.content_of(row).await? {
                Some(Content::Manifest(id)) => {
                    frozen.insert(key, self.frozen(&row.location, &id).await?);
                }
                _ if layers.iter().any(|(known, _)| *known == key) => {}
                _ => layers.push((key, self.disk_layer(row).await?)),
            }
        }
        let (keys, layers): (Vec<String>, Vec<Layer>) = layers.into_iter().unzip();
        let made = Layer::freeze_together(&layers).await.map_err(store_error)?;
        frozen.extend(keys.into_iter().zip(made.into_iter().map(Frozen::from)));
        let of = |row: &&Resource| frozen.get(&row.id.key()).cloned();
        rows.iter()
            .map(|row| of(row).ok_or_else(Error::internal))
            .collect()
    }

    /// Returns what a manifest of a region holds.
    pub(crate) async fn frozen(&self, region: &str, id: &str) -> Result<Frozen> {
        let manifest = parse(id)?;
        let store = self.store(region).await?;
        let held = store.manifest(manifest).await.map_err(store_error)?;
        Ok(Frozen {
            manifest,
            digest: held.content_digest(),
            size_bytes: held.size_bytes(),
        })
    }

    /// Opens the layer that belongs to a disk or snapshot, making it over `base` when it is not there.
    ///
    /// The id is derived from the row's own: a crash before the row is written finds it again. What it
    /// stands on is in the catalog before it is made, so that no sweep of another node takes that.
    pub(crate) async fn ensure_layer(
        &self,
        operation: &Operation,
        row: &Resource,
        base: Option<ManifestId>,
        size_bytes: u64,
    ) -> Result<(LayerId, Layer)> {
        let store = self.store(&row.location).await?;
        let id = layer_id(row)?;
        let layer = match store.open_layer(id).await {
            Ok(layer) => layer,
            Err(error) if error.kind() == blocks::Kind::NotFound => {
                self.keep_base(operation, row, id, base).await?;
                let made = store.create_layer(id, base, size_bytes).await;
                made.map_err(store_error)?
            }
            Err(error) => return Err(store_error(error)),
        };
        grow(&layer, size_bytes).await?;
        Ok((id, layer))
    }

    /// Records what a disk or snapshot holds; false when the lease is lost.
    pub(crate) async fn record_content(
        &self,
        operation: &Operation,
        row: &Resource,
        content: Content,
        size_bytes: u64,
    ) -> Result<bool> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Ok(false);
        }
        let replica = replica(row, SLOT, content, size_bytes, self.now_ms())?;
        tx.put_replica(&replica).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }
}

/// Makes a layer at least as large as asked.
pub(crate) async fn grow(layer: &Layer, size_bytes: u64) -> Result<()> {
    if layer.size_bytes() < size_bytes {
        layer.resize(size_bytes).await.map_err(store_error)?;
        layer.flush().await.map_err(store_error)?;
    }
    Ok(())
}

/// Returns a complete replica in the row's own region.
pub(crate) fn replica(
    row: &Resource,
    slot: &str,
    content: Content,
    size_bytes: u64,
    now_ms: i64,
) -> Result<Replica> {
    let bytes = i64::try_from(size_bytes).map_err(|_| Error::internal())?;
    Ok(Replica {
        owner: row.id.key(),
        slot: slot.to_owned(),
        region: row.location.clone(),
        content,
        state: ReplicaState::Completed,
        bytes_total: bytes,
        bytes_done: bytes,
        details: None,
        updated_ms: now_ms,
    })
}

fn parse(id: &str) -> Result<ManifestId> {
    id.parse().map_err(|_| Error::internal())
}

/// Returns the id of the layer that belongs to a disk or snapshot.
pub(crate) fn layer_id(row: &Resource) -> Result<LayerId> {
    let unique = row.properties.get("uniqueId").and_then(Value::as_str);
    let unique = Uuid::parse_str(unique.ok_or_else(Error::internal)?);
    unique.map(LayerId::from).map_err(|_| Error::internal())
}
