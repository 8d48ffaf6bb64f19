//! Moves between groups and subscriptions: asked for, checked, and refused. Source: `API.md` 12.
//!
//! Nothing moves here. An id is where roles, locks, the audit and every reference hang on; galleries and
//! what is in them do not move in the original either. The answers are the original's.

use domain::{Error, ErrorKind, Kind, ResourceId, Result};
use serde_json::Value;

use crate::error::catalog as db;
use crate::resources::{action, group_not_found, not_found};
use crate::{Ctx, Engine};

/// The most resources of one move. Source: the original's limit.
const RESOURCES_MAX: usize = 800;

impl Engine {
    /// Answers a move of resources, or only the question whether it could be; never makes one.
    pub async fn move_resources(
        &self,
        ctx: &Ctx,
        group: &ResourceId,
        verb: &'static str,
        body: &Value,
    ) -> Result<()> {
        let action_of_move =
            format!("Microsoft.Resources/subscriptions/resourceGroups/{verb}/action");
        self.authorize(ctx, &action_of_move, &group.to_string())
            .await?;
        let target = target_of(body)?;
        let resources = resources_of(body)?;
        self.authorize(ctx, &action(&target, "write"), &target.to_string())
            .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        for group in [group, &target] {
            if read.load(group).await.map_err(db)?.is_none() {
                return Err(group_not_found(group.resource_group()));
            }
        }
        if target == *group {
            return Err(invalid(format!(
                "The source and the target resource group are the same: '{}'.",
                group.resource_group()
            )));
        }
        let mut types: Vec<String> = Vec::new();
        for id in &resources {
            if id.group_id() != *group {
                return Err(invalid(format!(
                    "The resource '{id}' is not in the source resource group '{}'.",
                    group.resource_group()
                )));
            }
            if read.load(id).await.map_err(db)?.is_none() {
                return Err(not_found(id));
            }
            let type_name = format!("'{}'", id.type_name());
            if !types.contains(&type_name) {
                types.push(type_name);
            }
        }
        Err(not_supported(&types))
    }
}

fn target_of(body: &Value) -> Result<ResourceId> {
    let text = body.get("targetResourceGroup").and_then(Value::as_str);
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("The property 'targetResourceGroup' is missing."))?;
    let is_group = |id: &ResourceId| id.kind() == Some(Kind::ResourceGroup);
    ResourceId::parse(text).ok().filter(is_group).ok_or_else(|| {
        let shown: String = text.chars().take(200).collect();
        invalid(format!(
            "The property 'targetResourceGroup' is '{shown}'; it must be the id of a resource group."
        ))
    })
}

fn resources_of(body: &Value) -> Result<Vec<ResourceId>> {
    let sent = body.get("resources").and_then(Value::as_array);
    let sent = sent.filter(|sent| !sent.is_empty() && sent.len() <= RESOURCES_MAX);
    let sent = sent.ok_or_else(|| {
        invalid(format!(
            "The property 'resources' must hold 1 to {RESOURCES_MAX} ids of resources."
        ))
    })?;
    sent.iter()
        .map(|id| ResourceId::parse(id.as_str().unwrap_or_default()))
        .collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "InvalidRequestContent", message)
}

/// 409 `ResourceMoveNotSupported`, with the types joined as the original joins them.
fn not_supported(types: &[String]) -> Error {
    let shown = match types {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => types.concat(),
    };
    Error::conflict(
        "ResourceMoveNotSupported",
        format!(
            "Resource move is not supported for resource types {shown}. Make the resource anew where it is needed: a version \
             can be made from a version of another gallery."
        ),
    )
}
