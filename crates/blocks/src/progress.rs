//! How far a long call is, and a way to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{BlocksError, Result};

/// Counters that a caller can watch, and a way to stop; clones share them.
#[derive(Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Default)]
struct Counters {
    total: AtomicU64,
    done: AtomicU64,
    canceled: AtomicBool,
}

impl Progress {
    /// Returns the bytes to do in all, 0 while that is not known.
    pub fn total_bytes(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Returns the bytes done.
    pub fn done_bytes(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Asks the work to stop; what is durable stays.
    pub fn cancel(&self) {
        self.0.canceled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.canceled.load(Ordering::Relaxed) {
            Err(BlocksError::Canceled)
        } else {
            Ok(())
        }
    }
}
