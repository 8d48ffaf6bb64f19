//! Disk formats over one pair of traits.
//!
//! A [`Source`] is a disk that can be read at any position and that knows its holes. Readers of
//! image formats give one; the block store takes one. Nothing here trusts a byte it reads: every
//! length is checked against the file before it is used. The caller names the format; it is
//! checked, never guessed.

pub mod raw;
pub mod source;
pub mod vhd;

use std::sync::Arc;

pub use source::{DiskError, Extent, ExtentKind, Source};

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The bytes of the disk and nothing else.
    Raw,
    /// Fixed VHD: the bytes of the disk and a footer of 512 bytes.
    Vhd,
}

/// Opens a disk in the named format.
pub fn open(format: Format, inner: Arc<dyn Source>) -> Result<Arc<dyn Source>, DiskError> {
    match format {
        Format::Raw => Ok(inner),
        Format::Vhd => Ok(Arc::new(vhd::FixedVhd::new(inner)?)),
    }
}
