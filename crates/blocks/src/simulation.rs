//! The index of a store of any size, made of synthetic identities: how much memory it takes, how fast
//! it answers, and how much of content that comes again it finds. For `bench/blocks`, and for a test.
//!
//! What is real: the hooks, the segments and how they are searched. What is not there: the packs that
//! segments are read from; a segment that is not among the most recent ones is made anew, which costs
//! about as much as decoding it.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::FRAME_BLOCKS;
use crate::frame::{BlockId, Codec};
use crate::hooks::Hooks;
use crate::segment::{Row, SEGMENT_FRAMES, Segment};

/// Blocks of a full segment.
pub const SEGMENT_BLOCKS: u64 = 4096;
/// Segments that are kept, as in the index of a store.
const SEGMENTS_MAX: usize = 128;

/// An index over blocks 0 to `blocks`, stored in that order.
pub struct Simulation {
    hooks: Hooks,
    blocks: u64,
    recent: VecDeque<(u32, Arc<Segment>)>,
    /// Segments that were made.
    pub loads: u64,
}

impl Simulation {
    /// Returns an index of so many unique blocks whose hooks take about `bytes_max`.
    pub fn new(blocks: u64, bytes_max: usize) -> Self {
        let mut hooks = Hooks::new(bytes_max);
        for n in 0..blocks {
            let segment = u32::try_from(n / SEGMENT_BLOCKS).unwrap_or(u32::MAX);
            hooks.insert(identity(n), (0, segment), |_| false);
        }
        let recent = VecDeque::with_capacity(SEGMENTS_MAX);
        Self {
            hooks,
            blocks,
            recent,
            loads: 0,
        }
    }

    /// Returns how many of 2^n blocks have a hook, as n.
    pub fn shift(&self) -> u32 {
        self.hooks.shift()
    }

    /// Returns how many hooks there are.
    pub fn hooks(&self) -> usize {
        self.hooks.len()
    }

    /// Whether a block has a hook; blocks beyond the last are unknown ones.
    pub fn is_hooked(&self, block: u64) -> bool {
        self.hooks.get(identity(block)).is_some()
    }

    /// Looks up a run of blocks as an ingest does, of which all were stored; returns how many it finds.
    pub fn find_run(&mut self, first: u64, length: u64) -> u64 {
        let end = (first + length).min(self.blocks);
        let mut found = 0;
        let hooked = |n: &u64| self.hooks.get(identity(*n)).map(|(_, segment)| segment);
        let mut segments: Vec<u32> = (first..end).filter_map(|n| hooked(&n)).collect();
        segments.dedup();
        let near: Vec<Arc<Segment>> = segments.iter().map(|n| self.segment(*n)).collect();
        for n in first..end {
            let id = identity(n);
            found += u64::from(near.iter().any(|segment| segment.find(id).is_some()));
        }
        found
    }

    fn segment(&mut self, number: u32) -> Arc<Segment> {
        if let Some((_, segment)) = self.recent.iter().find(|(known, _)| *known == number) {
            return segment.clone();
        }
        self.loads += 1;
        let segment = Arc::new(make(number));
        if self.recent.len() == SEGMENTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((number, segment.clone()));
        segment
    }
}

fn make(number: u32) -> Segment {
    let first = u64::from(number) * SEGMENT_BLOCKS;
    let row = |frame: usize| {
        let start = first + (frame * FRAME_BLOCKS) as u64;
        Row {
            number: u32::try_from(frame).unwrap_or(0),
            offset: 0,
            length: 1,
            codec: Codec::Plain,
            digest: [0; 32],
            blocks: (start..start + FRAME_BLOCKS as u64).map(identity).collect(),
        }
    };
    Segment::new(Uuid::nil(), (0..SEGMENT_FRAMES).map(row).collect())
}

/// A number that looks like a hash, and is the same every time.
fn identity(n: u64) -> BlockId {
    let mix = |n: u64| {
        let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
        (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d) ^ n
    };
    u128::from(mix(n)) << 64 | u128::from(mix(n ^ 99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_whatever_the_store_holds_and_long_runs_are_found_whole() {
        // 16 GiB of unique blocks, 4 MiB for hooks.
        let (blocks, bytes) = (1 << 22, 4 << 20);
        let mut index = Simulation::new(blocks, bytes);
        let hooks_max = bytes / 34;
        assert!(index.hooks() <= hooks_max && index.hooks() > hooks_max / 3);
        let expected = blocks.ilog2() - hooks_max.ilog2();
        assert!(index.shift().abs_diff(expected) <= 1);
        let mut share = |length: u64| {
            let runs = 200;
            let found: u64 = (0..runs)
                .map(|n| index.find_run(n * 20_011 % (blocks - length), length))
                .sum();
            found * 100 / (runs * length)
        };
        // A run is found when one of its blocks is hooked, and then all of it in that segment.
        assert!(share(1024) >= 99);
        assert!(share(256) >= 90);
        assert!(share(1) <= 10);
    }
}
