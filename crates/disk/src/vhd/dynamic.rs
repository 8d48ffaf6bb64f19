//! Dynamic VHD: copy of the footer, header, table of blocks, blocks with a sector bitmap each,
//! footer ("Dynamic Disk Header Format", "Block Allocation Table and Data Blocks").
//!
//! Promises: both footers and the header are checked and agree; every block lies inside the file,
//! behind the table, and no two overlap, so a small file cannot pretend to hold much data.

use super::footer::Kind;
use super::{
    FOOTER_BYTES, FORMAT, Footer, HEADER_BYTES, HEADER_CHECKSUM_AT, HEADER_COOKIE, SECTOR_BYTES,
    UNUSED, bitmap_bytes, checksum,
};
use crate::bytes::{be32, be64, fetch, fetch_vec, index, is_zero};
use crate::cache::PieceCache;
use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

/// Largest disk: what 32-bit sector numbers and the specification allow.
pub const DISK_BYTES_MAX: u64 = 2040 << 30;
const BLOCK_BYTES_MIN: u64 = 4096;
const BLOCK_BYTES_MAX: u64 = 256 << 20;
/// Table entries, 16 MiB of them: the largest disk in blocks of 512 KiB.
const BLOCKS_MAX: u64 = 4 << 20;
const BITMAPS_BYTES_MAX: usize = 64 << 10;

/// The disk inside a dynamic VHD.
pub struct DynamicVhd<S> {
    inner: S,
    size: u64,
    block_bytes: u64,
    /// Sector of each block's bitmap, or [`UNUSED`].
    table: Vec<u32>,
    bitmaps: PieceCache,
}

impl<S: Source> DynamicVhd<S> {
    /// Checks everything but the data and opens the disk.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let malformed = |reason: String| DiskError::malformed(FORMAT, reason);
        let footer_at = inner
            .size_bytes()
            .checked_sub(FOOTER_BYTES)
            .ok_or_else(|| malformed("it is shorter than a footer".to_owned()))?;
        let mut bytes = [0; 512];
        inner.read_at(footer_at, &mut bytes)?;
        let (footer, kind) = Footer::parse(&bytes)?;
        let Kind::Dynamic(header_at) = kind else {
            return Err(malformed(
                "it is a fixed VHD, a dynamic VHD was expected".to_owned(),
            ));
        };
        inner.read_at(0, &mut bytes)?;
        if Footer::parse(&bytes)? != (footer, kind) {
            return Err(malformed(
                "the footer and its copy at the start differ".to_owned(),
            ));
        }
        if footer.current_size > DISK_BYTES_MAX {
            return Err(malformed(format!(
                "{} bytes are more than a dynamic VHD can have ({DISK_BYTES_MAX})",
                footer.current_size
            )));
        }
        let header = Header::load(&inner, header_at, footer_at, footer.current_size)?;
        let mut table = Vec::new();
        let bytes = fetch_vec(
            &inner,
            FORMAT,
            "the block table",
            header.table_at,
            index(header.blocks * 4),
        )?;
        table.extend(bytes.as_chunks::<4>().0.iter().map(|b| be32(b, 0)));
        check_blocks(&table, &header, footer_at)?;
        Ok(Self {
            inner,
            size: footer.current_size,
            block_bytes: header.block_bytes,
            table,
            bitmaps: PieceCache::new(index(bitmap_bytes(header.block_bytes)), BITMAPS_BYTES_MAX),
        })
    }

    /// Returns where a block's bitmap lies, if the block is in the file.
    fn place(&self, block: u64) -> Option<u64> {
        match self.table[index(block)] {
            UNUSED => None,
            sector => Some(u64::from(sector) * SECTOR_BYTES),
        }
    }

    /// Returns how far the sector at `within` and those behind it agree on being in the file.
    fn run(&self, place: u64, within: u64) -> Result<(bool, u64), DiskError> {
        let bitmap = self.bitmaps.get(place, || {
            fetch_vec(
                &self.inner,
                FORMAT,
                "a sector bitmap",
                place,
                index(bitmap_bytes(self.block_bytes)),
            )
        })?;
        let is_set = |sector: u64| bitmap[index(sector / 8)] & (0x80 >> (sector % 8)) != 0;
        let (first, sectors) = (within / SECTOR_BYTES, self.block_bytes / SECTOR_BYTES);
        let kind = is_set(first);
        let whole = if kind { 0xFF } else { 0 };
        let mut next = first + 1;
        while next < sectors {
            if next % 8 == 0 && bitmap[index(next / 8)] == whole {
                next += 8;
            } else if is_set(next) == kind {
                next += 1;
            } else {
                break;
            }
        }
        Ok((kind, next.min(sectors) * SECTOR_BYTES - within))
    }
}

