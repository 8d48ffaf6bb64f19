//! The verbs that all resources share: get, list, put, patch, delete.
//!
//! Each reads in one order: authorize, load, decide ([`crate::rules`]), record in one transaction
//! (row, claims, operation), ring the bell. Nothing here knows a kind; kinds differ in `rules`.

use std::borrow::Cow;

use catalog::{ListFilter, Page, Tx};
use domain::operation::{Operation, OperationState, Work};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::{Ctx, Engine, disk_encryption_set, lock, machine, network, rules, scale_set};

/// The most items that one page of a list holds.
pub const PAGE_ITEMS_MAX: usize = 200;

/// A write that was accepted: the row as it now stands and the operation that makes it true.
pub struct Accepted {
    /// The row as answered.
    pub resource: Resource,
    /// The operation to poll; none when the write is already true.
    pub operation: Option<Operation>,
    /// Whether the resource is new.
    pub is_created: bool,
}

/// What a delete asks beyond the id.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteOptions {
    /// Remove at once even where the gallery keeps deleted versions.
    pub bypass_soft_delete: bool,
}

impl Engine {
    /// Commits a write to a resource together with the operation that makes it true, and wakes a worker.
    pub(crate) async fn accept(
        &self,
        mut tx: Tx,
        resource: Resource,
        operation: Operation,
    ) -> Result<Accepted> {
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource,
            operation: Some(operation),
            is_created: false,
        })
    }

    /// Returns a resource, or the service's not-found error.
    pub async fn get(&self, ctx: &Ctx, id: &ResourceId) -> Result<Resource> {
        self.authorize(ctx, &action(id, "read"), &id.to_string())
            .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        match read.load(id).await.map_err(db)? {
            Some(found) => Ok(found),
            None => {
                if id.kind() != Some(Kind::ResourceGroup)
                    && read.load(&id.group_id()).await.map_err(db)?.is_none()
                {
                    return Err(group_not_found(id.resource_group()));
                }
                Err(not_found(id))
            }
        }
    }

    /// Returns a page of resources below `scope` (a subscription, group or parent resource).
    pub async fn list(
        &self,
        ctx: &Ctx,
        filter: &ListFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Resource>> {
        let scope = list_scope(filter);
        let type_name = match filter.kind {
            None => "Microsoft.Resources/subscriptions/resources",
            Some(kind) => acting_type(kind),
        };
        self.authorize(ctx, &format!("{type_name}/read"), &scope)
            .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        if let Some(group) = &filter.group {
            let group_id = ResourceId::group(&filter.subscription, group);
            if read.load(&group_id).await.map_err(db)?.is_none() {
                return Err(group_not_found(group));
            }
        }
        if let Some(parent) = &filter.parent
            && read.load(parent).await.map_err(db)?.is_none()
        {
            return Err(parent_not_found(parent));
        }
        read.list(filter, after, limit.min(PAGE_ITEMS_MAX))
            .await
            .map_err(db)
    }

    /// Creates or replaces a resource as `body` (checked by `arm`) says.
    pub async fn put(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        self.authorize(ctx, &action(id, "write"), &id.to_string())
            .await?;
        self.authorize_links(ctx, id, body).await?;
        self.authorize_machine(ctx, id, body).await?;
        let write = Write::of(id, Body::Said(body), Verb::Put);
        self.write(ctx, id, write).await
    }

    /// Changes the members of a resource that `body` names.
    pub async fn patch(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        self.authorize(ctx, &action(id, "write"), &id.to_string())
            .await?;
        self.authorize_links(ctx, id, body).await?;
        self.authorize_machine(ctx, id, body).await?;
        let write = Write::of(id, Body::Said(body), Verb::Patch);
        self.write(ctx, id, write).await
    }

    /// Writes what the caller was found to be allowed to.
    pub(crate) async fn write(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        write: Write<'_>,
    ) -> Result<Accepted> {
        let verb = write.verb;
        let kind = id.kind().ok_or_else(|| not_found(id))?;
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        check_parents(&mut tx, id).await?;
        let mut stored = tx.load(id).await.map_err(db)?;
        if let Some(row) = &mut stored {
            self.unseal_secrets(row)?;
        }
        if verb == Verb::Patch && stored.is_none() {
            return Err(not_found(id));
        }
        if let Some(row) = &stored
            && row.state == ProvisioningState::Deleting
        {
            return Err(marked_for_deletion(kind, id.name(), "Update"));
        }
        let body = write.body.over(stored.as_ref(), id)?;
        let wanted = rules::Wanted {
            id,
            body: &body,
            stored: stored.as_ref(),
            verb,
            now_ms,
        };
        let mut planned = rules::plan(self, &mut tx, ctx, &wanted).await?;
        crate::storage_account::complete(&mut planned.resource)?;
        let is_created = stored.is_none() && !planned.is_restored;
        if is_created || is_empty(&planned) {
            rules::check_links(self, &mut tx, ctx, &mut planned.resource).await?;
        }
        scale_set::check_set(self, &mut tx, ctx, &mut planned.resource, stored.as_ref()).await?;
        if is_created {
            rules::reserve_quota(&mut tx, &planned.resource).await?;
            rules::claim_names(&mut tx, &planned.resource).await?;
        }
        planned.resource.changed_ms = now_ms;
        self.hold(&mut tx, ctx, &mut planned.resource, stored.as_ref())
            .await?;
        self.audit_row(
            &mut tx,
            ctx,
            &write.action,
            stored.as_ref(),
            &planned.resource,
        )
        .await?;
        if is_created {
            tx.insert(&planned.resource).await.map_err(db)?;
        } else {
            tx.update(&mut planned.resource).await.map_err(db)?;
        }
        let operation = if planned.is_synchronous {
            None
        } else {
            let step = first_step(kind, ctx, write.step);
            let operation = new_operation(kind, Work::Put, &planned.resource, now_ms, step);
            tx.insert_operation(&operation).await.map_err(db)?;
            Some(operation)
        };
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource: planned.resource,
            operation,
            is_created,
        })
    }

    /// Takes what a row names for itself, and lets go of what it names no more.
    pub(crate) async fn hold(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        row: &mut Resource,
        stored: Option<&Resource>,
    ) -> Result<()> {
        if row.kind.is_network() {
            network::give_address(tx, row).await?;
            network::hold_links(tx, row, stored).await?;
        }
        self.reserve_bytes(tx, row).await?;
        if row.kind.is_machine() {
            let now_ms = row.changed_ms;
            machine::hold::hold_disks(self, tx, ctx, row, now_ms).await?;
            machine::cards::hold_cards(self, tx, ctx, row, stored).await?;
            self.seal_secrets(row)?;
        }
        if row.kind == Kind::ScaleSet {
            self.seal_secrets(row)?;
        }
        disk_encryption_set::hold_sets(tx, self.regions(), row, stored).await
    }

    /// Accepts the deletion of a resource; `None` when there is nothing to delete.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        options: DeleteOptions,
    ) -> Result<Option<Accepted>> {
        self.authorize(ctx, &action(id, "delete"), &id.to_string())
            .await?;
        let kind = id.kind().ok_or_else(|| not_found(id))?;
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(mut row) = tx.load(id).await.map_err(db)? else {
            return Ok(None);
        };
        lock::check(&mut tx, domain::lock::Deed::Delete, &id.to_string()).await?;
        if kind != Kind::ResourceGroup {
            rules::check_delete(&mut tx, &row, now_ms).await?;
        }
        if row.state == ProvisioningState::Deleting
            && let Some(open) = tx.open_operation_of(id).await.map_err(db)?
            && open.work == Work::Delete
        {
            return Ok(Some(Accepted {
                resource: row,
                operation: Some(open),
                is_created: false,
            }));
        }
        tx.cancel_operations_of(id, now_ms).await.map_err(db)?;
        let deed = Deed {
            action: &action(id, "delete"),
            scope: &row.id.to_string(),
            before: audit::of_row(&row),
            after: String::new(),
        };
        self.audit(&mut tx, ctx, deed).await?;
        scale_set::leave(&mut tx, &row).await?;
        row.state = ProvisioningState::Deleting;
        tx.update(&mut row).await.map_err(db)?;
        let options = json!({ "bypassSoftDelete": options.bypass_soft_delete });
        let step = first_step(kind, ctx, options);
        let operation = new_operation(kind, Work::Delete, &row, now_ms, step);
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Some(Accepted {
            resource: row,
            operation: Some(operation),
            is_created: false,
        }))
    }
}

