//! Packs: frames one after another, and tables at the end from which all can be rebuilt.
//!
//! ```text
//! header    "VTPK" version:u32 pack:[16]
//! frames    bytes …
//! segments  see `segment`, each of one origin
//! directory per segment: origin:[16] first:u32 last:u32 frames:u32 offset:u64 length:u32 digest:[32]
//! footer    directory offset:u64 segments:u32 frames:u32 blocks:u64 digest:[32] "VTPE"
//! ```
//!
//! Little-endian. The footer's digest is BLAKE3 of the header, the directory and the footer before
//! it; the directory has the digest of every segment, the segments those of every frame. A frame
//! that a copy or a repack brought here keeps the origin it was made for. Opening a pack reads the
//! footer and the directory: 72 bytes for 16 MiB of content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::error::{BlocksError, Result, other_version};
use crate::frame::{BlockId, FrameId, StoredFrame};
use crate::objects::{Bytes, Objects, Room, Sink, pack_name};
use crate::segment::{BLOCK_ID_BYTES, Fields, ROW_BYTES, Row, SEGMENT_FRAMES, Segment};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

const MAGIC: &[u8; 4] = b"VTPK";
const END_MAGIC: &[u8; 4] = b"VTPE";
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 24;
const FOOTER_BYTES: usize = 60;
/// Bytes of the footer that its digest covers.
const FOOTER_SIGNED_BYTES: usize = 24;
const DIRECTORY_ROW_BYTES: usize = 72;
/// Read at once from the end of a pack: the footer, and most directories.
const TAIL_BYTES: u64 = 16 << 10;
/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// Frames of the largest pack: 512 MiB of content.
pub(crate) const PACK_FRAMES_MAX: usize = 8192;

/// Where a segment lies in its pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentAt {
    pub origin: Uuid,
    pub first: u32,
    pub last: u32,
    pub frames: u32,
    pub offset: u64,
    pub length: u32,
    pub digest: [u8; 32],
}

/// A sealed pack.
#[derive(Debug)]
pub(crate) struct Pack {
    pub id: Uuid,
    pub bytes: u64,
    pub frames: u64,
    pub blocks: u64,
    pub segments: Vec<SegmentAt>,
    /// Where the frames end and the tables begin.
    pub frames_end: u64,
    /// When it was sealed, in the gate's order; 0 when it was there before.
    pub born: u64,
    /// It is about to be removed: nothing new may refer to it.
    dying: AtomicBool,
}

impl Pack {
    pub fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Acquire)
    }

    pub fn set_dying(&self, is_dying: bool) {
        self.dying.store(is_dying, Ordering::Release);
    }

    /// Reads and checks one segment.
    pub fn segment(&self, bytes: &Bytes, number: usize) -> Result<Segment> {
        let at = &self.segments[number];
        let damaged = || {
            BlocksError::damaged(
                format!("segment {number} of pack {}", self.id),
                "its bytes do not match their digest",
            )
        };
        let mut table = vec![0_u8; at.length as usize];
        bytes.read_at(&mut table, at.offset)?;
        if *blake3::hash(&table).as_bytes() != at.digest {
            return Err(damaged());
        }
        let start = HEADER_BYTES as u64;
        let frames = at.frames as usize;
        Segment::decode(at.origin, &table, frames, start, self.frames_end).ok_or_else(damaged)
    }
}

