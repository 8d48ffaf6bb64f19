//! A layer as it is at one moment, while writers go on.
//!
//! A freeze reads the data of the layer in place. A writer that is about to change a block which the
//! freeze has not read yet keeps the old bytes for it first. What is kept is bounded: beyond, writers
//! wait for the freeze.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

use disk::{DiskError, Extent, ExtentKind, Source};

use crate::BLOCK_BYTES;
use crate::error::Result;
use crate::inner::lock;
use crate::layer::map::{Map, State, state_at};
use crate::layer::shared::Shared;
use crate::tree_hash::LEAF_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;
const LEAF: u64 = LEAF_BYTES as u64;
/// Blocks kept for a freeze before writers wait: 64 MiB.
const KEPT_MAX: usize = 16 << 10;
/// A change of more blocks than this waits until the freeze is over.
pub(crate) const CHANGED_MAX: u64 = 4 << 10;

/// The moment of a freeze.
pub(crate) struct Moment {
    map: Map,
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    blocks: BTreeMap<u64, Vec<u8>>,
    /// The leaves that the freeze has read, a bit each: nothing is kept for them.
    read: Vec<u64>,
    is_over: bool,
}

impl Moment {
    pub fn new(map: Map) -> Self {
        Self {
            map,
            kept: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until `blocks` can be changed without keeping too much. Call without the map's lock.
    pub fn wait_for_room(&self, blocks: u64) {
        let mut kept = lock(&self.kept);
        while !kept.is_over && (kept.blocks.len() >= KEPT_MAX || blocks > CHANGED_MAX) {
            kept = self
                .changed
                .wait(kept)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the old bytes of blocks that are about to change. Call with the map locked for writing.
    pub fn keep(&self, layer: &Shared, first: u64, end: u64) -> Result<()> {
        let mut kept = lock(&self.kept);
        for block in first..end {
            let is_needed = state_at(&self.map.runs, block).0 == State::Data
                && !has_bit(&kept.read, block * BLOCK / LEAF)
                && !kept.blocks.contains_key(&block)
                && !kept.is_over;
            if is_needed {
                let mut bytes = vec![0; BLOCK_BYTES];
                layer.data.read_at(block * BLOCK, &mut bytes)?;
                kept.blocks.insert(block, bytes);
            }
        }
        Ok(())
    }

    /// The freeze has ended: nobody waits for it.
    pub fn end(&self) {
        let mut kept = lock(&self.kept);
        kept.is_over = true;
        kept.blocks.clear();
        drop(kept);
        self.changed.notify_all();
    }

    /// Replaces what changed since by what was kept.
    fn overlay(&self, offset: u64, buffer: &mut [u8]) {
        let kept = lock(&self.kept);
        let end = offset + buffer.len() as u64;
        for (block, bytes) in kept.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let (from, to) = ((block * BLOCK).max(offset), ((block + 1) * BLOCK).min(end));
            let at = |place: u64, start: u64| usize::try_from(place - start).unwrap_or(0);
            buffer[at(from, offset)..at(to, offset)]
                .copy_from_slice(&bytes[at(from, block * BLOCK)..at(to, block * BLOCK)]);
        }
    }

    /// Notes that whole leaves were read; what was kept for them goes.
    fn was_read(&self, offset: u64, end: u64) {
        let mut kept = lock(&self.kept);
        for leaf in offset.div_ceil(LEAF)..end.div_ceil(LEAF) {
            let is_whole = (leaf + 1) * LEAF <= end || end >= self.map.size;
            if is_whole {
                set_bit(&mut kept.read, leaf);
                let blocks = leaf * LEAF / BLOCK..(leaf + 1) * LEAF / BLOCK;
                blocks.for_each(|block| drop(kept.blocks.remove(&block)));
            }
        }
        drop(kept);
        self.changed.notify_all();
    }
}

fn has_bit(bits: &[u64], at: u64) -> bool {
    let word = usize::try_from(at / 64)
        .ok()
        .and_then(|word| bits.get(word));
    word.is_some_and(|word| word >> (at % 64) & 1 == 1)
}

fn set_bit(bits: &mut Vec<u64>, at: u64) {
    let Ok(word) = usize::try_from(at / 64) else {
        return;
    };
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << (at % 64);
}

/// A layer at one moment, as a source.
pub(crate) struct Frozen<'a> {
    pub layer: &'a Shared,
    pub moment: &'a Moment,
    pub size: u64,
}

impl Frozen<'_> {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        {
            // No writer changes anything while this is held.
            let _still = self.layer.map_read();
            self.read_where(offset, buffer, |state, at, part| match state {
                State::Data => self.layer.data.read_at(at, part),
                State::Zero => {
                    part.fill(0);
                    Ok(())
                }
                State::Base => Ok(()),
            })?;
            self.moment.overlay(offset, buffer);
            self.moment.was_read(offset, offset + buffer.len() as u64);
        }
        self.read_where(offset, buffer, |state, at, part| match state {
            State::Base => self.layer.read_base(at, part),
            State::Data | State::Zero => Ok(()),
        })?;
        self.layer.check_open()
    }

    fn read_where(
        &self,
        offset: u64,
        buffer: &mut [u8],
        mut read: impl FnMut(State, u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (state, end) = self.moment.map.at(at / BLOCK);
            let run = usize::try_from(end.saturating_mul(BLOCK) - at).unwrap_or(usize::MAX);
            let length = run.min(buffer.len() - done);
            read(state, at, &mut buffer[done..done + length])?;
            done += length;
        }
        Ok(())
    }
}

impl Source for Frozen<'_> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), DiskError> {
        self.read(offset, buffer)
            .map_err(|error| DiskError::Io(std::io::Error::other(error)))
    }

    fn extent_at(&self, offset: u64) -> std::result::Result<Extent, DiskError> {
        Ok(Extent {
            offset,
            length: self.size - offset,
            kind: ExtentKind::Data,
        })
    }
}
