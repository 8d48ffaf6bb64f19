//! `vitrine region`: the regions of a gallery, and where their content lies.
//!
//! The verbs write `regions.txt` and the `[regions]` tables of `vitrine.toml`; a server reads both
//! when it starts.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use domain::region::normalise;
use serde_json::{Value, json};

use crate::config::Config;
use crate::data_dir::{DataDir, names_in, write_private};
use crate::stores::{RegionSection, StoreArgs};

const LIST: &str = "regions.txt";

/// Which gallery, what to do.
#[derive(clap::Args)]
pub struct RegionArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List regions and where their content lies
    List,
    /// Add a region; a server has it from its next start
    Add {
        /// Short name, as in westus2
        name: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Move a region's content to an object store, or to the directory of the server without --store; with the server stopped
    Set {
        /// Short name, as in westus2
        name: String,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Runs the verb.
pub async fn run(args: RegionArgs) -> anyhow::Result<Value> {
    let data = DataDir::from(&args.data);
    match args.verb {
        Verb::List => list(&data),
        Verb::Add { name, store } => add(&data, &name, &store.section()?).await,
        Verb::Set { name, store } => set(&data, &normalise(&name), &store.section()?).await,
    }
}

fn read_list(data: &DataDir) -> anyhow::Result<String> {
    std::fs::read_to_string(data.join(LIST)).with_context(|| {
        format!(
            "no gallery at {}: start one with 'vitrine up'",
            data.path().display()
        )
    })
}

fn list(data: &DataDir) -> anyhow::Result<Value> {
    let config = Config::of(data)?;
    let regions = read_list(data)?;
    let all = names_in(&regions).map(|name| {
        let region = domain::region::known(name);
        let section = config.region(&region.name);
        json!({ "region": region.name, "displayName": region.display_name, "store": section.shown() })
    });
    Ok(all.collect())
}

async fn add(data: &DataDir, name: &str, section: &RegionSection) -> anyhow::Result<Value> {
    let (regions, short) = (read_list(data)?, normalise(name));
    ensure!(
        !names_in(&regions).any(|known| normalise(known) == short),
        "the region {short} is there; 'vitrine region set' says where its content lies"
    );
    ensure!(
        !short.is_empty() && short.chars().all(|c| c.is_ascii_alphanumeric()),
        "a region has a short name of letters and digits, as in westus2"
    );
    section.open(data.region_directory(&short))?;
    let before = Config::of(data)?.region(&short);
    Config::set_region(data, &short, section)?;
    let all = format!("{},{name}", regions.trim());
    // With it in the list the store can be asked; if it does not answer, all is as before.
    let opened = async {
        write_private(&data.join(LIST), all.as_bytes())?;
        let engine = data.open_engine().await?;
        engine.store(&short).await?;
        engine.leave().await;
        Ok::<(), anyhow::Error>(())
    };
    if let Err(error) = opened.await {
        write_private(&data.join(LIST), regions.as_bytes())?;
        Config::set_region(data, &short, &before)?;
        return Err(error).context(format!("the region {short} was not added"));
    }
    Ok(json!({ "region": short, "store": section.shown() }))
}

async fn set(data: &DataDir, name: &str, section: &RegionSection) -> anyhow::Result<Value> {
    let location = section.open(data.region_directory(name))?;
    let engine = data.open_engine().await?;
    let moved = engine.move_store(name, location).await;
    engine.leave().await;
    let moved = moved.with_context(|| format!("the content of {name} stays where it was"))?;
    Config::set_region(data, name, section)?;
    Ok(json!({ "region": name, "store": section.shown(), "moved": moved }))
}
