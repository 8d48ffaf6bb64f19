//! The activity log of a subscription.

use domain::{Error, Result};
use engine::ActivityFilter;

use super::resource::{page_token, with_next};
use crate::reply::Reply;
use crate::request::Request;

/// GET …/Microsoft.Insights/eventtypes/management/values.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let mut filter = ActivityFilter {
        to_ms: i64::MAX,
        ..ActivityFilter::default()
    };
    for (field, operator, text) in
        arm::activity::filter(request.option("filter").unwrap_or_default())?
    {
        let time = arm::activity::time(&text);
        match (field.as_str(), operator.as_str()) {
            ("eventtimestamp", "ge") => filter.from_ms = time.unwrap_or(0),
            ("eventtimestamp", _) => filter.to_ms = time.unwrap_or(i64::MAX),
            ("resourcegroupname", _) => filter.group = Some(text),
            ("resourceid" | "resourceuri", _) => filter.resource = Some(text),
            ("resourceprovider", _) => filter.provider = Some(text),
            ("correlationid", _) => filter.correlation = Some(text),
            ("caller", _) => filter.caller = Some(text),
            ("status", _) => filter.status = Some(text),
            _ => {}
        }
    }
    let before =
        match page_token(&request)? {
            None => None,
            Some(token) => Some(token.parse().map_err(|_| {
                Error::bad_request("The $skiptoken is not one that this server gave.")
            })?),
        };
    let (events, next) = request
        .engine
        .activity(&request.ctx, request.param("subscription"), &filter, before)
        .await?;
    let value = events.iter().map(arm::activity::event).collect();
    let next = next.map(|next| next.to_string());
    Ok(Reply::ok(with_next(&request, value, next.as_deref())))
}
