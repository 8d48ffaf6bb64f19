//! Copying a disk from another store: only the frames that are not here, as they are, verified.
//!
//! Packs are sealed as they fill up, so a copy that was interrupted moves only the rest. The
//! manifest comes last: while it is not here, the disk is not here.

use crate::block_hash::ids_in;
use crate::error::{BlocksError, Result};
use crate::frame::{BlockId, FrameId, StoredFrame};
use crate::index::Place;
use crate::inner::Inner;
use crate::manifest::{Manifest, ManifestId};
use crate::pack;
use crate::progress::Progress;
use crate::store::{Store, blocking};

/// Stored bytes after which a copy makes durable what it has.
const SEAL_BYTES: u64 = 64 << 20;
/// Frames read ahead at once, on all cores.
const BATCH_FRAMES: usize = 64;

/// Fewer frames than this are not worth a thread.
const ALONE_FRAMES: usize = 8;

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Stored bytes of the frames that the disk lacked here.
    pub bytes_total: u64,
    /// Stored bytes that moved.
    pub bytes_moved: u64,
    /// Frames that moved.
    pub frames_moved: u64,
}

impl Store {
    /// Copies a disk from another store of the installation.
    pub async fn copy_from(
        &self,
        source: &Self,
        id: ManifestId,
        progress: &Progress,
    ) -> Result<Copied> {
        let (target, source, progress) = (self.clone(), source.clone(), progress.clone());
        blocking(move || copy(&target.0, &source.0, id, &progress)).await
    }
}

fn copy(target: &Inner, source: &Inner, id: ManifestId, progress: &Progress) -> Result<Copied> {
    check_same_installation(target, source)?;
    let _here = target.gate.enter();
    target.catch_up()?;
    let (manifest, _pin) = source.pin(id)?;
    let missing = target.lacks_where(&manifest, |place| !place.pack.is_dying())?;
    let mut copied = Copied {
        bytes_total: stored_bytes(source, &missing)?,
        ..Copied::default()
    };
    progress.set_total(copied.bytes_total);
    bring(target, source, &missing, |frame| {
        copied.bytes_moved += frame.bytes.len() as u64;
        copied.frames_moved += 1;
        progress.add(frame.bytes.len() as u64);
        progress.check()
    })?;
    put_same(target, &manifest, id)?;
    Ok(copied)
}

pub(crate) fn check_same_installation(target: &Inner, source: &Inner) -> Result<()> {
    if target.key == source.key {
        return Ok(());
    }
    Err(BlocksError::Invalid {
        reason: "the stores belong to different installations".to_owned(),
    })
}

/// Stores a manifest that came from another store.
pub(crate) fn put_same(target: &Inner, manifest: &Manifest, id: ManifestId) -> Result<()> {
    if target.put_manifest(manifest)? == id {
        return Ok(());
    }
    Err(BlocksError::damaged(
        format!("manifest {id}"),
        "its copy has another id",
    ))
}

/// Brings frames from another store into new packs, sealed; `each` sees every frame.
pub(crate) fn bring(
    target: &Inner,
    source: &Inner,
    frames: &[FrameId],
    mut each: impl FnMut(&StoredFrame) -> Result<()>,
) -> Result<()> {
    let mut writer: Option<pack::Writer> = None;
    for batch in frames.chunks(BATCH_FRAMES) {
        for (frame, fetched) in batch.iter().zip(fetch_all(source, batch)) {
            let (stored, blocks) = fetched?;
            each(&stored)?;
            let open = match &mut writer {
                Some(writer) => writer,
                none => none.insert(pack::Writer::create(&target.objects, uuid::Uuid::new_v4())?),
            };
            open.push(*frame, &stored, blocks)?;
            if (open.bytes() >= SEAL_BYTES || open.is_full())
                && let Some(full) = writer.take()
            {
                target.seal(full)?;
            }
        }
    }
    writer.map_or(Ok(()), |last| target.seal(last).map(drop))
}

fn stored_bytes(source: &Inner, frames: &[FrameId]) -> Result<u64> {
    let place = |frame: &FrameId| source.place(*frame);
    frames
        .iter()
        .map(|frame| place(frame).map(|place| u64::from(place.length)))
        .sum()
}

type Fetched = (StoredFrame, Vec<BlockId>);

/// Reads frames on all cores, in their order.
fn fetch_all(source: &Inner, frames: &[FrameId]) -> Vec<Result<Fetched>> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    if frames.len() < ALONE_FRAMES {
        return frames.iter().map(|frame| fetch(source, *frame)).collect();
    }
    let part = frames.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = frames
            .chunks(part)
            .map(|part| {
                let read = move || part.iter().map(|frame| fetch(source, *frame)).collect();
                (part.len(), scope.spawn(read))
            })
            .collect();
        let mut fetched = Vec::with_capacity(frames.len());
        for (length, part) in parts {
            let part: Vec<Result<Fetched>> = part.join().unwrap_or_else(|_| {
                let panicked = || BlocksError::Worker {
                    reason: "a reader of frames panicked".to_owned(),
                };
                (0..length).map(|_| Err(panicked())).collect()
            });
            fetched.extend(part);
        }
        fetched
    })
}

/// Reads a frame as it is stored, checked by its content, with the identities of its blocks.
pub(crate) fn fetch(source: &Inner, id: FrameId) -> Result<Fetched> {
    let (raw, (place, bytes)) = source.read_frame(id)?;
    Ok((stored(&place, bytes), ids_in(&source.key, &raw)))
}

pub(crate) fn stored(place: &Place, bytes: Vec<u8>) -> StoredFrame {
    StoredFrame {
        codec: place.codec,
        bytes,
        digest: place.digest,
    }
}
