//! The model: what a set's machines are made of, and the bodies that make one of them.

use serde_json::{Value, json};

use super::cards::{cards, check_cards, complete_cards, configurations_of};
use super::member::Member;
use super::{PROFILE, is_flexible, policy};
use crate::plan::{is_nothing, moment, text};
use crate::resource::Document;
use crate::virtual_machine::{BootFacts, disks, secrets, set_secrets};
use crate::{Error, Resource, Result};

const SECRETS: [&str; 2] = ["adminPassword", "customData"];
/// Members of the model that a machine takes as they are.
const TAKEN: [&str; 10] = [
    "securityProfile",
    "diagnosticsProfile",
    "licenseType",
    "priority",
    "evictionPolicy",
    "billingProfile",
    "scheduledEventsProfile",
    "applicationProfile",
    "capacityReservation",
    "userData",
];
const MADE: &str = "timeCreated";
const GIB: u64 = 1 << 30;

/// Takes passwords, custom data and user data out of what was sent: no view shows them.
pub(super) fn take_secrets(row: &mut Resource, sent: &mut Document) -> Result<()> {
    let Some(profile) = sent.get_mut(PROFILE).and_then(Value::as_object_mut) else {
        return Ok(());
    };
    profile.shift_remove(MADE);
    if let Some(data) = profile.shift_remove("userData") {
        match is_nothing(&data) {
            true => row.internal.shift_remove("userData"),
            false => row.internal.insert("userData".to_owned(), data),
        };
    }
    let Some(os) = profile.get_mut("osProfile").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let mut kept = match secrets(row) {
        Some(Value::Object(clear)) => clear.clone(),
        Some(_) => return Err(Error::internal()),
        None => Document::new(),
    };
    for name in SECRETS {
        if let Some(value) = os.shift_remove(name).filter(|value| !is_nothing(value)) {
            kept.insert(name.to_owned(), value);
        }
    }
    if !kept.is_empty() {
        set_secrets(row, Value::Object(kept));
    }
    Ok(())
}

/// Checks the model and counts its revisions.
pub(super) fn plan(row: &mut Resource, stored: Option<&Resource>, now_ms: i64) -> Result<()> {
    let flexible = is_flexible(row);
    let name = row.id.name().to_owned();
    match row.properties.get_mut(PROFILE) {
        None if flexible => return Ok(()),
        None => return Err(Error::required(PROFILE)),
        Some(profile) => {
            let profile = profile.as_object_mut();
            let profile = profile.ok_or_else(|| Error::required(PROFILE))?;
            check_extensions(profile)?;
            plan_os(profile, &name, flexible)?;
            complete_cards(profile, flexible);
            check_cards(profile, flexible)?;
            if !profile.contains_key(MADE) {
                profile.insert(MADE.to_owned(), moment(now_ms)?);
            }
        }
    }
    if let Some(stored) = stored.filter(|stored| stored.properties.contains_key(PROFILE)) {
        check_kept(row, stored)?;
    }
    let is_same = stored.is_some_and(|stored| what_counts(stored) == what_counts(row));
    if !is_same {
        let model = super::model_of(row) + 1;
        row.internal.insert("model".to_owned(), json!(model));
    }
    Ok(())
}

/// What makes another model when it changes: how many machines there are and how they are upgraded does not.
fn what_counts(set: &Resource) -> Value {
    let size = set.top.get("sku").and_then(|sku| sku.get("name"));
    let mut profile = set.properties.get(PROFILE).cloned().unwrap_or_default();
    let reference = profile.pointer_mut("/storageProfile/imageReference");
    if let Some(reference) = reference.and_then(Value::as_object_mut) {
        // What `latest` means changes without anybody changing the model.
        reference.shift_remove("exactVersion");
    }
    json!([size, profile, secrets(set), set.internal.get("userData")])
}

fn check_extensions(profile: &Document) -> Result<()> {
    let all = profile
        .get("extensionProfile")
        .and_then(|p| p.get("extensions"));
    let all = all.and_then(Value::as_array);
    let other = all
        .into_iter()
        .flatten()
        .find(|extension| !policy::is_health_extension(extension));
    let Some(other) = other else {
        return Ok(());
    };
    Err(Error::invalid_parameter(
        "extensionProfile.extensions",
        format!(
            "The extension '{}' cannot be installed: this service has no agent in its guests. Put it into the image or use \
             custom data. Extensions that report the health of an application are accepted; a machine counts as healthy while \
             its guest runs.",
            other
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
        ),
    ))
}

