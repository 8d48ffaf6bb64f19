//! Manifests: which blocks of which frames make a disk.
//!
//! Canonical bytes, so that equal disks made from equal frames have equal ids. Little-endian;
//! varints are LEB128.
//!
//! ```text
//! "VTMF" version:u32 size:u64 content:u64 digest:[32] origins:varint origin:[16]…
//! extents:varint { gap:varint count:varint origin:varint first:zigzag-varint }…
//! level:u8 nodes:varint { gap:varint hash:[32] }…
//! ```
//!
//! `gap` and `count` are in blocks of the disk; `first` is `frame number × 16 + block`, as the
//! difference from the end of the extent before. `nodes` are those of the content's hash tree at
//! one level that are not zero, so that a freeze need not read what was not written.

mod decode;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::tree_hash::{ContentHasher, Digest};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

const MAGIC: &[u8; 4] = b"VTMF";
const VERSION: u32 = 3;
/// The highest level of kept nodes: that of the largest disk.
const LEVEL_MAX: u8 = 40;

/// BLAKE3 of a manifest's bytes: its name in every region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId(pub [u8; 32]);

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ManifestId {
    type Err = BlocksError;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || BlocksError::Invalid {
            reason: "not the id of a manifest".to_owned(),
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(invalid());
        }
        let mut id = [0_u8; 32];
        for (slot, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(id))
    }
}

/// A run of blocks of the disk that lie one after another in frames of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First block of the disk.
    pub block: u64,
    /// Blocks in the run, never 0.
    pub count: u64,
    /// Which origin, by its place in the manifest's list.
    pub origin: u32,
    /// Address of the first block: frame number × 16 + block in the frame.
    pub first: u64,
}

/// An immutable disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    size_bytes: u64,
    content_bytes: u64,
    digest: Digest,
    origins: Vec<Uuid>,
    runs: Vec<Run>,
    level: u8,
    nodes: Vec<(u64, [u8; 32])>,
}

impl Manifest {
    /// Returns the virtual size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the bytes that are not zero, in whole blocks.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Returns the digest of the raw content.
    pub fn content_digest(&self) -> Digest {
        self.digest
    }

    /// Returns how many runs describe the disk.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Returns the bytes that it takes in memory, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.runs.len() * 32 + self.nodes.len() * 40 + self.origins.len() * 16 + 200
    }

    /// Returns the level of the kept nodes of the content's hash tree.
    pub(crate) fn node_level(&self) -> u32 {
        u32::from(self.level)
    }

    /// Returns the kept nodes with numbers in a range.
    pub(crate) fn nodes(&self, numbers: std::ops::Range<u64>) -> &[(u64, [u8; 32])] {
        let at = |number| self.nodes.partition_point(|(n, _)| *n < number);
        &self.nodes[at(numbers.start)..at(numbers.end).max(at(numbers.start))]
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the origin of a run.
    pub(crate) fn origin(&self, run: &Run) -> Uuid {
        self.origins[run.origin as usize]
    }

    /// Returns the run that holds a block, or the first one after it.
    pub(crate) fn run_at(&self, block: u64) -> Option<&Run> {
        let after = self
            .runs
            .partition_point(|run| run.block + run.count <= block);
        self.runs.get(after)
    }

    /// Returns the frame and the block in it for an address of a run.
    pub(crate) fn place(&self, run: &Run, block: u64) -> (FrameId, usize) {
        let address = run.first + (block - run.block);
        let origin = self.origins[run.origin as usize];
        let frame = address / FRAME_BLOCKS as u64;
        let within = address % FRAME_BLOCKS as u64;
        // Both fit: decode and the builder keep addresses below 2^36.
        let number = u32::try_from(frame).unwrap_or(u32::MAX);
        (
            FrameId { origin, number },
            usize::try_from(within).unwrap_or(0),
        )
    }

    /// Returns every frame the disk needs, each once, in order of first use.
    pub(crate) fn frames(&self) -> Vec<FrameId> {
        let mut seen = std::collections::HashSet::new();
        let mut frames = Vec::new();
        for run in &self.runs {
            let first = run.first / FRAME_BLOCKS as u64;
            let last = (run.first + run.count - 1) / FRAME_BLOCKS as u64;
            for number in first..=last {
                let id = FrameId {
                    origin: self.origins[run.origin as usize],
                    number: u32::try_from(number).unwrap_or(u32::MAX),
                };
                if seen.insert(id) {
                    frames.push(id);
                }
            }
        }
        frames
    }

    /// Returns the canonical bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.runs.len() * 8);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.size_bytes.to_le_bytes());
        out.extend_from_slice(&self.content_bytes.to_le_bytes());
        out.extend_from_slice(&self.digest.0);
        put_varint(&mut out, self.origins.len() as u64);
        for origin in &self.origins {
            out.extend_from_slice(origin.as_bytes());
        }
        put_varint(&mut out, self.runs.len() as u64);
        let (mut disk_end, mut address_end) = (0_u64, 0_u64);
        for run in &self.runs {
            put_varint(&mut out, run.block - disk_end);
            put_varint(&mut out, run.count);
            put_varint(&mut out, u64::from(run.origin));
            put_varint(&mut out, zigzag(run.first.wrapping_sub(address_end)));
            disk_end = run.block + run.count;
            address_end = run.first + run.count;
        }
        out.push(self.level);
        put_varint(&mut out, self.nodes.len() as u64);
        let mut next = 0;
        for (number, hash) in &self.nodes {
            put_varint(&mut out, number - next);
            out.extend_from_slice(hash);
            next = number + 1;
        }
        out
    }

    /// Reads canonical bytes; anything else is refused.
    pub(crate) fn decode(id: ManifestId, bytes: &[u8]) -> Result<Self> {
        let what = || format!("manifest {id}");
        if *blake3::hash(bytes).as_bytes() != id.0 {
            return Err(BlocksError::damaged(
                what(),
                "its bytes do not match its id",
            ));
        }
        let manifest =
            decode::parse(bytes).map_err(|reason| BlocksError::damaged(what(), reason))?;
        if manifest.encode() != bytes {
            return Err(BlocksError::damaged(what(), "it is not in canonical form"));
        }
        Ok(manifest)
    }
}

