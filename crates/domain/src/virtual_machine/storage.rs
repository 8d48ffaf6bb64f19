//! `storageProfile`: which disks a machine has and where they come from. Source: `API.md` 10, 3.7.

use serde_json::{Value, json};
use uuid::Uuid;

use super::disks::disks;
use super::size::Size;
use crate::plan::{PutContext, canonical, is_nothing, is_part, text};
use crate::resource::Document;
use crate::shared_image::{Door, SharedImageId};
use crate::{Error, Kind, Resource, ResourceId, Result, disk};

pub(super) const PROFILE: &str = "storageProfile";
const OPTIONS: [&str; 5] = ["FromImage", "Empty", "Attach", "Copy", "Restore"];
const CACHING: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
const DELETE_OPTIONS: [&str; 2] = ["Delete", "Detach"];
const DETACH_OPTIONS: [&str; 1] = ["ForceDetach"];
/// The highest number of a data disk.
pub(super) const LUN_MAX: i64 = 63;
/// Members of a disk that may change while it stays.
const CHANGEABLE: [&str; 6] = [
    "caching",
    "diskSizeGB",
    "deleteOption",
    "writeAcceleratorEnabled",
    "toBeDetached",
    "detachOption",
];
const FORMS: [&str; 3] = ["id", "sharedGalleryImageId", "communityGalleryImageId"];
/// What names an image of the marketplace, all of it.
const PLATFORM: [&str; 4] = ["publisher", "offer", "sku", "version"];

/// Plans `storageProfile`.
pub(super) fn plan(
    ctx: &mut PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    stored: Option<&Resource>,
) -> Result<()> {
    // No data disks at all is something to say of a machine that has some.
    let says = |p: &&Value| !is_nothing(p) || p.get("dataDisks").is_some_and(Value::is_array);
    let profile = sent.get(PROFILE).filter(says);
    let Some(profile) = profile.and_then(Value::as_object) else {
        return match stored {
            None => Err(Error::required(PROFILE)),
            Some(_) => Ok(()),
        };
    };
    let held = row.properties.get(PROFILE).and_then(Value::as_object);
    let held = held.cloned().unwrap_or_default();
    let mut out = Document::new();
    let image = match stored {
        None => image_reference(profile)?,
        Some(_) => {
            check_kept("imageReference", held.get("imageReference"), profile)?;
            held.get("imageReference").cloned()
        }
    };
    let os = match stored {
        None => new_os_disk(ctx, row, profile, image.is_some())?,
        Some(_) => changed_os_disk(&held, profile)?,
    };
    if let Some(image) = image {
        out.insert("imageReference".to_owned(), image);
    }
    out.insert("osDisk".to_owned(), Value::Object(os));
    let has_image = stored.is_none() && out.contains_key("imageReference");
    let data = data_disks(ctx, row, profile, &held, has_image)?;
    out.insert("dataDisks".to_owned(), Value::Array(data));
    let mut words = profile.clone();
    canonical(
        &mut words,
        "diskControllerType",
        &["SCSI", "NVMe"],
        "storageProfile.diskControllerType",
    )?;
    let controller = words
        .get("diskControllerType")
        .or(held.get("diskControllerType"));
    if let Some(controller) = controller {
        out.insert("diskControllerType".to_owned(), controller.clone());
    }
    row.properties
        .insert(PROFILE.to_owned(), Value::Object(out));
    check_count(row)
}

/// Checks which image is meant; whether it may be used is decided where the catalog is.
fn image_reference(profile: &Document) -> Result<Option<Value>> {
    let Some(reference) = profile.get("imageReference").filter(|r| !is_nothing(r)) else {
        return Ok(None);
    };
    let mut reference = reference.as_object().cloned().unwrap_or_default();
    reference.shift_remove("exactVersion");
    reference.retain(|_, value| !is_nothing(value));
    let invalid = || {
        Error::invalid_parameter(
            "imageReference",
            "The value of parameter imageReference is invalid.",
        )
    };
    let forms: Vec<&str> = FORMS
        .into_iter()
        .filter(|form| reference.contains_key(*form))
        .collect();
    let is_platform = ["publisher", "offer", "sku"]
        .iter()
        .any(|name| reference.contains_key(*name));
    match forms.as_slice() {
        [] if is_platform => {
            let missing = PLATFORM.iter().find(|name| {
                let said = text(&reference, name);
                said.is_none_or(str::is_empty)
            });
            return match missing {
                Some(name) => Err(Error::required(format!("imageReference.{name}"))),
                None => Ok(Some(Value::Object(reference))),
            };
        }
        [form] if !is_platform => {
            let id = text(&reference, form).unwrap_or_default();
            match *form {
                "id" => {
                    let kind = ResourceId::parse(id).map_err(|_| invalid())?.kind();
                    let is_image = [Kind::Image, Kind::ImageVersion, Kind::ManagedImage].map(Some);
                    if !is_image.contains(&kind) {
                        return Err(invalid());
                    }
                }
                form => {
                    let door = if form == "sharedGalleryImageId" {
                        Door::Shared
                    } else {
                        Door::Community
                    };
                    if SharedImageId::parse(id)?.door != door {
                        return Err(invalid());
                    }
                }
            }
        }
        _ => return Err(invalid()),
    }
    if reference.contains_key("version") {
        // Which version is meant stands in the id. Source: `API.md` 7.
        return Err(Error::invalid_parameter(
            "imageReference.version",
            "Parameter 'imageReference.version' is not allowed.",
        ));
    }
    Ok(Some(Value::Object(reference)))
}

