//! VHD: fixed (the bytes of a disk, then a footer) and dynamic (a table of blocks). Differencing
//! VHDs name another file and are refused.

mod dynamic;
mod fixed;
mod footer;
mod write;

pub use dynamic::DynamicVhd;
pub use fixed::FixedVhd;
pub use footer::{FOOTER_BYTES, Footer, footer};
pub use write::{write_dynamic, write_fixed};

pub(crate) const FORMAT: &str = "VHD";
const SECTOR_BYTES: u64 = 512;
/// The header of a dynamic VHD.
const HEADER_BYTES: usize = 1024;
const HEADER_COOKIE: &[u8; 8] = b"cxsparse";
const HEADER_CHECKSUM_AT: usize = 36;
/// Table entry of a block that is not in the file.
const UNUSED: u32 = u32::MAX;

/// One's complement of the sum of all bytes but the checksum's own four at `own_at`.
fn checksum(bytes: &[u8], own_at: usize) -> u32 {
    let own = own_at..own_at + 4;
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .filter(|(at, _)| !own.contains(at))
        .map(|(_, b)| u32::from(*b))
        .sum();
    !sum
}

/// Length of the sector bitmap before a block: a bit a sector, whole sectors.
fn bitmap_bytes(block_bytes: u64) -> u64 {
    (block_bytes / SECTOR_BYTES)
        .div_ceil(8)
        .next_multiple_of(SECTOR_BYTES)
}