fn plan_os(profile: &mut Document, set: &str, flexible: bool) -> Result<()> {
    let Some(os) = profile.get_mut("osProfile").filter(|os| !is_nothing(os)) else {
        return Ok(());
    };
    let os = os
        .as_object_mut()
        .ok_or_else(|| Error::required("osProfile"))?;
    let sent = text(os, "computerNamePrefix").filter(|prefix| !prefix.is_empty());
    let usual: String = set.chars().filter(char::is_ascii_alphanumeric).collect();
    let usual: String = usual.chars().take(9).collect();
    let prefix = match sent {
        Some(prefix) => prefix.to_owned(),
        None if flexible || !usual.is_empty() => usual,
        None => return Err(Error::required("osProfile.computerNamePrefix")),
    };
    let is_windows = os.contains_key("windowsConfiguration");
    let most = if is_windows { 9 } else { 58 };
    let is_good = prefix.len() <= most
        && prefix
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    if !is_good {
        return Err(Error::invalid_parameter(
            "computerNamePrefix",
            format!(
                "The computer name prefix '{prefix}' is not allowed. It has at most {most} letters, digits and hyphens: six \
                 characters follow it in the name of each machine."
            ),
        ));
    }
    os.insert("computerNamePrefix".to_owned(), json!(prefix));
    Ok(())
}

fn card_names(set: &Resource) -> Vec<String> {
    let network = set.properties.get(PROFILE);
    let network = network.and_then(|p| p.get("networkProfile"));
    let cards = network.into_iter().flat_map(configurations_of);
    let mut names: Vec<String> = cards
        .map(|card| text(card, "name").unwrap_or_default().to_lowercase())
        .collect();
    names.sort();
    names
}

/// What machines are told once stays.
fn check_kept(row: &Resource, stored: &Resource) -> Result<()> {
    if card_names(row) != card_names(stored) {
        return Err(Error::change_not_allowed(
            "networkProfile.networkInterfaceConfigurations.name",
        ));
    }
    for place in [
        "/osProfile/adminUsername",
        "/osProfile/computerNamePrefix",
        "/storageProfile/osDisk/osType",
        "/priority",
    ] {
        let of = |row: &Resource| {
            let profile = row.properties.get(PROFILE);
            profile
                .and_then(|p| p.pointer(place))
                .filter(|v| !is_nothing(v))
                .cloned()
        };
        if let (Some(was), Some(is)) = (of(stored), of(row))
            && was != is
        {
            let name = place.trim_start_matches('/').replace('/', ".");
            return Err(Error::change_not_allowed(name));
        }
    }
    Ok(())
}

