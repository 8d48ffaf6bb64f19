//! The bytes of a layer: sparse files of 4 TiB each, because file systems end at 16.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

use crate::DISK_BYTES_MAX;
use crate::error::Result;
use crate::layer::LayerId;

/// Bytes that one file covers.
const FILE_BYTES: u64 = 4 << 40;

/// The data files of one layer; those that were never written do not exist.
pub(crate) struct DataFiles {
    directory: PathBuf,
    id: LayerId,
    open: Mutex<BTreeMap<u64, Arc<File>>>,
}

impl DataFiles {
    pub fn new(directory: PathBuf, id: LayerId) -> Self {
        Self {
            directory,
            id,
            open: Mutex::default(),
        }
    }

    /// Fills `buffer`; bytes that were never written are zero.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        for (number, within, from, to) in pieces(offset, buffer.len()) {
            let part = &mut buffer[from..to];
            let Some(file) = self.file(number, false)? else {
                part.fill(0);
                continue;
            };
            let mut done = 0;
            while done < part.len() {
                match file.read_at(&mut part[done..], within + done as u64) {
                    Ok(0) => {
                        part[done..].fill(0);
                        break;
                    }
                    Ok(read) => done += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Writes bytes.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        for (number, within, from, to) in pieces(offset, bytes.len()) {
            if let Some(file) = self.file(number, true)? {
                file.write_all_at(&bytes[from..to], within)?;
            }
        }
        Ok(())
    }

    /// Gives the space of a range back.
    pub fn discard(&self, offset: u64, length: u64) -> Result<()> {
        let end = offset + length;
        for number in offset / FILE_BYTES..end.div_ceil(FILE_BYTES) {
            let Some(file) = self.file(number, false)? else {
                continue;
            };
            let start = offset.max(number * FILE_BYTES) - number * FILE_BYTES;
            let stop = end.min((number + 1) * FILE_BYTES) - number * FILE_BYTES;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(&file, flags, start, stop - start) {
                // The map says zero; a file system without holes only keeps the space.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<()> {
        let open: Vec<Arc<File>> = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        open.iter().try_for_each(|file| file.sync_data())?;
        Ok(())
    }

    /// Removes every file.
    pub fn remove(&self) -> Result<()> {
        for number in 0..DISK_BYTES_MAX.div_ceil(FILE_BYTES) {
            match fs::remove_file(self.path(number)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}.data.{number}", self.id))
    }

    /// Returns a file, creating it if asked; its name is durable before its first byte is.
    fn file(&self, number: u64, create: bool) -> Result<Option<Arc<File>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Some(file.clone()));
        }
        let path = self.path(number);
        let is_new = !path.exists();
        if is_new && !create {
            return Ok(None);
        }
        let file = Arc::new(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?,
        );
        if is_new {
            crate::storage::sync_directory(&self.directory)?;
        }
        open.insert(number, file.clone());
        Ok(Some(file))
    }
}

/// Cuts a range at file borders: file, offset in it, and the part of the buffer.
fn pieces(offset: u64, length: usize) -> Vec<(u64, u64, usize, usize)> {
    let mut out = Vec::new();
    let mut from = 0;
    while from < length {
        let at = offset + from as u64;
        let within = at % FILE_BYTES;
        let room = usize::try_from(FILE_BYTES - within).unwrap_or(usize::MAX);
        let to = length.min(from.saturating_add(room));
        out.push((at / FILE_BYTES, within, from, to));
        from = to;
    }
    out
}