/// A pack under construction.
pub(crate) struct Writer {
    sink: Sink,
    pub id: Uuid,
    at: u64,
    rows: BTreeMap<FrameId, Row>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts a pack of this name: new frames have it as their origin.
    pub fn create(objects: &Objects, id: Uuid) -> Result<Self> {
        let sink = objects.begin(Room::Packs, &pack_name(id))?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES + (64 << 10));
        buffer.extend_from_slice(&header(id));
        Ok(Self {
            sink,
            id,
            at: HEADER_BYTES as u64,
            rows: BTreeMap::new(),
            buffer,
        })
    }

    /// Appends a frame; one that is in already is left out.
    pub fn push(
        &mut self,
        frame: FrameId,
        stored: &StoredFrame,
        blocks: Vec<BlockId>,
    ) -> Result<()> {
        if self.rows.contains_key(&frame) {
            return Ok(());
        }
        let length = u32::try_from(stored.bytes.len()).map_err(|_| BlocksError::Invalid {
            reason: "a frame is too large".to_owned(),
        })?;
        self.buffer.extend_from_slice(&stored.bytes);
        let row = Row {
            number: frame.number,
            offset: self.at,
            length,
            codec: stored.codec,
            digest: stored.digest,
            blocks,
        };
        self.rows.insert(frame, row);
        self.at += u64::from(length);
        if self.buffer.len() >= BUFFER_BYTES {
            self.sink.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Returns the bytes so far.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Whether another frame belongs into another pack.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= PACK_FRAMES_MAX
    }

    /// Seals the pack: data, sync, tables, sync, rename. An empty one leaves nothing.
    pub fn seal(mut self, born: u64) -> Result<Option<(Pack, Vec<Segment>)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.sink.append(&self.buffer)?;
        self.sink.sync()?;
        let segments = segments(std::mem::take(&mut self.rows));
        let mut end = Vec::new();
        let mut directory = Vec::with_capacity(segments.len());
        for segment in &segments {
            let table = segment.encode();
            directory.push(SegmentAt {
                origin: segment.origin,
                first: segment.rows.first().map_or(0, |row| row.number),
                last: segment.rows.last().map_or(0, |row| row.number),
                frames: u32::try_from(segment.rows.len()).unwrap_or(0),
                offset: self.at + end.len() as u64,
                length: u32::try_from(table.len()).unwrap_or(0),
                digest: *blake3::hash(&table).as_bytes(),
            });
            end.extend_from_slice(&table);
        }
        let count = |each: fn(&Segment) -> usize| segments.iter().map(each).sum::<usize>() as u64;
        let pack = Pack {
            id: self.id,
            bytes: self.at
                + (end.len() + directory.len() * DIRECTORY_ROW_BYTES + FOOTER_BYTES) as u64,
            frames: count(|segment| segment.rows.len()),
            blocks: count(|segment| segment.rows.iter().map(|row| row.blocks.len()).sum()),
            segments: directory,
            frames_end: self.at,
            born,
            dying: AtomicBool::new(false),
        };
        let directory_at = self.at + end.len() as u64;
        end.extend_from_slice(&trailer(&pack, directory_at));
        self.sink.append(&end)?;
        self.sink.publish()?;
        Ok(Some((pack, segments)))
    }
}

fn header(id: Uuid) -> [u8; HEADER_BYTES] {
    let mut out = [0_u8; HEADER_BYTES];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&VERSION.to_le_bytes());
    out[8..].copy_from_slice(id.as_bytes());
    out
}

/// Cuts rows, ordered by frame, into segments: no origin together with another, no more than fit.
fn segments(rows: BTreeMap<FrameId, Row>) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for (frame, row) in rows {
        match out.last_mut() {
            Some(open) if open.origin == frame.origin && open.rows.len() < SEGMENT_FRAMES => {
                open.rows.push(row);
            }
            _ => out.push(Segment::new(frame.origin, vec![row])),
        }
    }
    out
}

/// Returns the directory and the footer.
fn trailer(pack: &Pack, directory_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for at in &pack.segments {
        out.extend_from_slice(at.origin.as_bytes());
        out.extend_from_slice(&at.first.to_le_bytes());
        out.extend_from_slice(&at.last.to_le_bytes());
        out.extend_from_slice(&at.frames.to_le_bytes());
        out.extend_from_slice(&at.offset.to_le_bytes());
        out.extend_from_slice(&at.length.to_le_bytes());
        out.extend_from_slice(&at.digest);
    }
    out.extend_from_slice(&directory_at.to_le_bytes());
    let segments = u32::try_from(pack.segments.len()).unwrap_or(0);
    out.extend_from_slice(&segments.to_le_bytes());
    let frames = u32::try_from(pack.frames).unwrap_or(0);
    out.extend_from_slice(&frames.to_le_bytes());
    out.extend_from_slice(&pack.blocks.to_le_bytes());
    let digest = footer_digest(&header(pack.id), &out);
    out.extend_from_slice(&digest);
    out.extend_from_slice(END_MAGIC);
    out
}

fn footer_digest(header: &[u8], directory_and_counts: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(directory_and_counts);
    *hasher.finalize().as_bytes()
}

