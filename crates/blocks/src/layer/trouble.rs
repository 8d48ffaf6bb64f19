//! What fails of a layer that is served: said once when it begins, and known as long as it lasts.
//!
//! A guest can ask for the same failing write a thousand times a second; the log is not its to fill.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{BlocksError, Kind};
use crate::inner::lock;

/// What a client asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Reads.
    Read,
    /// Everything that writes, flushes too.
    Write,
}

/// Why requests to a disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Writes fail: there is no space left where the server keeps it.
    Full,
    /// Writes fail.
    Writes,
    /// Reads fail.
    Reads,
}

/// The last failures of a layer.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Whether there is any: what succeeds looks no further.
    is_any: AtomicBool,
    reads: Mutex<Option<Trouble>>,
    writes: Mutex<Option<Trouble>>,
}

impl Troubles {
    fn of(&self, doing: Doing) -> &Mutex<Option<Trouble>> {
        match doing {
            Doing::Read => &self.reads,
            Doing::Write => &self.writes,
        }
    }

    /// Notes a failure; true when it is not known yet.
    pub(crate) fn failed(&self, doing: Doing, error: &BlocksError) -> bool {
        let is_closed = matches!(error, BlocksError::Closed { .. });
        let trouble = match (doing, error.kind()) {
            // The client's own fault: nothing is wrong here.
            (_, Kind::Invalid) if !is_closed => return false,
            (Doing::Write, Kind::Full) => Trouble::Full,
            (Doing::Write, _) => Trouble::Writes,
            (Doing::Read, _) => Trouble::Reads,
        };
        self.is_any.store(true, Ordering::Release);
        lock(self.of(doing)).replace(trouble) != Some(trouble)
    }

    /// Notes a success; true when there was trouble before.
    pub(crate) fn succeeded(&self, doing: Doing) -> bool {
        self.is_any.load(Ordering::Acquire) && lock(self.of(doing)).take().is_some()
    }

    /// Returns what fails now.
    pub(crate) fn now(&self) -> Option<Trouble> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let writes = *lock(&self.writes);
        writes.or(*lock(&self.reads))
    }
}

#[cfg(test)]
mod tests {
    use super::{Doing, Trouble, Troubles};
    use crate::error::BlocksError;

    #[test]
    fn trouble_is_told_once_and_lasts_until_the_same_succeeds() {
        let full = BlocksError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let troubles = Troubles::default();
        assert!(!troubles.succeeded(Doing::Write));
        assert!(troubles.failed(Doing::Write, &full));
        assert!(!troubles.failed(Doing::Write, &full), "it is known");
        assert!(!troubles.succeeded(Doing::Read), "reads were fine");
        assert_eq!(troubles.now(), Some(Trouble::Full));
        assert!(troubles.succeeded(Doing::Write));
        assert!(!troubles.succeeded(Doing::Write));
        assert_eq!(troubles.now(), None);
        let wrong = BlocksError::Invalid {
            reason: "no such place".to_owned(),
        };
        assert!(!troubles.failed(Doing::Read, &wrong));
        assert_eq!(troubles.now(), None, "the client's own fault");
        let closed = BlocksError::Closed {
            id: uuid::Uuid::nil(),
        };
        assert!(troubles.failed(Doing::Read, &closed));
        assert_eq!(troubles.now(), Some(Trouble::Reads));
    }
}
