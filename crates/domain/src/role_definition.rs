//! Role definitions: the built-in ones, and those that a tenant makes for itself.

use serde_json::Value;

use crate::role::{self, Permission, Role};
use crate::role_assignment::guid;
use crate::{Error, ErrorKind, Result, scope};

/// Custom roles of a tenant.
pub const ROLES_MAX: usize = 5000;
const NAME_CHARS_MAX: usize = 512;
const DESCRIPTION_CHARS_MAX: usize = 1024;
const PERMISSIONS_MAX: usize = 16;
const ACTIONS_MAX: usize = 1000;
const ACTION_BYTES_MAX: usize = 512;
const SCOPES_MAX: usize = 100;

/// A role that a tenant made.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomRole {
    /// What it allows, its GUID and its name.
    pub role: Role,
    /// The tenant that it belongs to.
    pub tenant: String,
    /// Where it can be assigned, as written.
    pub assignable_scopes: Vec<String>,
    /// Object id of who made it.
    pub created_by: String,
    /// Object id of who changed it last.
    pub updated_by: String,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
    /// Milliseconds since the epoch, UTC.
    pub updated_ms: i64,
}

/// Who writes a role, and when.
pub struct Writer<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// Object id.
    pub object_id: &'a str,
    /// Milliseconds since the epoch, UTC.
    pub now_ms: i64,
}

impl CustomRole {
    /// Whether the role can be assigned at a scope, in lower case.
    pub fn is_assignable_at(&self, wanted: &str) -> bool {
        self.assignable_scopes
            .iter()
            .any(|own| scope::covers(&own.to_ascii_lowercase(), wanted))
    }
}

/// Reads the name of a definition, a GUID, in lower case.
pub fn read_name(name: &str) -> Result<String> {
    guid(name).ok_or_else(|| {
        let shown: String = name.chars().take(200).collect();
        Error::new(
            ErrorKind::Invalid,
            "InvalidRoleDefinitionId",
            format!("The role definition ID '{shown}' is not valid. The role definition ID must be a GUID."),
        )
    })
}

/// Decides what a PUT makes, given the tenant's other roles.
pub fn plan_put(
    name: &str,
    body: &Value,
    writer: &Writer<'_>,
    others: &[CustomRole],
) -> Result<CustomRole> {
    let id = read_name(name)?;
    if role::built_in().iter().any(|known| known.id == id) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "RoleDefinitionNotCustom",
            "Built-in roles cannot be changed. Make a custom role with another ID.",
        ));
    }
    let properties = body.get("properties").unwrap_or(&Value::Null);
    if let Some(kind) = optional(properties, "type", usize::MAX)?
        && !kind.eq_ignore_ascii_case("CustomRole")
    {
        return Err(invalid("The property 'type' must be 'CustomRole'."));
    }
    let shown = optional(properties, "roleName", NAME_CHARS_MAX)?
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("The property 'roleName' is missing."))?;
    let is_taken = others
        .iter()
        .any(|other| other.role.id != id && other.role.name.eq_ignore_ascii_case(shown))
        || role::built_in()
            .iter()
            .any(|known| known.name.eq_ignore_ascii_case(shown));
    if is_taken {
        return Err(Error::conflict(
            "RoleDefinitionWithSameNameExists",
            format!(
                "A role definition cannot be created or updated with the name '{shown}': another role has it. Use a different name."
            ),
        ));
    }
    let stored = others.iter().find(|other| other.role.id == id);
    if stored.is_none() && others.len() >= ROLES_MAX {
        return Err(Error::conflict(
            "RoleDefinitionLimitExceeded",
            format!(
                "Role definition limit exceeded. No more role definitions can be created: a tenant holds at most {ROLES_MAX}."
            ),
        ));
    }
    Ok(CustomRole {
        role: Role {
            id,
            name: shown.to_owned(),
            description: optional(properties, "description", DESCRIPTION_CHARS_MAX)?
                .unwrap_or_default()
                .to_owned(),
            permissions: permissions(properties)?,
        },
        tenant: writer.tenant.to_owned(),
        assignable_scopes: assignable_scopes(properties)?,
        created_by: stored
            .map_or(writer.object_id, |s| &s.created_by)
            .to_owned(),
        updated_by: writer.object_id.to_owned(),
        created_ms: stored.map_or(writer.now_ms, |s| s.created_ms),
        updated_ms: writer.now_ms,
    })
}

