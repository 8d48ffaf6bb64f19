//! The journal of a layer: what is where, in sectors that are old or new and never in between.
//!
//! ```text
//! sector     508 bytes, crc32 of them:u32
//! 0 and 1    "VTLY" version:u32 generation:u64 base:[32] has_base:u8 …:[7] size:u64 sectors:u64
//! from 2     sequence:u64 index:u32 total:u32 count:u32, then records
//! record     kind:u8 start:u64 end:u64     (1 data, 2 zero, in blocks; 3 the size is now `start` bytes)
//! ```
//!
//! A flush is one batch of `total` sectors, synced before the next begins: a crash can tear only the
//! last. Sectors are zeroed and synced before they are used, and the header, in slot generation % 2,
//! says how many there are. So a sector that is neither zero nor right, a file that is too short, or
//! a batch after an incomplete one is damage and never taken for the mark of a crash.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{BlocksError, Result, other_version};
use crate::files::{self, OpenFile, Temporary};
use crate::inner::Local;
use crate::layer::LayerId;
use crate::layer::map::{Change, Map, RECORD_BYTES};
use crate::manifest::ManifestId;

pub(crate) const SECTOR: usize = 512;
const SECTOR_BYTES: u64 = SECTOR as u64;
const BODY: usize = SECTOR - 4;
const MAGIC: &[u8; 4] = b"VTLY";
const VERSION: u32 = 2;
const HEADERS: u64 = 2;
const BATCH_HEADER_BYTES: usize = 20;
const RECORDS_MAX: usize = (BODY - BATCH_HEADER_BYTES) / RECORD_BYTES;
/// Sectors that are made ready at once.
const GROWTH: u64 = 128;
/// A journal of fewer sectors is never rewritten.
const REWRITE_MIN: u64 = 2048;
/// It is rewritten when that makes it smaller by this factor.
const REWRITE_FACTOR: u64 = 4;

type Sector = [u8; SECTOR];

/// The first sectors of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub generation: u64,
    pub base: Option<ManifestId>,
    pub size: u64,
    pub sectors: u64,
}

/// An open journal.
pub(crate) struct Journal {
    file: Arc<dyn OpenFile>,
    header: Header,
    /// The sector that the next batch begins at.
    at: u64,
    sequence: u64,
    /// A sync failed: what the file holds is not known any more.
    pub is_broken: bool,
}

impl Header {
    fn encode(&self) -> Sector {
        let mut out = Vec::with_capacity(SECTOR);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.base.map_or([0; 32], |id| id.0));
        out.extend_from_slice(&[u8::from(self.base.is_some()), 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.sectors.to_le_bytes());
        seal(&out)
    }

    fn decode(body: &[u8]) -> std::result::Result<Self, &'static str> {
        let mut fields = crate::segment::Fields { bytes: body };
        let short = "its header is cut short";
        if fields.array::<4>().ok_or(short)? != *MAGIC {
            return Err("it is no map of a layer");
        }
        let version = u32::from_le_bytes(fields.array().ok_or(short)?);
        if version != VERSION {
            return Err(other_version(version, VERSION));
        }
        let generation = u64::from_le_bytes(fields.array().ok_or(short)?);
        let base = ManifestId(fields.array().ok_or(short)?);
        let [has_base, ..] = fields.array::<8>().ok_or(short)?;
        Ok(Self {
            generation,
            base: (has_base == 1).then_some(base),
            size: u64::from_le_bytes(fields.array().ok_or(short)?),
            sectors: u64::from_le_bytes(fields.array().ok_or(short)?),
        })
    }
}

fn seal(bytes: &[u8]) -> Sector {
    let mut sector = [0; SECTOR];
    sector[..bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&sector[..BODY]);
    sector[BODY..].copy_from_slice(&crc.to_le_bytes());
    sector
}

/// What a sector turned out to be.
enum Found<'a> {
    Zero,
    Body(&'a [u8]),
    Bad,
}

