//! Ingest: from a disk to packs and a manifest.
//!
//! ```text
//! workers: claim a chunk → read → zero test → hash    (in parallel, a bounded way ahead)
//! caller:  in order → look up → fill frames
//! packer:  compress → append                          (a queue of bounded length)
//! ```
//!
//! A disk may have a base: a manifest whose blocks stand wherever `touched` does not say otherwise.
//! They are taken over without being read; a freeze costs what was written.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use disk::{ExtentKind, Source};

use crate::error::{BlocksError, Result};
use crate::frame::{self, BlockId, FrameId};
use crate::manifest::{Builder, Manifest, ManifestId};
use crate::pack;
use crate::store::Inner;
use crate::tree_hash::{ContentHasher, Digest, LEAF_BYTES};
use crate::{BLOCK_BYTES, DISK_BYTES_MAX, FRAME_BLOCKS};

/// Bytes that a worker reads at once: whole leaves.
const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks that may be read ahead of the one that is next.
const WINDOW: u64 = 16;
/// Frames waiting to be compressed.
const QUEUE: usize = 64;
/// Raw bytes after which a pack is sealed and the next one begun.
const PACK_FRAMES_MAX: usize = 8192;

/// Counters that a caller can watch, and a way to stop.
#[derive(Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Default)]
struct Counters {
    total: AtomicU64,
    done: AtomicU64,
    canceled: AtomicBool,
}

impl Progress {
    /// Returns the bytes to do in all, 0 while that is not known.
    pub fn total_bytes(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Returns the bytes done.
    pub fn done_bytes(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Asks the work to stop; what is durable stays.
    pub fn cancel(&self) {
        self.0.canceled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.canceled.load(Ordering::Relaxed) {
            Err(BlocksError::Canceled)
        } else {
            Ok(())
        }
    }
}

/// A stored disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Its name in every region.
    pub manifest: ManifestId,
    /// The digest of its raw content.
    pub content: Digest,
    /// Its virtual size.
    pub size_bytes: u64,
    /// Bytes that are not zero, in whole blocks.
    pub content_bytes: u64,
    /// Bytes that the store did not have.
    pub new_bytes: u64,
    /// Bytes that the new ones take.
    pub stored_bytes: u64,
}

/// Stores a disk that has no base.
pub(crate) fn disk(
    store: &Arc<Inner>,
    source: &dyn Source,
    progress: &Progress,
) -> Result<Ingested> {
    let size = source.size_bytes();
    let mut touched = Vec::new();
    let mut at = 0;
    while at < size {
        let extent = source.extent_at(at)?;
        if extent.length == 0 {
            return Err(BlocksError::Invalid {
                reason: "the source has an extent without length".to_owned(),
            });
        }
        if extent.kind == ExtentKind::Data {
            touched.push((at, at + extent.length));
        }
        at += extent.length;
    }
    with_base(store, source, size, None, &touched, progress)
}

/// Stores a disk of `size` bytes; outside `touched` (ascending) it is its base.
pub(crate) fn with_base(
    store: &Arc<Inner>,
    source: &dyn Source,
    size: u64,
    base: Option<&Manifest>,
    touched: &[(u64, u64)],
    progress: &Progress,
) -> Result<Ingested> {
    if size > DISK_BYTES_MAX {
        return Err(BlocksError::Invalid {
            reason: format!("a disk can have at most {DISK_BYTES_MAX} bytes"),
        });
    }
    let _kept = store.keep();
    let chunks = chunks_of(touched, size);
    progress.set_total(chunks.iter().map(|(from, to)| to - from).sum());
    let window = Window::default();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let (hashed_in, hashed) = sync_channel(QUEUE);
    let (frames_in, frames) = sync_channel::<Job>(QUEUE);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (hashed_in, chunks, window, next) = (hashed_in.clone(), &chunks, &window, &next);
            scope.spawn(move || read_chunks(store, source, chunks, next, window, &hashed_in));
        }
        drop(hashed_in);
        let packer = scope.spawn(move || pack_frames(store, &frames));
        let mut work = Assembly::new(store, size, base, frames_in);
        let assembled = assemble(&mut work, &chunks, hashed, &window, progress);
        window.close();
        let new_bytes = work.new_bytes;
        let finished = assembled.and_then(|()| work.finish());
        // The queue is closed now, whatever happened: the packer ends.
        let packed = packer.join().map_err(|_| worker_died())?;
        let manifest = finished?;
        let stored_bytes = packed?;
        let id = store.put_manifest(&manifest)?;
        Ok(Ingested {
            manifest: id,
            content: manifest.content_digest(),
            size_bytes: size,
            content_bytes: manifest.content_bytes(),
            new_bytes,
            stored_bytes,
        })
    })
}

