//! Fixed VHD: the bytes of a disk, then a footer of 512 bytes ("Virtual Hard Disk Image Format
//! Specification", October 2006, "Hard Disk Footer Format"). Big-endian.

use crate::source::{DiskError, Extent, Source, check_range};

/// Length of the footer.
pub const FOOTER_BYTES: u64 = 512;
/// Seconds from 1970 to 2000, from where VHD counts.
const EPOCH_SECONDS: i64 = 946_684_800;
const COOKIE: &[u8; 8] = b"conectix";
const FIXED: u32 = 2;
const CHECKSUM_AT: usize = 64;

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Size of the disk in bytes.
    pub current_size: u64,
    /// The image's unique id.
    pub unique_id: [u8; 16],
}

impl Footer {
    /// Reads the footer of a fixed VHD whose disk has `disk_size` bytes.
    pub fn parse_fixed(bytes: &[u8; 512], disk_size: u64) -> Result<Self, DiskError> {
        let malformed = |reason: String| DiskError::Malformed {
            format: "VHD",
            reason,
        };
        if bytes[..8] != *COOKIE {
            return Err(malformed(
                "the last 512 bytes are no footer (cookie 'conectix' is missing)".to_owned(),
            ));
        }
        if u32_at(bytes, CHECKSUM_AT) != checksum(bytes) {
            return Err(malformed("the footer's checksum is wrong".to_owned()));
        }
        if u32_at(bytes, 12) >> 16 != 1 {
            return Err(malformed(format!(
                "format version {:#x} is not known",
                u32_at(bytes, 12)
            )));
        }
        match u32_at(bytes, 60) {
            FIXED => {}
            3 => return Err(refused("it is a dynamic VHD; convert it to a fixed VHD")),
            4 => {
                return Err(refused(
                    "it is a differencing VHD, which needs another file; convert it to a fixed VHD",
                ));
            }
            other => return Err(malformed(format!("disk type {other} is not known"))),
        }
        if u64_at(bytes, 16) != u64::MAX {
            return Err(malformed("a fixed VHD has no data offset".to_owned()));
        }
        let current_size = u64_at(bytes, 48);
        if current_size != disk_size {
            return Err(malformed(format!(
                "the footer says {current_size} bytes, the file holds {disk_size} bytes before the footer"
            )));
        }
        if current_size == 0 || !current_size.is_multiple_of(512) {
            return Err(malformed(format!(
                "a size of {current_size} bytes is not a multiple of 512"
            )));
        }
        let mut unique_id = [0; 16];
        unique_id.copy_from_slice(&bytes[68..84]);
        Ok(Self {
            current_size,
            unique_id,
        })
    }
}

fn refused(reason: &str) -> DiskError {
    DiskError::Refused {
        format: "VHD",
        reason: reason.to_owned(),
    }
}