fn check(sector: &[u8]) -> Found<'_> {
    if sector.iter().all(|byte| *byte == 0) {
        return Found::Zero;
    }
    let (body, crc) = sector.split_at(BODY);
    if crc32fast::hash(body).to_le_bytes() == crc {
        Found::Body(body)
    } else {
        Found::Bad
    }
}

/// Reads the header of a journal; `None` when it is not there.
pub(crate) fn read_header(local: &Local, path: &Path, id: LayerId) -> Result<Option<Header>> {
    let file = match local.files.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut slots = [0; SECTOR * 2];
    let read = files::read_full(file.as_ref(), &mut slots, 0)?;
    parse_header(id, &slots[..read]).map(Some)
}

fn parse_header(id: LayerId, slots: &[u8]) -> Result<Header> {
    let damaged = |reason: &str| BlocksError::damaged(format!("layer {id}"), reason);
    if slots.len() < SECTOR * 2 {
        return Err(damaged("its map is cut short"));
    }
    let mut newest: Option<Header> = None;
    let mut others = 0;
    for (slot, sector) in (0_u64..).zip(slots.chunks_exact(SECTOR).take(2)) {
        let body = match check(sector) {
            Found::Zero => continue,
            Found::Bad => return Err(damaged("its header does not match its checksum")),
            Found::Body(body) => body,
        };
        let header = Header::decode(body).map_err(damaged)?;
        if header.generation % 2 != slot {
            return Err(damaged("its headers are in the wrong places"));
        }
        match newest {
            Some(known) if known.generation.abs_diff(header.generation) != 1 => {
                return Err(damaged("its headers do not follow each other"));
            }
            _ => {}
        }
        others += 1;
        newest = Some(match newest {
            Some(known) if known.generation > header.generation => known,
            _ => header,
        });
    }
    let newest = newest.ok_or_else(|| damaged("it has no header"))?;
    // From the second generation on both slots are in use.
    if others < 2 && newest.generation > 0 {
        return Err(damaged("one of its headers is gone"));
    }
    Ok(newest)
}

impl Journal {
    /// Writes a new journal in place of what is there, durably. After an error the old one may be in
    /// place or the new one, but not durably: `Err` then has `true`.
    pub fn write(
        local: &Local,
        path: &Path,
        base: Option<ManifestId>,
        map: &Map,
    ) -> std::result::Result<Self, (io::Error, bool)> {
        let batch = batch(1, &map.changes());
        let used = HEADERS + batch.len() as u64;
        let header = Header {
            generation: 0,
            base,
            size: map.size,
            sectors: used + GROWTH,
        };
        let before = |error| (error, false);
        let temporary = Temporary::create(&local.files, &local.temporary).map_err(before)?;
        let mut bytes = header.encode().to_vec();
        bytes.resize(SECTOR * 2, 0);
        batch
            .iter()
            .for_each(|sector| bytes.extend_from_slice(sector));
        bytes.resize(usize::try_from(header.sectors).unwrap_or(0) * SECTOR, 0);
        temporary.file.write_at(&bytes, 0).map_err(before)?;
        temporary.file.sync().map_err(before)?;
        let file = temporary.file.clone();
        temporary
            .publish(path, true)
            .map_err(|error| (error, true))?;
        Ok(Self {
            file,
            header,
            at: used,
            sequence: 2,
            is_broken: false,
        })
    }

