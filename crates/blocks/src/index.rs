//! Where frames lie, and which blocks they hold.
//!
//! Both maps are rebuilt from the packs' tables when a store is opened. The map of frames is exact:
//! a frame that is not in it is not in the store. The map of blocks is a cache for deduplication.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use uuid::Uuid;

use crate::FRAME_BLOCKS;
use crate::error::{BlocksError, Result};
use crate::frame::{BlockId, Codec, FrameId};
use crate::pack::Entry;

/// A sealed pack.
#[derive(Debug)]
pub(crate) struct Pack {
    pub id: Uuid,
    pub file: File,
    pub bytes: u64,
}

/// Where a frame lies and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub pack: Arc<Pack>,
    pub offset: u64,
    pub length: u32,
    pub codec: Codec,
    pub blocks: u8,
    pub digest: [u8; 32],
}

/// An address of a block: its origin's slot, and frame number × 16 + block.
type Address = (u32, u32);

/// The maps of one store.
#[derive(Default)]
pub(crate) struct Index {
    frames: HashMap<FrameId, Place>,
    blocks: HashMap<BlockId, Address>,
    origins: Vec<Uuid>,
    slots: HashMap<Uuid, u32>,
    packs: HashMap<Uuid, Arc<Pack>>,
}

impl Index {
    /// Adds a sealed pack; a frame that is already placed stays where it is.
    pub fn add(&mut self, pack: &Arc<Pack>, entries: &[Entry]) {
        self.packs.insert(pack.id, pack.clone());
        for entry in entries {
            self.frames.entry(entry.frame).or_insert_with(|| Place {
                pack: pack.clone(),
                offset: entry.offset,
                length: entry.length,
                codec: entry.codec,
                blocks: u8::try_from(entry.blocks.len()).unwrap_or(u8::MAX),
                digest: entry.digest,
            });
            let slot = self.slot(entry.frame.origin);
            let first = entry.frame.number.saturating_mul(16);
            for (within, block) in (0..).zip(&entry.blocks) {
                self.blocks
                    .entry(*block)
                    .or_insert((slot, first.saturating_add(within)));
            }
        }
    }

    fn slot(&mut self, origin: Uuid) -> u32 {
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        *self.slots.entry(origin).or_insert_with(|| {
            self.origins.push(origin);
            next
        })
    }

    /// Returns where a block of this identity is kept.
    pub fn find(&self, block: BlockId) -> Option<(FrameId, usize)> {
        let (slot, address) = *self.blocks.get(&block)?;
        let frame = FrameId {
            origin: self.origins[slot as usize],
            number: address / 16,
        };
        Some((frame, address as usize % FRAME_BLOCKS))
    }

    /// Returns where a frame lies.
    pub fn place(&self, frame: FrameId) -> Result<Place> {
        self.frames.get(&frame).cloned().ok_or_else(|| {
            BlocksError::not_found(format!("frame {}:{}", frame.origin, frame.number))
        })
    }

    /// Whether the store has a frame.
    pub fn has(&self, frame: FrameId) -> bool {
        self.frames.contains_key(&frame)
    }

    /// Returns every frame with its place.
    pub fn frames(&self) -> impl Iterator<Item = (&FrameId, &Place)> {
        self.frames.iter()
    }

    /// Returns every pack.
    pub fn packs(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.values()
    }

    /// Forgets packs with all that lies in them; frames that `moved` names lie there from now on.
    pub fn replace(&mut self, gone: &[Uuid], pack: Option<(&Arc<Pack>, &[Entry])>) {
        self.frames
            .retain(|_, place| !gone.contains(&place.pack.id));
        for id in gone {
            self.packs.remove(id);
        }
        if let Some((pack, entries)) = pack {
            self.add(pack, entries);
        }
        let (frames, origins) = (&self.frames, &self.origins);
        self.blocks.retain(|_, (slot, address)| {
            frames.contains_key(&FrameId {
                origin: origins[*slot as usize],
                number: *address / 16,
            })
        });
    }

    /// Returns how many block identities are known.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }
}
