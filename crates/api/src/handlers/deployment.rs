//! Template deployments. Source: `WIRE.md` 4.6 and 4.9.

use axum::http::StatusCode;
use domain::{Error, ErrorKind, ResourceId, Result};
use serde_json::json;

use crate::reply::Reply;
use crate::request::Request;

/// PUT one: 201 when the name is new, and where to poll.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let accepted = request
        .engine
        .put_deployment(&request.ctx, &id, &request.body)
        .await?;
    let status = match accepted.is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let ctx = &request.ctx;
    Ok(Reply::json(status, accepted.shown).polled(
        &ctx.base_url,
        &ctx.api_version,
        &accepted.operation,
    ))
}

/// GET one.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let shown = request
        .engine
        .deployment(&request.ctx, &request.id()?)
        .await?;
    Ok(Reply::ok(shown))
}

/// HEAD one: 204 when it is there.
pub(crate) async fn head(request: Request) -> Result<Reply> {
    request
        .engine
        .deployment(&request.ctx, &request.id()?)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// DELETE one: done at once; its resources stay.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    request
        .engine
        .delete_deployment(&request.ctx, &request.id()?)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// GET the deployments of a group, or of a subscription's own, newest first.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let group = home(&request);
    let state = request.option("filter").map(state_in).transpose()?;
    let mut value = request
        .engine
        .deployments(&request.ctx, &group, state.as_deref())
        .await?;
    if let Some(top) = request.option("top").and_then(|top| top.parse().ok()) {
        value.truncate(top);
    }
    Ok(Reply::ok(json!({ "value": value })))
}

/// POST …/validate.
pub(crate) async fn validate(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let shown = request
        .engine
        .validate_deployment(&request.ctx, &id, &request.body)
        .await?;
    Ok(Reply::ok(shown))
}

/// POST …/whatIf: 202, the answer lies at `Location`.
pub(crate) async fn what_if(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let operation = request
        .engine
        .what_if(&request.ctx, &id, &request.body)
        .await?;
    let ctx = &request.ctx;
    Ok(Reply::empty(StatusCode::ACCEPTED)
        .located(&ctx.base_url, &ctx.api_version, &operation)
        .header("retry-after", "1"))
}

/// POST …/cancel.
pub(crate) async fn cancel(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    request.engine.cancel_deployment(&request.ctx, &id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// POST …/exportTemplate.
pub(crate) async fn export(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let template = request
        .engine
        .deployment_template(&request.ctx, &id)
        .await?;
    Ok(Reply::ok(json!({ "template": template })))
}

/// GET …/operations.
pub(crate) async fn operations(request: Request) -> Result<Reply> {
    let id = id_of(&request)?;
    let value = request.engine.deployment_steps(&request.ctx, &id).await?;
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/operations/{operation}.
pub(crate) async fn operation(request: Request) -> Result<Reply> {
    let id = id_of(&request)?;
    let wanted = request.param("operation");
    let steps = request.engine.deployment_steps(&request.ctx, &id).await?;
    let is_it = |step: &serde_json::Value| {
        step["operationId"]
            .as_str()
            .is_some_and(|id| id.eq_ignore_ascii_case(wanted))
    };
    let found = steps.into_iter().find(is_it);
    found.map(Reply::ok).ok_or_else(|| {
        Error::not_found(
            "DeploymentOperationNotFound",
            format!("The deployment operation '{wanted}' could not be found."),
        )
    })
}

/// Returns the deployment's id; the paths of steps have an old form without the provider's name.
fn id_of(request: &Request) -> Result<ResourceId> {
    ResourceId::parse(&format!(
        "{}/providers/Microsoft.Resources/deployments/{}",
        home(request),
        request.param("deployment")
    ))
}

/// Returns the group in the path, or what stands for the subscription itself.
fn home(request: &Request) -> ResourceId {
    ResourceId::group(request.param("subscription"), request.param("group"))
}

/// `provisioningState eq 'Failed'`, the one filter that lists of deployments have.
fn state_in(filter: &str) -> Result<String> {
    let words: Vec<&str> = filter.split_whitespace().collect();
    let state = match words.as_slice() {
        [name, eq, value]
            if name.eq_ignore_ascii_case("provisioningState") && eq.eq_ignore_ascii_case("eq") =>
        {
            value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''))
        }
        _ => None,
    };
    state.map(str::to_owned).ok_or_else(|| {
        let shown: String = filter.chars().take(200).collect();
        Error::new(
            ErrorKind::Invalid,
            "InvalidFilterInQueryString",
            format!("Invalid $filter '{shown}' specified in the query string. Deployments are filtered by provisioningState eq '…'."),
        )
    })
}
