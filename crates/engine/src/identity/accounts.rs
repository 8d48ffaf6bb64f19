//! Tenants and subscriptions, as the operator of the installation manages them.
//!
//! These calls ask no one for rights: only the command line on the server reaches them.

use catalog::{Principal, Subscription, Tenant};
use domain::{Error, Result};
use uuid::Uuid;

use super::bootstrap::{FIRST_TENANT_SETTING, assignment, new_id};
use super::operator::Change;
use crate::Engine;
use crate::error::catalog as db;

const SUBSCRIPTION_WRITE: &str = "Microsoft.Resources/subscriptions/write";

/// A tenant to be made.
pub struct NewTenant {
    /// Display name.
    pub name: String,
    /// Default domain.
    pub domain: String,
}

/// A subscription to be made.
pub struct NewSubscription {
    /// Display name.
    pub name: String,
    /// The tenant, by id or domain; none means the first.
    pub tenant: Option<String>,
    /// Who owns it, by any name of the principal.
    pub owner: Option<String>,
    /// The GUID that it should have.
    pub id: Option<String>,
}

impl Engine {
    /// Makes a tenant.
    pub async fn create_tenant(&self, new: &NewTenant) -> Result<Tenant> {
        let name = named("name", &new.name)?;
        let domain = named("domain", &new.domain)?.to_ascii_lowercase();
        let is_domain = domain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !is_domain
            || matches!(
                domain.as_str(),
                "common" | "organizations" | "adfs" | "consumers"
            )
        {
            return Err(Error::bad_request(format!(
                "'{domain}' cannot be the domain of a tenant."
            )));
        }
        let tenant = Tenant {
            id: new_id(),
            name,
            domain,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        let all = tx.list_tenants().await.map_err(db)?;
        if all
            .iter()
            .any(|other| other.domain.eq_ignore_ascii_case(&tenant.domain))
        {
            return Err(Error::conflict(
                "Conflict",
                format!("The domain '{}' belongs to another tenant.", tenant.domain),
            ));
        }
        tx.put_tenant(&tenant).await.map_err(db)?;
        let change = Change::tenant(None, Some(&tenant));
        self.audit_operator(&mut tx, "Vitrine.Gallery/tenants/write", change)
            .await?;
        tx.commit().await.map_err(db)?;
        Ok(tenant)
    }

    /// Returns all tenants.
    pub async fn list_tenants(&self) -> Result<Vec<Tenant>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        read.list_tenants().await.map_err(db)
    }

