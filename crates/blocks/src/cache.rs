//! Decompressed frames, shared by every disk of a host and bounded in bytes.
//!
//! One fetch per frame however many ask: who claims a frame first brings it, the others wait for it.
//! A frame's name means the same bytes in every store of an installation, so stores may share one.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::error::Result;
use crate::frame::{FRAME_BYTES, FrameId};
use crate::inner::lock;

/// A cache below this many frames would only be in the way.
const FRAMES_MIN: usize = 16;

/// The cache; clones share it.
#[derive(Clone)]
pub struct FrameCache(Arc<Shared>);

struct Shared {
    bytes_max: usize,
    state: Mutex<State>,
    /// A frame arrived, or will not.
    landed: Condvar,
}

#[derive(Default)]
struct State {
    frames: HashMap<FrameId, Entry>,
    /// Clock order: a frame that was used since it came by stays for another round.
    order: VecDeque<FrameId>,
    bytes: usize,
}

enum Entry {
    Coming,
    Here { raw: Bytes, was_used: bool },
}

/// Frames that their holder brings; those that do not land until it is dropped count as not asked for.
pub(crate) struct Claim {
    cache: FrameCache,
    frames: Vec<FrameId>,
}

impl FrameCache {
    /// Returns a cache of at most `bytes_max`, and of 1 MiB at least.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared {
            bytes_max: bytes_max.max(FRAMES_MIN * FRAME_BYTES),
            state: Mutex::default(),
            landed: Condvar::new(),
        }))
    }

    /// Returns the bytes of the frames that are here.
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Returns the bytes that it may hold.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Returns a frame if it is here.
    pub(crate) fn peek(&self, id: FrameId) -> Option<Bytes> {
        self.state().touch(id)
    }

    /// Returns a frame, fetching it with `fetch` when nobody else does.
    pub(crate) fn get(&self, id: FrameId, fetch: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let mut state = self.state();
        loop {
            if let Some(raw) = state.touch(id) {
                return Ok(raw);
            }
            if !state.frames.contains_key(&id) {
                break;
            }
            let waited = self.0.landed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.frames.insert(id, Entry::Coming);
        drop(state);
        let mut claim = Claim {
            cache: self.clone(),
            frames: vec![id],
        };
        let raw = fetch()?;
        claim.land(id, raw.clone());
        Ok(raw)
    }

    /// Claims those of some frames that are neither here nor coming.
    pub(crate) fn claim(&self, ids: impl IntoIterator<Item = FrameId>) -> Claim {
        let mut state = self.state();
        let mut frames = Vec::new();
        for id in ids {
            if let std::collections::hash_map::Entry::Vacant(vacant) = state.frames.entry(id) {
                vacant.insert(Entry::Coming);
                frames.push(id);
            }
        }
        drop(state);
        let cache = self.clone();
        Claim { cache, frames }
    }

    /// Whether any of some frames is neither here nor coming.
    pub(crate) fn lacks_any(&self, ids: impl IntoIterator<Item = FrameId>) -> bool {
        let state = self.state();
        ids.into_iter().any(|id| !state.frames.contains_key(&id))
    }
}

impl State {
    fn touch(&mut self, id: FrameId) -> Option<Bytes> {
        match self.frames.get_mut(&id)? {
            Entry::Coming => None,
            Entry::Here { raw, was_used } => {
                *was_used = true;
                Some(raw.clone())
            }
        }
    }

    fn make_room(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            match self.frames.get_mut(&oldest) {
                Some(Entry::Here { was_used, .. }) if *was_used => {
                    *was_used = false;
                    self.order.push_back(oldest);
                }
                Some(Entry::Here { raw, .. }) => {
                    self.bytes -= raw.len();
                    self.frames.remove(&oldest);
                }
                Some(Entry::Coming) | None => {}
            }
        }
    }
}

impl Claim {
    /// Returns the frames that are to be brought.
    pub fn frames(&self) -> &[FrameId] {
        &self.frames
    }

