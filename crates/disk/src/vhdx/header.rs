//! The file identifier, the two headers and the two region tables (MS-VHDX 2.2).

use super::{FORMAT, MIB, guid, guid_at};
use crate::bytes::{fetch, fetch_vec, le16, le32, le64};
use crate::crc32c::without_own;
use crate::source::{DiskError, Source};

const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
const REGIONS_AT: [u64; 2] = [192 << 10, 256 << 10];
const HEADER_BYTES: usize = 4096;
const REGION_TABLE_BYTES: usize = 64 << 10;
const REGIONS_MAX: usize = 2047;
const LOG_BYTES_MAX: u64 = 64 << 20;

const BAT: [u8; 16] = guid(
    0x2DC2_7766,
    0xF623,
    0x4200,
    [0x9D, 0x64, 0x11, 0x5E, 0x9B, 0xFD, 0x4A, 0x08],
);
const METADATA: [u8; 16] = guid(
    0x8B7C_A206,
    0x4790,
    0x4B9A,
    [0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E],
);

/// A part of the file: whole MiB, not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) at: u64,
    pub(super) length: u64,
}

impl Region {
    fn new(what: &str, at: u64, length: u64, file: u64) -> Result<Self, DiskError> {
        let end = at.checked_add(length);
        if at < MIB
            || length == 0
            || !at.is_multiple_of(MIB)
            || !length.is_multiple_of(MIB)
            || end.is_none_or(|end| end > file)
        {
            return Err(malformed(format!(
                "{what} of {length} bytes cannot lie at {at}"
            )));
        }
        Ok(Self { at, length })
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.at < other.at + other.length && other.at < self.at + self.length
    }
}

/// The log that has to be replayed before anything else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) region: Region,
    pub(super) guid: [u8; 16],
}

/// Returns where the log lies and whether it holds something.
pub(super) fn load_header(file: &dyn Source) -> Result<(Option<Region>, Option<Log>), DiskError> {
    let mut identifier = [0; 8];
    fetch(file, FORMAT, "the identifier", 0, &mut identifier)?;
    if identifier != *b"vhdxfile" {
        return Err(malformed("it does not begin with 'vhdxfile'"));
    }
    let mut best: Option<Vec<u8>> = None;
    for at in HEADERS_AT {
        let bytes = fetch_vec(file, FORMAT, "a header", at, HEADER_BYTES)?;
        if bytes[..4] != *b"head" || le32(&bytes, 4) != without_own(&bytes, 4) {
            continue;
        }
        match &best {
            Some(first) if le64(first, 8) == le64(&bytes, 8) && *first != bytes => {
                return Err(malformed(
                    "both headers have one sequence number and differ",
                ));
            }
            Some(first) if le64(first, 8) >= le64(&bytes, 8) => {}
            _ => best = Some(bytes),
        }
    }
    let header = best.ok_or_else(|| malformed("neither header is valid"))?;
    let versions = (le16(&header, 66), le16(&header, 64));
    if versions != (1, 0) {
        return Err(malformed(format!(
            "version {} with log version {} is not known",
            versions.0, versions.1
        )));
    }
    let (length, at) = (u64::from(le32(&header, 68)), le64(&header, 72));
    let guid = guid_at(&header, 48);
    if length == 0 && guid == [0; 16] {
        return Ok((None, None));
    }
    if length > LOG_BYTES_MAX {
        return Err(malformed(format!(
            "a log of {length} bytes is too large ({LOG_BYTES_MAX} at most)"
        )));
    }
    let region = Region::new("the log", at, length, file.size_bytes())?;
    let log = (guid != [0; 16]).then_some(Log { region, guid });
    Ok((Some(region), log))
}

/// The two regions that every file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    pub(super) bat: Region,
    pub(super) metadata: Region,
}

/// Loads the first valid region table.
pub(super) fn load_regions(file: &dyn Source) -> Result<Regions, DiskError> {
    for at in REGIONS_AT {
        let bytes = fetch_vec(file, FORMAT, "a region table", at, REGION_TABLE_BYTES)?;
        if bytes[..4] == *b"regi" && le32(&bytes, 4) == without_own(&bytes, 4) {
            return parse_regions(&bytes, file.size_bytes());
        }
    }
    Err(malformed("neither region table is valid"))
}

fn parse_regions(bytes: &[u8], file: u64) -> Result<Regions, DiskError> {
    let count = usize::try_from(le32(bytes, 8)).unwrap_or(usize::MAX);
    if count > REGIONS_MAX {
        return Err(malformed(format!("{count} regions are too many")));
    }
    let (mut bat, mut metadata) = (None, None);
    for entry in bytes[16..].as_chunks::<32>().0.iter().take(count) {
        let place = || {
            let length = u64::from(le32(entry, 24));
            Region::new("a region", le64(entry, 16), length, file)
        };
        let slot = match guid_at(entry, 0) {
            BAT => &mut bat,
            METADATA => &mut metadata,
            _ if le32(entry, 28) & 1 == 0 => continue,
            _ => {
                return Err(DiskError::refused(
                    FORMAT,
                    "it has an unknown region that is required",
                ));
            }
        };
        if slot.replace(place()?).is_some() {
            return Err(malformed("a region is there twice"));
        }
    }
    match (bat, metadata) {
        (Some(bat), Some(metadata)) => Ok(Regions { bat, metadata }),
        _ => Err(malformed("the block table or the metadata is missing")),
    }
}

fn malformed(reason: impl Into<String>) -> DiskError {
    DiskError::malformed(FORMAT, reason)
}
