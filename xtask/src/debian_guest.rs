//! The Debian guest: a 2 GiB disk that boots by BIOS or UEFI and that cloud-init sets up.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::command::{is_root, program, run};
use crate::{stamp, tiny};

const SCRIPT: &str = "tests/debian/make-debian.sh";

/// Builds the guest unless it is there; returns its directory.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("debian");
    let stamp = stamp::of(&[SCRIPT, tiny::EMBED])?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("Debian guest: all there");
        return Ok(dir);
    }
    eprintln!("Debian guest: building with {SCRIPT}, some minutes");
    ensure!(cfg!(target_arch = "x86_64"), "the guest is for x86_64");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let mut build = if is_root() {
        program("sh")
    } else {
        let mut sudo = program("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    };
    run(build.arg(SCRIPT).arg(&dir))?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}
