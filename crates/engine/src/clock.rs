//! The clock: the system's, or one that a test turns by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands still until it is turned: milliseconds since the epoch, UTC.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Returns a clock that shows `now_ms` until it is turned.
    pub fn manual(now_ms: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Returns the time in milliseconds since the epoch, UTC.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Turns a manual clock forward; the system's clock does not move.
    pub fn advance_ms(&self, by_ms: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}
