//! Compressed clusters into buffers of known size: nothing grows with what the stream says.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

/// Largest window of a zstd frame, 2^21: one cluster cannot need more.
const WINDOW_LOG_MAX: u32 = 21;

/// What frames a deflate stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deflate {
    Bare,
    Zlib,
}

/// Inflates until the stream ends or `out` is full; returns the bytes written, `None` for garbage.
pub(crate) fn inflate(input: &[u8], out: &mut [u8], frame: Deflate) -> Option<usize> {
    let mut flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    if frame == Deflate::Zlib {
        flags |= inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER;
        flags |= inflate_flags::TINFL_FLAG_COMPUTE_ADLER32;
    }
    let mut state = Box::<DecompressorOxide>::default();
    match decompress(&mut state, input, out, 0, flags) {
        (TINFLStatus::Done | TINFLStatus::HasMoreOutput, _, written) => Some(written),
        _ => None,
    }
}

/// Decodes zstd frames until `out` is full; `None` when they are garbage or too short.
pub(crate) fn unzstd(input: &[u8], out: &mut [u8]) -> Option<()> {
    let mut decoder = Decoder::new().ok()?;
    decoder
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .ok()?;
    let (mut input, mut out) = (InBuffer::around(input), OutBuffer::around(out));
    while out.pos() < out.capacity() {
        let before = (input.pos(), out.pos());
        decoder.run(&mut input, &mut out).ok()?;
        if before == (input.pos(), out.pos()) {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one block that repeats a byte (RFC 8878, 3.1.1), with the given window.
    fn frame(window_log: u8, length: u32) -> Vec<u8> {
        let block = (length << 3 | 0b011).to_le_bytes();
        let head = [0x28, 0xB5, 0x2F, 0xFD, 0, (window_log - 10) << 3];
        [&head[..], &block[..3], &[7]].concat()
    }

    #[test]
    fn zstd_frames_with_a_window_over_a_cluster_are_garbage() {
        let mut out = vec![0; 4096];
        assert!(unzstd(&frame(12, 4096), &mut out).is_some() && out == [7; 4096]);
        assert!(unzstd(&frame(21, 4096), &mut out).is_some());
        for window_log in [22, 27, 31, 41] {
            assert!(unzstd(&frame(window_log, 4096), &mut out).is_none());
        }
    }

    #[test]
    fn what_unpacks_to_too_little_is_seen_and_too_much_is_cut() {
        let mut out = vec![0; 4096];
        assert!(unzstd(&frame(12, 4095), &mut out).is_none());
        assert!(unzstd(&[], &mut out).is_none());
        // Stored deflate blocks: three bytes, the last one.
        let stored = [1, 3, 0, 0xFC, 0xFF, b'a', b'b', b'c'];
        assert_eq!(inflate(&stored, &mut out, Deflate::Bare), Some(3));
        assert_eq!(inflate(&stored, &mut out[..2], Deflate::Bare), Some(2));
        assert_eq!(inflate(&stored[..7], &mut out, Deflate::Bare), None);
        assert_eq!(inflate(&stored, &mut out, Deflate::Zlib), None);
    }
}
