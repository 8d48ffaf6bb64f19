//! Parts of network resources: subnets, rules, pools. Statuses as of the resources themselves.

use axum::http::StatusCode;
use domain::network::nested::Part;
use domain::{Error, ResourceId, Result};
use serde_json::json;

use super::resource::deleted_reply;
use crate::reply::Reply;
use crate::request::Request;

/// GET one.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let part = part(&request.path)?;
    let row = request.engine.get_part(&request.ctx, &part).await?;
    let shown = arm::network::part(&row, &part);
    shown.map(Reply::ok).ok_or_else(|| part.not_found())
}

/// GET all of a list.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let part = part(&format!("{}/all", request.path))?;
    let row = request.engine.list_parts(&request.ctx, &part).await?;
    let value = arm::network::parts(&row, part.list.name);
    Ok(Reply::ok(json!({ "value": value })))
}

/// PUT one.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let part = part(&request.path)?;
    let version = &request.ctx.api_version;
    let body = arm::schema::check_request_bytes(part.list.kind, version, &request.body)?;
    let accepted = request.engine.put_part(&request.ctx, &part, &body).await?;
    let status = match accepted.is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let shown = arm::network::part(&accepted.resource, &part).ok_or_else(Error::internal)?;
    let reply = Reply::json(status, shown);
    Ok(match &accepted.operation {
        Some(operation) => reply.polled(&request.ctx.base_url, version, operation),
        None => reply,
    })
}

/// DELETE one: 202 with both poll headers, 204 when there is nothing.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let part = part(&request.path)?;
    let accepted = request.engine.delete_part(&request.ctx, &part).await?;
    Ok(match accepted {
        Some(accepted) => deleted_reply(&request, &accepted),
        None => Reply::empty(StatusCode::NO_CONTENT),
    })
}

/// The route table has a route for the path only because it names a part.
fn part(path: &str) -> Result<Part> {
    Part::parse(&ResourceId::parse(path)?).ok_or_else(Error::internal)
}
