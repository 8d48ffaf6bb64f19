//! Where packs, manifests and marks lie: objects that are whole or not there.
//!
//! Two kinds: a directory of this machine, and any object store. Both give the same promise: what
//! `put` and `publish` acknowledged is there after a crash, and nobody ever sees half an object.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::error::{BlocksError, Result};
use crate::files::{self, Files, OpenFile, Temporary};
use crate::inner::lock as guard;
use crate::remote::{Remote, Upload};

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Packs,
    Manifests,
    /// Marks: since when a manifest is not referred to.
    Unreferenced,
}

impl Room {
    pub const ALL: [Self; 3] = [Self::Packs, Self::Manifests, Self::Unreferenced];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Packs => "packs",
            Self::Manifests => "manifests",
            Self::Unreferenced => "unreferenced",
        }
    }
}

/// The objects of a store.
pub(crate) enum Objects {
    Directory(Directory),
    Remote(Remote),
}

impl Objects {
    /// Whether others may add and remove objects too: a directory has a lock.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Makes the objects those of `owner`, or finds that they are. Nobody else has a directory's path.
    pub fn belong_to(&self, owner: &str) -> Result<()> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Remote(remote) => remote.belong_to(owner),
        }
    }

    /// Writes an object, replacing one of its name.
    pub fn put(&self, room: Room, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Directory(directory) => Ok(directory.put(room, name, bytes)?),
            Self::Remote(remote) => remote.put(room, name, bytes),
        }
    }

    /// Makes sure that an object which can have only these bytes is there and stays there.
    pub fn ensure(&self, room: Room, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Directory(directory) => Ok(directory.ensure(room, name, bytes)?),
            Self::Remote(remote) => remote.ensure(room, name, bytes),
        }
    }

    /// Returns an object's bytes; `None` when it is not there.
    pub fn get(&self, room: Room, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Directory(at) => Ok(files::read_whole(at.files.as_ref(), &at.path(room, name))?),
            Self::Remote(remote) => remote.get(room, name),
        }
    }

    /// Removes an object, durably; one that is not there is fine.
    pub fn remove(&self, room: Room, name: &str) -> Result<()> {
        match self {
            Self::Directory(directory) => Ok(directory.remove(room, name)?),
            Self::Remote(remote) => remote.remove(room, name),
        }
    }

    /// Returns the objects of a kind with their sizes.
    pub fn list(&self, room: Room) -> Result<Vec<(String, u64)>> {
        match self {
            Self::Directory(at) => Ok(at.files.list(&at.root.join(room.name()))?),
            Self::Remote(remote) => remote.list(room),
        }
    }

    /// Starts an object that is written piece by piece and seen when it is published.
    pub fn begin(&self, room: Room, name: &str) -> Result<Sink> {
        match self {
            Self::Directory(at) => Ok(Sink::File {
                temporary: Temporary::create(&at.files, &at.temporary)?,
                path: at.path(room, name),
                written: 0,
            }),
            Self::Remote(remote) => Ok(Sink::Upload(remote.begin(room, name))),
        }
    }

    /// Opens an object for reading ranges.
    pub fn open(&self, room: Room, name: &str) -> Result<Bytes> {
        match self {
            Self::Directory(at) => {
                let file = at.files.open(&at.path(room, name), false);
                match file {
                    Ok(file) => Ok(Bytes::File(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Err(BlocksError::not_found(format!("{} {name}", room.name())))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Self::Remote(remote) => Ok(Bytes::Remote(remote.clone(), room, name.to_owned())),
        }
    }
}

/// An object that is being written.
pub(crate) enum Sink {
    File {
        temporary: Temporary,
        path: PathBuf,
        written: u64,
    },
    Upload(Upload),
}

impl Sink {
    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File {
                temporary, written, ..
            } => {
                temporary.file.write_at(bytes, *written)?;
                *written += bytes.len() as u64;
                Ok(())
            }
            Self::Upload(upload) => upload.append(bytes),
        }
    }

    /// Makes what was appended durable; an object store does that when the object gets its name.
    pub fn sync(&self) -> Result<()> {
        match self {
            Self::File { temporary, .. } => Ok(temporary.file.sync()?),
            Self::Upload(_) => Ok(()),
        }
    }

    /// Gives the object its name, durably.
    pub fn publish(self) -> Result<()> {
        match self {
            Self::File {
                temporary, path, ..
            } => {
                temporary.file.sync()?;
                Ok(temporary.publish(&path, false)?)
            }
            Self::Upload(upload) => upload.publish(),
        }
    }
}

/// An object that is read in ranges.
#[derive(Clone)]
pub(crate) enum Bytes {
    File(Arc<dyn OpenFile>),
    Remote(Remote, Room, String),
}

impl Bytes {
    /// Fills the buffer from `offset`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        match self {
            Self::File(file) => Ok(files::read_exact(file.as_ref(), buffer, offset)?),
            Self::Remote(remote, room, name) => remote.read_at(*room, name, buffer, offset),
        }
    }
}