fn new_os_disk(
    ctx: &mut PutContext<'_>,
    row: &Resource,
    profile: &Document,
    has_image: bool,
) -> Result<Document> {
    let sent = profile.get("osDisk").and_then(Value::as_object).cloned();
    let mut disk = match sent {
        Some(disk) => disk,
        None if has_image => Document::new(),
        None => return Err(Error::required("osDisk")),
    };
    words(&mut disk, "osDisk")?;
    canonical(&mut disk, "osType", &["Windows", "Linux"], "osDisk.osType")?;
    if has_image && !disk.contains_key("createOption") {
        disk.insert("createOption".to_owned(), json!("FromImage"));
    }
    refuse_unmanaged(&disk, "osDisk")?;
    let option =
        text(&disk, "createOption").ok_or_else(|| Error::required("osDisk.createOption"))?;
    match option {
        "FromImage" if !has_image => return Err(Error::required("imageReference")),
        "FromImage" => {}
        "Attach" if has_image => {
            return Err(Error::invalid_parameter(
                "imageReference",
                "Parameter 'imageReference' is not allowed.",
            ));
        }
        "Attach" if !disk.contains_key("osType") => {
            return Err(Error::required("osDisk.osType"));
        }
        "Attach" => {}
        other => {
            return Err(Error::invalid_parameter(
                "osDisk.createOption",
                format!(
                    "The create option '{other}' is not supported for a system disk. Use FromImage or Attach."
                ),
            ));
        }
    }
    let usual = format!("{}_OsDisk_1_{}", stem(&row.id), (ctx.fresh)().simple());
    let mut out = Document::new();
    if let Some(os) = disk.get("osType") {
        out.insert("osType".to_owned(), os.clone());
    }
    fill(&mut out, &disk, row, "osDisk", &usual, "ReadWrite")?;
    Ok(out)
}

fn changed_os_disk(held: &Document, profile: &Document) -> Result<Document> {
    let mut out = held
        .get("osDisk")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let Some(sent) = profile.get("osDisk").and_then(Value::as_object) else {
        return Ok(out);
    };
    let mut sent = sent.clone();
    words(&mut sent, "osDisk")?;
    take_changes(&mut out, &sent, "osDisk")?;
    Ok(out)
}

/// Plans data disks: a list that is sent is the whole list.
fn data_disks(
    ctx: &mut PutContext<'_>,
    row: &Resource,
    profile: &Document,
    held: &Document,
    has_image: bool,
) -> Result<Vec<Value>> {
    let kept = held.get("dataDisks").and_then(Value::as_array);
    let kept = kept.cloned().unwrap_or_default();
    let Some(sent) = profile.get("dataDisks").and_then(Value::as_array) else {
        return Ok(kept);
    };
    let mut luns = Vec::new();
    let mut out = Vec::new();
    for disk in sent {
        let mut disk = disk.as_object().cloned().unwrap_or_default();
        words(&mut disk, "dataDisk")?;
        refuse_unmanaged(&disk, "dataDisk")?;
        let lun = disk.get("lun").and_then(Value::as_i64);
        let lun = lun.ok_or_else(|| Error::required("dataDisk.lun"))?;
        if !(0..=LUN_MAX).contains(&lun) {
            return Err(Error::invalid_parameter(
                "dataDisk.lun",
                format!(
                    "The value {lun} of parameter dataDisk.lun is out of range. The value must be between 0 and {LUN_MAX}, inclusive."
                ),
            ));
        }
        if luns.contains(&lun) {
            return Err(Error::invalid_parameter(
                "dataDisk.lun",
                format!("A disk at LUN {lun} already exists."),
            ));
        }
        luns.push(lun);
        if disk.get("toBeDetached") == Some(&Value::Bool(true)) {
            continue;
        }
        let known = kept.iter().find(|k| is_same_disk(k, &disk, lun));
        match known.and_then(Value::as_object) {
            Some(known) => {
                let mut known = known.clone();
                take_changes(&mut known, &disk, "dataDisk")?;
                out.push(Value::Object(known));
            }
            None => out.push(new_data_disk(ctx, row, &disk, lun, has_image)?),
        }
    }
    out.sort_by_key(|disk| disk.get("lun").and_then(Value::as_i64));
    Ok(out)
}

