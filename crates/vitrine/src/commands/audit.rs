//! `vitrine audit`: checks that nobody changed what was recorded.

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use engine::Engine;
use serde_json::{Value, json};

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct AuditArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check every link of the chain and print its head
    Verify {
        /// Fail unless this hash is an entry of the chain: a head that was printed before
        #[arg(long)]
        head: Option<String>,
    },
}

/// Runs the verb.
pub async fn run(args: AuditArgs, engine: &Engine) -> anyhow::Result<Value> {
    let Verb::Verify { head } = args.verb;
    let report = engine.verify_audit(head.as_deref()).await?;
    if let Some(broken) = report.broken {
        bail!(
            "the audit does not hold together: {broken}. The {} entries before it do. Compare with a backup.",
            report.entries
        );
    }
    Ok(json!({ "entries": report.entries, "head": report.head }))
}
