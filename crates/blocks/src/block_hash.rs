//! The one hash of content: blocks are hashed once, and all that content is known by is made from it.
//!
//! ```text
//! block ──public key──▶ hash of the block ──key of the installation──▶ its identity
//!                                   └── of sixteen blocks ──▶ a leaf of the content's tree (`tree_hash`)
//! ```
//!
//! BLAKE3 hashes chunks of 1 KiB side by side, as many as the processor has lanes for: sixteen with
//! AVX-512, eight with AVX2. One block has four. So blocks are hashed in groups: the first chunks of
//! all, the second ones, and so on, then the two levels of their trees; identities and leaves, one
//! chunk each, in the same way. The results are BLAKE3's own.

use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::Platform;

use crate::BLOCK_BYTES;
use crate::frame::{self, BlockId};

const BLOCK_CONTEXT: &str = "vitrine 2026-11 content block v2";
const LEAF_CONTEXT: &str = "vitrine 2026-11 content leaf v2";

const CHUNK_BYTES: usize = 1024;
const CHUNKS: usize = BLOCK_BYTES / CHUNK_BYTES;
const HASH_BYTES: usize = 32;
const PARENT_BYTES: usize = 2 * HASH_BYTES;
/// Blocks of a leaf of the content's tree: 64 KiB.
pub(crate) const LEAF_BLOCKS: usize = 16;
/// What an identity is the hash of: a block's, then zeroes. Whole blocks of BLAKE3 go side by side.
const NAMED_BYTES: usize = 64;
/// Inputs hashed side by side: the most lanes that any processor has.
const GROUP: usize = 16;

// The flags of the BLAKE3 paper, table 3.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED: u8 = 1 << 4;

/// A BLAKE3 hash.
pub(crate) type Hash = [u8; HASH_BYTES];

/// The public keys, and what a block of zeroes hashes to.
struct Public {
    block: [u32; 8],
    leaf: [u32; 8],
    zero: Hash,
}

static PUBLIC: LazyLock<Public> = LazyLock::new(|| {
    let block = blake3::derive_key(BLOCK_CONTEXT, &[]);
    Public {
        block: words(&block),
        leaf: words(&blake3::derive_key(LEAF_CONTEXT, &[])),
        zero: *blake3::keyed_hash(&block, &[0; BLOCK_BYTES]).as_bytes(),
    }
});

/// A run of content, hashed.
pub(crate) struct Hashed {
    /// One a block; `None` for zero.
    blocks: Vec<Option<Hash>>,
}

impl Hashed {
    /// Hashes content that begins with a leaf or a frame; a short last block is filled up with zeroes.
    pub fn of(raw: &[u8]) -> Self {
        let (whole, rest) = raw.as_chunks::<BLOCK_BYTES>();
        let mut last = [0_u8; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&last);
        let mut blocks = vec![None; whole.len() + usize::from(last.is_some())];
        let (mut places, data): (Vec<_>, Vec<_>) = blocks
            .iter_mut()
            .zip(whole.iter().chain(last))
            .filter(|(_, block)| !frame::is_zero(*block))
            .unzip();
        let (platform, key) = (Platform::detect(), &PUBLIC.block);
        let mut hashes = Vec::with_capacity(data.len());
        for group in data.chunks(GROUP) {
            hash_group(platform, key, group, &mut hashes);
        }
        for (place, hash) in places.iter_mut().zip(hashes) {
            **place = Some(hash);
        }
        Self { blocks }
    }

    /// Returns the identities of the blocks in an installation, one a block; `None` for zero.
    pub fn ids(&self, key: &[u8; 32]) -> Vec<Option<BlockId>> {
        let mut ids = identities(key, self.blocks.iter().flatten()).into_iter();
        let next = |block: &Option<Hash>| block.and_then(|_| ids.next());
        self.blocks.iter().map(next).collect()
    }

    /// Returns the leaves of the content's tree, the last one filled up with zeroes; `None` for zero.
    pub fn leaves(&self) -> Vec<Option<Hash>> {
        let is_data = |leaf: &[Option<Hash>]| leaf.iter().any(Option::is_some);
        let leaves = self.blocks.chunks(LEAF_BLOCKS);
        let joined = leaves.clone().filter(|leaf| is_data(leaf)).map(|leaf| {
            let mut joined = [PUBLIC.zero; LEAF_BLOCKS];
            for (place, hash) in joined.iter_mut().zip(leaf) {
                *place = hash.unwrap_or(PUBLIC.zero);
            }
            joined
        });
        let mut hashes = leaf_hashes(&joined.collect::<Vec<_>>()).into_iter();
        let next = |leaf| is_data(leaf).then(|| hashes.next()).flatten();
        leaves.map(next).collect()
    }
}

/// Returns the identities of the blocks of a frame in this installation.
pub(crate) fn ids_in(key: &[u8; 32], raw: &[u8]) -> Vec<BlockId> {
    let hashed = Hashed::of(raw);
    let blocks = hashed.blocks.iter();
    identities(
        key,
        blocks.map(|block| block.as_ref().unwrap_or(&PUBLIC.zero)),
    )
}

/// Returns the leaf over blocks of zeroes.
pub(crate) fn zero_leaf() -> Hash {
    leaf_hashes(&[[PUBLIC.zero; LEAF_BLOCKS]])[0]
}

