//! The attacker's view of the real program: its files, its log, its defaults.
//!
//! What can be tried without the program is in `crates/api/tests/attack`; `SECURITY.md` lists both.

mod audit;
mod defaults;
mod secrets;
mod tampering;

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// Replaces every occurrence of a text in a file by one of the same length; returns how many there were.
fn replace_in(path: &std::path::Path, from: &str, to: &str) -> usize {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(path).expect("the file can be read");
    let mut count = 0;
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            count += 1;
            at += from.len();
        } else {
            at += 1;
        }
    }
    std::fs::write(path, bytes).expect("the file can be written");
    count
}

/// Returns all files below a directory.
fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the directory can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            out.extend(files(&path));
        } else {
            out.push(path);
        }
    }
    out
}
