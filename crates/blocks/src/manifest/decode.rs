//! Reading the canonical bytes of a manifest; whatever else they are is refused.

use uuid::Uuid;

use super::{LEVEL_MAX, MAGIC, Manifest, Run, VERSION};
use crate::error::other_version;
use crate::tree_hash::Digest;
use crate::{BLOCK_BYTES, DISK_BYTES_MAX};

/// Reads bytes whose digest was checked; an error says what is wrong with them.
pub(super) fn parse(bytes: &[u8]) -> Decoded<Manifest> {
    Decoder { bytes, at: 0 }.manifest()
}

const fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Decoded<T> = std::result::Result<T, &'static str>;

impl Decoder<'_> {
    fn manifest(mut self) -> Decoded<Manifest> {
        if self.array::<4>()? != *MAGIC {
            return Err("it is no manifest");
        }
        let version = u32::from_le_bytes(self.array()?);
        if version != VERSION {
            return Err(other_version(version, VERSION));
        }
        let size_bytes = u64::from_le_bytes(self.array()?);
        let content_bytes = u64::from_le_bytes(self.array()?);
        let digest = Digest(self.array()?);
        if size_bytes > DISK_BYTES_MAX {
            return Err("its disk is too large");
        }
        let mut origins = Vec::new();
        for _ in 0..self.count(16)? {
            origins.push(Uuid::from_bytes(self.array()?));
        }
        let blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
        let runs = self.runs(blocks, origins.len())?;
        if runs.iter().map(|run| run.count).sum::<u64>() * BLOCK_BYTES as u64 != content_bytes {
            return Err("its content is not the sum of its runs");
        }
        let [level] = self.array()?;
        if level > LEVEL_MAX {
            return Err("its level of nodes is out of range");
        }
        let nodes = self.nodes()?;
        if self.at != self.bytes.len() {
            return Err("it has bytes behind its end");
        }
        Ok(Manifest {
            size_bytes,
            content_bytes,
            digest,
            origins,
            runs,
            level,
            nodes,
        })
    }

    fn nodes(&mut self) -> Decoded<Vec<(u64, [u8; 32])>> {
        let mut nodes = Vec::new();
        let mut next = 0_u64;
        for _ in 0..self.count(33)? {
            let number = next.checked_add(self.varint()?).filter(|n| *n < 1 << 50);
            let number = number.ok_or("a node is out of range")?;
            nodes.push((number, self.array()?));
            next = number + 1;
        }
        Ok(nodes)
    }

    fn runs(&mut self, blocks: u64, origins: usize) -> Decoded<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut origins_seen = 0;
        let (mut disk_end, mut address_end) = (0_u64, 0_u64);
        for _ in 0..self.count(4)? {
            let block = disk_end
                .checked_add(self.varint()?)
                .ok_or("a run is out of range")?;
            let count = self.varint()?;
            let origin = u32::try_from(self.varint()?).map_err(|_| "an origin is out of range")?;
            let first = address_end.wrapping_add(unzigzag(self.varint()?));
            disk_end = block.checked_add(count).ok_or("a run is out of range")?;
            address_end = first
                .checked_add(count)
                .ok_or("an address is out of range")?;
            if count == 0
                || disk_end > blocks
                || origin as usize >= origins
                || address_end > 1 << 36
            {
                return Err("a run is out of range");
            }
            // Canonical: origins in the order of their first use, runs as long as they can be.
            let continues = runs.last().is_some_and(|last| {
                last.block + last.count == block
                    && last.origin == origin
                    && last.first + last.count == first
            });
            if origin > origins_seen || continues {
                return Err("it is not in canonical form");
            }
            origins_seen = origins_seen.max(origin + 1);
            runs.push(Run {
                block,
                count,
                origin,
                first,
            });
        }
        if origins_seen as usize != origins {
            return Err("an origin is not used");
        }
        Ok(runs)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let end = self.at.checked_add(N).ok_or("it is cut short")?;
        let bytes = self.bytes.get(self.at..end).ok_or("it is cut short")?;
        self.at = end;
        bytes.try_into().map_err(|_| "it is cut short")
    }

    /// Reads a count of items that take at least `item_bytes` each.
    fn count(&mut self, item_bytes: usize) -> Decoded<usize> {
        let count = usize::try_from(self.varint()?).map_err(|_| "a count is out of range")?;
        if count > (self.bytes.len() - self.at) / item_bytes {
            return Err("a count is out of range");
        }
        Ok(count)
    }

    fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f)
                .checked_shl(shift)
                .ok_or("a number is too long")?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }
}
