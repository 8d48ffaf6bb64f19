//! Segments: the rows of up to 256 neighbouring frames of one origin, the unit in which tables are read.
//!
//! ```text
//! row: number:u32 offset:u64 length:u32 codec:u8 blocks:u8 digest:[32]   (ascending numbers)
//! then, row by row, the identities of the blocks: block:[16]…
//! ```

use std::collections::HashMap;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::frame::{BlockId, ByIdentity, Codec, FrameId};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

/// Frames of a full segment.
pub(crate) const SEGMENT_FRAMES: usize = 256;
pub(crate) const ROW_BYTES: usize = 50;
pub(crate) const BLOCK_ID_BYTES: usize = 16;

/// Where a frame lies in its pack, and how to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub number: u32,
    pub offset: u64,
    pub length: u32,
    pub codec: Codec,
    pub digest: [u8; 32],
    pub blocks: Vec<BlockId>,
}

/// The rows of neighbouring frames.
#[derive(Debug)]
pub(crate) struct Segment {
    pub origin: Uuid,
    pub rows: Vec<Row>,
    /// Block → row and block in it; made when it is first asked.
    places: OnceLock<HashMap<BlockId, (u16, u8), ByIdentity>>,
}

impl Segment {
    pub fn new(origin: Uuid, rows: Vec<Row>) -> Self {
        Self {
            origin,
            rows,
            places: OnceLock::new(),
        }
    }

    /// Returns the row of a frame.
    pub fn row(&self, number: u32) -> Option<&Row> {
        let at = self
            .rows
            .binary_search_by_key(&number, |row| row.number)
            .ok()?;
        self.rows.get(at)
    }

    /// Returns where a block is: the row's place and the block in it.
    pub fn find(&self, block: BlockId) -> Option<(usize, usize)> {
        let places = self.places.get_or_init(|| {
            let mut places = HashMap::default();
            for (at, row) in (0_u16..).zip(&self.rows) {
                for (within, id) in (0_u8..).zip(&row.blocks) {
                    places.entry(*id).or_insert((at, within));
                }
            }
            places
        });
        places
            .get(&block)
            .map(|(row, within)| (usize::from(*row), usize::from(*within)))
    }

    /// Returns the frame of a row.
    pub fn frame(&self, row: usize) -> FrameId {
        FrameId {
            origin: self.origin,
            number: self.rows[row].number,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rows.len() * (ROW_BYTES + 16 * BLOCK_ID_BYTES));
        for row in &self.rows {
            out.extend_from_slice(&row.number.to_le_bytes());
            out.extend_from_slice(&row.offset.to_le_bytes());
            out.extend_from_slice(&row.length.to_le_bytes());
            out.push(row.codec.to_byte());
            out.push(u8::try_from(row.blocks.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(&row.digest);
        }
        for block in self.rows.iter().flat_map(|row| &row.blocks) {
            out.extend_from_slice(&block.to_le_bytes());
        }
        out
    }

    /// Reads a segment of `frames` rows whose frames lie between `start` and `end` of the pack.
    pub fn decode(origin: Uuid, bytes: &[u8], frames: usize, start: u64, end: u64) -> Option<Self> {
        let (rows, mut ids) = bytes.split_at_checked(frames.checked_mul(ROW_BYTES)?)?;
        let mut out: Vec<Row> = Vec::with_capacity(frames);
        for row in rows.chunks_exact(ROW_BYTES) {
            let mut fields = Fields { bytes: row };
            let number = u32::from_le_bytes(fields.array()?);
            let offset = u64::from_le_bytes(fields.array()?);
            let length = u32::from_le_bytes(fields.array()?);
            let [codec, count] = fields.array()?;
            let digest = fields.array()?;
            let count = usize::from(count);
            let raw = u32::try_from(count * BLOCK_BYTES).ok()?;
            let is_sane = (1..=FRAME_BLOCKS).contains(&count)
                && (1..=raw).contains(&length)
                && offset >= start
                && offset.checked_add(u64::from(length))? <= end
                && out.last().is_none_or(|before| before.number < number);
            if !is_sane {
                return None;
            }
            let mut blocks = Vec::with_capacity(count);
            for _ in 0..count {
                let (id, rest) = ids.split_first_chunk::<BLOCK_ID_BYTES>()?;
                blocks.push(u128::from_le_bytes(*id));
                ids = rest;
            }
            out.push(Row {
                number,
                offset,
                length,
                codec: Codec::from_byte(codec)?,
                digest,
                blocks,
            });
        }
        ids.is_empty().then(|| Self::new(origin, out))
    }
}

/// Reads fields of fixed length one after another.
pub(crate) struct Fields<'a> {
    pub bytes: &'a [u8],
}

impl Fields<'_> {
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }
}
