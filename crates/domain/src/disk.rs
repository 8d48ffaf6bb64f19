//! Managed disks. Source: `API.md` 3.7, `WIRE.md` 4.5.

mod access;
mod tier;

use serde_json::{Value, json};

use crate::plan::{
    PutContext, canonical, drop_nothing, drop_query, is_nothing, is_part, moment, properties, same,
    start, take, text, word,
};
use crate::resource::Document;
use crate::shared_image::{Door, SharedImageId};
use crate::{Error, Kind, Resource, ResourceId, Result};

pub use access::{
    AccessLevel, AccessRequest, DiskState, begin_access, check_delete, closed_state, set_state,
};

pub(crate) const SKUS: [&str; 7] = [
    "Standard_LRS",
    "Premium_LRS",
    "StandardSSD_LRS",
    "UltraSSD_LRS",
    "Premium_ZRS",
    "StandardSSD_ZRS",
    "PremiumV2_LRS",
];
const ENCRYPTIONS: [&str; 3] = [
    "EncryptionAtRestWithPlatformKey",
    "EncryptionAtRestWithCustomerKey",
    "EncryptionAtRestWithPlatformAndCustomerKeys",
];
const POLICIES: [&str; 3] = ["AllowAll", "AllowPrivate", "DenyAll"];
/// Members that may change as sent.
const MUTABLE: [&str; 8] = [
    "osType",
    "supportsHibernation",
    "burstingEnabled",
    "maxShares",
    "optimizedForFrequentAttach",
    "dataAccessAuthMode",
    "networkAccessPolicy",
    "publicNetworkAccess",
];
/// What a disk that is sold by its numbers may say; elsewhere they follow from size and sku.
const PERFORMANCE: [&str; 2] = ["diskIOPSReadWrite", "diskMBpsReadWrite"];
/// Objects that grow with the api-version: what is not named in them stays.
const MERGED: [&str; 2] = ["purchasePlan", "supportedCapabilities"];
/// Members that are said once, at first or later.
const ONCE: [&str; 2] = ["hyperVGeneration", "securityProfile"];
/// The largest disk: 32 TiB less one GiB. Source: `API.md` 12.
const SIZE_GIB_MAX: u64 = 32_767;
/// Ways to name the image that a disk is made from.
const REFERENCES: [&str; 3] = ["id", "sharedGalleryImageId", "communityGalleryImageId"];
const GIB: u64 = 1 << 30;
/// Bytes of a VHD footer, part of what is uploaded.
const FOOTER_BYTES: u64 = 512;
/// The smallest upload: one sector and a footer. The service asks for 20 MiB; nothing here needs that.
const UPLOAD_BYTES_MIN: u64 = 512 + FOOTER_BYTES;

/// Decides a PUT or, with `stored`, a change.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name())?;
    let mut row = start(ctx, Kind::Disk, id, body, stored)?;
    let mut sent = properties(body);
    plan_sku(&mut row, body)?;
    for name in ["zones", "extendedLocation"] {
        let Some(value) = body.get(name) else {
            continue;
        };
        if stored.is_some() && !same(row.top.get(name), value) {
            return Err(Error::change_not_allowed(format!("disk.{name}")));
        }
        if !is_nothing(value) {
            row.top.insert(name.to_owned(), value.clone());
        }
    }
    canonical(
        &mut sent,
        "osType",
        &["Windows", "Linux"],
        "disk.properties.osType",
    )?;
    canonical(
        &mut sent,
        "hyperVGeneration",
        &["V1", "V2"],
        "disk.properties.hyperVGeneration",
    )?;
    canonical(
        &mut sent,
        "networkAccessPolicy",
        &POLICIES,
        "disk.properties.networkAccessPolicy",
    )?;
    canonical(
        &mut sent,
        "publicNetworkAccess",
        &["Enabled", "Disabled"],
        "disk.properties.publicNetworkAccess",
    )?;
    plan_creation(ctx, &mut row, &sent, stored.is_none())?;
    plan_size(&mut row, &sent)?;
    if let Some(bytes) = size_bytes(&row) {
        tier::set_performance(&mut row, bytes.div_ceil(GIB).max(1));
    }
    if is_sold_by_numbers(&row) {
        take(&mut row.properties, &sent, &PERFORMANCE);
    }
    check_encryption(&sent)?;
    drop_nothing(
        &mut sent,
        &["purchasePlan", "supportedCapabilities", "securityProfile"],
    );
    take(&mut row.properties, &sent, &MUTABLE);
    merge(&mut row.properties, &sent, &MERGED);
    for name in ONCE {
        let Some(value) = sent.get(name) else {
            continue;
        };
        let kept = row.properties.get(name);
        if kept.is_some() && !is_part(kept, value) {
            return Err(Error::change_not_allowed(format!("disk.properties.{name}")));
        }
        row.properties.entry(name).or_insert_with(|| value.clone());
    }
    apply_defaults(&mut row);
    Ok(row)
}

