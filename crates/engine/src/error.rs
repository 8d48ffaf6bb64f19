//! How failures of the floors below become errors of the service.
//!
//! Logged here once, with the cause; the user reads a sentence without paths or SQL.

use domain::{Error, ErrorKind};

/// Turns a catalog failure into the service's error.
pub(crate) fn catalog(cause: catalog::CatalogError) -> Error {
    use catalog::Kind;
    match cause.kind() {
        Kind::Stale | Kind::Exists => Error::new(
            ErrorKind::Overtaken,
            "Conflict",
            "The resource was changed by another request at the same time. Read it and try again.",
        ),
        Kind::Busy | Kind::Unavailable => {
            tracing::warn!(error = %with_sources(&cause), "catalog does not answer");
            Error::new(
                ErrorKind::Unavailable,
                "ServiceUnavailable",
                "The metadata store does not answer now; nothing was changed. Try again in a moment.",
            )
        }
        _ => {
            tracing::error!(error = %with_sources(&cause), "catalog failed");
            Error::internal()
        }
    }
}

/// Whether a write lost against another one and may be decided anew.
pub(crate) fn is_stale(error: &Error) -> bool {
    error.kind == ErrorKind::Overtaken
}

/// Turns a block-store failure into the service's error.
pub(crate) fn blocks(cause: blocks::BlocksError) -> Error {
    use blocks::Kind;
    tracing::warn!(error = %with_sources(&cause), "block store failed");
    match cause.kind() {
        Kind::Full => Error::new(
            ErrorKind::Unavailable,
            "InsufficientStorage",
            "The block store has no space left. Free space or add storage, then repeat the request; what was stored before is safe.",
        ),
        Kind::Busy | Kind::Unavailable => Error::new(
            ErrorKind::Unavailable,
            "StoreUnavailable",
            "The block store of the region does not answer. Check its storage, then repeat the request; it goes on where it stopped.",
        ),
        Kind::Foreign => Error::new(
            ErrorKind::Unavailable,
            "StoreForeign",
            "The object store that the region is configured with holds the content of another region or installation. Give the region a prefix of its own.",
        ),
        Kind::NotFound => Error::not_found(
            "ContentNotFound",
            "Content that the resource refers to is not in the block store. Run 'vitrine fsck' on the server.",
        ),
        Kind::Damaged => Error::conflict(
            "ContentDamaged",
            "Stored content does not match its checksum and was not served. Run 'vitrine scrub' on the server to heal it from another region.",
        ),
        Kind::Invalid => Error::bad_request("The disk is outside the limits of the block store."),
    }
}

/// Returns an error with all that led to it: people who read the log need the last one most.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