/// Refuses to delete, or to narrow, a role that assignments refer to.
pub fn has_assignments(id: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "RoleDefinitionHasAssignments",
        format!(
            "There are existing role assignments referencing role (ID: {id}). Delete them first."
        ),
    )
}

fn permissions(properties: &Value) -> Result<Vec<Permission>> {
    let sent = properties.get("permissions").and_then(Value::as_array);
    let sent = sent.filter(|all| !all.is_empty() && all.len() <= PERMISSIONS_MAX);
    let sent = sent.ok_or_else(|| {
        invalid(&format!(
            "The property 'permissions' must hold 1 to {PERMISSIONS_MAX} items."
        ))
    })?;
    let mut all = Vec::new();
    for one in sent {
        if one.get("condition").is_some_and(|c| !c.is_null()) {
            return Err(invalid(
                "Conditions in permissions are not supported by this service.",
            ));
        }
        all.push(Permission {
            actions: actions(one, "actions")?,
            not_actions: actions(one, "notActions")?,
            data_actions: actions(one, "dataActions")?,
            not_data_actions: actions(one, "notDataActions")?,
        });
    }
    let count: usize = all
        .iter()
        .map(|p| {
            p.actions.len() + p.not_actions.len() + p.data_actions.len() + p.not_data_actions.len()
        })
        .sum();
    if count > ACTIONS_MAX {
        return Err(invalid(&format!(
            "A role may name at most {ACTIONS_MAX} actions."
        )));
    }
    Ok(all)
}

fn actions(permission: &Value, list: &str) -> Result<Vec<String>> {
    texts(permission, list)?
        .into_iter()
        .map(|action| {
            if is_action(action) {
                return Ok(action.to_owned());
            }
            let shown: String = action.chars().take(200).collect();
            Err(Error::new(
                ErrorKind::Invalid,
                "InvalidActionOrNotAction",
                format!("'{shown}' in '{list}' does not match any of the actions supported by the providers. Use '*', or 'Namespace/type/verb' with '*' for any part."),
            ))
        })
        .collect()
}

fn is_action(action: &str) -> bool {
    action == "*"
        || (action.contains('/')
            && action.len() <= ACTION_BYTES_MAX
            && action.split('/').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"._-*".contains(&b))
            }))
}

fn assignable_scopes(properties: &Value) -> Result<Vec<String>> {
    let mut scopes = Vec::new();
    for sent in texts(properties, "assignableScopes")? {
        let clean = scope::clean(sent).map_err(|e| invalid(&e.message))?;
        if clean == "/" {
            return Err(invalid(
                "The assignable scope '/' is for built-in roles. Name the subscriptions or groups.",
            ));
        }
        if !scopes
            .iter()
            .any(|own: &String| own.eq_ignore_ascii_case(&clean))
        {
            scopes.push(clean);
        }
    }
    if scopes.is_empty() || scopes.len() > SCOPES_MAX {
        return Err(invalid(&format!(
            "The property 'assignableScopes' must hold 1 to {SCOPES_MAX} scopes."
        )));
    }
    Ok(scopes)
}

fn texts<'a>(value: &'a Value, name: &str) -> Result<Vec<&'a str>> {
    let list = match value.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(list) => list.as_array(),
    };
    let list = list.and_then(|all| all.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    list.ok_or_else(|| invalid(&format!("The property '{name}' must be a list of texts.")))
}

