//! Sweep: what nobody refers to goes, after a wait; thin packs are rewritten.
//!
//! A manifest that is not live is marked with the time of the first sweep that saw it so, and goes
//! with the first sweep after its wait. Making it again takes the mark away. Removal needs that
//! nobody makes references at that moment; if somebody does, the sweep is put off, not the work.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;

use uuid::Uuid;

use crate::copy::fetch;
use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::layer::{self, Layer};
use crate::manifest::ManifestId;
use crate::pack;
use crate::store::{Inner, Store, blocking};

/// A pack is rewritten when less than this part of its bytes, in percent, is live.
const THIN_PERCENT: u64 = 50;

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
        blocking(move || plan(&store, &live, now_ms, grace_ms)).await
    }

    /// Removes what the plan names and what no manifest refers to any more.
    pub async fn sweep(&self, plan: SweepPlan) -> Result<Swept> {
        let store = self.clone();
        blocking(move || execute(&store.0, &plan)).await
    }
}

fn plan(
    store: &Store,
    live: &BTreeSet<ManifestId>,
    now_ms: i64,
    grace_ms: i64,
) -> Result<SweepPlan> {
    let mut live = live.clone();
    for id in Layer::list(store)? {
        live.extend(layer::base_of(&store.0, id)?);
    }
    let mut plan = SweepPlan::default();
    for id in store.0.manifest_ids()? {
        let mark = store.0.directories.unreferenced.join(id.to_string());
        if live.contains(&id) {
            remove_if_there(&mark)?;
            continue;
        }
        match read_mark(&store.0, id)? {
            Some(since) if since + grace_ms <= now_ms => plan.manifests.push((id, since)),
            Some(_) => plan.waiting += 1,
            None => {
                store
                    .0
                    .directories
                    .write_durable(&mark, now_ms.to_string().as_bytes())?;
                if grace_ms <= 0 {
                    plan.manifests.push((id, now_ms))
                } else {
                    plan.waiting += 1
                }
            }
        }
    }
    Ok(plan)
}

fn read_mark(store: &Inner, id: ManifestId) -> Result<Option<i64>> {
    match fs::read_to_string(store.directories.unreferenced.join(id.to_string())) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn execute(store: &Inner, plan: &SweepPlan) -> Result<Swept> {
    let Some(_closed) = store.try_close() else {
        return Ok(Swept::default());
    };
    let mut swept = Swept::default();
    for (id, since) in &plan.manifests {
        // Somebody may have made it again since the plan.
        if read_mark(store, *id)? == Some(*since) {
            remove_if_there(&store.manifest_path(*id))?;
            crate::storage::sync_directory(&store.directories.manifests)?;
            remove_if_there(&store.directories.unreferenced.join(id.to_string()))?;
            store.forget_manifest(*id);
            swept.manifests += 1;
        }
    }
    let live = live_frames(store)?;
    let (gone, kept) = thin_packs(store, &live);
    if gone.is_empty() {
        return Ok(swept);
    }
    let before: u64 = store
        .index()
        .packs()
        .filter(|p| gone.contains(&p.id))
        .map(|p| p.bytes)
        .sum();
    let after = rewrite(store, &gone, &kept)?;
    swept.packs = gone.len() as u64;
    swept.freed_bytes = before.saturating_sub(after);
    Ok(swept)
}

/// Returns every frame that any manifest needs.
fn live_frames(store: &Inner) -> Result<HashSet<FrameId>> {
    let mut live = HashSet::new();
    for id in store.manifest_ids()? {
        live.extend(store.manifest(id)?.frames());
    }
    Ok(live)
}

/// Returns the packs with little that is live, and the live frames in them.
fn thin_packs(store: &Inner, live: &HashSet<FrameId>) -> (Vec<Uuid>, Vec<FrameId>) {
    let index = store.index();
    let mut by_pack: HashMap<Uuid, (u64, Vec<FrameId>)> =
        index.packs().map(|p| (p.id, (0, Vec::new()))).collect();
    for (frame, place) in index.frames().filter(|(frame, _)| live.contains(frame)) {
        if let Some((bytes, frames)) = by_pack.get_mut(&place.pack.id) {
            *bytes += u64::from(place.length);
            frames.push(*frame);
        }
    }
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for pack in index.packs() {
        let Some((bytes, frames)) = by_pack.remove(&pack.id) else {
            continue;
        };
        if bytes * 100 < pack.bytes * THIN_PERCENT {
            gone.push(pack.id);
            kept.extend(frames);
        }
    }
    kept.sort_unstable();
    (gone, kept)
}

/// Moves live frames into a new pack, durable before the old packs go; returns its bytes.
fn rewrite(store: &Inner, gone: &[Uuid], kept: &[FrameId]) -> Result<u64> {
    let mut writer = pack::Writer::create(&store.directories)?;
    for frame in kept {
        let (stored, blocks) = fetch(store, *frame)?;
        writer.push(*frame, &stored, blocks)?;
    }
    let sealed = writer.seal(&store.directories)?;
    let mut bytes = 0;
    let pack = match &sealed {
        Some((id, _)) => {
            let file = fs::File::open(pack::path(&store.directories, *id))?;
            bytes = file.metadata()?.len();
            Some(std::sync::Arc::new(crate::index::Pack {
                id: *id,
                file,
                bytes,
            }))
        }
        None => None,
    };
    let added = pack
        .as_ref()
        .zip(sealed.as_ref())
        .map(|(pack, (_, entries))| (pack, entries.as_slice()));
    store.index_mut().replace(gone, added);
    for id in gone {
        remove_if_there(&pack::path(&store.directories, *id))?;
    }
    crate::storage::sync_directory(&store.directories.packs)?;
    Ok(bytes)
}

fn remove_if_there(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BlocksError::Io(error)),
        _ => Ok(()),
    }
}