fn merge(row: &mut Document, sent: &Document, names: &[&str]) {
    for name in names {
        let Some(members) = sent.get(*name).and_then(Value::as_object) else {
            continue;
        };
        let kept = row.entry(*name).or_insert_with(|| json!({}));
        if let Some(kept) = kept.as_object_mut() {
            for (name, value) in members {
                kept.insert(name.clone(), value.clone());
            }
        }
    }
}

fn is_sold_by_numbers(row: &Resource) -> bool {
    let sku = row.top.get("sku").and_then(|s| s.get("name"));
    sku.and_then(Value::as_str)
        .is_some_and(|sku| sku.starts_with("Ultra") || sku.starts_with("PremiumV2"))
}

fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_good = (1..=80).contains(&name.len())
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(is_edge);
    if is_good {
        Ok(())
    } else {
        Err(crate::plan::invalid_entity_name("diskName"))
    }
}

fn plan_sku(row: &mut Resource, body: &Value) -> Result<()> {
    let mut sku = body
        .get("sku")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    canonical(&mut sku, "name", &SKUS, "disk.sku.name")?;
    let held = row
        .top
        .get("sku")
        .and_then(|s| s.get("name"))
        .and_then(Value::as_str);
    let name = text(&sku, "name").or(held).unwrap_or("Standard_LRS");
    let tier = ["Ultra", "Premium"]
        .into_iter()
        .find(|tier| name.starts_with(tier))
        .unwrap_or("Standard");
    row.top
        .insert("sku".to_owned(), json!({ "name": name, "tier": tier }));
    Ok(())
}

/// Where the content comes from: said once.
fn plan_creation(
    ctx: &mut PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    const TARGET: &str = "disk.properties.creationData";
    let mut creation = sent.get("creationData").and_then(Value::as_object).cloned();
    if let Some(creation) = &mut creation {
        drop_query(creation, "sourceUri");
    }
    if !is_new {
        let stored = row.properties.get("creationData");
        for (name, value) in creation.iter().flatten() {
            // What was not said is off.
            let held = stored.and_then(|s| s.get(name));
            let is_off = held.is_none() && value == &Value::Bool(false);
            if !is_off && !is_part(held, value) {
                return Err(Error::change_not_allowed(format!("{TARGET}.{name}")));
            }
        }
        return Ok(());
    }
    let mut creation = creation.ok_or_else(|| Error::required(TARGET))?;
    canonical(
        &mut creation,
        "createOption",
        &[
            "Empty",
            "FromImage",
            "Import",
            "Upload",
            "Copy",
            "Attach",
            "Restore",
            "CopyStart",
            "ImportSecure",
            "UploadPreparedSecure",
        ],
        &format!("{TARGET}.createOption"),
    )?;
    let option = text(&creation, "createOption")
        .ok_or_else(|| Error::required(format!("{TARGET}.createOption")))?
        .to_owned();
    check_creation(&creation, &option, sent)?;
    row.properties
        .insert("timeCreated".to_owned(), moment(ctx.now_ms)?);
    row.properties
        .insert("uniqueId".to_owned(), json!((ctx.fresh)().to_string()));
    let state = if option == "Upload" {
        DiskState::ReadyToUpload
    } else {
        DiskState::Unattached
    };
    row.properties
        .insert("diskState".to_owned(), json!(state.as_str()));
    row.properties
        .insert("creationData".to_owned(), Value::Object(creation));
    Ok(())
}

