//! Where a store lies and how it is opened.

use std::fmt;
use std::path::PathBuf;

use crate::cache::FrameCache;
use crate::remote::MemoryLocation;

/// Decompressed frames kept in memory by default.
const CACHE_BYTES: usize = 64 << 20;
/// Memory of the deduplication index by default: every block of 3 GiB, a sample beyond.
const INDEX_BYTES: usize = 32 << 20;
/// zstd level of new frames: the highest that costs no more than a tenth over 3 (decisions, 5).
const LEVEL: i32 = 4;

/// Where the packs and manifests of a store lie.
#[derive(Clone)]
pub enum Location {
    /// A directory of this machine; one process at a time works on it.
    Directory(PathBuf),
    /// An object store: `s3://bucket/prefix` or `az://container/prefix`.
    Remote {
        /// Bucket or container, and the prefix of every name.
        url: String,
        /// Options of the `object_store` crate, over those of the environment.
        options: Vec<(String, String)>,
    },
    /// An object store in memory, for tests and trials.
    Memory(MemoryLocation),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            // The options hold credentials.
            Self::Remote { url, .. } => f.debug_tuple("Remote").field(url).finish(),
            Self::Memory(_) => f.write_str("Memory"),
        }
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where packs and manifests lie.
    pub location: Location,
    /// Where this node keeps its writable layers.
    pub local: PathBuf,
    /// The installation's key: block identities mean nothing outside.
    pub key: [u8; 32],
    /// Bytes of decompressed frames kept in memory, when there is no `cache`.
    pub cache_bytes_max: usize,
    /// A cache of frames that stores of one installation share.
    pub cache: Option<FrameCache>,
    /// Bytes of the deduplication index kept in memory.
    pub index_bytes_max: usize,
    /// zstd level of new frames.
    pub level: i32,
    /// Who of the installation an object store is for: a place that is for another is refused.
    pub owner: Option<String>,
}

impl StoreOptions {
    /// Returns the usual options.
    pub fn new(location: Location, local: PathBuf, key: [u8; 32]) -> Self {
        Self {
            location,
            local,
            key,
            cache_bytes_max: CACHE_BYTES,
            cache: None,
            index_bytes_max: INDEX_BYTES,
            level: LEVEL,
            owner: None,
        }
    }
}
