//! What readers see of a set's machines.

use serde_json::{Map, Value, json};

use super::instance::{is_customized, protection};
use super::{PROFILE, model_of};
use crate::{Kind, Resource, virtual_machine};

/// What is known of a machine of a set besides its row.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `ProvisioningState/…` and `PowerState/…` of its instance view.
    pub codes: Vec<String>,
}

/// Returns a machine as its set lists it.
pub fn instance(set: &Resource, machine: &Resource, view: Option<Value>) -> Value {
    let shown = virtual_machine::shown(machine);
    let mut properties = Map::new();
    let is_latest = model_of(machine) == model_of(set);
    properties.insert("latestModelApplied".to_owned(), json!(is_latest));
    let model = match is_customized(machine) {
        true => "VirtualMachine",
        false => "VirtualMachineScaleSet",
    };
    properties.insert("modelDefinitionApplied".to_owned(), json!(model));
    if let Some(policy) = protection(machine) {
        properties.insert("protectionPolicy".to_owned(), json!(policy));
    }
    if machine.kind == Kind::ScaleSetMachine {
        let network = set.properties.get(PROFILE);
        if let Some(network) = network.and_then(|p| p.get("networkProfile")) {
            properties.insert("networkProfileConfiguration".to_owned(), network.clone());
        }
    }
    for (name, value) in shown.properties {
        let value = match name.as_str() {
            "storageProfile" => without_delete_options(value),
            "networkProfile" => ids_only(value),
            // Which set it is stands in the path.
            "virtualMachineScaleSet" => continue,
            _ => value,
        };
        properties.insert(name, value);
    }
    let state = machine.state.as_str();
    properties.insert("provisioningState".to_owned(), json!(state));
    if let Some(view) = view {
        properties.insert("instanceView".to_owned(), view);
    }
    let mut out = Map::new();
    out.insert("name".to_owned(), json!(virtual_machine::name(&machine.id)));
    out.insert("id".to_owned(), json!(machine.id.to_string()));
    out.insert("type".to_owned(), json!(machine.kind.type_name()));
    out.insert("location".to_owned(), json!(machine.location));
    if let Some(tags) = &machine.tags {
        out.insert("tags".to_owned(), json!(tags));
    }
    out.insert("instanceId".to_owned(), json!(machine.id.name()));
    let size = machine.properties.get("hardwareProfile");
    let size = size.and_then(|h| h.get("vmSize"));
    out.insert(
        "sku".to_owned(),
        json!({ "name": size, "tier": "Standard" }),
    );
    for name in ["zones", "plan"] {
        if let Some(value) = machine.top.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    out.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(out)
}

fn without_delete_options(mut storage: Value) -> Value {
    let tidy = |disk: &mut Value| {
        if let Some(disk) = disk.as_object_mut() {
            disk.shift_remove("deleteOption");
        }
    };
    if let Some(os) = storage.get_mut("osDisk") {
        tidy(os);
    }
    let data = storage.get_mut("dataDisks").and_then(Value::as_array_mut);
    data.into_iter().flatten().for_each(tidy);
    storage
}

fn ids_only(mut network: Value) -> Value {
    let cards = network
        .get_mut("networkInterfaces")
        .and_then(Value::as_array_mut);
    for card in cards.into_iter().flatten() {
        if let Some(inner) = card.get_mut("properties").and_then(Value::as_object_mut) {
            inner.shift_remove("deleteOption");
        }
    }
    network
}

/// Returns the instance view of a set: how many of its machines are in which state.
pub fn instance_view(set: &Resource, seen: &[Seen]) -> Value {
    let mut counts: Map<String, Value> = Map::new();
    for code in seen.iter().flat_map(|seen| &seen.codes) {
        let count = counts.get(code).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(code.clone(), json!(count + 1));
    }
    let summary: Vec<Value> = counts
        .into_iter()
        .map(|(code, count)| json!({ "code": code, "count": count }))
        .collect();
    let (word, level, shown) = match set.state {
        crate::ProvisioningState::Succeeded => ("succeeded", "Info", "Provisioning succeeded"),
        crate::ProvisioningState::Failed => ("failed", "Error", "Provisioning failed"),
        crate::ProvisioningState::Deleting => ("deleting", "Info", "Deleting"),
        crate::ProvisioningState::Creating => ("creating", "Info", "Creating"),
        crate::ProvisioningState::Updating => ("updating", "Info", "Updating"),
    };
    json!({
        "virtualMachine": { "statusesSummary": summary },
        "statuses": [{
            "code": format!("ProvisioningState/{word}"),
            "level": level,
            "displayStatus": shown,
        }],
        "orchestrationServices": [],
    })
}
