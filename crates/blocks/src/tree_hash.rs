//! The digest of a disk's content: a Merkle tree in which holes are free.
//!
//! A leaf is BLAKE3 of the hashes of sixteen blocks, 64 KiB of content (`block_hash`; the last one is
//! filled up with zeroes); a node is BLAKE3 of its two children, each under a key of its own; the
//! digest binds the size. BLAKE3's own tree cannot be used: it hashes the position into every chunk,
//! so an empty TiB would have to be hashed.
//!
//! A manifest keeps the nodes of one level, so that a freeze hashes only what was written: nodes
//! over what was not are taken over as they are.

use std::fmt;

use crate::BLOCK_BYTES;
use crate::block_hash::{Hash, Hashed, LEAF_BLOCKS, zero_leaf};

/// Bytes of one leaf.
pub const LEAF_BYTES: usize = LEAF_BLOCKS * BLOCK_BYTES;

const NODE_CONTEXT: &str = "vitrine 2026-11 content node v2";
const ROOT_CONTEXT: &str = "vitrine 2026-11 content root v2";

/// The digest of raw content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects leaves in ascending order; what is left out is zero.
pub struct ContentHasher {
    size_bytes: u64,
    leaves: u64,
    node: Hash,
    zero: Vec<Hash>,
    stack: Vec<(u32, Hash)>,
    next: u64,
    /// The level whose nodes are kept, and those that are not zero.
    kept: Option<u32>,
    nodes: Vec<(u64, Hash)>,
}

/// Leaves below a kept node, as a power of two: 256 KiB of content at least.
const NODE_LEVEL_MIN: u32 = 2;
/// Kept nodes of a full disk, as a power of two: 512 KiB of hashes at most.
const NODES_MAX_LOG: u32 = 14;

/// Returns the level whose nodes a disk of this size keeps.
pub(crate) fn node_level(size_bytes: u64) -> u32 {
    let leaves = size_bytes.div_ceil(LEAF_BYTES as u64);
    let bits = u64::BITS - leaves.saturating_sub(1).leading_zeros();
    bits.saturating_sub(NODES_MAX_LOG).max(NODE_LEVEL_MIN)
}

/// Whether a disk is smaller than what a node of this level stands for: its digest is made of leaves.
pub(crate) const fn is_below_node(size_bytes: u64, level: u32) -> bool {
    size_bytes.div_ceil(LEAF_BYTES as u64).next_power_of_two() < 1 << level
}

/// Returns the bytes of content below a node of this level.
pub(crate) const fn node_bytes(level: u32) -> u64 {
    (LEAF_BYTES as u64) << level
}

impl ContentHasher {
    /// Returns the hasher of a disk of this size.
    pub fn new(size_bytes: u64) -> Self {
        let node = blake3::derive_key(NODE_CONTEXT, &[]);
        let mut zero = vec![zero_leaf()];
        for level in 0..63 {
            let below: Hash = zero[level];
            zero.push(node_hash(&node, &below, &below));
        }
        Self {
            size_bytes,
            leaves: size_bytes.div_ceil(LEAF_BYTES as u64),
            node,
            zero,
            stack: Vec::new(),
            next: 0,
            kept: None,
            nodes: Vec::new(),
        }
    }

    /// Returns the hasher of a disk that keeps the nodes of one level.
    pub(crate) fn keeping(size_bytes: u64, level: u32) -> Self {
        Self {
            kept: Some(level),
            ..Self::new(size_bytes)
        }
    }

    /// Adds content from the beginning of a leaf on, of many leaves at best; content between the last
    /// one and this is zero, and so is what the last leaf lacks.
    pub fn update(&mut self, first_leaf: u64, bytes: &[u8]) {
        self.push(first_leaf, &Hashed::of(bytes).leaves());
    }

    /// Adds leaves, of which some may be zero.
    pub(crate) fn push(&mut self, first: u64, leaves: &[Option<Hash>]) {
        for (number, hash) in (first..).zip(leaves) {
            if let Some(hash) = hash {
                self.fill_to(number);
                self.add(0, *hash);
            }
        }
    }

    /// Adds a node with all the leaves below it.
    pub(crate) fn push_node(&mut self, level: u32, number: u64, hash: Hash) {
        self.fill_to(number << level);
        self.add(level, hash);
    }

    /// Returns the digest; leaves that were not added are zero.
    pub fn finish(self) -> Digest {
        self.finish_with_nodes().0
    }

    /// Returns the digest and the kept nodes that are not zero.
    pub(crate) fn finish_with_nodes(mut self) -> (Digest, Vec<(u64, Hash)>) {
        // The tree is filled up with zeroes to a power of two; the size keeps disks apart.
        let width = self.leaves.max(1).next_power_of_two();
        self.fill_to(width);
        let root = self.stack.first().map_or(self.zero[0], |(_, hash)| *hash);
        if let Some(kept) = self.kept.filter(|kept| *kept > width.trailing_zeros()) {
            // The whole disk is smaller than what a kept node stands for.
            let levels = width.trailing_zeros()..kept;
            let hash = levels.fold(root, |hash, level| {
                node_hash(&self.node, &hash, &self.zero[level as usize])
            });
            if hash != self.zero[kept as usize] {
                self.nodes.push((0, hash));
            }
        }
        let mut hasher = blake3::Hasher::new_derive_key(ROOT_CONTEXT);
        hasher.update(&self.size_bytes.to_le_bytes()).update(&root);
        (Digest(*hasher.finalize().as_bytes()), self.nodes)
    }