/// Reads and checks what a sealed pack says of itself.
pub(crate) fn open(id: Uuid, bytes: &Bytes, size: u64) -> Result<Pack> {
    let damaged = |reason: &str| BlocksError::damaged(format!("pack {id}"), reason);
    if size < (HEADER_BYTES + FOOTER_BYTES) as u64 {
        return Err(damaged("it is cut short"));
    }
    let mut found = [0_u8; HEADER_BYTES];
    bytes.read_at(&mut found, 0)?;
    if found[..4] != *MAGIC || found[8..] != *id.as_bytes() {
        return Err(damaged("its header is not the one of this pack"));
    }
    let version = u32::from_le_bytes([found[4], found[5], found[6], found[7]]);
    if version != VERSION {
        return Err(damaged(other_version(version, VERSION)));
    }
    let mut tail = vec![0_u8; usize::try_from(size.min(TAIL_BYTES)).unwrap_or(0)];
    let tail_at = size - tail.len() as u64;
    bytes.read_at(&mut tail, tail_at)?;
    let footer = tail[tail.len() - FOOTER_BYTES..].to_vec();
    let unfit = || damaged("its footer does not fit");
    let mut fields = Fields { bytes: &footer };
    let directory_at = u64::from_le_bytes(fields.array().ok_or_else(unfit)?);
    let segments = u32::from_le_bytes(fields.array().ok_or_else(unfit)?) as usize;
    let frames = u64::from(u32::from_le_bytes(fields.array().ok_or_else(unfit)?));
    let blocks = u64::from_le_bytes(fields.array().ok_or_else(unfit)?);
    let digest: [u8; 32] = fields.array().ok_or_else(unfit)?;
    let length = segments * DIRECTORY_ROW_BYTES + FOOTER_BYTES;
    if fields.bytes != END_MAGIC || directory_at.checked_add(length as u64) != Some(size) {
        return Err(unfit());
    }
    if length > tail.len() {
        tail = vec![0_u8; length];
        bytes.read_at(&mut tail, directory_at)?;
    }
    let signed = tail.len() - FOOTER_BYTES + FOOTER_SIGNED_BYTES;
    let directory = &tail[tail.len() - length..signed];
    if footer_digest(&header(id), directory) != digest {
        return Err(damaged("its directory does not match its digest"));
    }
    let segments = parse_directory(&directory[..segments * DIRECTORY_ROW_BYTES], directory_at)
        .ok_or_else(|| damaged("a row of its directory is out of range"))?;
    Ok(Pack {
        id,
        bytes: size,
        frames,
        blocks,
        frames_end: segments.first().map_or(directory_at, |at| at.offset),
        segments,
        born: 0,
        dying: AtomicBool::new(false),
    })
}

fn parse_directory(bytes: &[u8], directory_at: u64) -> Option<Vec<SegmentAt>> {
    const SEGMENT_BYTES_MAX: usize = SEGMENT_FRAMES * (ROW_BYTES + FRAME_BLOCKS * BLOCK_ID_BYTES);
    let mut out = Vec::with_capacity(bytes.len() / DIRECTORY_ROW_BYTES);
    for row in bytes.chunks_exact(DIRECTORY_ROW_BYTES) {
        let mut fields = Fields { bytes: row };
        let at = SegmentAt {
            origin: Uuid::from_bytes(fields.array()?),
            first: u32::from_le_bytes(fields.array()?),
            last: u32::from_le_bytes(fields.array()?),
            frames: u32::from_le_bytes(fields.array()?),
            offset: u64::from_le_bytes(fields.array()?),
            length: u32::from_le_bytes(fields.array()?),
            digest: fields.array()?,
        };
        let is_sane = at.length as usize <= SEGMENT_BYTES_MAX
            && (1..=SEGMENT_FRAMES).contains(&(at.frames as usize))
            && at.first <= at.last
            && at.offset.checked_add(u64::from(at.length))? <= directory_at;
        if !is_sane {
            return None;
        }
        out.push(at);
    }
    Some(out)
}

/// Returns the bytes that a frame of so many blocks has in memory.
pub(crate) const fn raw_bytes(blocks: usize) -> usize {
    blocks * BLOCK_BYTES
}
