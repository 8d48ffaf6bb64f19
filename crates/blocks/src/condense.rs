//! Condense: packs that stay are compressed once more, at a level that nobody would wait for.
//!
//! A frame keeps its name, its blocks and its place among its neighbours; only its stored bytes
//! change, and those are named by nothing outside the pack's own table. The new pack holds every
//! frame of the old one, is durable and has been read back before the old one goes: at every moment
//! each frame lies in one of them, so nobody has to wait or to be told. A crash in between leaves
//! both, and the next sweep takes the larger.
//!
//! A pack is tried once: which packs gained too little, and since when each is here, is kept in a
//! file of this node. Losing it costs one compression of every sixteenth frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zstd::bulk::Compressor;

use crate::block_hash::ids_in;
use crate::copy::stored;
use crate::error::{BlocksError, Result};
use crate::files;
use crate::frame::{self, FrameId, StoredFrame};
use crate::index::Place;
use crate::inner::{Inner, lock};
use crate::objects::{Room, pack_name};
use crate::pack::{self, Pack};
use crate::scrub::check_frame;
use crate::segment::{Row, Segment};
use crate::store::{Store, blocking};

/// One frame in so many shows whether the whole pack is worth it.
const SAMPLE: usize = 16;

/// What is condensed, and how much of it at once.
#[derive(Clone, Copy, Debug)]
pub struct CondenseLimits {
    /// zstd level of what is compressed again.
    pub level: i32,
    /// How long a pack must have been here, as far as this node knows, in milliseconds.
    pub age_min_ms: i64,
    /// Stored bytes after which no further pack is begun.
    pub bytes_max: u64,
    /// What a pack must become smaller by, in percent, to be written anew.
    pub gain_percent_min: u64,
}