    /// Opens a journal and replays it; the last batch is made durable again, because the process
    /// that wrote it may have died before it was.
    pub fn load(local: &Local, path: &Path, id: LayerId) -> Result<(Self, Map)> {
        let file = match local.files.open(path, true) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlocksError::not_found(format!("layer {id}")));
            }
            Err(error) => return Err(error.into()),
        };
        let damaged = |reason: &str| BlocksError::damaged(format!("layer {id}"), reason);
        let length = file.length()?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged("it is too long"))?];
        files::read_exact(file.as_ref(), &mut bytes, 0)?;
        let header = parse_header(id, &bytes[..bytes.len().min(SECTOR * 2)])?;
        let end = header.sectors.checked_mul(SECTOR_BYTES);
        let end = end.filter(|end| *end <= length && header.sectors >= HEADERS);
        let end = end.ok_or_else(|| damaged("its map is cut short"))?;
        let sectors = &bytes[SECTOR * 2..usize::try_from(end).unwrap_or(0)];
        let replayed = replay(sectors, header.size).map_err(damaged)?;
        if let Some((at, total)) = replayed.last {
            let (from, to) = (at * SECTOR, (at + total) * SECTOR);
            file.write_at(&sectors[from..to], (HEADERS + at as u64) * SECTOR_BYTES)?;
            file.sync()?;
        }
        let journal = Self {
            file,
            header,
            at: HEADERS + replayed.used as u64,
            sequence: replayed.sequence + 1,
            is_broken: false,
        };
        Ok((journal, replayed.map))
    }

    /// Appends changes durably. After an error nothing of them counts, and they can be appended again
    /// unless the journal is broken.
    pub fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        self.sequence += 1;
        let batch = batch(self.sequence, changes);
        let end = self.at + batch.len() as u64;
        if end > self.header.sectors {
            self.grow(end + GROWTH)?;
        }
        let mut bytes = Vec::with_capacity(batch.len() * SECTOR);
        batch
            .iter()
            .for_each(|sector| bytes.extend_from_slice(sector));
        self.file.write_at(&bytes, self.at * SECTOR_BYTES)?;
        self.sync()?;
        self.at = end;
        Ok(())
    }

    fn grow(&mut self, sectors: u64) -> io::Result<()> {
        let from = self.header.sectors * SECTOR_BYTES;
        let length = usize::try_from(sectors * SECTOR_BYTES - from).unwrap_or(0);
        self.file.write_at(&vec![0; length], from)?;
        self.sync()?;
        let header = Header {
            generation: self.header.generation + 1,
            sectors,
            ..self.header
        };
        let slot = header.generation % 2;
        self.file.write_at(&header.encode(), slot * SECTOR_BYTES)?;
        self.sync()?;
        self.header = header;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync();
        self.is_broken |= synced.is_err();
        synced
    }

    /// Whether the journal is much longer than one that is written anew.
    pub fn is_long(&self, map: &Map) -> bool {
        let needed = map.runs.len().div_ceil(RECORDS_MAX) as u64;
        self.at > REWRITE_MIN && self.at > needed * REWRITE_FACTOR
    }
}

fn batch(sequence: u64, changes: &[Change]) -> Vec<Sector> {
    let total = u32::try_from(changes.len().div_ceil(RECORDS_MAX)).unwrap_or(u32::MAX);
    (0_u32..)
        .zip(changes.chunks(RECORDS_MAX))
        .map(|(index, some)| {
            let mut out = Vec::with_capacity(SECTOR);
            out.extend_from_slice(&sequence.to_le_bytes());
            out.extend_from_slice(&index.to_le_bytes());
            out.extend_from_slice(&total.to_le_bytes());
            let count = u32::try_from(some.len()).unwrap_or(0);
            out.extend_from_slice(&count.to_le_bytes());
            for change in some {
                out.extend_from_slice(&change.encode());
            }
            seal(&out)
        })
        .collect()
}

struct Replayed {
    map: Map,
    used: usize,
    sequence: u64,
    last: Option<(usize, usize)>,
}

struct Part {
    sequence: u64,
    index: u32,
    total: u32,
    changes: Vec<Change>,
}

fn parse_part(body: &[u8]) -> Option<Part> {
    let mut fields = crate::segment::Fields { bytes: body };
    let sequence = u64::from_le_bytes(fields.array()?);
    let index = u32::from_le_bytes(fields.array()?);
    let total = u32::from_le_bytes(fields.array()?);
    let count = u32::from_le_bytes(fields.array()?);
    let mut changes = Vec::new();
    for _ in 0..count {
        changes.push(Change::decode(fields.array()?)?);
    }
    Some(Part {
        sequence,
        index,
        total,
        changes,
    })
}

