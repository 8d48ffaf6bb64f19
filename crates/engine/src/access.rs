//! Who may do what: role assignments, asked by every use case.

use domain::{Error, ResourceId, Result};
use serde_json::Value;

use crate::{Ctx, Engine};

impl Engine {
    /// Refuses unless a role of the caller allows `action` at `scope` or above it.
    pub(crate) async fn authorize(&self, _ctx: &Ctx, _action: &str, _scope: &str) -> Result<()> {
        Err(Error::internal())
    }

    /// Refuses a body that refers to resources that the caller may not read.
    pub(crate) async fn authorize_links(
        &self,
        _ctx: &Ctx,
        _id: &ResourceId,
        _body: &Value,
    ) -> Result<()> {
        Err(Error::internal())
    }
}
