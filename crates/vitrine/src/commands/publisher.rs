//! `vitrine publisher`: whom the operator vouches for. The API cannot give or take a badge.

use std::path::PathBuf;

use clap::Subcommand;
use engine::Engine;
use serde_json::{Value, json};

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct PublisherArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Vouch for the public galleries of a subscription
    Verify {
        /// Subscription id
        subscription: String,
        /// Name that consumers see and allow-lists use
        #[arg(long)]
        name: String,
    },
    /// Take the badge from a subscription
    Unverify {
        /// Subscription id
        subscription: String,
    },
    /// List verified publishers, and public galleries that look like somebody else's
    List,
}

/// Runs the verb.
pub async fn run(args: PublisherArgs, engine: &Engine) -> anyhow::Result<Value> {
    Ok(match args.verb {
        Verb::Verify { subscription, name } => {
            shown(&engine.verify_publisher(&subscription, &name).await?)
        }
        Verb::Unverify { subscription } => {
            engine.unverify_publisher(&subscription).await?;
            json!({ "subscriptionId": subscription, "verified": false })
        }
        Verb::List => {
            let all = engine.publishers().await?;
            let flagged = all.flagged.iter().map(|gallery| {
                json!({ "gallery": gallery.gallery, "publicName": gallery.public_name, "looksLike": gallery.looks_like })
            });
            json!({
                "verified": all.verified.iter().map(shown).collect::<Vec<_>>(),
                "flagged": flagged.collect::<Vec<_>>(),
            })
        }
    })
}

fn shown(publisher: &engine::VerifiedPublisher) -> Value {
    json!({ "subscriptionId": publisher.subscription, "name": publisher.name, "verified": true })
}
