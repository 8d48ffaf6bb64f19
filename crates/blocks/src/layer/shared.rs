//! The state that all handles of a layer share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use disk::{Extent, ExtentKind};

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::files;
use crate::inner::{Inner, Pin, lock};
use crate::layer::LayerId;
use crate::layer::data::DataFiles;
use crate::layer::frozen::{CHANGED_MAX, Moment};
use crate::layer::journal::{self, Journal};
use crate::layer::map::{Change, Map, State};
use crate::layer::pending::Pending;
use crate::layer::trouble::Troubles;
use crate::manifest::{Manifest, ManifestId};
use crate::reader::{self, check_range};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// An open layer.
pub(crate) struct Shared {
    pub id: LayerId,
    pub(super) store: Arc<Inner>,
    pub(super) base: Option<Base>,
    pub data: DataFiles,
    pub state: RwLock<Changing>,
    journal: Mutex<Journal>,
    written: AtomicU64,
    flushed: AtomicU64,
    is_closed: AtomicBool,
    /// What failed last, until something of its kind succeeds again.
    pub(crate) troubles: Troubles,
    /// One freeze at a time.
    pub(super) freezing: Mutex<()>,
}

/// The manifest below; no sweep removes it while the layer is open, deleted or not.
pub(super) struct Base {
    id: ManifestId,
    pub manifest: Arc<Manifest>,
    _pin: Pin,
}

/// What writers change.
pub(crate) struct Changing {
    pub map: Map,
    /// Not in the journal yet.
    changes: Vec<Change>,
    /// The same, for the next process.
    pending: Pending,
    /// The moment that a freeze is reading.
    pub(super) moment: Option<Arc<Moment>>,
}

fn map_path(store: &Inner, id: LayerId) -> PathBuf {
    store.local.directory.join(format!("{id}.map"))
}

/// Makes a new layer durable.
pub(super) fn create(
    store: &Inner,
    id: LayerId,
    base: Option<ManifestId>,
    size: u64,
) -> Result<()> {
    let path = map_path(store, id);
    if files::exists(store.local.files.as_ref(), &path)? {
        return Err(BlocksError::Invalid {
            reason: format!("layer {id} is there already"),
        });
    }
    Pending::clear(&store.local, id)?;
    DataFiles::new(&store.local, id).remove()?;
    match Journal::write(&store.local, &path, base, &Map::new(size)) {
        Ok(_) => Ok(()),
        Err((error, _)) => {
            drop(files::remove_if_there(store.local.files.as_ref(), &path));
            Err(error.into())
        }
    }
}

/// Removes a layer: its map first, so that a crash leaves no map without data.
pub(super) fn remove(store: &Inner, id: LayerId) -> Result<()> {
    let local = &store.local;
    files::remove_if_there(local.files.as_ref(), &map_path(store, id))?;
    local.files.sync_directory(&local.directory)?;
    Pending::clear(local, id)?;
    DataFiles::new(local, id).remove()?;
    Ok(local.files.sync_directory(&local.directory)?)
}

/// Returns the base of a layer without opening it, for the sweep.
pub(crate) fn base_of(store: &Inner, id: LayerId) -> Result<Option<ManifestId>> {
    let header = journal::read_header(&store.local, &map_path(store, id), id)?;
    let header = header.ok_or_else(|| BlocksError::not_found(format!("layer {id}")))?;
    Ok(header.base)
}

impl Shared {
    pub fn load(store: &Arc<Inner>, id: LayerId) -> Result<Self> {
        let (journal, mut map) = Journal::load(&store.local, &map_path(store, id), id)?;
        let (pending, changes) = Pending::load(&store.local, id)?;
        changes.iter().for_each(|change| map.apply(*change));
        let data = DataFiles::new(&store.local, id);
        data.open_all(map.size)?;
        let base = match base_of(store, id)? {
            Some(base) => {
                let (manifest, pin) = store.pin(base)?;
                Some(Base {
                    id: base,
                    manifest,
                    _pin: pin,
                })
            }
            None => None,
        };
        Ok(Self {
            id,
            store: store.clone(),
            base,
            data,
            state: RwLock::new(Changing {
                map,
                changes,
                pending,
                moment: None,
            }),
            journal: Mutex::new(journal),
            // The process before may have written without a flush: the first one here syncs.
            written: AtomicU64::new(1),
            flushed: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            troubles: Troubles::default(),
            freezing: Mutex::default(),
        })
    }