impl Default for CondenseLimits {
    fn default() -> Self {
        Self {
            level: 9,
            age_min_ms: 0,
            bytes_max: u64::MAX,
            gain_percent_min: 2,
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condensed {
    /// Packs that were written anew.
    pub packs: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
    /// Stored bytes that were compressed again, those that gained nothing too.
    pub bytes_tried: u64,
    /// Bytes of packs that are old enough and were not reached.
    pub bytes_waiting: u64,
}

impl Condensed {
    /// Returns the bytes that went back to the storage.
    pub const fn saved_bytes(&self) -> u64 {
        self.bytes_before.saturating_sub(self.bytes_after)
    }
}

/// What is known of the packs, by their ids.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// When this node first saw them.
    since_ms: BTreeMap<String, i64>,
    /// Those that are as small as they get.
    done: BTreeSet<String>,
}

impl Store {
    /// Compresses packs again that have been here for long, the oldest first.
    pub async fn condense(&self, limits: CondenseLimits, now_ms: i64) -> Result<Condensed> {
        let store = self.clone();
        blocking(move || condense(&store.0, limits, now_ms)).await
    }
}

fn condense(store: &Inner, limits: CondenseLimits, now_ms: i64) -> Result<Condensed> {
    let _one = lock(&store.sweeping);
    let mut state = load(store)?;
    let packs = store.packs()?;
    let known: BTreeSet<String> = packs.iter().map(|pack| pack.id.to_string()).collect();
    state.done.retain(|id| known.contains(id));
    state.since_ms.retain(|id, _| known.contains(id));
    let mut due = Vec::new();
    for pack in &packs {
        let id = pack.id.to_string();
        if state.done.contains(&id) {
            continue;
        }
        let since = *state.since_ms.entry(id).or_insert(now_ms);
        if since.saturating_add(limits.age_min_ms) <= now_ms {
            due.push((since, pack.id, pack));
        }
    }
    due.sort_unstable_by_key(|(since, id, _)| (*since, *id));
    let mut condensed = Condensed::default();
    for (_, _, pack) in due {
        if condensed.bytes_tried >= limits.bytes_max {
            condensed.bytes_waiting += pack.bytes;
            continue;
        }
        match condense_pack(store, pack, limits, &mut condensed) {
            // Kept at once: who ends a long run loses nothing of it.
            Ok(done) => {
                state.since_ms.remove(&pack.id.to_string());
                state.done.insert(done.to_string());
                keep(store, &state)?;
            }
            // Its frames are the business of scrub and repair.
            Err(error @ BlocksError::Damaged { .. }) => {
                tracing::warn!(pack.id = %pack.id, %error, "pack not condensed");
            }
            Err(error) => {
                keep(store, &state)?;
                return Err(error);
            }
        }
    }
    keep(store, &state)?;
    Ok(condensed)
}

/// Replaces a pack by a smaller one, if there is one; returns the one that is here now.
fn condense_pack(
    store: &Inner,
    pack: &Arc<Pack>,
    limits: CondenseLimits,
    condensed: &mut Condensed,
) -> Result<Uuid> {
    let enough = |before: u64, after: u64| {
        after.saturating_mul(100) <= before.saturating_mul(100 - limits.gain_percent_min.min(100))
    };
    let mut compressor = Compressor::new(limits.level)?;
    let bytes = store.index.bytes(&store.objects, pack.id)?;
    let segments = (0..pack.segments.len()).map(|number| pack.segment(&bytes, number));
    let segments = segments.collect::<Result<Vec<Segment>>>()?;
    let (mut before, mut after) = (0, 0);
    for (frame, row) in rows(&segments).step_by(SAMPLE) {
        let smaller = again(store, pack, frame, row, &mut compressor)?;
        condensed.bytes_tried += u64::from(row.length);
        before += u64::from(row.length);
        after += smaller.bytes.len() as u64;
    }
    if !enough(before, after) {
        return Ok(pack.id);
    }
    let mut writer = pack::Writer::create(&store.objects, Uuid::new_v4())?;
    (before, after) = (0, 0);
    for (frame, row) in rows(&segments) {
        let smaller = again(store, pack, frame, row, &mut compressor)?;
        condensed.bytes_tried += u64::from(row.length);
        before += u64::from(row.length);
        after += smaller.bytes.len() as u64;
        writer.push(frame, &smaller, row.blocks.clone())?;
    }
    if !enough(before, after) {
        return Ok(pack.id);
    }
    let Some((new, tables)) = store.seal_unknown(writer)? else {
        return Ok(pack.id);
    };
    if let Err(error) = read_back(store, &new) {
        store.index.remove(&[new.id]);
        store.objects.remove(Room::Packs, &pack_name(new.id))?;
        return Err(error);
    }
    let new = store.index.add(new);
    store.index.remove(&[pack.id]);
    store.index.hook(&new, tables.iter().map(Some));
    store.objects.remove(Room::Packs, &pack_name(pack.id))?;
    condensed.packs += 1;
    condensed.bytes_before += pack.bytes;
    condensed.bytes_after += new.bytes;
    Ok(new.id)
}

fn rows(segments: &[Segment]) -> impl Iterator<Item = (FrameId, &Row)> {
    segments.iter().flat_map(|segment| {
        let numbered = segment.rows.iter().enumerate();
        numbered.map(|(at, row)| (segment.frame(at), row))
    })
}

/// Returns a frame's smallest form, after checking that it holds what its table says.
fn again(
    store: &Inner,
    pack: &Arc<Pack>,
    id: FrameId,
    row: &Row,
    compressor: &mut Compressor<'_>,
) -> Result<StoredFrame> {
    let place = Place::new(pack, row);
    let (raw, bytes) = store.read_place(id, &place)?;
    if ids_in(&store.key, &raw) != row.blocks {
        let what = format!("frame {}:{}", id.origin, id.number);
        return Err(BlocksError::damaged(what, "its table names other blocks"));
    }
    let packed = frame::pack(compressor, &raw)?;
    Ok(match packed.bytes.len() < bytes.len() {
        true => packed,
        false => stored(&place, bytes),
    })
}

/// Reads a sealed pack as everybody will, its tables too, and checks every block of it.
fn read_back(store: &Inner, pack: &Arc<Pack>) -> Result<()> {
    let bytes = store.objects.open(Room::Packs, &pack_name(pack.id))?;
    let found = pack::open(pack.id, &bytes, pack.bytes)?;
    for number in 0..found.segments.len() {
        let segment = found.segment(&bytes, number)?;
        for (frame, row) in rows(std::slice::from_ref(&segment)) {
            check_frame(store, pack, frame, row)?;
        }
    }
    Ok(())
}

fn path(store: &Inner) -> std::path::PathBuf {
    store.local.directory.with_file_name("condense.json")
}

/// A state that cannot be read only costs a new start.
fn load(store: &Inner) -> Result<State> {
    let bytes = files::read_whole(store.local.files.as_ref(), &path(store))?;
    Ok(bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

fn keep(store: &Inner, state: &State) -> Result<()> {
    let (local, path) = (&store.local, path(store));
    if *state == State::default() {
        files::remove_if_there(local.files.as_ref(), &path)?;
        return Ok(());
    }
    let bytes = serde_json::to_vec(state).map_err(std::io::Error::other)?;
    Ok(files::write_durable(
        &local.files,
        &local.temporary,
        &path,
        &bytes,
    )?)
}
