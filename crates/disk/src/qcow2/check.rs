//! The walk over all tables before a disk is opened.

use super::FORMAT;
use super::entry::{Cluster, decode, l2_offset};
use super::header::Header;
use crate::bytes::{be64, fetch_vec, index};
use crate::source::{DiskError, Source};

/// Host clusters that a bitmap is kept for: 128 MiB of it. 64 TiB in clusters of 64 KiB.
const HOST_CLUSTERS_MAX: u64 = 1 << 30;
/// Packed guest clusters a host cluster may hold: a little above what deflate reaches (1032:1).
const PACKED_RATIO_MAX: u64 = 2048;

/// A set of host clusters. Its pages are zero until touched, so it costs what it holds.
struct Clusters(Vec<u64>);

impl Clusters {
    fn new(clusters: u64) -> Self {
        Self(vec![0; index(clusters.div_ceil(64))])
    }

    fn has(&self, cluster: u64) -> bool {
        self.0[index(cluster / 64)] >> (cluster % 64) & 1 != 0
    }

    /// Adds a cluster; tells whether it is new.
    fn add(&mut self, cluster: u64) -> bool {
        let is_new = !self.has(cluster);
        self.0[index(cluster / 64)] |= 1 << (cluster % 64);
        is_new
    }
}

/// What the file's clusters are used for.
struct Usage {
    file_bytes: u64,
    cluster_bits: u32,
    /// One owner each: header, L1, L2 tables, data.
    owned: Clusters,
    /// Shared by packed clusters.
    packed: Clusters,
    packed_hosts: u64,
    packed_guests: u64,
}

impl Usage {
    fn own(&mut self, what: &str, at: u64) -> Result<(), DiskError> {
        if at >= self.file_bytes {
            return Err(outside(what, at));
        }
        let cluster = at >> self.cluster_bits;
        if self.packed.has(cluster) || !self.owned.add(cluster) {
            return Err(overlap(what, at));
        }
        Ok(())
    }

    fn pack(&mut self, at: u64, length: u64) -> Result<(), DiskError> {
        let what = "a compressed cluster";
        if at >= self.file_bytes {
            return Err(outside(what, at));
        }
        let last = (at + length).min(self.file_bytes) - 1;
        for cluster in at >> self.cluster_bits..=last >> self.cluster_bits {
            if self.owned.has(cluster) {
                return Err(overlap(what, at));
            }
            self.packed_hosts += u64::from(self.packed.add(cluster));
        }
        self.packed_guests += 1;
        Ok(())
    }
}

fn outside(what: &str, at: u64) -> DiskError {
    DiskError::malformed(FORMAT, format!("{what} at {at} lies outside the file"))
}

fn overlap(what: &str, at: u64) -> DiskError {
    DiskError::malformed(FORMAT, format!("{what} at {at} overlaps something else"))
}

/// Walks every table that the disk needs. Afterwards no entry can be wrong, unless the file changes.
pub(super) fn check(file: &dyn Source, header: &Header, l1: &[u64]) -> Result<(), DiskError> {
    let clusters = file.size_bytes().div_ceil(header.cluster_bytes());
    if clusters > HOST_CLUSTERS_MAX {
        return Err(DiskError::refused(
            FORMAT,
            format!("{clusters} clusters are too many; use larger clusters"),
        ));
    }
    let mut usage = Usage {
        file_bytes: file.size_bytes(),
        cluster_bits: header.cluster_bits,
        owned: Clusters::new(clusters),
        packed: Clusters::new(clusters),
        packed_hosts: 0,
        packed_guests: 0,
    };
    usage.own("the header", 0)?;
    for at in 0..(l1.len() as u64 * 8).div_ceil(header.cluster_bytes()) {
        usage.own("the L1 table", header.l1_at + at * header.cluster_bytes())?;
    }
    for entry in l1 {
        let at = l2_offset(*entry, header)?;
        if at != 0 {
            usage.own("an L2 table", at)?;
        }
    }
    let guests = header.size.div_ceil(header.cluster_bytes());
    for (number, entry) in (0_u64..).zip(l1) {
        let at = l2_offset(*entry, header)?;
        if at == 0 {
            continue;
        }
        let needed = (guests - number * header.l2_entries()).min(header.l2_entries());
        let length = index(header.cluster_bytes());
        let table = fetch_vec(file, FORMAT, "an L2 table", at, length)?;
        for entry in table.as_chunks::<8>().0.iter().take(index(needed)) {
            match decode(be64(entry, 0), header)? {
                Cluster::Zero => {}
                Cluster::Data(at) => usage.own("a cluster", at)?,
                Cluster::Packed { at, length } => usage.pack(at, length)?,
            }
        }
    }
    if usage.packed_guests > usage.packed_hosts.saturating_mul(PACKED_RATIO_MAX) {
        return Err(DiskError::refused(
            FORMAT,
            format!(
                "{} compressed clusters share too few bytes",
                usage.packed_guests
            ),
        ));
    }
    Ok(())
}