    /// Returns a tenant by id or domain; none means the first.
    pub async fn find_tenant_or_first(&self, named: Option<&str>) -> Result<Tenant> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let first = read.setting(FIRST_TENANT_SETTING).await.map_err(db)?;
        let all = read.list_tenants().await.map_err(db)?;
        let wanted = named.map(str::to_owned).or(first).unwrap_or_default();
        all.into_iter()
            .find(|t| t.id.eq_ignore_ascii_case(&wanted) || t.domain.eq_ignore_ascii_case(&wanted))
            .ok_or_else(|| {
                Error::not_found(
                    "TenantNotFound",
                    format!("The tenant '{wanted}' could not be found."),
                )
            })
    }

    /// Removes a tenant that has neither subscriptions nor principals.
    pub async fn delete_tenant(&self, named: &str) -> Result<()> {
        let tenant = self.find_tenant_or_first(Some(named)).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let subscriptions = tx
            .list_subscriptions(Some(&tenant.id))
            .await
            .map_err(db)?
            .len();
        let principals = tx
            .list_principals(Some(&tenant.id))
            .await
            .map_err(db)?
            .len();
        if subscriptions + principals > 0 {
            return Err(Error::conflict(
                "TenantNotEmpty",
                format!(
                    "The tenant '{}' still has {subscriptions} subscriptions and {principals} principals. Delete them first.",
                    tenant.name
                ),
            ));
        }
        tx.delete_tenant(&tenant.id).await.map_err(db)?;
        let change = Change::tenant(Some(&tenant), None);
        self.audit_operator(&mut tx, "Vitrine.Gallery/tenants/delete", change)
            .await?;
        tx.commit().await.map_err(db)
    }

    /// Makes a subscription, and its owner when one is named.
    pub async fn create_subscription(&self, new: &NewSubscription) -> Result<Subscription> {
        let tenant = self.find_tenant_or_first(new.tenant.as_deref()).await?;
        let owner = match &new.owner {
            Some(owner) => Some(self.owner(owner, &tenant).await?),
            None => None,
        };
        let id = match &new.id {
            Some(id) => Uuid::parse_str(id)
                .map_err(|_| Error::bad_request(format!("'{id}' is not a GUID.")))?
                .to_string(),
            None => new_id(),
        };
        let subscription = Subscription {
            id,
            tenant: tenant.id,
            name: named("name", &new.name)?,
            state: "Enabled".to_owned(),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        if tx
            .load_subscription(&subscription.id)
            .await
            .map_err(db)?
            .is_some()
        {
            return Err(Error::conflict(
                "Conflict",
                format!("The subscription '{}' is already there.", subscription.id),
            ));
        }
        tx.put_subscription(&subscription).await.map_err(db)?;
        if let Some(owner) = &owner {
            let role = domain::role::find("Owner").ok_or_else(Error::internal)?;
            let scope = format!("/subscriptions/{}", subscription.id);
            let grant = assignment(owner, &role.id, &scope, self.now_ms());
            tx.put_role_assignment(&grant).await.map_err(db)?;
            let change = Change::role(&subscription.tenant, None, Some(&grant));
            self.audit_operator(
                &mut tx,
                "Microsoft.Authorization/roleAssignments/write",
                change,
            )
            .await?;
        }
        let change = Change::subscription(None, Some(&subscription));
        self.audit_operator(&mut tx, SUBSCRIPTION_WRITE, change)
            .await?;
        tx.commit().await.map_err(db)?;
        if let Some(owner) = &owner {
            self.forget_principal(&owner.object_id);
        }
        Ok(subscription)
    }

    async fn owner(&self, named: &str, tenant: &Tenant) -> Result<Principal> {
        let owner = self.find_principal(named).await?;
        if owner.tenant != tenant.id {
            return Err(Error::bad_request(
                "The owner must be of the tenant of the subscription.",
            ));
        }
        Ok(owner)
    }

    /// Returns the subscriptions of a tenant, or all.
    pub async fn list_subscriptions(&self, tenant: Option<&str>) -> Result<Vec<Subscription>> {
        let tenant = match tenant {
            Some(tenant) => Some(self.find_tenant_or_first(Some(tenant)).await?.id),
            None => None,
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        read.list_subscriptions(tenant.as_deref()).await.map_err(db)
    }

    /// Returns the tenant at which a subscription's callers sign in.
    ///
    /// Told without a token, as the service does: who knows a subscription alone learns from the
    /// refusal where to sign in.
    pub async fn sign_in_tenant(&self, subscription: &str) -> Result<Option<String>> {
        let known = self.known_subscription(subscription).await?;
        Ok(known.map(|found| found.tenant))
    }

    /// Lets a subscription be written, or only read.
    pub async fn set_subscription_enabled(
        &self,
        id: &str,
        is_enabled: bool,
    ) -> Result<Subscription> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx
            .load_subscription(id)
            .await
            .map_err(db)?
            .ok_or_else(|| no_subscription(id))?;
        let state = if is_enabled { "Enabled" } else { "Disabled" };
        let changed = Subscription {
            state: state.to_owned(),
            ..found.clone()
        };
        tx.put_subscription(&changed).await.map_err(db)?;
        let change = Change::subscription(Some(&found), Some(&changed));
        self.audit_operator(&mut tx, SUBSCRIPTION_WRITE, change)
            .await?;
        tx.commit().await.map_err(db)?;
        self.forget_subscription(id);
        Ok(changed)
    }

    /// Removes an empty subscription with the roles at it.
    pub async fn delete_subscription(&self, id: &str) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx
            .load_subscription(id)
            .await
            .map_err(db)?
            .ok_or_else(|| no_subscription(id))?;
        if !tx.is_subscription_empty(&found.id).await.map_err(db)? {
            return Err(Error::conflict(
                "SubscriptionNotEmpty",
                format!(
                    "The subscription '{}' still has resources. Delete its resource groups first.",
                    found.name
                ),
            ));
        }
        for at in tx
            .assignments_at(&format!("/subscriptions/{}", found.id))
            .await
            .map_err(db)?
        {
            tx.delete_role_assignment(&at.id).await.map_err(db)?;
        }
        tx.delete_subscription(&found.id).await.map_err(db)?;
        let change = Change::subscription(Some(&found), None);
        self.audit_operator(&mut tx, "Microsoft.Resources/subscriptions/delete", change)
            .await?;
        tx.commit().await.map_err(db)?;
        self.forget_subscription(id);
        Ok(())
    }
}

/// 404 `SubscriptionNotFound`.
pub(crate) fn no_subscription(id: &str) -> Error {
    let shown: String = id.chars().take(100).collect();
    Error::not_found(
        "SubscriptionNotFound",
        format!("The subscription '{shown}' could not be found."),
    )
}

/// Returns a name without blanks around it; refuses what cannot be one.
pub(super) fn named(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(Error::bad_request(format!(
            "The {field} must have 1 to 128 characters."
        )));
    }
    Ok(text.to_owned())
}
