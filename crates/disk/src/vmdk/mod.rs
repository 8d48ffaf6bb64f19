//! VMDK in one file ("Virtual Disk Format 5.0"): `monolithicSparse` and `streamOptimized`, with
//! the descriptor embedded. Little-endian, sectors of 512 bytes.
//!
//! Refused: every other `createType`, more than one extent, an extent in another place, a parent.
//!
//! Promises: the name in the descriptor is read and never opened; grain tables and grains lie
//! inside the file; no two grains overlap, and a compressed grain names the place it belongs to,
//! so a small file cannot pretend to hold much data.

mod descriptor;
mod header;
mod reader;

pub use reader::Vmdk;

pub(crate) const FORMAT: &str = "VMDK";
const SECTOR_BYTES: u64 = 512;
