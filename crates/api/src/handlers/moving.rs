//! Moves between groups and subscriptions: nothing moves here, and the answer says so.

use axum::http::StatusCode;
use domain::Result;

use crate::reply::Reply;
use crate::request::Request;

/// POST …/moveResources.
pub(crate) async fn start(request: Request) -> Result<Reply> {
    answer(&request, "moveResources").await
}

/// POST …/validateMoveResources.
pub(crate) async fn validate(request: Request) -> Result<Reply> {
    answer(&request, "validateMoveResources").await
}

async fn answer(request: &Request, verb: &'static str) -> Result<Reply> {
    let group = request.id_before_verb()?;
    request
        .engine
        .move_resources(&request.ctx, &group, verb, &request.lenient_body())
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
