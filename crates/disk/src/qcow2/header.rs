//! The header and its extensions.

use super::{FORMAT, MAGIC};
use crate::bytes::{be32, be64, fetch, fetch_vec, index};
use crate::source::{DISK_BYTES_MAX, DiskError, Source};

const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Largest L1 table that is read, as in qemu.
const L1_BYTES_MAX: u64 = 32 << 20;
const HEADER_V2_BYTES: usize = 72;
const HEADER_V3_BYTES: usize = 104;

/// How compressed clusters are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// What a reader needs of the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) size: u64,
    pub(super) l1_at: u64,
    /// Entries that the disk needs; the table may have more.
    pub(super) l1_entries: u64,
    pub(super) compression: Compression,
}

impl Header {
    pub(super) fn load(file: &dyn Source) -> Result<Self, DiskError> {
        let malformed = |reason: String| Err(DiskError::malformed(FORMAT, reason));
        let mut bytes = [0; HEADER_V3_BYTES + 8];
        let present = index(file.size_bytes().min(bytes.len() as u64));
        file.read_at(0, &mut bytes[..present])?;
        if bytes[..4] != *MAGIC {
            return malformed("it does not begin with the mark of qcow2".to_owned());
        }
        let version = be32(&bytes, 4);
        if !(2..=3).contains(&version) {
            return malformed(format!("version {version} is not known"));
        }
        let length = match version {
            2 => HEADER_V2_BYTES,
            _ => index(u64::from(be32(&bytes, 100))),
        };
        let (cluster_bits, size) = (be32(&bytes, 20), be64(&bytes, 24));
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return malformed(format!("clusters of 2^{cluster_bits} bytes are not known"));
        }
        let is_known = version == 2 || (length >= HEADER_V3_BYTES && length.is_multiple_of(8));
        if !is_known || length > 1 << cluster_bits || present < length.min(bytes.len()) {
            return malformed(format!("a header of {length} bytes is not possible"));
        }
        if size == 0 || !size.is_multiple_of(512) || size > DISK_BYTES_MAX {
            return malformed(format!("a disk of {size} bytes is not possible"));
        }
        refuse_other_files(&bytes)?;
        let compression = features(&bytes, version, length)?;
        check_extensions(file, length, cluster_bits)?;
        let l2_covers = 1 << (cluster_bits + cluster_bits - 3);
        let header = Self {
            version,
            cluster_bits,
            size,
            l1_at: be64(&bytes, 40),
            l1_entries: size.div_ceil(l2_covers),
            compression,
        };
        let l1_size = u64::from(be32(&bytes, 36));
        if l1_size < header.l1_entries || header.l1_entries * 8 > L1_BYTES_MAX {
            return malformed(format!(
                "an L1 table of {l1_size} entries for a disk of {size} bytes"
            ));
        }
        Ok(header)
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Returns the number of entries in an L2 table.
    pub(super) fn l2_entries(&self) -> u64 {
        1 << (self.cluster_bits - 3)
    }

    /// Loads the L1 table.
    pub(super) fn load_l1(&self, file: &dyn Source) -> Result<Vec<u64>, DiskError> {
        if !self.l1_at.is_multiple_of(self.cluster_bytes()) || self.l1_at == 0 {
            return Err(DiskError::malformed(
                FORMAT,
                format!("the L1 table cannot lie at {}", self.l1_at),
            ));
        }
        let length = index(self.l1_entries * 8);
        let bytes = fetch_vec(file, FORMAT, "the L1 table", self.l1_at, length)?;
        Ok(bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| be64(b, 0))
            .collect())
    }
}

fn refuse_other_files(bytes: &[u8]) -> Result<(), DiskError> {
    let refused = |reason: &str| Err(DiskError::refused(FORMAT, reason));
    if be64(bytes, 8) != 0 || be32(bytes, 16) != 0 {
        return refused("it has a backing file; convert it to an image of its own");
    }
    match be32(bytes, 32) {
        0 => Ok(()),
        1 | 2 => refused("it is encrypted"),
        other => Err(DiskError::malformed(
            FORMAT,
            format!("encryption method {other} is not known"),
        )),
    }
}

/// Refuses features that change what the bytes mean; tells how clusters are compressed.
fn features(bytes: &[u8], version: u32, length: usize) -> Result<Compression, DiskError> {
    const DIRTY: u64 = 1;
    const CORRUPT: u64 = 1 << 1;
    const DATA_FILE: u64 = 1 << 2;
    const COMPRESSION: u64 = 1 << 3;
    const EXTENDED_L2: u64 = 1 << 4;
    if version == 2 {
        return Ok(Compression::Deflate);
    }
    let refused = |reason: String| Err(DiskError::refused(FORMAT, reason));
    let incompatible = be64(bytes, 72);
    if incompatible & DATA_FILE != 0 {
        return refused("its data lies in another file".to_owned());
    }
    if incompatible & CORRUPT != 0 {
        return refused("it is marked as corrupt".to_owned());
    }
    if incompatible & EXTENDED_L2 != 0 {
        return refused("it has extended L2 entries; convert it without extended_l2".to_owned());
    }
    let unknown = incompatible & !(DIRTY | COMPRESSION);
    if unknown != 0 {
        return refused(format!("it needs unknown features ({unknown:#x})"));
    }
    // The byte counts only where the header reaches that far (header_length above 104).
    let compression = if length > HEADER_V3_BYTES {
        bytes[104]
    } else {
        0
    };
    match (compression, incompatible & COMPRESSION != 0) {
        (0, false) => Ok(Compression::Deflate),
        (1, true) => Ok(Compression::Zstd),
        (other, _) => Err(DiskError::malformed(
            FORMAT,
            format!("compression type {other} does not fit its features"),
        )),
    }
}

/// Refuses extensions that name files or keys and those that nobody knows.
fn check_extensions(file: &dyn Source, from: usize, cluster_bits: u32) -> Result<(), DiskError> {
    const END: u32 = 0;
    const FEATURE_NAMES: u32 = 0x6803_F857;
    const BITMAPS: u32 = 0x2385_2875;
    let end = (1 << cluster_bits).min(file.size_bytes());
    let mut at = from as u64;
    while at + 8 <= end {
        let mut head = [0; 8];
        fetch(file, FORMAT, "a header extension", at, &mut head)?;
        let (kind, length) = (be32(&head, 0), u64::from(be32(&head, 4)));
        let reason = match kind {
            END => return Ok(()),
            FEATURE_NAMES | BITMAPS => {
                at = at + 8 + length.next_multiple_of(8);
                continue;
            }
            0xE279_2ACA => "it names the format of a backing file".to_owned(),
            0x0537_BE77 => "it is encrypted".to_owned(),
            0x4441_5441 => "it names another file for its data".to_owned(),
            other => format!("it has an unknown header extension ({other:#010x})"),
        };
        return Err(DiskError::refused(FORMAT, reason));
    }
    // Running out of the cluster is an end only at the very border.
    if at > end {
        return Err(DiskError::malformed(
            FORMAT,
            "the header extensions do not end inside the first cluster",
        ));
    }
    Ok(())
}
