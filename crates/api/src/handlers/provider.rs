//! Resource providers: what this server serves.

use domain::{Error, Result};

use crate::reply::Reply;
use crate::request::Request;

/// GET …/providers.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let subscription = seen_subscription(&request).await?;
    let value = arm::provider::all(subscription.as_deref(), request.engine.regions());
    Ok(Reply::ok(serde_json::json!({ "value": value })))
}

/// GET …/providers/{namespace} and POST …/register: every provider is registered.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let subscription = seen_subscription(&request).await?;
    let namespace = request.param("namespace");
    arm::provider::one(namespace, subscription.as_deref(), request.engine.regions())
        .map(Reply::ok)
        .ok_or_else(|| {
            Error::not_found(
                "InvalidResourceNamespace",
                format!("The resource namespace '{namespace}' is invalid."),
            )
        })
}

async fn seen_subscription(request: &Request) -> Result<Option<String>> {
    let asked = request.param("subscription");
    if asked.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        request.engine.subscription(&request.ctx, asked).await?.id,
    ))
}
