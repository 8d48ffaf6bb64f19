//! What rights are made of beside assignments: custom roles, members of groups, locks.

use domain::lock::{Level, Lock};
use domain::role::Role;
use domain::role_assignment::RoleAssignment;
use domain::role_definition::CustomRole;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result};
use crate::identity::role_assignment;
use crate::store::{Read, Tx};

impl Read {
    /// Returns a number that is another one after every change of anybody's rights.
    pub async fn access_generation(&mut self) -> Result<i64> {
        let row = sqlx::query("SELECT value FROM generations WHERE name = 'access'")
            .fetch_one(self.connection())
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Returns a custom role of a tenant.
    pub async fn load_role_definition(
        &mut self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<CustomRole>> {
        let row = sqlx::query("SELECT * FROM role_definitions WHERE id = $1 AND tenant = $2")
            .bind(id)
            .bind(tenant)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(custom_role).transpose()
    }

    /// Returns the custom roles of a tenant, by name.
    pub async fn list_role_definitions(&mut self, tenant: &str) -> Result<Vec<CustomRole>> {
        let rows =
            sqlx::query("SELECT * FROM role_definitions WHERE tenant = $1 ORDER BY name, id")
                .bind(tenant)
                .fetch_all(self.connection())
                .await?;
        rows.iter().map(custom_role).collect()
    }

    /// Returns the assignments of a tenant's principals at a scope, above it, and below it when asked.
    pub async fn assignments_around(
        &mut self,
        tenant: &str,
        scope: &str,
        with_below: bool,
    ) -> Result<Vec<RoleAssignment>> {
        const SQL: &str = "SELECT role_assignments.* FROM role_assignments JOIN principals ON principals.object_id = role_assignments.principal \
             WHERE principals.tenant = $1 AND (scope = $2 OR scope = '/' OR substr($2, 1, length(scope) + 1) = scope || '/' \
             OR ($3 = 1 AND scope >= $4 AND scope < $5)) ORDER BY scope, id";
        let (from, to) = below(scope);
        let rows = sqlx::query(SQL)
            .bind(tenant)
            .bind(scope)
            .bind(i64::from(with_below))
            .bind(from)
            .bind(to)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(role_assignment).collect()
    }

    /// Returns the assignments that refer to a role.
    pub async fn assignments_of_role(&mut self, role: &str) -> Result<Vec<RoleAssignment>> {
        let rows =
            sqlx::query("SELECT * FROM role_assignments WHERE role_definition = $1 ORDER BY id")
                .bind(role)
                .fetch_all(self.connection())
                .await?;
        rows.iter().map(role_assignment).collect()
    }

    /// Returns the groups that a principal is a direct member of.
    pub async fn groups_of(&mut self, member: &str) -> Result<Vec<String>> {
        let rows =
            sqlx::query("SELECT group_id FROM group_members WHERE member = $1 ORDER BY group_id")
                .bind(member)
                .fetch_all(self.connection())
                .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Returns the direct members of a group.
    pub async fn members_of(&mut self, group: &str) -> Result<Vec<String>> {
        let rows =
            sqlx::query("SELECT member FROM group_members WHERE group_id = $1 ORDER BY member")
                .bind(group)
                .fetch_all(self.connection())
                .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Returns a lock by its scope and name, whatever their case.
    pub async fn load_lock(&mut self, scope: &str, name: &str) -> Result<Option<Lock>> {
        let row = sqlx::query("SELECT * FROM locks WHERE scope = $1 AND name = $2")
            .bind(scope.to_ascii_lowercase())
            .bind(name.to_lowercase())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(lock).transpose()
    }

    /// Returns the locks at a scope, above it, and below it when asked.
    pub async fn locks_around(&mut self, scope: &str, with_below: bool) -> Result<Vec<Lock>> {
        const SQL: &str = "SELECT * FROM locks WHERE scope = $1 OR substr($1, 1, length(scope) + 1) = scope || '/' \
             OR ($2 = 1 AND scope >= $3 AND scope < $4) ORDER BY scope, name";
        let scope = scope.to_ascii_lowercase();
        let (from, to) = below(&scope);
        let rows = sqlx::query(SQL)
            .bind(scope)
            .bind(i64::from(with_below))
            .bind(from)
            .bind(to)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(lock).collect()
    }
}

impl Tx {
    /// Makes every node read rights again that it has read before, once this is committed.
    pub(crate) async fn rights_changed(&mut self) -> Result<()> {
        sqlx::query("UPDATE generations SET value = value + 1 WHERE name = 'access'")
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Stores a custom role in place of what is there; its id belongs to one tenant for ever.
    pub async fn put_role_definition(&mut self, role: &CustomRole) -> Result<bool> {
        const SQL: &str = "INSERT INTO role_definitions (id, tenant, name, description, permissions, assignable_scopes, created_by, \
             updated_by, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET \
             name = excluded.name, description = excluded.description, permissions = excluded.permissions, \
             assignable_scopes = excluded.assignable_scopes, updated_by = excluded.updated_by, updated_ms = excluded.updated_ms \
             WHERE role_definitions.tenant = excluded.tenant";
        let done = sqlx::query(SQL)
            .bind(role.role.id.clone())
            .bind(role.tenant.clone())
            .bind(role.role.name.clone())
            .bind(role.role.description.clone())
            .bind(text(&role.role.permissions))
            .bind(text(&role.assignable_scopes))
            .bind(role.created_by.clone())
            .bind(role.updated_by.clone())
            .bind(role.created_ms)
            .bind(role.updated_ms)
            .execute(self.connection())
            .await?;
        self.rights_changed().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a custom role of a tenant; whether it was there.
    pub async fn delete_role_definition(&mut self, tenant: &str, id: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM role_definitions WHERE id = $1 AND tenant = $2")
            .bind(id)
            .bind(tenant)
            .execute(self.connection())
            .await?;
        self.rights_changed().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Changes what is said about an assignment.
    pub async fn describe_role_assignment(&mut self, id: &str, description: &str) -> Result<bool> {
        let done = sqlx::query("UPDATE role_assignments SET description = $2 WHERE id = $1")
            .bind(id)
            .bind(description)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Makes a principal a member of a group; again changes nothing.
    pub async fn add_member(&mut self, group: &str, member: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO group_members (group_id, member) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(group)
        .bind(member)
        .execute(self.connection())
        .await?;
        self.rights_changed().await
    }

    /// Ends a membership; whether it was there.
    pub async fn remove_member(&mut self, group: &str, member: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM group_members WHERE group_id = $1 AND member = $2")
            .bind(group)
            .bind(member)
            .execute(self.connection())
            .await?;
        self.rights_changed().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends every membership of a principal, and of a group in it.
    pub async fn forget_memberships(&mut self, principal: &str) -> Result<()> {
        sqlx::query("DELETE FROM group_members WHERE group_id = $1 OR member = $1")
            .bind(principal)
            .execute(self.connection())
            .await?;
        self.rights_changed().await
    }

    /// Stores a lock in place of what is there.
    pub async fn put_lock(&mut self, lock: &Lock) -> Result<()> {
        const SQL: &str = "INSERT INTO locks (scope, name, shown_scope, shown_name, level, notes, owners, created_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (scope, name) DO UPDATE SET level = excluded.level, \
             notes = excluded.notes, owners = excluded.owners";
        sqlx::query(SQL)
            .bind(lock.scope.to_ascii_lowercase())
            .bind(lock.name.to_lowercase())
            .bind(lock.shown_scope.clone())
            .bind(lock.name.clone())
            .bind(lock.level.as_str())
            .bind(lock.notes.clone())
            .bind(text(&lock.owners))
            .bind(lock.created_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes a lock; whether it was there.
    pub async fn delete_lock(&mut self, scope: &str, name: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM locks WHERE scope = $1 AND name = $2")
            .bind(scope.to_ascii_lowercase())
            .bind(name.to_lowercase())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes the assignments and locks at exactly a scope: a later resource of this name is another one.
    pub async fn delete_access_at(&mut self, scope: &str) -> Result<()> {
        let scope = scope.to_ascii_lowercase();
        let roles = sqlx::query("DELETE FROM role_assignments WHERE scope = $1")
            .bind(scope.clone())
            .execute(self.connection())
            .await?;
        sqlx::query("DELETE FROM locks WHERE scope = $1")
            .bind(scope)
            .execute(self.connection())
            .await?;
        // Every resource that goes comes by here; few have roles of their own.
        match roles.rows_affected() {
            0 => Ok(()),
            _ => self.rights_changed().await,
        }
    }
}

/// Returns the range of scopes below one; `0` follows `/`.
fn below(scope: &str) -> (String, String) {
    let above = scope.trim_end_matches('/');
    (format!("{above}/"), format!("{above}0"))
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(row: &AnyRow, table: &'static str, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| CatalogError::Corrupt {
        table,
        key: column.to_owned(),
        reason: error.to_string(),
    })
}

fn custom_role(row: &AnyRow) -> Result<CustomRole> {
    Ok(CustomRole {
        role: Role {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            permissions: parsed(row, "role_definitions", "permissions")?,
        },
        tenant: row.try_get("tenant")?,
        assignable_scopes: parsed(row, "role_definitions", "assignable_scopes")?,
        created_by: row.try_get("created_by")?,
        updated_by: row.try_get("updated_by")?,
        created_ms: row.try_get("created_ms")?,
        updated_ms: row.try_get("updated_ms")?,
    })
}

fn lock(row: &AnyRow) -> Result<Lock> {
    let name: String = row.try_get("shown_name")?;
    let level: String = row.try_get("level")?;
    Ok(Lock {
        scope: row.try_get("scope")?,
        shown_scope: row.try_get("shown_scope")?,
        level: Level::parse(&level).ok_or_else(|| CatalogError::Corrupt {
            table: "locks",
            key: name.clone(),
            reason: format!("unknown level {level}"),
        })?,
        notes: row.try_get("notes")?,
        owners: parsed(row, "locks", "owners")?,
        created_ms: row.try_get("created_ms")?,
        name,
    })
}
