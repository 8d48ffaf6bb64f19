//! A machine of a set changed by itself: its protection, its data disks, its tags. All else is the model's.

use serde_json::{Value, json};

use super::view;
use crate::plan::{is_nothing, properties};
use crate::resource::Document;
use crate::virtual_machine::disks;
use crate::{Error, Resource, Result};

const PROTECTION: &str = "protectionPolicy";
/// Members of `properties` that a machine may be given by itself.
const OWN: [&str; 3] = [PROTECTION, STORAGE, "userData"];
const STORAGE: &str = "storageProfile";
const DATA: &str = "dataDisks";
/// Members that only the server says; what is sent of them counts for nothing.
const READ_ONLY: [&str; 7] = [
    "latestModelApplied",
    "modelDefinitionApplied",
    "provisioningState",
    "instanceView",
    "vmId",
    "timeCreated",
    "resilientVMDeletionStatus",
];

/// Returns the change of a machine that a PUT of it through its set asks for; what belongs to the model is refused.
///
/// Bodies repeat what GET shows: what is there already is no change.
pub fn instance_change(set: &Resource, machine: &Resource, body: &Value) -> Result<Value> {
    let shown = view::instance(set, machine, None);
    for name in ["location", "sku", "zones", "plan"] {
        let sent = body.get(name).filter(|sent| !is_nothing(sent));
        if sent.is_some_and(|sent| !is_there(shown.get(name), sent)) {
            return Err(Error::change_not_allowed(name));
        }
    }
    let held = shown.get("properties").cloned().unwrap_or_default();
    let sent = properties(body);
    for (name, value) in sent.iter().filter(|(_, value)| !is_nothing(value)) {
        let is_own = OWN.contains(&name.as_str()) || READ_ONLY.contains(&name.as_str());
        if !is_own && !is_there(held.get(name), value) {
            return Err(Error::change_not_allowed(name.clone()));
        }
    }
    let mut change = Document::new();
    if let Some(storage) = sent.get(STORAGE).and_then(Value::as_object) {
        let of_model = storage.iter().filter(|(name, _)| *name != DATA);
        for (name, value) in of_model.filter(|(_, value)| !is_nothing(value)) {
            let held = held.get(STORAGE).and_then(|held| held.get(name));
            if !is_there(held, value) {
                return Err(Error::change_not_allowed(format!("{STORAGE}.{name}")));
            }
        }
        if let Some(disks) = storage.get(DATA).filter(|disks| !disks.is_null()) {
            change.insert(STORAGE.to_owned(), json!({ DATA: disks }));
        }
    }
    for name in [PROTECTION, "userData"] {
        if let Some(value) = sent.get(name).filter(|value| !value.is_null()) {
            change.insert(name.to_owned(), value.clone());
        }
    }
    let mut out = json!({ "properties": change });
    if let Some(tags) = body.get("tags").filter(|tags| !tags.is_null()) {
        out["tags"] = tags.clone();
    }
    Ok(out)
}

/// Whether what was sent is there already; words compare without case, lists item by item.
fn is_there(held: Option<&Value>, sent: &Value) -> bool {
    match (held, sent) {
        (_, sent) if is_nothing(sent) => true,
        (Some(Value::String(held)), Value::String(sent)) => held.eq_ignore_ascii_case(sent),
        (Some(Value::Array(held)), Value::Array(sent)) => {
            held.len() == sent.len() && held.iter().zip(sent).all(|(h, s)| is_there(Some(h), s))
        }
        (Some(Value::Object(held)), Value::Object(sent)) => sent
            .iter()
            .all(|(name, sent)| is_there(held.get(name), sent)),
        (held, sent) => held == Some(sent),
    }
}

/// Takes the protection that a change of a machine says; what it does not say stays.
pub(crate) fn take_protection(machine: &mut Resource, body: &Value) {
    let sent = body.get("properties").and_then(|p| p.get(PROTECTION));
    let Some(sent) = sent.and_then(Value::as_object) else {
        return;
    };
    let mut held = protection(machine).cloned().unwrap_or_default();
    for name in ["protectFromScaleIn", "protectFromScaleSetActions"] {
        if let Some(value) = sent.get(name).filter(|value| value.is_boolean()) {
            held.insert(name.to_owned(), value.clone());
        }
    }
    if !held.is_empty() {
        let held = Value::Object(held);
        machine.internal.insert(PROTECTION.to_owned(), held);
    }
}

/// Returns the protection of a machine as it is shown.
pub(super) fn protection(machine: &Resource) -> Option<&Document> {
    machine.internal.get(PROTECTION)?.as_object()
}

/// Keeps what a machine was given by itself when it gets the model of its set: its protection, and disks that were
/// attached to it where the model has none.
pub fn keep_own(machine: &mut Resource, before: &Resource) {
    if let Some(held) = before.internal.get(PROTECTION) {
        machine.internal.insert(PROTECTION.to_owned(), held.clone());
    }
    let luns: Vec<i64> = disks(machine).iter().filter_map(|disk| disk.lun).collect();
    let held = before.properties.get(STORAGE).and_then(|p| p.get(DATA));
    let own: Vec<Value> = held
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|disk| is_attached(disk))
        .filter(|disk| {
            let lun = disk.get("lun").and_then(Value::as_i64);
            lun.is_some_and(|lun| !luns.contains(&lun))
        })
        .cloned()
        .collect();
    let data = machine
        .properties
        .get_mut(STORAGE)
        .and_then(|profile| profile.get_mut(DATA))
        .and_then(Value::as_array_mut);
    if let Some(data) = data {
        data.extend(own);
        data.sort_by_key(|disk| disk.get("lun").and_then(Value::as_i64));
    }
}

fn is_attached(disk: &Value) -> bool {
    disk.get("createOption") == Some(&json!("Attach"))
}

/// Whether a machine has what its set's model does not give it.
pub(super) fn is_customized(machine: &Resource) -> bool {
    disks(machine)
        .iter()
        .any(|disk| disk.lun.is_some() && disk.option == "Attach")
}

/// Whether a machine stays when its set gets smaller.
pub fn is_kept_at_scale_in(machine: &Resource) -> bool {
    says(machine, "protectFromScaleIn") || is_kept_from_actions(machine)
}

/// Whether what is asked of its set as a whole does not concern a machine.
pub fn is_kept_from_actions(machine: &Resource) -> bool {
    says(machine, "protectFromScaleSetActions")
}

fn says(machine: &Resource, name: &str) -> bool {
    let policy = protection(machine);
    policy.and_then(|policy| policy.get(name)) == Some(&Value::Bool(true))
}

/// Refuses fewer machines than those that are protected.
pub fn check_scale_in(set: &Resource, machines: &[Resource]) -> Result<()> {
    let wanted = super::capacity(set);
    let kept = machines.iter().filter(|m| is_kept_at_scale_in(m)).count();
    if kept <= wanted || machines.len() <= wanted {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The scale set '{}' cannot be scaled in to {wanted} instances since {kept} of them are protected from scale-in. \
             Remove the protection policy of instances that are to go, or delete them by their ids.",
            set.id.name()
        ),
    ))
}