/// Whether a disk that is sent is one that is there: the same number, and no other disk.
fn is_same_disk(held: &Value, sent: &Document, lun: i64) -> bool {
    let same_text = |pointer: &str, sent: Option<&str>| match sent.filter(|s| !s.is_empty()) {
        None => true,
        Some(sent) => held
            .pointer(pointer)
            .and_then(Value::as_str)
            .is_some_and(|h| h.eq_ignore_ascii_case(sent)),
    };
    let managed = sent.get("managedDisk").and_then(|m| m.get("id"));
    held.get("lun").and_then(Value::as_i64) == Some(lun)
        && same_text("/name", text(sent, "name"))
        && same_text("/managedDisk/id", managed.and_then(Value::as_str))
}

fn new_data_disk(
    ctx: &mut PutContext<'_>,
    row: &Resource,
    disk: &Document,
    lun: i64,
    has_image: bool,
) -> Result<Value> {
    let fresh = (ctx.fresh)();
    let option = text(disk, "createOption")
        .ok_or_else(|| Error::required("dataDisk.createOption"))?
        .to_owned();
    let source = disk.get("sourceResource").and_then(|s| s.get("id"));
    match option.as_str() {
        "FromImage" if !has_image => {
            return Err(Error::invalid_parameter(
                "dataDisk.createOption",
                "The create option 'FromImage' is only allowed while a machine is created from an image.",
            ));
        }
        "Empty" if !disk.contains_key("diskSizeGB") => {
            return Err(Error::required("dataDisk.diskSizeGB"));
        }
        "Copy" | "Restore" if source.is_none() => {
            return Err(Error::required("dataDisk.sourceResource.id"));
        }
        _ => {}
    }
    let usual = match option.as_str() {
        "Attach" => String::new(),
        "FromImage" => image_disk_name(row, lun, fresh),
        _ => format!("{}_disk{}_{}", stem(&row.id), lun + 2, fresh.simple()),
    };
    let mut out = Document::new();
    out.insert("lun".to_owned(), json!(lun));
    fill(&mut out, disk, row, "dataDisk", &usual, "None")?;
    if let Some(source) = disk.get("sourceResource") {
        out.insert("sourceResource".to_owned(), source.clone());
    }
    out.insert("toBeDetached".to_owned(), Value::Bool(false));
    Ok(Value::Object(out))
}

pub(super) fn image_disk_name(row: &Resource, lun: i64, fresh: Uuid) -> String {
    format!("{}_lun_{lun}_2_{}", stem(&row.id), fresh.simple())
}

/// Returns what names of a machine's disks begin with; those of a scale set say the set twice, as recorded.
fn stem(id: &ResourceId) -> String {
    let name = super::name(id);
    match id
        .parent()
        .filter(|_| id.kind() == Some(Kind::ScaleSetMachine))
    {
        Some(set) => format!("{}_{name}", set.name()),
        None => name,
    }
}

