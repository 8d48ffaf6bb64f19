//! Ingest: from a disk to packs and a manifest.
//!
//! A disk may have a base: a manifest whose blocks stand wherever `touched` does not say otherwise.
//! They are taken over without being read, and so are the nodes of its hash tree: a freeze costs
//! what was written, rounded out to 256 KiB for the hash.

use std::sync::Arc;

use disk::{ExtentKind, Source};

use crate::assembly::Assembly;
use crate::error::{BlocksError, Result};
use crate::inner::Inner;
use crate::manifest::{Manifest, ManifestId};
use crate::pipeline;
use crate::progress::Progress;
use crate::tree_hash::{Digest, is_below_node, node_bytes, node_level};
use crate::{BLOCK_BYTES, DISK_BYTES_MAX};

/// Bytes that a worker reads at once: whole leaves of the hash tree.
const CHUNK_BYTES: u64 = 1 << 20;
/// A base's nodes are finer than a disk of the new size would have them by at most this factor, as
/// a power of two; beyond, they are made anew.
const LEVELS_FINER_MAX: u32 = 4;

/// A stored disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Its name in every region.
    pub manifest: ManifestId,
    /// The digest of its raw content.
    pub content: Digest,
    /// Its virtual size.
    pub size_bytes: u64,
    /// Bytes that are not zero, in whole blocks.
    pub content_bytes: u64,
    /// Bytes that the store did not have.
    pub new_bytes: u64,
    /// Bytes that the new ones take.
    pub stored_bytes: u64,
}

/// A range of bytes: first, end.
pub(crate) type Span = (u64, u64);

/// Stores a disk that has no base.
pub(crate) fn disk(
    store: &Arc<Inner>,
    source: &dyn Source,
    progress: &Progress,
) -> Result<Ingested> {
    let size = source.size_bytes();
    let mut touched = Vec::new();
    let mut at = 0;
    while at < size {
        let extent = source.extent_at(at)?;
        if extent.length == 0 {
            return Err(BlocksError::Invalid {
                reason: "the source has an extent without length".to_owned(),
            });
        }
        let end = at.saturating_add(extent.length).min(size);
        if extent.kind == ExtentKind::Data {
            touched.push((at, end));
        }
        at = end;
    }
    with_base(store, source, size, None, &touched, progress)
}

/// Stores a disk of `size` bytes; outside `touched` (ascending) it is its base.
pub(crate) fn with_base(
    store: &Arc<Inner>,
    source: &dyn Source,
    size: u64,
    base: Option<&Manifest>,
    touched: &[Span],
    progress: &Progress,
) -> Result<Ingested> {
    if size > DISK_BYTES_MAX {
        return Err(BlocksError::Invalid {
            reason: format!("a disk can have at most {DISK_BYTES_MAX} bytes"),
        });
    }
    let _held = store.gate.enter();
    store.catch_up()?;
    store.index.hook_all(&store.objects);
    let level = match base {
        Some(base) if node_level(size) <= base.node_level() + LEVELS_FINER_MAX => base.node_level(),
        _ => node_level(size),
    };
    let chunks = chunks(&hashed_anew(touched, size, base, level));
    let touched = widen(touched.iter().copied(), BLOCK_BYTES as u64, u64::MAX);
    progress.set_total(chunks.iter().map(|(from, to)| to - from).sum());
    let assembly = Assembly::new(store, size, base, level, &touched);
    let done = pipeline::run(store, source, &chunks, assembly, progress)?;
    let id = store.put_manifest(&done.manifest)?;
    Ok(Ingested {
        manifest: id,
        content: done.manifest.content_digest(),
        size_bytes: size,
        content_bytes: done.manifest.content_bytes(),
        new_bytes: done.new_bytes,
        stored_bytes: done.stored_bytes,
    })
}

/// Returns the ranges whose content has to be read and hashed: what was touched, and what the nodes
/// of the base do not cover.
fn hashed_anew(touched: &[Span], size: u64, base: Option<&Manifest>, level: u32) -> Vec<Span> {
    let Some(base) = base else {
        return widen(touched.iter().copied(), node_bytes(0), size);
    };
    if level != base.node_level() || is_below_node(size, level) {
        return vec![(0, size)];
    }
    // A node over the place where the base is cut off knows more than the disk has.
    let cut = size / node_bytes(level) * node_bytes(level);
    let is_cut = size < base.size_bytes() && cut < size;
    let cut = is_cut.then_some((cut, size));
    widen(touched.iter().copied().chain(cut), node_bytes(level), size)
}

/// Rounds ascending ranges out to whole units and joins those that meet.
fn widen(ranges: impl Iterator<Item = Span>, unit: u64, size: u64) -> Vec<Span> {
    let mut sorted: Vec<Span> = ranges.collect();
    sorted.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for (from, to) in sorted {
        let from = from / unit * unit;
        let to = to.div_ceil(unit).saturating_mul(unit).min(size);
        if from >= to {
            continue;
        }
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn chunks(ranges: &[Span]) -> Vec<Span> {
    let mut chunks = Vec::new();
    for (from, to) in ranges {
        let mut at = *from;
        while at < *to {
            let end = (at / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES).min(*to);
            chunks.push((at, end));
            at = end;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_rounded_out_joined_and_cut() {
        let mib = 1 << 20;
        let table: [(&[Span], u64, u64, &[Span]); 5] = [
            (&[], 4096, mib, &[]),
            (&[(1, 2), (4095, 4097)], 4096, mib, &[(0, 8192)]),
            (
                &[(8192, 9000), (0, 1)],
                4096,
                mib,
                &[(0, 4096), (8192, 12288)],
            ),
            (
                &[(mib - 1, mib)],
                65536,
                mib - 512,
                &[(mib - 65536, mib - 512)],
            ),
            (&[(mib, mib + 5)], 65536, mib, &[]),
        ];
        for (ranges, unit, size, wide) in table {
            assert_eq!(widen(ranges.iter().copied(), unit, size), wide);
        }
        assert_eq!(
            chunks(&[(65536, 2 * mib + 1)]),
            [(65536, mib), (mib, 2 * mib), (2 * mib, 2 * mib + 1)]
        );
    }
}
