//! Who there is: tenants, subscriptions, principals, their roles, and the keys that sign tokens.

use domain::role_assignment::RoleAssignment;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result, exists};
use crate::store::{Read, Tx};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// GUID.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Default domain.
    pub domain: String,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// GUID.
    pub id: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Display name.
    pub name: String,
    /// `Enabled` or `Disabled`.
    pub state: String,
}

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program with a secret.
    ServicePrincipal,
    /// A program on a machine that is trusted without a secret.
    ManagedIdentity,
    /// Several principals; it cannot sign in.
    Group,
}

impl PrincipalKind {
    /// Returns the word in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::ServicePrincipal => "ServicePrincipal",
            Self::ManagedIdentity => "ManagedIdentity",
            Self::Group => "Group",
        }
    }

    /// Returns the kind of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::User,
            Self::ServicePrincipal,
            Self::ManagedIdentity,
            Self::Group,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }

    /// Returns the word in role assignments.
    pub const fn principal_type(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::ServicePrincipal | Self::ManagedIdentity => "ServicePrincipal",
            Self::Group => "Group",
        }
    }
}

/// Somebody who can sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    /// GUID.
    pub object_id: String,
    /// The tenant.
    pub tenant: String,
    /// What it is.
    pub kind: PrincipalKind,
    /// GUID of the application; empty for users.
    pub app_id: String,
    /// User name or display name.
    pub name: String,
    /// argon2id, in PHC form.
    pub secret_hash: Option<String>,
    /// Whether it may sign in.
    pub enabled: bool,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
}

/// A key that signs tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name in token headers.
    pub kid: String,
    /// PKCS#8 in PEM.
    pub private_pem: String,
    /// The public half as a JWK.
    pub public_jwk: String,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
    /// When it stopped signing.
    pub retired_ms: Option<i64>,
}

impl Read {
    /// Returns a tenant.
    pub async fn load_tenant(&mut self, id: &str) -> Result<Option<Tenant>> {
        let row = sqlx::query("SELECT * FROM tenants WHERE id = $1")
            .bind(id)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(tenant).transpose()
    }

    /// Returns all tenants.
    pub async fn list_tenants(&mut self) -> Result<Vec<Tenant>> {
        let rows = sqlx::query("SELECT * FROM tenants ORDER BY name, id")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(tenant).collect()
    }

    /// Returns a subscription.
    pub async fn load_subscription(&mut self, id: &str) -> Result<Option<Subscription>> {
        let row = sqlx::query("SELECT * FROM subscriptions WHERE id = $1")
            .bind(id.to_ascii_lowercase())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(subscription).transpose()
    }

    /// Returns the subscriptions of a tenant, or all.
    pub async fn list_subscriptions(&mut self, tenant: Option<&str>) -> Result<Vec<Subscription>> {
        let rows = sqlx::query(
            "SELECT * FROM subscriptions WHERE $1 = '' OR tenant = $1 ORDER BY name, id",
        )
        .bind(tenant.unwrap_or_default())
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(subscription).collect()
    }

    /// Returns a principal by its object id.
    pub async fn load_principal(&mut self, object_id: &str) -> Result<Option<Principal>> {
        let row = sqlx::query("SELECT * FROM principals WHERE object_id = $1")
            .bind(object_id)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(principal).transpose()
    }

    /// Returns a principal by its application id; an empty tenant means any.
    pub async fn load_principal_by_app(
        &mut self,
        tenant: &str,
        app_id: &str,
    ) -> Result<Option<Principal>> {
        let row = sqlx::query(
            "SELECT * FROM principals WHERE app_id = $2 AND ($1 = '' OR tenant = $1) LIMIT 1",
        )
        .bind(tenant)
        .bind(app_id)
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(principal).transpose()
    }

    /// Returns a user by name; an empty tenant means any.
    pub async fn load_principal_by_name(
        &mut self,
        tenant: &str,
        name: &str,
    ) -> Result<Option<Principal>> {
        let row = sqlx::query("SELECT * FROM principals WHERE name = $2 AND ($1 = '' OR tenant = $1) AND kind = 'User' LIMIT 1")
            .bind(tenant)
            .bind(name.to_lowercase())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(principal).transpose()
    }