struct Header {
    table_at: u64,
    blocks: u64,
    block_bytes: u64,
    /// Where blocks may begin.
    data_at: u64,
}

impl Header {
    fn load(file: &dyn Source, at: u64, footer_at: u64, disk: u64) -> Result<Self, DiskError> {
        let malformed = |reason: String| Err(DiskError::malformed(FORMAT, reason));
        let mut bytes = [0; HEADER_BYTES];
        if at < FOOTER_BYTES || at > footer_at {
            return malformed(format!("the dynamic header cannot lie at {at}"));
        }
        fetch(file, FORMAT, "the dynamic header", at, &mut bytes)?;
        if bytes[..8] != *HEADER_COOKIE {
            return malformed("the dynamic header has no cookie 'cxsparse'".to_owned());
        }
        if be32(&bytes, HEADER_CHECKSUM_AT) != checksum(&bytes, HEADER_CHECKSUM_AT) {
            return malformed("the dynamic header's checksum is wrong".to_owned());
        }
        if be32(&bytes, 24) >> 16 != 1 {
            let version = be32(&bytes, 24);
            return malformed(format!("header version {version:#x} is not known"));
        }
        if !is_zero(&bytes[40..60]) || !is_zero(&bytes[64..768]) {
            return Err(DiskError::refused(
                FORMAT,
                "the dynamic header names a parent file",
            ));
        }
        let header = Self {
            table_at: be64(&bytes, 16),
            blocks: u64::from(be32(&bytes, 28)),
            block_bytes: u64::from(be32(&bytes, 32)),
            data_at: at + HEADER_BYTES as u64,
        };
        let block = header.block_bytes;
        if !block.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block) {
            return malformed(format!("blocks of {block} bytes are not known"));
        }
        let needed = disk.div_ceil(block);
        if header.blocks < needed || needed > BLOCKS_MAX || header.blocks > BLOCKS_MAX {
            return malformed(format!(
                "a table of {} blocks for a disk of {needed} blocks (at most {BLOCKS_MAX})",
                header.blocks
            ));
        }
        let table_end = header
            .table_at
            .checked_add(header.blocks * 4)
            .filter(|end| header.table_at >= FOOTER_BYTES && *end <= footer_at);
        match table_end {
            Some(end) if header.table_at >= header.data_at => Ok(Self {
                data_at: end,
                ..header
            }),
            Some(end) if end <= at => Ok(header),
            _ => malformed(format!("the table cannot lie at {}", header.table_at)),
        }
    }
}

/// Refuses blocks outside the data area and blocks that overlap.
fn check_blocks(table: &[u32], header: &Header, footer_at: u64) -> Result<(), DiskError> {
    let mut places: Vec<u32> = table.iter().copied().filter(|s| *s != UNUSED).collect();
    places.sort_unstable();
    let length = bitmap_bytes(header.block_bytes) + header.block_bytes;
    let mut free_from = header.data_at;
    for sector in places {
        let at = u64::from(sector) * SECTOR_BYTES;
        if at < free_from {
            return Err(DiskError::malformed(
                FORMAT,
                format!("the block at sector {sector} overlaps something else"),
            ));
        }
        free_from = at + length;
        if free_from > footer_at {
            return Err(DiskError::malformed(
                FORMAT,
                format!("the block at sector {sector} lies outside the file"),
            ));
        }
    }
    Ok(())
}

impl<S: Source> Source for DynamicVhd<S> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size)?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (block, within) = (at / self.block_bytes, at % self.block_bytes);
            let (place, run) = match self.place(block) {
                None => (None, self.block_bytes - within),
                Some(place) => {
                    let (is_here, run) = self.run(place, within)?;
                    (is_here.then_some(place), run)
                }
            };
            let length = rest.len().min(index(run));
            let (piece, behind) = rest.split_at_mut(length);
            match place {
                None => piece.fill(0),
                Some(place) => {
                    let data = place + bitmap_bytes(self.block_bytes) + within;
                    fetch(&self.inner, FORMAT, "a block", data, piece)?;
                }
            }
            rest = behind;
            at += length as u64;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size)?;
        let (mut block, within) = (offset / self.block_bytes, offset % self.block_bytes);
        let (is_data, length) = match self.place(block) {
            Some(place) => self.run(place, within)?,
            None => {
                let blocks = self.size.div_ceil(self.block_bytes);
                while block < blocks && self.place(block).is_none() {
                    block += 1;
                }
                (false, block * self.block_bytes - offset)
            }
        };
        Ok(Extent {
            offset,
            length: length.min(self.size - offset),
            kind: if is_data {
                ExtentKind::Data
            } else {
                ExtentKind::Zero
            },
        })
    }
}