/// Rounds ranges out to whole leaves, joins neighbours, cuts them into chunks.
fn chunks_of(touched: &[(u64, u64)], size: u64) -> Vec<(u64, u64)> {
    let leaf = LEAF_BYTES as u64;
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in touched {
        let (from, to) = (
            from / leaf * leaf,
            to.div_ceil(leaf).saturating_mul(leaf).min(size),
        );
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    let mut chunks = Vec::new();
    for (from, to) in joined {
        let mut at = from;
        while at < to {
            let end = (at / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES).min(to);
            chunks.push((at, end));
            at = end;
        }
    }
    chunks
}

/// A chunk that was read.
struct Hashed {
    number: u64,
    result: Result<Contents>,
}

struct Contents {
    bytes: Vec<u8>,
    /// One a block; `None` for zero.
    blocks: Vec<Option<BlockId>>,
    /// One a leaf; `None` for zero.
    leaves: Vec<Option<[u8; 32]>>,
}

/// Lets workers run only a bounded way ahead.
#[derive(Default)]
struct Window {
    wanted: Mutex<u64>,
    moved: Condvar,
}

impl Window {
    fn wait(&self, number: u64) -> bool {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        while *wanted != u64::MAX && number >= wanted.saturating_add(WINDOW) {
            wanted = self
                .moved
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *wanted != u64::MAX
    }

    fn advance(&self, number: u64) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = number;
        self.moved.notify_all();
    }

    fn close(&self) {
        self.advance(u64::MAX);
    }
}

fn read_chunks(
    store: &Inner,
    source: &dyn Source,
    chunks: &[(u64, u64)],
    next: &AtomicU64,
    window: &Window,
    out: &SyncSender<Hashed>,
) {
    let hasher = ContentHasher::new(0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some((from, to)) = usize::try_from(number).ok().and_then(|n| chunks.get(n)) else {
            return;
        };
        if !window.wait(number) {
            return;
        }
        let result = read_chunk(&store.key, source, &hasher, *from, *to);
        if out.send(Hashed { number, result }).is_err() {
            return;
        }
    }
}

fn read_chunk(
    key: &[u8; 32],
    source: &dyn Source,
    hasher: &ContentHasher,
    from: u64,
    to: u64,
) -> Result<Contents> {
    let length = usize::try_from(to - from).unwrap_or(0);
    // The last block of a disk is filled up with zeroes.
    let mut bytes = vec![0_u8; length.next_multiple_of(BLOCK_BYTES)];
    source.read_at(from, &mut bytes[..length])?;
    let blocks: Vec<Option<BlockId>> = bytes
        .chunks_exact(BLOCK_BYTES)
        .map(|block| (!frame::is_zero(block)).then(|| frame::block_id(key, block)))
        .collect();
    let leaves = bytes
        .chunks(LEAF_BYTES)
        .zip(blocks.chunks(FRAME_BLOCKS))
        .map(|(leaf, blocks)| {
            blocks
                .iter()
                .any(Option::is_some)
                .then(|| hasher.leaf(leaf))
        })
        .collect();
    Ok(Contents {
        bytes,
        blocks,
        leaves,
    })
}

fn assemble(
    work: &mut Assembly<'_>,
    chunks: &[(u64, u64)],
    hashed: Receiver<Hashed>,
    window: &Window,
    progress: &Progress,
) -> Result<()> {
    let mut early = BTreeMap::new();
    for (number, (from, to)) in (0_u64..).zip(chunks) {
        window.advance(number);
        progress.check()?;
        let contents = loop {
            if let Some(contents) = early.remove(&number) {
                break contents;
            }
            let got = hashed.recv().map_err(|_| worker_died())?;
            early.insert(got.number, got.result);
        }?;
        work.take_base(*from)?;
        work.take_chunk(*from, &contents)?;
        work.skip_base(*to);
        progress.add(to - from);
    }
    work.take_base(u64::MAX)
}

/// A full frame on its way into a pack.
struct Job {
    frame: FrameId,
    writer_starts: bool,
    raw: Vec<u8>,
    blocks: Vec<BlockId>,
}

/// Compresses and appends frames; returns the bytes they take. Packs are sealed before it ends.
fn pack_frames(store: &Inner, jobs: &Receiver<Job>) -> Result<u64> {
    let mut writer: Option<pack::Writer> = None;
    let mut stored = 0;
    for job in jobs {
        if job.writer_starts
            && let Some(full) = writer.take()
        {
            store.seal(full)?;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(pack::Writer::create_as(
                &store.directories,
                job.frame.origin,
            )?),
        };
        let packed = frame::pack(&job.raw, store.level)?;
        stored += packed.bytes.len() as u64;
        writer.push(job.frame, &packed, job.blocks)?;
    }
    if let Some(writer) = writer {
        store.seal(writer)?;
    }
    Ok(stored)
}

/// The caller's side: looks up, fills frames, builds the manifest.
struct Assembly<'a> {
    store: &'a Inner,
    size: u64,
    base: Option<&'a Manifest>,
    base_at: u64,
    builder: Builder,
    hasher: ContentHasher,
    frames: Option<SyncSender<Job>>,
    fresh: HashMap<BlockId, (FrameId, usize)>,
    open: Job,
    new_bytes: u64,
}

