//! Machines: power, generalizing, instance views, sizes, the serial log.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::operation::Work;
use domain::virtual_machine::NotOffered;
use domain::{Error, ErrorKind, Kind, ResourceId, Result};
use serde::Deserialize;
use serde_json::json;

use super::resource::deleted_reply;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::ApiState;

/// POST …/start.
pub(crate) async fn start(request: Request) -> Result<Reply> {
    act(request, Work::Start).await
}

/// POST …/powerOff.
pub(crate) async fn power_off(request: Request) -> Result<Reply> {
    act(request, Work::PowerOff).await
}

/// POST …/deallocate.
pub(crate) async fn deallocate(request: Request) -> Result<Reply> {
    act(request, Work::Deallocate).await
}

/// POST …/restart.
pub(crate) async fn restart(request: Request) -> Result<Reply> {
    act(request, Work::Restart).await
}

/// POST …/redeploy.
pub(crate) async fn redeploy(request: Request) -> Result<Reply> {
    act(request, Work::Redeploy).await
}

/// POST …/reapply.
pub(crate) async fn reapply(request: Request) -> Result<Reply> {
    act(request, Work::Reapply).await
}

/// 202 with both poll headers.
async fn act(request: Request, work: Work) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let skips = request
        .option("skipshutdown")
        .is_some_and(|skip| skip.eq_ignore_ascii_case("true"));
    let accepted = request
        .engine
        .power_action(&request.ctx, &id, work, skips)
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// POST …/generalize: 200 at once, no body.
pub(crate) async fn generalize(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    request.engine.generalize(&request.ctx, &id).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// POST …/attachDetachDataDisks: 202; the result is the storage profile.
pub(crate) async fn attach_detach(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = arm::schema::check_request_bytes(
        arm::schema::Shape::AttachDetach,
        &request.ctx.api_version,
        &request.body,
    )?;
    let accepted = request
        .engine
        .attach_detach(&request.ctx, &id, &body)
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// POST …/reimage: 202; the body may be left out.
pub(crate) async fn reimage(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = match request.body.is_empty() {
        true => json!({}),
        false => arm::schema::check_request_bytes(
            arm::schema::Shape::Reimage,
            &request.ctx.api_version,
            &request.body,
        )?,
    };
    let accepted = request.engine.reimage(&request.ctx, &id, &body).await?;
    Ok(deleted_reply(&request, &accepted))
}

/// POST …/runCommand: 202; the result is what the command said.
pub(crate) async fn run_command(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    run_command_in(&request, &id).await
}

/// Runs the command that a body asks for in a machine.
pub(crate) async fn run_command_in(request: &Request, id: &ResourceId) -> Result<Reply> {
    let body = arm::schema::check_request_bytes(
        arm::schema::Shape::RunCommand,
        &request.ctx.api_version,
        &request.body,
    )?;
    let accepted = request.engine.run_command(&request.ctx, id, &body).await?;
    Ok(deleted_reply(request, &accepted))
}

/// GET …/locations/{location}/runCommands.
pub(crate) async fn run_commands(request: Request) -> Result<Reply> {
    known_location(&request)?;
    let subscription = request.param("subscription");
    let all = request.engine.run_commands(&request.ctx, subscription);
    Ok(Reply::ok(json!({ "value": all.await? })))
}

/// GET …/locations/{location}/runCommands/{part}.
pub(crate) async fn run_command_document(request: Request) -> Result<Reply> {
    known_location(&request)?;
    let (subscription, id) = (request.param("subscription"), request.param("part"));
    let engine = &request.engine;
    let document = engine.run_command_document(&request.ctx, subscription, id);
    Ok(Reply::ok(document.await?))
}

/// POST of a verb that is not offered.
pub(crate) async fn refuse(request: Request, asked: NotOffered) -> Result<Reply> {
    let id = request.id_before_verb()?;
    Err(request.engine.refuse_action(&request.ctx, &id, asked).await)
}

/// PUT or PATCH of a part that an agent in the guest would be needed for.
pub(crate) async fn refuse_part(request: Request, asked: NotOffered) -> Result<Reply> {
    let id = machine_of_part(&request);
    Err(request.engine.refuse_action(&request.ctx, &id, asked).await)
}

/// GET of a list of such parts: there are none.
pub(crate) async fn no_parts(request: Request, part: &str) -> Result<Reply> {
    let id = machine_of_part(&request);
    let engine = &request.engine;
    engine.read_no_parts(&request.ctx, &id, part).await?;
    Ok(Reply::ok(json!({ "value": [] })))
}

/// GET of such a part.
pub(crate) async fn no_part(request: Request, part: &str) -> Result<Reply> {
    let id = machine_of_part(&request);
    let engine = &request.engine;
    engine.read_no_parts(&request.ctx, &id, part).await?;
    Err(Error::not_found(
        "ResourceNotFound",
        format!(
            "The Resource 'Microsoft.Compute/virtualMachines/{}/{part}/{}' under resource group '{}' was not found. For more \
             details please go to https://aka.ms/ARMResourceNotFoundFix",
            id.name(),
            request.param("part"),
            id.resource_group()
        ),
    ))
}

/// DELETE of such a part: it is not there.
pub(crate) async fn delete_no_part(request: Request, part: &str) -> Result<Reply> {
    let id = machine_of_part(&request);
    let engine = &request.engine;
    engine.delete_no_part(&request.ctx, &id, part).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Returns the machine of a path that ends with a list of its parts, or one of them.
fn machine_of_part(request: &Request) -> ResourceId {
    let group = ResourceId::group(request.param("subscription"), request.param("group"));
    group.child(Kind::VirtualMachine, request.param("machine"))
}

/// POST …/retrieveBootDiagnosticsData: the URL of the serial log.
pub(crate) async fn boot_diagnostics(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let minutes = request.option("sasuriexpirationtimeinminutes");
    let data = request
        .engine
        .boot_diagnostics(&request.ctx, &id, minutes)
        .await?;
    Ok(Reply::ok(data))
}

/// GET …/instanceView.
pub(crate) async fn instance_view(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let view = request.engine.get_instance_view(&request.ctx, &id).await?;
    Ok(Reply::ok(view))
}

/// GET …/virtualMachines/{machine}/vmSizes.
pub(crate) async fn machine_sizes(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let sizes = request.engine.list_machine_sizes(&request.ctx, &id).await?;
    Ok(Reply::ok(json!({ "value": sizes })))
}

/// GET …/locations/{location}/vmSizes.
pub(crate) async fn sizes(request: Request) -> Result<Reply> {
    known_location(&request)?;
    let subscription = request.param("subscription");
    let sizes = request
        .engine
        .list_sizes(&request.ctx, subscription)
        .await?;
    Ok(Reply::ok(json!({ "value": sizes })))
}

fn known_location(request: &Request) -> Result<()> {
    let location = request.param("location");
    match request.engine.regions().find(location) {
        Some(_) => Ok(()),
        None => Err(Error::new(
            ErrorKind::Invalid,
            "InvalidParameter",
            format!("The region '{location}' is not configured on this server."),
        )),
    }
}

/// GET …/skus, with `$filter=location eq '…'`.
pub(crate) async fn skus(request: Request) -> Result<Reply> {
    let subscription = request.param("subscription");
    let mut skus = request.engine.list_skus(&request.ctx, subscription).await?;
    let wanted = request.option("filter").unwrap_or_default();
    if let Some(location) = wanted.split('\'').nth(1).filter(|l| !l.is_empty()) {
        skus.retain(|sku| {
            let first = sku.pointer("/locations/0").and_then(|l| l.as_str());
            first.is_some_and(|first| first.eq_ignore_ascii_case(location))
        });
    }
    Ok(Reply::ok(json!({ "value": skus })))
}

/// What the URL of a serial log carries.
#[derive(Deserialize)]
pub(crate) struct Signed {
    #[serde(default)]
    se: String,
    #[serde(default)]
    sig: String,
}

/// GET /boot-diagnostics/{machine}/serialconsole.log: no token, the URL is the right.
pub(crate) async fn console(
    State(state): State<ApiState>,
    Path(machine): Path<String>,
    Query(signed): Query<Signed>,
) -> Response {
    let log = state
        .engine
        .console(&machine, &signed.se, &signed.sig)
        .await;
    let (status, text) = match log {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (
            crate::error::status(error.kind),
            format!("{}: {}\n", error.code, error.message),
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    (status, headers, text).into_response()
}
