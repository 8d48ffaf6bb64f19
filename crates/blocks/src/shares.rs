//! Shares: what each of several users of a store takes of it, and what would go with it.
//!
//! The unit is the frame, because a frame is what is stored and what a sweep gives back: a frame of
//! which one block is needed stays whole. Frames that one user alone needs go with it; frames that
//! several need, or that a writable layer stands on, stay.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::inner::Inner;
use crate::manifest::{Manifest, ManifestId};
use crate::store::{Store, blocking};
use crate::sweep::bases;

/// No user needs the frame.
const NOBODY: u32 = 0;
/// More than one user needs the frame, or a layer stands on it.
const SEVERAL: u32 = u32::MAX;

/// What one user takes of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Bytes of the disks as they are seen.
    pub logical_bytes: u64,
    /// Bytes of the disks that are not in holes.
    pub content_bytes: u64,
    /// Stored bytes of every frame that it needs.
    pub stored_bytes: u64,
    /// Stored bytes of the frames that it alone needs: what goes with it.
    pub alone_bytes: u64,
}

/// What all users take of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// By user, in the order in which they were asked for.
    pub users: Vec<Share>,
    /// Stored bytes of frames that several users need.
    pub shared_bytes: u64,
    /// Stored bytes of all frames that anybody needs.
    pub needed_bytes: u64,
    /// Manifests that were named and are not here or cannot be read.
    pub unread: u64,
}

impl Store {
    /// Returns what each user takes; a user is the set of manifests that goes with it.
    ///
    /// Reads every manifest that is named once or twice, and the tables of what they need; no frame.
    pub async fn shares(&self, users: Vec<BTreeSet<ManifestId>>) -> Result<Shares> {
        let store = self.clone();
        blocking(move || shares(&store.0, &users)).await
    }
}

/// Who needs each frame.
#[derive(Default)]
struct Owners(HashMap<Uuid, Vec<u32>>);

impl Owners {
    fn add(&mut self, frame: FrameId, user: u32) {
        let frames = self.0.entry(frame.origin).or_default();
        let at = frame.number as usize;
        if frames.len() <= at {
            frames.resize(at + 1, NOBODY);
        }
        frames[at] = match frames[at] {
            NOBODY => user,
            same if same == user => user,
            _ => SEVERAL,
        };
    }

    fn of(&self, frame: FrameId) -> u32 {
        let frames = self.0.get(&frame.origin);
        let owner = frames.and_then(|frames| frames.get(frame.number as usize));
        owner.copied().unwrap_or(NOBODY)
    }
}

fn shares(store: &Inner, users: &[BTreeSet<ManifestId>]) -> Result<Shares> {
    let mut shares = Shares::default();
    let mut owners = Owners::default();
    for id in bases(store)? {
        if let Some(manifest) = read(store, id, &mut 0)? {
            for frame in manifest.frames() {
                owners.add(frame, SEVERAL);
            }
        }
    }
    for (user, ids) in (1_u32..).zip(users) {
        for id in ids {
            if let Some(manifest) = read(store, *id, &mut shares.unread)? {
                for frame in manifest.frames() {
                    owners.add(frame, user);
                }
            }
        }
    }
    for ids in users {
        shares.users.push(share(store, ids, &owners)?);
    }
    for (origin, frames) in &owners.0 {
        for (number, owner) in (0_u32..).zip(frames) {
            if *owner == NOBODY {
                continue;
            }
            let frame = FrameId {
                origin: *origin,
                number,
            };
            let bytes = stored_bytes(store, frame)?;
            shares.needed_bytes += bytes;
            if *owner == SEVERAL {
                shares.shared_bytes += bytes;
            }
        }
    }
    Ok(shares)
}

fn share(store: &Inner, ids: &BTreeSet<ManifestId>, owners: &Owners) -> Result<Share> {
    let mut share = Share::default();
    let mut frames = BTreeSet::new();
    for id in ids {
        let Some(manifest) = read(store, *id, &mut 0)? else {
            continue;
        };
        share.logical_bytes += manifest.size_bytes();
        share.content_bytes += manifest.content_bytes();
        frames.extend(manifest.frames());
    }
    for frame in frames {
        let bytes = stored_bytes(store, frame)?;
        share.stored_bytes += bytes;
        if owners.of(frame) != SEVERAL {
            share.alone_bytes += bytes;
        }
    }
    Ok(share)
}

/// Returns a manifest, or counts it as unread when it is gone or damaged.
fn read(store: &Inner, id: ManifestId, unread: &mut u64) -> Result<Option<Manifest>> {
    match store.read_manifest(id) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(BlocksError::NotFound { .. } | BlocksError::Damaged { .. }) => {
            *unread += 1;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the stored length of a frame, 0 when it is not here.
fn stored_bytes(store: &Inner, frame: FrameId) -> Result<u64> {
    match store.places(frame) {
        Ok(places) => Ok(places.first().map_or(0, |place| u64::from(place.length))),
        Err(BlocksError::NotFound { .. } | BlocksError::Damaged { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}
