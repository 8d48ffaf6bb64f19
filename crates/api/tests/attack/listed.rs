//! `SECURITY.md` names a test for every threat, or says why there is none; this reads that table.

use std::collections::BTreeSet;
use std::path::Path;

/// Threats of the list.
const THREATS: u32 = 42;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the names of all functions in the tests and sources of the workspace.
fn functions(dir: &Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                functions(&path, out);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).map(|rest| {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                rest.chars().take_while(|c| is_name(*c)).collect::<String>()
            });
            out.extend(names);
        }
    }
}

#[test]
fn every_threat_has_a_test_that_exists_or_a_reason() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&root().join("crates"), &mut known);
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, threat, answer, _] = cells.as_slice() else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        assert!(seen.insert(number), "threat {number} stands there twice");
        assert!(!threat.is_empty(), "{line}");
        let is_test = |word: &&str| {
            word.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let quoted = answer.split('`').skip(1).step_by(2);
        let tests: Vec<&str> = quoted.filter(is_test).collect();
        let has_reason = answer.split('`').step_by(2).any(|words| words.len() > 30);
        assert!(
            !tests.is_empty() || has_reason,
            "threat {number}: neither a test nor a reason"
        );
        for test in tests {
            assert!(
                known.contains(test),
                "threat {number}: there is no test {test}"
            );
            named.insert(test.to_owned());
        }
    }
    let all: BTreeSet<u32> = (1..=THREATS).collect();
    assert_eq!(seen, all, "the table of threats");
    let unnamed: Vec<&String> = known
        .iter()
        .filter(|name| name.starts_with("threat_") && !named.contains(*name))
        .collect();
    assert!(unnamed.is_empty(), "not in SECURITY.md: {unnamed:?}");
}
