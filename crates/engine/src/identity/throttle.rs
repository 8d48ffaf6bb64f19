//! Slows down who guesses: a few failures a minute for one account, then a pause.
//!
//! Only accounts that exist are counted, so the table is never larger than the directory. Each
//! node counts for itself.

use super::error::{SignInError, SignInResult};
use super::lock;
use crate::Engine;

/// Failures of one account within a minute.
pub(super) const FAILURES_MAX: u32 = 10;
const WINDOW_MS: i64 = 60_000;

/// What was counted for one account.
pub(super) struct Failures {
    since_ms: i64,
    count: u32,
}

impl Engine {
    /// Refuses an account that failed too often within the last minute.
    pub(super) fn check_failures(&self, object_id: &str) -> SignInResult<()> {
        let now_ms = self.now_ms();
        let mut failures = lock(&self.identity().failures);
        match failures.get(object_id) {
            Some(known) if now_ms - known.since_ms >= WINDOW_MS => {
                failures.remove(object_id);
                Ok(())
            }
            Some(known) if known.count >= FAILURES_MAX => Err(SignInError::Locked),
            _ => Ok(()),
        }
    }

    /// Counts a failure of an account.
    pub(super) fn count_failure(&self, object_id: &str) {
        let now_ms = self.now_ms();
        let mut failures = lock(&self.identity().failures);
        let entry = failures.entry(object_id.to_owned()).or_insert(Failures {
            since_ms: now_ms,
            count: 0,
        });
        entry.count = entry.count.saturating_add(1);
    }

    /// Forgets the failures of an account that has signed in.
    pub(super) fn clear_failures(&self, object_id: &str) {
        lock(&self.identity().failures).remove(object_id);
    }
}