pub(crate) fn id_of(bytes: &[u8]) -> ManifestId {
    ManifestId(*blake3::hash(bytes).as_bytes())
}

/// Builds a manifest from blocks in ascending order.
#[derive(Default)]
pub(crate) struct Builder {
    origins: Vec<Uuid>,
    places: HashMap<Uuid, u32>,
    last: Option<(Uuid, u32)>,
    runs: Vec<Run>,
    blocks: u64,
}

impl Builder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one block of the disk.
    pub fn push(&mut self, block: u64, frame: FrameId, within: usize) {
        let first = u64::from(frame.number) * FRAME_BLOCKS as u64 + within as u64;
        self.push_run(block, 1, frame.origin, first);
    }

    /// Adds blocks of the disk that lie one after another from an address of an origin.
    pub fn push_run(&mut self, block: u64, count: u64, origin: Uuid, first: u64) {
        self.blocks += count;
        let origin = self.origin(origin);
        if let Some(run) = self.runs.last_mut()
            && run.block + run.count == block
            && run.origin == origin
            && run.first + run.count == first
        {
            run.count += count;
            return;
        }
        self.runs.push(Run {
            block,
            count,
            origin,
            first,
        });
    }

    fn origin(&mut self, origin: Uuid) -> u32 {
        if let Some((last, place)) = self.last
            && last == origin
        {
            return place;
        }
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(origin).or_insert_with(|| {
            self.origins.push(origin);
            next
        });
        self.last = Some((origin, place));
        place
    }

    pub fn finish(self, size_bytes: u64, level: u32, hasher: ContentHasher) -> Manifest {
        let (digest, nodes) = hasher.finish_with_nodes();
        Manifest {
            size_bytes,
            content_bytes: self.blocks * BLOCK_BYTES as u64,
            digest,
            origins: self.origins,
            runs: self.runs,
            level: u8::try_from(level).unwrap_or(LEVEL_MAX),
            nodes,
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

const fn zigzag(value: u64) -> u64 {
    (value << 1) ^ ((value as i64) >> 63).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree_hash::LEAF_BYTES;

    fn sample() -> Manifest {
        let mut builder = Builder::new();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        builder.push_run(0, 20, a, 0);
        builder.push_run(100, 1, b, 7 * 16 + 3);
        builder.push_run(101, 1, a, 5);
        let mut hasher = ContentHasher::keeping(1 << 30, 2);
        hasher.update(0, &[1; LEAF_BYTES]);
        hasher.update(6, &[1; LEAF_BYTES]);
        builder.finish(1 << 30, 2, hasher)
    }

    #[test]
    fn bytes_are_canonical_and_golden() {
        let manifest = sample();
        let bytes = manifest.encode();
        let id = id_of(&bytes);
        assert_eq!(Manifest::decode(id, &bytes).unwrap(), manifest);
        assert_eq!(manifest.run_count(), 3);
        assert_eq!(id.to_string().parse::<ManifestId>().unwrap(), id);
        // Golden: a change of these bytes is a change of the format and needs a new version.
        assert_eq!(&bytes[..8], b"VTMF\x03\0\0\0");
        assert_eq!(bytes[56], 2, "two origins");
        let runs = [3, 0, 20, 0, 0, 80, 1, 1, 190, 1, 0, 1, 0, 221, 1];
        assert_eq!(bytes[89..104], runs);
        assert_eq!(
            bytes[104..107],
            [2, 2, 0],
            "level 2, two nodes, the first is 0"
        );
        assert_eq!(bytes[139], 0, "the second is 1");
        assert_eq!(
            id.to_string(),
            "4347de8c6e4efcc8e8ce5deeaed96fe3fb87ac832648ada533f0fcd75d40d548"
        );
    }

    #[test]
    fn older_and_newer_versions_are_refused_with_what_to_do() {
        for (version, what) in [
            (
                2,
                "an older Vitrine wrote it; export its images with that one",
            ),
            (4, "a newer Vitrine wrote it; use that one"),
        ] {
            let mut bytes = sample().encode();
            bytes[4] = version;
            let error = Manifest::decode(id_of(&bytes), &bytes).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let bytes = sample().encode();
        let id = id_of(&bytes);
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            assert!(Manifest::decode(id, &bad).is_err());
            // Even with a name of its own it is refused or still canonical, never a panic.
            drop(Manifest::decode(id_of(&bad), &bad));
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(id_of(&bytes[..cut]), &bytes[..cut]).is_err());
        }
    }
}