/// Returns the body of one of a set's machines, from a row that holds its secrets in clear.
pub fn machine_body(set: &Resource, member: &Member) -> Value {
    let empty = json!({});
    let profile = set.properties.get(PROFILE).unwrap_or(&empty);
    let mut properties = Document::new();
    let size = set.top.get("sku").and_then(|sku| sku.get("name"));
    let mut hardware = json!({ "vmSize": size });
    if let Some(extra) = profile.pointer("/hardwareProfile/vmSizeProperties") {
        hardware["vmSizeProperties"] = extra.clone();
    }
    properties.insert("hardwareProfile".to_owned(), hardware);
    if let Some(storage) = profile.get("storageProfile") {
        properties.insert("storageProfile".to_owned(), storage_of(storage));
    }
    if let Some(os) = profile.get("osProfile").filter(|os| !is_nothing(os)) {
        properties.insert("osProfile".to_owned(), os_of(set, os, member));
    }
    let cards: Vec<Value> = cards(profile, member)
        .map(|(id, is_primary)| {
            json!({ "id": id.to_string(), "properties": { "primary": is_primary, "deleteOption": "Delete" } })
        })
        .collect();
    properties.insert(
        "networkProfile".to_owned(),
        json!({ "networkInterfaces": cards }),
    );
    for name in TAKEN {
        if let Some(value) = profile.get(name).filter(|value| !is_nothing(value)) {
            properties.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(data) = set.internal.get("userData") {
        properties.insert("userData".to_owned(), data.clone());
    }
    if is_flexible(set) {
        let id = json!({ "id": set.id.to_string() });
        properties.insert("virtualMachineScaleSet".to_owned(), id);
    }
    let mut body = json!({ "location": set.location, "properties": properties });
    if let Some(tags) = &set.tags {
        body["tags"] = json!(tags);
    }
    if let Some(plan) = set.top.get("plan") {
        body["plan"] = plan.clone();
    }
    let zones = set.top.get("zones").and_then(Value::as_array);
    if let Some(zones) = zones.filter(|zones| !zones.is_empty()) {
        let count = u64::try_from(zones.len()).unwrap_or(1);
        let place = usize::try_from(member.number % count).unwrap_or(0);
        body["zones"] = json!([zones.get(place)]);
    }
    body
}

/// Disks of the model are made with the machine and go with it; a name in the model would be one name for all.
fn storage_of(storage: &Value) -> Value {
    let mut out = storage.clone();
    if let Some(reference) = out.get_mut("imageReference").and_then(Value::as_object_mut) {
        reference.shift_remove("exactVersion");
    }
    let tidy = |disk: &mut Value, option: &str| {
        let Some(disk) = disk.as_object_mut() else {
            return;
        };
        disk.shift_remove("name");
        for (name, value) in [("createOption", option), ("deleteOption", "Delete")] {
            if disk.get(name).is_none_or(is_nothing) {
                disk.insert(name.to_owned(), json!(value));
            }
        }
    };
    let os = out.as_object_mut().map(|out| {
        out.entry("osDisk")
            .or_insert_with(|| Value::Object(Document::new()))
    });
    os.into_iter().for_each(|os| tidy(os, "FromImage"));
    let data = out.get_mut("dataDisks").and_then(Value::as_array_mut);
    data.into_iter()
        .flatten()
        .for_each(|disk| tidy(disk, "Empty"));
    out
}

fn os_of(set: &Resource, os: &Value, member: &Member) -> Value {
    let mut out = os.as_object().cloned().unwrap_or_default();
    let prefix = out.shift_remove("computerNamePrefix");
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or_default();
    out.insert(
        "computerName".to_owned(),
        json!(member.computer_name(prefix)),
    );
    if let Some(Value::Object(clear)) = secrets(set) {
        out.extend(clear.clone());
    }
    Value::Object(out)
}

/// Returns how many disks a machine of a set has, and their bytes; nothing where no model was checked.
pub fn machine_needs(set: &Resource) -> (i64, i64) {
    let needs = set.internal.get("machineNeeds").cloned();
    needs
        .and_then(|needs| serde_json::from_value(needs).ok())
        .unwrap_or_default()
}

fn needs_of(machine: &Resource, facts: &BootFacts) -> (i64, i64) {
    let of_image = |lun: Option<i64>| match lun {
        None => facts.os_bytes,
        Some(lun) => {
            let found = facts.data.iter().find(|(known, _)| *known == lun);
            found.map_or(0, |(_, bytes)| *bytes)
        }
    };
    let mut needs = (0, 0_i64);
    for disk in disks(machine) {
        let asked = disk.size_gib.map(|gib| gib.saturating_mul(GIB));
        let bytes = asked.unwrap_or_else(|| of_image(disk.lun));
        needs.0 += 1;
        needs.1 = needs
            .1
            .saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    needs
}

/// Takes over into the model what a machine of it would be: defaults, what the image says, which version it is.
pub fn take_prototype(set: &mut Resource, machine: &Resource, facts: &BootFacts) {
    set.internal
        .insert("isSpecialized".to_owned(), json!(facts.is_specialized));
    set.internal
        .insert("osType".to_owned(), json!(facts.os_type));
    let generation = facts.generation.as_deref().unwrap_or("V1");
    set.internal
        .insert("generation".to_owned(), json!(generation));
    let luns: Vec<i64> = facts.data.iter().map(|(lun, _)| *lun).collect();
    set.internal.insert("imageLuns".to_owned(), json!(luns));
    let needs = needs_of(machine, facts);
    set.internal.insert("machineNeeds".to_owned(), json!(needs));
    let version = machine.internal.get("imageVersion");
    match version {
        Some(version) => set
            .internal
            .insert("imageVersion".to_owned(), version.clone()),
        None => set.internal.shift_remove("imageVersion"),
    };
    let flexible = is_flexible(set);
    let Some(profile) = set
        .properties
        .get_mut(PROFILE)
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let made = &machine.properties;
    let storage = profile
        .get_mut("storageProfile")
        .and_then(Value::as_object_mut);
    if let (Some(storage), Some(of_machine)) = (storage, made.get("storageProfile")) {
        take_storage(storage, of_machine, flexible);
    }
    if let (Some(os), Some(of_machine)) = (
        profile.get_mut("osProfile").and_then(Value::as_object_mut),
        made.get("osProfile").and_then(Value::as_object),
    ) {
        let prefix = os.shift_remove("computerNamePrefix").unwrap_or_default();
        let mut shown = Document::new();
        shown.insert("computerNamePrefix".to_owned(), prefix);
        for (name, value) in of_machine {
            if name != "computerName" {
                shown.insert(name.clone(), value.clone());
            }
        }
        *os = shown;
    }
    if let Some(security) = made.get("securityProfile") {
        profile.insert("securityProfile".to_owned(), security.clone());
    }
}

/// Takes over what a machine's storage profile says of its image and system disk.
fn take_storage(storage: &mut Document, of_machine: &Value, flexible: bool) {
    if let Some(reference) = of_machine.get("imageReference") {
        storage.insert("imageReference".to_owned(), reference.clone());
    }
    let disk = storage.entry("osDisk").or_insert_with(|| json!({}));
    let (Some(disk), Some(of_disk)) = (disk.as_object_mut(), of_machine.get("osDisk")) else {
        return;
    };
    let shown: &[&str] = match flexible {
        true => &["osType", "createOption", "caching", "deleteOption"],
        false => &["osType", "createOption", "caching"],
    };
    for name in shown {
        if let Some(value) = of_disk.get(*name) {
            disk.insert((*name).to_owned(), value.clone());
        }
    }
    let mut managed = of_disk.get("managedDisk").cloned().unwrap_or_default();
    if let Some(managed) = managed.as_object_mut() {
        managed.shift_remove("id");
    }
    disk.insert("managedDisk".to_owned(), managed);
}
