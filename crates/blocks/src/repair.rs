//! Repair: what is damaged or missing here is brought from another store that has it.
//!
//! Sound frames are never thrown away for damaged ones: the new pack is durable and known before the
//! damaged one goes, and it goes only when nothing that a manifest needs is left in it alone.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::block_hash::ids_in;
use crate::copy::{bring, check_same_installation, put_same, stored};
use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::index::Place;
use crate::inner::{Inner, lock};
use crate::manifest::ManifestId;
use crate::objects::{Room, pack_name};
use crate::pack::{self, Pack};
use crate::scrub::check_frame;
use crate::store::{Store, blocking};
use crate::verify::Fault;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Manifests brought from the other store.
    pub manifests: u64,
    /// Frames brought from the other store.
    pub frames: u64,
    /// Damaged packs that were replaced.
    pub packs: u64,
    /// What could not be healed.
    pub left: Vec<Fault>,
}

impl Store {
    /// Checks everything and brings what is damaged or missing from another store of the installation.
    pub async fn repair(&self, other: &Self) -> Result<Repaired> {
        let (store, other) = (self.clone(), other.clone());
        blocking(move || repair(&store.0, &other.0)).await
    }
}

fn repair(store: &Inner, other: &Inner) -> Result<Repaired> {
    check_same_installation(store, other)?;
    let _one = lock(&store.sweeping);
    let _held = store.gate.enter();
    let mut repaired = Repaired::default();
    let needed = heal_manifests(store, other, &mut repaired)?;
    let mut damaged = Vec::new();
    for pack in store.packs()? {
        if let Some(sound) = sound_if_damaged(store, &pack)? {
            damaged.push((pack, sound));
        }
    }
    // New packs with what is sound in the damaged ones, then what only the other store has.
    for (pack, sound) in &damaged {
        move_sound(store, pack, sound)?;
    }
    let is_bad = |place: &Place| damaged.iter().any(|(pack, _)| pack.id == place.pack.id);
    let mut wanted = Vec::new();
    for frame in &needed {
        match store.places(*frame) {
            Ok(places) if places.iter().any(|place| !is_bad(place)) => {}
            Ok(_) | Err(BlocksError::Damaged { .. }) => wanted.push(*frame),
            Err(error) => return Err(error),
        }
    }
    let (here, lost): (Vec<FrameId>, Vec<FrameId>) = wanted
        .into_iter()
        .partition(|frame| other.read_frame(*frame).is_ok());
    bring(store, other, &here, |_| {
        repaired.frames += 1;
        Ok(())
    })?;
    for frame in &lost {
        let what = format!("frame {}:{}", frame.origin, frame.number);
        repaired.left.push(Fault::new(what, "no store has it"));
    }
    if repaired.left.is_empty() {
        replace(
            store,
            damaged.iter().map(|(pack, _)| pack.id),
            &mut repaired,
        )?;
    }
    Ok(repaired)
}

/// Heals damaged manifests and returns every frame that any manifest needs.
fn heal_manifests(
    store: &Inner,
    other: &Inner,
    repaired: &mut Repaired,
) -> Result<BTreeSet<FrameId>> {
    let mut needed = BTreeSet::new();
    for id in store.manifest_ids()? {
        match store
            .read_manifest(id)
            .or_else(|error| heal(store, other, id, error, repaired))
        {
            Ok(manifest) => needed.extend(manifest.frames()),
            Err(BlocksError::NotFound { .. }) => {}
            Err(error) => repaired
                .left
                .push(Fault::new(format!("manifest {id}"), error)),
        }
    }
    Ok(needed)
}

fn heal(
    store: &Inner,
    other: &Inner,
    id: ManifestId,
    error: BlocksError,
    repaired: &mut Repaired,
) -> Result<crate::Manifest> {
    if !matches!(error, BlocksError::Damaged { .. }) {
        return Err(error);
    }
    let manifest = other.read_manifest(id).map_err(|_| error)?;
    put_same(store, &manifest, id)?;
    repaired.manifests += 1;
    Ok(manifest)
}

/// Returns the sound frames of a pack if not all are.
fn sound_if_damaged(store: &Inner, pack: &std::sync::Arc<Pack>) -> Result<Option<Vec<FrameId>>> {
    let (mut sound, mut is_damaged) = (Vec::new(), false);
    let bytes = store.index.bytes(&store.objects, pack.id)?;
    for number in 0..pack.segments.len() {
        let segment = match pack.segment(&bytes, number) {
            Ok(segment) => segment,
            Err(error) if store.is_fault(&error) => {
                is_damaged = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        for row in &segment.rows {
            let frame = FrameId {
                origin: segment.origin,
                number: row.number,
            };
            match check_frame(store, pack, frame, row) {
                Ok(()) => sound.push(frame),
                Err(error) if store.is_fault(&error) => is_damaged = true,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(is_damaged.then_some(sound))
}

fn move_sound(store: &Inner, pack: &Pack, sound: &[FrameId]) -> Result<()> {
    let mut writer = pack::Writer::create(&store.objects, Uuid::new_v4())?;
    for frame in sound {
        let places = store.places(*frame)?;
        let Some(place) = places.iter().find(|place| place.pack.id == pack.id) else {
            continue;
        };
        let (raw, bytes) = store.read_place(*frame, place)?;
        let blocks = ids_in(&store.key, &raw);
        writer.push(*frame, &stored(place, bytes), blocks)?;
    }
    store.seal(writer).map(drop)
}

/// Removes damaged packs, those that could not even be opened too.
fn replace(
    store: &Inner,
    damaged: impl Iterator<Item = Uuid>,
    repaired: &mut Repaired,
) -> Result<()> {
    let gone: Vec<Uuid> = damaged.collect();
    store.index.remove(&gone);
    let left_out: Vec<Uuid> = lock(&store.left_out).keys().copied().collect();
    for id in gone.into_iter().chain(left_out) {
        store.objects.remove(Room::Packs, &pack_name(id))?;
        lock(&store.left_out).remove(&id);
        repaired.packs += 1;
    }
    Ok(())
}
