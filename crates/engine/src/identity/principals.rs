//! Principals and their roles, as the operator of the installation manages them.
//!
//! Whatever takes rights away also ends the refresh tokens: access tokens that are out count only
//! as long as the principal is enabled.

use catalog::{Principal, PrincipalKey, PrincipalKind, Read, RoleAssignment};
use domain::role::Role;
use domain::scope::subscription_in;
use domain::{Error, Result};
use secrecy::{ExposeSecret as _, SecretString};

use super::accounts::{named, no_subscription};
use super::assertion::{KEYS_MAX, public_key as readable};
use super::bootstrap::{assignment, new_id};
use super::operator::Change;
use super::secrets;
use crate::Engine;
use crate::error::catalog as db;

/// The shortest password that a person may choose, in bytes.
const PASSWORD_BYTES_MIN: usize = 8;
const WRITE: &str = "Vitrine.Gallery/principals/write";
const DELETE: &str = "Vitrine.Gallery/principals/delete";
const ROLE_WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
const ROLE_DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

/// A principal to be made.
pub struct NewPrincipal {
    /// What it is.
    pub kind: PrincipalKind,
    /// User name (`ada@vitrine.local`) or display name.
    pub name: String,
    /// The tenant, by id or domain; none means the first.
    pub tenant: Option<String>,
    /// The secret; none means a random one.
    pub secret: Option<SecretString>,
}

/// A principal that was made or got a new secret; the secret is shown once.
pub struct Created {
    /// The principal.
    pub principal: Principal,
    /// Its secret, when this server made it.
    pub secret: Option<String>,
}

