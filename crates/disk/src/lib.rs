//! Disk formats over one pair of traits, and the NBD protocol.
//!
//! A [`Source`] is a disk that can be read at any position and that knows its holes. Readers of
//! image formats give one; the block store takes one. Nothing here trusts a byte it reads: every
//! length is checked against the file before it is used.

pub mod source;

pub use source::{DiskError, Extent, ExtentKind, Source};
