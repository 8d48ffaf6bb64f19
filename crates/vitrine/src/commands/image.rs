//! `vitrine image`: what the operator offers in the marketplace. The API cannot offer or withdraw anything.

use std::path::PathBuf;

use clap::Subcommand;
use domain::ResourceId;
use domain::platform_image::PlatformSku;
use engine::{Engine, OfferedImage};
use serde_json::{Value, json};

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Offer an image definition to every subscription of the installation
    Offer {
        /// Id of the image definition
        definition: String,
        /// Names that consumers use: publisher:offer:sku
        #[arg(long = "as", value_name = "PUBLISHER:OFFER:SKU")]
        names: String,
        /// One word for it, for `az vm create --image`; anybody who reaches the server can read it
        #[arg(long)]
        alias: Option<String>,
    },
    /// Withdraw an offer; what was made of it stays
    Withdraw {
        /// Names that consumers use: publisher:offer:sku
        names: String,
    },
    /// List what is offered
    List,
}

/// Runs the verb.
pub async fn run(args: ImageArgs, engine: &Engine) -> anyhow::Result<Value> {
    Ok(match args.verb {
        Verb::Offer {
            definition,
            names,
            alias,
        } => {
            let (id, sku) = (ResourceId::parse(&definition)?, PlatformSku::parse(&names)?);
            shown(&engine.offer_image(&id, sku, alias).await?)
        }
        Verb::Withdraw { names } => {
            engine.withdraw_image(&PlatformSku::parse(&names)?).await?;
            json!({ "withdrawn": names })
        }
        Verb::List => engine.offered_images().await?.iter().map(shown).collect(),
    })
}

fn shown(image: &OfferedImage) -> Value {
    json!({
        "offeredAs": image.sku.to_string(),
        "alias": image.alias,
        "definition": image.definition.to_string(),
    })
}
