//! The threads of an ingest.
//!
//! ```text
//! workers   compress frames if any wait, else read the next chunk, test for zero, hash   (one a core)
//! caller    in order: look up, fill frames                                               (`assembly`)
//! packer    in order: append to packs, seal them
//! ```
//!
//! Everything that waits is bounded; the first error stops all and is the one that is returned.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};

use disk::Source;

use crate::BLOCK_BYTES;
use crate::assembly::{Assembly, Job};
use crate::block_hash::Hashed;
use crate::error::{BlocksError, Result};
use crate::frame::{self, BlockId, FrameId, StoredFrame};
use crate::ingest::Span;
use crate::inner::{Inner, lock};
use crate::manifest::Manifest;
use crate::pack;
use crate::progress::Progress;

/// Chunks of each worker that may be read ahead of the one that is next: each is memory that has to be
/// touched first.
const CHUNKS_AHEAD: usize = 2;
/// Jobs that may wait to be compressed or written.
const JOBS_MAX: u64 = 24;

/// A chunk that was read.
pub(crate) struct Contents {
    pub bytes: Vec<u8>,
    /// One a block; `None` for zero.
    pub blocks: Vec<Option<BlockId>>,
    /// One a leaf; `None` for zero.
    pub leaves: Vec<Option<[u8; 32]>>,
}

/// What an ingest made.
pub(crate) struct Done {
    pub manifest: Manifest,
    pub new_bytes: u64,
    pub stored_bytes: u64,
}

struct Packed {
    frames: Vec<(FrameId, StoredFrame, Vec<BlockId>)>,
    starts_pack: bool,
}

/// What passes between the threads. Each wakes only those who can go on: waking a thread for nothing
/// costs as much as hashing four blocks.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// A worker may have something to do.
    tasks: Condvar,
    /// The chunk that the caller wants was read.
    chunk: Condvar,
    /// A job was written: another may be made.
    room: Condvar,
    /// The job that the packer wants was compressed, or no more will come.
    packed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next chunk to read, and the one that the caller waits for.
    next: usize,
    wanted: usize,
    read: BTreeMap<usize, Contents>,
    /// Buffers of chunks that are done with: making new ones costs a page fault every 4 KiB.
    spare: Vec<Vec<u8>>,
    jobs: VecDeque<(u64, Job)>,
    jobs_made: u64,
    jobs_written: u64,
    packed: BTreeMap<u64, Packed>,
    packs_sealed: u64,
    /// No more jobs will come.
    is_complete: bool,
    failed: Option<BlocksError>,
    has_failed: bool,
}

enum Task {
    Compress(u64, Job),
    Read(usize),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until `ready` gives something; an error when another thread failed.
    fn wait<T>(
        &self,
        changed: &Condvar,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T> {
        let mut state = self.lock();
        loop {
            if state.has_failed {
                return Err(stopped());
            }
            if let Some(done) = ready(&mut state) {
                return Ok(done);
            }
            state = changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn fail(&self, error: BlocksError) {
        let mut state = self.lock();
        state.has_failed = true;
        state.failed.get_or_insert(error);
        drop(state);
        for all in [&self.tasks, &self.chunk, &self.room, &self.packed] {
            all.notify_all();
        }
    }

    /// No more jobs will come.
    fn complete(&self) {
        self.lock().is_complete = true;
        self.tasks.notify_all();
        self.packed.notify_all();
    }

    /// Hands frames to the workers, waiting while too many are on their way.
    pub fn compress(&self, job: Job) -> Result<()> {
        let mut job = Some(job);
        self.wait(&self.room, |state| {
            if state.jobs_made >= state.jobs_written + JOBS_MAX {
                return None;
            }
            state.jobs.push_back((state.jobs_made, job.take()?));
            state.jobs_made += 1;
            Some(())
        })?;
        self.tasks.notify_one();
        Ok(())
    }

    /// Returns a chunk; they are taken in their order.
    fn take_chunk(&self, number: usize) -> Result<Contents> {
        let contents = self.wait(&self.chunk, |state| {
            state.wanted = number;
            state.read.remove(&number)
        })?;
        // Another may be read ahead now.
        self.tasks.notify_one();
        Ok(contents)
    }

    fn put_chunk(&self, number: usize, contents: Contents) {
        let mut state = self.lock();
        state.read.insert(number, contents);
        if state.wanted == number {
            self.chunk.notify_one();
        }
    }

    fn put_packed(&self, number: u64, packed: Packed) {
        let mut state = self.lock();
        state.packed.insert(number, packed);
        if state.jobs_written == number {
            self.packed.notify_one();
        }
    }

    /// Returns the next job to write; `None` when all are written.
    fn take_packed(&self) -> Result<Option<Packed>> {
        let packed = self.wait(&self.packed, |state| {
            let number = state.jobs_written;
            match state.packed.remove(&number) {
                Some(packed) => {
                    state.jobs_written += 1;
                    Some(Some(packed))
                }
                None => (state.is_complete && number == state.jobs_made).then_some(None),
            }
        })?;
        self.room.notify_one();
        Ok(packed)
    }

    /// Returns how many packs of this ingest are durable and can be found.
    pub fn packs_sealed(&self) -> u64 {
        self.lock().packs_sealed
    }

    fn take_task(&self, chunks: usize, ahead: usize) -> Result<Option<Task>> {
        self.wait(&self.tasks, |state| {
            if let Some((number, job)) = state.jobs.pop_front() {
                return Some(Some(Task::Compress(number, job)));
            }
            if state.next < chunks && state.next < state.wanted + ahead {
                state.next += 1;
                return Some(Some(Task::Read(state.next - 1)));
            }
            state.is_complete.then_some(None)
        })
    }
}

/// Ends the other threads if this one panics.
struct Guard<'a>(&'a Queue);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(BlocksError::Worker {
                reason: "a stage of the pipeline panicked".to_owned(),
            });
        }
    }
}

