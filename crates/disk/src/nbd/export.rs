//! What is served: a disk behind a few asynchronous operations.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::source::Extent;

/// What an operation of an export gives, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ExportError>> + Send + 'a>>;

/// Why an export did not do what it was asked; the client sees the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Nothing may be written (EPERM).
    #[error("the export is read-only")]
    ReadOnly,
    /// The storage below did not answer (EIO).
    #[error("the storage failed")]
    Io,
    /// The request makes no sense (EINVAL).
    #[error("the request is not valid")]
    Invalid,
    /// There is no space for what was written (ENOSPC).
    #[error("there is no space left")]
    NoSpace,
    /// The answer would be too large (EOVERFLOW).
    #[error("the answer is too large")]
    TooLarge,
    /// It cannot be done as asked (ENOTSUP).
    #[error("the operation is not supported")]
    Unsupported,
    /// The server is going away (ESHUTDOWN).
    #[error("the server is stopping")]
    Stopping,
}

/// A part of what was read, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; they are sent without being copied.
    Data(Bytes),
    /// So many zero bytes; they are not sent where the client understands holes.
    Zero(u64),
}

impl Piece {
    /// Returns the number of bytes it stands for.
    pub fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zero(length) => *length,
        }
    }
}

/// A disk that is served.
///
/// Every range is inside the disk and not empty. Operations of one connection run at the same
/// time on one task: an operation that blocks or computes for long goes to another thread.
pub trait Export: Send + Sync {
    /// Returns the size of the disk; it does not change while a client is connected.
    fn size_bytes(&self) -> u64;

    /// Whether all writes are refused.
    fn is_read_only(&self) -> bool;

    /// Whether a flush on one connection covers what other connections have written.
    fn is_multi_conn(&self) -> bool {
        true
    }

    /// Returns `length` bytes at `offset`.
    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>>;

    /// Writes; durable after the next flush.
    fn write(&self, offset: u64, data: Bytes) -> Answer<'_, ()>;

    /// Makes a range zero; with `keep_allocated` its space stays reserved. Without it the
    /// operation has to be fast: it gives space back and writes no zeroes.
    fn write_zeroes(&self, offset: u64, length: u32, keep_allocated: bool) -> Answer<'_, ()>;

    /// Says that a range is not needed any more; what it reads as is up to the export.
    fn trim(&self, offset: u64, length: u32) -> Answer<'_, ()>;

    /// Makes every write that was answered durable.
    fn flush(&self) -> Answer<'_, ()>;

    /// Returns runs from `offset` on, in order and without gaps; the last may reach further than
    /// `length`, and they may end before.
    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>>;

    /// Says that a range will be read soon.
    fn cache(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        let _ = (offset, length);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The exports of a server by name.
#[derive(Clone, Default)]
pub struct Exports {
    by_name: BTreeMap<String, Arc<dyn Export>>,
    default: Option<Arc<dyn Export>>,
}

impl Exports {
    /// Makes a server of one disk, which clients get without naming it.
    pub fn one(export: Arc<dyn Export>) -> Self {
        Self {
            by_name: BTreeMap::new(),
            default: Some(export),
        }
    }

    /// Adds a disk under a name of at most [`super::NAME_BYTES_MAX`] bytes.
    #[must_use]
    pub fn with(mut self, name: &str, export: Arc<dyn Export>) -> Self {
        debug_assert!(
            name.len() <= super::NAME_BYTES_MAX,
            "clients cannot ask for it"
        );
        self.by_name.insert(name.to_owned(), export);
        self
    }

    /// Takes a disk away; those who are connected to it stay so.
    pub fn remove(&mut self, name: &str) -> Option<Arc<dyn Export>> {
        self.by_name.remove(name)
    }

    /// Returns a disk by its name; the empty name is the default.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Export>> {
        match (name, &self.default) {
            ("", Some(default)) => Some(default.clone()),
            _ => self.by_name.get(name).cloned(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let default = self.default.iter().map(|_| "");
        default.chain(self.by_name.keys().map(String::as_str))
    }
}
