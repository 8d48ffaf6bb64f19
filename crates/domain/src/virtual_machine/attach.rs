//! `attachDetachDataDisks`: data disks that come and go by their ids, several in one request.

use serde_json::{Value, json};

use super::disks::{MachineDisk, disks};
use super::storage::LUN_MAX;
use crate::plan::{is_nothing, text};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

const ATTACH: &str = "dataDisksToAttach";
const DETACH: &str = "dataDisksToDetach";
/// What a disk that is attached may say of itself.
const SAID: [&str; 3] = ["caching", "deleteOption", "writeAcceleratorEnabled"];

/// Returns the same as the body of a write, for the rights that it needs: what is attached is named in it.
pub fn attached(request: &Value) -> Value {
    let list = request.get(ATTACH).and_then(Value::as_array);
    let disks: Vec<Value> = list
        .into_iter()
        .flatten()
        .map(|disk| json!({ "managedDisk": managed(disk, disk.get("diskId")) }))
        .collect();
    json!({ "properties": { "storageProfile": { "dataDisks": disks } } })
}

fn managed(disk: &Value, id: Option<&Value>) -> Value {
    let mut managed = json!({ "id": id });
    if let Some(set) = disk.get("diskEncryptionSet").filter(|set| !is_nothing(set)) {
        managed["diskEncryptionSet"] = set.clone();
    }
    managed
}

/// Returns the body that changes the data disks of a machine as a request says.
///
/// A number that is left out is the lowest free one; a disk that is attached already stays where it is.
pub fn attach_detach(row: &Resource, request: &Value) -> Result<Value> {
    let attach = named(request, ATTACH)?;
    let detach = named(request, DETACH)?;
    if attach.is_empty() && detach.is_empty() {
        return Err(Error::required(ATTACH));
    }
    let mut kept: Vec<MachineDisk> = disks(row).into_iter().filter(|d| d.lun.is_some()).collect();
    for (id, _) in &detach {
        let before = kept.len();
        kept.retain(|disk| disk.id.key() != id.key());
        if kept.len() == before {
            return Err(not_attached(row, id));
        }
    }
    let mut list: Vec<Value> = Vec::new();
    for disk in &kept {
        let now = attach.iter().find(|(id, _)| id.key() == disk.id.key());
        let said = now.map(|(_, said)| said);
        let lun = said
            .and_then(|said| said.get("lun"))
            .and_then(Value::as_i64);
        if lun.is_some() && lun != disk.lun {
            return Err(attached_elsewhere(row, disk));
        }
        let mut out = Document::new();
        out.insert("lun".to_owned(), json!(disk.lun));
        take_said(&mut out, said);
        list.push(Value::Object(out));
    }
    let mut luns: Vec<i64> = kept.iter().filter_map(|disk| disk.lun).collect();
    let new = |id: &ResourceId| !kept.iter().any(|disk| disk.id.key() == id.key());
    let said_lun = |said: &Document| said.get("lun").and_then(Value::as_i64);
    luns.extend(attach.iter().filter_map(|(_, said)| said_lun(said)));
    for (id, said) in attach.iter().filter(|(id, _)| new(id)) {
        let lun = match said_lun(said) {
            Some(lun) => lun,
            None => {
                let free = (0..=LUN_MAX).find(|lun| !luns.contains(lun));
                let free = free.ok_or_else(|| no_lun(row))?;
                luns.push(free);
                free
            }
        };
        let mut out = Document::new();
        out.insert("lun".to_owned(), json!(lun));
        out.insert("createOption".to_owned(), json!("Attach"));
        let id = json!(id.to_string());
        let disk = Value::Object(said.clone());
        out.insert("managedDisk".to_owned(), managed(&disk, Some(&id)));
        take_said(&mut out, Some(said));
        list.push(Value::Object(out));
    }
    Ok(json!({ "properties": { "storageProfile": { "dataDisks": list } } }))
}

fn take_said(out: &mut Document, said: Option<&Document>) {
    for name in SAID {
        let value = said.and_then(|said| said.get(name));
        if let Some(value) = value.filter(|value| !is_nothing(value)) {
            out.insert(name.to_owned(), value.clone());
        }
    }
}

/// Returns the disks of a list of a request; each stands there once.
fn named(request: &Value, list: &str) -> Result<Vec<(ResourceId, Document)>> {
    let mut found: Vec<(ResourceId, Document)> = Vec::new();
    let all = request.get(list).and_then(Value::as_array);
    for disk in all.into_iter().flatten() {
        let disk = disk.as_object().cloned().unwrap_or_default();
        let target = format!("{list}.diskId");
        let id = text(&disk, "diskId").ok_or_else(|| Error::required(target.as_str()))?;
        let id = ResourceId::parse(id)
            .ok()
            .filter(|id| id.kind() == Some(Kind::Disk));
        let id = id.ok_or_else(|| {
            Error::invalid_parameter(
                target.as_str(),
                format!("The value of parameter {target} is invalid. It must be the id of a managed disk."),
            )
        })?;
        if found.iter().any(|(known, _)| known.key() == id.key()) {
            return Err(Error::invalid_parameter(
                target.as_str(),
                format!("The disk '{}' is named twice in '{list}'.", id.name()),
            ));
        }
        found.push((id, disk));
    }
    Ok(found)
}

fn not_attached(row: &Resource, id: &ResourceId) -> Error {
    Error::conflict(
        "OperationNotAllowed",
        format!(
            "The disk '{}' cannot be detached from VM '{}' since it is not attached to it as a data disk.",
            id.name(),
            row.id.name()
        ),
    )
    .at(format!("{DETACH}.diskId"))
}

fn attached_elsewhere(row: &Resource, disk: &MachineDisk) -> Error {
    Error::conflict(
        "OperationNotAllowed",
        format!(
            "The disk '{}' is attached to VM '{}' already at LUN {}. Detach it first.",
            disk.id.name(),
            row.id.name(),
            disk.lun.unwrap_or_default()
        ),
    )
    .at(format!("{ATTACH}.lun"))
}

fn no_lun(row: &Resource) -> Error {
    Error::conflict(
        "OperationNotAllowed",
        format!("VM '{}' has a data disk at every LUN.", row.id.name()),
    )
    .at(format!("{ATTACH}.lun"))
}
