//! `stat`, `doctor`, `fsck`, `sweep`, `scrub`: care of a gallery.
//!
//! `stat` asks the running server, or the directory when none runs. The others open the directory
//! themselves; a running server holds it and cares for itself on a schedule.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use engine::Engine;
use engine::maintenance::SWEEP_GRACE_MS;
use serde_json::{Value, json};

use crate::client::Client;
use crate::data_dir::DataDir;

/// The api-version of what only this product has.
const API_VERSION: &str = "2026-11-01";

/// Which gallery.
#[derive(clap::Args)]
pub struct StatArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Which gallery.
#[derive(clap::Args)]
pub struct FsckArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Which gallery.
#[derive(clap::Args)]
pub struct ScrubArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Which gallery, and how far.
#[derive(clap::Args)]
pub struct SweepArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
    /// Show what would be removed and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove at once what nothing refers to, without the grace period
    #[arg(long)]
    now: bool,
}

/// Shows what is stored.
pub async fn stat(args: StatArgs) -> anyhow::Result<Value> {
    if let Ok(client) = Client::login(&args.data).await {
        return client
            .get("/providers/Vitrine.Gallery/stat", API_VERSION)
            .await;
    }
    let engine = open(&args.data).await?;
    Ok(serde_json::to_value(engine.stat_now().await?)?)
}

/// Checks that catalog and stores agree; fails when they do not.
pub async fn fsck(args: FsckArgs) -> anyhow::Result<Value> {
    let findings = open(&args.data).await?.fsck().await?;
    for finding in &findings {
        eprintln!("{}: {}: {}", finding.region, finding.what, finding.reason);
    }
    if !findings.is_empty() {
        bail!(
            "{} findings; repair from another region by publishing the versions named above again",
            findings.len()
        );
    }
    Ok(json!({ "findings": findings }))
}

/// Reads everything and checks it; fails when something does not match.
pub async fn scrub(args: ScrubArgs) -> anyhow::Result<Value> {
    let scrubbed = open(&args.data).await?.scrub().await?;
    let damaged: usize = scrubbed.iter().map(|region| region.findings.len()).sum();
    if damaged > 0 {
        eprintln!("{}", serde_json::to_string_pretty(&scrubbed)?);
        bail!("{damaged} frames do not match their digest");
    }
    Ok(serde_json::to_value(scrubbed)?)
}

/// Removes content that nothing refers to.
pub async fn sweep(args: SweepArgs) -> anyhow::Result<Value> {
    let engine = open(&args.data).await?;
    let grace_ms = if args.now { 0 } else { SWEEP_GRACE_MS };
    let summary = match args.dry_run {
        true => engine.sweep_plan(grace_ms).await?,
        false => {
            engine.audit_command("Vitrine.Gallery/sweep/action").await?;
            engine.sweep(grace_ms).await?
        }
    };
    Ok(serde_json::to_value(summary)?)
}

async fn open(data: &PathBuf) -> anyhow::Result<Engine> {
    let engine = DataDir::from(data).open_engine().await?;
    engine.open_stores().await;
    let closed: Vec<&str> = engine
        .regions()
        .iter()
        .map(|region| region.name.as_str())
        .filter(|name| !engine.stores().any(|(open, _)| open == *name))
        .collect();
    if closed.is_empty() {
        return Ok(engine);
    }
    Err(anyhow::anyhow!(
        "the stores of {} cannot be opened",
        closed.join(", ")
    ))
    .context(
        "a running gallery holds its stores and cares for them itself; stop it to do this by hand",
    )
}
