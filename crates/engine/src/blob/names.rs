//! Names of containers and blobs. They are keys in the catalog, never paths on a disk.

use domain::Result;

use super::failure::invalid_name;

/// The longest blob name, in characters.
const BLOB_NAME_CHARS_MAX: usize = 1024;

/// Checks a container's name: 3 to 63 lower-case letters, digits and single hyphens.
pub fn check_container(name: &str) -> Result<()> {
    let fits = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if fits { Ok(()) } else { Err(invalid_name()) }
}

/// A blob in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPath {
    container: String,
    name: String,
}

impl BlobPath {
    /// Checks both names.
    pub fn new(container: &str, name: &str) -> Result<Self> {
        check_container(container)?;
        let is_bad = name.is_empty()
            || name.chars().count() > BLOB_NAME_CHARS_MAX
            || name
                .chars()
                .any(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
            || name
                .split('/')
                .any(|segment| segment == "." || segment == "..");
        if is_bad {
            return Err(invalid_name());
        }
        Ok(Self {
            container: container.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns the container's name.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Returns the blob's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
