//! From a row to what the request's api-version shows of it.

use domain::{Kind, Resource, Result};
use engine::Ctx;
use serde_json::Value;

use crate::request::Request;

/// The first api-version that knows `sharingStatus`.
const SHARING_STATUS_SINCE: &str = "2021-10-01";

/// Returns the resource as this request may see it.
pub(crate) fn view(row: &Resource, ctx: &Ctx) -> Value {
    if row.kind == Kind::StorageAccount {
        return engine::storage_account_view(row, &ctx.base_url);
    }
    if row.kind == Kind::VirtualMachine {
        let shown_row = domain::virtual_machine::shown(row);
        let mut shown = arm::envelope::resource(&shown_row);
        shown["etag"] = domain::virtual_machine::etag(row).into();
        arm::schema::project(row.kind, &ctx.api_version, &mut shown);
        return shown;
    }
    if row.kind == Kind::ScaleSet {
        let mut shown = arm::envelope::resource(row);
        shown["etag"] = domain::virtual_machine::etag(row).into();
        return shown;
    }
    let mut shown = arm::envelope::resource(row);
    hide_gallery_groups(row, &mut shown);
    arm::schema::project(row.kind, &ctx.api_version, &mut shown);
    shown
}

/// Groups show only when asked for. Source: `API.md` 3.1.
fn hide_gallery_groups(row: &Resource, shown: &mut Value) {
    if row.kind == Kind::Gallery
        && let Some(profile) = shown
            .pointer_mut("/properties/sharingProfile")
            .and_then(Value::as_object_mut)
    {
        profile.shift_remove("groups");
    }
}

/// Adds what `$expand` and `$select` ask for.
pub(crate) async fn expand(request: &Request, row: &Resource, shown: &mut Value) -> Result<()> {
    if row.kind == Kind::ImageVersion && request.expands("ContentDigests") {
        let digests = request.engine.content_digests(row).await?;
        if let Some(properties) = shown.get_mut("properties").and_then(Value::as_object_mut) {
            let digests = super::digest::member(&digests)?;
            properties.insert("contentDigests".to_owned(), digests);
        }
    }
    match row.kind {
        kind if kind.is_version() && request.expands("ReplicationStatus") => {
            let status = request.engine.replication_status(row).await?;
            if let Some(properties) = shown.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("replicationStatus".to_owned(), status);
            }
        }
        Kind::Gallery if wants_groups(request) => {
            let groups = row
                .properties
                .get("sharingProfile")
                .and_then(|p| p.get("groups"));
            let profile = shown
                .pointer_mut("/properties/sharingProfile")
                .and_then(Value::as_object_mut);
            if let (Some(groups), Some(profile)) = (groups, profile) {
                profile.insert("groups".to_owned(), groups.clone());
            }
            show_sharing_status(request, row, shown).await?;
        }
        Kind::VirtualMachine => expand_machine(request, row, shown).await?,
        Kind::ScaleSet if request.expands("userData") => {
            let data = domain::virtual_machine::user_data(row);
            let profile = shown.pointer_mut("/properties/virtualMachineProfile");
            if let (Some(data), Some(profile)) = (data, profile.and_then(Value::as_object_mut)) {
                profile.insert("userData".to_owned(), data.clone());
            }
        }
        _ => {}
    }
    Ok(())
}

/// Shows in which regions others see a gallery, to who asks for its groups in full.
async fn show_sharing_status(request: &Request, row: &Resource, shown: &mut Value) -> Result<()> {
    let is_known = request.ctx.api_version.as_str() >= SHARING_STATUS_SINCE;
    let is_shared = domain::gallery::permissions(row) != "Private";
    if !is_known || !is_shared || !request.expands("SharingProfile/Groups") {
        return Ok(());
    }
    let status = request.engine.sharing_status(row).await?;
    if let Some(properties) = shown.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("sharingStatus".to_owned(), status);
    }
    Ok(())
}

async fn expand_machine(request: &Request, row: &Resource, shown: &mut Value) -> Result<()> {
    let mut added = Vec::new();
    if request.expands("instanceView") {
        added.push(("instanceView", request.engine.instance_view(row).await?));
    }
    if request.expands("userData")
        && let Some(data) = domain::virtual_machine::user_data(row)
    {
        added.push(("userData", data.clone()));
    }
    let Some(properties) = shown.get_mut("properties").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    // What is asked for stands before the time of creation, as recorded.
    let made = properties.shift_remove("timeCreated");
    for (name, value) in added {
        properties.insert(name.to_owned(), value);
    }
    properties.extend(made.map(|made| ("timeCreated".to_owned(), made)));
    Ok(())
}

fn wants_groups(request: &Request) -> bool {
    request.expands("SharingProfile/Groups")
        || request
            .option("select")
            .is_some_and(|s| s.eq_ignore_ascii_case("Permissions"))
}
