//! A disk that can be read: positional reads and extents.

use std::io;

/// Largest disk that any reader opens; more is a lie or a mistake.
pub const DISK_BYTES_MAX: u64 = 64 << 40;

/// What a run of bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// Bytes that have to be read.
    Data,
    /// All zero, known without reading.
    Zero,
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// What it holds.
    pub kind: ExtentKind,
}

/// What can go wrong with a disk image; callers match on it, people read it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The bytes are not a valid image of the named format.
    #[error("not a valid {format} image: {reason}")]
    Malformed {
        /// The format the caller named.
        format: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// A valid image that is refused: backing file, foreign extent, encryption, unknown feature.
    #[error("{format} image refused: {reason}")]
    Refused {
        /// The format the caller named.
        format: &'static str,
        /// What it asks for.
        reason: String,
    },
    /// A read outside the disk.
    #[error("read of {length} bytes at {offset} is outside the disk of {size} bytes")]
    OutOfBounds {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Size of the disk.
        size: u64,
    },
    /// The file below did not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DiskError {
    pub(crate) fn malformed(format: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed {
            format,
            reason: reason.into(),
        }
    }

    pub(crate) fn refused(format: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused {
            format,
            reason: reason.into(),
        }
    }
}

/// A disk that can be read at any position.
///
/// Synchronous: callers run it on a blocking thread. Implementations are shared by threads.
pub trait Source: Send + Sync {
    /// Returns the virtual size of the disk in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`; a range outside the disk is an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError>;

    /// Returns the run that `offset` lies in, from `offset` on and clipped to the disk.
    ///
    /// `Zero` must be true; `Data` may hold zeroes. Two neighbouring runs may be of one kind.
    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError>;
}

impl<S: Source + ?Sized> Source for std::sync::Arc<S> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        (**self).read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        (**self).extent_at(offset)
    }
}

/// Refuses a range that is not wholly inside the disk.
pub(crate) fn check_range(offset: u64, length: usize, size: u64) -> Result<(), DiskError> {
    let length = length as u64;
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(DiskError::OutOfBounds {
            offset,
            length,
            size,
        });
    }
    Ok(())
}
