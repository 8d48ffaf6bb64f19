//! The contract is whole: no method of a session is left out.

use std::path::{Path, PathBuf};

#[test]
fn every_public_method_is_executed_by_some_law() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let laws = texts(&root.join("tests/contract")).concat();
    let called: String = laws.split_whitespace().collect();
    let sources = texts(&root.join("src"));
    let missing: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.trim().strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split(['(', '<']).next())
        // What only a pool calls.
        .filter(|name| !["writers", "readers", "sort_by_bytes"].contains(name))
        .filter(|name| {
            !called.contains(&format!(".{name}(")) && !called.contains(&format!("::{name}("))
        })
        .collect();
    assert!(missing.is_empty(), "no law executes {missing:?}");
}

fn texts(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}
