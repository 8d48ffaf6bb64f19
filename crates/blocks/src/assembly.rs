//! The ordered part of an ingest: looks blocks up, fills frames with the new ones, builds the manifest.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::error::Result;
use crate::finder::Finder;
use crate::frame::{BlockId, ByIdentity, FRAME_BYTES, FrameId};
use crate::ingest::Span;
use crate::inner::Inner;
use crate::manifest::{Builder, Manifest};
use crate::pack::PACK_FRAMES_MAX;
use crate::pipeline::{Contents, Queue};
use crate::tree_hash::{ContentHasher, LEAF_BYTES, node_bytes};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Frames that are compressed by one worker in one go.
const JOB_FRAMES: usize = 8;

/// A frame that is to be compressed.
pub(crate) struct Raw {
    pub frame: FrameId,
    pub bytes: Vec<u8>,
    pub blocks: Vec<BlockId>,
}

/// Frames that are compressed together.
pub(crate) struct Job {
    pub frames: Vec<Raw>,
    /// They are the first of a new pack.
    pub starts_pack: bool,
}

/// Where new blocks are kept.
type Fresh = HashMap<BlockId, (FrameId, usize), ByIdentity>;

/// The state of an assembly.
pub(crate) struct Assembly<'a> {
    size: u64,
    base: Option<&'a Manifest>,
    base_at: u64,
    level: u32,
    touched: &'a [Span],
    builder: Builder,
    hasher: ContentHasher,
    finder: Finder<'a>,
    /// New blocks, by the pack they go into; packs that are sealed are found by the finder.
    fresh: VecDeque<(u64, Fresh)>,
    pack: u64,
    open: Raw,
    job: Job,
    pub new_bytes: u64,
}

impl<'a> Assembly<'a> {
    pub fn new(
        store: &'a Inner,
        size: u64,
        base: Option<&'a Manifest>,
        level: u32,
        touched: &'a [Span],
    ) -> Self {
        Self {
            size,
            base,
            base_at: 0,
            level,
            touched,
            builder: Builder::new(),
            hasher: ContentHasher::keeping(size, level),
            finder: Finder::new(store),
            fresh: VecDeque::from([(0, HashMap::default())]),
            pack: 0,
            open: Raw::new(FrameId {
                origin: Uuid::new_v4(),
                number: 0,
            }),
            job: Job::new(true),
            new_bytes: 0,
        }
    }

    /// Takes over the base's blocks and nodes from where the last chunk ended up to `until`.
    pub fn take_base(&mut self, until: u64) {
        let until = until.min(self.size);
        let Some(base) = self.base.filter(|_| self.base_at < until) else {
            return;
        };
        self.take_base_blocks(base, self.base_at / BLOCK, until.div_ceil(BLOCK));
        let node = node_bytes(self.level);
        let (first, end) = (self.base_at / node, until.div_ceil(node));
        for (number, hash) in base.nodes(first..end) {
            self.hasher.push_node(self.level, *number, *hash);
        }
        self.base_at = until;
    }

    /// Takes over blocks `first` to `end` of the base.
    fn take_base_blocks(&mut self, base: &Manifest, first: u64, end: u64) {
        let from = base
            .runs()
            .partition_point(|run| run.block + run.count <= first);
        for run in &base.runs()[from..] {
            let (start, stop) = (run.block.max(first), (run.block + run.count).min(end));
            if start >= stop {
                break;
            }
            let address = run.first + (start - run.block);
            let origin = base.origin(run);
            self.builder.push_run(start, stop - start, origin, address);
        }
    }

