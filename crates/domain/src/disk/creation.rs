//! Where the content of a disk or snapshot comes from: said once. Source: `API.md` 3.7.

use serde_json::{Value, json};

use super::access::DiskState;
use super::size::{FOOTER_BYTES, GIB, SIZE_GIB_MAX};
use super::{Rules, member};
use crate::plan::{PutContext, canonical, drop_query, is_part, moment, text};
use crate::platform_image::PlatformImage;
use crate::resource::Document;
use crate::shared_image::{Door, SharedImageId};
use crate::{Error, Kind, Resource, ResourceId, Result};

/// Ways to name the image that a disk is made from.
const REFERENCES: [&str; 3] = ["id", "sharedGalleryImageId", "communityGalleryImageId"];
/// The smallest upload: one sector and a footer. The service asks for 20 MiB; nothing here needs that.
const UPLOAD_BYTES_MIN: u64 = 512 + FOOTER_BYTES;
/// Every word that the service knows; a kind supports some of them.
const OPTIONS: [&str; 11] = [
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
    "CopyFromSanSnapshot",
];

/// Plans `creationData` and what follows from it.
pub(super) fn plan(
    rules: &Rules,
    ctx: &mut PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let target = member(rules.kind, "creationData");
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
                return Err(Error::change_not_allowed(format!("{target}.{name}")));
            }
        }
        return Ok(());
    }
    let mut creation = creation.ok_or_else(|| Error::required(target.as_str()))?;
    let option_target = format!("{target}.createOption");
    canonical(&mut creation, "createOption", &OPTIONS, &option_target)?;
    let option = text(&creation, "createOption")
        .ok_or_else(|| Error::required(option_target.as_str()))?
        .to_owned();
    if !rules.options.contains(&option.as_str()) {
        return Err(unsupported(rules, &option));
    }
    name_source(&mut creation, &option);
    check(rules, &creation, &option, sent)?;
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

fn unsupported(rules: &Rules, option: &str) -> Error {
    Error::invalid_parameter(
        member(rules.kind, "creationData.createOption"),
        format!(
            "The create option '{option}' is not supported by this service. Use {}.",
            rules.options.join(", ")
        ),
    )
}

/// Terraform names the disk that is copied in `sourceUri`. Source: `WIRE.md` 4.5.
fn name_source(creation: &mut Document, option: &str) {
    let is_copy = ["Copy", "CopyStart", "Restore"].contains(&option);
    let is_named = text(creation, "sourceResourceId").is_some_and(|id| !id.is_empty());
    if !is_copy || is_named {
        return;
    }
    let uri = text(creation, "sourceUri").filter(|uri| ResourceId::parse(uri).is_ok());
    if let Some(id) = uri.map(str::to_owned) {
        creation.insert("sourceResourceId".to_owned(), json!(id));
    }
}

fn check(rules: &Rules, creation: &Document, option: &str, sent: &Document) -> Result<()> {
    let target = |name: &str| member(rules.kind, &format!("creationData.{name}"));
    let says = |name: &str| text(creation, name).is_some_and(|t| !t.is_empty());
    match option {
        "Empty" if !sent.contains_key("diskSizeGB") => {
            Err(Error::required(member(rules.kind, "diskSizeGB")))
        }
        "FromImage" if creation.contains_key("imageReference") => {
            check_other_image(creation, &target("imageReference.id"))
        }
        "FromImage" => check_image(creation, &target("galleryImageReference")),
        "Import" if !says("sourceUri") => Err(Error::required(target("sourceUri"))),
        "Copy" | "CopyStart" | "Restore" if !says("sourceResourceId") => {
            Err(Error::required(target("sourceResourceId")))
        }
        "Copy" | "Restore" => check_copy(
            creation,
            &[Kind::Disk, Kind::Snapshot],
            "managed disk or snapshot",
            target("sourceResourceId"),
        ),
        "CopyStart" => check_copy(
            creation,
            &[Kind::Snapshot],
            "snapshot",
            target("sourceResourceId"),
        ),
        "Upload" => check_upload(creation, target("uploadSizeBytes")),
        _ => Ok(()),
    }
}