fn check_creation(creation: &Document, option: &str, sent: &Document) -> Result<()> {
    const TARGET: &str = "disk.properties.creationData";
    let says = |name: &str| text(creation, name).is_some_and(|t| !t.is_empty());
    match option {
        "Empty" if !sent.contains_key("diskSizeGB") => {
            Err(Error::required("disk.properties.diskSizeGB"))
        }
        "Empty" => Ok(()),
        "FromImage" => check_image(creation),
        "Import" if !says("sourceUri") => Err(Error::required(format!("{TARGET}.sourceUri"))),
        "Import" => Ok(()),
        "Copy" if !says("sourceResourceId") => {
            Err(Error::required(format!("{TARGET}.sourceResourceId")))
        }
        "Copy" => check_copy(creation),
        "Upload" => check_upload(creation),
        other => Err(Error::invalid_parameter(
            format!("{TARGET}.createOption"),
            format!(
                "The create option '{other}' is not supported by this service. Use Empty, FromImage, Import, Upload or Copy."
            ),
        )),
    }
}

/// One of three forms names the image; whether it may be used is decided where the catalog is.
fn check_image(creation: &Document) -> Result<()> {
    const TARGET: &str = "disk.properties.creationData.galleryImageReference";
    let reference = creation
        .get("galleryImageReference")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::required(TARGET))?;
    let invalid = || {
        Error::invalid_parameter(
            "imageReference",
            "The value of parameter imageReference is invalid.",
        )
    };
    let says = |name: &&&str| text(reference, name).is_some_and(|t| !t.is_empty());
    let forms: Vec<&&str> = REFERENCES.iter().filter(says).collect();
    let id = match forms.as_slice() {
        [] => return Err(Error::required(format!("{TARGET}.id"))),
        [form] => text(reference, form).unwrap_or_default(),
        _ => return Err(invalid()),
    };
    let lun = reference.get("lun").and_then(Value::as_i64);
    if lun.is_some_and(|lun| lun < 0) {
        return Err(invalid());
    }
    let door = match *forms[0] {
        "sharedGalleryImageId" => Some(Door::Shared),
        "communityGalleryImageId" => Some(Door::Community),
        _ => None,
    };
    if let Some(door) = door {
        let parsed = SharedImageId::parse(id)?;
        return if parsed.door == door {
            Ok(())
        } else {
            Err(invalid())
        };
    }
    let kind = ResourceId::parse(id).map_err(|_| invalid())?.kind();
    if matches!(kind, Some(Kind::Image | Kind::ImageVersion)) {
        Ok(())
    } else {
        Err(invalid())
    }
}

fn check_copy(creation: &Document) -> Result<()> {
    const TARGET: &str = "disk.properties.creationData.sourceResourceId";
    let id = text(creation, "sourceResourceId").unwrap_or_default();
    let kinds = ["microsoft.compute/disks", "microsoft.compute/snapshots"];
    let is_disk = ResourceId::parse(id)
        .is_ok_and(|id| kinds.contains(&id.type_name().to_ascii_lowercase().as_str()));
    if is_disk {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        TARGET,
        format!("The source id: {id} must be a managed disk or snapshot."),
    ))
}

fn check_upload(creation: &Document) -> Result<()> {
    const TARGET: &str = "disk.properties.creationData.uploadSizeBytes";
    let bytes = creation
        .get("uploadSizeBytes")
        .and_then(Value::as_u64)
        .ok_or_else(|| Error::required(TARGET))?;
    let most = SIZE_GIB_MAX * GIB + FOOTER_BYTES;
    if !(UPLOAD_BYTES_MIN..=most).contains(&bytes) || bytes % 512 != 0 {
        return Err(Error::invalid_parameter(
            TARGET,
            format!(
                "The value {bytes} of parameter uploadSizeBytes is out of range. The value must be between {UPLOAD_BYTES_MIN} and \
                 {most}, inclusive, and a multiple of 512: the size of the disk and its 512 bytes of VHD footer."
            ),
        ));
    }
    Ok(())
}

