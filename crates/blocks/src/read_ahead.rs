//! Reading ahead of those who read one piece after another.
//!
//! Several places are followed at once, because clients read over several connections. A place that
//! is read on gets a window, twice as large each time; one thread brings it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::inner::{Inner, lock};
use crate::manifest::Manifest;
use crate::parts;

/// Places that are followed at once.
const PLACES_MAX: usize = 8;
/// Bytes that may lie between two reads of one place.
const SLACK_BYTES: u64 = 256 << 10;
const WINDOW_BYTES_MIN: u64 = 256 << 10;
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// Reads on after which a place counts as sequential.
const READS_MIN: u32 = 2;

/// What one disk was read at.
#[derive(Default)]
pub(crate) struct ReadAhead {
    places: Mutex<Vec<Place>>,
    is_busy: AtomicBool,
}

/// Lets the next window be planned, however this one ended.
struct Ready(Arc<ReadAhead>);

impl Drop for Ready {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where the next read is expected.
    next: u64,
    /// Up to where it was read ahead.
    until: u64,
    window: u64,
    reads: u32,
}

impl ReadAhead {
    /// Notes a read and, if it goes on where others ended, brings what comes next. Never waits.
    pub fn note(
        self: &Arc<Self>,
        store: &Arc<Inner>,
        manifest: &Arc<Manifest>,
        offset: u64,
        length: u64,
    ) {
        let size = manifest.size_bytes();
        // While a window is on its way no other is planned: what is planned is brought.
        let was_busy = self.is_busy.swap(true, Ordering::AcqRel);
        let planned = self.plan(offset, length, size, !was_busy);
        if was_busy {
            return;
        }
        let ready = Ready(self.clone());
        let Some((from, to)) = planned else {
            return;
        };
        let frames = parts::frames(manifest, from, to - from);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if store.cache.lacks_any(frames.iter().copied()) {
            let store = store.clone();
            drop(runtime.spawn_blocking(move || {
                store.bring(&frames);
                drop(ready);
            }));
        }
    }

    /// Notes a read; returns the range to bring, if there is one and it `may` be brought.
    fn plan(&self, offset: u64, length: u64, size: u64, may: bool) -> Option<(u64, u64)> {
        let end = offset.checked_add(length).filter(|end| *end <= size)?;
        let mut places = lock(&self.places);
        let follows = |place: &Place| (place.next..=place.next + SLACK_BYTES).contains(&offset);
        let Some(at) = places.iter().position(follows) else {
            places.truncate(PLACES_MAX - 1);
            places.insert(
                0,
                Place {
                    next: end,
                    until: end,
                    window: WINDOW_BYTES_MIN,
                    reads: 0,
                },
            );
            return None;
        };
        let mut place = places.remove(at);
        place.next = end;
        place.until = place.until.max(end);
        place.reads = place.reads.saturating_add(1);
        // A new window when half of the last one is used up.
        let is_due = may && place.reads >= READS_MIN && place.until - end <= place.window / 2;
        let from = place.until;
        if is_due {
            place.until = (from + place.window).min(size);
            place.window = (place.window * 2).min(WINDOW_BYTES_MAX);
        }
        let to = place.until;
        places.insert(0, place);
        (is_due && from < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 40;

    #[test]
    fn sequential_reads_get_windows_that_grow_and_do_not_overlap() {
        let ahead = ReadAhead::default();
        let mut windows = Vec::new();
        for n in 0..4096_u64 {
            windows.extend(ahead.plan(n * 65536, 65536, SIZE, true));
        }
        assert!(windows.len() > 32);
        assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(windows[0], (3 * 65536, 3 * 65536 + WINDOW_BYTES_MIN));
        let last = windows[windows.len() - 1];
        assert_eq!(last.1 - last.0, WINDOW_BYTES_MAX);
        assert!(last.1 >= 4096 * 65536);
    }

    #[test]
    fn places_are_followed_apart_and_scattered_reads_bring_nothing() {
        let ahead = ReadAhead::default();
        let mut brought = [0_u64; 4];
        for n in 0..64_u64 {
            for (who, bytes) in (0_u64..).zip(&mut brought) {
                let planned = ahead.plan((who << 32) + n * 65536, 65536, SIZE, true);
                *bytes += planned.map_or(0, |(from, to)| to - from);
            }
        }
        assert!(brought.iter().all(|bytes| *bytes >= 60 * 65536));
        let ahead = ReadAhead::default();
        let scattered =
            (0..1000_u64).filter_map(|n| ahead.plan((n * 7919 % 1009) << 24, 4096, SIZE, true));
        assert_eq!(scattered.count(), 0);
    }

    #[test]
    fn nothing_is_brought_beyond_the_end() {
        let ahead = ReadAhead::default();
        let size = 10 * 65536 + 512;
        let planned: Vec<_> = (0..10)
            .filter_map(|n| ahead.plan(n * 65536, 65536, size, true))
            .collect();
        assert_eq!(planned.last().map(|(_, to)| *to), Some(size));
        assert_eq!(ahead.plan(size, 1, size, true), None);
        assert_eq!(ahead.plan(u64::MAX, 2, size, true), None);
    }
}
