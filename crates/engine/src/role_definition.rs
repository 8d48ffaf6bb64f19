//! Role definitions: read the built-in ones and the tenant's own, write the tenant's own.

use domain::role::Role;
use domain::role_definition::{CustomRole, Writer, has_assignments, plan_put, read_name};
use domain::{Error, Result};
use serde_json::Value;

use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::{Ctx, Engine};

const READ: &str = "Microsoft.Authorization/roleDefinitions/read";
const WRITE: &str = "Microsoft.Authorization/roleDefinitions/write";
const DELETE: &str = "Microsoft.Authorization/roleDefinitions/delete";

/// A role as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum RoleView {
    /// One that everybody has.
    BuiltIn(&'static Role),
    /// One that the tenant made.
    Custom(CustomRole),
}

/// Which roles a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionFilter {
    /// Only of this name, whatever the case.
    pub name: Option<String>,
    /// Only custom ones, or only built-in ones.
    pub is_custom: Option<bool>,
    /// Roles too that can be assigned only below the scope.
    pub with_below: bool,
}

impl RoleView {
    /// Returns what it allows, with its GUID and its name.
    pub fn role(&self) -> &Role {
        match self {
            Self::BuiltIn(role) => role,
            Self::Custom(custom) => &custom.role,
        }
    }
}

impl Engine {
    /// Returns the roles that can be assigned at a scope, built-in ones first.
    pub async fn list_role_definitions(
        &self,
        ctx: &Ctx,
        scope: &str,
        filter: &DefinitionFilter,
    ) -> Result<Vec<RoleView>> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let key = scope.to_ascii_lowercase();
        let mut read = self.catalog().read().await.map_err(db)?;
        let custom = read
            .list_role_definitions(&ctx.caller.tenant)
            .await
            .map_err(db)?;
        let is_here = |c: &CustomRole| {
            let below = |own: &String| domain::scope::covers(&key, &own.to_ascii_lowercase());
            c.is_assignable_at(&key)
                || key == "/"
                || (filter.with_below && c.assignable_scopes.iter().any(below))
        };
        let built_in = domain::role::built_in().iter().map(RoleView::BuiltIn);
        let custom = custom.into_iter().filter(is_here).map(RoleView::Custom);
        let wanted = |view: &RoleView| {
            let is_custom = matches!(view, RoleView::Custom(_));
            filter.is_custom.is_none_or(|wanted| wanted == is_custom)
                && filter
                    .name
                    .as_ref()
                    .is_none_or(|name| name.eq_ignore_ascii_case(&view.role().name))
        };
        Ok(built_in.chain(custom).filter(wanted).collect())
    }

    /// Returns a role by its GUID.
    pub async fn role_definition(&self, ctx: &Ctx, scope: &str, name: &str) -> Result<RoleView> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let id = read_name(name)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        find(&mut read, &ctx.caller.tenant, &id)
            .await?
            .ok_or_else(|| no_such_role(&id))
    }

    /// Makes or changes a role of the caller's tenant; the caller needs the right at every scope where it can be assigned.
    pub async fn put_role_definition(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
        body: &Value,
    ) -> Result<CustomRole> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, WRITE, &scope).await?;
        let tenant = &ctx.caller.tenant;
        let mut read = self.catalog().read().await.map_err(db)?;
        let others = read.list_role_definitions(tenant).await.map_err(db)?;
        drop(read);
        let writer = Writer {
            tenant,
            object_id: &ctx.caller.object_id,
            now_ms: self.now_ms(),
        };
        let asked = plan_put(name, body, &writer, &others)?;
        self.authorize_assignable(ctx, WRITE, &asked).await?;
        if let Some(stored) = others.iter().find(|o| o.role.id == asked.role.id) {
            self.authorize_assignable(ctx, WRITE, stored).await?;
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        // Decided again on what is there now: rights do not depend on it, names and ids do.
        let others = tx.list_role_definitions(tenant).await.map_err(db)?;
        let planned = plan_put(name, body, &writer, &others)?;
        let held = tx.assignments_of_role(&planned.role.id).await.map_err(db)?;
        if held.iter().any(|a| !planned.is_assignable_at(&a.scope)) {
            return Err(has_assignments(&planned.role.id));
        }
        if !tx.put_role_definition(&planned).await.map_err(db)? {
            return Err(Error::conflict(
                "RoleDefinitionIdInUse",
                "The role definition ID is in use. Use another ID.",
            ));
        }
        let stored = others.iter().find(|o| o.role.id == planned.role.id);
        let deed = Deed {
            action: WRITE,
            scope: &id_at(&scope, &planned.role.id),
            before: stored.map(said).unwrap_or_default(),
            after: said(&planned),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(planned)
    }

    /// Removes a role of the caller's tenant that nobody has; `None` when there is none.
    pub async fn delete_role_definition(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
    ) -> Result<Option<CustomRole>> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, DELETE, &scope).await?;
        let id = read_name(name)?;
        let tenant = &ctx.caller.tenant;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = match find(&mut read, tenant, &id).await? {
            None => return Ok(None),
            Some(RoleView::Custom(found)) => found,
            Some(RoleView::BuiltIn(_)) => {
                return Err(Error::new(
                    domain::ErrorKind::Invalid,
                    "RoleDefinitionNotCustom",
                    "Built-in roles cannot be deleted.",
                ));
            }
        };
        drop(read);
        self.authorize_assignable(ctx, DELETE, &found).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.assignments_of_role(&id).await.map_err(db)?.is_empty() {
            return Err(has_assignments(&id));
        }
        tx.delete_role_definition(tenant, &id).await.map_err(db)?;
        let deed = Deed {
            action: DELETE,
            scope: &id_at(&scope, &id),
            before: said(&found),
            after: String::new(),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(Some(found))
    }

    async fn authorize_assignable(&self, ctx: &Ctx, action: &str, role: &CustomRole) -> Result<()> {
        for scope in &role.assignable_scopes {
            self.authorize(ctx, action, scope).await?;
        }
        Ok(())
    }
}

/// Returns the digest of a role for the audit.
fn said(role: &CustomRole) -> String {
    digest(&format!("{:?}", (&role.role, &role.assignable_scopes)))
}

fn id_at(scope: &str, id: &str) -> String {
    format!(
        "{}/providers/Microsoft.Authorization/roleDefinitions/{id}",
        scope.trim_end_matches('/')
    )
}

/// Returns a built-in role, or one of the tenant's own.
pub(crate) async fn find(
    read: &mut catalog::Read,
    tenant: &str,
    id: &str,
) -> Result<Option<RoleView>> {
    if let Some(known) = domain::role::find_by_id(id) {
        return Ok(Some(RoleView::BuiltIn(known)));
    }
    let custom = read.load_role_definition(tenant, id).await.map_err(db)?;
    Ok(custom.map(RoleView::Custom))
}

pub(crate) fn no_such_role(id: &str) -> Error {
    Error::not_found(
        "RoleDefinitionDoesNotExist",
        format!("The specified role definition with ID '{id}' does not exist."),
    )
}