    /// Adds zero subtrees as large as their place allows.
    fn fill_to(&mut self, number: u64) {
        while self.next < number {
            let aligned = if self.next == 0 {
                63
            } else {
                self.next.trailing_zeros()
            };
            let fits = (number - self.next).ilog2();
            let level = aligned.min(fits);
            self.add(level, self.zero[level as usize]);
        }
    }

    fn add(&mut self, level: u32, hash: Hash) {
        self.next += 1 << level;
        let (mut level, mut hash) = (level, hash);
        self.keep(level, hash);
        while let Some((below, left)) = self.stack.last().copied() {
            if below != level {
                break;
            }
            self.stack.pop();
            hash = node_hash(&self.node, &left, &hash);
            level += 1;
            self.keep(level, hash);
        }
        self.stack.push((level, hash));
    }

    fn keep(&mut self, level: u32, hash: Hash) {
        if self.kept == Some(level) && hash != self.zero[level as usize] {
            self.nodes.push(((self.next - 1) >> level, hash));
        }
    }
}

fn node_hash(key: &Hash, left: &Hash, right: &Hash) -> Hash {
    let mut both = [0_u8; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    *blake3::keyed_hash(key, &both).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(size: u64, leaves: &[(u64, u8)]) -> Digest {
        let mut hasher = ContentHasher::new(size);
        for (number, byte) in leaves {
            hasher.update(*number, &[*byte; LEAF_BYTES]);
        }
        hasher.finish()
    }

    #[test]
    fn a_leaf_of_zeroes_is_the_same_as_a_hole() {
        let size = 9 * LEAF_BYTES as u64;
        assert_eq!(
            digest(size, &[(1, 7), (2, 0), (8, 9)]),
            digest(size, &[(1, 7), (8, 9)])
        );
        assert_ne!(digest(size, &[(1, 7)]), digest(size, &[(2, 7)]));
        assert_ne!(digest(size, &[]), digest(size + 512, &[]));
    }

    /// As the format page says it, by the plain hash and without a thought of zeroes.
    fn plain(content: &[u8]) -> String {
        let key =
            |what: &str| blake3::derive_key(&format!("vitrine 2026-11 content {what} v2"), &[]);
        let hash = |what: &str, bytes: &[u8]| *blake3::keyed_hash(&key(what), bytes).as_bytes();
        let leaves = content.len().div_ceil(LEAF_BYTES).max(1);
        let mut padded = content.to_vec();
        padded.resize(leaves.next_power_of_two() * LEAF_BYTES, 0);
        let leaf = |leaf: &[u8]| {
            let blocks = leaf.chunks(BLOCK_BYTES).map(|block| hash("block", block));
            hash("leaf", &blocks.collect::<Vec<_>>().concat())
        };
        let mut level: Vec<Hash> = padded.chunks(LEAF_BYTES).map(leaf).collect();
        while level.len() > 1 {
            let pairs = level.chunks(2);
            level = pairs.map(|pair| hash("node", &pair.concat())).collect();
        }
        let sized = [&(content.len() as u64).to_le_bytes()[..], &level[0]].concat();
        let mut root = blake3::Hasher::new_derive_key("vitrine 2026-11 content root v2");
        root.update(&sized).finalize().to_string()
    }

    #[test]
    fn the_digest_is_the_one_of_the_format_page() {
        let mut content = vec![0_u8; 11 * LEAF_BYTES + 1536];
        blake3::Hasher::new().finalize_xof().fill(&mut content);
        content[LEAF_BYTES + 5 * BLOCK_BYTES..7 * LEAF_BYTES].fill(0);
        for size in [
            0,
            512,
            BLOCK_BYTES,
            LEAF_BYTES,
            3 * LEAF_BYTES + 512,
            content.len(),
        ] {
            let content = &content[..size];
            let mut hasher = ContentHasher::new(size as u64);
            hasher.update(0, content);
            assert_eq!(hasher.finish().to_string(), plain(content), "{size} bytes");
        }
        // Golden: another digest is another format, and needs a new version of manifests.
        let golden = "7980267c30d6eeee8317bbd31c70915d91a5e1d966e7d8f6c72ff5006eea853e";
        assert_eq!(plain(&content), golden);
    }

    #[test]
    fn kept_nodes_stand_for_their_leaves() {
        let size = 21 * LEAF_BYTES as u64;
        let mut whole = ContentHasher::keeping(size, 2);
        for number in [0, 1, 2, 3, 5, 9, 20] {
            whole.update(number, &[7; LEAF_BYTES]);
        }
        let (digest, nodes) = whole.finish_with_nodes();
        assert_eq!(
            nodes.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            [0, 1, 2, 5]
        );
        let mut again = ContentHasher::keeping(size, 2);
        for (number, hash) in &nodes {
            again.push_node(2, *number, *hash);
        }
        assert_eq!(again.finish_with_nodes(), (digest, nodes));
    }

    #[test]
    fn a_disk_smaller_than_a_kept_node_has_one_all_the_same() {
        let mut small = ContentHasher::keeping(2 * LEAF_BYTES as u64, 2);
        small.update(1, &[7; LEAF_BYTES]);
        let (_, nodes) = small.finish_with_nodes();
        let size = 8 * LEAF_BYTES as u64;
        let mut grown = ContentHasher::new(size);
        grown.push_node(2, nodes[0].0, nodes[0].1);
        assert_eq!(grown.finish(), digest(size, &[(1, 7)]));
    }

    #[test]
    fn an_empty_disk_of_64_tib_is_hashed_at_once() {
        assert_ne!(digest(64 << 40, &[]), digest(64 << 40, &[(1 << 29, 1)]));
    }
}
