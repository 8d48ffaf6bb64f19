//! Writable layers: what was written over a manifest, in sparse files, with a journal of what is where.
//!
//! Data before map: `flush` syncs the data, then appends the changed runs to the journal and syncs
//! it. What was flushed survives; what was not is old or new, sector by sector. When a sync fails
//! nobody knows what the disk holds: the layer closes, and who opens it again gets what is durable.

mod data;
mod frozen;
mod journal;
mod map;
mod shared;

use std::fmt;
use std::sync::{Arc, Weak};

use disk::Extent;
use uuid::Uuid;

pub(crate) use self::shared::{Shared, base_of};
use crate::DISK_BYTES_MAX;
use crate::error::{BlocksError, Result};
use crate::ingest::Ingested;
use crate::inner::{Inner, lock};
use crate::manifest::ManifestId;
use crate::store::blocking;

/// The name of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub Uuid);

impl From<Uuid> for LayerId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<LayerId> for Uuid {
    fn from(id: LayerId) -> Self {
        id.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A writable disk; clones share it.
#[derive(Clone)]
pub struct Layer(Arc<Shared>);

impl Layer {
    pub(crate) fn create(
        store: &Arc<Inner>,
        id: LayerId,
        base: Option<ManifestId>,
        size: u64,
    ) -> Result<Self> {
        check_size(size)?;
        store.use_as_base(base, || shared::create(store, id, base, size))?;
        Self::open(store, id)
    }

    pub(crate) fn open(store: &Arc<Inner>, id: LayerId) -> Result<Self> {
        let mut open = lock(&store.open_layers);
        let known = open.get(&id).and_then(Weak::upgrade);
        if let Some(shared) = known.filter(|shared| shared.check_open().is_ok()) {
            return Ok(Self(shared));
        }
        open.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::load(store, id)?);
        open.insert(id, Arc::downgrade(&shared));
        Ok(Self(shared))
    }

    pub(crate) fn delete(store: &Arc<Inner>, id: LayerId) -> Result<()> {
        let mut open = lock(&store.open_layers);
        if let Some(shared) = open.remove(&id).as_ref().and_then(Weak::upgrade) {
            shared.close();
        }
        shared::remove(store, id)
    }

    /// Returns the manifest below.
    pub fn base(&self) -> Option<ManifestId> {
        self.0.base_id()
    }

    /// Returns the virtual size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.map_read().map.size
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = self.read(offset, buffer.len()).await?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Returns `length` bytes at `offset`.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let shared = self.0.clone();
        blocking(move || {
            let mut buffer = vec![0_u8; length];
            shared.read(offset, &mut buffer)?;
            Ok(buffer)
        })
        .await
    }

    /// Writes bytes; durable after the next flush.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (shared, bytes) = (self.0.clone(), bytes.to_vec());
        blocking(move || shared.write(offset, &bytes)).await
    }

    /// Makes a range zero and gives its space back.
    pub async fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        let shared = self.0.clone();
        blocking(move || shared.zero(offset, length)).await
    }

    /// Makes everything written so far durable; callers at the same time share one sync.
    pub async fn flush(&self) -> Result<()> {
        let shared = self.0.clone();
        blocking(move || shared.flush()).await
    }

    /// Changes the size, durably; what is cut off is gone, what is added is zero.
    pub async fn resize(&self, size: u64) -> Result<()> {
        check_size(size)?;
        let shared = self.0.clone();
        blocking(move || shared.resize(size)).await
    }

    /// Returns the run that `offset` lies in, from `offset` on.
    pub fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.0.extent_at(offset)
    }

    /// Makes an immutable disk of the first `length` bytes as they are now; writers go on.
    pub async fn freeze(&self, length: Option<u64>) -> Result<Ingested> {
        let shared = self.0.clone();
        blocking(move || shared.freeze(length)).await
    }
}

fn check_size(size: u64) -> Result<()> {
    if size <= DISK_BYTES_MAX {
        return Ok(());
    }
    Err(BlocksError::Invalid {
        reason: format!("a disk can have at most {DISK_BYTES_MAX} bytes"),
    })
}
