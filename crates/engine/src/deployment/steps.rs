//! The steps of a deployment: what `deployments/{name}/operations` lists.
//!
//! Every write here holds the lease of the deployment's operation, so a crew that was overtaken
//! writes nothing.

use domain::{Error, ResourceId, Result};
use serde_json::{Map, Value, json};
use template::Planned;
use template::date::span;
use uuid::Uuid;

use super::crew::{Crew, Level};
use super::view::status_word;
use crate::deletion::check_lease;
use crate::error::catalog as db;

/// What a step works on.
struct Target<'a> {
    deployment: &'a ResourceId,
    id: &'a str,
    type_name: &'a str,
    name: &'a str,
    verb: &'static str,
}

impl Crew<'_> {
    /// Returns the ids of the steps that are done, of a run before this one.
    pub(super) async fn done_steps(&self, level: &Level) -> Result<Vec<String>> {
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        let steps = read.deployment_steps(&level.id).await.map_err(db)?;
        let is_done = |step: &&Value| {
            step.pointer("/properties/provisioningState") == Some(&json!("Succeeded"))
        };
        let named = steps
            .iter()
            .filter(is_done)
            .filter_map(|step| step.get("operationId")?.as_str());
        Ok(named.map(str::to_owned).collect())
    }

    pub(super) async fn begin_step(&self, level: &Level, planned: &Planned) -> Result<()> {
        self.write_step(&target(level, planned), "Running", 0, None)
            .await
    }

    pub(super) async fn end_step(
        &self,
        level: &Level,
        planned: &Planned,
        took_ms: i64,
        error: Option<&Error>,
    ) -> Result<()> {
        let state = if error.is_some() {
            "Failed"
        } else {
            "Succeeded"
        };
        self.write_step(&target(level, planned), state, took_ms, error)
            .await
    }

    pub(super) async fn begin_deletion(
        &self,
        deployment: &ResourceId,
        id: &ResourceId,
    ) -> Result<()> {
        self.write_deletion(deployment, id, "Running", None).await
    }

    pub(super) async fn end_deletion(
        &self,
        deployment: &ResourceId,
        id: &ResourceId,
        error: Option<&Error>,
    ) -> Result<()> {
        let state = if error.is_some() {
            "Failed"
        } else {
            "Succeeded"
        };
        self.write_deletion(deployment, id, state, error).await
    }

    async fn write_deletion(
        &self,
        deployment: &ResourceId,
        id: &ResourceId,
        state: &str,
        error: Option<&Error>,
    ) -> Result<()> {
        let (text, type_name) = (id.to_string(), id.type_name());
        let name = id.names().collect::<Vec<_>>().join("/");
        let target = Target {
            deployment,
            id: &text,
            type_name: &type_name,
            name: &name,
            verb: "Delete",
        };
        self.write_step(&target, state, 0, error).await
    }

    async fn write_step(
        &self,
        target: &Target<'_>,
        state: &str,
        took_ms: i64,
        error: Option<&Error>,
    ) -> Result<()> {
        let step = step_id(target.verb, target.id);
        let mut properties = Map::new();
        let mut put = |name: &str, value: Value| {
            properties.insert(name.to_owned(), value);
        };
        put("provisioningOperation", target.verb.into());
        put("provisioningState", state.into());
        put(
            "timestamp",
            arm::time::format_zulu(self.engine.now_ms()).into(),
        );
        put("duration", span(took_ms).into());
        put("trackingId", self.operation.id.to_string().into());
        if state != "Running" {
            let word = error.map_or("OK", |error| status_word(error.kind));
            put("statusCode", word.into());
        }
        if let Some(error) = error {
            put(
                "statusMessage",
                json!({ "status": "Failed", "error": arm::error::detail(error) }),
            );
        }
        put(
            "targetResource",
            json!({ "id": target.id, "resourceType": target.type_name, "resourceName": target.name }),
        );
        let shown = json!({
            "id": format!("{}/operations/{step}", target.deployment),
            "operationId": step,
            "properties": properties,
        });
        let mut tx = self.engine.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(self.operation)).await?;
        tx.put_deployment_step(target.deployment, &step, &shown)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }
}

fn target<'a>(level: &'a Level, planned: &'a Planned) -> Target<'a> {
    Target {
        deployment: &level.id,
        id: &planned.id,
        type_name: &planned.type_name,
        name: &planned.name,
        verb: "Create",
    }
}

/// Returns the id of a step: the same in every run.
pub(super) fn step_id(verb: &str, id: &str) -> String {
    let name = format!("{verb} {}", id.to_ascii_lowercase());
    let whole = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
        .simple()
        .to_string();
    whole.get(..16).unwrap_or(&whole).to_ascii_uppercase()
}