fn replay(bytes: &[u8], size: u64) -> std::result::Result<Replayed, &'static str> {
    let mut parts = Vec::with_capacity(bytes.len() / SECTOR);
    for sector in bytes.chunks_exact(SECTOR) {
        parts.push(match check(sector) {
            Found::Zero => None,
            Found::Body(body) => Some(parse_part(body).ok_or("a record of its map is unknown")?),
            Found::Bad => return Err("a sector of its map does not match its checksum"),
        });
    }
    let mut replayed = Replayed {
        map: Map::new(size),
        used: 0,
        sequence: 0,
        last: None,
    };
    while let Some(Some(first)) = parts.get(replayed.used) {
        let total = first.total as usize;
        let whole = parts
            .get(replayed.used..replayed.used + total)
            .filter(|parts| {
                (0_u32..).zip(*parts).all(|(index, part)| {
                    part.as_ref().is_some_and(|part| {
                        (part.sequence, part.index) == (first.sequence, index)
                            && part.total == first.total
                    })
                })
            });
        let Some(whole) = whole.filter(|_| first.sequence > replayed.sequence && total > 0) else {
            break;
        };
        for change in whole.iter().flatten().flat_map(|part| &part.changes) {
            replayed.map.apply(*change);
        }
        replayed.sequence = first.sequence;
        replayed.last = Some((replayed.used, total));
        replayed.used += total;
    }
    let end = replayed.used;
    let done = replayed.sequence;
    for (at, part) in parts.iter().enumerate().skip(end) {
        let Some(part) = part else { continue };
        // Batches begin where the one before ended: this one says that a batch is missing.
        if at > end && part.index == 0 && part.sequence > done {
            return Err("a batch of its map is missing");
        }
        replayed.sequence = replayed.sequence.max(part.sequence);
    }
    Ok(replayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_golden() {
        let header = Header {
            generation: 3,
            base: Some(ManifestId([7; 32])),
            size: 1 << 30,
            sectors: 130,
        };
        let sector = header.encode();
        assert_eq!(&sector[..16], b"VTLY\x02\0\0\0\x03\0\0\0\0\0\0\0");
        assert_eq!(sector[16..48], [7; 32]);
        assert_eq!(
            sector[48..72],
            *b"\x01\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\0\x82\0\0\0\0\0\0\0"
        );
        assert_eq!(Header::decode(&sector[..BODY]), Ok(header));
        let sectors = batch(
            9,
            &[Change::Data(1, 3), Change::Zero(4, 5), Change::Size(512)],
        );
        assert_eq!(sectors.len(), 1);
        assert_eq!(
            sectors[0][..20],
            [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]
        );
        assert_eq!(
            sectors[0][20..37],
            [1, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            sectors[0][54..71],
            [3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let crc = crc32fast::hash(&sectors[0][..BODY]);
        assert_eq!(sectors[0][BODY..], crc.to_le_bytes());
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let header = Header {
            generation: 0,
            base: None,
            size: 0,
            sectors: 2,
        };
        let mut body = header.encode()[..BODY].to_vec();
        body[4] += 1;
        assert!(Header::decode(&body).unwrap_err().contains("version"));
    }

    #[test]
    fn only_the_last_batch_may_be_torn() {
        let many: Vec<Change> = (0..100).map(|n| Change::Data(n * 2, n * 2 + 1)).collect();
        let batches = [batch(1, &many[..3]), batch(2, &many), batch(3, &many[3..9])];
        let good: Vec<u8> = batches.iter().flatten().flatten().copied().collect();
        let whole = replay(&good, 1 << 20).unwrap();
        assert_eq!(whole.used, 6);
        for sector in 0..6 {
            let mut bad = good.clone();
            bad[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            match replay(&bad, 1 << 20) {
                // The last batch was torn, or it is the last one's only sector.
                Ok(replayed) => assert!(sector == 5 && replayed.used == 5),
                Err(reason) => assert!(sector < 5, "{reason}"),
            }
            bad = good.clone();
            bad[sector * SECTOR + 100] ^= 4;
            assert!(replay(&bad, 1 << 20).is_err());
        }
        // Without the third batch the second may be torn anywhere.
        for sector in 1..5 {
            let mut bad = good[..5 * SECTOR].to_vec();
            bad[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            assert_eq!(replay(&bad, 1 << 20).unwrap().used, 1);
        }
    }
}
