//! The digest of a disk's content: a Merkle tree in which holes are free.
//!
//! Leaves are 64 KiB of content (the last one may be shorter) hashed with BLAKE3; a node is BLAKE3
//! of its two children under a key of its own; the digest binds the size. BLAKE3's own tree cannot
//! be used: it hashes the position into every chunk, so an empty TiB would have to be hashed.
//!
//! A manifest keeps the nodes of one level, so that a freeze hashes only what was written: nodes
//! over what was not are taken over as they are.

use std::fmt;

/// Bytes of one leaf.
pub const LEAF_BYTES: usize = 64 << 10;

const NODE_CONTEXT: &str = "vitrine 2026-11 content node v1";
const ROOT_CONTEXT: &str = "vitrine 2026-11 content root v1";
const LEAF_CONTEXT: &str = "vitrine 2026-11 content leaf v1";

type Hash = [u8; 32];

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
    keys: Keys,
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

#[derive(Clone, Copy)]
struct Keys {
    leaf: Hash,
    node: Hash,
}

impl ContentHasher {
    /// Returns the hasher of a disk of this size.
    pub fn new(size_bytes: u64) -> Self {
        let keys = Keys {
            leaf: context_key(LEAF_CONTEXT),
            node: context_key(NODE_CONTEXT),
        };
        let mut zero = vec![leaf_hash(&keys, &[0; LEAF_BYTES])];
        for level in 0..63 {
            let below: Hash = zero[level];
            zero.push(node_hash(&keys, &below, &below));
        }
        Self {
            size_bytes,
            leaves: size_bytes.div_ceil(LEAF_BYTES as u64),
            keys,
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

    /// Returns the hash of one leaf; a short last leaf is filled with zeroes.
    pub fn leaf(&self, bytes: &[u8]) -> [u8; 32] {
        if bytes.len() == LEAF_BYTES {
            return leaf_hash(&self.keys, bytes);
        }
        let mut padded = vec![0_u8; LEAF_BYTES];
        padded[..bytes.len()].copy_from_slice(bytes);
        leaf_hash(&self.keys, &padded)
    }

    /// Adds a leaf; leaves between the last one and this are zero.
    pub fn push(&mut self, number: u64, hash: [u8; 32]) {
        self.fill_to(number);
        self.add(0, hash);
    }

    /// Adds a node with all the leaves below it.
    pub(crate) fn push_node(&mut self, level: u32, number: u64, hash: [u8; 32]) {
        self.fill_to(number << level);
        self.add(level, hash);
    }

    /// Returns the digest; leaves that were not added are zero.
    pub fn finish(self) -> Digest {
        self.finish_with_nodes().0
    }

    /// Returns the digest and the kept nodes that are not zero.
    pub(crate) fn finish_with_nodes(mut self) -> (Digest, Vec<(u64, [u8; 32])>) {
        // The tree is filled up with zeroes to a power of two; the size keeps disks apart.
        let width = self.leaves.max(1).next_power_of_two();
        self.fill_to(width);
        let root = self.stack.first().map_or(self.zero[0], |(_, hash)| *hash);
        if let Some(kept) = self.kept.filter(|kept| *kept > width.trailing_zeros()) {
            // The whole disk is smaller than what a kept node stands for.
            let levels = width.trailing_zeros()..kept;
            let hash = levels.fold(root, |hash, level| {
                node_hash(&self.keys, &hash, &self.zero[level as usize])
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
            hash = node_hash(&self.keys, &left, &hash);
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

fn context_key(context: &str) -> Hash {
    blake3::derive_key(context, &[])
}

fn leaf_hash(keys: &Keys, bytes: &[u8]) -> Hash {
    *blake3::keyed_hash(&keys.leaf, bytes).as_bytes()
}

fn node_hash(keys: &Keys, left: &Hash, right: &Hash) -> Hash {
    let mut both = [0_u8; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    *blake3::keyed_hash(&keys.node, &both).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(size: u64, leaves: &[(u64, u8)]) -> Digest {
        let mut hasher = ContentHasher::new(size);
        for (number, byte) in leaves {
            let hash = hasher.leaf(&[*byte; LEAF_BYTES]);
            hasher.push(*number, hash);
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

    #[test]
    fn kept_nodes_stand_for_their_leaves() {
        let size = 21 * LEAF_BYTES as u64;
        let mut whole = ContentHasher::keeping(size, 2);
        for number in [0, 1, 2, 3, 5, 9, 20] {
            let hash = whole.leaf(&[7; LEAF_BYTES]);
            whole.push(number, hash);
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
        let hash = small.leaf(&[7; LEAF_BYTES]);
        small.push(1, hash);
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
