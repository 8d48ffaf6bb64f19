//! Running other programs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

/// Where administrators' programs lie; not on everybody's `PATH`.
const SYSTEM_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Returns a command to be completed by the caller.
#[expect(
    clippy::disallowed_methods,
    reason = "this task runner is one of the homes of processes"
)]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// Returns `cargo` itself.
pub fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command whose output the person sees.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs a command for its standard output; the error carries the last words of the other one.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", line(command)))?;
    if !status.success() {
        bail!(
            "{} ended with {status}: {}",
            line(command),
            last_words(&String::from_utf8_lossy(&stderr))
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Returns where a program lies, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    capture(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Returns the command as a person would type it; a long one is cut.
fn line(command: &Command) -> String {
    const CHARS_MAX: usize = 200;
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy());
    let text = words.collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{} …", &text[..cut]),
        None => text,
    }
}

/// Returns the lines that say `E:` or `error`, else the last one.
fn last_words(text: &str) -> String {
    let is_error =
        |line: &&str| line.starts_with("E:") || line.to_ascii_lowercase().contains("error");
    let errors: Vec<&str> = text.lines().filter(is_error).take(3).collect();
    if errors.is_empty() {
        text.lines().last().unwrap_or_default().to_owned()
    } else {
        errors.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn an_error_is_told_by_the_lines_that_name_it() {
        let apt = "Reading lists...\nE: Unable to locate package x\nhint";
        assert_eq!(last_words(apt), "E: Unable to locate package x");
        assert_eq!(last_words("one\ntwo"), "two");
        assert_eq!(last_words(""), "");
    }
}
