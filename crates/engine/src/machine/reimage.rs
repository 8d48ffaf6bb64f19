//! A machine gets a new system disk from its image.

use domain::operation::{Operation, Work};
use domain::virtual_machine::{Power, reimage, show_disk, take_boot};
use domain::{ProvisioningState, ResourceId, Result, lock::Deed};
use serde_json::{Value, json};
use uuid::Uuid;

use super::boot::facts_of_image;
use super::driver::Stop;
use crate::error::catalog as db;
use crate::operations::Outcome;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

const DISK_WRITE: &str = "Microsoft.Compute/disks/write";

/// Whether a reimage was asked of the machine itself, not of its scale set.
pub(crate) fn is_own_reimage(operation: &Operation) -> bool {
    operation.step.get("oldDisk").is_some()
}

impl Engine {
    /// Accepts a reimage: the new disk is made and the old one given up by the worker.
    pub async fn reimage(&self, ctx: &Ctx, id: &ResourceId, request: &Value) -> Result<Accepted> {
        let action = action(id, "reimage/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let group = id.group_id().to_string();
        self.authorize(ctx, DISK_WRITE, &group).await?;
        self.driver()?;
        let now_ms = self.now_ms();
        let named = self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        let image = reimage(&mut named.clone(), request, Uuid::new_v4());
        if let Ok(image) = image {
            let body = json!({ "properties": { "storageProfile": { "imageReference": image.reference } } });
            self.authorize_links(ctx, id, &body).await?;
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, Deed::Write, &id.to_string()).await?;
        let row = tx.load(id).await.map_err(db)?;
        let stored = row.ok_or_else(|| not_found(id))?;
        if stored.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(stored.kind, id.name(), "Update"));
        }
        let mut row = stored.clone();
        self.unseal_secrets(&mut row)?;
        let planned = reimage(&mut row, request, Uuid::new_v4())?;
        let facts = facts_of_image(self, &mut tx, ctx, &mut row, &planned.reference).await?;
        take_boot(&mut row, &facts)?;
        row.state = ProvisioningState::Updating;
        row.changed_ms = now_ms;
        self.hold(&mut tx, ctx, &mut row, Some(&stored)).await?;
        self.audit_row(&mut tx, ctx, &action, Some(&stored), &row)
            .await?;
        tx.update(&mut row).await.map_err(db)?;
        let step =
            json!({ "oldDisk": planned.old_disk.to_string(), "isDeleted": planned.is_deleted });
        let operation = new_operation(row.kind, Work::Reimage, &row, now_ms, step);
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource: row,
            operation: Some(operation),
            is_created: false,
        })
    }

    /// Puts a machine's new system disk in the place of its old one, and starts it.
    pub(crate) async fn reimage_machine(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let driver = self.driver()?;
        let id = super::machine_id(&row)?;
        // What the old system would write now is of no use to anybody.
        driver.stop(id, Stop::PowerOff).await?;
        let old = operation.step.get("oldDisk").and_then(Value::as_str);
        let old = old.and_then(|old| ResourceId::parse(old).ok());
        let is_deleted = operation.step.get("isDeleted") == Some(&Value::Bool(true));
        for gone in self.unnamed_disks(&row).await? {
            let is_old = old.as_ref().is_some_and(|old| old.key() == gone.id.key());
            if is_old && is_deleted {
                Box::pin(self.remove(&gone, Some(operation))).await?;
            } else {
                self.let_go(operation, &gone).await?;
            }
        }
        self.fill_disks(operation, &row).await?;
        let held = self.reserve_disks(operation, &row, true).await?;
        let spec = self.machine_spec(&row, &held).await?;
        driver.start(&spec).await?;
        self.succeed(operation, None, |row| {
            for disk in &held {
                show_disk(row, disk);
            }
            Power::Running.set(row);
            super::work::note_start(row);
        })
        .await
    }
}