/// Returns what an operation begins with: a set's worker goes on as who asked, with a step of its own.
fn first_step(kind: Kind, ctx: &Ctx, usual: Value) -> Value {
    match kind {
        Kind::ScaleSet => scale_set::Step::of(ctx).to_value(),
        _ => usual,
    }
}

/// Whether a version or image has captured nothing: it may have been given another source.
fn is_empty(planned: &rules::Planned) -> bool {
    match planned.resource.kind {
        Kind::ImageVersion => {
            !planned.is_restored && !planned.resource.internal.contains_key("images")
        }
        Kind::ManagedImage => !domain::managed_image::has_content(&planned.resource),
        _ => false,
    }
}

/// Which write is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The body is the whole desired state; omitted members keep what is stored.
    Put,
    /// The body names what changes.
    Patch,
}

/// Where the body of a write comes from.
pub(crate) enum Body<'a> {
    /// It was sent.
    Said(&'a Value),
    /// It follows from the row as it stands.
    Made(&'a (dyn Fn(&Resource) -> Result<Value> + Sync)),
}

impl<'a> Body<'a> {
    /// Returns the body, made from the row where it follows from that.
    fn over(&self, stored: Option<&Resource>, id: &ResourceId) -> Result<Cow<'a, Value>> {
        match (self, stored) {
            (Self::Said(body), _) => Ok(Cow::Borrowed(body)),
            (Self::Made(make), Some(row)) => make(row).map(Cow::Owned),
            (Self::Made(_), None) => Err(not_found(id)),
        }
    }
}

