//! A disk that fails at a step, and that forgets what was not synced.
//!
//! Volatile and durable bytes are kept apart, and so are names. A crash keeps of what was not synced
//! any part: each sector of a write by itself, of a directory's changes the first so many. A sync that
//! failed has forgotten what it should have kept, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::support::Random;
use crate::files::{Files, OpenFile};
use crate::inner::lock;

const SECTOR: usize = 512;

/// What happens at the step that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The machine stops: this step may be half done, every later one fails.
    Stop,
    /// This step fails, possibly half done; later ones work.
    Full,
    /// The same, as a fault of the device.
    Fault,
}

/// A disk; clones are the same disk.
#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Clone)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable, in their order.
    pending: Vec<(PathBuf, Option<usize>)>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Which run of the machine this is.
    boot: u8,
    step: u64,
    fails_at: Option<(u64, Failure)>,
    has_failed: bool,
    is_stopped: bool,
    random: Random,
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl Inode {
    /// Writes the sectors of a change that `is_kept` says.
    fn apply(to: &mut Vec<u8>, at: usize, bytes: &[u8], mut is_kept: impl FnMut() -> bool) {
        let mut from = 0;
        while from < bytes.len() {
            let border = (at + from) / SECTOR * SECTOR + SECTOR;
            let end = (border - at).min(bytes.len());
            if is_kept() {
                if to.len() < at + end {
                    to.resize(at + end, 0);
                }
                to[at + from..at + end].copy_from_slice(&bytes[from..end]);
            }
            from = end;
        }
    }
}

impl CrashDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            directories: BTreeSet::new(),
            locks: BTreeSet::new(),
            boot: 1,
            step: 0,
            fails_at: None,
            has_failed: false,
            is_stopped: false,
            random: Random(seed),
        })))
    }

    /// Returns another disk of the same content, on which nothing is open and nothing fails.
    pub fn copy(&self, seed: u64) -> Self {
        let mut state = lock(&self.0).clone();
        state.locks.clear();
        state.random = Random(seed);
        state.step = 0;
        state.fails_at = None;
        state.has_failed = false;
        state.is_stopped = false;
        state.forget_nameless();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Lets the step of this number fail, counted from now.
    pub fn fail_at(&self, step: u64, failure: Failure) {
        let mut state = lock(&self.0);
        state.fails_at = Some((state.step + step, failure));
    }

    /// Lets no later step fail; whether the one that should was reached.
    pub fn stop_failing(&self) -> bool {
        let mut state = lock(&self.0);
        state.fails_at = None;
        state.has_failed
    }

    /// Returns the disk after a loss of power: `keeps` says whether any of what was not synced is left.
    pub fn crash(&self, seed: u64, keeps: bool) -> Self {
        let after = self.copy(seed);
        {
            let mut state = lock(&after.0);
            let state = &mut *state;
            state.boot += 1;
            let random = &mut state.random;
            let mut names = state.durable.clone();
            let count = if keeps {
                random.below(state.pending.len() + 1)
            } else {
                0
            };
            for (path, inode) in state.pending.drain(..).take(count) {
                match inode {
                    Some(inode) => names.insert(path, inode),
                    None => names.remove(&path),
                };
            }
            state.pending.clear();
            state.names = names.clone();
            state.durable = names;
            for inode in &mut state.inodes {
                for (at, bytes) in inode.pending.drain(..) {
                    let part = random.below(3);
                    let is_kept = || keeps && (part == 0 || part == 1 && random.below(2) == 0);
                    Inode::apply(&mut inode.durable, at, &bytes, is_kept);
                }
                inode.bytes = inode.durable.clone();
            }
        }
        after
    }

    /// Returns the files that have a name.
    pub fn names(&self) -> Vec<PathBuf> {
        lock(&self.0).names.keys().cloned().collect()
    }

    /// Changes a file's bytes behind everybody's back.
    pub fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock(&self.0);
        let inode = state.names[path];
        let inode = &mut state.inodes[inode];
        assert!(inode.pending.is_empty(), "only synced files rot");
        change(&mut inode.durable);
        inode.bytes = inode.durable.clone();
    }
}

impl State {
    /// Counts a step; an error when it fails, and then whether a part of it is done.
    fn step(&mut self) -> Result<(), (io::Error, bool)> {
        let stopped = || io::Error::other("the machine has stopped");
        if self.is_stopped {
            return Err((stopped(), false));
        }
        self.step += 1;
        let Some((_, failure)) = self.fails_at.filter(|(at, _)| *at + 1 == self.step) else {
            return Ok(());
        };
        self.has_failed = true;
        let is_half_done = self.random.below(2) == 0;
        let error = match failure {
            Failure::Stop => {
                self.is_stopped = true;
                stopped()
            }
            Failure::Full => io::ErrorKind::StorageFull.into(),
            Failure::Fault => io::Error::other("the device has a fault"),
        };
        Err((error, is_half_done))
    }

