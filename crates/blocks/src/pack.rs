//! Packs: frames one after another, and a table at the end from which all can be rebuilt.
//!
//! ```text
//! "VTPK" version:u32 pack:[16]  frame bytes …  table  footer
//! table entry: origin:[16] number:u32 offset:u64 length:u32 codec:u8 blocks:u8 digest:[32] block:[16]…
//! footer: table offset:u64 table length:u64 frames:u32 BLAKE3 of the table:[32] "VTPE"
//! ```
//!
//! Little-endian. A frame that a copy or a repack brought here keeps the origin it was made for.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::frame::{BlockId, Codec, FrameId, StoredFrame};
use crate::storage::{Directories, publish};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

const MAGIC: &[u8; 4] = b"VTPK";
const END_MAGIC: &[u8; 4] = b"VTPE";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 24;
const FOOTER_BYTES: u64 = 56;
const ENTRY_BYTES: usize = 66;
const BLOCK_ID_BYTES: usize = 16;

/// One row of a pack's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub frame: FrameId,
    pub offset: u64,
    pub length: u32,
    pub codec: Codec,
    pub digest: [u8; 32],
    pub blocks: Vec<BlockId>,
}

/// A pack under construction.
pub(crate) struct Writer {
    temporary: PathBuf,
    file: File,
    pub id: Uuid,
    at: u64,
    entries: Vec<Entry>,
    buffer: Vec<u8>,
}

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

impl Writer {
    /// Starts a pack in the temporary directory.
    pub fn create(directories: &Directories) -> Result<Self> {
        Self::create_as(directories, Uuid::new_v4())
    }

    /// Starts a pack of this name: new frames have it as their origin.
    pub fn create_as(directories: &Directories, id: Uuid) -> Result<Self> {
        let (temporary, file) = directories.temporary_file()?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + (64 << 10));
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.extend_from_slice(id.as_bytes());
        Ok(Self {
            temporary,
            file,
            id,
            at: HEADER_BYTES,
            entries: Vec::new(),
            buffer,
        })
    }

    /// Appends a frame.
    pub fn push(
        &mut self,
        frame: FrameId,
        stored: &StoredFrame,
        blocks: Vec<BlockId>,
    ) -> Result<()> {
        let length = u32::try_from(stored.bytes.len()).map_err(|_| BlocksError::Invalid {
            reason: "a frame is too large".to_owned(),
        })?;
        self.buffer.extend_from_slice(&stored.bytes);
        self.entries.push(Entry {
            frame,
            offset: self.at,
            length,
            codec: stored.codec,
            digest: stored.digest,
            blocks,
        });
        self.at += u64::from(length);
        if self.buffer.len() >= BUFFER_BYTES {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Returns the bytes so far.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Seals the pack: data, sync, table, sync, rename. An empty one leaves nothing.
    pub fn seal(mut self, directories: &Directories) -> Result<Option<(Uuid, Vec<Entry>)>> {
        if self.entries.is_empty() {
            std::fs::remove_file(&self.temporary)?;
            return Ok(None);
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        let table = encode_table(&self.entries);
        let mut end = table.clone();
        end.extend_from_slice(&self.at.to_le_bytes());
        end.extend_from_slice(&(table.len() as u64).to_le_bytes());
        end.extend_from_slice(
            &u32::try_from(self.entries.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        end.extend_from_slice(blake3::hash(&table).as_bytes());
        end.extend_from_slice(END_MAGIC);
        self.file.write_all(&end)?;
        self.file.sync_all()?;
        publish(&self.temporary, &path(directories, self.id))?;
        Ok(Some((self.id, self.entries)))
    }
}

/// Returns where a pack lies.
pub(crate) fn path(directories: &Directories, id: Uuid) -> PathBuf {
    directories.packs.join(format!("{id}.pack"))
}

fn encode_table(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(entry.frame.origin.as_bytes());
        out.extend_from_slice(&entry.frame.number.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.length.to_le_bytes());
        out.push(entry.codec.to_byte());
        out.push(u8::try_from(entry.blocks.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&entry.digest);
        for block in &entry.blocks {
            out.extend_from_slice(&block.to_le_bytes());
        }
    }
    out
}

/// Reads and checks the table of a sealed pack.
pub(crate) fn read_table(id: Uuid, file: &File) -> Result<Vec<Entry>> {
    let damaged = |reason: &str| BlocksError::damaged(format!("pack {id}"), reason);
    let size = file.metadata()?.len();
    let table_end = size
        .checked_sub(FOOTER_BYTES)
        .filter(|end| *end >= HEADER_BYTES);
    let table_end = table_end.ok_or_else(|| damaged("it is cut short"))?;
    let mut header = [0_u8; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0)?;
    if header[..4] != *MAGIC
        || header[4..8] != VERSION.to_le_bytes()
        || header[8..] != *id.as_bytes()
    {
        return Err(damaged(
            "its header is not the one of this pack and version",
        ));
    }
    let mut footer = [0_u8; FOOTER_BYTES as usize];
    file.read_exact_at(&mut footer, table_end)?;
    let mut reader = Fields { bytes: &footer };
    let offset = u64::from_le_bytes(
        reader
            .array()
            .ok_or_else(|| damaged("its footer is cut short"))?,
    );
    let length = u64::from_le_bytes(
        reader
            .array()
            .ok_or_else(|| damaged("its footer is cut short"))?,
    );
    let count = u32::from_le_bytes(
        reader
            .array()
            .ok_or_else(|| damaged("its footer is cut short"))?,
    );
    let digest: [u8; 32] = reader
        .array()
        .ok_or_else(|| damaged("its footer is cut short"))?;
    if reader.bytes != END_MAGIC
        || offset.checked_add(length) != Some(table_end)
        || offset < HEADER_BYTES
    {
        return Err(damaged("its footer does not fit"));
    }
    let mut table =
        vec![0_u8; usize::try_from(length).map_err(|_| damaged("its table is too long"))?];
    file.read_exact_at(&mut table, offset)?;
    if *blake3::hash(&table).as_bytes() != digest {
        return Err(damaged("its table does not match its digest"));
    }
    let mut reader = Fields { bytes: &table };
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = reader
            .entry()
            .filter(|e| e.offset >= HEADER_BYTES && e.offset + u64::from(e.length) <= offset);
        entries.push(entry.ok_or_else(|| damaged("a row of its table is out of range"))?);
    }
    if !reader.bytes.is_empty() {
        return Err(damaged("its table is longer than its footer says"));
    }
    Ok(entries)
}

struct Fields<'a> {
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn entry(&mut self) -> Option<Entry> {
        if self.bytes.len() < ENTRY_BYTES {
            return None;
        }
        let origin = Uuid::from_bytes(self.array()?);
        let number = u32::from_le_bytes(self.array()?);
        let offset = u64::from_le_bytes(self.array()?);
        let length = u32::from_le_bytes(self.array()?);
        let [codec, count] = self.array()?;
        let digest = self.array()?;
        let count = usize::from(count);
        let is_sane = (1..=FRAME_BLOCKS).contains(&count)
            && length > 0
            && usize::try_from(length).is_ok_and(|l| l <= count * BLOCK_BYTES)
            && offset < 1 << 48
            && self.bytes.len() >= count * BLOCK_ID_BYTES;
        if !is_sane {
            return None;
        }
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            blocks.push(u128::from_le_bytes(self.array()?));
        }
        Some(Entry {
            frame: FrameId { origin, number },
            offset,
            length,
            codec: Codec::from_byte(codec)?,
            digest,
            blocks,
        })
    }
}
