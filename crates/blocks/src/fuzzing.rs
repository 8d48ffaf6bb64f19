//! Bytes that somebody made, with digests that are right: what is left to trust in is the decoder. For
//! `fuzz/`, and for a test.
//!
//! A manifest is read only under its own id, a pack only with its digests: rot never reaches the
//! decoders. Whoever can write into an object store can make digests too.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::files::OpenFile;
use crate::manifest::{self, Manifest};
use crate::objects::Bytes;
use crate::pack;

const PACK_HEADER_BYTES: usize = 24;
const PACK_FOOTER_BYTES: usize = 60;
const PACK_DIRECTORY_ROW_BYTES: usize = 72;
/// Bytes of a directory row before its digest: there lie offset and length of the segment.
const PACK_DIGEST_AT: usize = 40;

/// Reads bytes as a manifest; one that is accepted is written as the same bytes, and every block of it
/// is in a frame that it names. Returns whether it was accepted.
///
/// # Panics
///
/// When a law is broken.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(manifest::id_of(bytes), bytes) else {
        return false;
    };
    assert_eq!(manifest.encode(), bytes, "it is read as another");
    let size_blocks = manifest.size_bytes().div_ceil(crate::BLOCK_BYTES as u64);
    // Frames are as many as runs cover: only of small ones all are looked at.
    for run in manifest.runs() {
        for block in [run.block, run.block + run.count - 1] {
            assert!(block < size_blocks);
            let (_, within) = manifest.place(run, block);
            assert!(within < crate::FRAME_BLOCKS);
            assert_eq!(manifest.run_at(block), Some(run));
        }
    }
    if manifest.content_bytes() < 64 << 20 {
        assert_eq!(manifest.frames().is_empty(), manifest.runs().is_empty());
    }
    true
}

/// Reads bytes as a pack with all its segments, after its digests were made right. Returns how many
/// segments were accepted.
///
/// # Panics
///
/// When a law is broken.
pub fn pack(bytes: &[u8]) -> usize {
    let mut bytes = bytes.to_vec();
    let Some(id) = sign(&mut bytes) else {
        return 0;
    };
    let size = bytes.len() as u64;
    let file = Bytes::File(Arc::new(InMemory(bytes)));
    let Ok(pack) = pack::open(id, &file, size) else {
        return 0;
    };
    let mut accepted = 0;
    for number in 0..pack.segments.len() {
        let Ok(segment) = pack.segment(&file, number) else {
            continue;
        };
        accepted += 1;
        for row in &segment.rows {
            assert!(row.offset >= PACK_HEADER_BYTES as u64);
            assert!(row.offset + u64::from(row.length) <= pack.frames_end);
            assert!((1..=crate::FRAME_BLOCKS).contains(&row.blocks.len()));
            assert_eq!(segment.row(row.number).map(|r| r.offset), Some(row.offset));
            for block in &row.blocks {
                assert!(segment.find(*block).is_some());
            }
        }
    }
    accepted
}

/// Makes the digests of a pack right, as far as its fields lead to what they cover; returns its id.
fn sign(bytes: &mut [u8]) -> Option<Uuid> {
    let size = bytes.len();
    let footer = size.checked_sub(PACK_FOOTER_BYTES)?;
    let id = Uuid::from_slice(bytes.get(8..PACK_HEADER_BYTES)?).ok()?;
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let found = bytes.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(found.try_into().ok()?)).ok()
    };
    let rows = word(bytes, footer + 8)?;
    let directory = footer.checked_sub(rows.checked_mul(PACK_DIRECTORY_ROW_BYTES)?)?;
    for row in 0..rows {
        let at = directory + row * PACK_DIRECTORY_ROW_BYTES;
        // Only offsets below 4 GiB lead anywhere here.
        let (offset, length) = (word(bytes, at + 28)?, word(bytes, at + 36)?);
        if let Some(segment) = bytes.get(offset..offset.saturating_add(length)) {
            let digest = blake3::hash(segment);
            bytes[at + PACK_DIGEST_AT..at + PACK_DIRECTORY_ROW_BYTES]
                .copy_from_slice(digest.as_bytes());
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..PACK_HEADER_BYTES]);
    hasher.update(&bytes[directory..footer + 24]);
    bytes[footer + 24..footer + 56].copy_from_slice(hasher.finalize().as_bytes());
    Some(id)
}

struct InMemory(Vec<u8>);

impl OpenFile for InMemory {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(from..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn punch(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
