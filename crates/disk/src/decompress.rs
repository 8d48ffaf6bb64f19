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
