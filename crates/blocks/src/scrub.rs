//! Scrub: every frame is read again and checked, slowly, a piece at a time, oldest first.
//!
//! What was checked when is kept in a file of this node, so that a scrub goes on where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block_hash::ids_in;
use crate::error::{BlocksError, Result};
use crate::files;
use crate::frame::FrameId;
use crate::index::Place;
use crate::inner::{Inner, lock};
use crate::pack::Pack;
use crate::segment::Row;
use crate::store::{Store, blocking};
use crate::verify::Fault;
use serde::{Deserialize, Serialize};

/// How much a scrub may do.
#[derive(Clone, Copy, Debug)]
pub struct ScrubLimits {
    /// Stored bytes to read before it stops and keeps where it is.
    pub bytes_max: u64,
    /// Stored bytes to read in a second.
    pub bytes_per_second_max: u64,
}

impl Default for ScrubLimits {
    fn default() -> Self {
        Self {
            bytes_max: u64::MAX,
            bytes_per_second_max: u64::MAX,
        }
    }
}

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Frames read.
    pub frames: u64,
    /// Stored bytes read.
    pub bytes: u64,
    /// What does not match its digest.
    pub faults: Vec<Fault>,
    /// Stored bytes that were never checked, or not since they were found damaged.
    pub unverified_bytes: u64,
    /// When the bytes whose check is the longest ago were checked; `None` while some never were.
    pub oldest_verified_ms: Option<i64>,
}

/// What was checked when.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// By the pack's id.
    verified: BTreeMap<String, i64>,
    current: Option<Current>,
}

/// A pack that is half checked.
#[derive(Clone, Serialize, Deserialize)]
struct Current {
    pack: String,
    segment: usize,
    is_damaged: bool,
}

impl Store {
    /// Reads and checks every frame and every manifest, now.
    pub async fn scrub(&self) -> Result<Scrubbed> {
        let store = self.clone();
        blocking(move || {
            let mut scrubbed = Scrubbed::default();
            for pack in store.0.packs()? {
                for number in 0..pack.segments.len() {
                    check_segment(&store.0, &pack, number, &mut scrubbed)?;
                }
            }
            check_small(&store.0, &mut scrubbed)?;
            Ok(scrubbed)
        })
        .await
    }

    /// Goes on with the check of everything: the pack first whose last check is the longest ago.
    pub async fn scrub_some(&self, limits: ScrubLimits, now_ms: i64) -> Result<Scrubbed> {
        let store = self.clone();
        blocking(move || scrub_some(&store.0, limits, now_ms)).await
    }
}

fn scrub_some(store: &Inner, limits: ScrubLimits, now_ms: i64) -> Result<Scrubbed> {
    let mut state = load(store)?;
    let mut scrubbed = Scrubbed::default();
    let begun = Instant::now();
    let packs: BTreeMap<String, Arc<Pack>> = store
        .packs()?
        .into_iter()
        .map(|pack| (pack.id.to_string(), pack))
        .collect();
    state.verified.retain(|id, _| packs.contains_key(id));
    let mut current = state
        .current
        .take()
        .filter(|at| packs.contains_key(&at.pack));
    let begun_pack = current.as_ref().map(|at| at.pack.clone());
    let mut due: Vec<(bool, Option<i64>, &String)> = packs
        .keys()
        .map(|id| {
            (
                begun_pack.as_ref() != Some(id),
                state.verified.get(id).copied(),
                id,
            )
        })
        .filter(|(_, at, _)| at.is_none_or(|at| at < now_ms))
        .collect();
    due.sort_unstable();
    for (_, _, id) in due {
        let pack = &packs[id];
        let mut at = current.take().unwrap_or_else(|| Current {
            pack: id.clone(),
            segment: 0,
            is_damaged: false,
        });
        while at.segment < pack.segments.len() && scrubbed.bytes < limits.bytes_max {
            at.is_damaged |= !check_segment(store, pack, at.segment, &mut scrubbed)?;
            at.segment += 1;
            slow_down(begun, scrubbed.bytes, limits.bytes_per_second_max);
        }
        if at.segment < pack.segments.len() {
            state.current = Some(at);
            break;
        }
        if at.is_damaged {
            state.verified.remove(id);
        } else {
            state.verified.insert(id.clone(), now_ms);
        }
    }
    check_small(store, &mut scrubbed)?;
    let unverified = packs
        .iter()
        .filter(|(id, _)| !state.verified.contains_key(*id));
    scrubbed.unverified_bytes = unverified.map(|(_, pack)| pack.bytes).sum();
    if scrubbed.unverified_bytes == 0 {
        scrubbed.oldest_verified_ms = state.verified.values().min().copied();
    }
    keep(store, &state)?;
    Ok(scrubbed)
}

