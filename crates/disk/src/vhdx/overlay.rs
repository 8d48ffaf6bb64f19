//! A file with changes in memory: what a replayed log would have written.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::bytes::{index, read_padded};
use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

/// Changes are whole pages at multiples of this.
pub(super) const PAGE_BYTES: u64 = 4096;

/// What a change puts there.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// One page.
    Page(Vec<u8>),
    /// Zeroes up to this offset.
    ZeroTo(u64),
}

impl Change {
    fn end(&self, start: u64) -> u64 {
        match self {
            Self::Page(_) => start + PAGE_BYTES,
            Self::ZeroTo(end) => *end,
        }
    }
}

/// A file and its changes. Changes by start; they never overlap.
pub(super) struct Overlay<S> {
    file: S,
    size: u64,
    changes: BTreeMap<u64, Change>,
}

impl<S: Source> Overlay<S> {
    pub(super) fn new(file: S) -> Self {
        let size = file.size_bytes();
        Self {
            file,
            size,
            changes: BTreeMap::new(),
        }
    }

    /// Makes the file at least `size` bytes long.
    pub(super) fn grow(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// Puts a change over all before it. Start and end are multiples of a page.
    pub(super) fn put(&mut self, start: u64, change: Change) {
        let end = change.end(start);
        self.grow(end);
        // A run of zeroes that begins before is cut; so is one that ends behind.
        let before = self.changes.range(..start).next_back();
        if let Some((from, Change::ZeroTo(to))) = before.map(|(from, c)| (*from, c.clone()))
            && to > start
        {
            self.changes.insert(from, Change::ZeroTo(start));
            if to > end {
                self.changes.insert(end, Change::ZeroTo(to));
            }
        }
        let inside = (Bound::Included(start), Bound::Excluded(end));
        let hidden: Vec<u64> = self.changes.range(inside).map(|(from, _)| *from).collect();
        for from in hidden {
            if let Some(Change::ZeroTo(to)) = self.changes.remove(&from)
                && to > end
            {
                self.changes.insert(end, Change::ZeroTo(to));
            }
        }
        self.changes.insert(start, change);
    }
}

impl<S: Source> Source for Overlay<S> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size)?;
        read_padded(&self.file, offset, buf)?;
        let end = offset + buf.len() as u64;
        let first = self.changes.range(..=offset).next_back();
        let from = first.map_or(offset, |(start, _)| *start);
        for (start, change) in self.changes.range(from..end) {
            let (low, high) = (offset.max(*start), end.min(change.end(*start)));
            if low >= high {
                continue;
            }
            let piece = &mut buf[index(low - offset)..index(high - offset)];
            match change {
                Change::ZeroTo(_) => piece.fill(0),
                Change::Page(page) => {
                    piece.copy_from_slice(&page[index(low - start)..index(high - start)]);
                }
            }
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size)?;
        Ok(Extent {
            offset,
            length: self.size - offset,
            kind: ExtentKind::Data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn changes_read_as_if_they_were_written() {
        const PAGES: u64 = 40;
        let mut state = 1_u64;
        let mut below = |end: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % end
        };
        for _ in 0..300 {
            let mut model = vec![9; 20 * 4096];
            let mut overlay = Overlay::new(Memory(model.clone()));
            for round in 0..12_u8 {
                let (start, length) = (below(PAGES), below(9) + 1);
                let (change, length) = match below(2) {
                    0 => (Change::Page(vec![round; 4096]), 1),
                    _ => (Change::ZeroTo((start + length) * 4096), length),
                };
                let byte = if let Change::Page(_) = change {
                    round
                } else {
                    0
                };
                let (from, to) = (index(start * 4096), index((start + length) * 4096));
                model.resize(model.len().max(to), 0);
                model[from..to].fill(byte);
                overlay.put(start * 4096, change);
            }
            let mut read = vec![1; model.len()];
            assert_eq!(overlay.size_bytes(), model.len() as u64);
            overlay.read_at(0, &mut read).unwrap();
            assert!(read == model);
            let at = index(below(model.len() as u64));
            overlay.read_at(at as u64, &mut read[at..]).unwrap();
            assert!(read == model);
        }
    }
}