/// A write of a resource.
pub(crate) struct Write<'a> {
    /// What is written.
    pub body: Body<'a>,
    /// Which write is meant.
    pub verb: Verb,
    /// The action that was asked for.
    pub action: String,
    /// What the operation keeps beyond the row.
    pub step: Value,
}

impl<'a> Write<'a> {
    fn of(id: &ResourceId, body: Body<'a>, verb: Verb) -> Self {
        Self {
            body,
            verb,
            action: action(id, "write"),
            step: Value::Null,
        }
    }
}

/// Returns a new operation on a resource, to be recorded beside it.
pub(crate) fn new_operation(
    kind: Kind,
    work: Work,
    row: &Resource,
    now_ms: i64,
    step: Value,
) -> Operation {
    Operation {
        id: Uuid::new_v4(),
        family: kind.family(),
        work,
        resource: row.id.clone(),
        location: row.location.clone(),
        state: OperationState::InProgress,
        step,
        error: None,
        output: None,
        attempts: 0,
        run_at_ms: now_ms,
        started_ms: now_ms,
        ended_ms: None,
        lease_generation: 0,
    }
}

/// Returns the action of a verb on the type of `id`.
pub(crate) fn action(id: &ResourceId, verb: &str) -> String {
    match id.kind() {
        Some(kind) => format!("{}/{verb}", acting_type(kind)),
        None => format!("{}/{verb}", id.type_name()),
    }
}

/// Returns the type of a kind as actions name it.
const fn acting_type(kind: Kind) -> &'static str {
    match kind {
        Kind::ResourceGroup => "Microsoft.Resources/subscriptions/resourceGroups",
        other => other.type_name(),
    }
}

fn list_scope(filter: &ListFilter) -> String {
    match (&filter.parent, &filter.group) {
        (Some(parent), _) => parent.to_string(),
        (None, Some(group)) => ResourceId::group(&filter.subscription, group).to_string(),
        (None, None) => format!("/subscriptions/{}", filter.subscription),
    }
}

pub(crate) async fn check_parents(tx: &mut Tx, id: &ResourceId) -> Result<()> {
    if id.kind() == Some(Kind::ResourceGroup) {
        return Ok(());
    }
    let group = tx.load(&id.group_id()).await.map_err(db)?;
    match group {
        None => return Err(group_not_found(id.resource_group())),
        Some(group) if group.state == ProvisioningState::Deleting => {
            return Err(Error::conflict(
                "ResourceGroupBeingDeleted",
                format!(
                    "The resource group '{}' is in deprovisioning state and cannot perform this operation.",
                    id.resource_group()
                ),
            ));
        }
        Some(_) => {}
    }
    let Some(parent) = id
        .parent()
        .filter(|p| p.kind() != Some(Kind::ResourceGroup))
    else {
        return Ok(());
    };
    match tx.load(&parent).await.map_err(db)? {
        None => Err(parent_not_found(&parent)),
        Some(row) if row.state == ProvisioningState::Deleting => {
            Err(marked_for_deletion(row.kind, parent.name(), "Update"))
        }
        Some(_) => Ok(()),
    }
}

/// 404 of ARM for a resource that is not there.
pub(crate) fn not_found(id: &ResourceId) -> Error {
    if id.kind() == Some(Kind::ResourceGroup) {
        return group_not_found(id.resource_group());
    }
    Error::not_found(
        "ResourceNotFound",
        format!(
            "The Resource '{}' under resource group '{}' was not found. For more details please go to \
             https://aka.ms/ARMResourceNotFoundFix",
            id.relative(),
            id.resource_group()
        ),
    )
}

/// 404 of ARM for a resource group that is not there.
pub(crate) fn group_not_found(group: &str) -> Error {
    Error::not_found(
        "ResourceGroupNotFound",
        format!("Resource group '{group}' could not be found."),
    )
}

fn parent_not_found(parent: &ResourceId) -> Error {
    let shown: Vec<&str> = parent.names().collect();
    Error::not_found(
        "ParentResourceNotFound",
        format!(
            "Can not perform requested operation on nested resource. Parent resource '{}' not found.",
            shown.join("/")
        ),
    )
}

/// 409 for a write to a resource that is being deleted. Source: `API.md` 2.1.
pub(crate) fn marked_for_deletion(kind: Kind, name: &str, verb: &str) -> Error {
    let shown = kind.shown_name();
    Error::conflict(
        "OperationNotAllowed",
        format!(
            "Operation '{verb} {shown}' is not allowed on {name} since it is marked for deletion. \
             You can only retry the Delete operation (or wait for an ongoing one to complete)."
        ),
    )
}
