//! Role assignments: which principal has which role at which scope. Source: `WIRE.md` 4.7.

use serde_json::Value;
use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 1024;
const TYPES: [&str; 3] = ["User", "Group", "ServicePrincipal"];

/// A role of a principal at a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleAssignment {
    /// GUID.
    pub id: String,
    /// Lower-case id of the scope; `/` for everything.
    pub scope: String,
    /// The scope as it was written.
    pub shown_scope: String,
    /// GUID of the role definition.
    pub role_definition: String,
    /// Object id of the principal.
    pub principal: String,
    /// `User`, `ServicePrincipal`, `Group`.
    pub principal_type: String,
    /// What it is for.
    pub description: Option<String>,
    /// Object id of who made it; empty for the operator.
    pub created_by: String,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
}

/// What the body of a PUT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// GUID of the role definition.
    pub role_definition: String,
    /// Object id of the principal.
    pub principal: String,
    /// The type of the principal, when the client knows it.
    pub principal_type: Option<&'static str>,
    /// What it is for.
    pub description: Option<String>,
}

/// Reads the name of an assignment, a GUID, in lower case.
pub fn read_name(name: &str) -> Result<String> {
    guid(name).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "InvalidRoleAssignmentId",
            format!(
                "The role assignment ID '{}' is not valid. The role assignment ID must be a GUID.",
                shown(name)
            ),
        )
    })
}

/// Reads the body of a PUT.
pub fn read(body: &Value) -> Result<Wanted> {
    let properties = body.get("properties").unwrap_or(&Value::Null);
    let text = |name: &str| match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(invalid(&format!("The property '{name}' must be a text."))),
    };
    for name in ["condition", "delegatedManagedIdentityResourceId"] {
        if text(name)?.is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "RoleAssignmentConditionNotSupported",
                format!(
                    "The property '{name}' is not supported by this service: nothing was changed. Assign the role without it, \
                     at a narrower scope."
                ),
            ));
        }
    }
    let role = text("roleDefinitionId")?
        .ok_or_else(|| invalid("The property 'roleDefinitionId' is missing."))?;
    let role_definition = role_guid(role).ok_or_else(|| {
        invalid(&format!(
            "The role definition id '{}' must end in 'roleDefinitions/' and a GUID.",
            shown(role)
        ))
    })?;
    let principal =
        text("principalId")?.ok_or_else(|| invalid("The property 'principalId' is missing."))?;
    let principal = guid(principal).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "InvalidPrincipalId",
            format!(
                "A valid principal ID must be provided for role assignment; '{}' is not a GUID.",
                shown(principal)
            ),
        )
    })?;
    let principal_type = match text("principalType")? {
        None => None,
        Some(sent) => Some(principal_type(sent)?),
    };
    let description = text("description")?.map(str::to_owned);
    if description
        .as_ref()
        .is_some_and(|d| d.len() > DESCRIPTION_BYTES_MAX)
    {
        return Err(invalid(&format!(
            "The description is longer than {DESCRIPTION_BYTES_MAX} bytes."
        )));
    }
    Ok(Wanted {
        role_definition,
        principal,
        principal_type,
        description,
    })
}

fn principal_type(sent: &str) -> Result<&'static str> {
    TYPES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(sent))
        .ok_or_else(|| {
            invalid(&format!(
                "The principal type '{}' is not one of {}.",
                shown(sent),
                TYPES.join(", ")
            ))
        })
}

/// Decides what a PUT makes, given what stands at its name and at its scope.
pub fn plan_put(
    wanted: RoleAssignment,
    stored: Option<&RoleAssignment>,
    at_scope: &[RoleAssignment],
) -> Result<RoleAssignment> {
    let is_same = |a: &&RoleAssignment| {
        a.role_definition == wanted.role_definition && a.principal == wanted.principal
    };
    if let Some(stored) = stored {
        if stored.scope != wanted.scope || !is_same(&stored) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            ));
        }
        if stored.description == wanted.description || wanted.description.is_none() {
            return Err(exists(&stored.id));
        }
        return Ok(RoleAssignment {
            description: wanted.description,
            ..stored.clone()
        });
    }
    match at_scope.iter().find(is_same) {
        Some(other) => Err(exists(&other.id)),
        None => Ok(wanted),
    }
}

