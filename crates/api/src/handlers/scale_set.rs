//! Scale sets: their machines, actions on them, upgrades, views.

use axum::http::StatusCode;
use domain::operation::Work;
use domain::scale_set::SetNotOffered;
use domain::{Error, Kind, Result};
use engine::{DeleteOptions, SetAction};
use serde_json::{Value, json};

use super::resource::deleted_reply;
use super::view::view;
use crate::reply::Reply;
use crate::request::Request;

/// Returns the action of a verb in a path.
fn action_of(verb: &str) -> Result<SetAction> {
    Ok(match verb {
        "start" => SetAction::Power(Work::Start),
        "powerOff" => SetAction::Power(Work::PowerOff),
        "deallocate" => SetAction::Power(Work::Deallocate),
        "restart" => SetAction::Power(Work::Restart),
        "redeploy" => SetAction::Power(Work::Redeploy),
        "reapply" => SetAction::Power(Work::Reapply),
        "delete" => SetAction::Delete,
        "manualupgrade" => SetAction::Update,
        "reimage" | "reimageall" => SetAction::Reimage,
        _ => return Err(Error::internal()),
    })
}

/// POST …/{verb} on the machines that the body names, or on all: 202 with both poll headers.
pub(crate) async fn act(request: Request, verb: &str) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = request.lenient_body();
    let accepted = request
        .engine
        .scale_set_action(
            &request.ctx,
            &id,
            action_of(verb)?,
            (&body, skips_shutdown(&request)),
        )
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

fn skips_shutdown(request: &Request) -> bool {
    request
        .option("skipshutdown")
        .is_some_and(|skip| skip.eq_ignore_ascii_case("true"))
}

