//! Scrub: every frame is read and checked against its digest. Fsck: every manifest has its frames.

use crate::error::Result;
use crate::frame;
use crate::manifest::ManifestId;
use crate::store::{Store, blocking};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which object.
    pub what: String,
    /// What is wrong.
    pub reason: String,
}

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Frames read.
    pub frames: u64,
    /// Stored bytes read.
    pub bytes: u64,
    /// Frames that do not match their digest.
    pub faults: Vec<Fault>,
}

impl Store {
    /// Reads and checks every frame.
    pub async fn scrub(&self) -> Result<Scrubbed> {
        let store = self.clone();
        blocking(move || {
            let places: Vec<_> = store
                .0
                .index()
                .frames()
                .map(|(id, place)| (*id, place.clone()))
                .collect();
            let mut scrubbed = Scrubbed::default();
            for (id, place) in places {
                let checked = store.0.read_stored(&place).and_then(|bytes| {
                    frame::unpack(
                        id,
                        place.codec,
                        &place.digest,
                        &bytes,
                        usize::from(place.blocks),
                    )
                });
                scrubbed.frames += 1;
                scrubbed.bytes += u64::from(place.length);
                if let Err(error) = checked {
                    let what = format!(
                        "frame {}:{} in pack {}",
                        id.origin, id.number, place.pack.id
                    );
                    scrubbed.faults.push(Fault {
                        what,
                        reason: error.to_string(),
                    });
                }
            }
            Ok(scrubbed)
        })
        .await
    }

    /// Checks that every manifest can be read and has all its frames.
    pub async fn fsck(&self) -> Result<Vec<Fault>> {
        let store = self.clone();
        blocking(move || {
            let mut faults = Vec::new();
            for id in store.0.manifest_ids()? {
                match store.0.manifest(id) {
                    Ok(manifest) => {
                        let missing = store.0.lacks(&manifest).len();
                        if missing > 0 {
                            faults.push(Fault {
                                what: format!("manifest {id}"),
                                reason: format!("{missing} of its frames are not here"),
                            });
                        }
                    }
                    Err(error) => faults.push(Fault {
                        what: format!("manifest {id}"),
                        reason: error.to_string(),
                    }),
                }
            }
            Ok(faults)
        })
        .await
    }

    /// Reads and checks every frame that a disk needs.
    pub async fn verify(&self, id: ManifestId) -> Result<()> {
        let store = self.clone();
        blocking(move || {
            let manifest = store.0.manifest(id)?;
            for frame in manifest.frames() {
                let place = store.0.index().place(frame)?;
                let bytes = store.0.read_stored(&place)?;
                frame::unpack(
                    frame,
                    place.codec,
                    &place.digest,
                    &bytes,
                    usize::from(place.blocks),
                )?;
            }
            Ok(())
        })
        .await
    }
}
