//! `vitrine subscription`: subscriptions of this installation.

use std::path::PathBuf;

use clap::Subcommand;
use engine::Engine;
use engine::identity::{NewSubscription, Subscription};
use serde_json::{Value, json};

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct SubscriptionArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a subscription
    Create {
        /// Display name
        #[arg(long)]
        name: String,
        /// Tenant id or domain; the first tenant when left out
        #[arg(long)]
        tenant: Option<String>,
        /// Principal that becomes its owner: object id, client id or name
        #[arg(long)]
        owner: Option<String>,
        /// GUID of the subscription; random when left out
        #[arg(long)]
        id: Option<String>,
    },
    /// List subscriptions
    List {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Delete a subscription without resources
    Delete {
        /// Subscription id
        subscription: String,
    },
    /// Make a subscription read-only
    Disable {
        /// Subscription id
        subscription: String,
    },
    /// Show or set how many bytes a subscription may hold
    Quota {
        /// Subscription id
        subscription: String,
        /// The limit in bytes, once for every region that content is in
        #[arg(long, conflicts_with = "none")]
        bytes: Option<i64>,
        /// Lift the limit
        #[arg(long)]
        none: bool,
    },
    /// Make a disabled subscription writable again
    Enable {
        /// Subscription id
        subscription: String,
    },
}

/// Runs the verb.
pub async fn run(args: SubscriptionArgs, engine: &Engine) -> anyhow::Result<Value> {
    match args.verb {
        Verb::Create {
            name,
            tenant,
            owner,
            id,
        } => Ok(view(
            &engine
                .create_subscription(&NewSubscription {
                    name,
                    tenant,
                    owner,
                    id,
                })
                .await?,
        )),
        Verb::List { tenant } => Ok(engine
            .list_subscriptions(tenant.as_deref())
            .await?
            .iter()
            .map(view)
            .collect()),
        Verb::Delete { subscription } => {
            engine.delete_subscription(&subscription).await?;
            Ok(json!({ "deleted": subscription }))
        }
        Verb::Quota {
            subscription,
            bytes,
            none,
        } => {
            let quota = match bytes.is_some() || none {
                true => engine.set_byte_quota(&subscription, bytes).await?,
                false => engine.byte_quota(&subscription).await?,
            };
            Ok(serde_json::to_value(quota)?)
        }
        Verb::Disable { subscription } => Ok(view(
            &engine
                .set_subscription_enabled(&subscription, false)
                .await?,
        )),
        Verb::Enable { subscription } => Ok(view(
            &engine.set_subscription_enabled(&subscription, true).await?,
        )),
    }
}

fn view(subscription: &Subscription) -> Value {
    json!({
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant,
        "displayName": subscription.name,
        "state": subscription.state,
    })
}
