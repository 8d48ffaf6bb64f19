//! Durable files: whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::Result;

/// The directories of a store.
#[derive(Clone, Debug)]
pub(crate) struct Directories {
    pub packs: PathBuf,
    pub manifests: PathBuf,
    pub unreferenced: PathBuf,
    pub temporary: PathBuf,
    pub layers: PathBuf,
}

impl Directories {
    /// Creates what is missing and clears what a crash left half-written.
    pub fn open(root: &Path, local: &Path) -> Result<Self> {
        let all = Self {
            packs: root.join("packs"),
            manifests: root.join("manifests"),
            unreferenced: root.join("unreferenced"),
            temporary: root.join("temporary"),
            layers: local.join("layers"),
        };
        if all.temporary.exists() {
            fs::remove_dir_all(&all.temporary)?;
        }
        for path in [
            &all.packs,
            &all.manifests,
            &all.unreferenced,
            &all.temporary,
            &all.layers,
        ] {
            fs::create_dir_all(path)?;
        }
        sync_directory(root)?;
        Ok(all)
    }

    /// Creates a file that nobody sees until it is published.
    pub fn temporary_file(&self) -> Result<(PathBuf, File)> {
        let path = self.temporary.join(Uuid::new_v4().to_string());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok((path, file))
    }

    /// Writes a small file durably under its final name.
    pub fn write_durable(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let (temporary, mut file) = self.temporary_file()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        publish(&temporary, path)
    }
}

/// Gives a synced file its final name, durably.
pub(crate) fn publish(temporary: &Path, path: &Path) -> Result<()> {
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes renames and removals in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()?;
    Ok(())
}