impl<'a> Assembly<'a> {
    fn new(
        store: &'a Inner,
        size: u64,
        base: Option<&'a Manifest>,
        frames: SyncSender<Job>,
    ) -> Self {
        Self {
            store,
            size,
            base,
            base_at: 0,
            builder: Builder::new(),
            hasher: ContentHasher::new(size),
            frames: Some(frames),
            fresh: HashMap::new(),
            open: Job {
                frame: FrameId {
                    origin: uuid::Uuid::new_v4(),
                    number: 0,
                },
                writer_starts: false,
                raw: Vec::with_capacity(frame::FRAME_BYTES),
                blocks: Vec::with_capacity(FRAME_BLOCKS),
            },
            new_bytes: 0,
        }
    }

    /// Takes over the base's blocks and leaves from where the last chunk ended up to `until`.
    fn take_base(&mut self, until: u64) -> Result<()> {
        let until = until.min(self.size);
        let Some(base) = self.base.filter(|_| self.base_at < until) else {
            return Ok(());
        };
        let (first, last) = (
            self.base_at / BLOCK_BYTES as u64,
            until.div_ceil(BLOCK_BYTES as u64),
        );
        let from = base
            .runs()
            .partition_point(|run| run.block + run.count <= first);
        for run in &base.runs()[from..] {
            let (start, end) = (run.block.max(first), (run.block + run.count).min(last));
            for block in start..end {
                let (frame, within) = base.place(run, block);
                self.builder.push(block, frame, within);
            }
            if end == last {
                break;
            }
        }
        self.hash_base(base, until)?;
        self.base_at = until;
        Ok(())
    }

    fn hash_base(&mut self, base: &Manifest, until: u64) -> Result<()> {
        let leaf = LEAF_BYTES as u64;
        let mut at = self.base_at;
        while at < until {
            // Jump to the next leaf that holds anything.
            let Some(run) = base.run_at(at / BLOCK_BYTES as u64) else {
                return Ok(());
            };
            let start = (run.block * BLOCK_BYTES as u64).max(at) / leaf * leaf;
            if start >= until {
                return Ok(());
            }
            let end = (start + leaf).min(self.size);
            let in_base = end.min(base.size_bytes());
            let mut bytes = vec![0_u8; usize::try_from(end - start).unwrap_or(0)];
            let known = usize::try_from(in_base.saturating_sub(start)).unwrap_or(0);
            crate::reader::read_manifest(self.store, base, start, &mut bytes[..known])?;
            let hash = self.hasher.leaf(&bytes);
            self.hasher.push(start / leaf, hash);
            at = start + leaf;
        }
        Ok(())
    }

    fn skip_base(&mut self, to: u64) {
        self.base_at = to;
    }

    fn take_chunk(&mut self, from: u64, contents: &Contents) -> Result<()> {
        let first = from / BLOCK_BYTES as u64;
        for ((block, id), bytes) in (first..)
            .zip(&contents.blocks)
            .zip(contents.bytes.chunks_exact(BLOCK_BYTES))
        {
            if let Some(id) = id {
                let (frame, within) = self.place(*id, bytes)?;
                self.builder.push(block, frame, within);
            }
        }
        for (leaf, hash) in (from / LEAF_BYTES as u64..).zip(&contents.leaves) {
            if let Some(hash) = hash {
                self.hasher.push(leaf, *hash);
            }
        }
        Ok(())
    }

    /// Returns where a block is kept, keeping it now if it is new.
    fn place(&mut self, id: BlockId, bytes: &[u8]) -> Result<(FrameId, usize)> {
        if let Some(known) = self.fresh.get(&id) {
            return Ok(*known);
        }
        if let Some(known) = self.store.index().find(id) {
            return Ok(known);
        }
        let place = (self.open.frame, self.open.blocks.len());
        self.open.raw.extend_from_slice(bytes);
        self.open.blocks.push(id);
        self.fresh.insert(id, place);
        self.new_bytes += BLOCK_BYTES as u64;
        if self.open.blocks.len() == FRAME_BLOCKS {
            self.send_frame()?;
        }
        Ok(place)
    }

    fn send_frame(&mut self) -> Result<()> {
        let number = self.open.frame.number + 1;
        let is_full = number as usize >= PACK_FRAMES_MAX;
        let frame = match is_full {
            true => FrameId {
                origin: uuid::Uuid::new_v4(),
                number: 0,
            },
            false => FrameId {
                origin: self.open.frame.origin,
                number,
            },
        };
        let next = Job {
            frame,
            writer_starts: is_full,
            raw: Vec::with_capacity(frame::FRAME_BYTES),
            blocks: Vec::with_capacity(FRAME_BLOCKS),
        };
        let job = std::mem::replace(&mut self.open, next);
        let frames = self.frames.as_ref().ok_or_else(worker_died)?;
        frames.send(job).map_err(|_| worker_died())
    }

    fn finish(mut self) -> Result<Manifest> {
        if !self.open.blocks.is_empty() {
            self.send_frame()?;
        }
        self.frames = None;
        Ok(self.builder.finish(self.size, self.hasher.finish()))
    }
}

fn worker_died() -> BlocksError {
    BlocksError::Worker {
        reason: "a stage of the pipeline stopped".to_owned(),
    }
}
