//! Resource groups: synchronous writes, a delete that empties them. Source: `WIRE.md` 3.2, 4.1.

use axum::http::StatusCode;
use domain::{Error, Kind, Result};
use engine::{DeleteOptions, ListFilter};

use super::resource::list_reply;
use super::view::view;
use crate::reply::Reply;
use crate::request::Request;

/// GET …/resourceGroups.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let filter = ListFilter {
        subscription: request.param("subscription").to_owned(),
        kind: Some(Kind::ResourceGroup),
        ..ListFilter::default()
    };
    list_reply(&request, &filter, |row| view(row, &request.ctx)).await
}

/// GET one.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let row = request.engine.get(&request.ctx, &request.id()?).await?;
    Ok(Reply::ok(view(&row, &request.ctx)))
}

/// HEAD one: 204 when it exists, 404 without a body when not.
pub(crate) async fn head(request: Request) -> Result<Reply> {
    request.engine.get(&request.ctx, &request.id()?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// PUT one: true at once.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let body = request.checked_body(Kind::ResourceGroup)?;
    let accepted = request
        .engine
        .put(&request.ctx, &request.id()?, &body)
        .await?;
    let status = if accepted.is_created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(Reply::json(status, view(&accepted.resource, &request.ctx)))
}

/// PATCH one.
pub(crate) async fn patch(request: Request) -> Result<Reply> {
    let body = request.checked_body(Kind::ResourceGroup)?;
    let accepted = request
        .engine
        .patch(&request.ctx, &request.id()?, &body)
        .await?;
    Ok(Reply::ok(view(&accepted.resource, &request.ctx)))
}

/// DELETE one: 202 with `Location` only.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let accepted = request
        .engine
        .delete(&request.ctx, &id, DeleteOptions::default())
        .await?;
    let Some(operation) = accepted.and_then(|a| a.operation) else {
        return Err(Error::not_found(
            "ResourceGroupNotFound",
            format!(
                "Resource group '{}' could not be found.",
                id.resource_group()
            ),
        ));
    };
    Ok(Reply::empty(StatusCode::ACCEPTED)
        .located(&request.ctx.base_url, &request.ctx.api_version, &operation)
        .header("retry-after", "1"))
}
