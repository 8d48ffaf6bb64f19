//! Writable layers: what was written over a manifest, in a sparse file, with a journal of what is where.
//!
//! Data before map: `flush` syncs the data file, then appends the changed runs to the journal and
//! syncs it. What was flushed survives; what was not is old or new, block by block.
//!
//! ```text
//! {id}.data.N sparse file of TiB 4N … 4N+4, block n at n × 4096 from there
//! {id}.map   "VTLY" version:u32 base:[32] has_base:u8 …:[7] size:u64 crc:u32, then records
//! record     start:u64 end:u64 state:u8 …:[3] crc:u32     (state 3: the size is now `start`)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use disk::{DiskError, Extent, ExtentKind, Source};
use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::ingest::{self, Ingested, Progress};
use crate::layer_data::DataFiles;
use crate::manifest::{Manifest, ManifestId};
use crate::reader::{self, check_range};
use crate::store::{Inner, Store, blocking};
use crate::{BLOCK_BYTES, DISK_BYTES_MAX};

const BLOCK: u64 = BLOCK_BYTES as u64;
const MAGIC: &[u8; 4] = b"VTLY";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 60;
const RECORD_BYTES: usize = 24;

/// The name of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub Uuid);

impl From<Uuid> for LayerId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<LayerId> for Uuid {
    fn from(id: LayerId) -> Self {
        id.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a run of blocks holds; runs that are not listed are the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Base,
    Data,
    Zero,
}

/// A writable disk; clones share it.
#[derive(Clone)]
pub struct Layer(Arc<Shared>);

pub(crate) struct Shared {
    store: Arc<Inner>,
    base: Option<(ManifestId, Arc<Manifest>)>,
    data: DataFiles,
    map: RwLock<Map>,
    journal: Mutex<File>,
    written: AtomicU64,
    flushed: AtomicU64,
}

struct Map {
    size: u64,
    /// Start → (end, state), in blocks, never `Base`.
    runs: BTreeMap<u64, (u64, State)>,
    changed: Vec<(u64, u64, u8)>,
}

impl Layer {
    pub(crate) fn create(
        store: &Store,
        id: LayerId,
        base: Option<ManifestId>,
        size: u64,
    ) -> Result<Self> {
        if size > DISK_BYTES_MAX {
            return Err(BlocksError::Invalid {
                reason: format!("a disk can have at most {DISK_BYTES_MAX} bytes"),
            });
        }
        let _kept = store.0.keep();
        if let Some(base) = base {
            store.0.manifest(base)?;
        }
        DataFiles::new(store.0.directories.layers.clone(), id).remove()?;
        store
            .0
            .directories
            .write_durable(&map_path(&store.0, id), &header(base, size))?;
        Self::open(store, id)
    }

    pub(crate) fn open(store: &Store, id: LayerId) -> Result<Self> {
        let mut open = store
            .0
            .open_layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(Self(shared));
        }
        open.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(load(&store.0, id)?);
        open.insert(id, Arc::downgrade(&shared));
        Ok(Self(shared))
    }

    pub(crate) fn delete(store: &Store, id: LayerId) -> Result<()> {
        store
            .0
            .open_layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        match fs::remove_file(map_path(&store.0, id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        DataFiles::new(store.0.directories.layers.clone(), id).remove()?;
        crate::storage::sync_directory(&store.0.directories.layers)
    }

    pub(crate) fn list(store: &Store) -> Result<Vec<LayerId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&store.0.directories.layers)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "map") {
                let id = path
                    .file_stem()
                    .and_then(|s| s.to_str())
                    .and_then(|s| Uuid::parse_str(s).ok());
                ids.extend(id.map(LayerId));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Returns the manifest below.
    pub fn base(&self) -> Option<ManifestId> {
        self.0.base.as_ref().map(|(id, _)| *id)
    }

    /// Returns the virtual size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.size()
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = self.read(offset, buffer.len()).await?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Returns `length` bytes at `offset`.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let shared = self.0.clone();
        blocking(move || {
            let mut buffer = vec![0_u8; length];
            shared.read_now(offset, &mut buffer)?;
            Ok(buffer)
        })
        .await
    }

