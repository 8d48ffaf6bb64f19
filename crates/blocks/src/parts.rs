//! What a range of a disk consists of: holes, and parts of frames.

use crate::BLOCK_BYTES;
use crate::FRAME_BLOCKS;
use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::manifest::Manifest;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A part of a range, in the order of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// So many zero bytes.
    Hole(u64),
    /// Bytes `from` to `from + length` of a frame.
    Frame {
        id: FrameId,
        from: usize,
        length: usize,
    },
}

/// Walks over a range of a manifest.
pub(crate) struct Parts<'a> {
    manifest: &'a Manifest,
    /// The next run that may hold something.
    next: usize,
    at: u64,
    end: u64,
}

impl<'a> Parts<'a> {
    /// Starts at `offset`; the range is inside the disk.
    pub fn new(manifest: &'a Manifest, offset: u64, length: u64) -> Self {
        let block = offset / BLOCK;
        let runs = manifest.runs();
        Self {
            manifest,
            next: runs.partition_point(|run| run.block + run.count <= block),
            at: offset,
            end: offset + length,
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let rest = self.end - self.at;
        if rest == 0 {
            return None;
        }
        let (block, within) = (self.at / BLOCK, self.at % BLOCK);
        let run = self.manifest.runs().get(self.next);
        let Some(run) = run.filter(|run| run.block <= block) else {
            let hole = run.map_or(rest, |next| rest.min(next.block * BLOCK - self.at));
            self.at += hole;
            return Some(Part::Hole(hole));
        };
        let (id, first) = self.manifest.place(run, block);
        let in_run = run.block + run.count - block;
        let blocks = in_run.min((FRAME_BLOCKS - first) as u64);
        if blocks == in_run {
            self.next += 1;
        }
        let length = (blocks * BLOCK - within).min(rest);
        self.at += length;
        let within = usize::try_from(within).unwrap_or(0);
        Some(Part::Frame {
            id,
            from: first * BLOCK_BYTES + within,
            length: usize::try_from(length).unwrap_or(0),
        })
    }
}

/// Returns the frames of a range, each once where they follow each other.
pub(crate) fn frames(manifest: &Manifest, offset: u64, length: u64) -> Vec<FrameId> {
    let mut frames = Vec::new();
    for part in Parts::new(manifest, offset, length) {
        if let Part::Frame { id, .. } = part
            && frames.last() != Some(&id)
        {
            frames.push(id);
        }
    }
    frames
}

/// Returns where a part lies in a frame of `raw_bytes`; a frame that is too short is damage.
pub(crate) fn range_in(
    id: FrameId,
    raw_bytes: usize,
    from: usize,
    length: usize,
) -> Result<std::ops::Range<usize>> {
    if from + length > raw_bytes {
        return Err(BlocksError::damaged(
            format!("frame {}:{}", id.origin, id.number),
            "it is shorter than a manifest needs",
        ));
    }
    Ok(from..from + length)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::manifest::Builder;
    use crate::tree_hash::ContentHasher;

    #[test]
    fn a_range_is_cut_at_holes_frames_and_its_ends() {
        let origin = Uuid::from_u128(1);
        let mut builder = Builder::new();
        builder.push_run(2, 20, origin, 10);
        builder.push_run(30, 1, origin, 5);
        let manifest = builder.finish(40 * BLOCK, 2, ContentHasher::keeping(40 * BLOCK, 2));
        let frame = |number, from, length| Part::Frame {
            id: FrameId { origin, number },
            from,
            length,
        };
        let walk = |offset, length| Parts::new(&manifest, offset, length).collect::<Vec<_>>();
        assert_eq!(
            walk(0, 40 * BLOCK),
            [
                Part::Hole(2 * BLOCK),
                frame(0, 10 * 4096, 6 * 4096),
                frame(1, 0, 14 * 4096),
                Part::Hole(8 * BLOCK),
                frame(0, 5 * 4096, 4096),
                Part::Hole(9 * BLOCK),
            ]
        );
        assert_eq!(
            walk(8 * BLOCK - 1, 2),
            [frame(0, 16 * 4096 - 1, 1), frame(1, 0, 1)]
        );
        assert_eq!(walk(22 * BLOCK - 1, 1), [frame(1, 14 * 4096 - 1, 1)]);
        assert_eq!(walk(22 * BLOCK, 7), [Part::Hole(7)]);
        assert_eq!(walk(5, 0), []);
        assert_eq!(frames(&manifest, 0, 40 * BLOCK).len(), 3);
        assert!(range_in(FrameId { origin, number: 0 }, 4096, 4095, 2).is_err());
    }
}