fn plan_size(row: &mut Resource, sent: &Document) -> Result<()> {
    const TARGET: &str = "disk.properties.diskSizeGB";
    let upload = row
        .properties
        .get("creationData")
        .and_then(|c| c.get("uploadSizeBytes"))
        .and_then(Value::as_u64);
    let Some(gib) = sent.get("diskSizeGB").and_then(Value::as_i64) else {
        if let Some(bytes) = upload.filter(|_| !row.properties.contains_key("diskSizeBytes")) {
            set_size(row, bytes - FOOTER_BYTES);
        }
        return Ok(());
    };
    let gib = u64::try_from(gib).ok().filter(|gib| (1..=SIZE_GIB_MAX).contains(gib)).ok_or_else(|| {
        Error::invalid_parameter(
            TARGET,
            format!("The value {gib} of parameter diskSizeGB is out of range. The value must be between 1 and {SIZE_GIB_MAX}, inclusive."),
        )
    })?;
    if let Some(bytes) = upload.filter(|_| !row.properties.contains_key("diskSizeBytes")) {
        set_size(row, bytes - FOOTER_BYTES);
    }
    match size_bytes(row) {
        Some(held) if gib > held.div_ceil(GIB) && is_waiting(row) => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The disk {} waits for its content. Its size follows from uploadSizeBytes until the upload ends.",
                row.id.name()
            ),
        )
        .at(TARGET)),
        Some(held) if gib < held.div_ceil(GIB) => Err(Error::invalid_parameter(
            TARGET,
            "Disks or snapshot cannot be resized down.",
        )),
        // The same size in GiB leaves an odd number of bytes alone.
        Some(held) if gib == held.div_ceil(GIB) => Ok(()),
        _ => {
            set_size(row, gib * GIB);
            Ok(())
        }
    }
}

fn is_waiting(row: &Resource) -> bool {
    matches!(
        DiskState::of(row),
        DiskState::ReadyToUpload | DiskState::ActiveUpload
    )
}

/// Returns the size in bytes, if it is known yet.
pub fn size_bytes(row: &Resource) -> Option<u64> {
    row.properties.get("diskSizeBytes").and_then(Value::as_u64)
}

/// Sets the size and what follows from it.
pub fn set_size(row: &mut Resource, bytes: u64) {
    let gib = bytes.div_ceil(GIB).max(1);
    row.properties.insert("diskSizeGB".to_owned(), json!(gib));
    row.properties
        .insert("diskSizeBytes".to_owned(), json!(bytes));
    tier::set_performance(row, gib);
}

/// Takes over from an image definition what the disk does not say itself.
pub fn inherit(row: &mut Resource, definition: &Resource) {
    for name in ["osType", "hyperVGeneration", "purchasePlan"] {
        if let (None, Some(value)) = (row.properties.get(name), definition.properties.get(name)) {
            row.properties.insert(name.to_owned(), value.clone());
        }
    }
    if let (None, Some(architecture)) = (
        row.properties.get("supportedCapabilities"),
        definition.properties.get("architecture"),
    ) {
        row.properties.insert(
            "supportedCapabilities".to_owned(),
            json!({ "architecture": architecture }),
        );
    }
}

fn check_encryption(sent: &Document) -> Result<()> {
    let word_of = |name: &str| {
        sent.get("encryption")
            .and_then(|e| e.get(name))
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let kind = word_of("type")
        .map(|kind| word(kind, &ENCRYPTIONS, "disk.properties.encryption.type"))
        .transpose()?;
    match word_of("diskEncryptionSetId") {
        None if kind.is_some_and(|kind| kind != ENCRYPTIONS[0]) => Err(Error::required(
            "disk.properties.encryption.diskEncryptionSetId",
        )),
        None => Ok(()),
        Some(id) => Err(Error::not_found(
            "NotFound",
            format!("The disk encryption set {id} was not found."),
        )
        .at("disk.properties.encryption.diskEncryptionSetId")),
    }
}

fn apply_defaults(row: &mut Resource) {
    let mut default = |name: &str, value: Value| {
        row.properties.entry(name).or_insert(value);
    };
    default(
        "encryption",
        json!({ "type": "EncryptionAtRestWithPlatformKey" }),
    );
    default("networkAccessPolicy", json!("AllowAll"));
    default("publicNetworkAccess", json!("Enabled"));
}
