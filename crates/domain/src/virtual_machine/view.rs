//! What readers see of a machine. Source: recordings of `az vm show` and `az vm create`.

use serde_json::{Map, Value, json};

use super::power::{Power, is_generalized, is_specialized};
use super::storage::PROFILE;
use crate::operation::Work;
use crate::plan::moment;
use crate::{ProvisioningState, Resource, Result};

/// What is known of a machine besides its row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The work that is under way.
    pub work: Option<Work>,
    /// Whether the driver sees no guest where the row says that it runs.
    pub is_down: bool,
    /// Why.
    pub reason: Option<String>,
    /// What the driver says of itself.
    pub driver: String,
    /// The version of the agent in the guest that has answered.
    pub agent: Option<String>,
    /// Disks to which requests of the guest fail, by their slots, and why.
    pub troubles: Vec<(String, String)>,
}

/// Returns the row as answers show it: without what only a deallocated machine does not know.
pub fn shown(row: &Resource) -> Resource {
    let mut row = row.clone();
    if Power::of(&row) == Power::Deallocated
        && let Some(profile) = row
            .properties
            .get_mut(PROFILE)
            .and_then(Value::as_object_mut)
    {
        // What a disk is now stands in the disk's own row.
        let hide = |disk: &mut Value| {
            if let Some(disk) = disk.as_object_mut() {
                disk.shift_remove("diskSizeGB");
                if let Some(managed) = disk.get_mut("managedDisk").and_then(Value::as_object_mut) {
                    managed.shift_remove("storageAccountType");
                }
            }
        };
        if let Some(os) = profile.get_mut("osDisk") {
            hide(os);
        }
        let data = profile.get_mut("dataDisks").and_then(Value::as_array_mut);
        data.into_iter().flatten().for_each(hide);
    }
    row
}

/// Returns the etag of a row.
pub fn etag(row: &Resource) -> String {
    format!("\"{}\"", row.revision)
}

/// Returns `userData`, which is shown only when it is asked for.
pub fn user_data(row: &Resource) -> Option<&Value> {
    row.internal.get("userData")
}

/// Returns the instance view.
pub fn instance_view(row: &Resource, seen: &Observed) -> Result<Value> {
    let power = Power::of(row);
    let is_up = power == Power::Running && !seen.is_down;
    let mut view = Map::new();
    let changed = moment(row.changed_ms)?;
    if is_up
        && let Some(name) = row
            .properties
            .get("osProfile")
            .and_then(|p| p.get("computerName"))
    {
        view.insert("computerName".to_owned(), name.clone());
    }
    if is_up {
        view.insert("vmAgent".to_owned(), agent(seen, &changed));
    }
    let disks: Vec<Value> = super::disks(row)
        .iter()
        .map(|disk| {
            let mut statuses = vec![json!({
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "time": changed.clone(),
            })];
            let slot = super::slot(disk.lun);
            let troubles = seen.troubles.iter().filter(|(at, _)| *at == slot);
            statuses.extend(troubles.map(|(_, why)| {
                json!({
                    "code": "StorageState/failing",
                    "level": "Error",
                    "displayStatus": "Requests of the guest fail",
                    "message": why,
                })
            }));
            json!({ "name": disk.id.name(), "statuses": statuses })
        })
        .collect();
    view.insert("disks".to_owned(), json!(disks));
    let diagnostics = row.properties.get("diagnosticsProfile");
    let enabled = diagnostics.and_then(|d| d.pointer("/bootDiagnostics/enabled"));
    if enabled == Some(&Value::Bool(true)) {
        view.insert("bootDiagnostics".to_owned(), json!({}));
    }
    if let Some(generation) = row.internal.get("generation") {
        view.insert("hyperVGeneration".to_owned(), generation.clone());
    }
    view.insert("statuses".to_owned(), statuses(row, seen, changed));
    Ok(Value::Object(view))
}

fn agent(seen: &Observed, changed: &Value) -> Value {
    let Some(version) = &seen.agent else {
        return json!({
            "vmAgentVersion": "Unknown",
            "statuses": [{
                "code": "ProvisioningState/Unavailable",
                "level": "Warning",
                "displayStatus": "Not Ready",
                "message": seen.driver,
                "time": changed,
            }],
        });
    };
    json!({
        "vmAgentVersion": version,
        "statuses": [{
            "code": "ProvisioningState/succeeded",
            "level": "Info",
            "displayStatus": "Ready",
            "message": format!("Guest Agent is running: {}", seen.driver),
            "time": changed,
        }],
        "extensionHandlers": [],
    })
}

fn statuses(row: &Resource, seen: &Observed, changed: Value) -> Value {
    let mut out = Vec::new();
    if is_generalized(row) {
        out.push(info("OSState/generalized", "VM generalized"));
    } else if is_specialized(row) {
        out.push(info("OSState/specialized", "VM specialized"));
    }
    let (word, shown) = match row.state {
        ProvisioningState::Creating => ("creating", "Creating"),
        ProvisioningState::Updating => ("updating", "Updating"),
        ProvisioningState::Succeeded => ("succeeded", "Provisioning succeeded"),
        ProvisioningState::Failed => ("failed", "Provisioning failed"),
        ProvisioningState::Deleting => ("deleting", "Deleting"),
    };
    let mut provisioning = info(&format!("ProvisioningState/{word}"), shown);
    if let Some(members) = provisioning.as_object_mut() {
        members.insert("time".to_owned(), changed);
    }
    out.push(provisioning);
    let (code, words) = power_words(Power::of(row), seen);
    if let Some(code) = code {
        let mut power = info(&format!("PowerState/{code}"), words);
        let reason = seen.reason.as_ref().filter(|_| seen.is_down);
        if let (Some(members), Some(reason)) = (power.as_object_mut(), reason) {
            members.insert("message".to_owned(), json!(reason));
        }
        out.push(power);
    }
    Value::Array(out)
}

fn power_words(power: Power, seen: &Observed) -> (Option<&'static str>, &'static str) {
    match (seen.work, power) {
        (Some(Work::Start | Work::Restart | Work::Redeploy | Work::Reimage), _) => {
            (Some("starting"), "VM starting")
        }
        (Some(Work::PowerOff), Power::Running) => (Some("stopping"), "VM stopping"),
        (Some(Work::Deallocate), Power::Running | Power::Stopped) => {
            (Some("deallocating"), "VM deallocating")
        }
        (_, Power::Running) if seen.is_down => (Some("stopped"), "VM stopped"),
        (_, Power::Running) => (Some("running"), "VM running"),
        (_, Power::Stopped) => (Some("stopped"), "VM stopped"),
        (_, Power::Deallocated) => (Some("deallocated"), "VM deallocated"),
        (_, Power::Created) => (None, ""),
    }
}

fn info(code: &str, shown: &str) -> Value {
    json!({ "code": code, "level": "Info", "displayStatus": shown })
}