    /// Drops the bytes of files that have no name and can get none any more: nothing is open.
    fn forget_nameless(&mut self) {
        let pending = self.pending.iter().filter_map(|(_, inode)| *inode);
        let named = self.names.values().chain(self.durable.values()).copied();
        let kept: BTreeSet<usize> = named.chain(pending).collect();
        for (n, inode) in self.inodes.iter_mut().enumerate() {
            if !kept.contains(&n) {
                *inode = Inode::default();
            }
        }
    }

    fn whole_step(&mut self) -> io::Result<()> {
        self.step().map_err(|(error, _)| error)
    }

    fn set_name(&mut self, path: &Path, inode: Option<usize>) {
        match inode {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.pending.push((path.to_owned(), inode));
    }
}

impl Files for CrashDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        // Directories are made once, when a store is new: that they last is not in question here.
        lock(&self.0).directories.insert(path.to_owned());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let mut state = lock(&self.0);
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.whole_step()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.set_name(path, Some(inode));
        drop(state);
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &Path, _is_writable: bool) -> io::Result<Arc<dyn OpenFile>> {
        let state = lock(&self.0);
        let inode = state.names.get(path).copied();
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.whole_step()?;
        state.set_name(to, Some(inode));
        state.set_name(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.whole_step()?;
        state.set_name(path, None);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = lock(&self.0);
        let children = state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        Ok(children
            .map(|(name, inode)| {
                let name = name.file_name().unwrap().to_str().unwrap().to_owned();
                (name, state.inodes[*inode].bytes.len() as u64)
            })
            .collect())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        let failed = state.step();
        let is_lost = match failed {
            Err((error, false)) => return Err(error),
            Err((error, true)) => Some(error),
            Ok(()) => None,
        };
        let (here, elsewhere) = std::mem::take(&mut state.pending)
            .into_iter()
            .partition(|(name, _)| name.parent() == Some(path));
        state.pending = elsewhere;
        let changes: Vec<(PathBuf, Option<usize>)> = here;
        for (name, inode) in changes {
            match inode {
                Some(inode) => state.durable.insert(name, inode),
                None => state.durable.remove(&name),
            };
        }
        is_lost.map_or(Ok(()), Err)
    }

    fn boot(&self) -> [u8; 16] {
        [lock(&self.0).boot; 16]
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !lock(&self.0).locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Locked(self.clone(), path.to_owned())))
    }
}

struct Locked(CrashDisk, PathBuf);

impl Drop for Locked {
    fn drop(&mut self) {
        lock(&self.0.0).locks.remove(&self.1);
    }
}

struct CrashFile {
    disk: CrashDisk,
    inode: usize,
}

impl CrashFile {
    fn change(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut state = lock(&self.disk.0);
        let failed = state.step();
        let State { inodes, random, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        // A write that fails may have written its beginning.
        let done = match failed {
            Ok(()) => bytes.len(),
            Err((_, false)) => 0,
            Err((_, true)) => {
                let end = (at + random.below(bytes.len())) / SECTOR * SECTOR;
                end.saturating_sub(at)
            }
        };
        Inode::apply(&mut inode.bytes, at, &bytes[..done], || true);
        // What reaches the device is whole sectors as they were at some moment.
        let start = at / SECTOR * SECTOR;
        let end = (at + done).next_multiple_of(SECTOR).min(inode.bytes.len());
        if done > 0 {
            inode
                .pending
                .push((start, inode.bytes[start..end].to_vec()));
        }
        failed.map_err(|(error, _)| error)
    }
}

impl OpenFile for CrashFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.disk.0).inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = lock(&self.disk.0);
        let bytes = &state.inodes[self.inode].bytes;
        let at = usize::try_from(offset).unwrap().min(bytes.len());
        let length = buffer.len().min(bytes.len() - at);
        buffer[..length].copy_from_slice(&bytes[at..at + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(bytes, offset)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = self.length()?.min(offset + length);
        let length = usize::try_from(end.saturating_sub(offset)).unwrap();
        self.change(&vec![0; length], offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let failed = state.step();
        let State {
            inodes,
            random,
            is_stopped,
            ..
        } = &mut *state;
        let inode = &mut inodes[self.inode];
        if *is_stopped {
            return failed.map_err(|(error, _)| error);
        }
        // After an error what was to be written counts as written, and some of it is not.
        let has_failed = failed.is_err();
        for (at, bytes) in inode.pending.drain(..) {
            let is_kept = || !has_failed || random.below(2) == 0;
            Inode::apply(&mut inode.durable, at, &bytes, is_kept);
        }
        failed.map_err(|(error, _)| error)
    }
}