impl Engine {
    /// Makes a principal without any role.
    pub async fn create_principal(&self, new: NewPrincipal) -> Result<Created> {
        let tenant = self.find_tenant_or_first(new.tenant.as_deref()).await?;
        let name = named("name", &new.name)?;
        let is_user = new.kind == PrincipalKind::User;
        let name = if is_user && !name.contains('@') {
            format!("{name}@{}", tenant.domain)
        } else {
            name
        };
        let (secret_hash, secret) = match new.kind {
            PrincipalKind::ManagedIdentity | PrincipalKind::Group => (None, None),
            PrincipalKind::User | PrincipalKind::ServicePrincipal => {
                self.hashed(new.secret).await?
            }
        };
        let principal = Principal {
            object_id: new_id(),
            tenant: tenant.id,
            kind: new.kind,
            app_id: match new.kind {
                PrincipalKind::User | PrincipalKind::Group => String::new(),
                PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => new_id(),
            },
            name: if is_user { name.to_lowercase() } else { name },
            secret_hash,
            enabled: true,
            created_ms: self.now_ms(),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        if is_user
            && tx
                .load_principal_by_name("", &principal.name)
                .await
                .map_err(db)?
                .is_some()
        {
            return Err(Error::conflict(
                "Conflict",
                format!("The user '{}' is already there.", principal.name),
            ));
        }
        tx.put_principal(&principal).await.map_err(db)?;
        let change = Change::principal(None, Some(&principal));
        self.audit_operator(&mut tx, WRITE, change).await?;
        tx.commit().await.map_err(db)?;
        Ok(Created { principal, secret })
    }

    /// Returns the hash of a secret, and the secret when it was made here.
    async fn hashed(
        &self,
        secret: Option<SecretString>,
    ) -> Result<(Option<String>, Option<String>)> {
        let (secret, shown) = match secret {
            Some(chosen) => {
                let length = chosen.expose_secret().len();
                if !(PASSWORD_BYTES_MIN..=secrets::SECRET_BYTES_MAX).contains(&length) {
                    return Err(Error::bad_request(format!(
                        "The password must have at least {PASSWORD_BYTES_MIN} characters."
                    )));
                }
                (chosen, None)
            }
            None => {
                let made = secrets::random_text(32)?;
                (made.clone().into(), Some(made))
            }
        };
        Ok((Some(self.hash_secret(secret).await?), shown))
    }

    /// Returns the principals of a tenant, or all.
    pub async fn list_principals(&self, tenant: Option<&str>) -> Result<Vec<Principal>> {
        let tenant = match tenant {
            Some(tenant) => Some(self.find_tenant_or_first(Some(tenant)).await?.id),
            None => None,
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        read.list_principals(tenant.as_deref()).await.map_err(db)
    }

    /// Returns a principal by object id, application id or name; a name of two is refused.
    pub async fn find_principal(&self, wanted: &str) -> Result<Principal> {
        let all = self.list_principals(None).await?;
        let is_id = |p: &Principal| {
            p.object_id.eq_ignore_ascii_case(wanted) || p.app_id.eq_ignore_ascii_case(wanted)
        };
        if let Some(found) = all.iter().find(|p| is_id(p)).filter(|_| !wanted.is_empty()) {
            return Ok(found.clone());
        }
        let mut by_name = all
            .into_iter()
            .filter(|p| p.name.eq_ignore_ascii_case(wanted));
        match (by_name.next(), by_name.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(Error::not_found(
                "PrincipalNotFound",
                format!("The principal '{wanted}' could not be found."),
            )),
            (Some(_), Some(_)) => Err(Error::bad_request(format!(
                "Several principals are called '{wanted}': use the object id."
            ))),
        }
    }

    /// Removes a principal with its roles, keys and refresh tokens.
    pub async fn delete_principal(&self, wanted: &str) -> Result<Principal> {
        let found = self.find_principal(wanted).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.delete_role_assignments_of(&found.object_id)
            .await
            .map_err(db)?;
        tx.delete_principal_keys(&found.object_id, None)
            .await
            .map_err(db)?;
        tx.forget_memberships(&found.object_id).await.map_err(db)?;
        tx.delete_external_subjects_of(&found.object_id)
            .await
            .map_err(db)?;
        tx.delete_refresh_tokens_of(&found.object_id)
            .await
            .map_err(db)?;
        tx.delete_principal(&found.object_id).await.map_err(db)?;
        let change = Change::principal(Some(&found), None);
        self.audit_operator(&mut tx, DELETE, change).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(found)
    }

    /// Gives a principal a new secret and ends its refresh tokens.
    pub async fn reset_secret(
        &self,
        wanted: &str,
        secret: Option<SecretString>,
    ) -> Result<Created> {
        let found = self.find_principal(wanted).await?;
        if matches!(
            found.kind,
            PrincipalKind::ManagedIdentity | PrincipalKind::Group
        ) {
            return Err(Error::bad_request(
                "Managed identities and groups have no secret.",
            ));
        }
        let (secret_hash, secret) = self.hashed(secret).await?;
        let principal = self
            .change_principal(&found.object_id, |p| p.secret_hash = secret_hash)
            .await?;
        self.clear_failures(&found.object_id);
        Ok(Created { principal, secret })
    }

    /// Lets a principal sign in, or ends its access at once.
    pub async fn set_principal_enabled(&self, wanted: &str, is_enabled: bool) -> Result<Principal> {
        let found = self.find_principal(wanted).await?;
        self.change_principal(&found.object_id, |p| p.enabled = is_enabled)
            .await
    }

    async fn change_principal(
        &self,
        object_id: &str,
        change: impl FnOnce(&mut Principal),
    ) -> Result<Principal> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx.load_principal(object_id).await.map_err(db)?;
        let mut principal = found.ok_or_else(|| {
            Error::not_found(
                "PrincipalNotFound",
                format!("The principal '{object_id}' could not be found."),
            )
        })?;
        let before = principal.clone();
        change(&mut principal);
        tx.put_principal(&principal).await.map_err(db)?;
        let change = Change::principal(Some(&before), Some(&principal));
        self.audit_operator(&mut tx, WRITE, change).await?;
        tx.delete_refresh_tokens_of(object_id).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.forget_principal(object_id);
        Ok(principal)
    }

    /// Gives a principal a role at a scope of its own tenant; the same again changes nothing.
    pub async fn grant_role(
        &self,
        wanted: &str,
        role: &str,
        scope: &str,
    ) -> Result<RoleAssignment> {
        let principal = self.find_principal(wanted).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let role = find_role(&mut tx, &principal.tenant, role).await?;
        let shown = domain::scope::clean(scope)?;
        let scope = shown.to_ascii_lowercase();
        if let Some(id) = subscription_in(&scope) {
            let found = tx.load_subscription(id).await.map_err(db)?;
            found
                .filter(|s| s.tenant == principal.tenant)
                .ok_or_else(|| no_subscription(id))?;
        }
        let held = tx.assignments_of(&principal.object_id).await.map_err(db)?;
        if let Some(same) = held
            .into_iter()
            .find(|a| a.scope == scope && a.role_definition.ends_with(&role.id))
        {
            return Ok(same);
        }
        let grant = assignment(&principal, &role.id, &shown, self.now_ms());
        tx.put_role_assignment(&grant).await.map_err(db)?;
        let change = Change::role(&principal.tenant, None, Some(&grant));
        self.audit_operator(&mut tx, ROLE_WRITE, change).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(grant)
    }

    /// Takes a role at a scope from a principal.
    pub async fn revoke_role(&self, wanted: &str, role: &str, scope: &str) -> Result<()> {
        let principal = self.find_principal(wanted).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let role = find_role(&mut tx, &principal.tenant, role).await?;
        let scope = domain::scope::clean(scope)?.to_ascii_lowercase();
        let held = tx.assignments_of(&principal.object_id).await.map_err(db)?;
        let found = held
            .into_iter()
            .find(|a| a.scope == scope && a.role_definition.ends_with(&role.id));
        let found = found.ok_or_else(|| {
            Error::not_found(
                "RoleAssignmentNotFound",
                format!(
                    "'{}' has no role '{}' at '{scope}'.",
                    principal.name, role.name
                ),
            )
        })?;
        tx.delete_role_assignment(&found.id).await.map_err(db)?;
        let change = Change::role(&principal.tenant, Some(&found), None);
        self.audit_operator(&mut tx, ROLE_DELETE, change).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(())
    }

    /// Returns the roles of a principal.
    pub async fn roles_of(&self, wanted: &str) -> Result<Vec<RoleAssignment>> {
        let principal = self.find_principal(wanted).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        read.assignments_of(&principal.object_id).await.map_err(db)
    }

    /// Registers a public key by which a service principal signs assertions; returns its name.
    pub async fn add_principal_key(&self, wanted: &str, public_key: &str) -> Result<String> {
        let public_key = readable(public_key)?;
        let principal = self.find_principal(wanted).await?;
        if principal.kind != PrincipalKind::ServicePrincipal {
            return Err(Error::bad_request(
                "Only service principals sign assertions.",
            ));
        }
        let key = PrincipalKey {
            principal: principal.object_id.clone(),
            kid: secrets::digest(&public_key),
            public_key,
            created_ms: self.now_ms(),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        let held = tx
            .list_principal_keys(&principal.object_id)
            .await
            .map_err(db)?;
        if held.iter().any(|other| other.kid == key.kid) {
            return Ok(key.kid);
        }
        if held.len() >= KEYS_MAX {
            return Err(Error::conflict(
                "Conflict",
                format!("A principal may have {KEYS_MAX} keys. Remove one first."),
            ));
        }
        tx.put_principal_key(&key).await.map_err(db)?;
        let change = Change::key(&principal, None, Some(&key));
        self.audit_operator(&mut tx, "Vitrine.Gallery/principals/keys/write", change)
            .await?;
        tx.commit().await.map_err(db)?;
        Ok(key.kid)
    }

    /// Removes a key of a principal by its name.
    pub async fn remove_principal_key(&self, wanted: &str, kid: &str) -> Result<()> {
        let principal = self.find_principal(wanted).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        if kid.is_empty()
            || !tx
                .delete_principal_keys(&principal.object_id, Some(kid))
                .await
                .map_err(db)?
        {
            return Err(Error::not_found(
                "KeyNotFound",
                format!("'{}' has no key '{kid}'.", principal.name),
            ));
        }
        let change = Change::key(&principal, Some(kid), None);
        self.audit_operator(&mut tx, "Vitrine.Gallery/principals/keys/delete", change)
            .await?;
        tx.commit().await.map_err(db)
    }
}

/// Returns a built-in role, or one of the tenant's own, by GUID or name.
async fn find_role(read: &mut Read, tenant: &str, named: &str) -> Result<Role> {
    if let Some(role) = domain::role::find(named) {
        return Ok(role.clone());
    }
    let custom = read.list_role_definitions(tenant).await.map_err(db)?;
    let known = domain::role::built_in()
        .iter()
        .map(|role| role.name.clone());
    let known: Vec<String> = known
        .chain(custom.iter().map(|c| c.role.name.clone()))
        .collect();
    custom
        .into_iter()
        .map(|custom| custom.role)
        .find(|r| r.id.eq_ignore_ascii_case(named) || r.name.eq_ignore_ascii_case(named))
        .ok_or_else(|| {
            Error::not_found(
                "RoleDefinitionDoesNotExist",
                format!(
                    "There is no role '{named}'. The roles are: {}.",
                    known.join(", ")
                ),
            )
        })
}