    /// Returns the principals of a tenant, or all.
    pub async fn list_principals(&mut self, tenant: Option<&str>) -> Result<Vec<Principal>> {
        let rows = sqlx::query(
            "SELECT * FROM principals WHERE $1 = '' OR tenant = $1 ORDER BY name, object_id",
        )
        .bind(tenant.unwrap_or_default())
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(principal).collect()
    }

    /// Returns the signing keys, newest first.
    pub async fn list_signing_keys(&mut self) -> Result<Vec<SigningKey>> {
        let rows = sqlx::query("SELECT * FROM signing_keys ORDER BY created_ms DESC, kid")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(signing_key).collect()
    }

    /// Returns a role assignment.
    pub async fn load_role_assignment(&mut self, id: &str) -> Result<Option<RoleAssignment>> {
        let row = sqlx::query("SELECT * FROM role_assignments WHERE id = $1")
            .bind(id)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(role_assignment).transpose()
    }

    /// Returns the roles of a principal.
    pub async fn assignments_of(&mut self, principal: &str) -> Result<Vec<RoleAssignment>> {
        let rows = sqlx::query("SELECT * FROM role_assignments WHERE principal = $1 ORDER BY id")
            .bind(principal)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(role_assignment).collect()
    }

    /// Returns the roles at exactly this scope.
    pub async fn assignments_at(&mut self, scope: &str) -> Result<Vec<RoleAssignment>> {
        let rows = sqlx::query("SELECT * FROM role_assignments WHERE scope = $1 ORDER BY id")
            .bind(scope)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(role_assignment).collect()
    }

    /// Whether a subscription holds anything.
    pub async fn is_subscription_empty(&mut self, id: &str) -> Result<bool> {
        let row = sqlx::query("SELECT key FROM resources WHERE subscription = $1 LIMIT 1")
            .bind(id.to_ascii_lowercase())
            .fetch_optional(self.connection())
            .await?;
        Ok(row.is_none())
    }
}