    /// Writes bytes; durable after the next flush.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (shared, bytes) = (self.0.clone(), bytes.to_vec());
        blocking(move || shared.write_now(offset, &bytes)).await
    }

    /// Makes a range zero and gives its space back.
    pub async fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        let shared = self.0.clone();
        blocking(move || shared.zero_now(offset, length)).await
    }

    /// Makes everything written so far durable; callers at the same time share one sync.
    pub async fn flush(&self) -> Result<()> {
        let shared = self.0.clone();
        blocking(move || shared.flush_now()).await
    }

    /// Changes the size; what is cut off is gone, what is added is zero.
    pub async fn resize(&self, size: u64) -> Result<()> {
        let shared = self.0.clone();
        blocking(move || shared.resize_now(size)).await
    }

    /// Returns the run that `offset` lies in, from `offset` on.
    pub fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.0.extent_now(offset)
    }

    /// Makes an immutable disk of the first `length` bytes as they are now; the layer goes on.
    pub async fn freeze(&self, length: Option<u64>) -> Result<Ingested> {
        let shared = self.0.clone();
        blocking(move || shared.freeze_now(length)).await
    }
}

fn map_path(store: &Inner, id: LayerId) -> PathBuf {
    store.directories.layers.join(format!("{id}.map"))
}

