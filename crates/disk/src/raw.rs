//! Raw files: the bytes of the disk; holes are what the file system says.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

/// A file as a disk.
pub struct RawFile {
    file: File,
    size: u64,
}

impl RawFile {
    /// Opens a file; its length is the size of the disk.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl Source for RawFile {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size)?;
        self.file.read_exact_at(buf, offset)?;
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size)?;
        let rest = Extent {
            offset,
            length: self.size - offset,
            kind: ExtentKind::Data,
        };
        let data = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data.min(self.size),
            // ENXIO: nothing but a hole up to the end.
            Err(rustix::io::Errno::NXIO) => self.size,
            // A file system that does not know holes: everything is data.
            Err(_) => return Ok(rest),
        };
        if data > offset {
            return Ok(Extent {
                offset,
                length: data - offset,
                kind: ExtentKind::Zero,
            });
        }
        match seek(&self.file, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => Ok(Extent {
                length: hole.min(self.size) - offset,
                ..rest
            }),
            _ => Ok(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_cover_the_file_and_holes_are_zero() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        file.as_file().write_all_at(&[7; 4096], 4 << 20).unwrap();
        let raw = RawFile::open(file.path()).unwrap();
        let (mut at, mut zero) = (0, 0);
        while at < raw.size_bytes() {
            let extent = raw.extent_at(at).unwrap();
            assert!(extent.length > 0 && extent.offset == at);
            if extent.kind == ExtentKind::Zero {
                zero += extent.length;
                let mut bytes = vec![1; usize::try_from(extent.length).unwrap()];
                raw.read_at(at, &mut bytes).unwrap();
                assert!(bytes.iter().all(|b| *b == 0));
            }
            at += extent.length;
        }
        assert_eq!(at, 8 << 20);
        assert!(zero >= 7 << 20, "the file system knows its holes");
        assert!(raw.read_at(8 << 20, &mut [0]).is_err());
        assert!(raw.read_at(u64::MAX, &mut [0]).is_err());
    }
}
