//! `vitrine principal link`: whom the subjects and groups of other token services stand for.

use clap::Subcommand;
use engine::Engine;
use engine::identity::ExternalSubject;
use serde_json::{Value, json};

/// A subject of another token service.
#[derive(clap::Args)]
pub struct Subject {
    /// Issuer, exactly as its tokens say
    #[arg(long)]
    issuer: String,
    /// Value of the claim that names the subject; for a group its name in the claim of groups
    #[arg(long)]
    subject: String,
}

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Let a subject of another OpenID provider stand for a principal, or a group for a group
    Link {
        /// Object id, client id or name
        principal: String,
        #[command(flatten)]
        subject: Subject,
    },
    /// End what a subject stands for
    Unlink(Subject),
    /// List the subjects that stand for a principal
    Links {
        /// Object id, client id or name
        principal: String,
    },
}

/// Runs the verb.
pub async fn run(verb: Verb, engine: &Engine) -> anyhow::Result<Value> {
    Ok(match verb {
        Verb::Link { principal, subject } => {
            let linked = engine.link_subject(&principal, &subject.issuer, &subject.subject);
            view(&linked.await?)
        }
        Verb::Unlink(of) => {
            engine.unlink_subject(&of.issuer, &of.subject).await?;
            json!({ "unlinked": of.subject, "issuer": of.issuer })
        }
        Verb::Links { principal } => {
            let all = engine.subjects_of(&principal).await?;
            all.iter().map(view).collect()
        }
    })
}

fn view(link: &ExternalSubject) -> Value {
    json!({ "issuer": link.issuer, "subject": link.subject, "principalId": link.principal })
}
