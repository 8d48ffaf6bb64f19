//! Writes qcow2, version 3, clusters of 64 KiB. Zero clusters are not written.
//!
//! ```text
//! header | L1 | data and L2 tables as they come | refcount blocks | refcount table
//! ```
//!
//! Nothing is synced: the caller owns the file and decides when it must be durable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{COPIED, FORMAT, MAGIC};
use crate::bytes::index;
use crate::source::{DISK_BYTES_MAX, DiskError, Source};
use crate::walk::for_each_data;

const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
const L2_ENTRIES: u64 = CLUSTER_BYTES / 8;
/// 16-bit refcounts in a cluster.
const REFCOUNTS: u64 = CLUSTER_BYTES / 2;
const HEADER_BYTES: u32 = 112;

/// Writes `source` as qcow2 into `file`, whose old content goes.
pub fn write(source: &dyn Source, file: &File) -> Result<(), DiskError> {
    let size = source.size_bytes();
    if size == 0 || !size.is_multiple_of(512) || size > DISK_BYTES_MAX {
        return Err(DiskError::refused(
            FORMAT,
            format!(
                "a disk of {size} bytes does not fit: multiples of 512 up to {DISK_BYTES_MAX} do"
            ),
        ));
    }
    file.set_len(0)?;
    let guests = size.div_ceil(CLUSTER_BYTES);
    let l1_entries = guests.div_ceil(L2_ENTRIES);
    let mut out = Output {
        file,
        next: 1 + (l1_entries * 8).div_ceil(CLUSTER_BYTES),
        l1: vec![0; index(l1_entries)],
        table: None,
    };
    for_each_data(source, CLUSTER_BYTES, |at, bytes| out.cluster(at, bytes))?;
    out.close_table()?;
    let l1: Vec<u8> = out.l1.iter().flat_map(|e| e.to_be_bytes()).collect();
    let (table_at, table_clusters) = out.refcounts()?;
    let header = header(size, out.l1.len() as u64, table_at, table_clusters)?;
    file.write_all_at(&header, 0)?;
    file.write_all_at(&l1, CLUSTER_BYTES)?;
    Ok(())
}

struct Output<'a> {
    file: &'a File,
    /// First free cluster.
    next: u64,
    l1: Vec<u64>,
    /// The L2 table being filled and its number.
    table: Option<(u64, Vec<u64>)>,
}

impl Output<'_> {
    fn take(&mut self) -> u64 {
        let at = self.next * CLUSTER_BYTES;
        self.next += 1;
        at
    }

    fn cluster(&mut self, guest_at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let guest = guest_at / CLUSTER_BYTES;
        let number = guest / L2_ENTRIES;
        if self.table.as_ref().is_none_or(|(open, _)| *open != number) {
            self.close_table()?;
        }
        let at = self.take();
        self.file.write_all_at(bytes, at)?;
        let (_, table) = self
            .table
            .get_or_insert_with(|| (number, vec![0; index(L2_ENTRIES)]));
        table[index(guest % L2_ENTRIES)] = at | COPIED;
        Ok(())
    }

    fn close_table(&mut self) -> Result<(), DiskError> {
        if let Some((number, table)) = self.table.take() {
            let at = self.take();
            self.l1[index(number)] = at | COPIED;
            let bytes: Vec<u8> = table.iter().flat_map(|e| e.to_be_bytes()).collect();
            self.file.write_all_at(&bytes, at)?;
        }
        Ok(())
    }

    /// Writes a count of one for every cluster, those of the counts included; returns where the
    /// table of refcount blocks lies and its clusters.
    fn refcounts(&mut self) -> Result<(u64, u64), DiskError> {
        let (mut blocks, mut table_clusters) = (1, 1);
        loop {
            let total = self.next + blocks + table_clusters;
            let needed = (
                total.div_ceil(REFCOUNTS),
                (blocks * 8).div_ceil(CLUSTER_BYTES),
            );
            if needed == (blocks, table_clusters) {
                break;
            }
            (blocks, table_clusters) = needed;
        }
        let total = self.next + blocks + table_clusters;
        let blocks_at = self.next * CLUSTER_BYTES;
        for block in 0..blocks {
            let counted = index((total - block * REFCOUNTS).min(REFCOUNTS));
            let mut bytes = vec![0; index(CLUSTER_BYTES)];
            for count in bytes.as_chunks_mut::<2>().0.iter_mut().take(counted) {
                *count = 1_u16.to_be_bytes();
            }
            self.file
                .write_all_at(&bytes, blocks_at + block * CLUSTER_BYTES)?;
        }
        let table_at = blocks_at + blocks * CLUSTER_BYTES;
        let mut table = vec![0; index(table_clusters * CLUSTER_BYTES)];
        for (block, entry) in (0..blocks).zip(table.as_chunks_mut::<8>().0) {
            *entry = (blocks_at + block * CLUSTER_BYTES).to_be_bytes();
        }
        // The last cluster of the file: written whole, so that the file ends on a cluster.
        self.file.write_all_at(&table, table_at)?;
        self.next = total;
        Ok((table_at, table_clusters))
    }
}

fn header(
    size: u64,
    l1_entries: u64,
    refcounts_at: u64,
    refcount_clusters: u64,
) -> Result<[u8; 112], DiskError> {
    let short = |n: u64| {
        u32::try_from(n)
            .map(u32::to_be_bytes)
            .map_err(|_| DiskError::refused(FORMAT, "the disk is too large"))
    };
    let mut out = [0; HEADER_BYTES as usize];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&3_u32.to_be_bytes());
    out[20..24].copy_from_slice(&CLUSTER_BITS.to_be_bytes());
    out[24..32].copy_from_slice(&size.to_be_bytes());
    out[36..40].copy_from_slice(&short(l1_entries)?);
    out[40..48].copy_from_slice(&CLUSTER_BYTES.to_be_bytes());
    out[48..56].copy_from_slice(&refcounts_at.to_be_bytes());
    out[56..60].copy_from_slice(&short(refcount_clusters)?);
    // 16 bits a refcount: 2^4.
    out[96..100].copy_from_slice(&4_u32.to_be_bytes());
    out[100..104].copy_from_slice(&HEADER_BYTES.to_be_bytes());
    Ok(out)
}
