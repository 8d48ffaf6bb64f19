//! Machines. Source: `API.md` 3.6, 10; `WIRE.md` 4.6; recordings.
//!
//! What a machine boots from is checked where the catalog is ([`take_boot`]); its disks are rows of
//! their own. `internal` holds what no view shows: power, what was provisioned, what the image said.

mod attach;
mod capture;
mod disks;
mod image;
mod network;
mod not_offered;
mod os_profile;
mod power;
mod reimage;
mod run_command;
mod size;
mod storage;
mod view;

use serde_json::{Value, json};

use crate::plan::{
    PutContext, canonical, drop_nothing, is_nothing, is_part, moment, properties, refuse_identity,
    start, take, take_once_if_said,
};
use crate::{Error, Kind, Resource, ResourceId, Result};

pub use attach::{attach_detach, attached};
pub use capture::{CapturedFrom, caching, check_captured, check_captured_disks, take_machine};
pub use disks::{MachineDisk, add_image_disks, disks, show_disk, slot};
pub use image::{BootFacts, take_boot};
pub use network::{MachineCard, cards};
pub use not_offered::NotOffered;
pub use os_profile::{forget_secrets, secret, secrets, set_secrets};
pub use power::{
    Power, after, check as check_action, generalize, is_generalized, is_specialized, verb,
};
pub use reimage::reimage;
pub use run_command::{
    CommandFailure, CommandId, RUN_MS_MAX, RunCommand, SCRIPT_BYTES_MAX, command_in_progress,
};
pub use size::{Cap, Family, SIZES, Size, check_cap};
pub use view::{Observed, etag, instance_view, shown, user_data};

const WIRE: &str = "virtualMachine.properties";
/// The property of an image version that names its source.
const SOURCE: &str = "galleryImageVersion.properties.storageProfile.source.id";

/// Members that may change as sent.
const MUTABLE: [&str; 9] = [
    "diagnosticsProfile",
    "billingProfile",
    "scheduledEventsProfile",
    "scheduledEventsPolicy",
    "applicationProfile",
    "extensionsTimeBudget",
    "capacityReservation",
    "licenseType",
    "additionalCapabilities",
];
/// Members that are said once.
const ONCE: [&str; 8] = [
    "availabilitySet",
    "virtualMachineScaleSet",
    "proximityPlacementGroup",
    "priority",
    "evictionPolicy",
    "host",
    "hostGroup",
    "platformFaultDomain",
];
/// Members beside `properties` that are said once.
const ONCE_TOP: [&str; 4] = ["zones", "extendedLocation", "plan", "placement"];
/// Objects that say nothing when they are empty; echoed, they would be a difference for ever. Source: `WIRE.md` 4.6.
const EMPTY: [&str; 6] = [
    "additionalCapabilities",
    "diagnosticsProfile",
    "scheduledEventsProfile",
    "applicationProfile",
    "billingProfile",
    "licenseType",
];

/// Decides a PUT or, with `stored`, a change.
pub fn plan_put(
    kind: Kind,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    if !crate::plan::is_entity_name(id.name()) || id.name().len() > 64 {
        return Err(crate::plan::invalid_entity_name("vmName"));
    }
    if let Some(stored) = stored
        && is_generalized(stored)
        && body.get("properties").is_some_and(|p| !is_nothing(p))
    {
        check_action(stored, crate::operation::Work::Put)?;
    }
    let mut row = start(ctx, kind, id, body, stored)?;
    let mut sent = properties(body);
    let is_new = stored.is_none();
    plan_top(&mut row, body, is_new)?;
    size::plan(&mut row, &sent, is_new)?;
    if is_new {
        row.properties
            .insert("vmId".to_owned(), json!((ctx.fresh)().to_string()));
    }
    storage::plan(ctx, &mut row, &sent, stored)?;
    check_resize(&row, stored)?;
    let os_type = row.properties.get("storageProfile");
    let os_type = os_type.and_then(|p| p.pointer("/osDisk/osType"));
    let os_type = os_type.and_then(Value::as_str).map(str::to_owned);
    os_profile::plan(&mut row, &sent, os_type.as_deref(), is_new)?;
    plan_security(&mut row, &sent, is_new)?;
    network::plan(&mut row, &sent, is_new)?;
    words(&mut sent)?;
    drop_nothing(&mut sent, &EMPTY);
    take(&mut row.properties, &sent, &MUTABLE);
    take_once_if_said(&mut row.properties, &sent, &ONCE, is_new)?;
    if !is_new {
        crate::scale_set::take_protection(&mut row, body);
    }
    if is_new {
        // The set that a machine is in says so beside its properties as well.
        let set = row.properties.get("virtualMachineScaleSet");
        if let Some(id) = set.and_then(|set| set.get("id")).cloned() {
            row.top.insert("managedBy".to_owned(), id);
        }
        let made = moment(ctx.now_ms)?;
        row.properties.insert("timeCreated".to_owned(), made);
    }
    Ok(row)
}