fn leaf_hashes(leaves: &[[Hash; LEAF_BLOCKS]]) -> Vec<Hash> {
    let joined = leaves.iter().map(|leaf| leaf.as_flattened());
    let joined: Vec<&[u8; LEAF_BLOCKS * HASH_BYTES]> =
        joined.filter_map(|leaf| leaf.try_into().ok()).collect();
    keyed_hashes(&PUBLIC.leaf, &joined)
}

fn identities<'a>(key: &[u8; 32], hashes: impl Iterator<Item = &'a Hash>) -> Vec<BlockId> {
    let named: Vec<[u8; NAMED_BYTES]> = hashes
        .map(|hash| {
            let mut named = [0; NAMED_BYTES];
            named[..HASH_BYTES].copy_from_slice(hash);
            named
        })
        .collect();
    let named: Vec<&[u8; NAMED_BYTES]> = named.iter().collect();
    keyed_hashes(&words(key), &named)
        .iter()
        .map(id_of)
        .collect()
}

/// Hashes inputs of whole 64 bytes, of at most one chunk, each for itself.
fn keyed_hashes<const N: usize>(key: &[u32; 8], inputs: &[&[u8; N]]) -> Vec<Hash> {
    const { assert!(N.is_multiple_of(64) && N <= CHUNK_BYTES) };
    let platform = Platform::detect();
    let mut hashes = vec![[0; HASH_BYTES]; inputs.len()];
    for (inputs, out) in inputs.chunks(GROUP).zip(hashes.chunks_mut(GROUP)) {
        let (no, end) = (IncrementCounter::No, CHUNK_END | ROOT);
        let out = out.as_flattened_mut();
        platform.hash_many(inputs, key, 0, no, KEYED, CHUNK_START, end, out);
    }
    hashes
}

/// Hashes up to `GROUP` blocks.
fn hash_group(
    platform: Platform,
    key: &[u32; 8],
    group: &[&[u8; BLOCK_BYTES]],
    hashes: &mut Vec<Hash>,
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
    hashes.extend_from_slice(&out.as_chunks::<HASH_BYTES>().0[..count]);
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

fn words(key: &[u8; 32]) -> [u32; 8] {
    let mut words = [0_u32; 8];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

fn id_of(hash: &Hash) -> BlockId {
    let mut first = [0_u8; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 37 blocks, of which some are zero, so that leaves are whole, mixed and short.
    fn content() -> Vec<u8> {
        let mut raw = vec![0_u8; 37 * BLOCK_BYTES];
        blake3::Hasher::new().finalize_xof().fill(&mut raw);
        raw[5 * BLOCK_BYTES..6 * BLOCK_BYTES].fill(0);
        raw[16 * BLOCK_BYTES..32 * BLOCK_BYTES].fill(0);
        raw
    }

    /// As the format page says it, by the plain hash.
    fn block_hash(block: &[u8]) -> blake3::Hash {
        let key = blake3::derive_key("vitrine 2026-11 content block v2", &[]);
        blake3::keyed_hash(&key, block)
    }

    #[test]
    fn identities_are_those_of_blake3_however_many_are_hashed_at_once() {
        let key = *blake3::hash(b"an installation").as_bytes();
        let raw = content();
        let one = |block: &[u8]| {
            let named = [block_hash(block).as_bytes(), &[0_u8; 32][..]].concat();
            let hash = blake3::keyed_hash(&key, &named);
            u128::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
        };
        let alone: Vec<BlockId> = raw.chunks(BLOCK_BYTES).map(one).collect();
        for count in 0..=37 {
            let raw = &raw[..count * BLOCK_BYTES];
            assert_eq!(ids_in(&key, raw), alone[..count], "{count} blocks");
            let ids = Hashed::of(raw).ids(&key);
            for (n, id) in ids.iter().enumerate() {
                let is_zero = n == 5 || (16..32).contains(&n);
                assert_eq!(*id, (!is_zero).then_some(alone[n]), "{n} of {count}");
            }
        }
        let other = *blake3::hash(b"another installation").as_bytes();
        assert_ne!(ids_in(&other, &raw[..BLOCK_BYTES])[0], alone[0]);
        // Golden: another number is another format, and needs a new version of packs.
        assert_eq!(
            alone[0],
            256_628_479_001_056_646_879_123_191_582_759_498_170
        );
    }

    #[test]
    fn leaves_are_those_of_blake3_over_the_hashes_of_sixteen_blocks() {
        let key = blake3::derive_key("vitrine 2026-11 content leaf v2", &[]);
        let raw = content();
        // The last block is cut short: what is missing of it and of the leaf is zero.
        let raw = &raw[..36 * BLOCK_BYTES + 1234];
        let mut padded = raw.to_vec();
        padded.resize(48 * BLOCK_BYTES, 0);
        let leaf = |bytes: &[u8]| {
            let mut hasher = blake3::Hasher::new_keyed(&key);
            for block in bytes.chunks(BLOCK_BYTES) {
                hasher.update(block_hash(block).as_bytes());
            }
            *hasher.finalize().as_bytes()
        };
        let mut alone: Vec<_> = padded.chunks(LEAF_BLOCKS * BLOCK_BYTES).map(leaf).collect();
        assert_eq!(alone[1], zero_leaf());
        let leaves = Hashed::of(raw).leaves();
        assert_eq!(leaves, [Some(alone[0]), None, Some(alone[2])]);
        // Many of them too.
        let many = padded.repeat(7);
        alone = alone.repeat(7);
        let leaves = Hashed::of(&many).leaves();
        let leaves = leaves.iter().map(|leaf| leaf.unwrap_or(zero_leaf()));
        assert_eq!(leaves.collect::<Vec<_>>(), alone);
    }
}
