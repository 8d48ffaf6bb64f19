//! What subscriptions hold, may hold, and are charged for.

use domain::{Error, Result};
use engine::metering::Days;
use serde_json::{Value, json};

use crate::reply::Reply;
use crate::request::Request;

/// GET …/Microsoft.Compute/locations/{location}/usages: real counts against their limits.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let (subscription, location) = (request.param("subscription"), request.param("location"));
    let usages = request
        .engine
        .usages(&request.ctx, subscription, location)
        .await?;
    let value: Vec<Value> = usages
        .iter()
        .map(|usage| {
            json!({
                "limit": usage.limit,
                "unit": usage.unit,
                "currentValue": usage.held,
                "name": { "value": usage.name, "localizedValue": usage.shown },
            })
        })
        .collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/Vitrine.Gallery/usage?from=&to=: what a subscription is charged for, by day.
pub(crate) async fn report(request: Request) -> Result<Reply> {
    let now_ms = request.engine.now_ms();
    let days = Days::parse(request.option("from"), request.option("to"), now_ms)?;
    let subscription = request.param("subscription");
    let rows = request
        .engine
        .usage(&request.ctx, subscription, &days)
        .await?;
    let value = serde_json::to_value(rows).map_err(|_| Error::internal())?;
    Ok(Reply::ok(json!({ "value": value })))
}
