//! From block identities to segments: the cache that deduplication asks.
//!
//! Up to a number of entries every block is in it. Beyond, only blocks whose identity ends in enough
//! zero bits are, half as many at each step: memory stays, and because a hit loads the whole segment
//! (16 MiB of neighbours in image order), the neighbours of a sampled block are found without being
//! in it. A block that is not found costs space, never correctness.

use std::collections::HashMap;

use crate::frame::{BlockId, ByIdentity};

/// The memory of one entry, the table's free places included.
const ENTRY_BYTES: usize = 34;

/// The map.
pub(crate) struct Hooks {
    entries: HashMap<u64, (u32, u32), ByIdentity>,
    entries_max: usize,
    /// Only one block in 2^shift is kept.
    shift: u32,
}

impl Hooks {
    /// Returns a map that takes about `bytes_max` of memory.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            entries_max: (bytes_max / ENTRY_BYTES).max(1024),
            shift: 0,
        }
    }

    /// Whether every block is in it.
    pub fn is_exact(&self) -> bool {
        self.shift == 0
    }

    /// Returns how many blocks are kept.
    #[cfg(any(test, feature = "simulation"))]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many of 2^n blocks are kept, as n.
    #[cfg(any(test, feature = "simulation"))]
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// Returns the pack's slot and the segment that a block may be in.
    pub fn get(&self, block: BlockId) -> Option<(u32, u32)> {
        self.entries.get(&key(block)?.0).copied()
    }

    /// Adds a block; one that is there stays, unless `is_gone` says that its pack went.
    pub fn insert(&mut self, block: BlockId, place: (u32, u32), is_gone: impl Fn(u32) -> bool) {
        let Some((key, sample)) = key(block) else {
            return;
        };
        if sample.trailing_zeros() < self.shift {
            return;
        }
        let kept = self.entries.entry(key).or_insert(place);
        if is_gone(kept.0) {
            *kept = place;
        }
        while self.entries.len() > self.entries_max {
            self.shift += 1;
            let shift = self.shift;
            self.entries.retain(|key, _| key.trailing_zeros() >= shift);
            self.entries.shrink_to_fit();
        }
    }
}

/// Returns the key of a block, which is also what samples it.
fn key(block: BlockId) -> Option<(u64, u64)> {
    let key = u64::try_from(block >> 64).ok()?;
    Some((key, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that looks like a hash.
    fn block(n: u64) -> BlockId {
        let mix = |n: u64| {
            let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
            (n ^ (n >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d) ^ n
        };
        u128::from(mix(n)) << 64 | u128::from(mix(n ^ 99))
    }

    #[test]
    fn a_place_that_went_is_replaced() {
        let mut hooks = Hooks::new(1 << 20);
        hooks.insert(block(1), (0, 5), |_| false);
        hooks.insert(block(1), (1, 6), |slot| slot == 7);
        assert_eq!(hooks.get(block(1)), Some((0, 5)));
        hooks.insert(block(1), (2, 7), |slot| slot == 0);
        assert_eq!(hooks.get(block(1)), Some((2, 7)));
    }
}
