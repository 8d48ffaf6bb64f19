//! The metadata region (MS-VHDX 2.6): what the disk is.

use super::header::Region;
use super::{FORMAT, MIB, guid, guid_at};
use crate::bytes::{fetch_vec, index, le16, le32, le64};
use crate::source::{DISK_BYTES_MAX, DiskError, Source};

const TABLE_BYTES: u64 = 64 << 10;
const ITEMS_MAX: u16 = 2047;
const ITEM_BYTES_MAX: u32 = 1 << 20;
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = MIB..=256 * MIB;

const FILE_PARAMETERS: [u8; 16] = guid(
    0xCAA1_6737,
    0xFA36,
    0x4D43,
    [0xB3, 0xB6, 0x33, 0xF0, 0xAA, 0x44, 0xE7, 0x6B],
);
const DISK_SIZE: [u8; 16] = guid(
    0x2FA5_4224,
    0xCD1B,
    0x4876,
    [0xB2, 0x11, 0x5D, 0xBE, 0xD8, 0x3B, 0xF4, 0xB8],
);
const DISK_ID: [u8; 16] = guid(
    0xBECA_12AB,
    0xB2E6,
    0x4523,
    [0x93, 0xEF, 0xC3, 0x09, 0xE0, 0x00, 0xC7, 0x46],
);
const LOGICAL_SECTOR: [u8; 16] = guid(
    0x8141_BF1D,
    0xA96F,
    0x4709,
    [0xBA, 0x47, 0xF2, 0x33, 0xA8, 0xFA, 0xAB, 0x5F],
);
const PHYSICAL_SECTOR: [u8; 16] = guid(
    0xCDA3_48C7,
    0x445D,
    0x4471,
    [0x9C, 0xC9, 0xE9, 0x88, 0x52, 0x51, 0xC5, 0x56],
);
const PARENT_LOCATOR: [u8; 16] = guid(
    0xA8D3_5F2D,
    0xB30B,
    0x454D,
    [0xAB, 0xF7, 0xD3, 0xD8, 0x48, 0x34, 0xAB, 0x0C],
);

/// What the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) block_bytes: u64,
    pub(super) size: u64,
    pub(super) sector_bytes: u64,
}

impl Metadata {
    pub(super) fn load(file: &dyn Source, region: &Region) -> Result<Self, DiskError> {
        let table = fetch_vec(
            file,
            FORMAT,
            "the metadata table",
            region.at,
            index(TABLE_BYTES),
        )?;
        if table[..8] != *b"metadata" {
            return Err(malformed("the metadata table has no mark"));
        }
        let count = le16(&table, 10);
        if count > ITEMS_MAX {
            return Err(malformed(format!("{count} metadata items are too many")));
        }
        let mut items = Items::default();
        for entry in table[32..]
            .as_chunks::<32>()
            .0
            .iter()
            .take(usize::from(count))
        {
            items.take(file, region, entry)?;
        }
        items.finish()
    }

    /// Returns the number of payload blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block_bytes)
    }

    /// Returns how many payload blocks share a sector bitmap block (MS-VHDX 2.5).
    pub(super) fn chunk_ratio(&self) -> u64 {
        (1 << 23) * self.sector_bytes / self.block_bytes
    }
}

#[derive(Default)]
struct Items {
    parameters: Option<u64>,
    size: Option<u64>,
    logical: Option<u64>,
    physical: Option<u64>,
}

impl Items {
    fn take(
        &mut self,
        file: &dyn Source,
        region: &Region,
        entry: &[u8; 32],
    ) -> Result<(), DiskError> {
        let (offset, length) = (u64::from(le32(entry, 16)), le32(entry, 20));
        if length > ITEM_BYTES_MAX
            || (length > 0 && offset < TABLE_BYTES)
            || offset + u64::from(length) > region.length
        {
            return Err(malformed(format!(
                "a metadata item of {length} bytes cannot lie at {offset}"
            )));
        }
        let value = |wanted: u32| {
            if length != wanted {
                return Err(malformed(format!("a metadata item has {length} bytes")));
            }
            let mut bytes = fetch_vec(
                file,
                FORMAT,
                "a metadata item",
                region.at + offset,
                index(u64::from(wanted)),
            )?;
            bytes.resize(8, 0);
            Ok(le64(&bytes, 0))
        };
        let is_user = le32(entry, 24) & 1 != 0;
        let (slot, value) = match guid_at(entry, 0) {
            _ if is_user => return unknown(entry),
            FILE_PARAMETERS => (&mut self.parameters, value(8)?),
            DISK_SIZE => (&mut self.size, value(8)?),
            LOGICAL_SECTOR => (&mut self.logical, value(4)?),
            PHYSICAL_SECTOR => (&mut self.physical, value(4)?),
            DISK_ID => return Ok(()),
            PARENT_LOCATOR => return Err(refused("it names a parent file")),
            _ => return unknown(entry),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(malformed("a metadata item is there twice")),
        }
    }

    fn finish(self) -> Result<Metadata, DiskError> {
        let (Some(parameters), Some(size), Some(logical), Some(physical)) =
            (self.parameters, self.size, self.logical, self.physical)
        else {
            return Err(malformed("a metadata item is missing"));
        };
        let (block_bytes, flags) = (parameters & 0xFFFF_FFFF, parameters >> 32);
        if flags & 2 != 0 {
            return Err(refused(
                "it is a differencing VHDX, which needs another file",
            ));
        }
        if flags & !1 != 0 {
            return Err(refused("it has unknown file parameters"));
        }
        if !block_bytes.is_power_of_two() || !BLOCK_BYTES.contains(&block_bytes) {
            return Err(malformed(format!(
                "blocks of {block_bytes} bytes are not known"
            )));
        }
        if !matches!(logical, 512 | 4096) || !matches!(physical, 512 | 4096) {
            return Err(malformed(format!(
                "sectors of {logical} and {physical} bytes are not known"
            )));
        }
        if size == 0 || size > DISK_BYTES_MAX || !size.is_multiple_of(logical) {
            return Err(malformed(format!("a disk of {size} bytes is not possible")));
        }
        Ok(Metadata {
            block_bytes,
            size,
            sector_bytes: logical,
        })
    }
}

/// An item nobody knows may be there, unless it is required.
fn unknown(entry: &[u8; 32]) -> Result<(), DiskError> {
    match le32(entry, 24) & 4 {
        0 => Ok(()),
        _ => Err(refused("it has unknown metadata that is required")),
    }
}

fn malformed(reason: impl Into<String>) -> DiskError {
    DiskError::malformed(FORMAT, reason)
}

fn refused(reason: &str) -> DiskError {
    DiskError::refused(FORMAT, reason)
}
