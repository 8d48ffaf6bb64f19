//! `vitrine principal`: users, service principals and managed identities, their secrets and roles.
//!
//! Passwords are read from a variable of the environment, never from the command line, where other
//! users of the machine could see them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use engine::Engine;
use engine::identity::{
    Created, NewPrincipal, Principal, PrincipalKind, RoleAssignment, SecretString,
};
use serde_json::{Value, json};

use super::subject;

/// Which installation, what to do.
#[derive(clap::Args)]
pub struct PrincipalArgs {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data", global = true)]
    pub data: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Args)]
struct New {
    /// User name or display name
    name: String,
    /// Tenant id or domain; the first tenant when left out
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(clap::Args)]
struct RoleAt {
    /// Object id, client id or name
    principal: String,
    /// Built-in role: Owner, Contributor, Reader, …
    #[arg(long)]
    role: String,
    /// Where it counts: /, /subscriptions/…, or the id of a group or resource
    #[arg(long)]
    scope: String,
}

#[derive(clap::Args)]
struct Membership {
    /// Object id or name of the group
    group: String,
    /// Object id, client id or name of the member
    member: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Create a user
    CreateUser {
        #[command(flatten)]
        new: New,
        /// Environment variable that holds the password; a random one is made when left out
        #[arg(long)]
        password_env: Option<String>,
    },
    /// Create a service principal with a random secret
    CreateServicePrincipal(New),
    /// Create a managed identity for programs on this machine
    CreateManagedIdentity(New),
    /// Create a group of principals that share roles
    CreateGroup(New),
    /// Make a principal a member of a group
    AddMember(Membership),
    /// End a membership
    RemoveMember(Membership),
    /// List the members of a group
    Members {
        /// Object id or name
        group: String,
    },
    /// List principals
    List {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Delete a principal with its roles and keys
    Delete {
        /// Object id, client id or name
        principal: String,
    },
    /// Give a principal a new secret; sign-ins that it holds end
    ResetSecret {
        /// Object id, client id or name
        principal: String,
        /// Environment variable that holds the password; a random one is made when left out
        #[arg(long)]
        password_env: Option<String>,
    },
    /// Let a principal sign in again
    Enable {
        /// Object id, client id or name
        principal: String,
    },
    /// End the access of a principal at once
    Disable {
        /// Object id, client id or name
        principal: String,
    },
    /// Give a principal a role
    Grant(RoleAt),
    /// Take a role from a principal
    Revoke(RoleAt),
    /// List the roles of a principal
    Roles {
        /// Object id, client id or name
        principal: String,
    },
    /// Let a service principal sign in with assertions that this key verifies
    AddKey {
        /// Object id, client id or name
        principal: String,
        /// File with a public key or certificate in PEM, or a JWK
        #[arg(long)]
        file: PathBuf,
    },
    /// Remove such a key
    RemoveKey {
        /// Object id, client id or name
        principal: String,
        /// What add-key printed as keyId
        #[arg(long)]
        key_id: String,
    },
    #[command(flatten)]
    Subject(subject::Verb),
}

/// Runs the verb.
pub async fn run(args: PrincipalArgs, engine: &Engine) -> anyhow::Result<Value> {
    match args.verb {
        Verb::CreateUser { new, password_env } => {
            create(
                engine,
                PrincipalKind::User,
                new,
                password(password_env.as_deref())?,
            )
            .await
        }
        Verb::CreateServicePrincipal(new) => {
            create(engine, PrincipalKind::ServicePrincipal, new, None).await
        }
        Verb::CreateManagedIdentity(new) => {
            create(engine, PrincipalKind::ManagedIdentity, new, None).await
        }
        Verb::CreateGroup(new) => create(engine, PrincipalKind::Group, new, None).await,
        Verb::AddMember(of) => Ok(membership(engine.add_member(&of.group, &of.member).await?)),
        Verb::RemoveMember(of) => Ok(membership(
            engine.remove_member(&of.group, &of.member).await?,
        )),
        Verb::Members { group } => Ok(engine.members(&group).await?.iter().map(view).collect()),
        Verb::List { tenant } => {
            let all = engine.list_principals(tenant.as_deref()).await?;
            Ok(all.iter().map(view).collect())
        }
        Verb::Delete { principal } => {
            Ok(json!({ "deleted": engine.delete_principal(&principal).await?.object_id }))
        }
        Verb::ResetSecret {
            principal,
            password_env,
        } => Ok(with_secret(
            &engine
                .reset_secret(&principal, password(password_env.as_deref())?)
                .await?,
        )),
        Verb::Enable { principal } => {
            Ok(view(&engine.set_principal_enabled(&principal, true).await?))
        }
        Verb::Disable { principal } => Ok(view(
            &engine.set_principal_enabled(&principal, false).await?,
        )),
        Verb::Grant(at) => Ok(role_view(
            &engine
                .grant_role(&at.principal, &at.role, &at.scope)
                .await?,
        )),
        Verb::Revoke(at) => {
            engine
                .revoke_role(&at.principal, &at.role, &at.scope)
                .await?;
            Ok(json!({ "revoked": at.role, "scope": at.scope }))
        }
        Verb::Roles { principal } => {
            let held = engine.roles_of(&principal).await?;
            Ok(held.iter().map(role_view).collect())
        }
        Verb::AddKey { principal, file } => add_key(engine, &principal, &file).await,
        Verb::RemoveKey { principal, key_id } => {
            engine.remove_principal_key(&principal, &key_id).await?;
            Ok(json!({ "removed": key_id }))
        }
        Verb::Subject(verb) => subject::run(verb, engine).await,
    }
}

async fn add_key(engine: &Engine, principal: &str, file: &Path) -> anyhow::Result<Value> {
    let key =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(json!({ "keyId": engine.add_principal_key(principal, &key).await? }))
}

async fn create(
    engine: &Engine,
    kind: PrincipalKind,
    new: New,
    secret: Option<SecretString>,
) -> anyhow::Result<Value> {
    let new = NewPrincipal {
        kind,
        name: new.name,
        tenant: new.tenant,
        secret,
    };
    Ok(with_secret(&engine.create_principal(new).await?))
}

fn password(variable: Option<&str>) -> anyhow::Result<Option<SecretString>> {
    variable
        .map(|name| {
            std::env::var(name)
                .with_context(|| format!("the variable {name} does not hold a password"))
        })
        .transpose()
        .map(|password| password.map(SecretString::from))
}

fn view(principal: &Principal) -> Value {
    json!({
        "objectId": principal.object_id,
        "tenantId": principal.tenant,
        "kind": principal.kind.as_str(),
        "clientId": principal.app_id,
        "name": principal.name,
        "enabled": principal.enabled,
    })
}

fn with_secret(created: &Created) -> Value {
    let mut shown = view(&created.principal);
    if let (Some(members), Some(secret)) = (shown.as_object_mut(), &created.secret) {
        members.insert("secret".to_owned(), secret.as_str().into());
    }
    shown
}

fn membership((group, member): (Principal, Principal)) -> Value {
    json!({ "group": view(&group), "member": view(&member) })
}

fn role_view(assignment: &RoleAssignment) -> Value {
    let name = domain::role::find(&assignment.role_definition).map(|role| role.name.as_str());
    json!({
        "id": assignment.id,
        "role": name,
        "roleDefinitionId": assignment.role_definition,
        "scope": assignment.scope,
        "principalId": assignment.principal,
    })
}
