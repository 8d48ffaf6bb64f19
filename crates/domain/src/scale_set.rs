//! Scale sets: a model, how many machines are wanted of it, and how they get a changed model.
//!
//! A set's row is desired state; its machines are rows of their own, made by its worker: children of a
//! uniform set, ordinary machines that name a flexible one. Every machine remembers which revision of the
//! model it was made of ([`model_of`]). Source: `API.md` 10, `WIRE.md` 4.6, the published API definitions.

mod addresses;
mod cards;
mod image;
mod instance;
mod member;
mod model;
mod not_offered;
mod policy;
mod rolling;
mod view;

use serde_json::{Value, json};

use crate::plan::{
    PutContext, canonical, is_nothing, moment, properties, refuse_identity, start,
    take_once_if_said, text,
};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

pub use cards::{Card, card_bodies};
pub use image::{check_image_change, uses_latest};
pub(crate) use instance::take_protection;
pub use instance::{
    check_scale_in, instance_change, is_kept_at_scale_in, is_kept_from_actions, keep_own,
};
pub use member::{Member, check_instances, next_member, number_of, oldest_model_first, surplus};
pub use model::{machine_body, machine_needs, take_prototype};
pub use not_offered::SetNotOffered;
pub use policy::{Mode, Rolling, automatic_os_upgrade, mode, rolling};
pub use rolling::{Progress, RollingCode};
pub use view::{Seen, instance, instance_view};

/// The most machines of one set.
pub const CAPACITY_MAX: u64 = 1_000;
/// The most machines of a set in a single placement group.
const PLACEMENT_GROUP_MAX: u64 = 100;
pub(super) const PROFILE: &str = "virtualMachineProfile";
/// Members that may change as sent.
const MUTABLE: [&str; 14] = [
    "overprovision",
    "doNotRunExtensionsOnOverprovisionedVMs",
    "singlePlacementGroup",
    "zoneBalance",
    "scaleInPolicy",
    "automaticRepairsPolicy",
    "additionalCapabilities",
    "priorityMixPolicy",
    "spotRestorePolicy",
    "resiliencyPolicy",
    "scheduledEventsPolicy",
    "constrainedMaximumCapacity",
    "upgradePolicy",
    PROFILE,
];
/// Of a flexible set it has no usual value. Source: recorded.
const DOMAINS: &str = "platformFaultDomainCount";
/// Members that are said once.
const ONCE: [&str; 4] = [
    DOMAINS,
    "proximityPlacementGroup",
    "hostGroup",
    "zonalPlatformFaultDomainAlignMode",
];
/// Members beside `properties` that are said once.
const ONCE_TOP: [&str; 3] = ["zones", "plan", "extendedLocation"];

/// Decides a PUT or, with `stored`, a change; what is omitted stays.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    if !crate::plan::is_entity_name(id.name()) || id.name().len() > 64 {
        return Err(crate::plan::invalid_entity_name("vmScaleSetName"));
    }
    let mut row = start(ctx, Kind::ScaleSet, id, body, stored)?;
    let mut sent = properties(body);
    plan_top(&mut row, body, stored.is_none())?;
    plan_mode(&mut row, &mut sent, stored.is_none())?;
    take_once_if_said(&mut row.properties, &sent, &ONCE, stored.is_none())?;
    model::take_secrets(&mut row, &mut sent)?;
    for name in MUTABLE {
        if let Some(value) = sent.get(name).filter(|value| !value.is_null()) {
            merge(row.properties.entry(name).or_insert(Value::Null), value);
        }
    }
    policy::plan(&mut row)?;
    model::plan(&mut row, stored, ctx.now_ms)?;
    check_capacity(&row)?;
    image::check_automatic_upgrade(&row)?;
    if stored.is_none() {
        let unique = (ctx.fresh)().to_string();
        row.properties.insert("uniqueId".to_owned(), json!(unique));
        let made = moment(ctx.now_ms)?;
        row.properties.insert("timeCreated".to_owned(), made);
    }
    Ok(row)
}

