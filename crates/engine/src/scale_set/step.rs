//! What the operation of a set remembers from one look to the next.

use domain::resource::Document;
use domain::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Ctx;

/// The step of a set's operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Step {
    /// Who asked.
    asked: Document,
    /// Operations of machines that are waited for.
    pub running: Vec<Uuid>,
    /// The first of them that failed.
    pub failed: Option<Uuid>,
    /// The machines that are meant, by key; none means all.
    pub chosen: Option<Vec<String>>,
    /// Machines that were changed for this operation, by key.
    pub done: Vec<String>,
    /// Whether the first look, which heals what failed before, is over.
    pub has_begun: bool,
    /// The action that was asked for, which lets one poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Step {
    /// Returns the step of work that was asked for just now.
    pub fn of(ctx: &Ctx) -> Self {
        Self {
            asked: ctx.record(),
            ..Self::default()
        }
    }

    /// Reads the step of an operation.
    pub fn read(value: &Value) -> Result<Self> {
        serde_json::from_value(value.clone()).map_err(|_| Error::internal())
    }

    /// Returns it as operations keep it.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Returns who asked.
    pub fn ctx(&self) -> Result<Ctx> {
        Ctx::recorded(&Value::Object(self.asked.clone()))
    }
}
