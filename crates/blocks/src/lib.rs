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

mod cache;
mod copy;
mod error;
mod frame;
mod index;
mod ingest;
mod layer;
mod layer_data;
mod manifest;
mod pack;
mod reader;
mod storage;
mod store;
mod sweep;
mod tree_hash;
mod verify;

pub use copy::Copied;
pub use error::{BlocksError, Kind};
pub use ingest::{Ingested, Progress};
pub use layer::{Layer, LayerId};
pub use manifest::{Manifest, ManifestId};
pub use reader::Reader;
pub use store::{Location, Stat, Store, StoreOptions};
pub use sweep::{SweepPlan, Swept};
pub use tree_hash::{ContentHasher, Digest, LEAF_BYTES};
pub use verify::{Fault, Scrubbed};

/// The unit of deduplication, in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Blocks of a full frame.
pub const FRAME_BLOCKS: usize = 16;
/// The largest disk, in bytes.
pub const DISK_BYTES_MAX: u64 = 64 << 40;
