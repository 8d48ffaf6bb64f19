//! Role assignments over HTTP: who may do what, written by those who may say so.

use catalog::{Read, RoleAssignment, Tx};
use domain::role_assignment::{plan_put, read as read_body, read_name};
use domain::{Error, ErrorKind, ResourceId, Result};
use serde_json::Value;

use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::identity::with_groups;
use crate::resources::not_found;
use crate::role_definition::{RoleView, find, no_such_role};
use crate::{Ctx, Engine};

const READ: &str = "Microsoft.Authorization/roleAssignments/read";
const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

/// Which assignments a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssignmentFilter {
    /// Only of this principal.
    pub principal: Option<String>,
    /// Only of this principal and the groups it is in.
    pub assigned_to: Option<String>,
    /// Not those below the scope.
    pub at_scope: bool,
}

/// A written assignment, and whether it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAssignment {
    /// The assignment.
    pub assignment: RoleAssignment,
    /// Whether it is new.
    pub is_created: bool,
}

impl Engine {
    /// Returns the assignments of the caller's tenant at a scope, above it, and below it unless the filter says not.
    pub async fn list_role_assignments(
        &self,
        ctx: &Ctx,
        scope: &str,
        filter: &AssignmentFilter,
    ) -> Result<Vec<RoleAssignment>> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let assigned = match &filter.assigned_to {
            None => None,
            Some(id) => Some(with_groups(&mut read, &id.to_ascii_lowercase()).await?),
        };
        let key = scope.to_ascii_lowercase();
        let all = read
            .assignments_around(&ctx.caller.tenant, &key, !filter.at_scope)
            .await
            .map_err(db)?;
        let is_wanted = |a: &RoleAssignment| {
            let is_principal = |id: &String| id.eq_ignore_ascii_case(&a.principal);
            filter.principal.as_ref().is_none_or(is_principal)
                && assigned
                    .as_ref()
                    .is_none_or(|ids| ids.iter().any(is_principal))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    /// Returns an assignment by its GUID.
    pub async fn role_assignment(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
    ) -> Result<RoleAssignment> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let id = read_name(name)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        own(&mut read, ctx, &id, &scope).await?.ok_or_else(|| {
            Error::not_found(
                "RoleAssignmentNotFound",
                format!("The role assignment '{id}' is not found."),
            )
        })
    }

    /// Gives a principal of the caller's tenant a role at a scope.
    pub async fn put_role_assignment(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
        body: &Value,
    ) -> Result<PutAssignment> {
        let shown = domain::scope::clean(scope)?;
        self.authorize(ctx, WRITE, &shown).await?;
        let id = read_name(name)?;
        let wanted = read_body(body)?;
        let scope = shown.to_ascii_lowercase();
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &shown).await?;
        let shown = existing_scope(&mut tx, &shown).await?;
        let tenant = &ctx.caller.tenant;
        let role = find(&mut tx, tenant, &wanted.role_definition)
            .await?
            .ok_or_else(|| no_such_role(&wanted.role_definition))?;
        if let RoleView::Custom(custom) = &role
            && !custom.is_assignable_at(&scope)
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                "RoleAssignmentScopeNotAssignableToRoleDefinition",
                format!(
                    "The role '{}' cannot be assigned at the scope '{shown}': add it to the role's assignableScopes.",
                    custom.role.name
                ),
            ));
        }
        let principal_type = principal_type(&mut tx, tenant, &wanted).await?;
        let assignment = RoleAssignment {
            id: id.clone(),
            scope: scope.clone(),
            shown_scope: shown,
            role_definition: wanted.role_definition,
            principal: wanted.principal,
            principal_type: principal_type.to_owned(),
            description: wanted.description,
            created_by: ctx.caller.object_id.clone(),
            created_ms: self.now_ms(),
        };
        let stored = tx.load_role_assignment(&id).await.map_err(db)?;
        let at_scope = tx.assignments_at(&scope).await.map_err(db)?;
        let planned = plan_put(assignment, stored.as_ref(), &at_scope)?;
        match (&stored, &planned.description) {
            (Some(_), Some(why)) => {
                tx.describe_role_assignment(&id, why).await.map_err(db)?;
            }
            _ => tx.put_role_assignment(&planned).await.map_err(db)?,
        }
        let deed = Deed {
            action: WRITE,
            scope: &id_of(&planned),
            before: stored.as_ref().map(said).unwrap_or_default(),
            after: said(&planned),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(PutAssignment {
            assignment: planned,
            is_created: stored.is_none(),
        })
    }

    /// Takes a role away; `None` when there is no such assignment.
    pub async fn delete_role_assignment(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
    ) -> Result<Option<RoleAssignment>> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, DELETE, &scope).await?;
        let id = read_name(name)?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(found) = own(&mut tx, ctx, &id, &scope).await? else {
            return Ok(None);
        };
        crate::lock::check(&mut tx, domain::lock::Deed::Delete, &found.shown_scope).await?;
        tx.delete_role_assignment(&id).await.map_err(db)?;
        let deed = Deed {
            action: DELETE,
            scope: &id_of(&found),
            before: said(&found),
            after: String::new(),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok(Some(found))
    }
}

/// Returns the digest of an assignment for the audit.
pub(crate) fn said(assignment: &RoleAssignment) -> String {
    digest(&format!("{assignment:?}"))
}

pub(crate) fn id_of(assignment: &RoleAssignment) -> String {
    format!(
        "{}/providers/Microsoft.Authorization/roleAssignments/{}",
        assignment.shown_scope.trim_end_matches('/'),
        assignment.id
    )
}

/// Returns an assignment at exactly this scope, when its principal is of the caller's tenant.
async fn own(read: &mut Read, ctx: &Ctx, id: &str, scope: &str) -> Result<Option<RoleAssignment>> {
    let Some(found) = read.load_role_assignment(id).await.map_err(db)? else {
        return Ok(None);
    };
    let principal = read.load_principal(&found.principal).await.map_err(db)?;
    let is_own = principal.is_some_and(|p| p.tenant == ctx.caller.tenant);
    Ok(Some(found).filter(|a| is_own && a.scope.eq_ignore_ascii_case(scope)))
}

/// Returns the scope in the spelling of its creation, when it is a group or resource that is there.
pub(crate) async fn existing_scope(tx: &mut Tx, scope: &str) -> Result<String> {
    if scope.matches('/').count() < 4 {
        return Ok(scope.to_owned());
    }
    let id = ResourceId::parse(scope)?;
    match tx.load(&id).await.map_err(db)? {
        Some(row) => Ok(row.id.to_string()),
        None => Err(not_found(&id)),
    }
}

/// Returns the type of the principal, which must be of this tenant and of the type that the client says.
async fn principal_type(
    tx: &mut Tx,
    tenant: &str,
    wanted: &domain::role_assignment::Wanted,
) -> Result<&'static str> {
    let found = tx.load_principal(&wanted.principal).await.map_err(db)?;
    let found = found.filter(|p| p.tenant == tenant).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "PrincipalNotFound",
            format!(
                "Principal {} does not exist in the directory {tenant}. Check that you have the correct principal ID.",
                wanted.principal.replace('-', "")
            ),
        )
    })?;
    let known = found.kind.principal_type();
    match wanted.principal_type {
        Some(said) if said != known => Err(Error::new(
            ErrorKind::Invalid,
            "UnmatchedPrincipalType",
            format!(
                "The PrincipalId '{}' has type '{known}', which is different from specified PrincipalType '{said}'.",
                wanted.principal.replace('-', "")
            ),
        )),
        _ => Ok(known),
    }
}
