//! Template deployments: accepted, shown, canceled, forgotten.
//!
//! A request binds the template to its parameters, checks everything that can be known before
//! (names, order, types, api-versions, bodies, the caller's rights) and records. [`conduct`] makes it
//! true: every resource goes through the same door as a request of the caller would.

mod complete;
mod conduct;
mod crew;
mod lookup;
mod preflight;
mod prepare;
mod steps;
mod view;
mod what_if;

use catalog::Deployment;
use domain::operation::{Family, Operation, OperationState, Work};
use domain::{Error, ErrorKind, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Deed};
use crate::deletion::check_lease;
use crate::error::catalog as db;
use crate::resources::action;
use crate::{Ctx, Engine, lock};

/// Deployments that a group or a subscription remembers; the oldest that is over makes room for a new one.
const DEPLOYMENTS_MAX: usize = 800;
/// The longest name.
const NAME_CHARS_MAX: usize = 64;

/// A deployment that was accepted.
#[derive(Debug)]
pub struct AcceptedDeployment {
    /// The deployment as responses show it.
    pub shown: Value,
    /// The operation to poll.
    pub operation: Operation,
    /// Whether the name is new.
    pub is_created: bool,
}

impl Engine {
    /// Accepts a deployment of a group or subscription; `body` is what was sent, JSON or not quite.
    pub async fn put_deployment(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &[u8],
    ) -> Result<AcceptedDeployment> {
        self.authorize(ctx, &action(id, "write"), &id.to_string())
            .await?;
        check_name(id.name())?;
        let prepared = self.prepare(ctx, id, body).await?;
        self.preflight(ctx, &prepared).await?;
        let now_ms = self.now_ms();
        let operation = new_operation(id, &prepared.location, now_ms);
        let (content, secrets) = self.pack(ctx, &prepared).await?;
        let deployment = Deployment {
            id: id.clone(),
            state: "Accepted".to_owned(),
            tags: prepared.request.tags.clone(),
            shown: view::begun(&prepared, ctx.correlation_id, now_ms, self.regions()),
            content,
            secrets,
            changed_ms: now_ms,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        let group = tx.load(&id.group_id()).await.map_err(db)?;
        prepare::check_group(group.as_ref(), id)?;
        lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let stored = tx.load_deployment(id).await.map_err(db)?;
        prepare::check_place(stored.as_ref(), id, &prepared.location)?;
        if let Some(stored) = &stored {
            check_idle(stored, "edit or replace")?;
        }
        make_room(&mut tx, id).await?;
        let deed = Deed {
            action: &action(id, "write"),
            scope: &id.to_string(),
            before: stored.as_ref().map(said).unwrap_or_default(),
            after: said(&deployment),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.delete_deployment_steps(id).await.map_err(db)?;
        tx.put_deployment(&deployment).await.map_err(db)?;
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring_conductor();
        Ok(AcceptedDeployment {
            shown: view::deployment(&deployment),
            operation,
            is_created: stored.is_none(),
        })
    }

    /// Checks a deployment and records nothing; answers what the service's `validate` answers.
    pub async fn validate_deployment(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &[u8],
    ) -> Result<Value> {
        self.authorize(ctx, &action(id, "validate/action"), &id.to_string())
            .await?;
        check_name(id.name())?;
        let prepared = self.prepare(ctx, id, body).await?;
        self.preflight(ctx, &prepared).await?;
        let mut shown = view::begun(&prepared, ctx.correlation_id, self.now_ms(), self.regions());
        shown.insert(
            "validatedResources".to_owned(),
            view::ids(prepared.wanted().map(|p| p.id.as_str())),
        );
        Ok(view::deployment(&Deployment {
            id: id.clone(),
            state: "Succeeded".to_owned(),
            tags: prepared.request.tags.clone(),
            shown,
            content: Value::Null,
            secrets: None,
            changed_ms: self.now_ms(),
        }))
    }

    /// Returns a deployment as responses show it.
    pub async fn deployment(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        let found = self.load_deployment(ctx, id, "read").await?;
        Ok(view::deployment(&found))
    }

    /// Returns the deployments of a group or of a subscription's own, newest first; `state` keeps those in one state.
    pub async fn deployments(
        &self,
        ctx: &Ctx,
        group: &ResourceId,
        state: Option<&str>,
    ) -> Result<Vec<Value>> {
        self.authorize(
            ctx,
            "Microsoft.Resources/deployments/read",
            &group.to_string(),
        )
        .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        check_there(&mut read, group).await?;
        let all = read
            .list_deployments(group, DEPLOYMENTS_MAX * 2)
            .await
            .map_err(db)?;
        let is_wanted = |d: &&Deployment| state.is_none_or(|s| s.eq_ignore_ascii_case(&d.state));
        Ok(all.iter().filter(is_wanted).map(view::deployment).collect())
    }

    /// Returns the steps of a deployment: one for each resource that was begun.
    pub async fn deployment_steps(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<Value>> {
        self.load_deployment(ctx, id, "operations/read").await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut steps = read.deployment_steps(id).await.map_err(db)?;
        // The newest first, as the service lists them.
        steps.reverse();
        Ok(steps)
    }

    /// Returns the template that a deployment was given.
    pub async fn deployment_template(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        let found = self
            .load_deployment(ctx, id, "exportTemplate/action")
            .await?;
        Ok(found.content.get("template").cloned().unwrap_or_default())
    }

    /// Stops a deployment: what was begun goes on, nothing more is begun.
    pub async fn cancel_deployment(&self, ctx: &Ctx, id: &ResourceId) -> Result<()> {
        self.load_deployment(ctx, id, "cancel/action").await?;
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx.load_deployment(id).await.map_err(db)?;
        let mut found = found.ok_or_else(|| not_found(id))?;
        if is_over(&found.state) {
            return Err(Error::conflict(
                "DeploymentCannotBeCancelled",
                format!(
                    "The deployment '{}' cannot be cancelled because it's in terminal state '{}'.",
                    id.name(),
                    found.state
                ),
            ));
        }
        let before = said(&found);
        "Canceled".clone_into(&mut found.state);
        found.secrets = None;
        found.changed_ms = now_ms;
        tx.cancel_operations_of(id, now_ms).await.map_err(db)?;
        let deed = Deed {
            action: &action(id, "cancel/action"),
            scope: &id.to_string(),
            before,
            after: said(&found),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.put_deployment(&found).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Forgets a deployment; its resources stay. False when there is none.
    pub async fn delete_deployment(&self, ctx: &Ctx, id: &ResourceId) -> Result<bool> {
        self.authorize(ctx, &action(id, "delete"), &id.to_string())
            .await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(found) = tx.load_deployment(id).await.map_err(db)? else {
            return Ok(false);
        };
        check_idle(&found, "delete")?;
        lock::check(&mut tx, domain::lock::Deed::Delete, &id.to_string()).await?;
        let deed = Deed {
            action: &action(id, "delete"),
            scope: &id.to_string(),
            before: said(&found),
            after: String::new(),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.delete_deployment(id).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    /// Forgets the deployments of a group that goes; those at work are overtaken.
    pub(crate) async fn delete_deployments_of(
        &self,
        group: &ResourceId,
        operation: Option<&Operation>,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, operation).await?;
        for found in tx.list_deployments(group, usize::MAX).await.map_err(db)? {
            tx.cancel_operations_of(&found.id, now_ms)
                .await
                .map_err(db)?;
            tx.delete_deployment(&found.id).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    async fn load_deployment(&self, ctx: &Ctx, id: &ResourceId, verb: &str) -> Result<Deployment> {
        self.authorize(ctx, &action(id, verb), &id.to_string())
            .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.load_deployment(id).await.map_err(db)?;
        if found.is_none() {
            check_there(&mut read, &id.group_id()).await?;
        }
        found.ok_or_else(|| not_found(id))
    }
}

/// 404 for a group that is not there; a subscription is, or its caller had no rights.
async fn check_there(read: &mut catalog::Read, group: &ResourceId) -> Result<()> {
    match group.is_at_subscription() || read.load(group).await.map_err(db)?.is_some() {
        true => Ok(()),
        false => Err(crate::resources::group_not_found(group.resource_group())),
    }
}

fn new_operation(id: &ResourceId, location: &str, now_ms: i64) -> Operation {
    Operation {
        id: Uuid::new_v4(),
        family: Family::Deployment,
        work: Work::Deploy,
        resource: id.clone(),
        location: location.to_owned(),
        state: OperationState::InProgress,
        step: Value::Null,
        error: None,
        output: None,
        attempts: 0,
        run_at_ms: now_ms,
        started_ms: now_ms,
        ended_ms: None,
        lease_generation: 0,
    }
}

fn check_name(name: &str) -> Result<()> {
    let is_right = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    if name.chars().count() <= NAME_CHARS_MAX && name.chars().all(is_right) {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    Err(Error::new(
        ErrorKind::Invalid,
        "InvalidDeploymentName",
        format!(
            "The provided deployment name '{shown}' is not valid: it can have letters, digits, '-', '_', '.', '(' and ')', at most \
             {NAME_CHARS_MAX} of them."
        ),
    ))
}

fn is_over(state: &str) -> bool {
    matches!(state, "Succeeded" | "Failed" | "Canceled")
}

fn check_idle(stored: &Deployment, verb: &str) -> Result<()> {
    if is_over(&stored.state) {
        return Ok(());
    }
    Err(Error::conflict(
        "DeploymentActive",
        format!(
            "Unable to {verb} deployment '{}': previous deployment from '{}' is still active. Wait until it is over, or cancel it. \
             Please see https://aka.ms/arm-deploy for usage details.",
            stored.id.name(),
            arm::time::format_zulu(stored.changed_ms)
        ),
    ))
}

/// Forgets the oldest deployments that are over, when a group has as many as it may.
async fn make_room(tx: &mut catalog::Tx, id: &ResourceId) -> Result<()> {
    let all = tx
        .list_deployments(&id.group_id(), usize::MAX)
        .await
        .map_err(db)?;
    let others = all.iter().filter(|d| d.id != *id);
    let room = others.clone().count().saturating_sub(DEPLOYMENTS_MAX - 1);
    if room == 0 {
        return Ok(());
    }
    let over: Vec<&Deployment> = others
        .rev()
        .filter(|d| is_over(&d.state))
        .take(room)
        .collect();
    if over.len() < room {
        return Err(Error::conflict(
            "DeploymentQuotaExceeded",
            format!(
                "Creating the deployment '{}' would exceed the quota of '{DEPLOYMENTS_MAX}'. Please delete some deployments before \
                 creating a new one, see https://aka.ms/arm-deploy for usage details.",
                id.name()
            ),
        ));
    }
    for old in over {
        tx.delete_deployment(&old.id).await.map_err(db)?;
    }
    Ok(())
}

/// Returns the digest of a deployment for the audit.
fn said(deployment: &Deployment) -> String {
    let shown = json!([
        deployment.state,
        deployment.shown,
        deployment.content.get("template")
    ]);
    audit::digest(&shown.to_string())
}

/// 404 for a deployment that is not there.
pub(crate) fn not_found(id: &ResourceId) -> Error {
    Error::not_found(
        "DeploymentNotFound",
        format!("Deployment '{}' could not be found.", id.name()),
    )
}
