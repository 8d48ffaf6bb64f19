//! The first start: a tenant, a subscription, a program that owns it, an identity for local users.

use catalog::{Principal, PrincipalKind, RoleAssignment, Subscription, Tenant, Tx};
use domain::{Error, Result};
use uuid::Uuid;

use super::{keys, secrets};
use crate::Engine;
use crate::error::catalog as db;

/// Names the first tenant; who writes it first makes everything.
pub(super) const FIRST_TENANT_SETTING: &str = "first-tenant";
/// The principal that local programs speak for.
pub(super) const LOCAL_IDENTITY_SETTING: &str = "local-identity";
/// SHA-256 of what local programs show in a header.
pub(super) const IDENTITY_SECRET_SETTING: &str = "identity-secret";

/// What the first start makes.
#[derive(Clone, Debug)]
pub struct BootstrapOptions {
    /// Display name of the tenant.
    pub tenant_name: String,
    /// Its domain.
    pub tenant_domain: String,
    /// Display name of the subscription.
    pub subscription_name: String,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self {
            tenant_name: "Vitrine".to_owned(),
            tenant_domain: "vitrine.local".to_owned(),
            subscription_name: "Vitrine".to_owned(),
        }
    }
}

/// What the first start made; the secrets are shown once.
pub struct Bootstrapped {
    /// The first tenant.
    pub tenant_id: String,
    /// The first subscription.
    pub subscription_id: String,
    /// The first principal's application id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What local programs show to the identity endpoint.
    pub identity_secret: String,
}

impl Engine {
    /// Makes the first tenant, subscription and principals in an empty catalog; `None` when there are some.
    ///
    /// One transaction makes everything. Of nodes that start at once, the one whose tenant id
    /// comes to stand in the settings goes on; the others see that they are late.
    pub async fn bootstrap(&self, options: &BootstrapOptions) -> Result<Option<Bootstrapped>> {
        if self.is_bootstrapped().await? {
            return Ok(None);
        }
        let first = Bootstrapped {
            tenant_id: new_id(),
            subscription_id: new_id(),
            client_id: new_id(),
            client_secret: secrets::random_text(32)?,
            identity_secret: secrets::random_text(32)?,
        };
        let secret_hash = self.hash_secret(first.client_secret.clone().into()).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting_if_absent(FIRST_TENANT_SETTING, &first.tenant_id)
            .await
            .map_err(db)?;
        let winner = tx.setting(FIRST_TENANT_SETTING).await.map_err(db)?;
        if winner.as_deref() != Some(first.tenant_id.as_str()) {
            return Ok(None);
        }
        self.record_first(&mut tx, options, &first, secret_hash)
            .await?;
        tx.commit().await.map_err(db)?;
        tracing::info!(tenant.id = %first.tenant_id, subscription.id = %first.subscription_id, "made the first tenant");
        Ok(Some(first))
    }

    async fn is_bootstrapped(&self) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let first = read.setting(FIRST_TENANT_SETTING).await.map_err(db)?;
        Ok(first.is_some() || !read.list_tenants().await.map_err(db)?.is_empty())
    }

    async fn record_first(
        &self,
        tx: &mut Tx,
        options: &BootstrapOptions,
        first: &Bootstrapped,
        secret_hash: String,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        let tenant = Tenant {
            id: first.tenant_id.clone(),
            name: options.tenant_name.clone(),
            domain: options.tenant_domain.clone(),
        };
        tx.put_tenant(&tenant).await.map_err(db)?;
        let subscription = Subscription {
            id: first.subscription_id.clone(),
            tenant: tenant.id.clone(),
            name: options.subscription_name.clone(),
            state: "Enabled".to_owned(),
        };
        tx.put_subscription(&subscription).await.map_err(db)?;
        let program = Principal {
            object_id: new_id(),
            tenant: tenant.id.clone(),
            kind: PrincipalKind::ServicePrincipal,
            app_id: first.client_id.clone(),
            name: "vitrine-admin".to_owned(),
            secret_hash: Some(secret_hash),
            enabled: true,
            created_ms: now_ms,
        };
        let local = Principal {
            object_id: new_id(),
            kind: PrincipalKind::ManagedIdentity,
            app_id: new_id(),
            name: "vitrine-local".to_owned(),
            secret_hash: None,
            ..program.clone()
        };
        tx.put_principal(&program).await.map_err(db)?;
        tx.put_principal(&local).await.map_err(db)?;
        let scope = format!("/subscriptions/{}", subscription.id);
        for (principal, scope) in [
            (&program, "/"),
            (&program, scope.as_str()),
            (&local, scope.as_str()),
        ] {
            let owner = assignment(principal, owner_role()?, scope, now_ms);
            tx.put_role_assignment(&owner).await.map_err(db)?;
        }
        tx.put_setting(LOCAL_IDENTITY_SETTING, &local.object_id)
            .await
            .map_err(db)?;
        tx.put_setting(
            IDENTITY_SECRET_SETTING,
            &secrets::digest(&first.identity_secret),
        )
        .await
        .map_err(db)?;
        tx.put_signing_key(&keys::generate(now_ms)?)
            .await
            .map_err(db)
    }
}

/// Returns a fresh GUID.
pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn owner_role() -> Result<&'static str> {
    domain::role::find("Owner")
        .map(|role| role.id.as_str())
        .ok_or_else(Error::internal)
}

/// Returns a new assignment.
pub(super) fn assignment(
    principal: &Principal,
    role_id: &str,
    scope: &str,
    now_ms: i64,
) -> RoleAssignment {
    RoleAssignment {
        id: new_id(),
        scope: scope.to_ascii_lowercase(),
        role_definition: role_id.to_owned(),
        principal: principal.object_id.clone(),
        principal_type: principal.kind.principal_type().to_owned(),
        shown_scope: scope.to_owned(),
        description: None,
        created_by: String::new(),
        created_ms: now_ms,
    }
}