/// Returns the footer of a fixed VHD; `created_ms` is milliseconds since 1970, UTC.
pub fn footer(disk_size: u64, unique_id: [u8; 16], created_ms: i64) -> [u8; 512] {
    let mut out = [0_u8; 512];
    out[..8].copy_from_slice(COOKIE);
    out[8..12].copy_from_slice(&2_u32.to_be_bytes());
    out[12..16].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    out[16..24].copy_from_slice(&u64::MAX.to_be_bytes());
    let seconds = u32::try_from((created_ms / 1000 - EPOCH_SECONDS).max(0)).unwrap_or(u32::MAX);
    out[24..28].copy_from_slice(&seconds.to_be_bytes());
    out[28..32].copy_from_slice(b"vtrn");
    out[32..36].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    out[36..40].copy_from_slice(b"Wi2k");
    out[40..48].copy_from_slice(&disk_size.to_be_bytes());
    out[48..56].copy_from_slice(&disk_size.to_be_bytes());
    out[56..60].copy_from_slice(&geometry(disk_size));
    out[60..64].copy_from_slice(&FIXED.to_be_bytes());
    out[68..84].copy_from_slice(&unique_id);
    let sum = checksum(&out);
    out[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// Cylinders, heads, sectors, as the appendix "CHS Calculation" works them out.
fn geometry(disk_size: u64) -> [u8; 4] {
    let total = (disk_size / 512).min(65535 * 16 * 255);
    let (sectors, heads, cylinders_times_heads);
    if total >= 65535 * 16 * 63 {
        (sectors, heads, cylinders_times_heads) = (255, 16, total / 255);
    } else {
        let (mut s, mut cth) = (17, total / 17);
        let mut h = cth.div_ceil(1024).max(4);
        if cth >= h * 1024 || h > 16 {
            (s, h, cth) = (31, 16, total / 31);
        }
        if cth >= h * 1024 {
            (s, h, cth) = (63, 16, total / 63);
        }
        (sectors, heads, cylinders_times_heads) = (s, h, cth);
    }
    let cylinders = u16::try_from(cylinders_times_heads / heads)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let byte = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
    [cylinders[0], cylinders[1], byte(heads), byte(sectors)]
}

/// One's complement of the sum of all bytes but the checksum's own.
fn checksum(bytes: &[u8; 512]) -> u32 {
    let own = CHECKSUM_AT..CHECKSUM_AT + 4;
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .filter(|(at, _)| !own.contains(at))
        .map(|(_, b)| u32::from(*b))
        .sum();
    !sum
}

fn u32_at(bytes: &[u8; 512], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |n, b| n << 8 | u32::from(*b))
}

fn u64_at(bytes: &[u8; 512], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .fold(0, |n, b| n << 8 | u64::from(*b))
}

/// The disk inside a fixed VHD.
pub struct FixedVhd<S> {
    inner: S,
    size: u64,
}

impl<S: Source> FixedVhd<S> {
    /// Checks the footer and opens the disk before it.
    pub fn new(inner: S) -> Result<Self, DiskError> {
        let short = || DiskError::Malformed {
            format: "VHD",
            reason: "it is shorter than a footer".to_owned(),
        };
        let size = inner
            .size_bytes()
            .checked_sub(FOOTER_BYTES)
            .ok_or_else(short)?;
        let mut bytes = [0_u8; 512];
        inner.read_at(size, &mut bytes)?;
        Footer::parse_fixed(&bytes, size)?;
        Ok(Self { inner, size })
    }
}

impl<S: Source> Source for FixedVhd<S> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        check_range(offset, buf.len(), self.size)?;
        self.inner.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        check_range(offset, 1, self.size)?;
        let extent = self.inner.extent_at(offset)?;
        Ok(Extent {
            length: extent.length.min(self.size - offset),
            ..extent
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::raw::RawFile;

    #[test]
    fn a_footer_is_read_back_and_every_flipped_bit_is_found() {
        let good = footer(3 << 20, [9; 16], 1_700_000_000_000);
        let parsed = Footer::parse_fixed(&good, 3 << 20).unwrap();
        assert_eq!(
            parsed,
            Footer {
                current_size: 3 << 20,
                unique_id: [9; 16]
            }
        );
        for bit in 0..512 * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::parse_fixed(&bad, 3 << 20).is_err(), "bit {bit}");
        }
        assert!(Footer::parse_fixed(&good, 2 << 20).is_err());
    }

    #[test]
    fn other_types_are_refused_with_the_reason() {
        for (kind, word) in [(3_u32, "dynamic"), (4, "differencing"), (9, "disk type 9")] {
            let mut bytes = footer(1 << 20, [0; 16], 0);
            bytes[60..64].copy_from_slice(&kind.to_be_bytes());
            let sum = checksum(&bytes);
            bytes[64..68].copy_from_slice(&sum.to_be_bytes());
            let error = Footer::parse_fixed(&bytes, 1 << 20)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn qemu_img_agrees_with_our_reader() {
        let dir = tempfile::tempdir().unwrap();
        let (raw, vhd) = (dir.path().join("a.raw"), dir.path().join("a.vhd"));
        let bytes: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&raw, &bytes).unwrap();
        let done = Command::new("qemu-img")
            .args([
                "convert",
                "-f",
                "raw",
                "-O",
                "vpc",
                "-o",
                "subformat=fixed,force_size=on",
            ])
            .args([&raw, &vhd])
            .status();
        let Ok(done) = done else {
            panic!("qemu-img is needed: install qemu-utils")
        };
        assert!(done.success());
        let disk = FixedVhd::new(RawFile::open(&vhd).unwrap()).unwrap();
        assert_eq!(disk.size_bytes(), bytes.len() as u64);
        let mut read = vec![0; bytes.len()];
        disk.read_at(0, &mut read).unwrap();
        assert!(read == bytes);
        // And the footer that we write is the one that qemu-img reads.
        let mut ours = bytes.clone();
        ours.extend_from_slice(&footer(bytes.len() as u64, [1; 16], 0));
        std::fs::write(&vhd, &ours).unwrap();
        let same = Command::new("qemu-img")
            .args(["compare", "-f", "raw", "-F", "vpc"])
            .args([&raw, &vhd])
            .status()
            .unwrap();
        assert!(same.success());
    }
}
