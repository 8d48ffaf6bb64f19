//! Reading a manifest at any position.

use std::sync::Arc;

use disk::{DiskError, Extent, ExtentKind, Source};

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::inner::{Inner, Pin};
use crate::manifest::Manifest;
use crate::store::{Store, blocking};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A disk that can be read; clones share it. While one is left no sweep removes the disk.
#[derive(Clone)]
pub struct Reader {
    pub(crate) store: Store,
    pub(crate) manifest: Arc<Manifest>,
    _pin: Arc<Pin>,
}

impl Reader {
    pub(crate) fn new(store: Store, manifest: Arc<Manifest>, pin: Pin) -> Self {
        Self {
            store,
            manifest,
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
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let (block, within) = (at / BLOCK, usize::try_from(at % BLOCK).unwrap_or(0));
        let rest = buffer.len() - done;
        let run = manifest.run_at(block);
        let Some(run) = run.filter(|run| run.block <= block) else {
            // A hole up to the next run, or to the end.
            let hole = run.map_or(u64::MAX, |next| next.block * BLOCK - at);
            let length = usize::try_from(hole).unwrap_or(usize::MAX).min(rest);
            buffer[done..done + length].fill(0);
            done += length;
            continue;
        };
        let (frame, first) = manifest.place(run, block);
        let raw = store.frame(frame)?;
        let in_frame = raw.len() / BLOCK_BYTES - first.min(raw.len() / BLOCK_BYTES);
        let in_run = usize::try_from(run.block + run.count - block).unwrap_or(usize::MAX);
        let blocks = in_frame.min(in_run);
        if blocks == 0 {
            return Err(BlocksError::damaged(
                format!("frame {}:{}", frame.origin, frame.number),
                "it is shorter than a manifest needs",
            ));
        }
        let from = first * BLOCK_BYTES + within;
        let length = (blocks * BLOCK_BYTES - within).min(rest);
        buffer[done..done + length].copy_from_slice(&raw[from..from + length]);
        done += length;
    }
    Ok(())
}