/// Fills in name, option, caching, disk and what happens to it, in the order of answers.
pub(super) fn fill(
    out: &mut Document,
    disk: &Document,
    row: &Resource,
    of: &str,
    usual_name: &str,
    usual_caching: &str,
) -> Result<()> {
    let option = text(disk, "createOption").unwrap_or_default();
    let mut managed = disk
        .get("managedDisk")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    managed.retain(|_, value| !is_nothing(value));
    let target = format!("{of}.managedDisk.storageAccountType");
    canonical(&mut managed, "storageAccountType", &disk::SKUS, &target)?;
    let id = disk_id(row, disk, &managed, of, usual_name)?;
    out.insert("name".to_owned(), json!(id.name()));
    out.insert("createOption".to_owned(), json!(option));
    let caching = text(disk, "caching").unwrap_or(usual_caching);
    out.insert("caching".to_owned(), json!(caching));
    if let Some(on) = disk.get("writeAcceleratorEnabled") {
        out.insert("writeAcceleratorEnabled".to_owned(), on.clone());
    }
    if let Some(settings) = disk.get("diffDiskSettings").filter(|s| !is_nothing(s)) {
        out.insert("diffDiskSettings".to_owned(), settings.clone());
    }
    let mut shown = Document::new();
    let usual = Size::of(row).map_or("Standard_LRS", Size::default_storage);
    let storage = managed.shift_remove("storageAccountType");
    if option != "Attach" || storage.is_some() {
        let storage = storage.unwrap_or_else(|| json!(usual));
        shown.insert("storageAccountType".to_owned(), storage);
    }
    for (name, value) in managed {
        if name != "id" {
            shown.insert(name, value);
        }
    }
    shown.insert("id".to_owned(), json!(id.to_string()));
    out.insert("managedDisk".to_owned(), Value::Object(shown));
    let goes = text(disk, "deleteOption").unwrap_or("Detach");
    out.insert("deleteOption".to_owned(), json!(goes));
    if let Some(gib) = disk.get("diskSizeGB") {
        out.insert("diskSizeGB".to_owned(), gib.clone());
    }
    Ok(())
}

/// Returns the disk that is attached, or the id of the one that is made.
fn disk_id(
    row: &Resource,
    disk: &Document,
    managed: &Document,
    of: &str,
    usual_name: &str,
) -> Result<ResourceId> {
    let named = text(disk, "name").filter(|name| !name.is_empty());
    if text(disk, "createOption") == Some("Attach") {
        let id =
            text(managed, "id").ok_or_else(|| Error::required(format!("{of}.managedDisk.id")))?;
        let id = ResourceId::parse(id)
            .ok()
            .filter(|id| id.kind() == Some(Kind::Disk));
        id.ok_or_else(|| {
            Error::invalid_parameter(
                format!("{of}.managedDisk.id"),
                format!("The value of parameter {of}.managedDisk.id is invalid. It must be the id of a managed disk."),
            )
        })
    } else {
        if managed.contains_key("id") {
            return Err(Error::invalid_parameter(
                format!("{of}.managedDisk.id"),
                format!("Parameter '{of}.managedDisk.id' is not allowed."),
            ));
        }
        let name = named.unwrap_or(usual_name);
        Ok(row.id.group_id().child(Kind::Disk, name))
    }
}

fn words(disk: &mut Document, of: &str) -> Result<()> {
    disk.retain(|_, value| !is_nothing(value));
    for (name, known) in [
        ("createOption", &OPTIONS[..]),
        ("caching", &CACHING),
        ("deleteOption", &DELETE_OPTIONS),
        ("detachOption", &DETACH_OPTIONS),
    ] {
        canonical(disk, name, known, &format!("{of}.{name}"))?;
    }
    Ok(())
}

fn refuse_unmanaged(disk: &Document, of: &str) -> Result<()> {
    for name in ["vhd", "image"] {
        if disk.get(name).is_some_and(|value| !is_nothing(value)) {
            return Err(Error::invalid_parameter(
                format!("{of}.{name}"),
                format!(
                    "Unmanaged disks are not supported by this service. Leave '{of}.{name}' out: the machine gets managed disks."
                ),
            ));
        }
    }
    Ok(())
}

/// Takes over what may change of a disk that stays; the rest must be the same.
fn take_changes(held: &mut Document, sent: &Document, of: &str) -> Result<()> {
    for (name, value) in sent {
        if CHANGEABLE.contains(&name.as_str()) {
            if name != "detachOption" {
                held.insert(name.clone(), value.clone());
            }
        } else if !is_part(held.get(name), value) && !is_nothing(value) {
            return Err(Error::change_not_allowed(format!("{of}.{name}")));
        }
    }
    Ok(())
}

fn check_kept(name: &str, held: Option<&Value>, sent: &Document) -> Result<()> {
    let Some(value) = sent.get(name).filter(|value| !is_nothing(value)) else {
        return Ok(());
    };
    if is_part(held, value) {
        return Ok(());
    }
    Err(Error::change_not_allowed(name))
}

pub(super) fn check_count(row: &Resource) -> Result<()> {
    let Some(size) = Size::of(row) else {
        return Ok(());
    };
    let count = disks(row).iter().filter(|disk| disk.lun.is_some()).count();
    if u64::try_from(count).unwrap_or(u64::MAX) <= size.data_disks_max {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The maximum number of data disks allowed to be attached to a VM of this size is {}.",
            size.data_disks_max
        ),
    )
    .at("dataDisks"))
}
