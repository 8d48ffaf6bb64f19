//! What fails of a layer that is served: said once when it begins, and known for a while after it was last seen.
//!
//! A guest can ask for the same failing write a thousand times a second, with others between that succeed; the
//! log is not its to fill.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{BlocksError, Kind};
use crate::inner::lock;

/// How long after the last failure there is still trouble.
const LASTS: Duration = Duration::from_secs(30);

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
    reads: Mutex<Option<(Trouble, Instant)>>,
    writes: Mutex<Option<(Trouble, Instant)>>,
}

impl Troubles {
    /// Notes a failure; true when it is not known yet.
    pub(crate) fn failed(&self, doing: Doing, error: &BlocksError, now: Instant) -> bool {
        let is_closed = matches!(error, BlocksError::Closed { .. });
        let trouble = match (doing, error.kind()) {
            // The client's own fault: nothing is wrong here.
            (_, Kind::Invalid) if !is_closed => return false,
            (Doing::Write, Kind::Full) => Trouble::Full,
            (Doing::Write, _) => Trouble::Writes,
            (Doing::Read, _) => Trouble::Reads,
        };
        let known = match doing {
            Doing::Read => &self.reads,
            Doing::Write => &self.writes,
        };
        let before = lock(known).replace((trouble, now));
        lasting(before, now) != Some(trouble)
    }

    /// Returns what fails at a moment.
    pub(crate) fn at(&self, now: Instant) -> Option<Trouble> {
        let writes = *lock(&self.writes);
        lasting(writes, now).or_else(|| lasting(*lock(&self.reads), now))
    }
}

fn lasting(seen: Option<(Trouble, Instant)>, now: Instant) -> Option<Trouble> {
    let (trouble, last) = seen?;
    (now.saturating_duration_since(last) < LASTS).then_some(trouble)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Doing, LASTS, Trouble, Troubles};
    use crate::error::BlocksError;

    #[test]
    fn trouble_is_told_once_and_lasts_for_a_while() {
        let full = BlocksError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let (troubles, begin) = (Troubles::default(), Instant::now());
        let after = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(troubles.at(begin), None);
        assert!(troubles.failed(Doing::Write, &full, begin));
        for second in 1..200 {
            assert!(
                !troubles.failed(Doing::Write, &full, after(second)),
                "it is known, however long it lasts"
            );
        }
        assert_eq!(troubles.at(after(200)), Some(Trouble::Full));
        let over = after(199) + LASTS;
        assert_eq!(troubles.at(over), None);
        assert!(troubles.failed(Doing::Write, &full, over), "it is new");

        let wrong = BlocksError::Invalid {
            reason: "no such place".to_owned(),
        };
        let troubles = Troubles::default();
        assert!(!troubles.failed(Doing::Read, &wrong, begin));
        assert_eq!(troubles.at(begin), None, "the client's own fault");
        let closed = BlocksError::Closed {
            id: uuid::Uuid::nil(),
        };
        assert!(troubles.failed(Doing::Read, &closed, begin));
        assert_eq!(troubles.at(begin), Some(Trouble::Reads));
    }
}
