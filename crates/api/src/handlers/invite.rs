//! Answers to the invitations of shared galleries. Source: `API.md` 1; synchronous, so always 204.

use axum::http::StatusCode;
use domain::Result;
use engine::{Invite, Invited};

use crate::reply::Reply;
use crate::request::Request;

/// POST …/sharedGalleries/{uniqueName}/accept.
pub(crate) async fn accept(request: Request) -> Result<Reply> {
    answer(&request, true).await
}

/// POST …/sharedGalleries/{uniqueName}/reject.
pub(crate) async fn reject(request: Request) -> Result<Reply> {
    answer(&request, false).await
}

async fn answer(request: &Request, is_accepted: bool) -> Result<Reply> {
    let invite = Invite {
        invited: match request.param("subscription") {
            "" => Invited::Tenant,
            id => Invited::Subscription(id.to_owned()),
        },
        location: request.param("location").to_owned(),
        owner: request.param("owner").to_owned(),
        gallery: request.param("uniqueName").to_owned(),
    };
    request
        .engine
        .answer_invite(&request.ctx, &invite, is_accepted)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