impl Tx {
    /// Stores a tenant in place of what is there.
    pub async fn put_tenant(&mut self, tenant: &Tenant) -> Result<()> {
        sqlx::query("INSERT INTO tenants (id, name, domain) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = excluded.name, domain = excluded.domain")
            .bind(tenant.id.clone())
            .bind(tenant.name.clone())
            .bind(tenant.domain.clone())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes a tenant; whether it was there.
    pub async fn delete_tenant(&mut self, id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM tenants WHERE id = $1")
            .bind(id)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a subscription in place of what is there.
    pub async fn put_subscription(&mut self, subscription: &Subscription) -> Result<()> {
        sqlx::query("INSERT INTO subscriptions (id, tenant, name, state) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state")
            .bind(subscription.id.to_ascii_lowercase())
            .bind(subscription.tenant.clone())
            .bind(subscription.name.clone())
            .bind(subscription.state.clone())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes a subscription; whether it was there.
    pub async fn delete_subscription(&mut self, id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM subscriptions WHERE id = $1")
            .bind(id.to_ascii_lowercase())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a principal in place of what is there.
    pub async fn put_principal(&mut self, principal: &Principal) -> Result<()> {
        sqlx::query("INSERT INTO principals (object_id, tenant, kind, app_id, name, secret_hash, enabled, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (object_id) DO UPDATE SET name = excluded.name, secret_hash = excluded.secret_hash, enabled = excluded.enabled")
            .bind(principal.object_id.clone())
            .bind(principal.tenant.clone())
            .bind(principal.kind.as_str())
            .bind(principal.app_id.clone())
            .bind(stored_name(principal))
            .bind(principal.secret_hash.clone())
            .bind(i64::from(principal.enabled))
            .bind(principal.created_ms)
            .execute(self.connection())
            .await?;
        self.rights_changed().await
    }

    /// Removes a principal; whether it was there.
    pub async fn delete_principal(&mut self, object_id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM principals WHERE object_id = $1")
            .bind(object_id)
            .execute(self.connection())
            .await?;
        self.rights_changed().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a signing key in place of what is there.
    pub async fn put_signing_key(&mut self, key: &SigningKey) -> Result<()> {
        sqlx::query("INSERT INTO signing_keys (kid, private_pem, public_jwk, created_ms, retired_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kid) DO UPDATE SET retired_ms = excluded.retired_ms")
            .bind(key.kid.clone())
            .bind(key.private_pem.clone())
            .bind(key.public_jwk.clone())
            .bind(key.created_ms)
            .bind(key.retired_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes a signing key; whether it was there.
    pub async fn delete_signing_key(&mut self, kid: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM signing_keys WHERE kid = $1")
            .bind(kid)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a new role assignment.
    pub async fn put_role_assignment(&mut self, assignment: &RoleAssignment) -> Result<()> {
        const SQL: &str = "INSERT INTO role_assignments (id, scope, role_definition, principal, principal_type, created_ms, \
             shown_scope, description, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(SQL)
            .bind(assignment.id.clone())
            .bind(assignment.scope.clone())
            .bind(assignment.role_definition.clone())
            .bind(assignment.principal.clone())
            .bind(assignment.principal_type.clone())
            .bind(assignment.created_ms)
            .bind(assignment.shown_scope.clone())
            .bind(assignment.description.clone())
            .bind(assignment.created_by.clone())
            .execute(self.connection())
            .await
            .map_err(exists("role_assignments", &assignment.id))?;
        self.rights_changed().await
    }

    /// Removes every role of a principal.
    pub async fn delete_role_assignments_of(&mut self, principal: &str) -> Result<()> {
        sqlx::query("DELETE FROM role_assignments WHERE principal = $1")
            .bind(principal)
            .execute(self.connection())
            .await?;
        self.rights_changed().await
    }

    /// Removes a role assignment; whether it was there.
    pub async fn delete_role_assignment(&mut self, id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM role_assignments WHERE id = $1")
            .bind(id)
            .execute(self.connection())
            .await?;
        self.rights_changed().await?;
        Ok(done.rows_affected() > 0)
    }
}

/// User names compare without case: they are stored in lower case.
fn stored_name(principal: &Principal) -> String {
    match principal.kind {
        PrincipalKind::User => principal.name.to_lowercase(),
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity | PrincipalKind::Group => {
            principal.name.clone()
        }
    }
}

fn tenant(row: &AnyRow) -> Result<Tenant> {
    Ok(Tenant {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        domain: row.try_get("domain")?,
    })
}

fn subscription(row: &AnyRow) -> Result<Subscription> {
    Ok(Subscription {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        name: row.try_get("name")?,
        state: row.try_get("state")?,
    })
}

fn principal(row: &AnyRow) -> Result<Principal> {
    let kind: String = row.try_get("kind")?;
    let object_id: String = row.try_get("object_id")?;
    let enabled: i64 = row.try_get("enabled")?;
    Ok(Principal {
        tenant: row.try_get("tenant")?,
        kind: PrincipalKind::parse(&kind).ok_or_else(|| CatalogError::Corrupt {
            table: "principals",
            key: object_id.clone(),
            reason: format!("unknown kind {kind}"),
        })?,
        app_id: row.try_get("app_id")?,
        name: row.try_get("name")?,
        secret_hash: row.try_get("secret_hash")?,
        enabled: enabled != 0,
        created_ms: row.try_get("created_ms")?,
        object_id,
    })
}

fn signing_key(row: &AnyRow) -> Result<SigningKey> {
    Ok(SigningKey {
        kid: row.try_get("kid")?,
        private_pem: row.try_get("private_pem")?,
        public_jwk: row.try_get("public_jwk")?,
        created_ms: row.try_get("created_ms")?,
        retired_ms: row.try_get("retired_ms")?,
    })
}

pub(crate) fn role_assignment(row: &AnyRow) -> Result<RoleAssignment> {
    let scope: String = row.try_get("scope")?;
    let shown: String = row.try_get("shown_scope")?;
    Ok(RoleAssignment {
        id: row.try_get("id")?,
        // Rows of the first release know only the lower case.
        shown_scope: if shown.is_empty() {
            scope.clone()
        } else {
            shown
        },
        scope,
        description: row.try_get("description")?,
        created_by: row.try_get("created_by")?,
        role_definition: row.try_get("role_definition")?,
        principal: row.try_get("principal")?,
        principal_type: row.try_get("principal_type")?,
        created_ms: row.try_get("created_ms")?,
    })
}
