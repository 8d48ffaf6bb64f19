//! The Node project with the real Azure SDK for JavaScript.

use std::path::{Path, PathBuf};

use crate::command::{program, run};
use crate::stamp;

const PACKAGE: &str = "clients/node/package.json";
const LOCK: &str = "clients/node/package-lock.json";

/// Installs the project unless it is there; returns its `node_modules`.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("node");
    let modules = dir.join("node_modules");
    let stamp = stamp::of(&[PACKAGE, LOCK])?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("Node project: all there");
        return Ok(modules);
    }
    eprintln!("Node project: installing {LOCK}");
    std::fs::create_dir_all(&dir)?;
    for file in [PACKAGE, LOCK] {
        let name = Path::new(file).file_name().unwrap_or_default();
        std::fs::copy(file, dir.join(name))?;
    }
    run(program("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(&dir))?;
    stamp::put(&dir, &stamp)?;
    Ok(modules)
}
