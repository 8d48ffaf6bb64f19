//! Bytes in memory as a disk: for tests, fuzzers and small images.

use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

/// Bytes in memory; all of them count as data.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<u8>);

impl Source for Memory {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size_bytes())?;
        let from = crate::bytes::index(offset);
        buf.copy_from_slice(&self.0[from..from + buf.len()]);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size_bytes())?;
        Ok(Extent {
            offset,
            length: self.size_bytes() - offset,
            kind: ExtentKind::Data,
        })
    }
}
