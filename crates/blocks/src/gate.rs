//! Who is making references right now, so that a sweep takes nothing from under them.
//!
//! Work that makes references (ingest, freeze, copy) holds the gate from before it looks at what is
//! there until its manifest is durable. A sweep condemns packs first: from then on nobody new refers
//! to what is in them. It waits until the work that began before has ended, looks again at what is
//! referred to, and only then removes. Nobody else ever waits.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The gate of a store.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    clock: u64,
    running: BTreeSet<u64>,
}

/// Work that is making references.
pub(crate) struct Hold {
    gate: Arc<Gate>,
    since: u64,
}

impl Gate {
    /// Lets work in.
    pub fn enter(self: &Arc<Self>) -> Hold {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let since = state.clock;
        state.running.insert(since);
        Hold {
            gate: self.clone(),
            since,
        }
    }

    /// Returns a moment after everything so far.
    pub fn now(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        state.clock
    }

    /// Returns the moment before which no running work began.
    pub fn oldest(&self) -> u64 {
        let now = self.now();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.first().map_or(now, |since| now.min(*since))
    }

    /// Waits until all work that began before `moment` has ended; whether it did in time.
    pub fn wait_for_older(&self, moment: u64, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.running.first().is_some_and(|since| *since < moment) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self
            .gate
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.running.remove(&self.since);
        drop(state);
        self.gate.ended.notify_all();
    }
}
