//! Images of machines: what may be captured, and what it says of itself. Source: `API.md` 3.6, 5.3, 5.4.

use serde_json::{Value, json};

use super::power::{Power, is_generalized};
use super::storage::PROFILE;
use crate::resource::Document;
use crate::{Error, Resource, Result};

/// A disk of a machine that is captured, the system disk first.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedFrom<'a> {
    /// The number of a data disk; none for the system disk.
    pub lun: Option<i64>,
    /// The disk's own row.
    pub disk: &'a Resource,
}

/// Fills in a managed image's disks from the machine that it is made of.
pub fn take_machine(
    image: &mut Resource,
    machine: &Resource,
    disks: &[CapturedFrom<'_>],
) -> Result<()> {
    if machine.location != image.location {
        return Err(Error::bad_request(format!(
            "The source virtual machine {} does not belong to the same region '{}' as the image.",
            machine.id, image.location
        )));
    }
    check_still(machine)?;
    if !is_generalized(machine) {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The Virtual Machine '{}' has not been generalized. Prepare its system (waagent -deprovision, sysprep), mark it \
                 as generalized (az vm generalize), then make the image; a specialized machine is captured into an image \
                 version of a gallery.",
                machine.id.name()
            ),
        )
        .at("sourceVirtualMachine"));
    }
    check_captured(machine)?;
    let generation = machine.internal.get("generation").cloned();
    let generation = generation.unwrap_or_else(|| json!("V1"));
    if let Some(sent) = image.properties.get("hyperVGeneration")
        && sent != &generation
    {
        return Err(Error::invalid_parameter(
            "hyperVGeneration",
            format!(
                "The Hypervisor generation {sent} of the image differs from that of the source virtual machine: {generation}. \
                 Leave it out, or send {generation}."
            ),
        ));
    }
    let mut profile = Document::new();
    let mut data = Vec::new();
    for from in disks {
        let shown = shown_disk(machine, from);
        match from.lun {
            None => {
                let mut os = Document::new();
                os.insert("osType".to_owned(), os_type(machine));
                os.insert("osState".to_owned(), json!("Generalized"));
                os.extend(shown);
                profile.insert("osDisk".to_owned(), Value::Object(os));
            }
            Some(lun) => {
                let mut disk = Document::new();
                disk.insert("lun".to_owned(), json!(lun));
                disk.extend(shown);
                data.push(Value::Object(disk));
            }
        }
    }
    profile.insert("dataDisks".to_owned(), Value::Array(data));
    image
        .properties
        .insert(PROFILE.to_owned(), Value::Object(profile));
    image
        .properties
        .insert("hyperVGeneration".to_owned(), generation);
    Ok(())
}

fn shown_disk(machine: &Resource, from: &CapturedFrom<'_>) -> Document {
    let mut out = Document::new();
    let id = from.disk.id.to_string();
    out.insert("managedDisk".to_owned(), json!({ "id": id }));
    out.insert("caching".to_owned(), json!(caching(machine, from.lun)));
    let sku = from.disk.top.get("sku").and_then(|s| s.get("name"));
    if let Some(sku) = sku {
        out.insert("storageAccountType".to_owned(), sku.clone());
    }
    out
}

/// Returns how hosts cache a disk of a machine.
pub fn caching(machine: &Resource, lun: Option<i64>) -> String {
    let profile = machine.properties.get(PROFILE);
    let disk = match lun {
        None => profile.and_then(|p| p.get("osDisk")),
        Some(lun) => profile
            .and_then(|p| p.get("dataDisks"))
            .and_then(Value::as_array)
            .and_then(|data| data.iter().find(|d| d.get("lun") == Some(&json!(lun)))),
    };
    let caching = disk.and_then(|d| d.get("caching")).and_then(Value::as_str);
    let usual = if lun.is_none() { "ReadWrite" } else { "None" };
    caching.unwrap_or(usual).to_owned()
}

fn os_type(machine: &Resource) -> Value {
    let profile = machine.properties.get(PROFILE);
    let os = profile.and_then(|p| p.pointer("/osDisk/osType"));
    os.cloned().unwrap_or_else(|| json!("Linux"))
}

/// Refuses a machine whose disks cannot be captured, whatever the image.
pub fn check_captured(machine: &Resource) -> Result<()> {
    let profile = machine.properties.get(PROFILE);
    let os = profile.and_then(|p| p.get("osDisk"));
    if os.is_some_and(|os| os.pointer("/diffDiskSettings/option").is_some()) {
        return Err(Error::invalid_parameter(
            super::SOURCE,
            format!(
                "Source virtual machine {} cannot contain an ephemeral OS disk.",
                machine.id
            ),
        ));
    }
    if Power::of(machine) == Power::Created {
        return Err(Error::conflict(
            "Conflict",
            format!(
                "The source virtual machine {} is in provisioning state '{}' and has no disks to capture yet.",
                machine.id,
                machine.state.as_str()
            ),
        )
        .at(super::SOURCE));
    }
    Ok(())
}

/// Refuses disks that are never captured. Source: `API.md` 5.4.
pub fn check_captured_disks(machine: &Resource, disks: &[CapturedFrom<'_>]) -> Result<()> {
    for from in disks {
        let sku = from.disk.top.get("sku").and_then(|s| s.get("name"));
        if sku == Some(&json!("UltraSSD_LRS")) {
            return Err(Error::invalid_parameter(
                super::SOURCE,
                format!(
                    "Source virtual machine {} cannot contain disk ['{}'] stored in an UltraSSD account type.",
                    machine.id, from.disk.id
                ),
            ));
        }
    }
    Ok(())
}

/// A managed image is made of a machine that stands still.
fn check_still(machine: &Resource) -> Result<()> {
    if Power::of(machine) != Power::Running {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The Virtual Machine '{}' is running and has not been generalized. Deallocate it and mark it as generalized first.",
            machine.id.name()
        ),
    )
    .at("sourceVirtualMachine"))
}
