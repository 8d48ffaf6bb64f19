//! Reads of a disk encryption set.

use domain::Result;
use serde_json::json;

use crate::reply::Reply;
use crate::request::Request;

/// GET …/associatedResources: the ids of what the set encrypts.
pub(crate) async fn associated_resources(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let users = request
        .engine
        .associated_resources(&request.ctx, &id)
        .await?;
    Ok(Reply::ok(json!({ "value": users })))
}
