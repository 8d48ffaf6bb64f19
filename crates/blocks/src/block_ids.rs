//! The identities of many blocks at once.
//!
//! BLAKE3 hashes chunks of 1 KiB side by side, as many as the processor has lanes for: sixteen with
//! AVX-512, eight with AVX2. One block has four. So blocks are hashed in groups: the first chunks of
//! all, the second ones, and so on, then the two levels of their trees. The result is BLAKE3's own.

use blake3::IncrementCounter;
use blake3::platform::Platform;

use crate::BLOCK_BYTES;
use crate::frame::BlockId;

const CHUNK_BYTES: usize = 1024;
const CHUNKS: usize = BLOCK_BYTES / CHUNK_BYTES;
const HASH_BYTES: usize = 32;
const PARENT_BYTES: usize = 2 * HASH_BYTES;
/// Blocks hashed side by side: the most lanes that any processor has.
const GROUP: usize = 16;

// The flags of the BLAKE3 paper, table 3.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED: u8 = 1 << 4;

/// Returns the identities of the blocks of a frame in this installation.
pub(crate) fn ids_in(key: &[u8; 32], raw: &[u8]) -> Vec<BlockId> {
    let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks().0.iter().collect();
    block_ids(key, &blocks)
}

/// Returns the identities of whole blocks under the installation's key, in their order.
pub(crate) fn block_ids(key: &[u8; 32], blocks: &[&[u8; BLOCK_BYTES]]) -> Vec<BlockId> {
    let platform = Platform::detect();
    let mut words = [0_u32; 8];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mut ids = Vec::with_capacity(blocks.len());
    for group in blocks.chunks(GROUP) {
        hash_group(platform, &words, group, &mut ids);
    }
    ids
}

fn hash_group(
    platform: Platform,
    key: &[u32; 8],
    group: &[&[u8; BLOCK_BYTES]],
    ids: &mut Vec<BlockId>,
) {
    let count = group.len();
    // Hashes of a block's chunks lie one after another, as its parents need them.
    let mut chunks = [[0_u8; CHUNKS * HASH_BYTES]; GROUP];
    let mut out = [0_u8; GROUP * HASH_BYTES];
    for number in 0..CHUNKS {
        let inputs = group
            .iter()
            .map(|block| &block.as_chunks::<CHUNK_BYTES>().0[number]);
        let counter = number as u64;
        let hash = |inputs: &[&[u8; CHUNK_BYTES]], out: &mut [u8]| {
            let (no, flags) = (IncrementCounter::No, (KEYED, CHUNK_START, CHUNK_END));
            platform.hash_many(inputs, key, counter, no, flags.0, flags.1, flags.2, out);
        };
        side_by_side(inputs, &mut out, hash);
        let hashes = out.as_chunks::<HASH_BYTES>().0;
        for (block, hash) in chunks.iter_mut().zip(&hashes[..count]) {
            block[number * HASH_BYTES..][..HASH_BYTES].copy_from_slice(hash);
        }
    }
    let parents = |inputs: &[&[u8; PARENT_BYTES]], flags: u8, out: &mut [u8]| {
        platform.hash_many(inputs, key, 0, IncrementCounter::No, flags, 0, 0, out);
    };
    let mut nodes = [0_u8; 2 * GROUP * HASH_BYTES];
    let pairs = chunks[..count]
        .iter()
        .flat_map(|block| block.as_chunks::<PARENT_BYTES>().0);
    let pairs: Vec<&[u8; PARENT_BYTES]> = pairs.collect();
    parents(&pairs, KEYED | PARENT, &mut nodes);
    let roots = nodes.as_chunks::<PARENT_BYTES>().0[..count].iter();
    side_by_side(roots, &mut out, |inputs, out| {
        parents(inputs, KEYED | PARENT | ROOT, out)
    });
    ids.extend(out.as_chunks::<HASH_BYTES>().0[..count].iter().map(id_of));
}

/// Gathers up to `GROUP` inputs without an allocation.
fn side_by_side<'a, const N: usize>(
    inputs: impl Iterator<Item = &'a [u8; N]>,
    out: &mut [u8],
    hash: impl FnOnce(&[&[u8; N]], &mut [u8]),
) {
    let mut gathered = [&[0_u8; N]; GROUP];
    let mut count = 0;
    for (place, input) in gathered.iter_mut().zip(inputs) {
        *place = input;
        count += 1;
    }
    hash(&gathered[..count], out);
}

fn id_of(hash: &[u8; HASH_BYTES]) -> BlockId {
    let mut first = [0_u8; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_those_of_blake3_however_many_are_hashed_at_once() {
        let key = *blake3::hash(b"an installation").as_bytes();
        let mut raw = vec![0_u8; 37 * BLOCK_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut raw);
        raw[5 * BLOCK_BYTES..6 * BLOCK_BYTES].fill(0);
        let one = |block: &[u8]| {
            let hash = blake3::keyed_hash(&key, block);
            u128::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
        };
        let alone: Vec<BlockId> = raw.chunks(BLOCK_BYTES).map(one).collect();
        for count in 0..=37 {
            let raw = &raw[..count * BLOCK_BYTES];
            assert_eq!(ids_in(&key, raw), alone[..count], "{count} blocks");
        }
    }
}
