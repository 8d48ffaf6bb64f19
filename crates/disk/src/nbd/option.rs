//! The data of options. Whatever does not fit exactly is no option.

use super::NAME_BYTES_MAX;
use crate::bytes::index;

pub(super) const INFO_EXPORT: u16 = 0;
pub(super) const INFO_NAME: u16 = 1;
pub(super) const INFO_BLOCK_SIZE: u16 = 3;

/// The data of `GO` and `INFO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    pub(super) name: &'a str,
    pub(super) infos: Vec<u16>,
}

pub(super) fn choose(data: &[u8]) -> Option<Chosen<'_>> {
    let (name, rest) = string(data)?;
    let name = std::str::from_utf8(name).ok()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    if rest.len() != usize::from(u16::from_be_bytes(*count)) * 2 {
        return None;
    }
    let infos = rest.as_chunks::<2>().0;
    Some(Chosen {
        name,
        infos: infos.iter().map(|b| u16::from_be_bytes(*b)).collect(),
    })
}

/// The data of both options about meta contexts: the export and the queries.
pub(super) fn queries(data: &[u8]) -> Option<(&str, Vec<&[u8]>)> {
    let (name, rest) = string(data)?;
    let name = std::str::from_utf8(name).ok()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = index(u64::from(u32::from_be_bytes(*count)));
    // A query has a length of four bytes: more of them than that cannot be here.
    if count > rest.len() / 4 {
        return None;
    }
    let mut queries = Vec::with_capacity(count);
    for _ in 0..count {
        let (query, behind) = string(rest)?;
        queries.push(query);
        rest = behind;
    }
    rest.is_empty().then_some((name, queries))
}

/// Takes a string with its length before it.
fn string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    let length = index(u64::from(u32::from_be_bytes(*length)));
    if length > NAME_BYTES_MAX {
        return None;
    }
    rest.split_at_checked(length)
}
