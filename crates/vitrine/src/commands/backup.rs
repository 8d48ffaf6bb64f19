//! `backup` and `restore`: the catalog, keys and credentials of a gallery, beside its stores.
//!
//! Stores are not copied: their content is immutable, and a backup names what it needs of them. A
//! restore puts the catalog back beside the stores and checks that they have it.
//!
//! ```text
//! BACKUP/catalog.db    a consistent copy, made while the gallery runs
//! BACKUP/files/        ca.pem, keys, credentials.json, regions.txt
//! BACKUP/backup.json   when, by which version, what it needs of which region
//! ```

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::data_dir::{DataDir, write_private};

/// The form of a backup; a newer one is refused.
const FORM: u64 = 1;
const CATALOG: &str = "catalog.db";
const DESCRIPTION: &str = "backup.json";
const FILES: &str = "files";
/// Files of the directory that belong to a running process.
const LEFT_OUT: [&str; 2] = ["catalog.db", "endpoint"];

/// What goes where.
#[derive(clap::Args)]
pub struct BackupArgs {
    /// New directory of the backup
    to: PathBuf,
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// What comes from where.
#[derive(clap::Args)]
pub struct RestoreArgs {
    /// Directory of the backup
    from: PathBuf,
    /// Directory of the gallery: without a catalog, with the stores in it
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Makes a backup, whether or not the gallery runs.
pub async fn backup(args: BackupArgs) -> anyhow::Result<Value> {
    let data = DataDir::from(&args.data);
    let engine = data.open_engine().await?;
    ensure!(
        !args.to.exists(),
        "{} is there already; a backup goes into a new directory",
        args.to.display()
    );
    let partial = args.to.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    make_private(&partial.join(FILES))?;
    if !engine.catalog().copy_to(&partial.join(CATALOG)).await? {
        fs::remove_dir_all(&partial)?;
        bail!(
            "the catalog is on a database server: copy it with pg_dump, and this directory with cp"
        );
    }
    let files = copy_files(data.path(), &partial.join(FILES))?;
    // Read after the copy: what it names beyond the copy does no harm.
    let mut regions = Vec::new();
    for region in engine.regions().iter() {
        let live = engine.live_manifests(&region.name).await?;
        let manifests: Vec<String> = live.iter().map(ToString::to_string).collect();
        regions.push(json!({ "region": region.name, "manifests": manifests }));
    }
    let description = json!({
        "form": FORM,
        "version": env!("CARGO_PKG_VERSION"),
        "made": jiff::Timestamp::from_millisecond(engine.now_ms())?.to_string(),
        "regions": regions,
    });
    write_private(
        &partial.join(DESCRIPTION),
        &serde_json::to_vec_pretty(&description)?,
    )?;
    sync(&partial)?;
    fs::rename(&partial, &args.to)?;
    Ok(json!({
        "backup": args.to.display().to_string(),
        "catalogBytes": fs::metadata(args.to.join(CATALOG))?.len(),
        "files": files,
        "made": description["made"],
    }))
}

/// Puts a backup back and checks that the stores have what it needs.
pub async fn restore(args: RestoreArgs) -> anyhow::Result<Value> {
    let data = DataDir::from(&args.data);
    let text = fs::read(args.from.join(DESCRIPTION))
        .with_context(|| format!("{} holds no backup", args.from.display()))?;
    let description: Value = serde_json::from_slice(&text)?;
    ensure!(
        description["form"] == FORM,
        "the backup was made by a newer version ({}); restore it with that",
        description["version"]
    );
    ensure!(
        !data.join(CATALOG).exists(),
        "{} has a catalog; stop the gallery and move {CATALOG} and its -wal and -shm away first",
        args.data.display()
    );
    data.create()?;
    for entry in fs::read_dir(args.from.join(FILES))? {
        let entry = entry?;
        let to = data.path().join(entry.file_name());
        fs::copy(entry.path(), &to)?;
    }
    // The catalog comes last: with it the directory is a gallery.
    let partial = data.join("catalog.partial");
    fs::copy(args.from.join(CATALOG), &partial)?;
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, data.join(CATALOG))?;
    sync(data.path())?;
    let engine = data.open_engine().await?;
    engine.open_stores().await;
    let findings = engine.fsck().await?;
    for finding in &findings {
        eprintln!("{}: {}: {}", finding.region, finding.what, finding.reason);
    }
    if !findings.is_empty() {
        bail!(
            "the catalog of {} is back, but the stores lack what {} findings name: bring it from another copy of the stores, \
             or start the gallery, which heals from other regions what it can",
            description["made"],
            findings.len()
        );
    }
    Ok(
        json!({ "restored": args.data.display().to_string(), "made": description["made"], "findings": [] }),
    )
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create {}", dir.display()))
}

/// Copies the small files of a data directory with their modes; returns how many.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left_out = LEFT_OUT.iter().any(|left| name == *left)
            || name.starts_with("catalog.db-")
            || name.ends_with(".partial")
            || name.ends_with(".lock");
        if entry.file_type()?.is_file() && !is_left_out {
            fs::copy(entry.path(), to.join(&name))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Makes every file of a directory durable, and their names.
fn sync(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_mine = entry.file_type()?.is_file() || entry.file_name() == FILES;
        if is_mine && entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else if is_mine {
            fs::File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(fs::File::open(dir)?.sync_all()?)
}
