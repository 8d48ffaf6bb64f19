//! The header of a sparse extent, and its copy in the footer of a stream.

use super::{FORMAT, SECTOR_BYTES, descriptor};
use crate::bytes::{fetch, fetch_vec, index, le16, le32, le64};
use crate::source::{DiskError, Source};

const MAGIC: &[u8; 4] = b"KDMV";
/// The directory's place is told by the footer.
const AT_END: u64 = u64::MAX;
/// 2 TiB: grains have 32-bit sector numbers.
const CAPACITY_SECTORS_MAX: u64 = 1 << 32;
const GRAIN_SECTORS: std::ops::RangeInclusive<u64> = 8..=2048;
const TABLE_ENTRIES: u32 = 512;
const DESCRIPTOR_SECTORS_MAX: u64 = 128;
/// Grains of the largest disk in grains of 64 KiB; more tables than that are not walked.
const GRAINS_MAX: u64 = 1 << 25;

const FLAG_ZERO_GRAINS: u32 = 1 << 2;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;
const FLAGS_KNOWN: u32 = 0b111 | FLAG_COMPRESSED | FLAG_MARKERS;

/// What a reader needs of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Sectors of the disk.
    pub(super) capacity: u64,
    pub(super) grain_bytes: u64,
    pub(super) directory_at: u64,
    /// Entry 1 of a grain table means zeroes.
    pub(super) has_zero_grains: bool,
    pub(super) is_compressed: bool,
    /// Where tables and grains may begin: behind header and descriptor.
    pub(super) data_from: u64,
}

impl Header {
    pub(super) fn load(file: &dyn Source) -> Result<Self, DiskError> {
        let mut bytes = [0; 512];
        fetch(file, FORMAT, "the header", 0, &mut bytes)?;
        if bytes.starts_with(b"# Disk DescriptorFile") {
            return Err(DiskError::refused(
                FORMAT,
                "it is a descriptor that names other files; only images in one file are read",
            ));
        }
        let mut header = Self::parse(&bytes)?;
        let (at, sectors) = (le64(&bytes, 28), le64(&bytes, 36));
        if at == 0 || sectors == 0 {
            return Err(DiskError::refused(
                FORMAT,
                "it has no descriptor inside: it is one of several files",
            ));
        }
        if sectors > DESCRIPTOR_SECTORS_MAX {
            return Err(DiskError::malformed(
                FORMAT,
                format!("a descriptor of {sectors} sectors is not possible"),
            ));
        }
        let length = index(sectors * SECTOR_BYTES);
        let text = fetch_vec(file, FORMAT, "the descriptor", bytes_of(at)?, length)?;
        descriptor::check(&text, header.capacity)?;
        header.data_from = at.saturating_add(sectors);
        match le64(&bytes, 56) {
            AT_END => header.with_footer(file),
            _ => Ok(header),
        }
    }

    fn parse(bytes: &[u8; 512]) -> Result<Self, DiskError> {
        let malformed = |reason: String| Err(DiskError::malformed(FORMAT, reason));
        if bytes[..4] != *MAGIC {
            return malformed("it does not begin with the mark of a sparse extent".to_owned());
        }
        let (version, flags) = (le32(bytes, 4), le32(bytes, 8));
        if !(1..=3).contains(&version) {
            return malformed(format!("version {version} is not known"));
        }
        let unknown = flags & !FLAGS_KNOWN;
        if unknown != 0 {
            return Err(DiskError::refused(
                FORMAT,
                format!("it has unknown flags ({unknown:#x})"),
            ));
        }
        if flags & 1 != 0 && bytes[73..77] != *b"\n \r\n" {
            return malformed("its line ends were changed on the way: it is damaged".to_owned());
        }
        let is_compressed = flags & FLAG_COMPRESSED != 0;
        if is_compressed != (le16(bytes, 77) == 1) || le16(bytes, 77) > 1 {
            return malformed(format!("compression {} is not known", le16(bytes, 77)));
        }
        let (capacity, grain) = (le64(bytes, 12), le64(bytes, 20));
        if capacity == 0 || capacity > CAPACITY_SECTORS_MAX {
            return malformed(format!("a disk of {capacity} sectors is not possible"));
        }
        if !grain.is_power_of_two() || !GRAIN_SECTORS.contains(&grain) {
            return malformed(format!("grains of {grain} sectors are not known"));
        }
        if capacity.div_ceil(grain) > GRAINS_MAX {
            return malformed(format!("{grain} sectors a grain are too few for the disk"));
        }
        if le32(bytes, 44) != TABLE_ENTRIES {
            return malformed(format!("grain tables of {} entries", le32(bytes, 44)));
        }
        let directory = le64(bytes, 56);
        Ok(Self {
            capacity,
            grain_bytes: grain * SECTOR_BYTES,
            directory_at: match directory {
                AT_END => 0,
                sector => bytes_of(sector)?,
            },
            has_zero_grains: flags & FLAG_ZERO_GRAINS != 0,
            is_compressed,
            data_from: 1,
        })
    }

    /// Takes the directory's place from the footer: marker, header again, end of stream.
    fn with_footer(self, file: &dyn Source) -> Result<Self, DiskError> {
        let mut bytes = [0; 512];
        let Some(at) = file.size_bytes().checked_sub(1024) else {
            return Err(DiskError::malformed(FORMAT, "the footer is missing"));
        };
        fetch(file, FORMAT, "the footer", at, &mut bytes)?;
        let footer = Self::parse(&bytes)?;
        let with_place = Self {
            directory_at: footer.directory_at,
            ..self
        };
        let same = Self {
            data_from: self.data_from,
            ..footer
        };
        if same != with_place || le64(&bytes, 56) == AT_END {
            return Err(DiskError::malformed(
                FORMAT,
                "header and footer of the stream disagree",
            ));
        }
        Ok(with_place)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.capacity * SECTOR_BYTES
    }

    pub(super) fn grains(&self) -> u64 {
        self.size_bytes().div_ceil(self.grain_bytes)
    }

    /// Returns the number of entries in every grain table.
    pub(super) fn table_entries(&self) -> u64 {
        u64::from(TABLE_ENTRIES)
    }
}

fn bytes_of(sector: u64) -> Result<u64, DiskError> {
    sector.checked_mul(SECTOR_BYTES).ok_or_else(|| {
        DiskError::malformed(FORMAT, format!("sector {sector} lies outside the file"))
    })
}
