//! Sweep: what nobody refers to goes, after a wait; thin packs are rewritten.
//!
//! A manifest that is not live is marked with the time of the first sweep that saw it so, and goes
//! with the first sweep after its wait, unless it is the base of a layer or somebody reads it. Making
//! it again, or taking it as a base, takes the mark away. Packs are condemned before they go, see
//! `gate`; what is live in them lies durably in new packs before the old ones are removed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::copy::fetch;
use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::inner::{Inner, Sealed, lock};
use crate::layer;
use crate::manifest::{Manifest, ManifestId};
use crate::objects::{Room, pack_name, pack_of};
use crate::pack::{self, Pack};
use crate::store::{Store, blocking};

/// A pack is rewritten when less than this part of its frames, in percent, is live.
const THIN_PERCENT: u64 = 50;
/// How long a sweep waits for work that began before it; then it is put off.
const WAIT: Duration = Duration::from_secs(600);

/// Manifests removed while the names are held: nobody waits long for them.
const REMOVED_AT_ONCE_MAX: usize = 16;

/// What a sweep would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepPlan {
    /// Manifests whose wait is over, with the time they were marked.
    pub manifests: Vec<(ManifestId, i64)>,
    /// Manifests that wait.
    pub waiting: u64,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Manifests removed.
    pub manifests: u64,
    /// Packs removed or rewritten.
    pub packs: u64,
    /// Bytes that went back to the storage.
    pub freed_bytes: u64,
}

impl Store {
    /// Marks manifests that are not in `live` and returns those that have been so for `grace_ms`.
    pub async fn sweep_plan(
        &self,
        live: &BTreeSet<ManifestId>,
        now_ms: i64,
        grace_ms: i64,
    ) -> Result<SweepPlan> {
        let (store, live) = (self.clone(), live.clone());
        blocking(move || plan(&store.0, live, now_ms, grace_ms)).await
    }

    /// Removes what the plan names and what no manifest refers to any more.
    pub async fn sweep(&self, plan: SweepPlan) -> Result<Swept> {
        let store = self.clone();
        blocking(move || execute(&store.0, &plan)).await
    }
}

