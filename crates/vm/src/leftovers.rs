//! What machines have left on this host, whoever started them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::directory::Directory;
use crate::error::VmError;
use crate::machine::leave;
use crate::process::{Identity, Process, in_directory};

/// How long the system may take to end processes that were killed.
const KILL: Duration = Duration::from_secs(30);

/// A machine's directory below some root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The directory.
    pub path: PathBuf,
    /// The machine's id, when its record can be read.
    pub id: Option<Uuid>,
    /// Processes that run for it.
    pub processes: Vec<u32>,
}

/// Returns every machine's directory directly below `root`, in the order of their names.
///
/// The caller knows which of them are wanted; see [`clean`] for the others.
pub fn leftovers(root: &Path) -> io::Result<Vec<Leftover>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let directory = Directory::new(&entry.path(), None);
        let record = directory.read_record().ok().flatten();
        found.push(Leftover {
            path: entry.path(),
            id: record.map(|record| record.spec.id),
            processes: identities(&directory)
                .iter()
                .map(|identity| identity.pid)
                .collect(),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Kills every process of a machine's directory, then removes it with everything in it.
pub async fn clean(path: &Path) -> Result<(), VmError> {
    end(path).await?;
    Directory::new(path, None)
        .remove()
        .map_err(VmError::io("removing a machine's directory"))
}

/// Kills every process of a machine's directory: also one that answers nothing because it waits for a disk.
pub async fn end(path: &Path) -> Result<(), VmError> {
    let directory = Directory::new(path, None);
    let processes: Vec<Process> = identities(&directory)
        .iter()
        .filter_map(Identity::open)
        .collect();
    for process in &processes {
        process
            .kill()
            .map_err(VmError::io("killing a leftover process"))?;
    }
    let ended = async {
        for process in &processes {
            process.ended().await?;
        }
        Ok(())
    };
    tokio::time::timeout(KILL, ended)
        .await
        .map_err(|_| VmError::Slow {
            what: "the end of leftover processes",
            seconds: KILL.as_secs(),
        })?
        .map_err(VmError::io("waiting for a leftover process"))?;
    if let Some(record) = directory.read_record().ok().flatten() {
        leave(&record);
    }
    Ok(())
}

/// Returns what runs for a machine: by its record, and by its working directory.
fn identities(directory: &Directory) -> Vec<Identity> {
    let mut found = in_directory(&directory.run());
    let recorded = directory.read_record().ok().flatten();
    if let Some(identity) = recorded.and_then(|record| record.emulator)
        && identity.open().is_some()
        && !found.contains(&identity)
    {
        found.push(identity);
    }
    found
}