/// Runs an ingest: reads the chunks, and leaves everything durable but the manifest.
pub(crate) fn run(
    store: &Inner,
    source: &dyn Source,
    chunks: &[Span],
    assembly: Assembly<'_>,
    progress: &Progress,
) -> Result<Done> {
    let queue = Queue::default();
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let threads = cores.min(chunks.len()).max(1);
    let queue_ref = &queue;
    let (made, packed) = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                let _guard = Guard(queue_ref);
                if let Err(error) = work(store, source, chunks, threads * CHUNKS_AHEAD, queue_ref) {
                    queue_ref.fail(error);
                }
            });
        }
        let packer = scope.spawn(move || {
            let _guard = Guard(queue_ref);
            pack_jobs(store, queue_ref).inspect_err(|_| queue_ref.fail(stopped()))
        });
        let made = assemble(assembly, chunks, queue_ref, progress);
        let made = made.map_err(|error| queue_ref.fail(error)).ok();
        queue_ref.complete();
        let packed = packer
            .join()
            .map_err(|_| stopped())
            .and_then(|packed| packed);
        (made, packed)
    });
    let failed = queue.lock().failed.take();
    // The packer's error is kept by itself: the others only saw that it stopped.
    let stored_bytes = match (packed, failed) {
        (Err(error), None) => return Err(error),
        (Err(error), Some(BlocksError::Worker { .. })) => return Err(error),
        (_, Some(error)) => return Err(error),
        (Ok(stored_bytes), None) => stored_bytes,
    };
    let (manifest, new_bytes) = made.ok_or_else(stopped)?;
    Ok(Done {
        manifest,
        new_bytes,
        stored_bytes,
    })
}

fn work(
    store: &Inner,
    source: &dyn Source,
    chunks: &[Span],
    ahead: usize,
    queue: &Queue,
) -> Result<()> {
    let mut compressor = frame::compressor(store.level)?;
    loop {
        let Ok(task) = queue.take_task(chunks.len(), ahead) else {
            return Ok(());
        };
        match task {
            None => return Ok(()),
            Some(Task::Read(number)) => {
                let (from, to) = chunks[number];
                let buffer = queue.lock().spare.pop().unwrap_or_default();
                let contents = read_chunk(&store.key, source, (from, to), buffer)?;
                queue.put_chunk(number, contents);
            }
            Some(Task::Compress(number, job)) => {
                let mut frames = Vec::with_capacity(job.frames.len());
                for raw in job.frames {
                    let stored = frame::pack(&mut compressor, &raw.bytes)?;
                    frames.push((raw.frame, stored, raw.blocks));
                }
                let packed = Packed {
                    frames,
                    starts_pack: job.starts_pack,
                };
                queue.put_packed(number, packed);
            }
        }
    }
}

fn read_chunk(
    key: &[u8; 32],
    source: &dyn Source,
    (from, to): Span,
    mut bytes: Vec<u8>,
) -> Result<Contents> {
    let length = usize::try_from(to - from).unwrap_or(0);
    // The last block of a disk is filled up with zeroes.
    bytes.resize(length.next_multiple_of(BLOCK_BYTES), 0);
    bytes[length..].fill(0);
    source.read_at(from, &mut bytes[..length])?;
    let hashed = Hashed::of(&bytes);
    Ok(Contents {
        blocks: hashed.ids(key),
        leaves: hashed.leaves(),
        bytes,
    })
}

fn assemble(
    mut assembly: Assembly<'_>,
    chunks: &[Span],
    queue: &Queue,
    progress: &Progress,
) -> Result<(Manifest, u64)> {
    for (number, (from, to)) in chunks.iter().enumerate() {
        progress.check()?;
        let contents = queue.take_chunk(number)?;
        assembly.take_base(*from);
        assembly.take_chunk(*from, *to, &contents, queue)?;
        queue.lock().spare.push(contents.bytes);
        progress.add(to - from);
    }
    let new_bytes = assembly.new_bytes;
    Ok((assembly.finish(queue)?, new_bytes))
}

/// Appends frames in their order; returns the bytes they take. Packs are sealed before it ends.
fn pack_jobs(store: &Inner, queue: &Queue) -> Result<u64> {
    let mut writer: Option<pack::Writer> = None;
    let mut stored = 0;
    while let Some(packed) = queue.take_packed()? {
        if packed.starts_pack
            && let Some(full) = writer.take()
        {
            store.seal(full)?;
            queue.lock().packs_sealed += 1;
        }
        for (frame, bytes, blocks) in packed.frames {
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(pack::Writer::create(&store.objects, frame.origin)?),
            };
            stored += bytes.bytes.len() as u64;
            writer.push(frame, &bytes, blocks)?;
        }
    }
    if let Some(writer) = writer {
        store.seal(writer)?;
    }
    Ok(stored)
}

fn stopped() -> BlocksError {
    BlocksError::Worker {
        reason: "a stage of the pipeline stopped".to_owned(),
    }
}
