//! Frames: up to sixteen blocks, compressed together.

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

/// Bytes of a full frame.
pub(crate) const FRAME_BYTES: usize = BLOCK_BYTES * FRAME_BLOCKS;
/// Compression is kept when it saves at least one part in this many.
const GAIN_PART: usize = 16;

/// The identity of a block: keyed BLAKE3, the first 128 bits.
pub(crate) type BlockId = u128;

/// A frame's name in every region: the pack it was made for, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FrameId {
    pub origin: Uuid,
    pub number: u32,
}

/// How a frame's bytes are stored; the table says, the bytes are never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Zstd,
}

impl Codec {
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
        }
    }

    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Plain, Self::Zstd]
            .into_iter()
            .find(|codec| codec.to_byte() == byte)
    }
}

/// A frame as it is stored and sent.
#[derive(Clone, Debug)]
pub(crate) struct StoredFrame {
    pub codec: Codec,
    pub bytes: Vec<u8>,
    /// BLAKE3 of the stored bytes.
    pub digest: [u8; 32],
}

/// Compresses raw blocks.
pub(crate) fn pack(raw: &[u8], level: i32) -> Result<StoredFrame> {
    let packed = zstd::bulk::compress(raw, level)?;
    let gains = packed.len() + raw.len() / GAIN_PART <= raw.len();
    let (codec, bytes) = if gains {
        (Codec::Zstd, packed)
    } else {
        (Codec::Plain, raw.to_vec())
    };
    let digest = *blake3::hash(&bytes).as_bytes();
    Ok(StoredFrame {
        codec,
        bytes,
        digest,
    })
}

/// Checks stored bytes against their digest and returns the raw blocks.
pub(crate) fn unpack(
    id: FrameId,
    codec: Codec,
    digest: &[u8; 32],
    bytes: &[u8],
    blocks: usize,
) -> Result<Vec<u8>> {
    let damaged =
        |reason: &str| BlocksError::damaged(format!("frame {}:{}", id.origin, id.number), reason);
    if blake3::hash(bytes).as_bytes() != digest {
        return Err(damaged("its bytes do not match their digest"));
    }
    let raw_bytes = blocks * BLOCK_BYTES;
    let raw = match codec {
        Codec::Plain => bytes.to_vec(),
        Codec::Zstd => zstd::bulk::decompress(bytes, raw_bytes)
            .map_err(|_| damaged("it cannot be decompressed"))?,
    };
    if raw.len() != raw_bytes {
        return Err(damaged("it has another length than its table says"));
    }
    Ok(raw)
}

/// Returns the identity of a block in this installation.
pub(crate) fn block_id(key: &[u8; 32], block: &[u8]) -> BlockId {
    let hash = blake3::keyed_hash(key, block);
    let mut first = [0_u8; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(first)
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0)
        && words.into_iter().all(|word| word == [0_u8; 16])
}
