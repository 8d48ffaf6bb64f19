//! Frames by their ids: from the cache, or read from a pack, one or many at once.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::frame::{self, FrameId};
use crate::index::Place;
use crate::inner::Inner;
use crate::pack;

/// Stored bytes that are read at once.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Bytes between two frames that are read along rather than left out.
const GAP_BYTES_MAX: u64 = 32 << 10;

/// Frames that lie near each other in one pack.
pub(crate) struct Stretch {
    pub frames: Vec<(FrameId, Place)>,
    end: u64,
}

impl Stretch {
    /// Returns a frame's part of the bytes that were read.
    pub fn stored<'b>(&self, place: &Place, bytes: &'b [u8]) -> &'b [u8] {
        let from = usize::try_from(place.offset - self.frames[0].1.offset).unwrap_or(0);
        bytes.get(from..from + place.length as usize).unwrap_or(&[])
    }
}

impl Inner {
    /// Returns a frame's blocks, checked, from the cache or from the storage.
    pub fn frame(&self, id: FrameId) -> Result<Bytes> {
        self.cache
            .get(id, || self.read_frame(id).map(|(raw, _)| Bytes::from(raw)))
    }

    /// Brings frames that are not in the cache, near ones with one read. What cannot be brought is
    /// left out: whoever needs it gets the error, or another copy.
    pub fn bring(&self, ids: &[FrameId]) {
        // One frame is brought as well by who needs it; more than fit would push each other out.
        let fit = self.cache.bytes_max() / frame::FRAME_BYTES / 2;
        let ids = &ids[..ids.len().min(fit)];
        if ids.len() < 2 || !self.cache.lacks_any(ids.iter().copied()) {
            return;
        }
        let mut claim = self.cache.claim(ids.iter().copied());
        let mut bytes = Vec::new();
        for stretch in self.stretches(claim.frames()) {
            if self.read_stretch(&stretch, &mut bytes).is_err() {
                continue;
            }
            for (id, place) in &stretch.frames {
                let stored = stretch.stored(place, &bytes);
                let length = pack::raw_bytes(place.blocks);
                let raw = frame::unpacked(*id, place.codec, &place.digest, stored, length);
                if let Ok(raw) = raw {
                    claim.land(*id, Bytes::from(raw));
                }
            }
        }
    }

    /// Groups frames by where they lie; those that lie nowhere are left out.
    pub fn stretches(&self, ids: &[FrameId]) -> Vec<Stretch> {
        let place = |id: &FrameId| Some((*id, self.place(*id).ok()?));
        let mut places: Vec<(FrameId, Place)> = ids.iter().filter_map(place).collect();
        places.sort_by_key(|(_, place)| (place.pack.id, place.offset));
        let mut out: Vec<Stretch> = Vec::new();
        for (id, place) in places {
            let end = place.offset + u64::from(place.length);
            match out.last_mut() {
                Some(last)
                    if Arc::ptr_eq(&last.frames[0].1.pack, &place.pack)
                        && place.offset <= last.end + GAP_BYTES_MAX
                        && end <= last.frames[0].1.offset + READ_BYTES_MAX =>
                {
                    last.end = end;
                    last.frames.push((id, place));
                }
                _ => out.push(Stretch {
                    frames: vec![(id, place)],
                    end,
                }),
            }
        }
        out
    }

    /// Reads the stored bytes of frames, unchecked.
    pub fn read_stretch(&self, stretch: &Stretch, bytes: &mut Vec<u8>) -> Result<()> {
        let place = &stretch.frames[0].1;
        let length = usize::try_from(stretch.end - place.offset).unwrap_or(0);
        bytes.resize(length, 0);
        let pack = self.index.bytes(&self.objects, place.pack.id)?;
        pack.read_at(bytes, place.offset)
    }
}
