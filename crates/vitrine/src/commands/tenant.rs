//! `vitrine tenant`: tenants of this installation.

use std::path::PathBuf;

use clap::Subcommand;
use engine::Engine;
use engine::identity::{NewTenant, Tenant};
use serde_json::{Value, json};

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct TenantArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a tenant
    Create {
        /// Display name
        #[arg(long)]
        name: String,
        /// Default domain, the part of user names after the @
        #[arg(long)]
        domain: String,
    },
    /// List tenants
    List,
    /// Delete an empty tenant
    Delete {
        /// Tenant id or domain
        tenant: String,
    },
}

/// Runs the verb.
pub async fn run(args: TenantArgs, engine: &Engine) -> anyhow::Result<Value> {
    match args.verb {
        Verb::Create { name, domain } => Ok(view(
            &engine.create_tenant(&NewTenant { name, domain }).await?,
        )),
        Verb::List => Ok(engine.list_tenants().await?.iter().map(view).collect()),
        Verb::Delete { tenant } => {
            engine.delete_tenant(&tenant).await?;
            Ok(json!({ "deleted": tenant }))
        }
    }
}

fn view(tenant: &Tenant) -> Value {
    json!({ "tenantId": tenant.id, "displayName": tenant.name, "defaultDomain": tenant.domain })
}
