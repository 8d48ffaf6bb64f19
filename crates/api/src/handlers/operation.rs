//! Polling: `Azure-AsyncOperation` and `Location`. Source: `API.md` 2.1, `WIRE.md` 3.3.

use axum::http::StatusCode;
use domain::operation::{Family, Operation, OperationState, Work};
use domain::{Error, Result};
use serde_json::Value;
use uuid::Uuid;

use super::view::view;
use crate::reply::Reply;
use crate::request::Request;

/// GET a poll URL.
pub(crate) async fn poll(request: Request) -> Result<Reply> {
    let unknown = || Error::not_found("NotFound", "The operation was not found.");
    let id = Uuid::parse_str(request.param("operation")).map_err(|_| unknown())?;
    let mut operation = request
        .engine
        .operation(&request.ctx, request.param("subscription"), id)
        .await?;
    let monitors = request
        .option("monitor")
        .is_some_and(|m| m.eq_ignore_ascii_case("true"));
    if monitors || operation.family == Family::Group {
        return monitor(&request, &operation).await;
    }
    if operation.state == OperationState::Succeeded {
        operation.output = output(&request, &operation).await?;
    }
    let reply = Reply::ok(arm::operation::status(&operation));
    Ok(match operation.state {
        OperationState::InProgress => reply.header("retry-after", "1"),
        _ => reply,
    })
}

/// The `Location` form: 202 while running, then the result itself.
async fn monitor(request: &Request, operation: &Operation) -> Result<Reply> {
    match operation.state {
        OperationState::InProgress => Ok(Reply::empty(StatusCode::ACCEPTED)
            .located(&request.ctx.base_url, &request.ctx.api_version, operation)
            .header("retry-after", "1")),
        OperationState::Succeeded => Ok(match output(request, operation).await? {
            Some(output) => Reply::ok(output),
            // The JavaScript SDK reads the change that was asked for as the result.
            None if operation.work == Work::Share && operation.step.is_object() => {
                Reply::ok(operation.step.clone())
            }
            None => Reply::empty(StatusCode::OK),
        }),
        OperationState::Failed | OperationState::Canceled => {
            Err(operation.error.clone().unwrap_or_else(|| {
                Error::conflict(
                    "OperationPreempted",
                    "The operation was overtaken by a later request.",
                )
            }))
        }
    }
}

/// What the operation has made: its own output, or the resource that disks show.
async fn output(request: &Request, operation: &Operation) -> Result<Option<Value>> {
    if let Some(output) = &operation.output {
        return Ok(Some(output.clone()));
    }
    // A part of the resource is what some actions on it answer with.
    let part = operation.step.get("shows").and_then(Value::as_str);
    let is_shown = operation.family == Family::Disk && operation.work == Work::Put;
    if part.is_none() && !is_shown {
        return Ok(None);
    }
    match request.engine.get(&request.ctx, &operation.resource).await {
        Ok(row) => {
            let mut shown = view(&row, &request.ctx);
            Ok(Some(match part {
                Some(part) => shown["properties"][part].take(),
                None => shown,
            }))
        }
        Err(error) if error.kind == domain::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
