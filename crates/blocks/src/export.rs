//! Export: a whole disk into a raw file, decoded on all cores, holes left holes.
//!
//! It goes by frames, not by the disk: each is read together with its neighbours, decoded once, and
//! written from where it was decoded to every place that it has on the disk. Only so much of the disk
//! is planned at once that memory stays bounded.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::frame::{FRAME_BYTES, FrameId};
use crate::frames::Stretch;
use crate::inner::{Inner, lock};
use crate::manifest::Run;
use crate::parts::range_in;
use crate::progress::Progress;
use crate::reader::Reader;
use crate::store::blocking;
use crate::{FRAME_BLOCKS, frame, pack};

/// Decoded bytes that are gathered before they are written: whole runs of neighbours, and no more
/// than stays in a core's cache.
const GATHERED_BYTES: usize = 8 * FRAME_BYTES;
/// Content that is planned at once, in blocks: 1 GiB.
const PLAN_BLOCKS: u64 = 256 << 10;

/// Blocks of a frame, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    frame: FrameId,
    /// First block in the frame.
    within: usize,
    /// First block on the disk.
    block: u64,
    count: usize,
}

impl Reader {
    /// Writes the disk into an empty file; what is zero is left a hole. Returns the bytes written.
    pub async fn export_raw(&self, file: File, progress: &Progress) -> Result<u64> {
        let (reader, progress) = (self.clone(), progress.clone());
        blocking(move || reader.export_now(&file, &progress)).await
    }

    fn export_now(&self, file: &File, progress: &Progress) -> Result<u64> {
        let size = self.size_bytes();
        file.set_len(size)?;
        let block = BLOCK_BYTES as u64;
        let runs = self.manifest.runs();
        let bytes_of = |run: &Run| ((run.block + run.count) * block).min(size) - run.block * block;
        let total = runs.iter().map(bytes_of).sum();
        progress.set_total(total);
        reserve(file, runs, size)?;
        let mut plan = Plan {
            reader: self,
            file,
            progress,
            uses: Vec::new(),
        };
        let mut planned = 0;
        for run in runs {
            planned += plan.add(run);
            if planned >= PLAN_BLOCKS {
                plan.carry_out()?;
                planned = 0;
            }
        }
        plan.carry_out()?;
        Ok(total)
    }
}

/// Reserves the space of all content, one call for what lies together: a file system that has to find
/// it block by block takes twice as long to write, and one that has too little says so before the work.
fn reserve(file: &File, runs: &[Run], size: u64) -> Result<()> {
    let block = BLOCK_BYTES as u64;
    let together = runs.chunk_by(|left, right| left.block + left.count == right.block);
    for runs in together {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            continue;
        };
        let from = first.block * block;
        let end = ((last.block + last.count) * block).min(size);
        match fallocate(file, FallocateFlags::empty(), from, end - from) {
            Ok(()) => {}
            // A file system that cannot do it: it will find the space when it is written.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    Ok(())
}

/// A part of an export.
struct Plan<'a> {
    reader: &'a Reader,
    file: &'a File,
    progress: &'a Progress,
    uses: Vec<Use>,
}

/// The buffers of one thread.
struct Buffers {
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// What of `raw` is to be written: from where, to which byte of the disk, how much.
    runs: Vec<(usize, u64, usize)>,
}

