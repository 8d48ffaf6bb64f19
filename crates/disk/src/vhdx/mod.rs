//! VHDX (MS-VHDX 4.0), read only. Little-endian.
//!
//! Refused: a parent (differencing), unknown regions and items that are required.
//!
//! Promises: every structure is summed and bounded; a log that was not replayed is replayed into
//! memory, the file is never written; regions, log and blocks lie inside the file and none
//! overlap, so a small file cannot pretend to hold much data.

mod header;
mod log;
mod metadata;
mod overlay;
mod reader;

pub use reader::Vhdx;

pub(crate) const FORMAT: &str = "VHDX";
const MIB: u64 = 1 << 20;

/// A GUID as it lies in the file: the first three fields are little-endian.
const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let d = rest;
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// Copies a GUID out of a structure.
fn guid_at(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&bytes[at..at + 16]);
    out
}
