//! `POST …/share`: changes who a gallery is shared with.

use domain::operation::Work;
use domain::{Kind, ProvisioningState, ResourceId, Result};
use serde_json::Value;

use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::resources::{Accepted, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine};

impl Engine {
    /// Accepts a change of a gallery's sharing profile.
    pub async fn share_gallery(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &Value,
    ) -> Result<Accepted> {
        let action = "Microsoft.Compute/galleries/share/action";
        self.authorize(ctx, action, &id.to_string()).await?;
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let mut row = tx
            .load(id)
            .await
            .map_err(db)?
            .ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(Kind::Gallery, id.name(), "Share"));
        }
        let before = audit::of_row(&row);
        domain::sharing::plan_share(&mut row, body)?;
        crate::invite::forget_uninvited(&mut tx, &row).await?;
        let deed = Deed {
            action,
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        row.state = ProvisioningState::Updating;
        row.changed_ms = now_ms;
        tx.update(&mut row).await.map_err(db)?;
        let operation = new_operation(Kind::Gallery, Work::Share, &row, now_ms, body.clone());
        self.accept(tx, row, operation).await
    }
}