fn header(base: Option<ManifestId>, size: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&base.map_or([0; 32], |id| id.0));
    out.extend_from_slice(&[u8::from(base.is_some()), 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&size.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Returns the base of a layer without opening it, for the sweep.
pub(crate) fn base_of(store: &Inner, id: LayerId) -> Result<Option<ManifestId>> {
    let mut bytes = [0_u8; HEADER_BYTES];
    File::open(map_path(store, id))?.read_exact(&mut bytes)?;
    parse_header(id, &bytes).map(|(base, _)| base)
}

fn parse_header(id: LayerId, bytes: &[u8; HEADER_BYTES]) -> Result<(Option<ManifestId>, u64)> {
    let damaged = || {
        BlocksError::damaged(
            format!("layer {id}"),
            "its header does not match its checksum",
        )
    };
    let crc = u32::from_le_bytes(bytes[56..60].try_into().map_err(|_| damaged())?);
    if crc32fast::hash(&bytes[..56]) != crc
        || bytes[..4] != *MAGIC
        || bytes[4..8] != VERSION.to_le_bytes()
    {
        return Err(damaged());
    }
    let base: [u8; 32] = bytes[8..40].try_into().map_err(|_| damaged())?;
    let size = u64::from_le_bytes(bytes[48..56].try_into().map_err(|_| damaged())?);
    Ok(((bytes[40] == 1).then_some(ManifestId(base)), size))
}

fn load(store: &Arc<Inner>, id: LayerId) -> Result<Shared> {
    let mut journal = match OpenOptions::new()
        .read(true)
        .append(true)
        .open(map_path(store, id))
    {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BlocksError::not_found(format!("layer {id}")));
        }
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    journal.read_to_end(&mut bytes)?;
    let (head, records) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or_else(|| BlocksError::damaged(format!("layer {id}"), "its map is cut short"))?;
    let (base, size) = parse_header(id, head)?;
    let mut map = Map {
        size,
        runs: BTreeMap::new(),
        changed: Vec::new(),
    };
    let mut good = HEADER_BYTES as u64;
    for record in records.chunks(RECORD_BYTES) {
        // A record that a crash cut short ends the journal: it was never acknowledged.
        let Some((start, end, state)) = parse_record(record) else {
            break;
        };
        map.replay(start, end, state);
        good += RECORD_BYTES as u64;
    }
    if good < bytes.len() as u64 {
        journal.set_len(good)?;
        journal.sync_all()?;
    }
    let base = base
        .map(|id| store.manifest(id).map(|manifest| (id, manifest)))
        .transpose()?;
    Ok(Shared {
        store: store.clone(),
        base,
        data: DataFiles::new(store.directories.layers.clone(), id),
        map: RwLock::new(map),
        journal: Mutex::new(journal),
        written: AtomicU64::new(0),
        flushed: AtomicU64::new(0),
    })
}

fn parse_record(record: &[u8]) -> Option<(u64, u64, u8)> {
    let record: &[u8; RECORD_BYTES] = record.try_into().ok()?;
    let crc = u32::from_le_bytes(record[20..].try_into().ok()?);
    if crc32fast::hash(&record[..20]) != crc || record[16] > 3 {
        return None;
    }
    let start = u64::from_le_bytes(record[..8].try_into().ok()?);
    let end = u64::from_le_bytes(record[8..16].try_into().ok()?);
    Some((start, end, record[16]))
}

impl Map {
    fn replay(&mut self, start: u64, end: u64, state: u8) {
        match state {
            1 => self.set(start, end, State::Data),
            2 => self.set(start, end, State::Zero),
            3 => self.set_size(start),
            _ => {}
        }
    }

    fn set_size(&mut self, size: u64) {
        let (old, new) = (self.size.div_ceil(BLOCK), size.div_ceil(BLOCK));
        // What comes back after a cut must not come from the base.
        let (low, high) = (old.min(new), old.max(new));
        if low < high {
            self.set(low, high, State::Zero);
        }
        self.size = size;
    }

    /// Sets a run, cutting and replacing what it covers.
    fn set(&mut self, start: u64, end: u64, state: State) {
        let (mut start, mut end) = (start, end);
        let first = self
            .runs
            .range(..start)
            .next_back()
            .map(|(s, (e, st))| (*s, *e, *st));
        if let Some((s, e, st)) = first
            && e >= start
        {
            if st == state {
                start = s;
                end = end.max(e);
            } else if e > start {
                self.runs.insert(s, (start, st));
                if e > end {
                    self.runs.insert(end, (e, st));
                }
            }
        }
        let covered: Vec<(u64, (u64, State))> = self
            .runs
            .range(start..=end)
            .map(|(s, run)| (*s, *run))
            .collect();
        for (s, (e, st)) in covered {
            if st == state {
                end = end.max(e);
                self.runs.remove(&s);
            } else if s < end {
                self.runs.remove(&s);
                if e > end {
                    self.runs.insert(end, (e, st));
                }
            }
        }
        self.runs.insert(start, (end, state));
    }

    /// Returns the state of a block and where its run ends.
    fn at(&self, block: u64) -> (State, u64) {
        if let Some((_, (end, state))) = self.runs.range(..=block).next_back()
            && *end > block
        {
            return (*state, *end);
        }
        let next = self
            .runs
            .range(block + 1..)
            .next()
            .map_or(u64::MAX, |(start, _)| *start);
        (State::Base, next)
    }
}

impl Shared {
    fn size(&self) -> u64 {
        self.map.read().unwrap_or_else(PoisonError::into_inner).size
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        check_range(offset, buffer.len() as u64, map.size)?;
        self.read_mapped(&map, offset, buffer)
    }

    fn read_mapped(&self, map: &Map, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (state, end) = map.at(at / BLOCK);
            let run = usize::try_from(end.saturating_mul(BLOCK) - at).unwrap_or(usize::MAX);
            let length = run.min(buffer.len() - done);
            let part = &mut buffer[done..done + length];
            match state {
                State::Data => self.data.read_at(at, part)?,
                State::Zero => part.fill(0),
                State::Base => self.read_base(at, part)?,
            }
            done += length;
        }
        Ok(())
    }

    fn read_base(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some((_, base)) = &self.base else {
            buffer.fill(0);
            return Ok(());
        };
        let inside = usize::try_from(base.size_bytes().saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let (below, beyond) = buffer.split_at_mut(inside);
        beyond.fill(0);
        reader::read_manifest(&self.store, base, offset, below)
    }

    fn write_now(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        check_range(offset, bytes.len() as u64, map.size)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset + bytes.len() as u64;
        let (first, last) = (offset / BLOCK, end.div_ceil(BLOCK));
        // Blocks that are written in part are made whole first.
        for block in [first, last - 1] {
            let is_partial = block * BLOCK < offset || (block + 1) * BLOCK > end;
            if is_partial && map.at(block).0 != State::Data {
                let mut whole = vec![0_u8; BLOCK_BYTES];
                self.read_mapped(&map, block * BLOCK, &mut whole)?;
                self.data.write_at(block * BLOCK, &whole)?;
            }
        }
        self.data.write_at(offset, bytes)?;
        map.set(first, last, State::Data);
        map.changed.push((first, last, 1));
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn zero_now(&self, offset: u64, length: u64) -> Result<()> {
        check_range(offset, length, self.size())?;
        let end = offset + length;
        let (first, last) = (offset.div_ceil(BLOCK), end / BLOCK);
        if first >= last {
            return self.write_now(offset, &vec![0_u8; usize::try_from(length).unwrap_or(0)]);
        }
        let (head, tail) = (first * BLOCK - offset, end - last * BLOCK);
        self.write_now(offset, &vec![0_u8; usize::try_from(head).unwrap_or(0)])?;
        self.write_now(
            last * BLOCK,
            &vec![0_u8; usize::try_from(tail).unwrap_or(0)],
        )?;
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        self.data.discard(first * BLOCK, (last - first) * BLOCK)?;
        map.set(first, last, State::Zero);
        map.changed.push((first, last, 2));
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn resize_now(&self, size: u64) -> Result<()> {
        if size > DISK_BYTES_MAX {
            return Err(BlocksError::Invalid {
                reason: format!("a disk can have at most {DISK_BYTES_MAX} bytes"),
            });
        }
        let old = self.size();
        let cut = old.min(size) % BLOCK;
        if size < old && cut != 0 {
            // The rest of the last block must read as zero if the disk grows again.
            let rest = (BLOCK - cut).min(old - size);
            self.write_now(size, &vec![0_u8; usize::try_from(rest).unwrap_or(0)])?;
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let end = size.next_multiple_of(BLOCK);
        if end < map.size {
            self.data.discard(end, map.size - end)?;
        }
        map.set_size(size);
        map.changed.push((size, 0, 3));
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn flush_now(&self) -> Result<()> {
        let wanted = self.written.load(Ordering::Acquire);
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if self.flushed.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let (changed, upto) = {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            (
                std::mem::take(&mut map.changed),
                self.written.load(Ordering::Acquire),
            )
        };
        let done = self.data.sync().and_then(|()| {
            let mut out = Vec::with_capacity(changed.len() * RECORD_BYTES);
            for (start, end, state) in &changed {
                let at = out.len();
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
                out.extend_from_slice(&[*state, 0, 0, 0]);
                let crc = crc32fast::hash(&out[at..]);
                out.extend_from_slice(&crc.to_le_bytes());
            }
            journal.write_all(&out)?;
            journal.sync_data()?;
            Ok(())
        });
        if let Err(error) = done {
            // Not durable: the next flush has to write them again, in the same order.
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            let newer = std::mem::replace(&mut map.changed, changed);
            map.changed.extend(newer);
            return Err(error);
        }
        self.flushed.store(upto, Ordering::Release);
        Ok(())
    }

    fn extent_now(&self, offset: u64) -> Result<Extent> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        check_range(offset, 1, map.size)?;
        let (state, end) = map.at(offset / BLOCK);
        let length = end.saturating_mul(BLOCK).min(map.size) - offset;
        let kind = match (state, &self.base) {
            (State::Data, _) => ExtentKind::Data,
            (State::Base, Some((_, base))) if offset < base.size_bytes() => {
                let below = reader::extent_at(base, offset);
                return Ok(Extent {
                    offset,
                    length: length.min(below.length),
                    kind: below.kind,
                });
            }
            _ => ExtentKind::Zero,
        };
        Ok(Extent {
            offset,
            length,
            kind,
        })
    }

    fn freeze_now(self: &Arc<Self>, length: Option<u64>) -> Result<Ingested> {
        // Writers wait: the disk is that of one moment.
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let size = length.unwrap_or(map.size);
        check_range(0, size, map.size)?;
        let mut touched: Vec<(u64, u64)> = map
            .runs
            .iter()
            .map(|(start, (end, _))| (start * BLOCK, (end * BLOCK).min(size)))
            .filter(|(start, end)| start < end)
            .collect();
        let base = self.base.as_ref().map(|(_, manifest)| manifest.as_ref());
        if let Some(base) = base
            && size % BLOCK != 0
            && size < base.size_bytes()
        {
            // The cut goes through a block of the base: it is made anew, filled up with zeroes.
            let start = size / BLOCK * BLOCK;
            touched.push((start, size));
            touched.sort_unstable();
        }
        let frozen = Frozen {
            layer: self,
            map: &map,
            size,
        };
        ingest::with_base(
            &self.store,
            &frozen,
            size,
            base,
            &touched,
            &Progress::default(),
        )
    }
}

/// A layer at one moment, as a source.
struct Frozen<'a> {
    layer: &'a Shared,
    map: &'a Map,
    size: u64,
}

impl Source for Frozen<'_> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), DiskError> {
        let read = self.layer.read_mapped(self.map, offset, buffer);
        read.map_err(|error| DiskError::Io(std::io::Error::other(error)))
    }

    fn extent_at(&self, offset: u64) -> std::result::Result<Extent, DiskError> {
        Ok(Extent {
            offset,
            length: self.size - offset,
            kind: ExtentKind::Data,
        })
    }
}
