//! The audit of what the operator does on the server: nobody is asked for rights there, but all of
//! it is recorded, in the transaction that does it.

use catalog::{
    ExternalSubject, OfferedImage, Principal, PrincipalKey, RoleAssignment, Subscription, Tenant,
    Tx,
};
use domain::Result;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::role_assignment::{id_of, said};
use crate::{Caller, Ctx, Engine};

/// The name by which the operator stands in the audit.
const OPERATOR: &str = "operator";
/// Where the operator's commands come from.
const HERE: &str = "local";

/// What the operator changed: on what, and how it was and is.
pub(crate) struct Change {
    tenant: String,
    scope: String,
    before: String,
    after: String,
}

impl Change {
    /// A principal was made, changed or removed.
    pub fn principal(before: Option<&Principal>, after: Option<&Principal>) -> Self {
        let one = after.or(before);
        Self {
            tenant: one.map(|p| p.tenant.clone()).unwrap_or_default(),
            scope: place("principals", one.map_or("", |p| &p.object_id)),
            before: before.map(of_principal).unwrap_or_default(),
            after: after.map(of_principal).unwrap_or_default(),
        }
    }

    /// A tenant was made or removed.
    pub fn tenant(before: Option<&Tenant>, after: Option<&Tenant>) -> Self {
        let state = |t: &Tenant| digest(&json!([t.id, t.name, t.domain]).to_string());
        let id = after.or(before).map_or("", |t| &t.id);
        Self {
            tenant: id.to_owned(),
            scope: place("tenants", id),
            before: before.map(state).unwrap_or_default(),
            after: after.map(state).unwrap_or_default(),
        }
    }

    /// A subscription was made, changed or removed.
    pub fn subscription(before: Option<&Subscription>, after: Option<&Subscription>) -> Self {
        let state =
            |s: &Subscription| digest(&json!([s.id, s.tenant, s.name, s.state]).to_string());
        let one = after.or(before);
        Self {
            tenant: one.map(|s| s.tenant.clone()).unwrap_or_default(),
            scope: format!("/subscriptions/{}", one.map_or("", |s| &s.id)),
            before: before.map(state).unwrap_or_default(),
            after: after.map(state).unwrap_or_default(),
        }
    }

    /// A role was given or taken.
    pub fn role(
        tenant: &str,
        before: Option<&RoleAssignment>,
        after: Option<&RoleAssignment>,
    ) -> Self {
        Self {
            tenant: tenant.to_owned(),
            scope: after.or(before).map(id_of).unwrap_or_default(),
            before: before.map(said).unwrap_or_default(),
            after: after.map(said).unwrap_or_default(),
        }
    }

    /// A key was registered or removed.
    pub fn key(owner: &Principal, before: Option<&str>, after: Option<&PrincipalKey>) -> Self {
        Self {
            tenant: owner.tenant.clone(),
            scope: place("principals", &owner.object_id),
            before: before.map(digest).unwrap_or_default(),
            after: after.map(|key| digest(&key.kid)).unwrap_or_default(),
        }
    }

    /// A subscription was vouched for as a publisher, or is not any more.
    pub fn badge(of: &Subscription, before: Option<&str>, after: Option<&str>) -> Self {
        Self {
            tenant: of.tenant.clone(),
            scope: format!("/subscriptions/{}", of.id),
            before: before.map(digest).unwrap_or_default(),
            after: after.map(digest).unwrap_or_default(),
        }
    }

    /// A definition is offered in the marketplace, or is not any more; the log of its owner tells of it.
    pub fn offer(
        tenant: &str,
        before: Option<&OfferedImage>,
        after: Option<&OfferedImage>,
    ) -> Self {
        let state = |o: &OfferedImage| {
            digest(&json!([o.sku.to_string(), o.definition.key(), o.alias]).to_string())
        };
        let one = after.or(before);
        Self {
            tenant: tenant.to_owned(),
            scope: one.map(|o| o.definition.to_string()).unwrap_or_default(),
            before: before.map(state).unwrap_or_default(),
            after: after.map(state).unwrap_or_default(),
        }
    }

    /// A subject of another token service stands for a principal, or does not any more.
    pub fn subject(of: &ExternalSubject, tenant: &str, is_linked: bool) -> Self {
        let state = digest(&json!([of.issuer, of.subject]).to_string());
        let (before, after) = match is_linked {
            true => (String::new(), state),
            false => (state, String::new()),
        };
        Self {
            tenant: tenant.to_owned(),
            scope: place("principals", &of.principal),
            before,
            after,
        }
    }

    /// A membership began or ended.
    pub fn member(group: &Principal, member: &Principal, is_member: bool) -> Self {
        let state = digest(&member.object_id);
        let (before, after) = match is_member {
            true => (String::new(), state),
            false => (state, String::new()),
        };
        Self {
            tenant: group.tenant.clone(),
            scope: place("principals", &group.object_id),
            before,
            after,
        }
    }
}

impl Engine {
    /// Records what the operator did, in the transaction that does it.
    pub(crate) async fn audit_operator(
        &self,
        tx: &mut Tx,
        action: &str,
        change: Change,
    ) -> Result<()> {
        let deed = Deed {
            action,
            scope: &change.scope,
            before: change.before,
            after: change.after,
        };
        self.audit(tx, &operator(change.tenant), deed).await
    }

    /// Records a command of the operator that changes what is stored, not what is known.
    pub async fn audit_command(&self, action: &str) -> Result<()> {
        let tenant = self.find_tenant_or_first(None).await?.id;
        let deed = Deed {
            action,
            scope: "/",
            before: String::new(),
            after: String::new(),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        self.audit(&mut tx, &operator(tenant), deed).await?;
        tx.commit().await.map_err(db)
    }
}

fn operator(tenant: String) -> Ctx {
    Ctx {
        caller: Caller {
            object_id: String::new(),
            tenant,
            app_id: String::new(),
            name: OPERATOR.to_owned(),
        },
        auxiliary: Vec::new(),
        api_version: String::new(),
        base_url: String::new(),
        client: HERE.to_owned(),
        correlation_id: Uuid::new_v4(),
    }
}

fn place(kind: &str, id: &str) -> String {
    format!("/providers/Vitrine.Gallery/{kind}/{id}")
}

fn of_principal(one: &Principal) -> String {
    digest(
        &json!([
            one.object_id,
            one.tenant,
            one.kind.as_str(),
            one.app_id,
            one.name,
            one.enabled,
            one.secret_hash,
        ])
        .to_string(),
    )
}