/// 409 for the same role of the same principal at the same scope.
fn exists(id: &str) -> Error {
    Error::conflict(
        "RoleAssignmentExists",
        format!(
            "The role assignment already exists. The ID of the existing role assignment is {}.",
            id.replace('-', "")
        ),
    )
}

/// Returns the GUID that a role definition's id ends in, in lower case.
pub fn role_guid(id: &str) -> Option<String> {
    let (head, last) = id.rsplit_once('/').unwrap_or(("", id));
    let is_definition = head.is_empty()
        || head
            .to_ascii_lowercase()
            .ends_with("/providers/microsoft.authorization/roledefinitions");
    guid(last).filter(|_| is_definition)
}

/// Returns a GUID in lower case with dashes.
pub fn guid(text: &str) -> Option<String> {
    Uuid::try_parse(text).ok().map(|id| id.to_string())
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, "BadRequestFormat", message)
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROLE: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
    const WHO: &str = "11111111-1111-1111-1111-111111111111";

    #[test]
    fn bodies_are_read_or_refused_with_the_code() {
        let full =
            format!("/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/{ROLE}");
        for (properties, code) in [
            (json!({ "roleDefinitionId": full, "principalId": WHO }), ""),
            (
                json!({ "roleDefinitionId": ROLE, "principalId": WHO.to_uppercase(), "principalType": "user" }),
                "",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": WHO, "condition": null, "conditionVersion": null }),
                "",
            ),
            (json!({ "principalId": WHO }), "BadRequestFormat"),
            (
                json!({ "roleDefinitionId": "Reader", "principalId": WHO }),
                "BadRequestFormat",
            ),
            (
                json!({ "roleDefinitionId": format!("/x/{ROLE}"), "principalId": WHO }),
                "BadRequestFormat",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": "ada" }),
                "InvalidPrincipalId",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": 1 }),
                "BadRequestFormat",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": WHO, "principalType": "Robot" }),
                "BadRequestFormat",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": WHO, "condition": "@Resource[x] StringEquals 'y'" }),
                "RoleAssignmentConditionNotSupported",
            ),
            (
                json!({ "roleDefinitionId": full, "principalId": WHO, "description": "x".repeat(1025) }),
                "BadRequestFormat",
            ),
        ] {
            let read = read(&json!({ "properties": properties }));
            let found = read.as_ref().err().map_or("", |e| e.code.as_ref());
            assert_eq!(found, code, "{properties}");
            if let Ok(read) = read {
                assert_eq!(
                    (read.role_definition.as_str(), read.principal.as_str()),
                    (ROLE, WHO)
                );
            }
        }
    }

    #[test]
    fn the_same_role_is_given_once_and_never_moved() {
        let make = |id: &str, scope: &str, who: &str, description: Option<&str>| RoleAssignment {
            id: id.to_owned(),
            scope: scope.to_owned(),
            shown_scope: scope.to_owned(),
            role_definition: ROLE.to_owned(),
            principal: who.to_owned(),
            principal_type: "User".to_owned(),
            description: description.map(str::to_owned),
            created_by: String::new(),
            created_ms: 1,
        };
        let stored = make("a", "/x", WHO, None);
        for (wanted, at_name, at_scope, code) in [
            (make("a", "/x", WHO, None), None, vec![], ""),
            (
                make("b", "/x", WHO, None),
                None,
                vec![stored.clone()],
                "RoleAssignmentExists",
            ),
            (
                make("b", "/x", "other", None),
                None,
                vec![stored.clone()],
                "",
            ),
            (
                make("a", "/x", WHO, None),
                Some(&stored),
                vec![stored.clone()],
                "RoleAssignmentExists",
            ),
            (
                make("a", "/x", WHO, Some("why")),
                Some(&stored),
                vec![stored.clone()],
                "",
            ),
            (
                make("a", "/y", WHO, None),
                Some(&stored),
                vec![],
                "RoleAssignmentUpdateNotPermitted",
            ),
            (
                make("a", "/x", "other", None),
                Some(&stored),
                vec![],
                "RoleAssignmentUpdateNotPermitted",
            ),
        ] {
            let planned = plan_put(wanted.clone(), at_name, &at_scope);
            assert_eq!(
                planned.as_ref().err().map_or("", |e| e.code.as_ref()),
                code,
                "{wanted:?}"
            );
            if let Ok(planned) = planned {
                assert_eq!(planned, wanted);
            }
        }
    }
}
