//! Resource groups. Source: `WIRE.md` 4.1.

use serde_json::Value;

use crate::plan::{PutContext, start};
use crate::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};

/// Decides a PUT; a group is ready at once.
pub fn plan_put(
    ctx: &PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let name = id.resource_group();
    let fits = |c: char| c.is_alphanumeric() || "._-()".contains(c);
    if !(1..=90).contains(&name.chars().count()) || !name.chars().all(fits) || name.ends_with('.') {
        return Err(Error::new(
            ErrorKind::Invalid,
            "InvalidResourceGroup",
            format!(
                "The provided resource group name '{name}' is not valid. It must have at most 90 characters: letters, \
                 digits, periods, underscores, hyphens and parentheses, and it must not end with a period."
            ),
        ));
    }
    let mut row = start(ctx, Kind::ResourceGroup, id, body, stored)?;
    if let Some(manager) = body.get("managedBy") {
        row.top.insert("managedBy".to_owned(), manager.clone());
    }
    row.state = ProvisioningState::Succeeded;
    Ok(row)
}
