//! Reading a manifest at any position.

use std::sync::Arc;

use bytes::Bytes;
use disk::nbd::Piece;
use disk::{DiskError, Extent, ExtentKind, Source};

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::inner::{Inner, Pin};
use crate::manifest::Manifest;
use crate::parts::{self, Part, Parts};
use crate::read_ahead::ReadAhead;
use crate::store::{Store, blocking};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A disk that can be read; clones share it. While one is left no sweep removes the disk.
#[derive(Clone)]
pub struct Reader {
    pub(crate) store: Store,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) ahead: Arc<ReadAhead>,
    _pin: Arc<Pin>,
}

impl Reader {
    pub(crate) fn new(store: Store, manifest: Arc<Manifest>, pin: Pin) -> Self {
        Self {
            store,
            manifest,
            ahead: Arc::default(),
            _pin: Arc::new(pin),
        }
    }

    /// Returns the digest of the raw content.
    pub fn content_digest(&self) -> crate::Digest {
        self.manifest.content_digest()
    }

    /// Returns the virtual size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.manifest.size_bytes()
    }

    /// Returns `length` bytes at `offset`, checked against their digests.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.ahead
            .note(&self.store.0, &self.manifest, offset, length as u64);
        let reader = self.clone();
        blocking(move || {
            let mut buffer = vec![0_u8; length];
            reader.read_now(offset, &mut buffer)?;
            Ok(buffer)
        })
        .await
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = self.read(offset, buffer.len()).await?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Returns the run that `offset` lies in, from `offset` on.
    pub fn extent_at(&self, offset: u64) -> Result<Extent> {
        check_range(offset, 1, self.size_bytes())?;
        Ok(extent_at(&self.manifest, offset))
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        check_range(offset, buffer.len() as u64, self.size_bytes())?;
        read_manifest(&self.store.0, &self.manifest, offset, buffer)
    }
}

impl Source for Reader {
    fn size_bytes(&self) -> u64 {
        self.manifest.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), DiskError> {
        self.read_now(offset, buffer)
            .map_err(|error| DiskError::Io(std::io::Error::other(error)))
    }

    fn extent_at(&self, offset: u64) -> std::result::Result<Extent, DiskError> {
        Self::extent_at(self, offset).map_err(|error| DiskError::Io(std::io::Error::other(error)))
    }
}

/// Refuses a range that is not wholly inside the disk.
pub(crate) fn check_range(offset: u64, length: u64, size: u64) -> Result<()> {
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(BlocksError::Source(DiskError::OutOfBounds {
            offset,
            length,
            size,
        }));
    }
    Ok(())
}

/// Returns the run of a manifest that `offset` lies in, clipped to the disk.
pub(crate) fn extent_at(manifest: &Manifest, offset: u64) -> Extent {
    let size = manifest.size_bytes();
    let (end, kind) = match manifest.run_at(offset / BLOCK) {
        Some(run) if run.block * BLOCK <= offset => {
            ((run.block + run.count) * BLOCK, ExtentKind::Data)
        }
        Some(run) => (run.block * BLOCK, ExtentKind::Zero),
        None => (size, ExtentKind::Zero),
    };
    Extent {
        offset,
        length: end.min(size) - offset,
        kind,
    }
}

/// Fills `buffer` from a manifest; the range is inside the disk.
pub(crate) fn read_manifest(
    store: &Inner,
    manifest: &Manifest,
    offset: u64,
    buffer: &mut [u8],
) -> Result<()> {
    store.bring(&parts::frames(manifest, offset, buffer.len() as u64));
    let mut done = 0;
    for part in Parts::new(manifest, offset, buffer.len() as u64) {
        match part {
            Part::Hole(length) => {
                let end = done + usize::try_from(length).unwrap_or(usize::MAX);
                buffer[done..end].fill(0);
                done = end;
            }
            Part::Frame { id, from, length } => {
                let raw = store.frame(id)?;
                let range = parts::range_in(id, raw.len(), from, length)?;
                buffer[done..done + length].copy_from_slice(&raw[range]);
                done += length;
            }
        }
    }
    Ok(())
}

/// Returns a range of a manifest without copying it, as slices of frames; `frame` gives those, and
/// `None` from it ends the walk.
pub(crate) fn pieces(
    manifest: &Manifest,
    offset: u64,
    length: u64,
    out: &mut Vec<Piece>,
    mut frame: impl FnMut(FrameId) -> Result<Option<Bytes>>,
) -> Result<bool> {
    for part in Parts::new(manifest, offset, length) {
        match part {
            Part::Hole(length) => out.push(Piece::Zero(length)),
            Part::Frame { id, from, length } => {
                let Some(raw) = frame(id)? else {
                    return Ok(false);
                };
                let range = parts::range_in(id, raw.len(), from, length)?;
                out.push(Piece::Data(raw.slice(range)));
            }
        }
    }
    Ok(true)
}
