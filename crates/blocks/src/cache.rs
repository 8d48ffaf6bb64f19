//! Decompressed frames, shared by every reader of a store and bounded in bytes.
//!
//! One fetch per frame however many ask: who comes second waits for the first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::frame::{FRAME_BYTES, FrameId};

type Raw = Arc<Vec<u8>>;
type Slot = Arc<Mutex<OnceLock<Raw>>>;

/// The cache.
pub(crate) struct Cache {
    frames_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<FrameId, (Slot, bool)>,
    /// Clock order: a frame that was used since it came by stays for another round.
    order: VecDeque<FrameId>,
}

impl Cache {
    /// Returns a cache of at most `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            frames_max: (bytes_max / FRAME_BYTES).max(16),
            state: Mutex::default(),
        }
    }

    /// Returns a frame, fetching it with `fetch` when it is not here.
    pub fn get(&self, id: FrameId, fetch: impl FnOnce() -> Result<Vec<u8>>) -> Result<Raw> {
        let slot = self.slot(id);
        let held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(raw) = held.get() {
            return Ok(raw.clone());
        }
        match fetch() {
            Ok(raw) => Ok(held.get_or_init(|| Arc::new(raw)).clone()),
            Err(error) => {
                self.state
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .slots
                    .remove(&id);
                Err(error)
            }
        }
    }

    fn slot(&self, id: FrameId) -> Slot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((slot, used)) = state.slots.get_mut(&id) {
            *used = true;
            return slot.clone();
        }
        while state.order.len() >= self.frames_max {
            let Some(oldest) = state.order.pop_front() else {
                break;
            };
            match state.slots.get_mut(&oldest) {
                Some((_, used)) if *used => {
                    *used = false;
                    state.order.push_back(oldest);
                }
                Some(_) => {
                    state.slots.remove(&oldest);
                }
                None => {}
            }
        }
        let slot = Slot::default();
        state.slots.insert(id, (slot.clone(), false));
        state.order.push_back(id);
        slot
    }
}
