//! A machine gets a new system disk from its image.

use domain::operation::Work;
use domain::virtual_machine::{reimage, take_boot};
use domain::{ProvisioningState, ResourceId, Result, lock::Deed};
use serde_json::{Value, json};
use uuid::Uuid;

use super::boot::facts_of_image;
use crate::error::catalog as db;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

const DISK_WRITE: &str = "Microsoft.Compute/disks/write";

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
        if let Ok(reference) = image {
            let body =
                json!({ "properties": { "storageProfile": { "imageReference": reference } } });
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
        let reference = reimage(&mut row, request, Uuid::new_v4())?;
        let facts = facts_of_image(self, &mut tx, ctx, &mut row, &reference).await?;
        take_boot(&mut row, &facts)?;
        row.state = ProvisioningState::Updating;
        row.changed_ms = now_ms;
        self.hold(&mut tx, ctx, &mut row, Some(&stored)).await?;
        self.audit_row(&mut tx, ctx, &action, Some(&stored), &row)
            .await?;
        tx.update(&mut row).await.map_err(db)?;
        let operation = new_operation(row.kind, Work::Reimage, &row, now_ms, Value::Null);
        self.accept(tx, row, operation).await
    }
}
