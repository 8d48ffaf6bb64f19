//! Role definitions and role assignments, at every scope. Source: `WIRE.md` 4.7.

use axum::http::StatusCode;
use domain::Result;
use engine::{AssignmentFilter, DefinitionFilter, RoleView};
use serde_json::{Value, json};

use super::scope::scope_of;
use crate::reply::Reply;
use crate::request::Request;

/// GET …/roleDefinitions.
pub(crate) async fn list_definitions(request: Request) -> Result<Reply> {
    let mut filter = DefinitionFilter::default();
    for term in terms(&request, &["roleName", "type", "atScopeAndBelow"])? {
        match term.name.as_str() {
            "rolename" => filter.name = Some(term.text),
            "type" => filter.is_custom = Some(term.text.eq_ignore_ascii_case("CustomRole")),
            _ => filter.with_below = true,
        }
    }
    let scope = scope_of(&request);
    let roles = request
        .engine
        .list_role_definitions(&request.ctx, &scope, &filter)
        .await?;
    let value: Vec<Value> = roles.iter().map(|role| view(role, &scope)).collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/roleDefinitions/{definition}.
pub(crate) async fn get_definition(request: Request) -> Result<Reply> {
    let scope = scope_of(&request);
    let found = request
        .engine
        .role_definition(&request.ctx, &scope, request.param("definition"))
        .await?;
    Ok(Reply::ok(view(&found, &scope)))
}

/// PUT …/roleDefinitions/{definition}: 201, also for a change, as the service answers.
pub(crate) async fn put_definition(request: Request) -> Result<Reply> {
    let scope = scope_of(&request);
    let made = request
        .engine
        .put_role_definition(
            &request.ctx,
            &scope,
            request.param("definition"),
            &request.lenient_body(),
        )
        .await?;
    Ok(Reply::json(
        StatusCode::CREATED,
        arm::authorization::custom_role(&made, &scope),
    ))
}

/// DELETE …/roleDefinitions/{definition}: 200 with what went, 204 when there was nothing.
pub(crate) async fn delete_definition(request: Request) -> Result<Reply> {
    let scope = scope_of(&request);
    let gone = request
        .engine
        .delete_role_definition(&request.ctx, &scope, request.param("definition"))
        .await?;
    Ok(match gone {
        Some(gone) => Reply::ok(arm::authorization::custom_role(&gone, &scope)),
        None => Reply::empty(StatusCode::NO_CONTENT),
    })
}

/// GET …/roleAssignments.
pub(crate) async fn list_assignments(request: Request) -> Result<Reply> {
    let mut filter = AssignmentFilter::default();
    for term in terms(&request, &["atScope", "principalId", "assignedTo"])? {
        match term.name.as_str() {
            "principalid" => filter.principal = Some(term.text),
            "assignedto" => filter.assigned_to = Some(term.text),
            _ => filter.at_scope = true,
        }
    }
    let all = request
        .engine
        .list_role_assignments(&request.ctx, &scope_of(&request), &filter)
        .await?;
    let value: Vec<Value> = all
        .iter()
        .map(arm::authorization::role_assignment)
        .collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/roleAssignments/{assignment}.
pub(crate) async fn get_assignment(request: Request) -> Result<Reply> {
    let found = request
        .engine
        .role_assignment(
            &request.ctx,
            &scope_of(&request),
            request.param("assignment"),
        )
        .await?;
    Ok(Reply::ok(arm::authorization::role_assignment(&found)))
}

/// PUT …/roleAssignments/{assignment}: 201 for a new one.
pub(crate) async fn put_assignment(request: Request) -> Result<Reply> {
    let put = request
        .engine
        .put_role_assignment(
            &request.ctx,
            &scope_of(&request),
            request.param("assignment"),
            &request.lenient_body(),
        )
        .await?;
    let status = match put.is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(Reply::json(
        status,
        arm::authorization::role_assignment(&put.assignment),
    ))
}

/// DELETE …/roleAssignments/{assignment}: 200 with what went, 204 when there was nothing.
pub(crate) async fn delete_assignment(request: Request) -> Result<Reply> {
    let gone = request
        .engine
        .delete_role_assignment(
            &request.ctx,
            &scope_of(&request),
            request.param("assignment"),
        )
        .await?;
    Ok(match gone {
        Some(gone) => Reply::ok(arm::authorization::role_assignment(&gone)),
        None => Reply::empty(StatusCode::NO_CONTENT),
    })
}

fn terms(request: &Request, known: &[&str]) -> Result<Vec<arm::authorization::Term>> {
    arm::authorization::filter(request.option("filter").unwrap_or_default(), known)
}

fn view(role: &RoleView, scope: &str) -> Value {
    match role {
        RoleView::BuiltIn(role) => arm::authorization::built_in_role(role, scope),
        RoleView::Custom(custom) => arm::authorization::custom_role(custom, scope),
    }
}