impl Plan<'_> {
    /// Adds a run; returns its blocks.
    fn add(&mut self, run: &Run) -> u64 {
        let (mut block, end) = (run.block, run.block + run.count);
        while block < end {
            let (frame, within) = self.reader.manifest.place(run, block);
            let left = usize::try_from(end - block).unwrap_or(FRAME_BLOCKS);
            let count = left.min(FRAME_BLOCKS - within);
            self.uses.push(Use {
                frame,
                within,
                block,
                count,
            });
            block += count as u64;
        }
        run.count
    }

    /// Writes what was added.
    fn carry_out(&mut self) -> Result<()> {
        self.uses.sort_unstable();
        let mut frames: Vec<FrameId> = self.uses.iter().map(|each| each.frame).collect();
        frames.dedup();
        let stretches = self.reader.store.0.stretches(&frames);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None::<BlocksError>));
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(stretches.len()) {
                scope.spawn(|| {
                    if let Err(error) = self.work(&stretches, &next) {
                        next.store(stretches.len(), Ordering::Relaxed);
                        lock(&failed).get_or_insert(error);
                    }
                });
            }
        });
        if let Some(error) = lock(&failed).take() {
            return Err(error);
        }
        self.write_the_rest(&frames, &stretches)?;
        self.uses.clear();
        Ok(())
    }

    fn work(&self, stretches: &[Stretch], next: &AtomicUsize) -> Result<()> {
        let mut buffers = Buffers {
            stored: Vec::new(),
            raw: vec![0; GATHERED_BYTES],
            runs: Vec::new(),
        };
        while let Some(stretch) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) {
            self.progress.check()?;
            self.write_stretch(stretch, &mut buffers)?;
        }
        Ok(())
    }

    fn write_stretch(&self, stretch: &Stretch, buffers: &mut Buffers) -> Result<()> {
        let store: &Inner = &self.reader.store.0;
        let Buffers { stored, raw, runs } = buffers;
        let is_read = store.read_stretch(stretch, stored).is_ok();
        let mut at = 0;
        for (id, place) in &stretch.frames {
            let end = at + pack::raw_bytes(place.blocks);
            let bytes = stretch.stored(place, stored);
            let into = &mut raw[at..end];
            if is_read && frame::unpack(*id, place.codec, &place.digest, bytes, into).is_ok() {
                self.gather(*id, at, end - at, runs)?;
            } else {
                // Another of its places may have it whole; if not, that says what is wrong.
                self.write_frame(*id, &store.read_frame(*id)?.0)?;
            }
            at = end;
            if at + FRAME_BYTES > raw.len() {
                self.write_runs(raw, runs)?;
                at = 0;
            }
        }
        self.write_runs(raw, runs)
    }

    /// Writes frames that had no place when the plan was made.
    fn write_the_rest(&self, frames: &[FrameId], stretches: &[Stretch]) -> Result<()> {
        let planned: usize = stretches.iter().map(|stretch| stretch.frames.len()).sum();
        if planned == frames.len() {
            return Ok(());
        }
        let known = stretches.iter().flat_map(|stretch| &stretch.frames);
        let known: std::collections::HashSet<FrameId> = known.map(|(id, _)| *id).collect();
        for id in frames.iter().filter(|id| !known.contains(*id)) {
            self.write_frame(*id, &self.reader.store.0.read_frame(*id)?.0)?;
        }
        Ok(())
    }

    /// Writes a frame to every place that it has on the disk.
    fn write_frame(&self, id: FrameId, raw: &[u8]) -> Result<()> {
        let mut runs = Vec::new();
        self.gather(id, 0, raw.len(), &mut runs)?;
        self.write_runs(raw, &mut runs)
    }

    /// Adds every place that a frame has on the disk; its `bytes` lie from `at` on.
    fn gather(
        &self,
        id: FrameId,
        at: usize,
        bytes: usize,
        runs: &mut Vec<(usize, u64, usize)>,
    ) -> Result<()> {
        let first = self.uses.partition_point(|each| each.frame < id);
        let uses = self.uses[first..].iter();
        for each in uses.take_while(|each| each.frame == id) {
            let (from, length) = (each.within * BLOCK_BYTES, each.count * BLOCK_BYTES);
            let from = at + range_in(id, bytes, from, length)?.start;
            let offset = each.block * BLOCK_BYTES as u64;
            // The last block of a disk may reach beyond its end.
            let inside = self.reader.size_bytes().saturating_sub(offset);
            let length = usize::try_from(inside).unwrap_or(length).min(length);
            match runs.last_mut() {
                Some((begin, to, run)) if *begin + *run == from && *to + *run as u64 == offset => {
                    *run += length;
                }
                _ => runs.push((from, offset, length)),
            }
        }
        Ok(())
    }

    /// Writes what was gathered.
    fn write_runs(&self, raw: &[u8], runs: &mut Vec<(usize, u64, usize)>) -> Result<()> {
        for (from, offset, length) in runs.drain(..) {
            self.file.write_all_at(&raw[from..from + length], offset)?;
            self.progress.add(length as u64);
        }
        Ok(())
    }
}
