//! Who may do what: role assignments, asked by every use case.
//!
//! A subscription of another tenant is as good as none: the caller hears that it could not be
//! found, whatever roles stand in the catalog. Scopes and ids compare in lower case.

use domain::linked::Link;
use domain::scope::subscription_in;
use domain::{Error, ErrorKind, ResourceId, Result};
use serde_json::Value;
use std::collections::BTreeSet;

use crate::blob::BLOB_READ_ACTION;
use crate::identity::no_subscription;
use crate::{Caller, Ctx, Engine};

/// Links of one body; each costs a decision.
const LINKS_MAX: usize = 1000;

impl Engine {
    /// Refuses unless a role of the caller allows `action` at `scope` or above it.
    pub async fn authorize(&self, ctx: &Ctx, action: &str, scope: &str) -> Result<()> {
        if let Some(id) = subscription_in(scope) {
            let known = self.known_subscription(id).await?;
            let own = known
                .filter(|s| s.tenant == ctx.caller.tenant)
                .ok_or_else(|| no_subscription(id))?;
            if own.state == "Disabled" && !is_read(action) {
                return Err(read_only(&own.id));
            }
        }
        if self.may(&ctx.caller, action, scope).await? {
            return Ok(());
        }
        tracing::info!(principal.id = %ctx.caller.object_id, action, scope, "refused");
        Err(not_authorized(ctx, action, scope))
    }

    /// Refuses all but readers of the whole first tenant: what the installation holds is theirs to know.
    ///
    /// Another tenant, even as its owner, would learn from stored bytes what the others keep.
    pub(crate) async fn authorize_operator(&self, ctx: &Ctx) -> Result<()> {
        const ACTION: &str = "Vitrine.Gallery/stat/read";
        self.authorize(ctx, ACTION, "/").await?;
        if self.find_tenant_or_first(None).await?.id == ctx.caller.tenant {
            return Ok(());
        }
        Err(not_authorized(ctx, ACTION, "/"))
    }

    /// Refuses a body that refers to resources or blobs that the caller may not read.
    ///
    /// Every text that is the id of a resource ([`domain::linked`]) or the URL of a blob of this gallery counts,
    /// wherever it stands, so no property can be forgotten. What lies in another tenant is asked of the auxiliary token of that tenant.
    pub(crate) async fn authorize_links(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &Value,
    ) -> Result<()> {
        let mut accounts = BTreeSet::new();
        let links = domain::linked::links(id, body);
        collect_accounts(body, &mut accounts);
        if links.len() + accounts.len() > LINKS_MAX {
            return Err(Error::bad_request(format!(
                "The body refers to more than {LINKS_MAX} resources."
            )));
        }
        for link in &links {
            self.authorize_link(ctx, id, link).await?;
        }
        for account in &accounts {
            self.authorize_blobs(ctx, id, account).await?;
        }
        Ok(())
    }

    /// Refuses to make anything of the blobs of an account whose data the caller may not read.
    async fn authorize_blobs(&self, ctx: &Ctx, id: &ResourceId, account: &str) -> Result<()> {
        let row = match self.load_account(account).await {
            // The worker says that there is no such blob.
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let known = self.known_subscription(row.id.subscription()).await?;
        let caller = known.and_then(|s| ctx.caller_in(&s.tenant));
        let scope = row.id.to_string();
        let may = match caller {
            Some(caller) => {
                let theirs = ctx.of(caller);
                self.authorize_data(&theirs, BLOB_READ_ACTION, &scope).await
            }
            None => Err(no_subscription(row.id.subscription())),
        };
        match may {
            Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::NotFound) => {
                Err(linked_failed(format!(
                    "The client '{}' with object id '{}' has permission to perform action '{}' on scope '{id}'; however, it \
                     does not have permission to perform action '{BLOB_READ_ACTION}' on the linked storage account '{account}'.",
                    ctx.caller.name,
                    ctx.caller.object_id,
                    crate::resources::action(id, "write"),
                )))
            }
            other => other,
        }
    }

    async fn authorize_link(&self, ctx: &Ctx, id: &ResourceId, link: &Link) -> Result<()> {
        let (linked, action) = (&link.id, &link.action);
        let known = self.known_subscription(linked.subscription()).await?;
        let Some(caller) = known.and_then(|s| ctx.caller_in(&s.tenant)) else {
            return Err(linked_failed(format!(
                "The client has permission to perform action '{action}' on scope '{id}', however the current tenant \
                 '{}' is not authorized to access linked subscription '{}'.",
                ctx.caller.tenant,
                linked.subscription()
            )));
        };
        if self.may(caller, action, &linked.key()).await? {
            return Ok(());
        }
        Err(linked_failed(format!(
            "The client '{}' with object id '{}' has permission to perform action '{}' on scope '{id}'; however, \
             it does not have permission to perform action '{action}' on the linked scope(s) '{linked}' or the linked \
             scope(s) are invalid.",
            caller.name,
            caller.object_id,
            crate::resources::action(id, "write")
        )))
    }

    /// Refuses unless a role allows `action` on the data of the account `scope`, or reading its keys.
    ///
    /// Who may read the keys can do everything with the data anyway; a mere reader of resources cannot.
    pub(crate) async fn authorize_data(&self, ctx: &Ctx, action: &str, scope: &str) -> Result<()> {
        const LIST_KEYS: &str = "Microsoft.Storage/storageAccounts/listKeys/action";
        let by_data = |role: &domain::role::Role| role.allows_data(action);
        if self.may_by(&ctx.caller, scope, by_data).await? {
            return Ok(());
        }
        self.authorize(ctx, LIST_KEYS, scope).await
    }

    /// Whether a role of the caller allows `action` at `scope` or above it; the tenant is not asked.
    async fn may(&self, caller: &Caller, action: &str, scope: &str) -> Result<bool> {
        self.may_by(caller, scope, |role| role.allows(action)).await
    }

    async fn may_by(
        &self,
        caller: &Caller,
        scope: &str,
        allows: impl Fn(&domain::role::Role) -> bool + Send,
    ) -> Result<bool> {
        let standings = self.standings_of(caller).await?;
        let scope = scope.to_ascii_lowercase();
        let mut all = standings.iter();
        Ok(all.any(|standing| standing.roles.any_at(&scope, &allows)))
    }
}

/// 403 `AuthorizationFailed`.
fn not_authorized(ctx: &Ctx, action: &str, scope: &str) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "AuthorizationFailed",
        format!(
            "The client '{}' with object id '{}' does not have authorization to perform action '{action}' over \
             scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
            ctx.caller.name, ctx.caller.object_id
        ),
    )
}

fn is_read(action: &str) -> bool {
    action.to_ascii_lowercase().ends_with("/read")
}

fn read_only(subscription: &str) -> Error {
    Error::conflict(
        "ReadOnlyDisabledSubscription",
        format!(
            "The subscription '{subscription}' is disabled and therefore marked as read only. You cannot perform any \
             write actions on this subscription until it is re-enabled."
        ),
    )
}

fn linked_failed(message: String) -> Error {
    Error::new(ErrorKind::Forbidden, "LinkedAuthorizationFailed", message)
}

/// Collects the names of the accounts whose blobs a body names by URL.
fn collect_accounts(value: &Value, accounts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => accounts.extend(crate::blob::account_in(text.trim())),
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_accounts(item, accounts)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_accounts(member, accounts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
