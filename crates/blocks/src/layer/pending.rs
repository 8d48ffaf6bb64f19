//! Changes of a layer's map that are not flushed: they survive the process, not the machine.
//!
//! A client that was told "written" may go on after this process was killed and started again, so the
//! map has to know the block even without a flush. Its bytes and these records lie in the page cache,
//! which outlives the process. It does not outlive the machine: then neither is certain, and one
//! without the other would be worse than none. So a file says in which boot of the kernel it was
//! written and counts only in that one.
//!
//! ```text
//! header    "VTLP" version:u32 boot:[16] generation:u64 crc32 of those:u32
//! record    kind:u8 start:u64 end:u64 crc32 of boot, generation, the record's number and those:u32
//! ```
//!
//! A flush begins a new file before it looks, and takes the older ones away when their changes are
//! durable, the oldest first: replaying what is in the journal already, all of it and in order, changes
//! nothing. A record that does not fit ends its file: whoever wrote it was killed before it said so.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::files::{self, Files, OpenFile};
use crate::inner::Local;
use crate::layer::LayerId;
use crate::layer::map::{Change, RECORD_BYTES};

const MAGIC: &[u8; 4] = b"VTLP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 36;
const ENTRY_BYTES: usize = RECORD_BYTES + 4;

/// The changes of one layer that are not flushed.
pub(crate) struct Pending {
    files: Arc<dyn Files>,
    directory: PathBuf,
    id: LayerId,
    boot: [u8; 16],
    /// The first file that may be there, and the one that is written next.
    oldest: u64,
    generation: u64,
    open: Option<(Arc<dyn OpenFile>, u64)>,
}

impl Pending {
    /// Returns the changes that were not flushed when the last process ended, in their order.
    pub fn load(local: &Local, id: LayerId) -> Result<(Self, Vec<Change>)> {
        let mut pending = Self {
            files: local.files.clone(),
            directory: local.directory.clone(),
            id,
            boot: local.files.boot(),
            oldest: 0,
            generation: 0,
            open: None,
        };
        let mut generations = pending.generations()?;
        generations.sort_unstable();
        let mut changes = Vec::new();
        for generation in &generations {
            let path = pending.path(*generation);
            let bytes = files::read_whole(local.files.as_ref(), &path)?.unwrap_or_default();
            changes.extend(parse(&pending.boot, *generation, &bytes));
        }
        pending.oldest = generations.first().copied().unwrap_or(0);
        pending.generation = generations.last().map_or(0, |last| last + 1);
        Ok((pending, changes))
    }

    /// Removes what a layer of this id left behind.
    pub fn clear(local: &Local, id: LayerId) -> Result<()> {
        Self::load(local, id)?.0.remove_all();
        Ok(())
    }

    /// Returns the layer that a file name belongs to.
    pub fn layer_of(name: &str) -> Option<&str> {
        name.split_once(".pending.").map(|(id, _)| id)
    }

    fn generations(&self) -> Result<Vec<u64>> {
        let prefix = format!("{}.pending.", self.id);
        let names = self.files.list(&self.directory)?;
        let generation = |(name, _): &(String, u64)| name.strip_prefix(&prefix)?.parse().ok();
        Ok(names.iter().filter_map(generation).collect())
    }

    fn path(&self, generation: u64) -> PathBuf {
        let name = format!("{}.pending.{generation}", self.id);
        self.directory.join(name)
    }

    /// Appends a change; from then on it outlives the process.
    pub fn append(&mut self, change: Change) -> Result<()> {
        let path = self.path(self.generation);
        let (file, number) = match &mut self.open {
            Some(open) => open,
            none => {
                // An attempt that failed may have left it.
                files::remove_if_there(self.files.as_ref(), &path)?;
                let file = self.files.create(&path)?;
                file.write_at(&header(&self.boot, self.generation), 0)?;
                none.insert((file, 0))
            }
        };
        let at = HEADER_BYTES as u64 + *number * ENTRY_BYTES as u64;
        file.write_at(&entry(&self.boot, self.generation, *number, change), at)?;
        *number += 1;
        Ok(())
    }

    /// Ends the file that is written; returns the number up to which all changes so far are in.
    pub fn cut(&mut self) -> u64 {
        self.open = None;
        self.generation += 1;
        self.generation - 1
    }

    /// Takes away files up to a number: their changes are durable. One that cannot be taken away
    /// keeps the later ones, because it must not be replayed without them.
    pub fn forget(&mut self, upto: u64) {
        while self.oldest <= upto {
            let path = self.path(self.oldest);
            if let Err(error) = files::remove_if_there(self.files.as_ref(), &path) {
                tracing::warn!(layer.id = %self.id, %error, "flushed changes are kept");
                return;
            }
            self.oldest += 1;
        }
    }

    /// Takes all away, the newest first: nobody knows any more what the storage holds, or nobody wants it.
    pub fn remove_all(&mut self) {
        let upto = self.cut();
        for generation in (self.oldest..=upto).rev() {
            let path = self.path(generation);
            if let Err(error) = files::remove_if_there(self.files.as_ref(), &path) {
                tracing::error!(layer.id = %self.id, %error, "changes that may be lost are kept");
                return;
            }
        }
        self.oldest = self.generation;
    }
}

fn header(boot: &[u8; 16], generation: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(boot);
    out.extend_from_slice(&generation.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn entry(boot: &[u8; 16], generation: u64, number: u64, change: Change) -> Vec<u8> {
    let mut out = change.encode().to_vec();
    out.extend_from_slice(&seal(boot, generation, number, &out).to_le_bytes());
    out
}

fn seal(boot: &[u8; 16], generation: u64, number: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(boot);
    hasher.update(&generation.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(record);
    hasher.finalize()
}

/// Returns the changes of a file that was written in this boot.
fn parse(boot: &[u8; 16], generation: u64, bytes: &[u8]) -> Vec<Change> {
    let Some(entries) = bytes.strip_prefix(header(boot, generation).as_slice()) else {
        return Vec::new();
    };
    let change = |(number, entry): (u64, &[u8])| {
        let (record, crc) = entry.split_first_chunk::<RECORD_BYTES>()?;
        let is_whole = seal(boot, generation, number, record).to_le_bytes() == crc;
        is_whole.then(|| Change::decode(*record)).flatten()
    };
    (0..)
        .zip(entries.chunks_exact(ENTRY_BYTES))
        .map_while(change)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_in_its_boot_and_up_to_the_first_record_that_does_not_fit() {
        let (boot, changes) = (
            [7; 16],
            [Change::Data(1, 5), Change::Zero(2, 3), Change::Size(99)],
        );
        let mut bytes = header(&boot, 4);
        for (number, change) in (0..).zip(changes) {
            bytes.extend(entry(&boot, 4, number, change));
        }
        assert_eq!(parse(&boot, 4, &bytes), changes);
        assert_eq!(parse(&[8; 16], 4, &bytes), [], "another boot");
        assert_eq!(parse(&boot, 5, &bytes), [], "another file");
        for cut in 0..bytes.len() {
            let known = cut.saturating_sub(HEADER_BYTES) / ENTRY_BYTES;
            assert_eq!(
                parse(&boot, 4, &bytes[..cut]),
                changes[..known],
                "cut at {cut}"
            );
        }
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            let known = place
                .checked_sub(HEADER_BYTES)
                .map_or(0, |at| at / ENTRY_BYTES);
            assert_eq!(
                parse(&boot, 4, &bad),
                changes[..known],
                "flipped at {place}"
            );
        }
    }
}
