//! Data disks of a machine that come and go by their ids.

use domain::virtual_machine::{attach_detach, attached};
use domain::{Resource, ResourceId, Result};
use serde_json::{Value, json};

use crate::resources::{Accepted, Body, Verb, Write, action};
use crate::{Ctx, Engine};

impl Engine {
    /// Accepts a change of a machine's data disks; the operation's result is its storage profile.
    pub async fn attach_detach(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        request: &Value,
    ) -> Result<Accepted> {
        let action = action(id, "attachDetachDataDisks/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        self.authorize_links(ctx, id, &attached(request)).await?;
        let make = |row: &Resource| attach_detach(row, request);
        let write = Write {
            body: Body::Made(&make),
            verb: Verb::Patch,
            step: json!({ "action": action, "shows": "storageProfile" }),
            action,
        };
        self.write(ctx, id, write).await
    }
}