/// Checks the frames of a segment; whether all are right.
fn check_segment(
    store: &Inner,
    pack: &Arc<Pack>,
    number: usize,
    scrubbed: &mut Scrubbed,
) -> Result<bool> {
    let faults = scrubbed.faults.len();
    let segment = store
        .index
        .bytes(&store.objects, pack.id)
        .and_then(|bytes| pack.segment(&bytes, number));
    let segment = match segment {
        Ok(segment) => segment,
        // Swept since the list was made.
        Err(BlocksError::NotFound { .. }) => return Ok(true),
        Err(error) if !store.is_fault(&error) => return Err(error),
        Err(error) => {
            let what = format!("segment {number} of pack {}", pack.id);
            scrubbed.faults.push(Fault::new(what, error));
            return Ok(false);
        }
    };
    for row in &segment.rows {
        let frame = FrameId {
            origin: segment.origin,
            number: row.number,
        };
        scrubbed.frames += 1;
        scrubbed.bytes += u64::from(row.length);
        match check_frame(store, pack, frame, row) {
            Err(BlocksError::NotFound { .. }) => return Ok(true),
            Err(error) if !store.is_fault(&error) => return Err(error),
            Err(error) => {
                let what = format!(
                    "frame {}:{} in pack {}",
                    frame.origin, frame.number, pack.id
                );
                scrubbed.faults.push(Fault::new(what, error));
            }
            Ok(()) => {}
        }
    }
    Ok(scrubbed.faults.len() == faults)
}

/// Checks a frame's bytes, and that the identities of its blocks are those of its content: a wrong
/// one would give a later ingest the wrong block.
pub(crate) fn check_frame(store: &Inner, pack: &Arc<Pack>, id: FrameId, row: &Row) -> Result<()> {
    let (raw, _) = store.read_place(id, &Place::new(pack, row))?;
    if ids_in(&store.key, &raw) == row.blocks {
        return Ok(());
    }
    let what = format!("frame {}:{}", id.origin, id.number);
    Err(BlocksError::damaged(what, "its table names other blocks"))
}

/// Checks manifests and packs that were left out.
fn check_small(store: &Inner, scrubbed: &mut Scrubbed) -> Result<()> {
    for (id, reason) in lock(&store.left_out).iter() {
        scrubbed
            .faults
            .push(Fault::new(format!("pack {id}"), reason));
    }
    for id in store.manifest_ids()? {
        match store.read_manifest(id) {
            Ok(_) | Err(BlocksError::NotFound { .. }) => {}
            Err(error) if !store.is_fault(&error) => return Err(error),
            Err(error) => scrubbed
                .faults
                .push(Fault::new(format!("manifest {id}"), error)),
        }
    }
    Ok(())
}

fn slow_down(begun: Instant, bytes: u64, per_second: u64) {
    if per_second == u64::MAX || per_second == 0 {
        return;
    }
    let due = Duration::from_millis(bytes.saturating_mul(1000) / per_second);
    if let Some(left) = due.checked_sub(begun.elapsed()) {
        std::thread::sleep(left);
    }
}

fn path(store: &Inner) -> std::path::PathBuf {
    store.local.directory.with_file_name("scrub.json")
}

/// A state that cannot be read only costs a new start.
fn load(store: &Inner) -> Result<State> {
    let bytes = files::read_whole(store.local.files.as_ref(), &path(store))?;
    Ok(bytes
        .and_then(|b| serde_json::from_slice(&b).ok())
        .unwrap_or_default())
}

fn keep(store: &Inner, state: &State) -> Result<()> {
    let bytes = serde_json::to_vec(state).map_err(std::io::Error::other)?;
    let local = &store.local;
    Ok(files::write_durable(
        &local.files,
        &local.temporary,
        &path(store),
        &bytes,
    )?)
}
