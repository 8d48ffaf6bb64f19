//! Writable layers: what was written over a manifest, in sparse files, with a journal of what is where.
//!
//! Data before map: `flush` syncs the data, then appends the changed runs to the journal and syncs
//! it. What was flushed survives; what was not is old or new, sector by sector. What was acknowledged
//! survives the process in any case. When a sync fails nobody knows what the disk holds: the layer
//! closes, and who opens it again gets what is durable.

mod at_hand;
mod data;
mod freeze;
mod frozen;
mod journal;
mod map;
mod pending;
mod shared;
pub(crate) mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use disk::Extent;
use uuid::Uuid;

pub(crate) use self::pending::Pending;
use self::shared::Shared;
pub(crate) use self::shared::base_of;
use self::trouble::Trouble;
use crate::DISK_BYTES_MAX;
use crate::error::{BlocksError, Result};
use crate::ingest::Ingested;
use crate::inner::lock;
use crate::manifest::ManifestId;
use crate::read_ahead::ReadAhead;
use crate::store::{Store, blocking};

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
pub struct Layer {
    pub(crate) shared: Arc<Shared>,
    registry: Weak<Registry>,
    ahead: Arc<ReadAhead>,
}

/// The layers of a store that are in use.
#[derive(Default)]
pub(crate) struct Registry {
    open: Mutex<BTreeMap<LayerId, Weak<Shared>>>,
    /// Those with writes that are not flushed: they stay open when nobody holds them, so that a
    /// later handle can flush what an earlier one wrote.
    unflushed: Mutex<BTreeMap<LayerId, Arc<Shared>>>,
}

impl Layer {
    pub(crate) fn create(
        store: &Store,
        id: LayerId,
        base: Option<ManifestId>,
        size: u64,
    ) -> Result<Self> {
        check_size(size)?;
        let inner = &store.0;
        inner.use_as_base(base, || shared::create(inner, id, base, size))?;
        Self::open(store, id)
    }

    pub(crate) fn open(store: &Store, id: LayerId) -> Result<Self> {
        let registry = &store.1;
        let mut open = lock(&registry.open);
        let known = open.get(&id).and_then(Weak::upgrade);
        let shared = match known.filter(|shared| shared.check_open().is_ok()) {
            Some(shared) => shared,
            None => {
                lock(&registry.unflushed).remove(&id);
                open.retain(|_, shared| shared.strong_count() > 0);
                let shared = Arc::new(Shared::load(&store.0, id)?);
                open.insert(id, Arc::downgrade(&shared));
                shared
            }
        };
        let registry = Arc::downgrade(registry);
        let ahead = Arc::default();
        Ok(Self {
            shared,
            registry,
            ahead,
        })
    }

    pub(crate) fn delete(store: &Store, id: LayerId) -> Result<()> {
        let registry = &store.1;
        let mut open = lock(&registry.open);
        if let Some(shared) = open.remove(&id).as_ref().and_then(Weak::upgrade) {
            shared.close();
        }
        lock(&registry.unflushed).remove(&id);
        shared::remove(&store.0, id)
    }

    /// Does something that may leave unflushed writes, or flush them.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&Shared) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let layer = self.clone();
        blocking(move || {
            let changed = change(&layer.shared);
            layer.keep_while_unflushed();
            changed
        })
        .await
    }

    /// Reads the base ahead of who reads one piece after another.
    pub(crate) fn read_ahead(&self, offset: u64, length: u64) {
        if let Some((store, manifest)) = self.shared.below() {
            self.ahead.note(store, manifest, offset, length);
        }
    }

    fn keep_while_unflushed(&self) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let mut unflushed = lock(&registry.unflushed);
        if self.shared.is_unflushed() {
            unflushed
                .entry(self.shared.id)
                .or_insert_with(|| self.shared.clone());
        } else if unflushed
            .get(&self.shared.id)
            .is_some_and(|kept| Arc::ptr_eq(kept, &self.shared))
        {
            unflushed.remove(&self.shared.id);
        }
    }

    /// Returns the manifest below.
    pub fn base(&self) -> Option<ManifestId> {
        self.shared.base_id()
    }

    /// Returns the virtual size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.shared.map_read().map.size
    }

    /// Returns the bytes that were written here, in whole blocks, without what is seen of the base.
    pub fn own_bytes(&self) -> u64 {
        self.shared.map_read().map.data_bytes()
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = self.read(offset, buffer.len()).await?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Returns `length` bytes at `offset`.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.read_ahead(offset, length as u64);
        let shared = self.shared.clone();
        blocking(move || {
            let mut buffer = vec![0_u8; length];
            shared.read(offset, &mut buffer)?;
            Ok(buffer)
        })
        .await
    }

    /// Writes bytes; durable after the next flush.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.to_vec();
        self.change(move |shared| shared.write(offset, &bytes))
            .await
    }

    /// Makes a range zero and gives its space back.
    pub async fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        self.change(move |shared| shared.zero(offset, length)).await
    }

    /// Makes everything written so far durable; callers at the same time share one sync.
    pub async fn flush(&self) -> Result<()> {
        self.change(Shared::flush).await
    }

    /// Changes the size, durably; what is cut off is gone, what is added is zero.
    pub async fn resize(&self, size: u64) -> Result<()> {
        check_size(size)?;
        self.change(move |shared| shared.resize(size)).await
    }

    /// Returns the run that `offset` lies in, from `offset` on.
    pub fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.shared.extent_at(offset)
    }

    /// Makes an immutable disk of the first `length` bytes as they are now; writers go on.
    pub async fn freeze(&self, length: Option<u64>) -> Result<Ingested> {
        let shared = self.shared.clone();
        blocking(move || shared.freeze(length)).await
    }

    /// Returns why requests of NBD clients fail now; none when they do not.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.troubles.at(Instant::now())
    }

    /// Makes immutable disks of whole layers as they are at one moment; writers go on.
    ///
    /// A write is in its disk only if every write to any of the layers that had ended before it began
    /// is in that one's disk: what a guest with several disks finds after a power cut.
    pub async fn freeze_together(layers: &[Self]) -> Result<Vec<Ingested>> {
        let shared: Vec<Arc<Shared>> = layers.iter().map(|layer| layer.shared.clone()).collect();
        blocking(move || {
            let all: Vec<&Shared> = shared.iter().map(Arc::as_ref).collect();
            Shared::freeze_together(&all)
        })
        .await
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
