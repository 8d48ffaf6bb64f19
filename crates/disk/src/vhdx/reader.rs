//! The disk inside a VHDX.

use super::header::{Region, load_header, load_regions};
use super::log::replay;
use super::metadata::Metadata;
use super::overlay::Overlay;
use super::{FORMAT, MIB};
use crate::bytes::{fetch, fetch_vec, index, le64};
use crate::cache::PieceCache;
use crate::source::{DISK_BYTES_MAX, DiskError, Extent, ExtentKind, Source, check_range};

/// The block table is read in pieces of this.
const PIECE_BYTES: u64 = 64 << 10;
const PIECES_BYTES_MAX: usize = 1 << 20;
/// Blocks looked at for one extent.
const EXTENT_BLOCKS_MAX: u64 = 1 << 16;
const FILE_BYTES_MAX: u64 = 2 * DISK_BYTES_MAX;

/// The disk inside a VHDX.
pub struct Vhdx<S> {
    file: Overlay<S>,
    metadata: Metadata,
    bat: Region,
    pieces: PieceCache,
}

impl<S: Source> Vhdx<S> {
    /// Replays the log in memory, checks everything but the data and opens the disk.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let mut file = Overlay::new(inner);
        let (log_region, log) = load_header(&file)?;
        if let Some(log) = log {
            replay(&mut file, &log)?;
        }
        if file.size_bytes() > FILE_BYTES_MAX {
            return Err(malformed(format!(
                "a file of {} bytes is too large",
                file.size_bytes()
            )));
        }
        let regions = load_regions(&file)?;
        let metadata = Metadata::load(&file, &regions.metadata)?;
        let disk = Self {
            file,
            metadata,
            bat: regions.bat,
            pieces: PieceCache::new(index(PIECE_BYTES), PIECES_BYTES_MAX),
        };
        let mut taken = vec![regions.bat, regions.metadata];
        taken.extend(log_region);
        disk.check(&taken)?;
        Ok(disk)
    }

    /// Walks the block table: no block may lie outside the file or over something else.
    fn check(&self, taken: &[Region]) -> Result<(), DiskError> {
        for (number, region) in taken.iter().enumerate() {
            if taken[..number].iter().any(|other| other.overlaps(region)) {
                return Err(malformed(format!(
                    "the region at {} overlaps another",
                    region.at
                )));
            }
        }
        let (blocks, ratio) = (self.metadata.blocks(), self.metadata.chunk_ratio());
        let entries = blocks + (blocks - 1) / ratio;
        if entries * 8 > self.bat.length {
            return Err(malformed(format!(
                "the block table is too short for {blocks} blocks"
            )));
        }
        // One bit a MiB of the file; the first MiB holds the headers.
        let mut used = vec![0_u64; index(self.file.size_bytes().div_ceil(MIB).div_ceil(64))];
        let mut take = |region: &Region| {
            (region.at / MIB..(region.at + region.length) / MIB).all(|mib| {
                let (word, bit) = (&mut used[index(mib / 64)], 1 << (mib % 64));
                let is_free = *word & bit == 0;
                *word |= bit;
                is_free
            })
        };
        take(&Region { at: 0, length: MIB });
        taken.iter().for_each(|region| _ = take(region));
        for number in 0..entries {
            let entry = self.entry(number)?;
            if number % (ratio + 1) == ratio {
                if entry & 7 != 0 {
                    return Err(DiskError::refused(
                        FORMAT,
                        "it has sector bitmaps, as only differencing disks have",
                    ));
                }
                continue;
            }
            let Some(at) = decode(entry)? else {
                continue;
            };
            let length = self.metadata.block_bytes;
            let end = at.checked_add(length);
            if at < MIB || end.is_none_or(|end| end > self.file.size_bytes()) {
                return Err(malformed(format!(
                    "the block at {at} lies outside the file"
                )));
            }
            if !take(&Region { at, length }) {
                return Err(malformed(format!(
                    "the block at {at} overlaps something else"
                )));
            }
        }
        Ok(())
    }

    /// Returns entry `number` of the block table.
    fn entry(&self, number: u64) -> Result<u64, DiskError> {
        let (piece, within) = (number * 8 / PIECE_BYTES, number * 8 % PIECE_BYTES);
        let bytes = self.pieces.get(piece, || {
            let at = self.bat.at + piece * PIECE_BYTES;
            fetch_vec(
                &self.file,
                FORMAT,
                "the block table",
                at,
                index(PIECE_BYTES),
            )
        })?;
        Ok(le64(&bytes, index(within)))
    }

    /// Returns where payload block `number` lies, if it is in the file.
    fn place(&self, number: u64) -> Result<Option<u64>, DiskError> {
        // A sector bitmap entry follows every chunk.
        decode(self.entry(number + number / self.metadata.chunk_ratio())?)
    }
}

/// Says where an entry of a payload block points (MS-VHDX 2.5.1.1).
fn decode(entry: u64) -> Result<Option<u64>, DiskError> {
    const FULLY_PRESENT: u64 = 6;
    const PARTIALLY_PRESENT: u64 = 7;
    match entry & 7 {
        0..=3 => Ok(None),
        FULLY_PRESENT if entry & 0xF_FFF8 == 0 => Ok(Some(entry & !0xF_FFFF)),
        PARTIALLY_PRESENT => Err(DiskError::refused(
            FORMAT,
            "it has blocks that lie partly in a parent file",
        )),
        _ => Err(malformed(format!(
            "block entry {entry:#018x} is not possible"
        ))),
    }
}

fn malformed(reason: impl Into<String>) -> DiskError {
    DiskError::malformed(FORMAT, reason)
}

impl<S: Source> Source for Vhdx<S> {
    fn size_bytes(&self) -> u64 {
        self.metadata.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.metadata.size)?;
        let block = self.metadata.block_bytes;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let length = rest.len().min(index(block - at % block));
            let (piece, behind) = rest.split_at_mut(length);
            match self.place(at / block)? {
                None => piece.fill(0),
                Some(place) => fetch(&self.file, FORMAT, "a block", place + at % block, piece)?,
            }
            rest = behind;
            at += length as u64;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.metadata.size)?;
        let block = self.metadata.block_bytes;
        let first = offset / block;
        let is_zero = self.place(first)?.is_none();
        let last = self.metadata.blocks().min(first + EXTENT_BLOCKS_MAX);
        let mut next = first + 1;
        while next < last && self.place(next)?.is_none() == is_zero {
            next += 1;
        }
        Ok(Extent {
            offset,
            length: (next * block).min(self.metadata.size) - offset,
            kind: if is_zero {
                ExtentKind::Zero
            } else {
                ExtentKind::Data
            },
        })
    }
}