    /// Takes a chunk that was read: what was touched is looked up, the rest is the base's.
    pub fn take_chunk(
        &mut self,
        from: u64,
        to: u64,
        contents: &Contents,
        queue: &Queue,
    ) -> Result<()> {
        let (mut at, end) = (from / BLOCK, to.div_ceil(BLOCK));
        let start = at;
        self.finder
            .look_ahead(contents.blocks.iter().flatten().copied());
        while at < end {
            let (is_touched, until) = self.touched_at(at, end);
            if is_touched {
                for block in at..until {
                    let n = usize::try_from(block - start).unwrap_or(usize::MAX);
                    if let Some(id) = contents.blocks[n] {
                        let bytes = &contents.bytes[n * BLOCK_BYTES..(n + 1) * BLOCK_BYTES];
                        let (frame, within) = self.place(id, bytes, queue)?;
                        self.builder.push(block, frame, within);
                    }
                }
            } else if let Some(base) = self.base {
                self.take_base_blocks(base, at, until);
            }
            at = until;
        }
        self.hasher.push(from / LEAF_BYTES as u64, &contents.leaves);
        self.base_at = to;
        Ok(())
    }

    /// Whether a block was touched, and up to where that is so; without a base everything was.
    fn touched_at(&self, block: u64, end: u64) -> (bool, u64) {
        if self.base.is_none() {
            return (true, end);
        }
        let after = self.touched.partition_point(|(_, to)| *to <= block * BLOCK);
        match self.touched.get(after) {
            Some((from, to)) if *from <= block * BLOCK => (true, (to / BLOCK).min(end)),
            Some((from, _)) => (false, (from / BLOCK).min(end)),
            None => (false, end),
        }
    }

    /// Returns where a block is kept, keeping it now if it is new.
    fn place(&mut self, id: BlockId, bytes: &[u8], queue: &Queue) -> Result<(FrameId, usize)> {
        if let Some(known) = self.fresh.iter().find_map(|(_, blocks)| blocks.get(&id)) {
            return Ok(*known);
        }
        if let Some(known) = self.finder.find(id) {
            return Ok(known);
        }
        let place = (self.open.frame, self.open.blocks.len());
        self.open.bytes.extend_from_slice(bytes);
        self.open.blocks.push(id);
        if let Some((_, blocks)) = self.fresh.back_mut() {
            blocks.insert(id, place);
        }
        self.new_bytes += BLOCK;
        if self.open.blocks.len() == FRAME_BLOCKS {
            self.close_frame(queue)?;
        }
        Ok(place)
    }

    fn close_frame(&mut self, queue: &Queue) -> Result<()> {
        let FrameId { origin, number } = self.open.frame;
        let is_full = number as usize + 1 >= PACK_FRAMES_MAX;
        let next = if is_full {
            FrameId {
                origin: Uuid::new_v4(),
                number: 0,
            }
        } else {
            FrameId {
                origin,
                number: number + 1,
            }
        };
        let full = std::mem::replace(&mut self.open, Raw::new(next));
        self.job.frames.push(full);
        if is_full || self.job.frames.len() >= JOB_FRAMES {
            queue.compress(std::mem::replace(&mut self.job, Job::new(is_full)))?;
        }
        if is_full {
            self.pack += 1;
            self.fresh.push_back((self.pack, HashMap::default()));
            let sealed = queue.packs_sealed();
            self.fresh.retain(|(pack, _)| *pack >= sealed);
        }
        Ok(())
    }

    /// Sends the last frames and returns the manifest.
    pub fn finish(mut self, queue: &Queue) -> Result<Manifest> {
        self.take_base(u64::MAX);
        if !self.open.blocks.is_empty() {
            self.close_frame(queue)?;
        }
        if !self.job.frames.is_empty() {
            queue.compress(std::mem::replace(&mut self.job, Job::new(false)))?;
        }
        Ok(self.builder.finish(self.size, self.level, self.hasher))
    }
}

impl Raw {
    fn new(frame: FrameId) -> Self {
        Self {
            frame,
            bytes: Vec::with_capacity(FRAME_BYTES),
            blocks: Vec::with_capacity(FRAME_BLOCKS),
        }
    }
}

impl Job {
    fn new(starts_pack: bool) -> Self {
        Self {
            frames: Vec::with_capacity(JOB_FRAMES),
            starts_pack,
        }
    }
}
