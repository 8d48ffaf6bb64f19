//! The only meta context: `base:allocation`.

use super::protocol::{ALLOCATION, ALLOCATION_ID};

/// Whether queries choose it: by its full name only.
pub(super) fn is_chosen(queries: &[&[u8]]) -> bool {
    queries.contains(&ALLOCATION.as_bytes())
}

/// Whether it is listed: no query lists all, `base:` its namespace.
pub(super) fn is_listed(queries: &[&[u8]]) -> bool {
    queries.is_empty() || is_chosen(queries) || queries.contains(&&b"base:"[..])
}

/// Returns the data of a reply; a list has no numbers.
pub(super) fn allocation(is_set: bool) -> Vec<u8> {
    let id = if is_set { ALLOCATION_ID } else { 0 };
    [&id.to_be_bytes()[..], ALLOCATION.as_bytes()].concat()
}
