//! Writes VHDs. Zero runs are not written: the file is sparse where the disk is.
//!
//! Nothing is synced: the caller owns the file and decides when it must be durable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::dynamic::DISK_BYTES_MAX;
use super::footer::{Kind, write as write_footer};
use super::{
    FOOTER_BYTES, FORMAT, HEADER_BYTES, HEADER_CHECKSUM_AT, HEADER_COOKIE, SECTOR_BYTES, UNUSED,
    bitmap_bytes, checksum, footer,
};
use crate::bytes::{index, is_zero};
use crate::source::{DiskError, Source};
use crate::walk::for_each_data;

/// Blocks as every known tool makes them.
const BLOCK_BYTES: u64 = 2 << 20;
/// Unit of looking for zeroes in a fixed VHD and inside blocks.
const PIECE_BYTES: u64 = 64 << 10;
const TABLE_AT: u64 = FOOTER_BYTES + HEADER_BYTES as u64;

/// Writes `source` as a fixed VHD into `file`, whose old content goes.
pub fn write_fixed(source: &dyn Source, file: &File) -> Result<(), DiskError> {
    let size = checked_size(source, u64::MAX - FOOTER_BYTES)?;
    file.set_len(0)?;
    for_each_data(source, PIECE_BYTES, |at, bytes| {
        Ok(file.write_all_at(bytes, at)?)
    })?;
    file.write_all_at(&footer(size, [0; 16], 0), size)?;
    Ok(())
}

/// Writes `source` as a dynamic VHD into `file`, whose old content goes.
///
/// The unique id is zero and the time is 2000-01-01, so that the same disk gives the same file.
pub fn write_dynamic(source: &dyn Source, file: &File) -> Result<(), DiskError> {
    let size = checked_size(source, DISK_BYTES_MAX)?;
    file.set_len(0)?;
    let blocks = size.div_ceil(BLOCK_BYTES);
    let table_bytes = (blocks * 4).next_multiple_of(SECTOR_BYTES);
    let mut table = vec![UNUSED; index(table_bytes / 4)];
    let mut end = TABLE_AT + table_bytes;
    let mut open = OpenBlock::default();
    for_each_data(source, PIECE_BYTES, |at, bytes| {
        let number = at / BLOCK_BYTES;
        let entry = &mut table[index(number)];
        if *entry == UNUSED {
            open.close(file)?;
            *entry = sector_number(end)?;
            open = OpenBlock::new(end);
            end += bitmap_bytes(BLOCK_BYTES) + BLOCK_BYTES;
        }
        open.write(file, at % BLOCK_BYTES, bytes)
    })?;
    open.close(file)?;
    let entries: Vec<u8> = table
        .iter()
        .flat_map(|sector| sector.to_be_bytes())
        .collect();
    let footer = write_footer(size, [0; 16], 0, Kind::Dynamic(FOOTER_BYTES));
    file.write_all_at(&footer, 0)?;
    file.write_all_at(&header(blocks)?, FOOTER_BYTES)?;
    file.write_all_at(&entries, TABLE_AT)?;
    file.write_all_at(&footer, end)?;
    Ok(())
}

fn checked_size(source: &dyn Source, max: u64) -> Result<u64, DiskError> {
    let size = source.size_bytes();
    if size == 0 || !size.is_multiple_of(SECTOR_BYTES) || size > max {
        return Err(DiskError::refused(
            FORMAT,
            format!("a disk of {size} bytes does not fit: multiples of 512 up to {max} do"),
        ));
    }
    Ok(size)
}

fn sector_number(at: u64) -> Result<u32, DiskError> {
    u32::try_from(at / SECTOR_BYTES)
        .map_err(|_| DiskError::refused(FORMAT, "the disk holds more data than a VHD can"))
}

fn header(blocks: u64) -> Result<[u8; HEADER_BYTES], DiskError> {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(HEADER_COOKIE);
    out[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
    out[16..24].copy_from_slice(&TABLE_AT.to_be_bytes());
    out[24..28].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    let too_large = |_| DiskError::refused(FORMAT, "the disk has too many blocks");
    out[28..32].copy_from_slice(&u32::try_from(blocks).map_err(too_large)?.to_be_bytes());
    let block = u32::try_from(BLOCK_BYTES).map_err(too_large)?;
    out[32..36].copy_from_slice(&block.to_be_bytes());
    let sum = checksum(&out, HEADER_CHECKSUM_AT);
    out[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
    Ok(out)
}

/// The block being filled: where it lies and which of its sectors are in the file.
#[derive(Default)]
struct OpenBlock {
    at: u64,
    bitmap: Vec<u8>,
}

impl OpenBlock {
    fn new(at: u64) -> Self {
        Self {
            at,
            bitmap: vec![0; index(bitmap_bytes(BLOCK_BYTES))],
        }
    }

    fn write(&mut self, file: &File, within: u64, bytes: &[u8]) -> Result<(), DiskError> {
        for (number, sector) in bytes.chunks(index(SECTOR_BYTES)).enumerate() {
            if !is_zero(sector) {
                let bit = index(within / SECTOR_BYTES) + number;
                self.bitmap[bit / 8] |= 0x80 >> (bit % 8);
            }
        }
        let data = self.at + bitmap_bytes(BLOCK_BYTES) + within;
        Ok(file.write_all_at(bytes, data)?)
    }

    fn close(&self, file: &File) -> Result<(), DiskError> {
        if !self.bitmap.is_empty() {
            file.write_all_at(&self.bitmap, self.at)?;
        }
        Ok(())
    }
}
