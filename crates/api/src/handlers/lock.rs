//! Locks, at every scope but the tenant. Source: `WIRE.md` 4.1.

use axum::http::StatusCode;
use domain::Result;
use serde_json::{Value, json};

use super::scope::scope_of;
use crate::reply::Reply;
use crate::request::Request;

/// GET …/locks.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let filter = request.option("filter").unwrap_or_default();
    let at_scope = !arm::authorization::filter(filter, &["atScope"])?.is_empty();
    let locks = request
        .engine
        .list_locks(&request.ctx, &scope_of(&request), !at_scope)
        .await?;
    let value: Vec<Value> = locks.iter().map(arm::authorization::lock).collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/locks/{lock}.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let found = request
        .engine
        .lock(&request.ctx, &scope_of(&request), request.param("lock"))
        .await?;
    Ok(Reply::ok(arm::authorization::lock(&found)))
}

/// PUT …/locks/{lock}: 201 for a new one.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let (lock, is_created) = request
        .engine
        .put_lock(
            &request.ctx,
            &scope_of(&request),
            request.param("lock"),
            &request.lenient_body(),
        )
        .await?;
    let status = match is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(Reply::json(status, arm::authorization::lock(&lock)))
}

/// DELETE …/locks/{lock}: 200, or 204 when there was nothing.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let was_there = request
        .engine
        .delete_lock(&request.ctx, &scope_of(&request), request.param("lock"))
        .await?;
    Ok(Reply::empty(match was_there {
        true => StatusCode::OK,
        false => StatusCode::NO_CONTENT,
    }))
}
