//! Role definitions, role assignments and locks as clients read them. Source: `WIRE.md` 4.7, 4.1.

use domain::lock::Lock;
use domain::role::Role;
use domain::role_assignment::RoleAssignment;
use domain::role_definition::CustomRole;
use domain::scope::subscription_in;
use domain::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::filter::FILTER_BYTES_MAX;
use crate::time::format_zulu;

const PROVIDER: &str = "providers/Microsoft.Authorization";
/// When the built-in roles came into the world, as the service says.
const BUILT_IN_SINCE: &str = "2015-02-02T21:55:09.8806423Z";

/// One term of a `$filter`: a name and its text, empty for a flag such as `atScope()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The name, in lower case.
    pub name: String,
    /// The text compared with.
    pub text: String,
}

/// Parses `name eq 'text'`, `name('text')` and `name()`, joined by `and`; only names in `known` count.
pub fn filter(text: &str, known: &[&str]) -> Result<Vec<Term>> {
    let invalid = || {
        let shown: String = text.chars().take(200).collect();
        Error::new(
            ErrorKind::Invalid,
            "InvalidFilterInQueryString",
            format!("Invalid $filter '{shown}' specified in the query string."),
        )
    };
    if text.len() > FILTER_BYTES_MAX {
        return Err(invalid());
    }
    let mut terms = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (term, after) = term(rest).ok_or_else(invalid)?;
        if !known
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&term.name))
        {
            return Err(invalid());
        }
        terms.push(term);
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        let (word, after) = rest.split_at_checked(4).ok_or_else(invalid)?;
        if !word.eq_ignore_ascii_case("and ") {
            return Err(invalid());
        }
        rest = after.trim_start();
        if rest.is_empty() {
            return Err(invalid());
        }
    }
    Ok(terms)
}

/// Reads one term; returns what follows it.
fn term(text: &str) -> Option<(Term, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, rest) = text.split_at(end);
    let name = name.to_ascii_lowercase();
    if let Some(inside) = rest.strip_prefix('(') {
        let inside = inside.trim_start();
        if let Some(after) = inside.strip_prefix(')') {
            return Some((
                Term {
                    name,
                    text: String::new(),
                },
                after,
            ));
        }
        let (text, after) = quoted(inside)?;
        return Some((Term { name, text }, after.trim_start().strip_prefix(')')?));
    }
    let rest = rest.trim_start();
    let (operator, rest) = rest.split_at_checked(3)?;
    if !operator.eq_ignore_ascii_case("eq ") {
        return None;
    }
    let (text, after) = quoted(rest.trim_start())?;
    Some((Term { name, text }, after))
}

/// Reads `'text'`, in which `''` is one quote.
pub(crate) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let at = rest.find('\'')?;
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('\'') {
            Some(more) => {
                out.push('\'');
                rest = more;
            }
            None => return Some((out, rest)),
        }
    }
}

/// Returns the id of a role as seen from a scope: below its subscription, or of the tenant.
pub fn role_id(scope: &str, id: &str) -> String {
    match subscription_in(scope) {
        Some(subscription) => {
            format!("/subscriptions/{subscription}/{PROVIDER}/roleDefinitions/{id}")
        }
        None => format!("/{PROVIDER}/roleDefinitions/{id}"),
    }
}

/// Returns a built-in role as seen from a scope.
pub fn built_in_role(role: &Role, scope: &str) -> Value {
    role_view(
        role,
        scope,
        "BuiltInRole",
        &["/".to_owned()],
        &Times {
            created: BUILT_IN_SINCE.to_owned(),
            updated: BUILT_IN_SINCE.to_owned(),
            created_by: None,
            updated_by: None,
        },
    )
}

/// Returns a custom role as seen from a scope.
pub fn custom_role(custom: &CustomRole, scope: &str) -> Value {
    role_view(
        &custom.role,
        scope,
        "CustomRole",
        &custom.assignable_scopes,
        &Times {
            created: format_zulu(custom.created_ms),
            updated: format_zulu(custom.updated_ms),
            created_by: Some(&custom.created_by),
            updated_by: Some(&custom.updated_by),
        },
    )
}

struct Times<'a> {
    created: String,
    updated: String,
    created_by: Option<&'a str>,
    updated_by: Option<&'a str>,
}

