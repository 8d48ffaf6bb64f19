//! The log (MS-VHDX 2.3): finds the active sequence and replays it into memory.

use super::header::Log;
use super::overlay::{Change, Overlay, PAGE_BYTES};
use super::{FORMAT, guid_at};
use crate::bytes::{fetch_vec, index, le32, le64};
use crate::crc32c::without_own;
use crate::source::{DISK_BYTES_MAX, DiskError, Source};

const ENTRY_HEADER_BYTES: usize = 64;
const DESCRIPTOR_BYTES: usize = 32;
/// Bytes summed before the log counts as made to waste time, in log lengths.
const SUMMED_LOGS_MAX: u64 = 8;
/// Nothing in a file lies behind this.
const FILE_BYTES_MAX: u64 = 2 * DISK_BYTES_MAX;

/// A valid entry.
#[derive(Clone, Debug)]
struct Entry {
    at: u64,
    /// All its bytes in one piece, also where the log wraps.
    bytes: Vec<u8>,
}

impl Entry {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn tail(&self) -> u64 {
        u64::from(le32(&self.bytes, 12))
    }

    fn sequence(&self) -> u64 {
        le64(&self.bytes, 16)
    }

    fn descriptors(&self) -> impl Iterator<Item = &[u8]> {
        let count = index(u64::from(le32(&self.bytes, 24)));
        let end = ENTRY_HEADER_BYTES + count * DESCRIPTOR_BYTES;
        self.bytes[ENTRY_HEADER_BYTES..end].chunks(DESCRIPTOR_BYTES)
    }

    /// Returns where the first data sector lies in the entry.
    fn data_at(&self) -> usize {
        let count = index(u64::from(le32(&self.bytes, 24)));
        (ENTRY_HEADER_BYTES + count * DESCRIPTOR_BYTES).next_multiple_of(index(PAGE_BYTES))
    }
}

struct LogBytes {
    bytes: Vec<u8>,
    guid: [u8; 16],
    /// Bytes that may still be summed.
    budget: u64,
}

impl LogBytes {
    /// Returns the entry at an offset of the log, if there is a valid one.
    fn entry_at(&mut self, at: u64) -> Result<Option<Entry>, DiskError> {
        let total = self.bytes.len() as u64;
        let header = &self.bytes[index(at)..index(at) + ENTRY_HEADER_BYTES];
        let length = u64::from(le32(header, 8));
        let descriptors = u64::from(le32(header, 24));
        if header[..4] != *b"loge"
            || guid_at(header, 32) != self.guid
            || length == 0
            || length > total
            || !length.is_multiple_of(PAGE_BYTES)
            || !le32(header, 12).is_multiple_of(4096)
            || u64::from(le32(header, 12)) >= total
            || le64(header, 16) == 0
            || descriptors * DESCRIPTOR_BYTES as u64 + ENTRY_HEADER_BYTES as u64 > length
        {
            return Ok(None);
        }
        self.budget = self.budget.checked_sub(length).ok_or_else(|| {
            DiskError::refused(FORMAT, "its log has too many entries that overlap")
        })?;
        let mut bytes = Vec::with_capacity(index(length));
        let until_end = (total - at).min(length);
        bytes.extend_from_slice(&self.bytes[index(at)..index(at + until_end)]);
        bytes.extend_from_slice(&self.bytes[..index(length - until_end)]);
        let entry = Entry { at, bytes };
        let is_valid = le32(&entry.bytes, 4) == without_own(&entry.bytes, 4) && is_whole(&entry);
        Ok(is_valid.then_some(entry))
    }

    /// Follows entries from `at` on as long as each is the successor of the one before.
    fn chain(&mut self, at: u64) -> Result<Vec<Entry>, DiskError> {
        let (total, mut used) = (self.bytes.len() as u64, 0);
        let mut chain: Vec<Entry> = Vec::new();
        let mut next = at;
        while let Some(entry) = self.entry_at(next)? {
            let follows = chain
                .last()
                .is_none_or(|last| last.sequence().checked_add(1) == Some(entry.sequence()));
            if !follows || used + entry.length() > total {
                break;
            }
            used += entry.length();
            next = (next + entry.length()) % total;
            chain.push(entry);
        }
        Ok(chain)
    }
}