    pub fn base_id(&self) -> Option<ManifestId> {
        self.base.as_ref().map(|base| base.id)
    }

    /// Returns the manifest below and the store it lies in.
    pub fn below(&self) -> Option<(&Arc<Inner>, &Arc<Manifest>)> {
        let base = self.base.as_ref()?;
        Some((&self.store, &base.manifest))
    }

    pub fn map_read(&self) -> RwLockReadGuard<'_, Changing> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map_write(&self) -> RwLockWriteGuard<'_, Changing> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the layer: every call from now on is an error.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.data.close();
    }

    /// Whether something was written that a flush would make durable.
    pub fn is_unflushed(&self) -> bool {
        self.check_open().is_ok()
            && self.flushed.load(Ordering::Acquire) < self.written.load(Ordering::Acquire)
    }

    pub fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(BlocksError::Closed { id: self.id.0 });
        }
        Ok(())
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.map_read();
        check_range(offset, buffer.len() as u64, state.map.size)?;
        self.read_mapped(&state.map, offset, buffer)?;
        // What was read while the layer was being removed may be anything.
        self.check_open()
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

    pub fn read_base(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(base) = &self.base else {
            buffer.fill(0);
            return Ok(());
        };
        let inside = base.manifest.size_bytes().saturating_sub(offset);
        let inside = usize::try_from(inside)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let (below, beyond) = buffer.split_at_mut(inside);
        beyond.fill(0);
        reader::read_manifest(&self.store, &base.manifest, offset, below)
    }

    /// Locks the map for a change of so many blocks, when a freeze leaves room for it.
    fn change(&self, blocks: u64) -> Result<RwLockWriteGuard<'_, Changing>> {
        loop {
            let moment = self.map_read().moment.clone();
            if let Some(moment) = moment {
                moment.wait_for_room(blocks);
            }
            let state = self.map_write();
            self.check_open()?;
            // A freeze that began in between is waited for too, if the change is large.
            if state.moment.is_none() || blocks <= CHANGED_MAX {
                return Ok(state);
            }
        }
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.change(bytes.len() as u64 / BLOCK + 2)?;
        check_range(offset, bytes.len() as u64, state.map.size)?;
        self.write_locked(&mut state, offset, bytes)
    }

    fn write_locked(&self, state: &mut Changing, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset + bytes.len() as u64;
        let (first, last) = (offset / BLOCK, end.div_ceil(BLOCK));
        if let Some(moment) = &state.moment {
            moment.keep(self, first, last)?;
        }
        // Blocks that are written in part are made whole first.
        for block in [first, last - 1] {
            let is_partial = block * BLOCK < offset || (block + 1) * BLOCK > end;
            if is_partial && state.map.at(block).0 != State::Data {
                let mut whole = vec![0_u8; BLOCK_BYTES];
                self.read_mapped(&state.map, block * BLOCK, &mut whole)?;
                // What the base has beyond the end of the disk is not the disk's.
                let inside = state.map.size.saturating_sub(block * BLOCK).min(BLOCK);
                whole[usize::try_from(inside).unwrap_or(BLOCK_BYTES)..].fill(0);
                self.data.write_at(block * BLOCK, &whole)?;
            }
        }
        self.data.write_at(offset, bytes)?;
        if !state.map.is_data(first, last) {
            self.record(state, Change::Data(first, last))?;
        }
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn record(&self, state: &mut Changing, change: Change) -> Result<()> {
        state.pending.append(change)?;
        state.map.apply(change);
        state.changes.push(change);
        self.written.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let mut state = self.change(length / BLOCK + 2)?;
        check_range(offset, length, state.map.size)?;
        let end = offset + length;
        let (first, last) = (offset.div_ceil(BLOCK), end / BLOCK);
        let zeroes = |bytes: u64| vec![0_u8; usize::try_from(bytes).unwrap_or(0)];
        if first >= last {
            return self.write_locked(&mut state, offset, &zeroes(length));
        }
        let (head, tail) = (first * BLOCK - offset, end - last * BLOCK);
        self.write_locked(&mut state, offset, &zeroes(head))?;
        self.write_locked(&mut state, last * BLOCK, &zeroes(tail))?;
        if let Some(moment) = &state.moment {
            moment.keep(self, first, last)?;
        }
        self.data.discard(first * BLOCK, (last - first) * BLOCK)?;
        self.record(&mut state, Change::Zero(first, last))
    }

    pub fn resize(&self, size: u64) -> Result<()> {
        let (old, cut) = {
            // It waits for a freeze that is running: it may change any number of blocks.
            let mut state = self.change(u64::MAX)?;
            let old = state.map.size;
            // The rest of the last block is zero, whatever base or data have there.
            let low = old.min(size);
            let rest = low.next_multiple_of(BLOCK).min(old.max(size)) - low;
            if old != size && rest > 0 {
                state.map.size = old.max(size);
                let rest = vec![0_u8; usize::try_from(rest).unwrap_or(0)];
                let wiped = self.write_locked(&mut state, low, &rest);
                state.map.size = old;
                wiped?;
            }
            self.record(&mut state, Change::Size(size))?;
            (old, size.next_multiple_of(BLOCK))
        };
        self.flush()?;
        if cut < old {
            // Only what the durable map does not name any more, and nobody wrote since.
            let state = self.change(u64::MAX)?;
            let (kind, end) = state.map.at(cut / BLOCK);
            if kind == State::Zero && end.saturating_mul(BLOCK) >= old {
                self.data.discard(cut, old - cut)?;
            }
        }
        Ok(())
    }

    pub fn flush(&self) -> Result<()> {
        self.check_open()?;
        let wanted = self.written.load(Ordering::Acquire);
        let mut journal = lock(&self.journal);
        if self.flushed.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        self.check_open()?;
        let (changes, map, upto, cut) = {
            let mut state = self.map_write();
            let is_long = journal.is_long(&state.map);
            let map = is_long.then(|| state.map.clone());
            let changes = std::mem::take(&mut state.changes);
            let cut = (!changes.is_empty()).then(|| state.pending.cut());
            (changes, map, self.written.load(Ordering::Acquire), cut)
        };
        if let Err(error) = self.data.sync() {
            self.distrust();
            return Err(error);
        }
        let kept = self.keep(&mut journal, &changes, map.as_ref());
        if let Err(error) = kept {
            // The next flush has to keep them again, in the same order.
            let mut state = self.map_write();
            let newer = std::mem::replace(&mut state.changes, changes);
            state.changes.extend(newer);
            return Err(error);
        }
        self.flushed.store(upto, Ordering::Release);
        if let Some(cut) = cut {
            self.map_write().pending.forget(cut);
        }
        Ok(())
    }

    /// Ends the layer because nobody knows what the storage holds: only what is durable counts.
    fn distrust(&self) {
        self.close();
        self.map_write().pending.remove_all();
    }

    /// Appends changes to the journal, or writes it anew from the map after them.
    fn keep(&self, journal: &mut Journal, changes: &[Change], map: Option<&Map>) -> Result<()> {
        if let Some(map) = map {
            let path = map_path(&self.store, self.id);
            match Journal::write(&self.store.local, &path, self.base_id(), map) {
                Ok(new) => {
                    *journal = new;
                    return Ok(());
                }
                Err((error, true)) => {
                    self.distrust();
                    return Err(error.into());
                }
                // The old one is in place: it grows a little more.
                Err((error, false)) => tracing::warn!(layer.id = %self.id, %error, "not rewritten"),
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let appended = journal.append(changes);
        if journal.is_broken {
            self.distrust();
        }
        Ok(appended?)
    }

    pub fn extent_at(&self, offset: u64) -> Result<Extent> {
        let state = self.map_read();
        let map = &state.map;
        check_range(offset, 1, map.size)?;
        let (kind, end) = map.at(offset / BLOCK);
        let length = end.saturating_mul(BLOCK).min(map.size) - offset;
        let kind = match (kind, &self.base) {
            (State::Data, _) => ExtentKind::Data,
            (State::Base, Some(base)) if offset < base.manifest.size_bytes() => {
                let below = reader::extent_at(&base.manifest, offset);
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
}
