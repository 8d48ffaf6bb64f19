//! The node: a data directory, and the process that works in it.
//!
//! The name lies in the directory, so a server that starts in it is the one that ran before. That one
//! is dead when the lock of the file is free: what it held is given back at once, not when its leases
//! are over. Processes that only look open the same directory without it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::{Error, Result};
use uuid::Uuid;

use crate::Engine;
use crate::error::catalog as db;

/// How long a start waits for the lock: a process that was killed leaves a moment after it is gone.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at it.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    /// Makes this process the one that works in its data directory, and gives back the operations that the
    /// one before it was working on; to be called before workers run.
    ///
    /// Refused with `Conflict` while another process works there.
    pub async fn take_over(&self) -> Result<()> {
        self.hold_home(lock(self.home_file()).await?);
        let mut tx = self.catalog().write().await.map_err(db)?;
        let given_back = tx.give_back_leases(self.home()).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        if given_back > 0 {
            tracing::info!(
                operations = given_back,
                "going on with what a process before this one was doing"
            );
        }
        Ok(())
    }

    /// Returns the name by which one of this node's workers holds operations.
    pub fn worker_name(&self, worker: impl std::fmt::Display) -> String {
        format!("{}/{worker}", self.home())
    }
}

/// Locks a node's file until the process ends; nothing to hold where the directory cannot keep one.
async fn lock(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        // The name was made for this process alone: nobody held anything by it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_locked(&error)),
    };
    let end = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::conflict(
                    "DataDirectoryInUse",
                    "Another server works in this data directory. Stop it first, or give this one a directory of its own.",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(not_locked(&error)),
        }
    }
}

fn not_locked(error: &std::io::Error) -> Error {
    tracing::error!(%error, "the data directory cannot be locked");
    Error::internal()
}

/// Returns where a data directory keeps its name.
pub(crate) fn home_file(data: &Path) -> PathBuf {
    data.join("local").join("node")
}

/// Returns the name of a data directory among those that work on a catalog; made once.
///
/// It lies with the layers, which are of this directory alone and in no backup. A directory that
/// cannot keep it is another one at each start.
pub(crate) fn home_of(data: &Path) -> String {
    let path = home_file(data);
    if let Ok(kept) = std::fs::read_to_string(&path)
        && let Ok(kept) = Uuid::parse_str(kept.trim())
    {
        return kept.to_string();
    }
    let fresh = Uuid::new_v4().to_string();
    let written =
        std::fs::create_dir_all(data.join("local")).and_then(|()| std::fs::write(&path, &fresh));
    if let Err(error) = written {
        tracing::warn!(%error, "the name of this node was not kept");
    }
    fresh
}
