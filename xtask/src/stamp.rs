//! Stamps: what a directory of `target/test-env` was made from.
//!
//! A stamp is the whole text of the inputs, so it needs no hash and a difference can be looked at.
//! It is written last: a directory without one is half made.

use std::path::Path;

use anyhow::Context as _;

const FILE: &str = "made-from.txt";

/// Returns the stamp of these files.
pub fn of(files: &[&str]) -> anyhow::Result<String> {
    let mut stamp = String::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        stamp.push_str(&format!("== {file}\n{text}"));
    }
    Ok(stamp)
}

/// Whether the directory was made from the same.
pub fn is_at(dir: &Path, stamp: &str) -> bool {
    std::fs::read_to_string(dir.join(FILE)).is_ok_and(|found| found == stamp)
}

/// Says what the directory was made from.
pub fn put(dir: &Path, stamp: &str) -> std::io::Result<()> {
    std::fs::write(dir.join(FILE), stamp)
}