/// Returns the name of a machine: that of one in a scale set begins with the set's, `set_0`.
pub fn name(id: &ResourceId) -> String {
    match (id.kind(), id.parent()) {
        (Some(Kind::ScaleSetMachine), Some(set)) => format!("{}_{}", set.name(), id.name()),
        _ => id.name().to_owned(),
    }
}

fn words(sent: &mut crate::resource::Document) -> Result<()> {
    canonical(sent, "priority", &["Regular", "Low", "Spot"], "priority")?;
    canonical(
        sent,
        "evictionPolicy",
        &["Deallocate", "Delete"],
        "evictionPolicy",
    )
}

fn plan_top(row: &mut Resource, body: &Value, is_new: bool) -> Result<()> {
    let said = body.as_object().cloned().unwrap_or_default();
    take_once_if_said(&mut row.top, &said, &ONCE_TOP, is_new)?;
    refuse_identity(body)
}

/// A system disk grows while nothing runs. Source: the service's `OperationNotAllowed`.
fn check_resize(row: &Resource, stored: Option<&Resource>) -> Result<()> {
    let Some(stored) = stored else {
        return Ok(());
    };
    for disk in disks(row) {
        let held = disks(stored)
            .into_iter()
            .find(|d| d.id.key() == disk.id.key());
        let is_grown = held.is_some_and(|held| match (held.size_gib, disk.size_gib) {
            (Some(held), Some(now)) => held != now,
            _ => false,
        });
        if is_grown && Power::of(stored) != Power::Deallocated {
            return Err(Error::conflict(
                "OperationNotAllowed",
                "Resizing a disk of an Azure Virtual Machine is allowed only when the VM is deallocated.",
            )
            .at(format!("{}.diskSizeGB", slot(disk.lun))));
        }
    }
    Ok(())
}

fn plan_security(row: &mut Resource, sent: &crate::resource::Document, is_new: bool) -> Result<()> {
    let Some(profile) = sent.get("securityProfile").filter(|p| !is_nothing(p)) else {
        return Ok(());
    };
    let mut profile = profile.as_object().cloned().unwrap_or_default();
    profile.retain(|_, value| !is_nothing(value));
    canonical(
        &mut profile,
        "securityType",
        &["Standard", "TrustedLaunch", "ConfidentialVM"],
        "securityProfile.securityType",
    )?;
    if profile.get("encryptionAtHost") == Some(&Value::Bool(true)) {
        return Err(Error::invalid_parameter(
            "securityProfile.encryptionAtHost",
            "Encryption at host is not available on this server. Encrypt the file system that holds its data instead.",
        ));
    }
    if is_new {
        row.properties
            .insert("securityProfile".to_owned(), Value::Object(profile));
        return Ok(());
    }
    let held = row.properties.get("securityProfile");
    let type_sent = profile.get("securityType");
    let is_standard = type_sent == Some(&json!("Standard"));
    let held_type = held.and_then(|h| h.get("securityType"));
    if type_sent.is_some() && held_type != type_sent && !(is_standard && held_type.is_none()) {
        return Err(Error::change_not_allowed("securityProfile.securityType"));
    }
    let changes = profile
        .iter()
        .any(|(name, value)| !is_part(held.and_then(|h| h.get(name)), value));
    if changes && Power::of(row) == Power::Running && profile.contains_key("uefiSettings") {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The UEFI settings of VM '{}' can only be changed while it is stopped (deallocated).",
                row.id.name()
            ),
        )
        .at("securityProfile.uefiSettings"));
    }
    let kept = row
        .properties
        .entry("securityProfile")
        .or_insert_with(|| json!({}));
    if let Some(kept) = kept.as_object_mut() {
        kept.extend(profile);
    }
    Ok(())
}
