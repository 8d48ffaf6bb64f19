//! Entries of the two tables.

use super::header::Header;
use super::{COPIED, FORMAT, OFFSET_MASK};
use crate::source::DiskError;

const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// Where the bytes of a guest cluster are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    /// Nowhere: they are zero.
    Zero,
    /// At this offset of the file.
    Data(u64),
    /// Packed, in this range of the file; the range may reach past the end of the file.
    Packed { at: u64, length: u64 },
}

/// Returns the offset of an L2 table, 0 for none.
pub(super) fn l2_offset(entry: u64, header: &Header) -> Result<u64, DiskError> {
    let offset = entry & OFFSET_MASK;
    if entry & !(OFFSET_MASK | COPIED) != 0 || !offset.is_multiple_of(header.cluster_bytes()) {
        return Err(DiskError::malformed(
            FORMAT,
            format!("L1 entry {entry:#018x} is not possible"),
        ));
    }
    Ok(offset)
}

/// Says where an L2 entry points.
pub(super) fn decode(entry: u64, header: &Header) -> Result<Cluster, DiskError> {
    let malformed = || {
        Err(DiskError::malformed(
            FORMAT,
            format!("L2 entry {entry:#018x} is not possible"),
        ))
    };
    if entry & COMPRESSED != 0 {
        if entry & COPIED != 0 {
            return malformed();
        }
        let offset_bits = 62 - (header.cluster_bits - 8);
        let at = entry & ((1 << offset_bits) - 1);
        let more_sectors = (entry & (COMPRESSED - 1)) >> offset_bits;
        let length = (more_sectors + 1) * 512 - at % 512;
        return Ok(Cluster::Packed { at, length });
    }
    let zero_flag = if header.version >= 3 { ZERO } else { 0 };
    let offset = entry & OFFSET_MASK;
    if entry & !(OFFSET_MASK | COPIED | zero_flag) != 0
        || !offset.is_multiple_of(header.cluster_bytes())
    {
        return malformed();
    }
    if offset == 0 || entry & zero_flag != 0 {
        return Ok(Cluster::Zero);
    }
    Ok(Cluster::Data(offset))
}