fn role_view(role: &Role, scope: &str, kind: &str, scopes: &[String], times: &Times<'_>) -> Value {
    let permissions: Vec<Value> = role
        .permissions
        .iter()
        .map(|p| {
            json!({
                "actions": p.actions,
                "notActions": p.not_actions,
                "dataActions": p.data_actions,
                "notDataActions": p.not_data_actions,
            })
        })
        .collect();
    json!({
        "properties": {
            "roleName": role.name,
            "type": kind,
            "description": role.description,
            "assignableScopes": scopes,
            "permissions": permissions,
            "createdOn": times.created,
            "updatedOn": times.updated,
            "createdBy": times.created_by,
            "updatedBy": times.updated_by,
        },
        "id": role_id(scope, &role.id),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
    })
}

/// Returns a role assignment.
pub fn role_assignment(assignment: &RoleAssignment) -> Value {
    let scope = &assignment.shown_scope;
    let time = format_zulu(assignment.created_ms);
    let by = Some(&assignment.created_by).filter(|by| !by.is_empty());
    json!({
        "properties": {
            "roleDefinitionId": role_id(scope, &assignment.role_definition),
            "principalId": assignment.principal,
            "principalType": assignment.principal_type,
            "scope": scope,
            "condition": null,
            "conditionVersion": null,
            "createdOn": time,
            "updatedOn": time,
            "createdBy": by,
            "updatedBy": by,
            "delegatedManagedIdentityResourceId": null,
            "description": assignment.description,
        },
        "id": below(scope, &format!("roleAssignments/{}", assignment.id)),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": assignment.id,
    })
}

/// Returns a lock.
pub fn lock(lock: &Lock) -> Value {
    let mut properties = json!({ "level": lock.level.as_str() });
    if let Some(notes) = &lock.notes {
        properties["notes"] = json!(notes);
    }
    if !lock.owners.is_empty() {
        let owners = lock.owners.iter().map(|id| json!({ "applicationId": id }));
        properties["owners"] = owners.collect();
    }
    json!({
        "properties": properties,
        "id": below(&lock.shown_scope, &format!("locks/{}", lock.name)),
        "type": "Microsoft.Authorization/locks",
        "name": lock.name,
    })
}

fn below(scope: &str, local: &str) -> String {
    format!("{}/{PROVIDER}/{local}", scope.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["atScope", "principalId", "assignedTo", "roleName"];

    #[test]
    fn filters_are_read_whole_or_refused() {
        for (text, terms) in [
            ("", Some(vec![])),
            ("atScope()", Some(vec![("atscope", "")])),
            ("principalId eq 'a'", Some(vec![("principalid", "a")])),
            ("PRINCIPALID EQ 'a''b'", Some(vec![("principalid", "a'b")])),
            (
                "atScope() and assignedTo('x')",
                Some(vec![("atscope", ""), ("assignedto", "x")]),
            ),
            ("roleName eq 'Reader'", Some(vec![("rolename", "Reader")])),
            ("roleName eq 'Reader", None),
            ("roleName ne 'Reader'", None),
            ("atScope() or atScope()", None),
            ("atScope() and ", None),
            ("secret eq 'x'", None),
            ("atScope", None),
            ("é", None),
        ] {
            let read = filter(text, &KNOWN).ok();
            let read = read.map(|all| {
                all.into_iter()
                    .map(|t| (t.name, t.text))
                    .collect::<Vec<_>>()
            });
            let wanted = terms.map(|all| {
                all.into_iter()
                    .map(|(n, t)| (n.to_owned(), t.to_owned()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn a_role_has_one_id_in_its_list_and_in_assignments() {
        let role = domain::role::find("Reader").unwrap();
        let scope = "/subscriptions/s/resourceGroups/g";
        let shown = built_in_role(role, scope);
        let assignment = RoleAssignment {
            id: "a".into(),
            scope: scope.to_lowercase(),
            shown_scope: scope.into(),
            role_definition: role.id.clone(),
            principal: "p".into(),
            principal_type: "User".into(),
            description: None,
            created_by: String::new(),
            created_ms: 0,
        };
        let assigned = role_assignment(&assignment);
        assert_eq!(assigned["properties"]["roleDefinitionId"], shown["id"]);
        assert_eq!(
            assigned["id"],
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Authorization/roleAssignments/a"
        );
        assert_eq!(
            role_id("/", "x"),
            "/providers/Microsoft.Authorization/roleDefinitions/x"
        );
    }
}
