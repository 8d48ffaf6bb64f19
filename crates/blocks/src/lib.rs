//! The content-addressed block store of a region.
//!
//! ```text
//! disk ──ingest──▶ blocks of 4 KiB ──new ones──▶ frames of 64 KiB ──▶ packs   (immutable)
//!                        └──all──▶ extents ─────────────────────────▶ manifest (immutable)
//! layer = manifest + what was written since ──freeze──▶ manifest
//! ```
//!
//! A manifest names frames by where they were made (pack, number), so it is the same bytes and has
//! the same id in every region; each store keeps its own map from frames to places. The index from
//! block identities to frames is a cache: losing it costs space, never correctness. Nothing refers
//! to what is not durable: pack data, sync, table, sync, rename, then the manifest. Every frame is
//! checked against its digest when it is read. The formats are in `docs/block-store-format.md`.

mod assembly;
mod block_hash;
mod cache;
mod condense;
mod connect;
mod copy;
#[cfg(test)]
mod crash;
mod error;
mod export;
mod files;
mod finder;
mod frame;
mod frames;
#[cfg(any(test, feature = "simulation"))]
pub mod fuzzing;
mod gate;
mod hooks;
mod index;
mod ingest;
mod inner;
mod layer;
mod location;
mod manifest;
pub mod nbd;
mod objects;
mod pack;
mod packs;
mod parts;
mod pipeline;
mod progress;
mod read_ahead;
mod reader;
mod remote;
mod repair;
mod scrub;
mod segment;
mod shares;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod store;
mod sweep;
mod tree_hash;
mod verify;

pub use cache::FrameCache;
pub use condense::{CondenseLimits, Condensed};
pub use copy::Copied;
pub use error::{BlocksError, Kind};
pub use ingest::Ingested;
pub use layer::trouble::Trouble;
pub use layer::{Layer, LayerId};
pub use location::{Location, StoreOptions};
pub use manifest::{Manifest, ManifestId};
pub use progress::Progress;
pub use reader::Reader;
pub use remote::MemoryLocation;
pub use repair::Repaired;
pub use scrub::{ScrubLimits, Scrubbed};
pub use shares::{Share, Shares};
pub use store::{Stat, Store};
pub use sweep::{SweepPlan, Swept};
pub use tree_hash::{ContentHasher, Digest, LEAF_BYTES};
pub use verify::Fault;

/// The unit of deduplication, in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Blocks of a full frame.
pub const FRAME_BLOCKS: usize = 16;
/// The largest disk, in bytes.
pub const DISK_BYTES_MAX: u64 = 64 << 40;
