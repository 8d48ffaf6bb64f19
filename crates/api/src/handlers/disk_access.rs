//! Opening a disk or snapshot for download or upload.

use domain::Result;

use super::resource::deleted_reply;
use crate::reply::Reply;
use crate::request::Request;

/// POST …/beginGetAccess: 202; the result is `{"accessSAS": url}`.
pub(crate) async fn begin(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = arm::schema::check_request_bytes(
        arm::schema::Shape::GrantAccess,
        &request.ctx.api_version,
        &request.body,
    )?;
    let accepted = request
        .engine
        .begin_access(&request.ctx, &id, &body)
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// POST …/endGetAccess: 202.
pub(crate) async fn end(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let accepted = request.engine.end_access(&request.ctx, &id).await?;
    Ok(deleted_reply(&request, &accepted))
}