/// Returns the manifests that layers stand on.
pub(crate) fn bases(store: &Inner) -> Result<BTreeSet<ManifestId>> {
    let mut bases = BTreeSet::new();
    for id in store.local.layers()? {
        match layer::base_of(store, id) {
            Ok(base) => bases.extend(base),
            // It was deleted after the list was made.
            Err(BlocksError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bases)
}

fn plan(
    store: &Inner,
    mut live: BTreeSet<ManifestId>,
    now_ms: i64,
    grace_ms: i64,
) -> Result<SweepPlan> {
    live.extend(bases(store)?);
    let mut plan = SweepPlan::default();
    let manifests: BTreeSet<ManifestId> = store.manifest_ids()?.into_iter().collect();
    let mut marked = BTreeSet::new();
    for (name, _) in store.objects.list(Room::Unreferenced)? {
        match name.parse::<ManifestId>() {
            Ok(id) if manifests.contains(&id) && !live.contains(&id) => {
                marked.insert(id);
            }
            // Live again, or left by a crash between manifest and mark.
            _ => store.objects.remove(Room::Unreferenced, &name)?,
        }
    }
    for id in manifests.difference(&live) {
        let since = match marked.contains(id) {
            true => read_mark(store, *id)?,
            false => None,
        };
        let since = match since {
            Some(since) => since,
            None => {
                let text = now_ms.to_string();
                let name = id.to_string();
                store
                    .objects
                    .put(Room::Unreferenced, &name, text.as_bytes())?;
                now_ms
            }
        };
        if since.saturating_add(grace_ms) <= now_ms {
            plan.manifests.push((*id, since));
        } else {
            plan.waiting += 1;
        }
    }
    Ok(plan)
}

fn read_mark(store: &Inner, id: ManifestId) -> Result<Option<i64>> {
    let bytes = store.objects.get(Room::Unreferenced, &id.to_string())?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

fn execute(store: &Inner, plan: &SweepPlan) -> Result<Swept> {
    let _one = lock(&store.sweeping);
    let mut swept = Swept {
        manifests: remove_manifests(store, plan)?,
        ..Swept::default()
    };
    remove_leftovers(store)?;
    let oldest = store.gate.oldest();
    let all = store.packs()?;
    let dying = thin(store, &all, &live_frames(store)?, oldest)?;
    if dying.is_empty() {
        return Ok(swept);
    }
    let mut condemned = Condemned(dying);
    if !store.gate.wait_for_older(store.gate.now(), WAIT) {
        return Ok(swept);
    }
    // Whoever began before is done; what it refers to has a manifest now, or is refused to it.
    let live = live_frames(store)?;
    let dying = &condemned.0;
    let before: u64 = dying.iter().map(|pack| pack.bytes).sum();
    let new = rewrite(store, dying, &live)?;
    let after: u64 = new.iter().map(|(pack, _)| pack.bytes).sum();
    swept.packs = dying.len() as u64;
    swept.freed_bytes = before.saturating_sub(after);
    let ids: Vec<Uuid> = dying.iter().map(|pack| pack.id).collect();
    store.index.remove(&ids);
    for (pack, segments) in &new {
        store.index.hook(pack, segments.iter().map(Some));
    }
    for id in ids {
        store.objects.remove(Room::Packs, &pack_name(id))?;
    }
    condemned.0.clear();
    Ok(swept)
}

/// Removes packs that an earlier sweep or repair gave up and could not remove.
fn remove_leftovers(store: &Inner) -> Result<()> {
    for (name, _) in store.objects.list(Room::Packs)? {
        if pack_of(&name).is_some_and(|id| store.index.was_removed(id)) {
            store.objects.remove(Room::Packs, &name)?;
        }
    }
    Ok(())
}

/// Packs that nothing new may refer to; dropped before they are gone, they may again.
struct Condemned(Vec<Arc<Pack>>);

impl Drop for Condemned {
    fn drop(&mut self) {
        self.0.iter().for_each(|pack| pack.set_dying(false));
    }
}

fn remove_manifests(store: &Inner, plan: &SweepPlan) -> Result<u64> {
    let mut removed = 0;
    for some in plan.manifests.chunks(REMOVED_AT_ONCE_MAX) {
        let names = lock(&store.names);
        let bases = bases(store)?;
        for (id, since) in some {
            // Somebody may have made it again since the plan, or stands on it, or reads it.
            let is_wanted = read_mark(store, *id)? != Some(*since)
                || store.is_pinned(*id)
                || bases.contains(id);
            if !is_wanted {
                store.remove_manifest(&names, *id)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The frames that manifests need: a bit a frame.
#[derive(Default)]
pub(crate) struct Live(HashMap<Uuid, Vec<u64>>);

impl Live {
    pub fn add(&mut self, manifest: &Manifest) {
        for run in manifest.runs() {
            let bits = self.0.entry(manifest.origin(run)).or_default();
            let (first, last) = (run.first / 16, (run.first + run.count - 1) / 16);
            for frame in first..=last {
                set_bit(bits, frame);
            }
        }
    }

    /// Adds a frame; whether it was not in before.
    fn insert(&mut self, frame: FrameId) -> bool {
        let bits = self.0.entry(frame.origin).or_default();
        set_bit(bits, u64::from(frame.number))
    }

    pub fn contains(&self, frame: FrameId) -> bool {
        let word = (frame.number / 64) as usize;
        let bits = self.0.get(&frame.origin).and_then(|bits| bits.get(word));
        bits.is_some_and(|bits| bits >> (frame.number % 64) & 1 == 1)
    }
}

fn set_bit(bits: &mut Vec<u64>, at: u64) -> bool {
    let Ok(word) = usize::try_from(at / 64) else {
        return false;
    };
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    let bit = 1 << (at % 64);
    let is_new = bits[word] & bit == 0;
    bits[word] |= bit;
    is_new
}

/// Returns every frame that any manifest needs.
fn live_frames(store: &Inner) -> Result<Live> {
    let mut live = Live::default();
    for id in store.manifest_ids()? {
        match store.read_manifest(id) {
            Ok(manifest) => live.add(&manifest),
            // Removed since the list was made, by whom the sweep is not in the way of.
            Err(BlocksError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(live)
}

/// Condemns and returns the packs with little that is live and in no better pack, if they were
/// sealed before `oldest`.
fn thin(store: &Inner, packs: &[Arc<Pack>], live: &Live, oldest: u64) -> Result<Vec<Arc<Pack>>> {
    let mut ordered = Vec::new();
    for pack in packs {
        let count = live_in(store, pack, live)?.len() as u64;
        ordered.push((Reverse(count * 1000 / pack.frames.max(1)), pack));
    }
    // The fullest packs first, then the smaller: what lies in two counts for the better one.
    ordered.sort_unstable_by_key(|(part, pack)| (*part, pack.bytes, pack.id));
    let mut counted = Live::default();
    let mut thin = Vec::new();
    for (_, pack) in ordered {
        let frames = live_in(store, pack, live)?;
        let new = frames.into_iter().filter(|frame| counted.insert(*frame));
        if (new.count() as u64) * 100 < pack.frames * THIN_PERCENT && pack.born < oldest {
            pack.set_dying(true);
            thin.push(pack.clone());
        }
    }
    Ok(thin)
}

/// Returns the live frames of a pack. One whose tables cannot be read holds whatever it may hold.
fn live_in(store: &Inner, pack: &Pack, live: &Live) -> Result<Vec<FrameId>> {
    let mut frames = Vec::new();
    for (number, at) in pack.segments.iter().enumerate() {
        let id = |number| FrameId {
            origin: at.origin,
            number,
        };
        let any = (at.first..=at.last).filter(|number| live.contains(id(*number)));
        let is_dense = u64::from(at.last - at.first) + 1 == u64::from(at.frames);
        if is_dense {
            frames.extend(any.map(id));
            continue;
        }
        let any: Vec<u32> = any.collect();
        if any.is_empty() {
            continue;
        }
        match store.index.segment(&store.objects, pack, number) {
            Ok(segment) => {
                frames.extend(
                    any.into_iter()
                        .filter(|n| segment.row(*n).is_some())
                        .map(id),
                );
            }
            Err(BlocksError::Damaged { .. }) => frames.extend(any.into_iter().map(id)),
            Err(error) => return Err(error),
        }
    }
    Ok(frames)
}

/// Moves what is live and nowhere else into new packs.
fn rewrite(store: &Inner, dying: &[Arc<Pack>], live: &Live) -> Result<Vec<Sealed>> {
    let mut kept = BTreeSet::new();
    for pack in dying {
        for frame in live_in(store, pack, live)? {
            let places = store.places(frame)?;
            if places.iter().all(|place| place.pack.is_dying()) {
                kept.insert(frame);
            }
        }
    }
    let mut new = Vec::new();
    let mut seal = |full: pack::Writer| -> Result<()> {
        let sealed = store.seal_unknown(full)?;
        new.extend(sealed.map(|(pack, segments)| (store.index.add(pack), segments)));
        Ok(())
    };
    let mut writer: Option<pack::Writer> = None;
    for frame in kept {
        let (stored, blocks) = fetch(store, frame)?;
        let open = match &mut writer {
            Some(writer) => writer,
            none => none.insert(pack::Writer::create(&store.objects, Uuid::new_v4())?),
        };
        open.push(frame, &stored, blocks)?;
        if open.is_full()
            && let Some(full) = writer.take()
        {
            seal(full)?;
        }
    }
    writer.map_or(Ok(()), seal)?;
    Ok(new)
}
