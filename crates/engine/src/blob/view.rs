//! Reading a blob, or a disk as a fixed VHD, piece by piece; holes are not read.

use blocks::Layer;
use bytes::Bytes;
use disk::ExtentKind;
use domain::Result;

use super::failure::invalid_range;
use super::locks::BlobUse;
use crate::disk_content::DiskContent;

/// The most bytes of one piece.
const PIECE_BYTES_MAX: u64 = 2 << 20;
/// Pages are this long.
const PAGE_BYTES: u64 = 512;
static ZEROES: [u8; 1 << 20] = [0; 1 << 20];

/// A run of pages that were written, in bytes: first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

/// The bytes of a blob, or of a disk with a VHD footer behind it.
pub struct View {
    content: DiskContent,
    size: u64,
    footer: Option<Box<[u8; 512]>>,
    _held: Option<BlobUse>,
}

impl View {
    pub(super) fn of_blob(layer: Layer, size: u64, held: BlobUse) -> Self {
        Self {
            content: DiskContent::Layer(layer),
            size,
            footer: None,
            _held: Some(held),
        }
    }

    pub(super) fn of_layer(layer: Layer, size: u64) -> Self {
        Self {
            content: DiskContent::Layer(layer),
            size,
            footer: None,
            _held: None,
        }
    }

    pub(super) fn of_disk(content: DiskContent, size: u64, footer: [u8; 512]) -> Self {
        Self {
            content,
            size,
            footer: Some(Box::new(footer)),
            _held: None,
        }
    }

    /// Returns the length with the footer.
    pub fn size_bytes(&self) -> u64 {
        self.size + self.footer.as_ref().map_or(0, |footer| footer.len() as u64)
    }

    /// Whether the bytes at `offset` are known to be zero, and how far that answer reaches.
    pub(super) fn run_at(&self, offset: u64) -> Result<(bool, u64)> {
        let extent = self.content.extent_at(offset)?;
        Ok((
            extent.kind == ExtentKind::Zero,
            (offset + extent.length).min(self.size),
        ))
    }

    /// Returns some bytes from `offset` on, at most up to `end`.
    pub async fn piece(&self, offset: u64, end: u64) -> Result<Bytes> {
        if offset >= end || end > self.size_bytes() {
            return Err(invalid_range());
        }
        if offset >= self.size {
            let footer = self.footer.as_deref().map(|f| &f[..]).unwrap_or_default();
            let at = |n: u64| usize::try_from(n - self.size).unwrap_or(footer.len());
            return Ok(Bytes::copy_from_slice(&footer[at(offset)..at(end)]));
        }
        let end = end.min(self.size);
        let (is_zero, run_end) = self.run_at(offset)?;
        if is_zero {
            let length = usize::try_from(run_end.min(end) - offset)
                .unwrap_or(usize::MAX)
                .min(ZEROES.len());
            return Ok(Bytes::from_static(&ZEROES[..length]));
        }
        let length = usize::try_from((end - offset).min(PIECE_BYTES_MAX)).unwrap_or_default();
        Ok(Bytes::from(self.content.read(offset, length).await?))
    }

    /// Returns the written pages in `start..end`, at most `limit`, and where the next answer begins.
    pub fn pages(
        &self,
        start: u64,
        end: u64,
        limit: usize,
    ) -> Result<(Vec<PageRange>, Option<u64>)> {
        let end = end.min(self.size_bytes());
        let mut ranges: Vec<PageRange> = Vec::new();
        let mut at = start;
        while at < end {
            let (is_zero, run_end) = if at < self.size {
                self.run_at(at)?
            } else {
                (false, self.size_bytes())
            };
            let run_end = run_end.min(end);
            if !is_zero {
                let joins = ranges.last().is_some_and(|last| last.end + 1 == at);
                if !joins && ranges.len() == limit {
                    return Ok((ranges, Some(at)));
                }
                match ranges.last_mut().filter(|_| joins) {
                    Some(last) => last.end = run_end - 1,
                    None => ranges.push(PageRange {
                        start: at,
                        end: run_end - 1,
                    }),
                }
            }
            at = run_end;
        }
        Ok((ranges, None))
    }
}

/// Checks that a range is whole pages inside `size` bytes.
pub(super) fn check_pages(start: u64, length: u64, size: u64) -> Result<()> {
    let end = start.checked_add(length);
    let fits = length > 0
        && start.is_multiple_of(PAGE_BYTES)
        && length.is_multiple_of(PAGE_BYTES)
        && end.is_some_and(|end| end <= size);
    if fits {
        Ok(())
    } else {
        Err(super::failure::invalid_page_range())
    }
}
