//! Frames: up to sixteen blocks, compressed together.

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, Hasher};

use uuid::Uuid;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use crate::error::{BlocksError, Result};
use crate::{BLOCK_BYTES, FRAME_BLOCKS};

/// Bytes of a full frame.
pub(crate) const FRAME_BYTES: usize = BLOCK_BYTES * FRAME_BLOCKS;
/// Compression is kept when it saves at least one part in this many.
const GAIN_PART: usize = 16;

/// The levels that zstd's double-fast search makes of frames of this size.
const DOUBLE_FAST: std::ops::RangeInclusive<i32> = 3..=4;
/// Entries of each of its tables, as a power of two: 64 KiB.
const TABLE_LOG: u32 = 14;

/// The identity of a block: keyed BLAKE3 of its hash, the first 128 bits.
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

/// Returns the compressor of new frames.
///
/// The double-fast levels look matches up in two tables that zstd sizes for the window: 768 KiB, more
/// than two threads of a core have of its second cache. Smaller ones cost 0.2 % of size and save 9 %
/// of an ingest.
pub(crate) fn compressor(level: i32) -> Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    if DOUBLE_FAST.contains(&level) {
        compressor.set_parameter(CParameter::HashLog(TABLE_LOG))?;
        compressor.set_parameter(CParameter::ChainLog(TABLE_LOG))?;
    }
    Ok(compressor)
}

/// Compresses raw blocks; the compressor is kept for the next frame.
pub(crate) fn pack(compressor: &mut Compressor<'_>, raw: &[u8]) -> Result<StoredFrame> {
    let packed = compressor.compress(raw)?;
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

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Checks stored bytes against their digest and fills `raw`, whose length is the frame's.
pub(crate) fn unpack(
    id: FrameId,
    codec: Codec,
    digest: &[u8; 32],
    bytes: &[u8],
    raw: &mut [u8],
) -> Result<()> {
    check_digest(id, digest, bytes)?;
    let length = match codec {
        Codec::Plain if bytes.len() == raw.len() => {
            raw.copy_from_slice(bytes);
            raw.len()
        }
        Codec::Plain => bytes.len(),
        Codec::Zstd => decompress(id, |all| all.decompress_to_buffer(bytes, raw))?,
    };
    check_length(id, length, raw.len())
}

/// Checks stored bytes against their digest and returns the `length` bytes of the frame, in memory
/// that nobody had to fill with zeroes first.
pub(crate) fn unpacked(
    id: FrameId,
    codec: Codec,
    digest: &[u8; 32],
    bytes: &[u8],
    length: usize,
) -> Result<Vec<u8>> {
    check_digest(id, digest, bytes)?;
    let raw = match codec {
        Codec::Plain => bytes.to_vec(),
        Codec::Zstd => decompress(id, |all| all.decompress(bytes, length))?,
    };
    check_length(id, raw.len(), length)?;
    Ok(raw)
}

fn check_digest(id: FrameId, digest: &[u8; 32], bytes: &[u8]) -> Result<()> {
    if blake3::hash(bytes).as_bytes() == digest {
        return Ok(());
    }
    Err(damaged(id, "its bytes do not match their digest"))
}

fn check_length(id: FrameId, found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(damaged(id, "it has another length than its table says"))
}

fn damaged(id: FrameId, reason: &str) -> BlocksError {
    BlocksError::damaged(format!("frame {}:{}", id.origin, id.number), reason)
}

fn decompress<T>(
    id: FrameId,
    work: impl FnOnce(&mut Decompressor<'static>) -> std::io::Result<T>,
) -> Result<T> {
    let done = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new()?),
        };
        work(decompressor)
    });
    done.map_err(|_| damaged(id, "it cannot be decompressed"))
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let groups = bytes.chunks_exact(64);
    groups.remainder().iter().all(|byte| *byte == 0)
        && groups
            .into_iter()
            .all(|group| group.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Takes a key that is a hash already as its own hash.
#[derive(Default)]
pub(crate) struct Identity(u64);

/// For maps whose keys are hashes already.
pub(crate) type ByIdentity = BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u128(&mut self, value: u128) {
        let [low, high] = [value & u128::from(u64::MAX), value >> 64];
        self.0 = u64::try_from(low ^ high).unwrap_or(0);
    }
}