    /// Puts a frame into the cache.
    pub fn land(&mut self, id: FrameId, raw: Bytes) {
        let Some(at) = self.frames.iter().position(|frame| *frame == id) else {
            return;
        };
        self.frames.swap_remove(at);
        let mut state = self.cache.state();
        state.bytes += raw.len();
        let was_used = false;
        state.frames.insert(id, Entry::Here { raw, was_used });
        state.make_room(self.cache.0.bytes_max);
        state.order.push_back(id);
        drop(state);
        self.cache.0.landed.notify_all();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        let mut state = self.cache.state();
        for id in &self.frames {
            state.frames.remove(id);
        }
        drop(state);
        self.cache.0.landed.notify_all();
    }
}

impl fmt::Debug for FrameCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCache")
            .field("bytes", &self.bytes())
            .field("bytes_max", &self.0.bytes_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use uuid::Uuid;

    use super::*;
    use crate::BlocksError;

    fn frame(number: u32) -> FrameId {
        FrameId {
            origin: Uuid::from_u128(1),
            number,
        }
    }

    fn raw(number: u32) -> Bytes {
        Bytes::from(vec![number.to_le_bytes()[0]; FRAME_BYTES])
    }

    #[test]
    fn many_readers_of_one_cold_frame_cause_one_fetch() {
        let cache = FrameCache::new(0);
        let (fetches, start) = (AtomicUsize::new(0), Barrier::new(32));
        let (cache, fetches, start) = (&cache, &fetches, &start);
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(move || {
                    start.wait();
                    let got = cache.get(frame(1), || {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        // Long enough for the others to come and ask.
                        for _ in 0..1000 {
                            std::thread::yield_now();
                        }
                        Ok(raw(1))
                    });
                    assert_eq!(got.unwrap(), raw(1));
                });
            }
        });
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_fetch_that_fails_or_panics_lets_the_next_one_try() {
        let cache = FrameCache::new(0);
        let failed = cache.get(frame(1), || Err(BlocksError::Canceled));
        assert!(failed.is_err());
        let panicking = cache.clone();
        let panicked = std::thread::spawn(move || {
            drop(panicking.get(frame(1), || panic!("a fetch that ends badly")));
        });
        assert!(panicked.join().is_err());
        assert_eq!(cache.get(frame(1), || Ok(raw(1))).unwrap(), raw(1));
        assert_eq!(
            cache.get(frame(1), || Err(BlocksError::Canceled)).unwrap(),
            raw(1)
        );
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = FrameCache::new(32 * FRAME_BYTES);
        for number in 0..1000 {
            drop(cache.get(frame(0), || Ok(raw(0))).unwrap());
            drop(cache.get(frame(number), || Ok(raw(number))).unwrap());
            assert!(cache.bytes() <= cache.bytes_max());
        }
        assert!(cache.bytes() > cache.bytes_max() - 2 * FRAME_BYTES);
        assert!(cache.peek(frame(0)).is_some(), "asked for all the time");
        assert!(cache.peek(frame(1)).is_none(), "asked for once, long ago");
        assert!(cache.peek(frame(999)).is_some());
        let state = cache.state();
        assert_eq!(state.order.len(), state.frames.len());
    }

    #[test]
    fn what_is_claimed_is_waited_for_and_what_is_given_up_is_fetched() {
        let cache = FrameCache::new(0);
        let mut claim = cache.claim([frame(1), frame(2), frame(1)]);
        assert_eq!(claim.frames(), [frame(1), frame(2)]);
        assert_eq!(cache.claim([frame(2)]).frames(), []);
        assert!(!cache.lacks_any([frame(1), frame(2)]));
        assert!(cache.lacks_any([frame(1), frame(3)]));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| cache.get(frame(1), || Err(BlocksError::Canceled)));
            let second = scope.spawn(|| cache.get(frame(2), || Ok(raw(9))));
            claim.land(frame(1), raw(1));
            drop(claim);
            assert_eq!(first.join().unwrap().unwrap(), raw(1));
            assert_eq!(second.join().unwrap().unwrap(), raw(9));
        });
    }
}
