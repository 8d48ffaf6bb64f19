//! The footer of every VHD ("Virtual Hard Disk Image Format Specification", October 2006, "Hard
//! Disk Footer Format"). Big-endian, 512 bytes.

use super::{FORMAT, checksum};
use crate::bytes::{be32, be64};
use crate::source::DiskError;

/// Length of the footer.
pub const FOOTER_BYTES: u64 = 512;
/// Seconds from 1970 to 2000, from where VHD counts.
const EPOCH_SECONDS: i64 = 946_684_800;
const COOKIE: &[u8; 8] = b"conectix";
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const CHECKSUM_AT: usize = 64;

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Size of the disk in bytes.
    pub current_size: u64,
    /// The image's unique id.
    pub unique_id: [u8; 16],
}

/// What kind of VHD a footer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fixed,
    /// Where the dynamic header lies.
    Dynamic(u64),
}

impl Footer {
    /// Reads the footer of a fixed VHD whose disk has `disk_size` bytes.
    pub fn parse_fixed(bytes: &[u8; 512], disk_size: u64) -> Result<Self, DiskError> {
        let (footer, kind) = Self::parse(bytes)?;
        if kind != Kind::Fixed {
            return Err(refused("it is a dynamic VHD; convert it to a fixed VHD"));
        }
        let current_size = footer.current_size;
        if current_size != disk_size {
            return Err(DiskError::malformed(
                FORMAT,
                format!(
                    "the footer says {current_size} bytes, the file holds {disk_size} bytes before the footer"
                ),
            ));
        }
        Ok(footer)
    }

    /// Reads a footer of any kind that needs no other file.
    pub(super) fn parse(bytes: &[u8; 512]) -> Result<(Self, Kind), DiskError> {
        let malformed = |reason: String| DiskError::malformed(FORMAT, reason);
        if bytes[..8] != *COOKIE {
            return Err(malformed(
                "the last 512 bytes are no footer (cookie 'conectix' is missing)".to_owned(),
            ));
        }
        if be32(bytes, CHECKSUM_AT) != checksum(bytes, CHECKSUM_AT) {
            return Err(malformed("the footer's checksum is wrong".to_owned()));
        }
        if be32(bytes, 12) >> 16 != 1 {
            return Err(malformed(format!(
                "format version {:#x} is not known",
                be32(bytes, 12)
            )));
        }
        let data_offset = be64(bytes, 16);
        let kind = match be32(bytes, 60) {
            FIXED if data_offset == u64::MAX => Kind::Fixed,
            FIXED => return Err(malformed("a fixed VHD has no data offset".to_owned())),
            DYNAMIC => Kind::Dynamic(data_offset),
            4 => {
                return Err(refused(
                    "it is a differencing VHD, which needs another file; convert it to a fixed VHD",
                ));
            }
            other => return Err(malformed(format!("disk type {other} is not known"))),
        };
        let current_size = be64(bytes, 48);
        if current_size == 0 || !current_size.is_multiple_of(512) {
            return Err(malformed(format!(
                "a size of {current_size} bytes is not a multiple of 512"
            )));
        }
        let mut unique_id = [0; 16];
        unique_id.copy_from_slice(&bytes[68..84]);
        let footer = Self {
            current_size,
            unique_id,
        };
        Ok((footer, kind))
    }
}

fn refused(reason: &str) -> DiskError {
    DiskError::refused(FORMAT, reason)
}

/// Returns the footer of a fixed VHD; `created_ms` is milliseconds since 1970, UTC.
pub fn footer(disk_size: u64, unique_id: [u8; 16], created_ms: i64) -> [u8; 512] {
    write(disk_size, unique_id, created_ms, Kind::Fixed)
}

/// Returns a footer of either kind.
///
/// The creator is "win ": qemu before 10 takes the size from the cylinders, and so cuts the disk,
/// for every creator that it does not know.
pub(super) fn write(disk_size: u64, unique_id: [u8; 16], created_ms: i64, kind: Kind) -> [u8; 512] {
    let (data_offset, disk_type) = match kind {
        Kind::Fixed => (u64::MAX, FIXED),
        Kind::Dynamic(at) => (at, DYNAMIC),
    };
    let mut out = [0_u8; 512];
    out[..8].copy_from_slice(COOKIE);
    out[8..12].copy_from_slice(&2_u32.to_be_bytes());
    out[12..16].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    out[16..24].copy_from_slice(&data_offset.to_be_bytes());
    let seconds = u32::try_from((created_ms / 1000 - EPOCH_SECONDS).max(0)).unwrap_or(u32::MAX);
    out[24..28].copy_from_slice(&seconds.to_be_bytes());
    out[28..32].copy_from_slice(b"win ");
    out[32..36].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    out[36..40].copy_from_slice(b"Wi2k");
    out[40..48].copy_from_slice(&disk_size.to_be_bytes());
    out[48..56].copy_from_slice(&disk_size.to_be_bytes());
    out[56..60].copy_from_slice(&geometry(disk_size));
    out[60..64].copy_from_slice(&disk_type.to_be_bytes());
    out[68..84].copy_from_slice(&unique_id);
    let sum = checksum(&out, CHECKSUM_AT);
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let sum = checksum(&bytes, CHECKSUM_AT);
            bytes[64..68].copy_from_slice(&sum.to_be_bytes());
            let error = Footer::parse_fixed(&bytes, 1 << 20)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
