//! Project tasks: `cargo xtask test` and `cargo xtask arch`.
//!
//! `test` is the one command between a bare Debian machine with Rust and a tested tree: it checks
//! the architecture and the style, installs what the tests need, and runs them all. What it cannot
//! install it names, leaves out, and fails for at the end; nothing counts as passed that did not run.

mod agent_guest;
mod arch;
mod command;
mod debian;
mod debian_guest;
mod fuzzer;
mod group;
mod node;
mod objects;
mod postgres;
mod python;
mod sizes;
mod stage;
mod stamp;
mod test;
mod tiny;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Project tasks
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the tree, install what the tests need, run every test
    Test(test::Options),
    /// Check the edges between crates and the sizes of files and functions
    Arch,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    let outcome = enter_root().and_then(|root| match task {
        Task::Test(options) => test::run(&root, &options),
        Task::Arch => arch::check(&root),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Goes to the root of the workspace, so that every path below is one from there.
fn enter_root() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest
        .parent()
        .context("xtask lies in the root of the workspace")?
        .canonicalize()?;
    std::env::set_current_dir(&root)?;
    Ok(root)
}
