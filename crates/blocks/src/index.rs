//! Where frames lie, and which blocks they hold.
//!
//! In memory are the packs' directories (72 bytes for 16 MiB of content) and the hooks of
//! deduplication (bounded); segments are read when they are needed and a bounded number is kept.
//! The map of frames is exact: a frame that is in no segment is not in the store.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::error::Result;
use crate::frame::{BlockId, Codec, FrameId};
use crate::hooks::Hooks;
use crate::objects::{Bytes, Objects, Room, pack_name};
use crate::pack::Pack;
use crate::segment::{Row, Segment};

/// Segments kept in memory: about 100 KiB each.
const SEGMENTS_MAX: usize = 128;
/// Packs kept open.
const OPEN_MAX: usize = 256;

/// Where a frame lies and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub pack: Arc<Pack>,
    pub offset: u64,
    pub length: u32,
    pub codec: Codec,
    pub blocks: usize,
    pub digest: [u8; 32],
}

impl Place {
    /// Returns the place of a row of a pack.
    pub fn new(pack: &Arc<Pack>, row: &Row) -> Self {
        Self {
            pack: pack.clone(),
            offset: row.offset,
            length: row.length,
            codec: row.codec,
            blocks: row.blocks.len(),
            digest: row.digest,
        }
    }
}

/// The maps of one store.
pub(crate) struct Index {
    state: RwLock<State>,
    hooks: Mutex<Hooking>,
    segments: Mutex<Recent<(Uuid, usize), Arc<Segment>>>,
    open: Mutex<Recent<Uuid, Bytes>>,
}

#[derive(Default)]
struct State {
    packs: BTreeMap<Uuid, Arc<Pack>>,
    /// Packs that were removed here: a list that was made before may still name them.
    removed: HashSet<Uuid>,
    /// Where an origin's frames may be: a pack and the number of its segment; newest last.
    origins: HashMap<Uuid, Vec<(Arc<Pack>, usize)>>,
}

struct Hooking {
    hooks: Hooks,
    /// The packs that hooks point to, by slot; `None` when the pack went.
    slots: Vec<Option<Arc<Pack>>>,
    known: HashMap<Uuid, u32>,
}

impl Index {
    pub fn new(hooks_bytes_max: usize) -> Self {
        Self {
            state: RwLock::default(),
            hooks: Mutex::new(Hooking {
                hooks: Hooks::new(hooks_bytes_max),
                slots: Vec::new(),
                known: HashMap::new(),
            }),
            segments: Mutex::new(Recent::new(SEGMENTS_MAX)),
            open: Mutex::new(Recent::new(OPEN_MAX)),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sealed pack; returns the one that counts: it may be known already, and who refers to it
    /// must see when it is about to go.
    pub fn add(&self, pack: Arc<Pack>) -> Arc<Pack> {
        let mut state = self.state_mut();
        if let Some(known) = state.packs.get(&pack.id) {
            return known.clone();
        }
        if state.removed.contains(&pack.id) {
            return pack;
        }
        state.packs.insert(pack.id, pack.clone());
        for (number, at) in pack.segments.iter().enumerate() {
            let places = state.origins.entry(at.origin).or_default();
            places.push((pack.clone(), number));
        }
        pack
    }

    /// Forgets packs that are about to be removed, for ever.
    pub fn remove(&self, gone: &[Uuid]) {
        self.state_mut().removed.extend(gone);
        self.forget(gone);
    }

    /// Whether a pack was removed here.
    pub fn was_removed(&self, id: Uuid) -> bool {
        self.state().removed.contains(&id)
    }

    /// Forgets packs with all that lies in them.
    pub fn forget(&self, gone: &[Uuid]) {
        if gone.is_empty() {
            return;
        }
        let mut state = self.state_mut();
        for id in gone {
            if let Some(pack) = state.packs.remove(id) {
                for at in &pack.segments {
                    if let Some(places) = state.origins.get_mut(&at.origin) {
                        places.retain(|(pack, _)| pack.id != *id);
                    }
                }
            }
        }
        state.origins.retain(|_, places| !places.is_empty());
        drop(state);
        let mut hooking = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        for id in gone {
            if let Some(slot) = hooking.known.remove(id) {
                hooking.slots[slot as usize] = None;
            }
        }
        drop(hooking);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|id| open.remove(id));
    }

    /// Returns every pack.
    pub fn packs(&self) -> Vec<Arc<Pack>> {
        self.state().packs.values().cloned().collect()
    }

    /// Returns one segment of a pack.
    pub fn segment(&self, objects: &Objects, pack: &Pack, number: usize) -> Result<Arc<Segment>> {
        let key = (pack.id, number);
        let recent = |index: &Self| {
            let mut segments = index
                .segments
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            segments.get(&key)
        };
        if let Some(segment) = recent(self) {
            return Ok(segment);
        }
        let segment = Arc::new(pack.segment(&self.bytes(objects, pack.id)?, number)?);
        self.segments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, segment.clone());
        Ok(segment)
    }

