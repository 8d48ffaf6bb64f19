//! The Python environment with the real Azure CLI and SDK.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::command::{capture, program, run};
use crate::stamp;

const REQUIREMENTS: &str = "clients/python/requirements.txt";
const CONSTRAINTS: &str = "clients/python/constraints.txt";

/// Returns a Python that can make environments: Debian's own first, then the one on `PATH`.
pub fn interpreter() -> Option<&'static str> {
    const CAN: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| capture(program(python).args(["-c", CAN])).is_ok())
}

/// Makes the environment unless it is there; returns its directory.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("python");
    let stamp = stamp::of(&[REQUIREMENTS, CONSTRAINTS])?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("Python environment: all there");
        return Ok(dir);
    }
    eprintln!("Python environment: installing {REQUIREMENTS}");
    let python = interpreter().context("there is no Python 3.10 with venv")?;
    run(program(python).args(["-m", "venv", "--clear"]).arg(&dir))?;
    run(program(dir.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["-r", REQUIREMENTS, "-c", CONSTRAINTS]))?;
    capture(program(dir.join("bin/az")).arg("version"))?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}
