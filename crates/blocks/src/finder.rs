//! Finding blocks that are here already.
//!
//! Content comes in the order in which it came before, so the answer is most often the neighbour of
//! the last one. Then the hooks are asked, and segments that gave hits lately.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frame::{BlockId, FrameId};
use crate::inner::Inner;
use crate::pack::Pack;
use crate::segment::Segment;

/// Segments that are searched when the hooks are only a sample.
const NEAR_MAX: usize = 16;

/// The search of one ingest.
pub(crate) struct Finder<'a> {
    store: &'a Inner,
    last: Option<(Arc<Segment>, usize, usize)>,
    near: VecDeque<(Arc<Pack>, usize, Arc<Segment>)>,
}

impl<'a> Finder<'a> {
    pub fn new(store: &'a Inner) -> Self {
        Self {
            store,
            last: None,
            near: VecDeque::new(),
        }
    }

    /// Loads the segments that some of these blocks are hooked to, before any of them is looked up:
    /// what comes before a sampled block is then found as well as what comes after it.
    pub fn look_ahead(&mut self, blocks: impl Iterator<Item = BlockId>) {
        if self.store.index.is_exact() {
            return;
        }
        for block in blocks {
            if let (Some((pack, number)), _) = self.store.index.hooked(block) {
                self.load(&pack, number);
            }
        }
    }

    /// Returns where a block is kept.
    pub fn find(&mut self, block: BlockId) -> Option<(FrameId, usize)> {
        if let Some(next) = self.neighbour(block) {
            return Some(next);
        }
        let (hooked, is_final) = self.store.index.hooked(block);
        if let Some((pack, number)) = hooked
            && let Some(found) = self.search(&pack, number, block)
        {
            return Some(found);
        }
        if is_final {
            return None;
        }
        let near = self.near.iter().find_map(|(_, _, segment)| {
            let (row, within) = segment.find(block)?;
            Some((segment.clone(), row, within))
        })?;
        Some(self.take(near))
    }

    fn neighbour(&mut self, block: BlockId) -> Option<(FrameId, usize)> {
        let (segment, row, within) = self.last.as_ref()?;
        let (mut row, mut within) = (*row, within + 1);
        if within >= segment.rows[row].blocks.len() {
            (row, within) = (row + 1, 0);
        }
        if segment.rows.get(row)?.blocks.get(within) != Some(&block) {
            return None;
        }
        let found = (segment.clone(), row, within);
        Some(self.take(found))
    }

    /// Returns a segment, from those that are near or from its pack.
    fn load(&mut self, pack: &Arc<Pack>, number: usize) -> Option<Arc<Segment>> {
        let is_same =
            |(p, n, _): &(Arc<Pack>, usize, Arc<Segment>)| p.id == pack.id && *n == number;
        if let Some(at) = self.near.iter().position(is_same) {
            return self.near.get(at).map(|(_, _, segment)| segment.clone());
        }
        // A table that cannot be read only costs a copy.
        let read = self.store.index.segment(&self.store.objects, pack, number);
        let segment = read.ok()?;
        if self.near.len() >= NEAR_MAX {
            self.near.pop_back();
        }
        self.near
            .push_front((pack.clone(), number, segment.clone()));
        Some(segment)
    }

    fn search(
        &mut self,
        pack: &Arc<Pack>,
        number: usize,
        block: BlockId,
    ) -> Option<(FrameId, usize)> {
        let segment = self.load(pack, number)?;
        let (row, within) = segment.find(block)?;
        Some(self.take((segment, row, within)))
    }

    fn take(&mut self, found: (Arc<Segment>, usize, usize)) -> (FrameId, usize) {
        let place = (found.0.frame(found.1), found.2);
        self.last = Some(found);
        place
    }
}