    /// Returns the bytes of a pack.
    pub fn bytes(&self, objects: &Objects, id: Uuid) -> Result<Bytes> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = open.get(&id) {
            return Ok(bytes);
        }
        let bytes = objects.open(Room::Packs, &pack_name(id))?;
        open.insert(id, bytes.clone());
        Ok(bytes)
    }

    /// Returns every place of a frame, the newest first, those that are about to go last. A segment
    /// that cannot be read is passed over, unless nothing else is left.
    pub fn places(&self, objects: &Objects, frame: FrameId) -> Result<Vec<Place>> {
        let mut candidates: Vec<(Arc<Pack>, usize)> = match self.state().origins.get(&frame.origin)
        {
            Some(places) => places
                .iter()
                .rev()
                .filter(|(pack, number)| {
                    let at = &pack.segments[*number];
                    (at.first..=at.last).contains(&frame.number)
                })
                .cloned()
                .collect(),
            None => Vec::new(),
        };
        candidates.sort_by_key(|(pack, _)| pack.is_dying());
        let mut places = Vec::new();
        let mut failed = None;
        for (pack, number) in candidates {
            match self.segment(objects, &pack, number) {
                Ok(segment) => {
                    places.extend(segment.row(frame.number).map(|row| Place::new(&pack, row)));
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if places.is_empty() => Err(error),
            _ => Ok(places),
        }
    }

    /// Adds the blocks of packs that are not in the hooks yet.
    pub fn hook_all(&self, objects: &Objects) {
        for pack in self.packs() {
            let is_known = {
                let hooking = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
                hooking.known.contains_key(&pack.id)
            };
            if is_known {
                continue;
            }
            let Ok(bytes) = self.bytes(objects, pack.id) else {
                continue;
            };
            let segments = (0..pack.segments.len()).map(|number| pack.segment(&bytes, number).ok());
            let segments: Vec<Option<Segment>> = segments.collect();
            self.hook(&pack, segments.iter().map(Option::as_ref));
        }
    }

    /// Adds the blocks of one pack; its segments come in their order.
    pub fn hook<'s>(&self, pack: &Arc<Pack>, segments: impl Iterator<Item = Option<&'s Segment>>) {
        let mut hooking = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let hooking = &mut *hooking;
        if hooking.known.contains_key(&pack.id) {
            return;
        }
        let slot = u32::try_from(hooking.slots.len()).unwrap_or(u32::MAX);
        hooking.slots.push(Some(pack.clone()));
        hooking.known.insert(pack.id, slot);
        for (number, segment) in (0_u32..).zip(segments) {
            for block in segment.iter().flat_map(|s| &s.rows).flat_map(|r| &r.blocks) {
                hooking.hooks.insert(*block, (slot, number), |kept| {
                    hooking.slots.get(kept as usize).is_none_or(Option::is_none)
                });
            }
        }
    }

    /// Whether every block has a hook.
    pub fn is_exact(&self) -> bool {
        let hooking = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooking.hooks.is_exact()
    }

    /// Returns the segment that a block may be in, and whether that answer is final.
    pub fn hooked(&self, block: BlockId) -> (Option<(Arc<Pack>, usize)>, bool) {
        let hooking = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = hooking.hooks.get(block).and_then(|(slot, number)| {
            let pack = hooking.slots.get(slot as usize)?.clone()?;
            (!pack.is_dying()).then_some((pack, number as usize))
        });
        (found, hooking.hooks.is_exact())
    }
}

/// The most recently used of something.
struct Recent<K, V> {
    held: HashMap<K, (V, u64)>,
    order: VecDeque<(K, u64)>,
    clock: u64,
    items_max: usize,
}

impl<K: Clone + Eq + std::hash::Hash, V: Clone> Recent<K, V> {
    fn new(items_max: usize) -> Self {
        Self {
            held: HashMap::new(),
            order: VecDeque::new(),
            clock: 0,
            items_max,
        }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let clock = self.clock;
        let (value, used) = self.held.get_mut(key)?;
        *used = clock;
        Some(value.clone())
    }

    fn insert(&mut self, key: K, value: V) {
        while self.held.len() >= self.items_max {
            let Some((oldest, queued)) = self.order.pop_front() else {
                break;
            };
            match self.held.get(&oldest) {
                // Used since it was queued: it stays for another round.
                Some((_, used)) if *used > queued => {
                    let used = *used;
                    self.order.push_back((oldest, used));
                }
                Some(_) => {
                    self.held.remove(&oldest);
                }
                None => {}
            }
        }
        self.clock += 1;
        if self.held.insert(key.clone(), (value, self.clock)).is_none() {
            self.order.push_back((key, self.clock));
        }
    }

    fn remove(&mut self, key: &K) {
        if self.held.remove(key).is_some() {
            self.order.retain(|(queued, _)| queued != key);
        }
    }
}
