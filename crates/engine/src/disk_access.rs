//! Disks and snapshots opened for download and upload: `beginGetAccess` and `endGetAccess`.

use domain::disk::{AccessLevel, AccessRequest};
use domain::operation::{Operation, Work};
use domain::{Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};

use crate::audit::{self, Deed};
use crate::deletion::check_lease;
use crate::error::catalog as db;
use crate::operations::Outcome;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

/// Stands in the catalog for a result that is a secret.
const SEALED: &str = "sealed";

impl Engine {
    /// Puts the URL into the result of an operation that opened a disk.
    pub(crate) fn show_access_url(&self, operation: &mut Operation) {
        let is_sealed = |output: &Value| output.get(SEALED).is_some();
        if operation.work == Work::BeginAccess && operation.output.as_ref().is_some_and(is_sealed) {
            let url = self.disk_access_url(operation).0;
            operation.output = Some(json!({ "accessSAS": url }));
        }
    }

    /// Accepts `beginGetAccess`: a URL that reads or writes a disk or snapshot for a time.
    pub async fn begin_access(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        let action = action(id, "beginGetAccess/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let request = AccessRequest::parse(body)?;
        self.access_operation(
            ctx,
            id,
            Work::BeginAccess,
            json!({
                "write": request.access == AccessLevel::Write,
                "seconds": request.duration_seconds,
                "baseUrl": ctx.base_url,
            }),
            |row| domain::disk::begin_access(row, &request),
        )
        .await
    }

    /// Accepts `endGetAccess`: every URL of the disk or snapshot stops working.
    pub async fn end_access(&self, ctx: &Ctx, id: &ResourceId) -> Result<Accepted> {
        let action = action(id, "endGetAccess/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        self.access_operation(ctx, id, Work::EndAccess, Value::Null, |_| Ok(()))
            .await
    }

    async fn access_operation(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        work: Work,
        step: Value,
        decide: impl FnOnce(&mut Resource) -> Result<()> + Send,
    ) -> Result<Accepted> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let mut row = tx
            .load(id)
            .await
            .map_err(db)?
            .ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(row.kind, id.name(), "Access"));
        }
        let before = audit::of_row(&row);
        decide(&mut row)?;
        let verb = match work {
            Work::BeginAccess => "beginGetAccess/action",
            _ => "endGetAccess/action",
        };
        let deed = Deed {
            action: &action(id, verb),
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut row).await.map_err(db)?;
        let operation = new_operation(row.kind, work, &row, now_ms, step);
        self.accept(tx, row, operation).await
    }

    /// Grants the URL that was asked for.
    pub(crate) async fn begin_access_work(&self, operation: &Operation) -> Result<Outcome> {
        self.grant_disk_access(operation).await?;
        // The URL is a secret: it is made again for who polls, and never kept.
        self.succeed(operation, Some(json!({ SEALED: true })), |_| {})
            .await
    }

    /// Closes every URL; what was uploaded to a snapshot does not change any more.
    pub(crate) async fn end_access_work(&self, operation: &Operation) -> Result<Outcome> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        tx.delete_grants_of(&operation.resource).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        let row = self.load_row(&operation.resource).await?;
        if let Some(row) = row.filter(|row| row.kind == Kind::Snapshot)
            && !self.seal_upload(operation, &row).await?
        {
            return Ok(Outcome::Lost);
        }
        self.succeed(operation, None, |row| {
            let state = domain::disk::closed_state(row);
            domain::disk::set_state(row, state);
        })
        .await
    }
}
