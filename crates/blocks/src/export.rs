//! Export: a whole disk into a raw file, decoded on all cores, holes left holes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::inner::lock;
use crate::progress::Progress;
use crate::reader::{Reader, read_manifest};
use crate::store::blocking;

/// Bytes that a worker decodes and writes at once.
const PIECE_BYTES: u64 = 1 << 20;

impl Reader {
    /// Writes the disk into an empty file; what is zero is left a hole. Returns the bytes written.
    pub async fn export_raw(&self, file: File, progress: &Progress) -> Result<u64> {
        let (reader, progress) = (self.clone(), progress.clone());
        blocking(move || reader.export_now(&file, &progress)).await
    }

    fn export_now(&self, file: &File, progress: &Progress) -> Result<u64> {
        file.set_len(self.size_bytes())?;
        let pieces = self.pieces();
        let total: u64 = pieces.iter().map(|(from, to)| to - from).sum();
        progress.set_total(total);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None::<BlocksError>));
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    if let Err(error) = self.export_pieces(file, &pieces, &next, progress) {
                        next.store(pieces.len(), Ordering::Relaxed);
                        lock(&failed).get_or_insert(error);
                    }
                });
            }
        });
        match lock(&failed).take() {
            Some(error) => Err(error),
            None => Ok(total),
        }
    }

    fn export_pieces(
        &self,
        file: &File,
        pieces: &[(u64, u64)],
        next: &AtomicUsize,
        progress: &Progress,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        while let Some((from, to)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            progress.check()?;
            buffer.resize(usize::try_from(to - from).unwrap_or(0), 0);
            read_manifest(&self.store.0, &self.manifest, *from, &mut buffer)?;
            file.write_all_at(&buffer, *from)?;
            progress.add(to - from);
        }
        Ok(())
    }

    /// Returns the ranges that hold data, cut at multiples of a piece.
    fn pieces(&self) -> Vec<(u64, u64)> {
        let block = BLOCK_BYTES as u64;
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        for run in self.manifest.runs() {
            let end = ((run.block + run.count) * block).min(self.size_bytes());
            let mut at = run.block * block;
            while at < end {
                let border = (at / PIECE_BYTES + 1) * PIECE_BYTES;
                let to = border.min(end);
                match pieces.last_mut() {
                    Some(last) if last.1 == at && !at.is_multiple_of(PIECE_BYTES) => last.1 = to,
                    _ => pieces.push((at, to)),
                }
                at = to;
            }
        }
        pieces
    }
}
