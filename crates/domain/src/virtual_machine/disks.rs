//! The disks that a machine's row names.

use serde_json::{Value, json};
use uuid::Uuid;

use super::storage::{PROFILE, check_count, fill, image_disk_name};
use crate::resource::Document;
use crate::{Error, Resource, ResourceId, Result};

/// One disk that a machine says it has.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineDisk {
    /// The number of a data disk; none for the system disk.
    pub lun: Option<i64>,
    /// The disk.
    pub id: ResourceId,
    /// `FromImage`, `Empty`, `Attach`, `Copy`, `Restore`.
    pub option: String,
    /// The size that was asked for.
    pub size_gib: Option<u64>,
    /// `managedDisk.storageAccountType`.
    pub storage: Option<String>,
    /// `managedDisk.diskEncryptionSet.id`.
    pub encryption_set: Option<String>,
    /// What is copied.
    pub source: Option<String>,
    /// Whether it goes with the machine.
    pub is_deleted_with_machine: bool,
}

/// Adds the image's data disks that the machine does not name, and checks those that it does.
pub fn add_image_disks(
    row: &mut Resource,
    luns: &[(i64, u64)],
    mut fresh: impl FnMut() -> Uuid,
) -> Result<()> {
    let wanted = disks(row);
    for disk in wanted.iter().filter(|d| d.option == "FromImage") {
        if let Some(lun) = disk.lun
            && !luns.iter().any(|(known, _)| *known == lun)
        {
            return Err(Error::invalid_parameter(
                "dataDisk.lun",
                format!(
                    "The image has no data disk at LUN {lun}. Its data disks are at: {luns:?}."
                ),
            ));
        }
    }
    for (lun, _) in luns {
        match wanted.iter().find(|d| d.lun == Some(*lun)) {
            Some(disk) if disk.option != "FromImage" => {
                return Err(Error::invalid_parameter(
                    "dataDisk.createOption",
                    format!(
                        "The image has a data disk at LUN {lun}; the machine's disk there must have the create option \
                         'FromImage', not '{}'.",
                        disk.option
                    ),
                ));
            }
            Some(_) => {}
            None => {
                let name = image_disk_name(row, *lun, fresh());
                let disk = json!({ "createOption": "FromImage" });
                let disk = disk.as_object().cloned().unwrap_or_default();
                let mut out = Document::new();
                out.insert("lun".to_owned(), json!(lun));
                fill(&mut out, &disk, row, "dataDisk", &name, "None")?;
                out.insert("toBeDetached".to_owned(), Value::Bool(false));
                push_data_disk(row, Value::Object(out));
            }
        }
    }
    check_count(row)
}

fn push_data_disk(row: &mut Resource, disk: Value) {
    let data = row
        .properties
        .get_mut(PROFILE)
        .and_then(|p| p.get_mut("dataDisks"))
        .and_then(Value::as_array_mut);
    if let Some(data) = data {
        data.push(disk);
        data.sort_by_key(|disk| disk.get("lun").and_then(Value::as_i64));
    }
}

/// Returns the disks that a machine says it has, the system disk first.
pub fn disks(row: &Resource) -> Vec<MachineDisk> {
    let Some(profile) = row.properties.get(PROFILE) else {
        return Vec::new();
    };
    let data = profile.get("dataDisks").and_then(Value::as_array);
    let os = profile.get("osDisk").into_iter();
    os.chain(data.into_iter().flatten())
        .filter_map(disk_of)
        .collect()
}

fn disk_of(disk: &Value) -> Option<MachineDisk> {
    let says = |pointer: &str| {
        let value = disk.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    Some(MachineDisk {
        lun: disk.get("lun").and_then(Value::as_i64),
        id: ResourceId::parse(&says("/managedDisk/id")?).ok()?,
        option: says("/createOption")?,
        size_gib: disk.get("diskSizeGB").and_then(Value::as_u64),
        storage: says("/managedDisk/storageAccountType"),
        encryption_set: says("/managedDisk/diskEncryptionSet/id"),
        source: says("/sourceResource/id"),
        is_deleted_with_machine: says("/deleteOption").as_deref() == Some("Delete"),
    })
}

/// Shows what a disk's own row says: its size and storage.
pub fn show_disk(row: &mut Resource, disk: &Resource) {
    let Some(profile) = row
        .properties
        .get_mut(PROFILE)
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let key = disk.id.key();
    let is_it = |shown: &Value| {
        let id = shown.pointer("/managedDisk/id").and_then(Value::as_str);
        id.and_then(|id| ResourceId::parse(id).ok())
            .is_some_and(|id| id.key() == key)
    };
    let show = |shown: &mut Value| {
        if !is_it(shown) {
            return;
        }
        if let Some(managed) = shown.get_mut("managedDisk").and_then(Value::as_object_mut) {
            let sku = disk.top.get("sku").and_then(|s| s.get("name"));
            let mut now = Document::new();
            if let Some(sku) = sku {
                now.insert("storageAccountType".to_owned(), sku.clone());
            }
            for (name, value) in managed.iter() {
                now.entry(name.clone()).or_insert_with(|| value.clone());
            }
            *managed = now;
        }
        if let (Some(shown), Some(gib)) = (shown.as_object_mut(), disk.properties.get("diskSizeGB"))
        {
            shown.insert("diskSizeGB".to_owned(), gib.clone());
        }
    };
    if let Some(os) = profile.get_mut("osDisk") {
        show(os);
    }
    let data = profile.get_mut("dataDisks").and_then(Value::as_array_mut);
    data.into_iter().flatten().for_each(show);
}

/// Returns the slot of a machine's disk: `os` or `lun:N`.
pub fn slot(lun: Option<i64>) -> String {
    lun.map_or_else(|| "os".to_owned(), |lun| format!("lun:{lun}"))
}
