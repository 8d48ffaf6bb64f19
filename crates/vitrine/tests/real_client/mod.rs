//! Runs a script of `clients/` with the real client it is written for against a new gallery.

#![expect(clippy::disallowed_methods, reason = "runs the real client")]

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;

use testkit::{Gallery, Options, random_disk, write_vhd};
use tokio::process::Command;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients");
/// The disk that goes through: two runs of content, two of nothing.
const DISK_BYTES: usize = 96 << 20;
const CONTENT: [std::ops::Range<usize>; 2] = [0..24 << 20, 64 << 20..72 << 20];

/// Returns a variable that `cargo xtask test` sets.
pub fn from_environment(name: &str) -> OsString {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: run these tests with `cargo xtask test`"))
}

/// Runs `program script credentials.json disk.vhd`; its exit code decides.
pub async fn run(program: &OsStr, script: &str, variables: &[(&str, OsString)]) {
    let options = Options::new(env!("CARGO_BIN_EXE_vitrine")).env("VITRINE_LOG", "debug");
    let server = Gallery::start(options).await;
    let vhd = server.scratch().join("disk.vhd");
    write_vhd(&vhd, &disk_with_holes());
    let ca = server.ca();
    let output = Command::new(program)
        .arg(Path::new(SCRIPTS).join(script))
        .arg(server.data().join("credentials.json"))
        .arg(&vhd)
        .env("REQUESTS_CA_BUNDLE", &ca)
        .env("NODE_EXTRA_CA_CERTS", &ca)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let (steps, talk) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{script}: {}\n{steps}\n{talk}",
        output.status
    );
    println!("{steps}");
    check_log(&server);
}

/// The log tells what happened and nothing that opens a door: secrets, tokens, signatures.
fn check_log(server: &Gallery) {
    let log = server.log_text();
    assert!(log.contains("served"), "the log tells of requests");
    let secret = server.credential("clientSecret");
    for word in [secret.as_str(), "eyJ", "sig=", "AccountKey", "accessSAS"] {
        let found = log.lines().find(|line| line.contains(word));
        assert_eq!(found, None, "{word} is in the log");
    }
}

fn disk_with_holes() -> Vec<u8> {
    let mut disk = vec![0_u8; DISK_BYTES];
    for (seed, range) in (1_u64..).zip(CONTENT) {
        let content = random_disk(range.len(), seed);
        disk[range].copy_from_slice(&content);
    }
    disk
}
