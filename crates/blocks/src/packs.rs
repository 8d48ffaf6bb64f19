//! Which packs there are: all of them at the start, and, in an object store that several nodes use,
//! those that others sealed since.
//!
//! A frame is missing for good only if a list of the packs that was made after its manifest was read
//! does not have it: whoever made the manifest had sealed the packs before. So each manifest that is
//! read allows one list for what is missing, and no more, however many frames are asked for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::frame::FrameId;
use crate::index::Place;
use crate::inner::{Inner, lock};
use crate::objects::{Room, pack_of};
use crate::pack::{self, Pack};

/// Packs of an object store that are opened at once.
const OPENED_AT_ONCE: usize = 16;

/// What was looked for and when, counted in manifests read.
#[derive(Default)]
pub(crate) struct Looks {
    manifests_read: AtomicU64,
    /// The count when the last look began; held while one looks.
    last: Mutex<Option<u64>>,
}

impl Looks {
    /// A manifest was read: what it names may lie in packs that are not known.
    pub fn note_manifest(&self) {
        self.manifests_read.fetch_add(1, Ordering::AcqRel);
    }
}

impl Inner {
    /// Opens the packs that are not known yet and forgets those that went.
    pub fn look_for_packs(&self) -> Result<()> {
        let known: BTreeSet<Uuid> = self.index.packs().iter().map(|pack| pack.id).collect();
        let listed = self.objects.list(Room::Packs)?;
        let listed: Vec<(Uuid, String, u64)> = listed
            .into_iter()
            .filter_map(|(name, size)| Some((pack_of(&name)?, name, size)))
            .collect();
        let there: BTreeSet<Uuid> = listed.iter().map(|(id, ..)| *id).collect();
        let gone: Vec<Uuid> = known.difference(&there).copied().collect();
        self.index.forget(&gone);
        let mut left_out = lock(&self.left_out);
        left_out.retain(|id, _| there.contains(id));
        let is_new = |id: &Uuid| !known.contains(id) && !left_out.contains_key(id);
        let new: Vec<_> = listed.into_iter().filter(|(id, ..)| is_new(id)).collect();
        drop(left_out);
        self.open_packs(&new)
    }

    fn open_packs(&self, new: &[(Uuid, String, u64)]) -> Result<()> {
        let at_once = if self.objects.is_shared() {
            OPENED_AT_ONCE.min(new.len())
        } else {
            1
        };
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None::<BlocksError>));
        std::thread::scope(|scope| {
            let work = || {
                while let Some((id, name, size)) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = self.open_pack(*id, name, *size) {
                        next.store(new.len(), Ordering::Relaxed);
                        lock(&failed).get_or_insert(error);
                    }
                }
            };
            for _ in 1..at_once {
                scope.spawn(work);
            }
            work();
        });
        lock(&failed).take().map_or(Ok(()), Err)
    }

    /// Makes a pack known, or notes that it is damaged.
    fn open_pack(&self, id: Uuid, name: &str, size: u64) -> Result<()> {
        let opened = self
            .objects
            .open(Room::Packs, name)
            .and_then(|bytes| pack::open(id, &bytes, size));
        match opened {
            Ok(pack) => drop(self.index.add(Arc::new(pack))),
            // Swept since the list was made.
            Err(BlocksError::NotFound { .. }) if self.objects.is_shared() => {}
            Err(error) if self.is_fault(&error) => {
                tracing::error!(pack.id = %id, %error, "pack left out");
                lock(&self.left_out).insert(id, error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether an error says that an object is bad. What an object store does not answer says nothing
    /// about the object; a sector of a disk that cannot be read is lost.
    pub fn is_fault(&self, error: &BlocksError) -> bool {
        match error {
            BlocksError::Io(_) => !self.objects.is_shared(),
            _ => true,
        }
    }

    /// Opens what others sealed, where there may be others.
    pub fn catch_up(&self) -> Result<()> {
        if !self.objects.is_shared() {
            return Ok(());
        }
        let mut last = lock(&self.looks.last);
        let now = self.looks.manifests_read.load(Ordering::Acquire);
        self.look_for_packs()?;
        *last = Some(now);
        Ok(())
    }

    /// The same, unless nothing can have come since the last time.
    fn catch_up_if_due(&self) -> Result<()> {
        if !self.objects.is_shared() {
            return Ok(());
        }
        let mut last = lock(&self.looks.last);
        let now = self.looks.manifests_read.load(Ordering::Acquire);
        if *last != Some(now) {
            self.look_for_packs()?;
            *last = Some(now);
        }
        Ok(())
    }

    /// Returns every place of a frame, looking for new packs before it says that there is none.
    pub fn places(&self, frame: FrameId) -> Result<Vec<Place>> {
        let places = self.index.places(&self.objects, frame);
        match places {
            Ok(places) if !places.is_empty() => return Ok(places),
            Ok(_) => self.catch_up_if_due()?,
            // A pack went while it was being read: that is news.
            Err(BlocksError::NotFound { .. }) => self.catch_up()?,
            Err(error) => return Err(error),
        }
        self.index.places(&self.objects, frame)
    }

    /// Returns the best place of a frame; that it is not here is an error.
    pub fn place(&self, frame: FrameId) -> Result<Place> {
        let places = self.places(frame)?;
        places.into_iter().next().ok_or_else(|| {
            BlocksError::not_found(format!("frame {}:{}", frame.origin, frame.number))
        })
    }

    /// Returns every pack that is there now.
    pub fn packs(&self) -> Result<Vec<Arc<Pack>>> {
        self.catch_up()?;
        Ok(self.index.packs())
    }
}