/// Whether descriptors and data sectors belong to the entry and fill it as they should.
fn is_whole(entry: &Entry) -> bool {
    let page = index(PAGE_BYTES);
    let mut data = entry.data_at();
    for descriptor in entry.descriptors() {
        let at = le64(descriptor, 16);
        let end = match descriptor[..4] {
            [b'z', b'e', b'r', b'o'] => {
                let length = le64(descriptor, 8);
                if !length.is_multiple_of(PAGE_BYTES) {
                    return false;
                }
                at.checked_add(length)
            }
            [b'd', b'e', b's', b'c'] => {
                let Some(sector) = entry.bytes.get(data..data + page) else {
                    return false;
                };
                let sequence = u64::from(le32(sector, 4)) << 32 | u64::from(le32(sector, 4092));
                if sector[..4] != *b"data" || sequence != entry.sequence() {
                    return false;
                }
                data += page;
                at.checked_add(PAGE_BYTES)
            }
            _ => return false,
        };
        if le64(descriptor, 24) != entry.sequence()
            || !at.is_multiple_of(PAGE_BYTES)
            || end.is_none_or(|end| end > FILE_BYTES_MAX)
        {
            return false;
        }
    }
    true
}

/// Finds the active sequence: of all chains whose last entry names one of them as its tail, the
/// one with the greatest sequence number (MS-VHDX 2.3.2).
fn active(log: &mut LogBytes) -> Result<Vec<Entry>, DiskError> {
    let total = log.bytes.len() as u64;
    let mut best: Vec<Entry> = Vec::new();
    let mut at = 0;
    while at < total {
        let mut chain = log.chain(at)?;
        // Entries inside this chain cannot begin a better one; behind a wrap the walk ends.
        let span = chain.iter().map(Entry::length).sum::<u64>();
        at += span.max(PAGE_BYTES);
        let tail = chain.last().map(Entry::tail);
        let Some(first) = chain.iter().position(|e| Some(e.at) == tail) else {
            continue;
        };
        chain.drain(..first);
        let newest = |chain: &[Entry]| chain.last().map_or(0, Entry::sequence);
        if newest(&chain) > newest(&best) {
            best = chain;
        }
    }
    Ok(best)
}

/// Replays the log over the file.
pub(super) fn replay<S: Source>(overlay: &mut Overlay<S>, log: &Log) -> Result<(), DiskError> {
    let length = index(log.region.length);
    let bytes = fetch_vec(overlay, FORMAT, "the log", log.region.at, length)?;
    let mut log = LogBytes {
        bytes,
        guid: log.guid,
        budget: log.region.length * SUMMED_LOGS_MAX,
    };
    let entries = active(&mut log)?;
    let Some(last) = entries.last() else {
        return Err(DiskError::malformed(
            FORMAT,
            "its log should be replayed, but has no valid entries",
        ));
    };
    let (flushed, end) = (le64(&last.bytes, 48), le64(&last.bytes, 56));
    if overlay.size_bytes() < flushed {
        return Err(DiskError::malformed(
            FORMAT,
            format!("it is cut: its log knows of {flushed} bytes"),
        ));
    }
    if end > FILE_BYTES_MAX {
        return Err(DiskError::malformed(
            FORMAT,
            format!("its log ends the file at {end}"),
        ));
    }
    for entry in &entries {
        let mut data = entry.data_at();
        for descriptor in entry.descriptors() {
            let at = le64(descriptor, 16);
            if descriptor.starts_with(b"zero") {
                let length = le64(descriptor, 8);
                if length > 0 {
                    overlay.put(at, Change::ZeroTo(at + length));
                }
                continue;
            }
            let sector = &entry.bytes[data..data + index(PAGE_BYTES)];
            // The first eight and the last four bytes lie in the descriptor.
            let page = [&descriptor[8..16], &sector[8..4092], &descriptor[4..8]].concat();
            overlay.put(at, Change::Page(page));
            data += index(PAGE_BYTES);
        }
    }
    overlay.grow(end);
    Ok(())
}
