//! Tenants, subscriptions and locations that the caller sees.

use domain::Result;

use crate::reply::Reply;
use crate::request::Request;

/// GET /tenants.
pub(crate) async fn tenants(request: Request) -> Result<Reply> {
    let tenants = request.engine.tenants_of(&request.ctx).await?;
    let value: Vec<_> = tenants
        .iter()
        .map(|t| arm::subscription::tenant(&t.id, &t.name, &t.domain))
        .collect();
    Ok(Reply::ok(serde_json::json!({ "value": value })))
}

/// GET /subscriptions.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let subscriptions = request.engine.subscriptions_of(&request.ctx).await?;
    let value: Vec<_> = subscriptions
        .iter()
        .map(|s| arm::subscription::subscription(&s.id, &s.tenant, &s.name, &s.state))
        .collect();
    Ok(Reply::ok(
        serde_json::json!({ "value": value, "count": { "type": "Total", "value": value.len() } }),
    ))
}

/// GET /subscriptions/{id}.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let found = request
        .engine
        .subscription(&request.ctx, request.param("subscription"))
        .await?;
    Ok(Reply::ok(arm::subscription::subscription(
        &found.id,
        &found.tenant,
        &found.name,
        &found.state,
    )))
}

/// GET /subscriptions/{id}/locations.
pub(crate) async fn locations(request: Request) -> Result<Reply> {
    let found = request
        .engine
        .subscription(&request.ctx, request.param("subscription"))
        .await?;
    let value = arm::subscription::locations(&found.id, request.engine.regions());
    Ok(Reply::ok(serde_json::json!({ "value": value })))
}
