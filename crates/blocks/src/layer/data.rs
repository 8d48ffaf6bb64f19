//! The bytes of a layer: sparse files of 4 TiB each, because file systems end at 16.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::DISK_BYTES_MAX;
use crate::error::{BlocksError, Result};
use crate::files::{self, Files, OpenFile};
use crate::inner::{Local, lock};
use crate::layer::LayerId;

/// Bytes that one file covers.
const FILE_BYTES: u64 = 4 << 40;

/// The data files of one layer; those that were never written do not exist.
pub(crate) struct DataFiles {
    files: Arc<dyn Files>,
    directory: PathBuf,
    id: LayerId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u64, Arc<dyn OpenFile>>,
    /// The layer was deleted: no file may be made any more.
    is_closed: bool,
}

impl DataFiles {
    pub fn new(local: &Local, id: LayerId) -> Self {
        Self {
            files: local.files.clone(),
            directory: local.directory.clone(),
            id,
            state: Mutex::default(),
        }
    }

    /// Opens what is there, so that a sync covers what another process wrote.
    pub fn open_all(&self, size: u64) -> Result<()> {
        for number in 0..size.div_ceil(FILE_BYTES) {
            self.file(number, false)?;
        }
        Ok(())
    }

    /// Fills `buffer` with bytes that were written: that they are not there is damage.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        for (number, within, from, to) in pieces(offset, buffer.len()) {
            let part = &mut buffer[from..to];
            let file = self.file(number, false)?;
            let file = file.ok_or_else(|| self.damaged("a file of its data is missing"))?;
            if files::read_full(file.as_ref(), part, within)? < part.len() {
                return Err(self.damaged("a file of its data is cut short"));
            }
        }
        Ok(())
    }

    /// Fills `buffer` if that needs no wait for the storage; whether it did.
    pub fn read_at_hand(&self, offset: u64, buffer: &mut [u8]) -> Result<bool> {
        for (number, within, from, to) in pieces(offset, buffer.len()) {
            let Ok(state) = self.state.try_lock() else {
                return Ok(false);
            };
            let Some(file) = state.open.get(&number).cloned() else {
                return Ok(false);
            };
            drop(state);
            if !file.read_at_hand(&mut buffer[from..to], within)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes bytes.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        for (number, within, from, to) in pieces(offset, bytes.len()) {
            if let Some(file) = self.file(number, true)? {
                file.write_at(&bytes[from..to], within)?;
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
            match file.punch(start, stop - start) {
                // The map says zero; a file system without holes only keeps the space.
                Err(error) if error.kind() != io::ErrorKind::Unsupported => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<()> {
        let open: Vec<_> = lock(&self.state).open.values().cloned().collect();
        open.iter().try_for_each(|file| file.sync())?;
        Ok(())
    }

    /// Lets no file be made any more.
    pub fn close(&self) {
        lock(&self.state).is_closed = true;
    }

    /// Removes every file.
    pub fn remove(&self) -> Result<()> {
        for number in 0..DISK_BYTES_MAX.div_ceil(FILE_BYTES) {
            files::remove_if_there(self.files.as_ref(), &self.path(number))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}.data.{number}", self.id))
    }

    /// Returns a file, creating it if asked; its name is durable before its first byte is.
    fn file(&self, number: u64, create: bool) -> Result<Option<Arc<dyn OpenFile>>> {
        let mut state = lock(&self.state);
        if let Some(file) = state.open.get(&number) {
            return Ok(Some(file.clone()));
        }
        if state.is_closed {
            return Err(BlocksError::Closed { id: self.id.0 });
        }
        let path = self.path(number);
        let file = match self.files.open(&path, true) {
            Ok(file) => file,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Err(_) if !create => return Ok(None),
            Err(_) => self.files.create(&path)?,
        };
        if create {
            // Also when it was there: who made it may have died before its name was durable.
            self.files.sync_directory(&self.directory)?;
        }
        state.open.insert(number, file.clone());
        Ok(Some(file))
    }

    fn damaged(&self, reason: &str) -> BlocksError {
        BlocksError::damaged(format!("layer {}", self.id), reason)
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