fn optional<'a>(value: &'a Value, name: &str, chars_max: usize) -> Result<Option<&'a str>> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text))
            if text.chars().count() <= chars_max && !text.chars().any(char::is_control) =>
        {
            Ok(Some(text))
        }
        Some(_) => Err(invalid(&format!(
            "The property '{name}' must be a text of at most {chars_max} characters."
        ))),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, "InvalidRoleDefinition", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "11111111-1111-1111-1111-111111111111";

    fn plan(name: &str, properties: &Value, others: &[CustomRole]) -> Result<CustomRole> {
        let writer = Writer {
            tenant: "t",
            object_id: "o",
            now_ms: 7,
        };
        plan_put(name, &json!({ "properties": properties }), &writer, others)
    }

    fn sound() -> Value {
        json!({
            "roleName": "Publisher",
            "permissions": [{ "actions": ["Microsoft.Compute/galleries/*", "*/read"], "notActions": ["Microsoft.Compute/galleries/share/action"] }],
            "assignableScopes": ["/SUBSCRIPTIONS/s/"],
        })
    }

    #[test]
    fn a_custom_role_allows_what_it_says_where_it_says() {
        let made = plan(ID, &sound(), &[]).unwrap();
        assert!(made.role.allows("microsoft.compute/galleries/write"));
        assert!(!made.role.allows("Microsoft.Compute/galleries/share/action"));
        assert!(made.is_assignable_at("/subscriptions/s/resourcegroups/g"));
        assert!(!made.is_assignable_at("/subscriptions/s2"));
        assert!(!made.is_assignable_at("/"));
        let again = plan(ID, &sound(), std::slice::from_ref(&made)).unwrap();
        assert_eq!(again, made);
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_code() {
        let other = plan("22222222-2222-2222-2222-222222222222", &sound(), &[]).unwrap();
        let mut elsewhere = other;
        elsewhere.role.name = "Elsewhere".to_owned();
        let with = |name: &str, value: Value| {
            let mut body = sound();
            body[name] = value;
            body
        };
        let actions = |list: Value| with("permissions", json!([{ "actions": list }]));
        for (name, body, code) in [
            ("x", sound(), "InvalidRoleDefinitionId"),
            (
                "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
                sound(),
                "RoleDefinitionNotCustom",
            ),
            (
                ID,
                with("roleName", json!("ELSEWHERE")),
                "RoleDefinitionWithSameNameExists",
            ),
            (
                ID,
                with("roleName", json!("owner")),
                "RoleDefinitionWithSameNameExists",
            ),
            (ID, with("roleName", json!(" ")), "InvalidRoleDefinition"),
            (
                ID,
                with("type", json!("BuiltInRole")),
                "InvalidRoleDefinition",
            ),
            (ID, with("permissions", json!([])), "InvalidRoleDefinition"),
            (
                ID,
                with("assignableScopes", json!([])),
                "InvalidRoleDefinition",
            ),
            (
                ID,
                with("assignableScopes", json!(["/"])),
                "InvalidRoleDefinition",
            ),
            (
                ID,
                with("assignableScopes", json!(["s"])),
                "InvalidRoleDefinition",
            ),
        ] {
            let refused = plan(name, &body, std::slice::from_ref(&elsewhere)).unwrap_err();
            assert_eq!(refused.code, code, "{name} {body}");
        }
        for (list, is_sound) in [
            (json!(["*"]), true),
            (json!(["Microsoft.Compute/*/read"]), true),
            (json!([]), true),
            (json!(["read"]), false),
            (json!(["Microsoft.Compute//read"]), false),
            (json!(["Microsoft.Compute/galleries/re ad"]), false),
            (json!("*"), false),
            (json!([1]), false),
        ] {
            assert_eq!(
                plan(ID, &actions(list.clone()), &[]).is_ok(),
                is_sound,
                "{list}"
            );
        }
    }
}