/// One of three forms names the image; whether it may be used is decided where the catalog is.
fn check_image(creation: &Document, target: &str) -> Result<()> {
    let reference = creation
        .get("galleryImageReference")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::required(target))?;
    let invalid = || {
        Error::invalid_parameter(
            "imageReference",
            "The value of parameter imageReference is invalid.",
        )
    };
    let says = |name: &&&str| text(reference, name).is_some_and(|t| !t.is_empty());
    let forms: Vec<&&str> = REFERENCES.iter().filter(says).collect();
    let id = match forms.as_slice() {
        [] => return Err(Error::required(format!("{target}.id"))),
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
        let is_through = SharedImageId::parse(id)?.door == door;
        return if is_through { Ok(()) } else { Err(invalid()) };
    }
    let kind = ResourceId::parse(id).map_err(|_| invalid())?.kind();
    if matches!(kind, Some(Kind::Image | Kind::ImageVersion)) {
        Ok(())
    } else {
        Err(invalid())
    }
}

/// A managed image or an image of the marketplace, both with the numbers of their data disks.
fn check_other_image(creation: &Document, target: &str) -> Result<()> {
    let reference = creation.get("imageReference").and_then(Value::as_object);
    let id = reference.and_then(|r| text(r, "id")).unwrap_or_default();
    let kind = ResourceId::parse(id).ok().and_then(|id| id.kind());
    let is_image = kind == Some(Kind::ManagedImage) || PlatformImage::parse_id(id).is_some();
    let is_alone = !creation.contains_key("galleryImageReference");
    if is_image && is_alone {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!(
            "The value '{id}' of parameter imageReference.id must be the id of a managed image or of an image of the marketplace; an \
             image of a gallery is named in galleryImageReference.id."
        ),
    ))
}

/// Returns what names the image version that a disk starts from; a managed image is none.
pub fn version_reference(row: &Resource) -> Option<&Value> {
    let creation = row.properties.get("creationData")?;
    creation.get("galleryImageReference").or_else(|| {
        let reference = creation.get("imageReference")?;
        PlatformImage::parse_id(reference.get("id")?.as_str()?).map(|_| reference)
    })
}

fn check_copy(creation: &Document, kinds: &[Kind], words: &str, target: String) -> Result<()> {
    let id = text(creation, "sourceResourceId").unwrap_or_default();
    let kind = ResourceId::parse(id).ok().and_then(|id| id.kind());
    if kind.is_some_and(|kind| kinds.contains(&kind)) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!("The source id: {id} must be a {words}."),
    ))
}

fn check_upload(creation: &Document, target: String) -> Result<()> {
    let bytes = creation
        .get("uploadSizeBytes")
        .and_then(Value::as_u64)
        .ok_or_else(|| Error::required(target.as_str()))?;
    let most = SIZE_GIB_MAX * GIB + FOOTER_BYTES;
    if !(UPLOAD_BYTES_MIN..=most).contains(&bytes) || bytes % 512 != 0 {
        return Err(Error::invalid_parameter(
            target,
            format!(
                "The value {bytes} of parameter uploadSizeBytes is out of range. The value must be between {UPLOAD_BYTES_MIN} and \
                 {most}, inclusive, and a multiple of 512: the size of the disk and its 512 bytes of VHD footer."
            ),
        ));
    }
    Ok(())
}

/// Returns the disk or snapshot that a disk or snapshot copies.
pub fn copy_source(row: &Resource) -> Option<ResourceId> {
    let creation = row.properties.get("creationData")?.as_object()?;
    let option = text(creation, "createOption")?;
    if !["Copy", "CopyStart", "Restore"].contains(&option) {
        return None;
    }
    ResourceId::parse(text(creation, "sourceResourceId")?).ok()
}

/// Refuses to copy what is in another region, except where the option is made for that, or has no content yet.
pub fn check_copy_source(row: &Resource, source: &Resource) -> Result<()> {
    let creation = row.properties.get("creationData");
    let option = creation
        .and_then(|c| c.get("createOption"))
        .and_then(Value::as_str);
    if option == Some("CopyStart") {
        let is_incremental = source.properties.get("incremental") == Some(&Value::Bool(true));
        if !is_incremental {
            return Err(Error::invalid_parameter(
                member(row.kind, "creationData.sourceResourceId"),
                format!(
                    "The create option 'CopyStart' copies incremental snapshots only; {} is a full snapshot.",
                    source.id
                ),
            ));
        }
    } else if source.location != row.location {
        return Err(Error::bad_request(format!(
            "The source {} {} does not belong to the same region as the {}.",
            source.kind.wire_name(),
            source.id,
            row.kind.wire_name()
        )));
    }
    super::access::check_readable(source)
}
