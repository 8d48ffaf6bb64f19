//! Disk formats over one pair of traits.
//!
//! A [`Source`] is a disk that can be read at any position and that knows its holes. Readers of
//! image formats give one; the block store takes one. Nothing here trusts a byte it reads: every
//! length is checked against the file before it is used. The caller names the format; it is
//! checked, never guessed.

mod bytes;
mod cache;
mod crc32c;
mod decompress;
mod format;
pub mod memory;
pub mod nbd;
pub mod qcow2;
pub mod raw;
pub mod source;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
mod walk;

pub use format::{Format, looks_like, open};
pub use source::{DISK_BYTES_MAX, DiskError, Extent, ExtentKind, Source};
