//! The fuzzing client of libnbd: a program that Debian has as source only, built as it comes.
//!
//! Its source comes from where this machine's packages come from, in the version whose library is
//! installed. Lists of sources are kept apart, so nothing of the machine's own apt is changed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::command::{capture, program, run};
use crate::stamp;

const SOURCES: &str = "/etc/apt";
const NAME: &str = "libnbd-fuzz-wrapper";
/// The same calls on a server instead of a file.
const ON_SERVER: &str = "tests/libnbd/fuzz-client.c";

/// Builds the client unless it is there; returns its directory: the two programs, and `testcase_dir`.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(home.join("libnbd-fuzzing"))?;
    let version = capture(program("dpkg-query").args([
        "--show",
        "--showformat=${source:Version}",
        "libnbd-dev",
    ]))?;
    let stamp = format!(
        "libnbd {version}\n{}",
        stamp::of(&["xtask/src/fuzzer.rs", ON_SERVER])?
    );
    if stamp::is_at(&dir, &stamp) {
        eprintln!("fuzzing client of libnbd: all there");
        return Ok(dir);
    }
    eprintln!("fuzzing client of libnbd: building that of {version}");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let work = dir.join("work");
    std::fs::create_dir_all(&work)?;
    let archive = fetch(&work, &version)?;
    run(program("tar")
        .args(["--extract", "--wildcards", "--strip-components=2"])
        .arg("--directory")
        .arg(&dir)
        .arg("--file")
        .arg(archive)
        .arg("*/fuzzing/*"))?;
    // It asks for the file that `configure` makes, and for nothing in it.
    std::fs::write(work.join("config.h"), "")?;
    let source = dir.join(NAME).with_extension("c");
    ensure!(source.exists(), "libnbd {version} has no {NAME}.c");
    for (source, name) in [
        (source, NAME),
        (PathBuf::from(ON_SERVER), "libnbd-fuzz-client"),
    ] {
        run(program("cc")
            .args(["-O1", "-w"])
            .arg("-I")
            .arg(&work)
            .arg("-I")
            .arg(&dir)
            .arg(source)
            .arg("-o")
            .arg(dir.join(name))
            .arg("-lnbd"))?;
    }
    std::fs::remove_dir_all(&work)?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}

/// Downloads the source package; returns the archive of its authors.
fn fetch(work: &Path, version: &str) -> anyhow::Result<PathBuf> {
    let lists = work.join("sources");
    std::fs::create_dir_all(&lists)?;
    for dir in ["state/lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(work.join(dir))?;
    }
    write_sources(Path::new(SOURCES), &lists)?;
    let apt = |words: &[&str]| {
        let mut command = program("apt-get");
        for (name, place) in [
            ("Dir::Etc::SourceParts", "sources"),
            ("Dir::State::Lists", "state/lists"),
            ("Dir::Cache", "cache"),
        ] {
            let place = work.join(place);
            command.args(["-o", &format!("{name}={}", place.display())]);
        }
        // The user that apt would become may not write here.
        command.args(["-o", "Dir::Etc::SourceList=/dev/null"]);
        command.args(["-o", "APT::Sandbox::User="]);
        capture(command.args(words).current_dir(work))
    };
    apt(&["update", "-qq"])?;
    apt(&["source", "--download-only", &format!("libnbd={version}")])?;
    std::fs::read_dir(work)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(".orig.tar.") && !has_end(path, "asc"))
        .context("the source package holds no archive")
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|found| found == end)
}

/// Writes lists of sources that name the same places as `from` does, for source packages.
fn write_sources(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut lists = vec![from.join("sources.list")];
    if let Ok(parts) = std::fs::read_dir(from.join("sources.list.d")) {
        lists.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
    }
    for list in lists.iter().filter(|list| list.is_file()) {
        let text = || std::fs::read_to_string(list).context("cannot read the sources of apt");
        let text = match list.extension().and_then(|end| end.to_str()) {
            Some("list") => of_lines(&text()?),
            Some("sources") => of_paragraphs(&text()?),
            _ => continue,
        };
        let name = list.file_name().context("a list has a name")?;
        std::fs::write(to.join(name), text)?;
    }
    Ok(())
}

/// `deb …` becomes `deb-src …`; what already asks for sources goes, else it would come twice.
fn of_lines(text: &str) -> String {
    let lines = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("deb")?;
        let is_entry = rest.starts_with(char::is_whitespace);
        is_entry.then(|| format!("deb-src{rest}\n"))
    });
    lines.collect()
}

/// `Types: …` becomes `Types: deb-src` in every paragraph.
fn of_paragraphs(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let is_types = line
            .split_once(':')
            .is_some_and(|(name, _)| name.eq_ignore_ascii_case("types"));
        match is_types {
            true => "Types: deb-src\n".to_owned(),
            false => format!("{line}\n"),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{of_lines, of_paragraphs};

    #[test]
    fn lists_of_packages_become_lists_of_sources() {
        let lines = "# mirror\ndeb [signed-by=/k] http://m/debian x main\ndeb-src http://m/debian x main\n\
                     deb\thttp://m/other x main\n";
        assert_eq!(
            of_lines(lines),
            "deb-src [signed-by=/k] http://m/debian x main\ndeb-src\thttp://m/other x main\n"
        );
        let paragraphs = "Types: deb\nURIs: http://m/debian\n\ntypes: deb deb-src\nSuites: x\n";
        assert_eq!(
            of_paragraphs(paragraphs),
            "Types: deb-src\nURIs: http://m/debian\n\nTypes: deb-src\nSuites: x\n"
        );
    }
}
