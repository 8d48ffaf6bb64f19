//! What a subscription lets be made from whose images: an extension, below `Vitrine.Gallery`.

use axum::http::StatusCode;
use domain::Result;

use crate::reply::Reply;
use crate::request::Request;

/// GET …/allowedImages/default.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let subscription = request.param("subscription");
    let rules = request
        .engine
        .allowed_images(&request.ctx, subscription)
        .await?;
    Ok(Reply::ok(rules.shown(subscription)))
}

/// PUT …/allowedImages/default.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let subscription = request.param("subscription");
    let rules = request
        .engine
        .put_allowed_images(&request.ctx, subscription, &request.lenient_body())
        .await?;
    Ok(Reply::ok(rules.shown(subscription)))
}

/// DELETE …/allowedImages/default: 200, or 204 when there was none.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let was_there = request
        .engine
        .delete_allowed_images(&request.ctx, request.param("subscription"))
        .await?;
    Ok(Reply::empty(match was_there {
        true => StatusCode::OK,
        false => StatusCode::NO_CONTENT,
    }))
}
