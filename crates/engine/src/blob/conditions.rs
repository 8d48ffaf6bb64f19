//! Conditional headers: what must hold of a blob before a request does anything.

use catalog::Blob;
use domain::Result;

use super::failure::{blob_exists, blob_not_found, condition_not_met, not_modified};

/// `If-Match` and its siblings; times are whole seconds since the epoch, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<i64>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<i64>,
    /// `x-ms-if-sequence-number-le`.
    pub if_sequence_le: Option<i64>,
    /// `x-ms-if-sequence-number-lt`.
    pub if_sequence_lt: Option<i64>,
    /// `x-ms-if-sequence-number-eq`.
    pub if_sequence_eq: Option<i64>,
}

/// Whether a list of etags names `etag`; quotes do not matter, `*` names all.
fn names(list: &str, etag: &str) -> bool {
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    list.split(',')
        .any(|item| item.trim() == "*" || bare(item) == bare(etag))
}

impl Conditions {
    /// Whether the request asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks what a read asks: 304 when nothing is new, 412 when it is another blob.
    pub fn check_read(&self, etag: &str, modified_ms: i64) -> Result<()> {
        let seconds = modified_ms.div_euclid(1000);
        if self
            .if_match
            .as_deref()
            .is_some_and(|list| !names(list, etag))
        {
            return Err(condition_not_met());
        }
        if self.if_match.is_none() && self.if_unmodified_since.is_some_and(|t| seconds > t) {
            return Err(condition_not_met());
        }
        match &self.if_none_match {
            Some(list) if names(list, etag) => Err(not_modified()),
            None if self.if_modified_since.is_some_and(|t| seconds <= t) => Err(not_modified()),
            _ => Ok(()),
        }
    }

    /// Checks what a write to an existing blob asks.
    pub fn check_write(&self, blob: &Blob) -> Result<()> {
        self.check_read(&blob.etag, blob.modified_ms)
            .map_err(|_| condition_not_met())?;
        let sequence = blob.sequence;
        let holds = self.if_sequence_le.is_none_or(|n| sequence <= n)
            && self.if_sequence_lt.is_none_or(|n| sequence < n)
            && self.if_sequence_eq.is_none_or(|n| sequence == n);
        if holds {
            return Ok(());
        }
        Err(domain::Error::new(
            domain::ErrorKind::PreconditionFailed,
            "SequenceNumberConditionNotMet",
            "The sequence number condition specified was not met.",
        ))
    }

    /// Checks what a create-or-replace asks.
    pub fn check_put(&self, stored: Option<&Blob>) -> Result<()> {
        match stored {
            Some(_)
                if self
                    .if_none_match
                    .as_deref()
                    .is_some_and(|list| list.trim() == "*") =>
            {
                Err(blob_exists())
            }
            Some(blob) => self.check_write(blob),
            None if self.if_match.is_some() => Err(condition_not_met()),
            None => Ok(()),
        }
    }

    /// Returns the blob that a write needs, when the conditions hold.
    pub(super) fn check_existing(&self, stored: Option<Blob>) -> Result<Blob> {
        let blob = stored.ok_or_else(blob_not_found)?;
        self.check_write(&blob)?;
        Ok(blob)
    }
}
