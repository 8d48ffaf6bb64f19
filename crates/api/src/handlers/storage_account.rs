//! Actions of storage accounts.

use domain::Result;

use crate::reply::Reply;
use crate::request::Request;

/// POST …/listKeys.
pub(crate) async fn list_keys(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    Ok(Reply::ok(
        request.engine.storage_keys(&request.ctx, &id).await?,
    ))
}

/// POST …/regenerateKey.
pub(crate) async fn regenerate_key(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = request.json_body()?;
    Ok(Reply::ok(
        request
            .engine
            .regenerate_storage_key(&request.ctx, &id, &body)
            .await?,
    ))
}

/// POST …/checkNameAvailability.
pub(crate) async fn check_name(request: Request) -> Result<Reply> {
    let body = request.json_body()?;
    let subscription = request.param("subscription").to_owned();
    Ok(Reply::ok(
        request
            .engine
            .check_storage_name(&request.ctx, &subscription, &body)
            .await?,
    ))
}
