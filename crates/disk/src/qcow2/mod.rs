//! qcow2 versions 2 and 3 (qemu, `docs/interop/qcow2.rst`). Big-endian.
//!
//! Read: plain, zero and compressed clusters (deflate, zstd) of the active state; snapshots and
//! bitmaps inside the file are ignored. Refused: a backing file, an external data file,
//! encryption, extended L2 entries, unknown incompatible features and unknown extensions.
//!
//! Promises: nothing names another file; every offset lies inside the file; no host cluster
//! stands for two guest clusters, so a small file cannot pretend to hold much data.

mod check;
mod entry;
mod header;
mod reader;
mod write;

pub use reader::Qcow2;
pub use write::write;

pub(crate) const FORMAT: &str = "qcow2";
const MAGIC: &[u8; 4] = b"QFI\xfb";
/// Bits of an L1 or L2 entry that hold a host offset.
const OFFSET_MASK: u64 = 0x00FF_FFFF_FFFF_FE00;
/// The refcount is exactly one.
const COPIED: u64 = 1 << 63;
