//! Project tasks: `cargo xtask test`.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};

/// Project tasks
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the edges between crates, then run every test
    Test,
    /// Check the edges between crates
    Arch,
}

/// Which crates of the workspace a crate may use.
const EDGES: [(&str, &[&str]); 5] = [
    ("domain", &[]),
    ("arm", &["domain"]),
    ("disk", &[]),
    ("blocks", &["disk"]),
    ("catalog", &["domain"]),
];

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Test => arch().and_then(|()| test()),
        Task::Arch => arch(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arch() -> anyhow::Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "xtask" {
            continue;
        }
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            bail!("the crate '{name}' has no line in EDGES of xtask/src/main.rs");
        };
        let used = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|d| d["name"].as_str());
        if let Some(wrong) = used
            .filter(|d| names.contains(d))
            .find(|d| !allowed.contains(d))
        {
            bail!("the crate '{name}' must not use '{wrong}' (EDGES of xtask/src/main.rs)");
        }
    }
    Ok(())
}

fn test() -> anyhow::Result<()> {
    let found = Command::new("cargo")
        .args(["nextest", "--version"])
        .output();
    if !found.is_ok_and(|o| o.status.success()) {
        run(&["install", "--locked", "cargo-nextest"])?;
    }
    run(&["nextest", "run", "--workspace"])
}

fn run(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("cargo").args(args).status()?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}
