//! What can go wrong in a block store.

use std::io;

/// What a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same call may work a moment later.
    Busy,
    /// Stored bytes do not match their digest.
    Damaged,
    /// A manifest, frame or layer is not there.
    NotFound,
    /// No space left.
    Full,
    /// The storage does not answer.
    Unavailable,
    /// The call asks for something outside the limits.
    Invalid,
    /// The place holds somebody else's content.
    Foreign,
}

/// An error of a block store.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// Stored bytes do not match their digest or their format.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// Which object.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A manifest, frame or layer is not there.
    #[error("{what} is not in this store")]
    NotFound {
        /// Which object.
        what: String,
    },
    /// The call asks for something outside the limits.
    #[error("{reason}")]
    Invalid {
        /// Which limit.
        reason: String,
    },
    /// The prefix of an object store holds the content of another region or installation.
    #[error("this place in the object store belongs to another region or installation")]
    Foreign,
    /// Another process, or another store of this one, works on the same directory.
    #[error("{what} is in use by another process")]
    Locked {
        /// Which directory.
        what: String,
    },
    /// A layer was deleted, or its storage failed while it was made durable: open it again.
    #[error("layer {id} is closed")]
    Closed {
        /// Which layer.
        id: uuid::Uuid,
    },
    /// The caller gave up.
    #[error("canceled")]
    Canceled,
    /// A worker thread ended without an answer.
    #[error("a worker thread failed: {reason}")]
    Worker {
        /// What is known.
        reason: String,
    },
    /// The disk that is read from failed.
    #[error("the source cannot be read")]
    Source(#[from] disk::DiskError),
    /// The storage failed.
    #[error("the storage failed")]
    Io(#[from] io::Error),
}

impl BlocksError {
    /// Returns what a caller decides by.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Damaged { .. } => Kind::Damaged,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Invalid { .. } | Self::Source(_) => Kind::Invalid,
            Self::Foreign => Kind::Foreign,
            Self::Canceled | Self::Locked { .. } => Kind::Busy,
            Self::Worker { .. } | Self::Closed { .. } => Kind::Unavailable,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Kind::Busy,
                _ => Kind::Unavailable,
            },
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }
}

/// Says why an object in another version of its format is left alone, and what to do.
pub(crate) const fn other_version(found: u32, known: u32) -> &'static str {
    if found < known {
        "its version is not read any more: an older Vitrine wrote it; export its images with that one and publish \
         them again"
    } else {
        "its version is not known yet: a newer Vitrine wrote it; use that one here too"
    }
}

/// The result of a call on a store.
pub(crate) type Result<T> = std::result::Result<T, BlocksError>;