/// A directory of this machine.
pub(crate) struct Directory {
    files: Arc<dyn Files>,
    root: PathBuf,
    temporary: PathBuf,
    /// Whether names went from a room, by its place in [`Room::ALL`], and that may not be durable yet.
    unsynced: [Mutex<bool>; Room::ALL.len()],
    _lock: Box<dyn Send + Sync>,
}

impl Directory {
    /// Opens a directory: creates what is missing, clears what a crash left half-written, and makes
    /// the names that are there durable, because a process may have died between naming and that.
    pub fn open(files: Arc<dyn Files>, root: PathBuf) -> Result<Self> {
        files.create_directory(&root)?;
        let lock = lock(files.as_ref(), &root.join("lock"))?;
        let temporary = root.join("temporary");
        for room in Room::ALL {
            files.create_directory(&root.join(room.name()))?;
            files.sync_directory(&root.join(room.name()))?;
        }
        clear(files.as_ref(), &temporary)?;
        Ok(Self {
            files,
            root,
            temporary,
            unsynced: Default::default(),
            _lock: lock,
        })
    }

    fn path(&self, room: Room, name: &str) -> PathBuf {
        self.root.join(room.name()).join(name)
    }

    fn put(&self, room: Room, name: &str, bytes: &[u8]) -> io::Result<()> {
        files::write_durable(&self.files, &self.temporary, &self.path(room, name), bytes)
    }

    fn ensure(&self, room: Room, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(room, name);
        match files::read_whole(self.files.as_ref(), &path)? {
            // It may have been named by a call that failed before the name was durable.
            Some(found) if found == bytes => {
                self.files.open(&path, false)?.sync()?;
                self.files.sync_directory(&self.root.join(room.name()))
            }
            _ => self.put(room, name, bytes),
        }
    }

    /// Removes a file, durably. One that is not there costs no sync, unless a removal by somebody
    /// else, or one that failed, may be what is not durable.
    fn remove(&self, room: Room, name: &str) -> io::Result<()> {
        let mut is_unsynced = guard(&self.unsynced[room as usize]);
        let was_unsynced = std::mem::replace(&mut *is_unsynced, true);
        let was_there = files::remove_if_there(self.files.as_ref(), &self.path(room, name))?;
        if was_there || was_unsynced {
            self.files.sync_directory(&self.root.join(room.name()))?;
        }
        *is_unsynced = false;
        Ok(())
    }
}

/// Creates a directory of temporary files and empties it.
pub(crate) fn clear(files: &dyn Files, temporary: &std::path::Path) -> io::Result<()> {
    files.create_directory(temporary)?;
    for (name, _) in files.list(temporary)? {
        files::remove_if_there(files, &temporary.join(name))?;
    }
    files.sync_directory(temporary)
}

/// Keeps a second process out of a directory.
pub(crate) fn lock(files: &dyn Files, path: &std::path::Path) -> Result<Box<dyn Send + Sync>> {
    files.lock(path).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            BlocksError::Locked {
                what: path.display().to_string(),
            }
        } else {
            error.into()
        }
    })
}

/// Returns the file name of a pack.
pub(crate) fn pack_name(id: Uuid) -> String {
    format!("{id}.pack")
}

/// Returns the pack that a file name stands for.
pub(crate) fn pack_of(name: &str) -> Option<Uuid> {
    Uuid::parse_str(name.strip_suffix(".pack")?).ok()
}