/// POST …/virtualMachines/{instance}/{verb}: the same for one machine.
pub(crate) async fn act_on_one(request: Request, verb: &str) -> Result<Reply> {
    let instance = request.id_before_verb()?;
    let action = action_of(verb)?;
    if let SetAction::Power(work) = action {
        let right = format!("{verb}/action");
        let (_, machine) = request
            .engine
            .find_instance(&request.ctx, &instance, &right)
            .await?;
        let accepted = request
            .engine
            .power_action(&request.ctx, &machine.id, work, skips_shutdown(&request))
            .await?;
        return Ok(deleted_reply(&request, &accepted));
    }
    let set = instance.parent().ok_or_else(Error::internal)?;
    let body = json!({ "instanceIds": [instance.name()] });
    let accepted = request
        .engine
        .scale_set_action(&request.ctx, &set, action, (&body, false))
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// DELETE …/virtualMachines/{instance}: 202, or 204 when there is nothing.
pub(crate) async fn delete_one(request: Request) -> Result<Reply> {
    let instance = request.id()?;
    let found = request
        .engine
        .find_instance(&request.ctx, &instance, "delete")
        .await;
    let machine = match found {
        Ok((_, machine)) => machine.id,
        Err(error) if error.code == "NotFound" => return Ok(Reply::empty(StatusCode::NO_CONTENT)),
        Err(error) => return Err(error),
    };
    let options = DeleteOptions::default();
    let accepted = request
        .engine
        .delete(&request.ctx, &machine, options)
        .await?;
    Ok(match accepted {
        Some(accepted) => deleted_reply(&request, &accepted),
        None => Reply::empty(StatusCode::NO_CONTENT),
    })
}

/// GET …/virtualMachines, with `$expand=instanceView`.
pub(crate) async fn instances(request: Request) -> Result<Reply> {
    let set = request.id_before_verb()?;
    let with_views = request.expands("instanceView")
        || request
            .option("select")
            .is_some_and(|select| select.eq_ignore_ascii_case("instanceView"));
    let value = request
        .engine
        .list_instances(&request.ctx, &set, with_views)
        .await?;
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/virtualMachines/{instance}.
pub(crate) async fn instance(request: Request) -> Result<Reply> {
    let instance = request.id()?;
    let with_view = request.expands("instanceView");
    let shown = request
        .engine
        .get_instance(&request.ctx, &instance, with_view)
        .await?;
    Ok(Reply::ok(shown))
}

/// PUT …/virtualMachines/{instance}: what a machine may be given by itself.
pub(crate) async fn put_instance(request: Request) -> Result<Reply> {
    let instance = request.id()?;
    let body = request.checked_body(Kind::ScaleSetMachine)?;
    let ctx = &request.ctx;
    let (shown, accepted) = request.engine.put_instance(ctx, &instance, &body).await?;
    let reply = Reply::ok(shown);
    Ok(match &accepted.operation {
        Some(operation) => reply.polled(&ctx.base_url, &ctx.api_version, operation),
        None => reply,
    })
}

/// GET …/virtualMachines/{instance}/instanceView.
pub(crate) async fn instance_view(request: Request) -> Result<Reply> {
    let instance = request.id_before_verb()?;
    let shown = request
        .engine
        .get_instance_view_of(&request.ctx, &instance)
        .await?;
    Ok(Reply::ok(shown))
}

/// POST …/virtualMachines/{instance}/retrieveBootDiagnosticsData.
pub(crate) async fn boot_diagnostics(request: Request) -> Result<Reply> {
    let instance = request.id_before_verb()?;
    let minutes = request.option("sasuriexpirationtimeinminutes");
    let (_, machine) = request
        .engine
        .find_instance(
            &request.ctx,
            &instance,
            "retrieveBootDiagnosticsData/action",
        )
        .await?;
    let data = request
        .engine
        .boot_diagnostics(&request.ctx, &machine.id, minutes)
        .await?;
    Ok(Reply::ok(data))
}

/// POST …/virtualMachines/{instance}/runCommand.
pub(crate) async fn run_command(request: Request) -> Result<Reply> {
    let instance = request.id_before_verb()?;
    let engine = &request.engine;
    let found = engine.find_instance(&request.ctx, &instance, "runCommand/action");
    let (_, machine) = found.await?;
    super::virtual_machine::run_command_in(&request, &machine.id).await
}

/// GET …/instanceView.
pub(crate) async fn view_of_set(request: Request) -> Result<Reply> {
    let set = request.id_before_verb()?;
    let shown = request.engine.scale_set_view(&request.ctx, &set).await?;
    Ok(Reply::ok(shown))
}

/// GET …/skus.
pub(crate) async fn sizes(request: Request) -> Result<Reply> {
    let set = request.id_before_verb()?;
    let sizes = request.engine.list_set_sizes(&request.ctx, &set).await?;
    Ok(Reply::ok(json!({ "value": sizes })))
}

/// GET …/networkInterfaces, of a set or of one of its machines.
pub(crate) async fn interfaces(request: Request) -> Result<Reply> {
    let below = request.id_before_verb()?;
    let cards = request
        .engine
        .list_set_interfaces(&request.ctx, &below)
        .await?;
    let value: Vec<Value> = cards.iter().map(|card| view(card, &request.ctx)).collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/publicIPAddresses, of a set or of one IP configuration of a machine of it.
pub(crate) async fn addresses(request: Request) -> Result<Reply> {
    let below = request.id_before_verb()?;
    let addresses = request
        .engine
        .list_set_addresses(&request.ctx, &below)
        .await?;
    let value: Vec<Value> = addresses
        .iter()
        .map(|address| view(address, &request.ctx))
        .collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET …/osUpgradeHistory.
pub(crate) async fn os_upgrades(request: Request) -> Result<Reply> {
    let set = request.id_before_verb()?;
    let value = request.engine.os_upgrades(&request.ctx, &set).await?;
    Ok(Reply::ok(json!({ "value": value })))
}

/// POST of a verb that is not offered, to a set or to a machine of it.
pub(crate) async fn refuse(request: Request, asked: SetNotOffered) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let engine = &request.engine;
    Err(engine.refuse_set_action(&request.ctx, &id, asked).await)
}

/// POST …/virtualMachines/{instance}/attachDetachDataDisks.
pub(crate) async fn attach_detach(request: Request) -> Result<Reply> {
    let instance = request.id_before_verb()?;
    let body = arm::schema::check_request_bytes(
        arm::schema::Shape::AttachDetach,
        &request.ctx.api_version,
        &request.body,
    )?;
    let verb = "attachDetachDataDisks/action";
    let (_, machine) = request
        .engine
        .find_instance(&request.ctx, &instance, verb)
        .await?;
    let accepted = request
        .engine
        .attach_detach(&request.ctx, &machine.id, &body)
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// POST …/osRollingUpgrade.
pub(crate) async fn start_os_upgrade(request: Request) -> Result<Reply> {
    let set = request.id_before_verb()?;
    let accepted = request.engine.start_os_upgrade(&request.ctx, &set).await?;
    Ok(deleted_reply(&request, &accepted))
}

/// GET …/rollingUpgrades/latest.
pub(crate) async fn latest_upgrade(request: Request) -> Result<Reply> {
    let set = before_segment(&request.path, "/rollingUpgrades")?;
    let shown = request.engine.latest_upgrade(&request.ctx, &set).await?;
    Ok(Reply::ok(shown))
}

/// POST …/rollingUpgrades/cancel.
pub(crate) async fn cancel_upgrade(request: Request) -> Result<Reply> {
    let set = before_segment(&request.path, "/rollingUpgrades")?;
    request.engine.cancel_upgrade(&request.ctx, &set).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// Returns the id in front of a segment of a path.
fn before_segment(path: &str, segment: &str) -> Result<domain::ResourceId> {
    let lower = path.to_ascii_lowercase();
    let cut = lower.rfind(&segment.to_ascii_lowercase());
    let cut = cut.ok_or_else(Error::internal)?;
    domain::ResourceId::parse(path.get(..cut).unwrap_or_default())
}
