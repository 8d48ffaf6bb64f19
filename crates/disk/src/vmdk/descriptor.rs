//! The descriptor: a few lines of text that could name other files.

use super::FORMAT;
use crate::source::DiskError;

/// What ends a value of a link to a parent: none.
const NO_PARENT: &str = "ffffffff";

/// Refuses a descriptor of anything but one sparse extent of `capacity` sectors in this file.
pub(super) fn check(text: &[u8], capacity: u64) -> Result<(), DiskError> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text)
        .map_err(|_| DiskError::malformed(FORMAT, "the descriptor is no text"))?;
    let (mut create_type, mut extents) = (None, 0);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        if matches!(first, "RW" | "RDONLY" | "NOACCESS") {
            check_extent(line, capacity)?;
            extents += 1;
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "createtype" => create_type = Some(check_type(value)?),
                "parentcid" if !value.eq_ignore_ascii_case(NO_PARENT) => {
                    return Err(refused("it has a parent"));
                }
                "parentfilenamehint" => return Err(refused("it names a parent file")),
                "encryption" | "keysafe" => return Err(refused("it is encrypted")),
                _ => {}
            }
        } else {
            return Err(DiskError::malformed(
                FORMAT,
                format!(
                    "the descriptor has a line that means nothing: {}",
                    quote(line)
                ),
            ));
        }
    }
    match (create_type, extents) {
        (Some(()), 1) => Ok(()),
        (None, _) => Err(DiskError::malformed(
            FORMAT,
            "the descriptor has no createType",
        )),
        (_, count) => Err(refused(&format!("it has {count} extents, one is read"))),
    }
}

fn check_type(value: &str) -> Result<(), DiskError> {
    match value {
        "monolithicSparse" | "streamOptimized" => Ok(()),
        other => Err(refused(&format!(
            "its createType is {}; monolithicSparse and streamOptimized are read",
            quote(other)
        ))),
    }
}

/// Checks `RW 8388608 SPARSE "name.vmdk"`.
fn check_extent(line: &str, capacity: u64) -> Result<(), DiskError> {
    let mut words = line.splitn(4, ' ').map(str::trim);
    let (access, sectors) = (words.next(), words.next());
    let (kind, name) = (words.next(), words.next().unwrap_or_default());
    if access != Some("RW") {
        return Err(refused("its extent is not for reading and writing"));
    }
    if kind != Some("SPARSE") {
        let kind = quote(kind.unwrap_or_default());
        return Err(refused(&format!("its extent is {kind}, not SPARSE")));
    }
    let name = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match name {
        Some(name) if !name.is_empty() && !name.contains(['/', '\\', ':', '"']) => {}
        _ => return Err(refused("its extent lies in another place")),
    }
    if sectors.and_then(|n| n.parse().ok()) != Some(capacity) {
        return Err(DiskError::malformed(
            FORMAT,
            format!("descriptor and header disagree: the header says {capacity} sectors"),
        ));
    }
    Ok(())
}

fn refused(reason: &str) -> DiskError {
    DiskError::refused(FORMAT, reason)
}

/// A short piece of the file's text that is safe to show.
fn quote(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("'{}'", short.escape_default())
}
