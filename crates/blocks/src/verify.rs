//! Verify and fsck: what a disk needs is here and is right.

use std::collections::BTreeSet;

use crate::error::{BlocksError, Result};
use crate::inner::lock;
use crate::layer::Layer;
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

impl Fault {
    pub(crate) fn new(what: impl Into<String>, reason: impl ToString) -> Self {
        Self {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

impl Store {
    /// Checks that every pack can be opened, that every manifest can be read and has all its frames,
    /// and that every layer can be read and has its base.
    pub async fn fsck(&self) -> Result<Vec<Fault>> {
        let store = self.clone();
        blocking(move || fsck(&store)).await
    }

    /// Reads and checks every frame that a disk needs.
    pub async fn verify(&self, id: ManifestId) -> Result<()> {
        let store = self.clone();
        blocking(move || {
            let (manifest, _pin) = store.0.pin(id)?;
            for frame in manifest.frames() {
                store.0.read_frame(frame)?;
            }
            Ok(())
        })
        .await
    }
}

fn fsck(handle: &Store) -> Result<Vec<Fault>> {
    let store = &handle.0;
    let mut faults = Vec::new();
    store.catch_up()?;
    for (id, reason) in lock(&store.left_out).iter() {
        faults.push(Fault::new(format!("pack {id}"), reason));
    }
    let mut whole = BTreeSet::new();
    for id in store.manifest_ids()? {
        let what = format!("manifest {id}");
        match store.read_manifest(id) {
            Ok(manifest) => match store.lacks(&manifest)?.len() {
                0 => drop(whole.insert(id)),
                missing => {
                    faults.push(Fault::new(
                        what,
                        format!("{missing} of its frames are not here"),
                    ));
                }
            },
            Err(error @ BlocksError::Damaged { .. }) => faults.push(Fault::new(what, error)),
            // Swept since the list was made.
            Err(BlocksError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for id in store.local.layers()? {
        match Layer::open(handle, id) {
            Ok(layer) => {
                if layer.base().is_some_and(|base| !whole.contains(&base)) {
                    faults.push(Fault::new(format!("layer {id}"), "its base is not whole"));
                }
            }
            Err(error) => faults.push(Fault::new(format!("layer {id}"), error)),
        }
    }
    Ok(faults)
}
