//! Sizes of files and functions outside tests.
//!
//! Reads the text as rustfmt leaves it: a function ends at the closing brace that stands as far in
//! as its first line. Clippy counts functions too, but only in what compiles on this machine.

use std::path::{Path, PathBuf};

/// Lines of a file up to its tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of code of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// What may be longer: a path from the root, and why no cut would make it clearer.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Returns every file and function that is too long.
pub fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for member in ["crates", "xtask"] {
        collect(&root.join(member), &mut files)?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        let shown = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        if EXCEPTIONS.iter().any(|(path, _)| *path == shown) {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        faults.extend(
            too_long(&text)
                .into_iter()
                .map(|fault| format!("{shown}{fault}")),
        );
    }
    Ok(faults)
}

/// Collects the Rust sources below `dir` that are not tests.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["tests", "benches", "target"].contains(&name.as_ref()) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    Ok(())
}

fn too_long(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "))
        .unwrap_or(lines.len());
    let mut faults = Vec::new();
    if end > FILE_LINES_MAX {
        faults.push(format!(": {end} lines, at most {FILE_LINES_MAX}"));
    }
    for (at, line) in lines[..end].iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let count = code_lines(&lines[at..end]);
        if count > FUNCTION_LINES_MAX {
            faults.push(format!(
                ":{}: {name} has {count} lines, at most {FUNCTION_LINES_MAX}",
                at + 1
            ));
        }
    }
    faults
}

/// Returns the name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => return words.next()?.split(['(', '<']).next(),
            "const" | "async" | "unsafe" | "pub" | "extern" => {}
            word if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    None
}

/// Counts the lines of code between the braces of the function that begins in the first line.
fn code_lines(lines: &[&str]) -> usize {
    let first = lines[0];
    let indent = &first[..first.len() - first.trim_start().len()];
    let is_end = |line: &&&str| line.strip_prefix(indent) == Some("}");
    let Some(open) = lines
        .iter()
        .position(|line| line.ends_with(['{', ';', '}']))
    else {
        return 0;
    };
    if !lines[open].ends_with('{') {
        return 1;
    }
    let body = &lines[open + 1..];
    let length = body.iter().position(|line| is_end(&line)).unwrap_or(0);
    body[..length]
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, too_long};

    fn function_of(lines: usize) -> String {
        let body = "        work();\n\n        // why\n".repeat(lines);
        format!(
            "impl A {{\n    pub(crate) async fn long<T>(\n        t: T,\n    ) {{\n{body}    }}\n}}\n"
        )
    }

    #[test]
    fn a_function_counts_its_lines_of_code() {
        assert_eq!(
            too_long(&function_of(FUNCTION_LINES_MAX)),
            Vec::<String>::new()
        );
        assert_eq!(
            too_long(&function_of(FUNCTION_LINES_MAX + 1)),
            [":2: long has 71 lines, at most 70"]
        );
    }

    #[test]
    fn a_file_counts_up_to_its_tests() {
        let code = "//\n".repeat(FILE_LINES_MAX);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function_of(99));
        assert_eq!(too_long(&format!("{code}{tests}")), Vec::<String>::new());
        assert_eq!(
            too_long(&format!("{code}//\n{tests}")),
            [": 501 lines, at most 500"]
        );
    }
}