/// Puts what was sent over what is held: objects member by member, everything else as a whole.
fn merge(held: &mut Value, sent: &Value) {
    let (Value::Object(held), Value::Object(sent)) = (&mut *held, sent) else {
        *held = sent.clone();
        return;
    };
    for (name, value) in sent {
        // Another image is another reference: forms do not mix. Which version it means is not the client's to say.
        if name == "imageReference" {
            let mut value = value.clone();
            if let Some(members) = value.as_object_mut() {
                members.shift_remove("exactVersion");
            }
            if !is_nothing(&value) && !crate::plan::is_part(held.get(name), &value) {
                held.insert(name.clone(), value);
            }
        } else {
            merge(held.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

fn plan_top(row: &mut Resource, body: &Value, is_new: bool) -> Result<()> {
    let said = body.as_object().cloned().unwrap_or_default();
    take_once_if_said(&mut row.top, &said, &ONCE_TOP, is_new)?;
    refuse_identity(body)?;
    let Some(sku) = body.get("sku").filter(|sku| !is_nothing(sku)) else {
        return Ok(());
    };
    let mut held = row.top.get("sku").cloned().unwrap_or_else(|| json!({}));
    merge(&mut held, sku);
    let mut shown = Document::new();
    for name in ["name", "tier", "capacity"] {
        let value = held.get(name).filter(|value| !value.is_null());
        shown.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    shown.entry("tier").or_insert_with(|| json!("Standard"));
    shown.entry("capacity").or_insert_with(|| json!(0));
    row.top.insert("sku".to_owned(), Value::Object(shown));
    Ok(())
}

fn plan_mode(row: &mut Resource, sent: &mut Document, is_new: bool) -> Result<()> {
    const MODES: [&str; 2] = ["Uniform", "Flexible"];
    canonical(sent, "orchestrationMode", &MODES, "orchestrationMode")?;
    let asked = text(sent, "orchestrationMode");
    if is_new {
        let mode = asked.unwrap_or("Uniform");
        row.properties
            .insert("orchestrationMode".to_owned(), json!(mode));
        let is_flexible = mode == "Flexible";
        if is_flexible && sent.get(DOMAINS).is_none_or(is_nothing) {
            return Err(Error::required(DOMAINS));
        }
        let usual = match is_flexible {
            true => ("constrainedMaximumCapacity", json!(false)),
            false => ("overprovision", json!(true)),
        };
        for (name, value) in [
            (DOMAINS, json!(5)),
            ("singlePlacementGroup", json!(!is_flexible)),
            usual,
        ] {
            row.properties.insert(name.to_owned(), value);
        }
    } else if asked.is_some_and(|asked| text(&row.properties, "orchestrationMode") != Some(asked)) {
        return Err(Error::change_not_allowed("orchestrationMode"));
    }
    Ok(())
}

fn check_capacity(row: &Resource) -> Result<()> {
    let sku = row.top.get("sku");
    let has_name = sku.is_some_and(|sku| sku.get("name").is_some());
    if row.properties.contains_key(PROFILE) && !has_name {
        return Err(Error::required("sku"));
    }
    let Some(sent) = sku.and_then(|sku| sku.get("capacity")) else {
        return Ok(());
    };
    let is_single = row.properties.get("singlePlacementGroup") == Some(&json!(true));
    let most = if is_single {
        PLACEMENT_GROUP_MAX
    } else {
        CAPACITY_MAX
    };
    match sent.as_u64() {
        Some(capacity) if capacity > 0 && !row.properties.contains_key(PROFILE) => {
            Err(Error::required(PROFILE))
        }
        Some(capacity) if capacity <= most => Ok(()),
        _ => Err(Error::invalid_parameter(
            "sku.capacity",
            format!(
                "The value {sent} of parameter sku.capacity is out of range. The value must be between 0 and {most}, inclusive."
            ),
        )),
    }
}

/// Returns how many machines are wanted.
pub fn capacity(set: &Resource) -> usize {
    let sent = set.top.get("sku").and_then(|sku| sku.get("capacity"));
    let sent = sent.and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(sent).unwrap_or(usize::MAX)
}

/// Sets how many machines are wanted: who deletes or adds one by itself changes it.
pub fn set_capacity(set: &mut Resource, capacity: usize) {
    if let Some(sku) = set.top.get_mut("sku").and_then(Value::as_object_mut) {
        sku.insert("capacity".to_owned(), json!(capacity));
    }
}

/// Whether machines of the set are ordinary ones that name it.
pub fn is_flexible(set: &Resource) -> bool {
    text(&set.properties, "orchestrationMode") == Some("Flexible")
}

/// Returns the set that a machine names or lives in.
pub fn set_of(machine: &Resource) -> Option<ResourceId> {
    if machine.kind == Kind::ScaleSetMachine {
        return machine.id.parent();
    }
    let named = machine.properties.get("virtualMachineScaleSet")?;
    ResourceId::parse(named.get("id")?.as_str()?).ok()
}

/// Returns the revision of the model that a set has, or that a machine was made of.
pub fn model_of(row: &Resource) -> u64 {
    let held = row.internal.get("model").and_then(Value::as_u64);
    held.unwrap_or(0)
}

/// Whether a set made the machine of its model; one that joined by itself is nobody's to change.
pub fn is_of_model(machine: &Resource) -> bool {
    machine.internal.contains_key("model")
}

/// Records the revision of the model that a machine is made of.
pub fn set_model(machine: &mut Resource, model: u64) {
    machine.internal.insert("model".to_owned(), json!(model));
}

/// Refuses a machine of a user's own that names a set which takes none.
pub fn check_joined(machine: &Resource, set: Option<&Resource>) -> Result<()> {
    let id = set_of(machine).map(|id| id.to_string()).unwrap_or_default();
    let Some(set) = set.filter(|set| set.location == machine.location) else {
        return Err(Error::invalid_parameter(
            "virtualMachineScaleSet.id",
            format!(
                "The scale set '{id}' that VM '{}' names was not found in its region.",
                machine.id.name()
            ),
        ));
    };
    if is_flexible(set) && set.id.group_id() == machine.id.group_id() {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "virtualMachineScaleSet.id",
        format!(
            "The virtual machine '{}' can only be put into a scale set of its own resource group whose orchestration mode is \
             'Flexible', which '{id}' is not.",
            machine.id.name()
        ),
    ))
}
