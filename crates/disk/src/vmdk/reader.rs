//! The disk inside a VMDK.

use std::sync::Arc;

use super::header::Header;
use super::{FORMAT, SECTOR_BYTES};
use crate::bytes::{fetch, fetch_vec, index, le32, le64, read_padded};
use crate::cache::PieceCache;
use crate::decompress::{Deflate, inflate};
use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

const TABLES_BYTES_MAX: usize = 128 << 10;
const UNPACKED_BYTES_MAX: usize = 1 << 20;
/// Before the bytes of a compressed grain: its first sector on the disk, its length.
const GRAIN_HEAD_BYTES: u64 = 12;

/// Where the bytes of a grain are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// Nowhere: they are zero.
    Zero,
    /// At this offset of the file, as they are or compressed.
    At(u64),
}

fn overlap(what: &str, sector: u32) -> DiskError {
    DiskError::malformed(
        FORMAT,
        format!("the {what} at sector {sector} overlaps something else"),
    )
}

/// The disk inside a `monolithicSparse` or `streamOptimized` VMDK.
pub struct Vmdk<S> {
    inner: S,
    header: Header,
    /// Sector of each grain table, 0 for none.
    directory: Vec<u32>,
    tables: PieceCache,
    unpacked: PieceCache,
}

impl<S: Source> Vmdk<S> {
    /// Checks header, descriptor and all tables and opens the disk.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let header = Header::load(&inner)?;
        let tables = header.grains().div_ceil(header.table_entries());
        let bytes = fetch_vec(
            &inner,
            FORMAT,
            "the grain directory",
            header.directory_at,
            index(tables * 4),
        )?;
        let disk = Self {
            inner,
            directory: bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| le32(b, 0))
                .collect(),
            tables: PieceCache::new(index(header.table_entries() * 4), TABLES_BYTES_MAX),
            unpacked: PieceCache::new(index(header.grain_bytes), UNPACKED_BYTES_MAX),
            header,
        };
        disk.check()?;
        Ok(disk)
    }

    /// Walks all tables: tables and grains lie behind the descriptor and none overlap.
    fn check(&self) -> Result<(), DiskError> {
        let mut tables: Vec<u32> = self.directory.iter().copied().filter(|s| *s != 0).collect();
        let table_sectors = self.header.table_entries() * 4 / SECTOR_BYTES;
        self.check_places("grain table", &mut tables, table_sectors)?;
        let mut grains: Vec<u32> = Vec::new();
        for (number, sector) in (0_u64..).zip(&self.directory) {
            let Some(table) = self.load_table(*sector)? else {
                continue;
            };
            let first = number * self.header.table_entries();
            let needed = (self.header.grains() - first).min(self.header.table_entries());
            for entry in table.as_chunks::<4>().0.iter().take(index(needed)) {
                if self.decode(le32(entry, 0)) != Grain::Zero {
                    grains.push(le32(entry, 0));
                }
            }
        }
        // A compressed grain takes at least one sector, a plain one its whole length.
        let grain_sectors = match self.header.is_compressed {
            true => 1,
            false => self.header.grain_bytes / SECTOR_BYTES,
        };
        self.check_places("grain", &mut grains, grain_sectors)?;
        for table in tables {
            // The first grain that ends behind the table's start.
            let next =
                grains.partition_point(|g| u64::from(*g) + grain_sectors <= u64::from(table));
            let end = u64::from(table) + table_sectors;
            match grains.get(next) {
                Some(grain) if u64::from(*grain) < end => return Err(overlap("grain", *grain)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Sorts places of one length; refuses those that overlap and those outside the data. The
    /// last one may be cut where the file ends.
    fn check_places(&self, what: &str, places: &mut [u32], sectors: u64) -> Result<(), DiskError> {
        places.sort_unstable();
        let mut free_from = self.header.data_from;
        for place in places {
            if u64::from(*place) < free_from {
                return Err(overlap(what, *place));
            }
            if u64::from(*place) * SECTOR_BYTES >= self.inner.size_bytes() {
                return Err(DiskError::malformed(
                    FORMAT,
                    format!("the {what} at sector {place} lies outside the file"),
                ));
            }
            free_from = u64::from(*place) + sectors;
        }
        Ok(())
    }

    fn load_table(&self, sector: u32) -> Result<Option<Arc<[u8]>>, DiskError> {
        if sector == 0 {
            return Ok(None);
        }
        let at = u64::from(sector) * SECTOR_BYTES;
        let length = index(self.header.table_entries() * 4);
        let load = || fetch_vec(&self.inner, FORMAT, "a grain table", at, length);
        self.tables.get(at, load).map(Some)
    }

    fn decode(&self, entry: u32) -> Grain {
        match entry {
            0 => Grain::Zero,
            1 if self.header.has_zero_grains => Grain::Zero,
            sector => Grain::At(u64::from(sector) * SECTOR_BYTES),
        }
    }

    /// Returns where grain `number` is.
    fn place(&self, number: u64) -> Result<Grain, DiskError> {
        let entries = self.header.table_entries();
        let table = self.load_table(self.directory[index(number / entries)])?;
        Ok(match table {
            None => Grain::Zero,
            Some(table) => self.decode(le32(&table, index(number % entries) * 4)),
        })
    }

    fn unpack(&self, number: u64, at: u64) -> Result<Arc<[u8]>, DiskError> {
        let malformed = |reason: &str| {
            Err(DiskError::malformed(
                FORMAT,
                format!("the compressed grain at {at} {reason}"),
            ))
        };
        let first = number * self.header.grain_bytes;
        self.unpacked.get(number, || {
            let mut head = [0; 12];
            fetch(&self.inner, FORMAT, "a compressed grain", at, &mut head)?;
            if le64(&head, 0) != first / SECTOR_BYTES {
                return malformed("belongs to another place of the disk");
            }
            let length = u64::from(le32(&head, 8));
            if length > 2 * self.header.grain_bytes {
                return malformed("is longer than two grains");
            }
            let packed = fetch_vec(
                &self.inner,
                FORMAT,
                "a compressed grain",
                at + GRAIN_HEAD_BYTES,
                index(length),
            )?;
            let mut out = vec![0; index(self.header.grain_bytes)];
            let needed = (self.header.size_bytes() - first).min(self.header.grain_bytes);
            match inflate(&packed, &mut out, Deflate::Zlib) {
                Some(written) if written as u64 >= needed => Ok(out),
                _ => malformed("does not unpack to a grain"),
            }
        })
    }

    fn read_grain(&self, number: u64, within: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        match self.place(number)? {
            Grain::Zero => buf.fill(0),
            Grain::At(at) if self.header.is_compressed => {
                let bytes = self.unpack(number, at)?;
                let from = index(within);
                buf.copy_from_slice(&bytes[from..from + buf.len()]);
            }
            Grain::At(at) => read_padded(&self.inner, at + within, buf)?,
        }
        Ok(())
    }
}

impl<S: Source> Source for Vmdk<S> {
    fn size_bytes(&self) -> u64 {
        self.header.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size_bytes())?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (number, within) = (at / self.header.grain_bytes, at % self.header.grain_bytes);
            let length = rest.len().min(index(self.header.grain_bytes - within));
            let (piece, behind) = rest.split_at_mut(length);
            self.read_grain(number, within, piece)?;
            rest = behind;
            at += length as u64;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size_bytes())?;
        let first = offset / self.header.grain_bytes;
        let is_zero = self.place(first)? == Grain::Zero;
        let entries = self.header.table_entries();
        let mut next = first + 1;
        while next < self.header.grains() {
            if is_zero && next.is_multiple_of(entries) && self.directory[index(next / entries)] == 0
            {
                next += entries;
            } else if (self.place(next)? == Grain::Zero) == is_zero {
                next += 1;
            } else {
                break;
            }
        }
        let end = next
            .saturating_mul(self.header.grain_bytes)
            .min(self.size_bytes());
        Ok(Extent {
            offset,
            length: end - offset,
            kind: if is_zero {
                ExtentKind::Zero
            } else {
                ExtentKind::Data
            },
        })
    }
}
