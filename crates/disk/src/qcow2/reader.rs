//! The disk inside a qcow2 file.

use std::sync::Arc;

use super::FORMAT;
use super::check::check;
use super::entry::{Cluster, decode, l2_offset};
use super::header::{Compression, Header};
use crate::bytes::{be64, fetch_vec, index, read_padded};
use crate::cache::PieceCache;
use crate::decompress::{Deflate, inflate, unzstd};
use crate::source::{DiskError, Extent, ExtentKind, Source, check_range};

const TABLES_BYTES_MAX: usize = 4 << 20;
const UNPACKED_BYTES_MAX: usize = 1 << 20;

/// The disk inside a qcow2 file.
pub struct Qcow2<S> {
    inner: S,
    header: Header,
    l1: Vec<u64>,
    tables: PieceCache,
    unpacked: PieceCache,
}

impl<S: Source> Qcow2<S> {
    /// Checks the header and all tables and opens the disk.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let header = Header::load(&inner)?;
        let l1 = header.load_l1(&inner)?;
        check(&inner, &header, &l1)?;
        let cluster = index(header.cluster_bytes());
        Ok(Self {
            inner,
            header,
            l1,
            tables: PieceCache::new(cluster, TABLES_BYTES_MAX),
            unpacked: PieceCache::new(cluster, UNPACKED_BYTES_MAX),
        })
    }

    /// Returns the L2 table number `number`, if the file has it.
    fn table(&self, number: u64) -> Result<Option<Arc<[u8]>>, DiskError> {
        match l2_offset(self.l1[index(number)], &self.header)? {
            0 => Ok(None),
            at => {
                let length = index(self.header.cluster_bytes());
                let load = || fetch_vec(&self.inner, FORMAT, "an L2 table", at, length);
                self.tables.get(at, load).map(Some)
            }
        }
    }

    /// Returns where guest cluster `number` is, given its table.
    fn place(&self, table: Option<&[u8]>, number: u64) -> Result<Cluster, DiskError> {
        let Some(table) = table else {
            return Ok(Cluster::Zero);
        };
        let entry = be64(table, index(number % self.header.l2_entries()) * 8);
        decode(entry, &self.header)
    }

    fn unpack(&self, at: u64, length: u64) -> Result<Arc<[u8]>, DiskError> {
        self.unpacked.get(at, || {
            let length = length.min(self.inner.size_bytes().saturating_sub(at));
            let packed = fetch_vec(
                &self.inner,
                FORMAT,
                "a compressed cluster",
                at,
                index(length),
            )?;
            let mut out = vec![0; index(self.header.cluster_bytes())];
            let is_whole = match self.header.compression {
                Compression::Deflate => {
                    inflate(&packed, &mut out, Deflate::Bare) == Some(out.len())
                }
                Compression::Zstd => unzstd(&packed, &mut out).is_some(),
            };
            if !is_whole {
                return Err(DiskError::malformed(
                    FORMAT,
                    format!("the compressed cluster at {at} does not unpack to a cluster"),
                ));
            }
            Ok(out)
        })
    }

    /// Reads from one place at most as far as the file goes on without a gap; returns the length.
    fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, DiskError> {
        let cluster = self.header.cluster_bytes();
        let (number, within) = (at / cluster, at % cluster);
        let table_number = number / self.header.l2_entries();
        let table = self.table(table_number)?;
        let first = self.place(table.as_deref(), number)?;
        let mut length = cluster - within;
        let mut next = number + 1;
        while length < buf.len() as u64 && next / self.header.l2_entries() == table_number {
            let follows = match (first, self.place(table.as_deref(), next)?) {
                (Cluster::Zero, Cluster::Zero) => true,
                (Cluster::Data(from), Cluster::Data(here)) => {
                    here == from + (next - number) * cluster
                }
                _ => false,
            };
            if !follows {
                break;
            }
            length += cluster;
            next += 1;
        }
        let length = buf.len().min(index(length));
        let buf = &mut buf[..length];
        match first {
            Cluster::Zero => buf.fill(0),
            // The file may end inside its last cluster.
            Cluster::Data(from) => read_padded(&self.inner, from + within, buf)?,
            Cluster::Packed { at, length } => {
                let bytes = self.unpack(at, length)?;
                let from = index(within);
                buf.copy_from_slice(&bytes[from..from + buf.len()]);
            }
        }
        Ok(length)
    }
}

impl<S: Source> Source for Qcow2<S> {
    fn size_bytes(&self) -> u64 {
        self.header.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.header.size)?;
        let mut done = 0;
        while done < buf.len() {
            done += self.read_some(offset + done as u64, &mut buf[done..])?;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.header.size)?;
        let cluster = self.header.cluster_bytes();
        let guests = self.header.size.div_ceil(cluster);
        let first = offset / cluster;
        let mut is_zero = None;
        let mut next = first;
        'tables: while next < guests {
            let table = self.table(next / self.header.l2_entries())?;
            let table_end = (next + 1).next_multiple_of(self.header.l2_entries());
            if table.is_none() && is_zero != Some(false) {
                is_zero = Some(true);
                next = table_end;
                continue;
            }
            while next < table_end.min(guests) {
                let here = self.place(table.as_deref(), next)? == Cluster::Zero;
                if is_zero.is_some_and(|before| before != here) {
                    break 'tables;
                }
                is_zero = Some(here);
                next += 1;
            }
        }
        let end = (next * cluster).min(self.header.size);
        Ok(Extent {
            offset,
            length: end - offset,
            kind: if is_zero == Some(true) {
                ExtentKind::Zero
            } else {
                ExtentKind::Data
            },
        })
    }
}
