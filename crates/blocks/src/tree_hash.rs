//! The digest of a disk's content: a Merkle tree in which holes are free.
//!
//! Leaves are 64 KiB of content (the last one may be shorter) hashed with BLAKE3; a node is BLAKE3
//! of its two children under a key of its own; the digest binds the size. BLAKE3's own tree cannot
//! be used: it hashes the position into every chunk, so an empty TiB would have to be hashed.

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

    /// Returns the digest; leaves that were not added are zero.
    pub fn finish(mut self) -> Digest {
        // The tree is filled up with zeroes to a power of two; the size keeps disks apart.
        let width = self.leaves.max(1).next_power_of_two();
        self.fill_to(width);
        let root = self.stack.first().map_or(self.zero[0], |(_, hash)| *hash);
        let mut hasher = blake3::Hasher::new_derive_key(ROOT_CONTEXT);
        hasher.update(&self.size_bytes.to_le_bytes()).update(&root);
        Digest(*hasher.finalize().as_bytes())
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
        while let Some((below, left)) = self.stack.last().copied() {
            if below != level {
                break;
            }
            self.stack.pop();
            hash = node_hash(&self.keys, &left, &hash);
            level += 1;
        }
        self.stack.push((level, hash));
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
    fn an_empty_disk_of_64_tib_is_hashed_at_once() {
        assert_ne!(digest(64 << 40, &[]), digest(64 << 40, &[(1 << 29, 1)]));
    }
}
