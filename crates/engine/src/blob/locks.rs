//! Who uses a blob now: conditional writes exclude others, and a layer that is read is not removed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blocks::LayerId;
use tokio::sync::RwLock;

/// Marks a blob as used as long as it lives; the lock orders writes of its bytes.
pub(crate) type BlobUse = Arc<RwLock<()>>;

/// Entries above which dead ones are dropped.
const ENTRIES_TIDY: usize = 1024;

/// The blobs in use.
#[derive(Default)]
pub(crate) struct BlobLocks(Mutex<BTreeMap<String, Weak<RwLock<()>>>>);

impl BlobLocks {
    /// Marks a blob as used. Taken before its row is read: who deletes looks after the row is gone.
    pub fn enter(&self, key: String) -> BlobUse {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = map.get(&key).and_then(Weak::upgrade) {
            return held;
        }
        if map.len() >= ENTRIES_TIDY {
            map.retain(|_, held| held.strong_count() > 0);
        }
        let fresh = BlobUse::default();
        map.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    /// Marks a layer as being filled: no row says yet whose it is, and no sweep may take it for nobody's.
    pub fn fill(&self, layer: LayerId) -> BlobUse {
        self.enter(layer.to_string())
    }

    /// Whether a layer is being filled.
    pub fn is_filled(&self, layer: LayerId) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&layer.to_string())
            .is_some_and(|held| held.strong_count() > 0)
    }

    /// Whether anybody but the caller uses a blob.
    pub fn is_shared(held: &BlobUse) -> bool {
        Arc::strong_count(held) > 1
    }
}
