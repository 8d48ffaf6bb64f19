//! `stat`, `doctor`, `fsck`, `sweep`, `condense`, `scrub`: care of a gallery.
//!
//! `stat` asks the running server, or the directory when none runs. The others open the directory
//! themselves; a running server holds it and cares for itself on a schedule.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::Engine;
use engine::maintenance::SWEEP_GRACE_MS;
use serde_json::{Value, json};

use crate::client::{API_VERSION as GALLERY_VERSION, Client};
use crate::data_dir::DataDir;
use crate::names::{VersionName, require_gallery};
use crate::output::Format;

/// The api-version of what only this product has.
pub const API_VERSION: &str = "2026-11-01";
/// What is stored, by region and by resource.
const STAT_OWNERS: &str = "/providers/Vitrine.Gallery/stat?detail=owners";
/// Pause between two questions for a digest that is being computed.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Which gallery, and what of it.
#[derive(clap::Args)]
pub struct StatArgs {
    /// Only this version, with its digests: GALLERY/IMAGE/VERSION
    #[arg(id = "name", value_name = "VERSION")]
    version: Option<VersionName>,
    /// Compute SHA-256 of the version's disks, if it is not known, and wait for it
    #[arg(long, requires = "name")]
    sha256: bool,
    /// Show a line for each version, snapshot and image instead of each region, in tables
    #[arg(long)]
    owners: bool,
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

/// Which gallery.
#[derive(clap::Args)]
pub struct CondenseArgs {
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

/// Shows what is stored: everything as JSON, one line a region or resource in tables.
pub async fn stat(args: StatArgs, format: Format) -> anyhow::Result<Value> {
    if let Some(version) = &args.version {
        return stat_version(&args, version).await;
    }
    let stat = match Client::login(&args.data).await {
        Ok(client) => client.get(STAT_OWNERS, API_VERSION).await?,
        Err(_) => {
            let engine = open(&args.data).await?;
            serde_json::to_value(engine.stat_owners_now().await?)?
        }
    };
    Ok(match (format, args.owners) {
        (Format::Json, _) => stat,
        (_, true) => stat["owners"].clone(),
        (_, false) => stat["regions"].clone(),
    })
}

/// Shows what one version takes, and its digests.
async fn stat_version(args: &StatArgs, version: &VersionName) -> anyhow::Result<Value> {
    let client = Client::login(&args.data).await?;
    let gallery = require_gallery(&client, &version.gallery).await?;
    let id = format!(
        "{}/images/{}/versions/{}",
        gallery.id, version.image, version.version
    );
    if args.sha256 {
        let path = format!("{id}/computeDigests");
        eprintln!("Computing SHA-256; it goes on in the server when this is interrupted");
        while !has_all(&client.post(&path, GALLERY_VERSION, &json!({})).await?) {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
    let shown = client
        .get(&format!("{id}?$expand=ContentDigests"), GALLERY_VERSION)
        .await?;
    let stat = client.get(STAT_OWNERS, API_VERSION).await?;
    let own = stat["owners"].as_array().into_iter().flatten();
    let regions: Vec<&Value> = own
        .filter(|owner| {
            let owner = owner["id"].as_str().unwrap_or_default();
            owner.eq_ignore_ascii_case(&id)
        })
        .collect();
    Ok(json!({
        "id": shown["id"],
        "digests": shown["properties"]["contentDigests"],
        "regions": regions,
    }))
}

fn has_all(answer: &Value) -> bool {
    let digests = answer["contentDigests"].as_array();
    digests.is_some_and(|all| all.iter().all(|digest| digest["sha256"].is_string()))
}

/// Checks that catalog and stores agree; fails when they do not.
pub async fn fsck(args: FsckArgs) -> anyhow::Result<Value> {
    let engine = open(&args.data).await?;
    let findings = engine.fsck().await?;
    for finding in &findings {
        eprintln!("{}: {}: {}", finding.region, finding.what, finding.reason);
    }
    if !findings.is_empty() {
        bail!(
            "{} findings; repair from another region by publishing the versions named above again",
            findings.len()
        );
    }
    let waiting = engine.unreferenced().await?;
    Ok(json!({ "findings": findings, "unreferenced": waiting }))
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
    for put_off in &summary.put_off {
        eprintln!("{}: not swept: {}", put_off.region, put_off.reason);
    }
    if !args.dry_run && summary.put_off.len() == engine.regions().iter().count() {
        bail!("no region was swept");
    }
    Ok(serde_json::to_value(summary)?)
}

/// Compresses stored content once more, all that was not yet, and says what that saved.
pub async fn condense(args: CondenseArgs) -> anyhow::Result<Value> {
    let engine = open(&args.data).await?;
    engine
        .audit_command("Vitrine.Gallery/condense/action")
        .await?;
    Ok(serde_json::to_value(engine.condense().await?)?)
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
