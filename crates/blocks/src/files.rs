//! The file operations of a store, behind one trait: the real ones, and in tests a disk that crashes.
//!
//! The contract is that of POSIX, no more: bytes are durable after `sync`, names after
//! `sync_directory`, a rename is whole or not there. A write may be torn between sectors of 512 bytes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, ReadWriteFlags};
use uuid::Uuid;

/// Files and their names.
pub(crate) trait Files: Send + Sync {
    /// Creates a directory with its parents, durably; one that is there is fine.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Creates a file that must not be there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>>;
    /// Opens a file that must be there, for reading and, when asked, writing.
    fn open(&self, path: &Path, is_writable: bool) -> io::Result<Arc<dyn OpenFile>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns the files of a directory with their sizes.
    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Names the run of the machine: what was written in it and not synced is there while it lasts.
    fn boot(&self) -> [u8; 16];
    /// Takes a lock for as long as the answer lives; `WouldBlock` while another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file.
pub(crate) trait OpenFile: Send + Sync {
    /// Returns the length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads up to the buffer's length; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Fills the buffer if that needs no wait for a device; whether it did.
    fn read_at_hand(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Gives the space of a range back; it reads as zero afterwards.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills the buffer; a file that ends before is an error.
pub(crate) fn read_exact(file: &dyn OpenFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let done = read_full(file, buffer, offset)?;
    if done < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Fills the buffer as far as the file goes and returns how far that was.
pub(crate) fn read_full(file: &dyn OpenFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads a whole file; `None` when it is not there.
pub(crate) fn read_whole(files: &dyn Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0_u8; length];
    read_exact(file.as_ref(), &mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Removes a file; one that is not there is fine. Returns whether it was.
pub(crate) fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<bool> {
    match files.remove(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file is there.
pub(crate) fn exists(files: &dyn Files, path: &Path) -> io::Result<bool> {
    match files.open(path, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file that nobody sees until it is published; dropped before that, it goes.
pub(crate) struct Temporary {
    files: Arc<dyn Files>,
    path: std::path::PathBuf,
    pub file: Arc<dyn OpenFile>,
    is_published: bool,
}

impl Temporary {
    /// Creates one in `directory`.
    pub fn create(files: &Arc<dyn Files>, directory: &Path) -> io::Result<Self> {
        let path = directory.join(Uuid::new_v4().to_string());
        let file = files.create(&path)?;
        Ok(Self {
            files: files.clone(),
            path,
            file,
            is_published: false,
        })
    }

    /// Gives the file, synced by the caller, its final name, durably. When that fails the name is
    /// taken back, so that nobody builds on what may not last.
    pub fn publish(mut self, path: &Path, replaces: bool) -> io::Result<()> {
        self.files.rename(&self.path, path)?;
        self.is_published = true;
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        let synced = self.files.sync_directory(parent);
        if synced.is_err() && !replaces {
            drop(self.files.remove(path));
        }
        synced
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_published {
            // What stays behind after an error here goes when the store is opened again.
            drop(self.files.remove(&self.path));
        }
    }
}

/// Writes a small file durably under its final name: whole or not there.
pub(crate) fn write_durable(
    files: &Arc<dyn Files>,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
) -> io::Result<()> {
    let file = Temporary::create(files, temporary)?;
    file.file.write_at(bytes, 0)?;
    file.file.sync()?;
    file.publish(path, true)
}

/// How long a lock is waited for: whoever had it may be ending, with a sync still on its way.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The files of this machine.
pub(crate) struct RealFiles;

impl Files for RealFiles {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() || path.as_os_str().is_empty() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_directory(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_directory(parent),
            Some(_) => self.sync_directory(Path::new(".")),
            None => Ok(()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path, is_writable: bool) -> io::Result<Arc<dyn OpenFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(is_writable)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It went while the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                names.push((name, metadata.len()));
            }
        }
        Ok(names)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn boot(&self) -> [u8; 16] {
        static BOOT: OnceLock<Uuid> = OnceLock::new();
        // Where the kernel does not say, every process is a run of its own.
        let boot = BOOT.get_or_init(|| {
            let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let known = text.ok().and_then(|text| text.trim().parse().ok());
            known.unwrap_or_else(Uuid::new_v4)
        });
        boot.into_bytes()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

impl OpenFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn read_at_hand(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let length = buffer.len();
        let mut buffers = [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(self, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == length),
            // Not in the page cache, or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(self, flags, offset, length) {
            Err(rustix::io::Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
