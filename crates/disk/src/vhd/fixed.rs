//! Fixed VHD: the bytes of a disk, then the footer.

use super::{FOOTER_BYTES, FORMAT, Footer};
use crate::source::{DiskError, Extent, Source, check_range};

/// The disk inside a fixed VHD.
pub struct FixedVhd<S> {
    inner: S,
    size: u64,
}

impl<S: Source> FixedVhd<S> {
    /// Checks the footer and opens the disk before it.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let short = || DiskError::malformed(FORMAT, "it is shorter than a footer");
        let size = inner
            .size_bytes()
            .checked_sub(FOOTER_BYTES)
            .ok_or_else(short)?;
        let mut bytes = [0_u8; 512];
        inner.read_at(size, &mut bytes)?;
        Footer::parse_fixed(&bytes, size)?;
        Ok(Self { inner, size })
    }
}

impl<S: Source> Source for FixedVhd<S> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size)?;
        self.inner.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size)?;
        let extent = self.inner.extent_at(offset)?;
        Ok(Extent {
            length: extent.length.min(self.size - offset),
            ..extent
        })
    }
}
