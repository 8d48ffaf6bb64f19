//! Copying a disk from another store: only the frames that are not here, as they are, verified.
//!
//! Packs are sealed as they fill up, so a copy that was interrupted moves only the rest. The
//! manifest comes last: while it is not here, the disk is not here.

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::frame::{self, BlockId, FrameId, StoredFrame};
use crate::ingest::Progress;
use crate::manifest::ManifestId;
use crate::pack;
use crate::store::{Inner, Store, blocking};

/// Stored bytes after which a copy makes durable what it has.
const SEAL_BYTES: u64 = 32 << 20;

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
    if target.key != source.key {
        return Err(BlocksError::Invalid {
            reason: "the stores belong to different installations".to_owned(),
        });
    }
    let _here = target.keep();
    let _there = source.keep();
    let manifest = source.manifest(id)?;
    let missing = target.lacks(&manifest);
    let bytes_total = stored_bytes(source, &missing)?;
    progress.set_total(bytes_total);
    let mut copied = Copied {
        bytes_total,
        ..Copied::default()
    };
    let mut writer = pack::Writer::create(&target.directories)?;
    for frame in missing {
        progress.check()?;
        let (stored, blocks) = fetch(source, frame)?;
        copied.bytes_moved += stored.bytes.len() as u64;
        copied.frames_moved += 1;
        progress.add(stored.bytes.len() as u64);
        writer.push(frame, &stored, blocks)?;
        if writer.bytes() >= SEAL_BYTES {
            target.seal(writer)?;
            writer = pack::Writer::create(&target.directories)?;
        }
    }
    target.seal(writer)?;
    let stored = target.put_manifest(&manifest)?;
    if stored != id {
        return Err(BlocksError::damaged(
            format!("manifest {id}"),
            "its copy has another id",
        ));
    }
    Ok(copied)
}

fn stored_bytes(source: &Inner, frames: &[FrameId]) -> Result<u64> {
    let index = source.index();
    frames
        .iter()
        .map(|frame| index.place(*frame).map(|place| u64::from(place.length)))
        .sum()
}

/// Reads a frame as it is stored, with the identities of its blocks worked out from its content.
pub(crate) fn fetch(source: &Inner, id: FrameId) -> Result<(StoredFrame, Vec<BlockId>)> {
    let place = source.index().place(id)?;
    let bytes = source.read_stored(&place)?;
    let raw = frame::unpack(
        id,
        place.codec,
        &place.digest,
        &bytes,
        usize::from(place.blocks),
    )?;
    let blocks = raw
        .chunks_exact(BLOCK_BYTES)
        .map(|block| frame::block_id(&source.key, block))
        .collect();
    Ok((
        StoredFrame {
            codec: place.codec,
            bytes,
            digest: place.digest,
        },
        blocks,
    ))
}
