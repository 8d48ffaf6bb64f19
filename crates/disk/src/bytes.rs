//! Numbers in byte slices, and reads that name what they miss. Callers pass slices whose length
//! they know; offsets are constants.

use crate::source::{DiskError, Source};

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |n, b| n << 8 | u32::from(*b))
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .fold(0, |n, b| n << 8 | u64::from(*b))
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from(bytes[at]) | u16::from(bytes[at + 1]) << 8
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .rev()
        .fold(0, |n, b| n << 8 | u32::from(*b))
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .rev()
        .fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A length in memory; every caller has bounded it before.
pub(crate) fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Whether every byte is zero; looks at 128 bytes at a time.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<128>();
    chunks
        .iter()
        .all(|chunk| chunk.iter().fold(0, |all, b| all | b) == 0)
        && rest.iter().all(|b| *b == 0)
}

/// Fills `buf` from the file; a range outside it is the image's fault, named by `what`.
pub(crate) fn fetch(
    file: &dyn Source,
    format: &'static str,
    what: &str,
    offset: u64,
    buf: &mut [u8],
) -> Result<(), DiskError> {
    let length = buf.len() as u64;
    if offset
        .checked_add(length)
        .is_none_or(|end| end > file.size_bytes())
    {
        return Err(DiskError::malformed(
            format,
            format!("{what} ({length} bytes at {offset}) lies outside the file"),
        ));
    }
    file.read_at(offset, buf)
}

/// Fills `buf` from the file; what lies behind its end is zero.
pub(crate) fn read_padded(file: &dyn Source, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
    let present = file.size_bytes().saturating_sub(offset);
    let length = buf.len().min(index(present));
    let (there, missing) = buf.split_at_mut(length);
    missing.fill(0);
    if there.is_empty() {
        return Ok(());
    }
    file.read_at(offset, there)
}

/// Like [`fetch`] into a new buffer.
pub(crate) fn fetch_vec(
    file: &dyn Source,
    format: &'static str,
    what: &str,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, DiskError> {
    if length as u64 > file.size_bytes() {
        return Err(DiskError::malformed(
            format,
            format!("{what} ({length} bytes at {offset}) lies outside the file"),
        ));
    }
    let mut bytes = vec![0; length];
    fetch(file, format, what, offset, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_not_zero() {
        for length in [0, 1, 127, 128, 129, 1000] {
            assert!(is_zero(&vec![0; length]));
            for at in 0..length {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {length}");
            }
        }
    }
}
