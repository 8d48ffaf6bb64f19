//! The storage profile: where the disks of a version come from. Source: `API.md` 3.3, 5.3.

use serde_json::{Value, json};

use super::{WIRE, out_of_range};
use crate::plan::{PutContext, canonical, drop_query, is_nothing, same, text};
use crate::resource::Document;
use crate::shared_image::{Door, SharedImageId};
use crate::{Error, Resource, ResourceId, Result, features};

const CACHING: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
/// The highest number of a data disk.
const LUN_MAX: i64 = 63;
/// Ways to name one source of all disks.
const WHOLE: [&str; 3] = ["id", "virtualMachineId", "communityGalleryImageId"];
/// Ways to name the source of one disk.
const SINGLE: [&str; 3] = ["id", "uri", "storageAccountId"];

/// Fills in the storage profile.
pub(super) fn plan(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let sent = sent.get("storageProfile").and_then(Value::as_object);
    if !is_new {
        return sent.map_or(Ok(()), |sent| check_unchanged(row, sent));
    }
    let stored = row.properties.get("storageProfile").cloned();
    let profile = match (sent, &stored) {
        (Some(sent), Some(_)) if names_no_source(sent) => return check_unchanged(row, sent),
        (Some(sent), _) => shape(sent)?,
        // Sent again without a source, a failed version tries the source that it has.
        (None, Some(_)) => return Ok(()),
        (None, None) => return Err(Error::required(format!("{WIRE}.storageProfile"))),
    };
    check_sources(&profile)?;
    check_security(ctx, &profile)?;
    let profile = Value::Object(profile);
    if stored.is_some_and(|old| sources(&old) != sources(&profile)) {
        // What was captured from the other source is not this version.
        row.internal.shift_remove("images");
    }
    row.properties.insert("storageProfile".to_owned(), profile);
    Ok(())
}

/// Whether a version's disks were captured: a region may serve them already, so they stay what they are.
pub fn has_content(row: &Resource) -> bool {
    row.properties
        .get("storageProfile")
        .and_then(|p| p.pointer("/osDiskImage/sizeInGB"))
        .is_some()
}

/// Returns the ids of the resources that a version is made from; blobs are not among them.
pub fn source_ids(row: &Resource) -> Vec<ResourceId> {
    let Some(profile) = row.properties.get("storageProfile") else {
        return Vec::new();
    };
    let whole = profile
        .get("source")
        .and_then(|s| s.get("id").or(s.get("virtualMachineId")));
    let disks = disks(profile)
        .filter_map(|d| d.get("source"))
        .filter(|s| s.get("uri").is_none())
        .filter_map(|s| s.get("id"));
    whole
        .into_iter()
        .chain(disks)
        .filter_map(Value::as_str)
        .filter_map(|id| ResourceId::parse(id).ok())
        .collect()
}

/// Returns the image of others that a version is made from, by the id that its owner's consumers know.
pub fn image_of_others(row: &Resource) -> Option<SharedImageId> {
    let source = row.properties.get("storageProfile")?.get("source")?;
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let id = text("communityGalleryImageId").or_else(|| text("id"))?;
    SharedImageId::parse(id).ok()
}

/// Returns the blobs that a version is made from.
pub(super) fn source_blobs(row: &Resource) -> Vec<&str> {
    let profile = row.properties.get("storageProfile");
    let disks = profile.into_iter().flat_map(disks);
    disks
        .filter_map(|disk| disk.pointer("/source/uri")?.as_str())
        .collect()
}

fn disks(profile: &Value) -> impl Iterator<Item = &Value> {
    let data = profile.get("dataDiskImages").and_then(Value::as_array);
    profile
        .get("osDiskImage")
        .into_iter()
        .chain(data.into_iter().flatten())
}

fn names_no_source(sent: &Document) -> bool {
    let sent = Value::Object(sent.clone());
    sources(&sent).iter().all(is_nothing)
}

fn sources(profile: &Value) -> Vec<Value> {
    let whole = profile.get("source").cloned();
    whole
        .into_iter()
        .chain(disks(profile).filter_map(|d| d.get("source").cloned()))
        .collect()
}

/// Returns the profile with enum words canonical, members in recorded order and empty ones gone.
fn shape(sent: &Document) -> Result<Document> {
    let mut out = Document::new();
    if let Some(source) = named(sent.get("source"), &WHOLE) {
        out.insert("source".to_owned(), Value::Object(source));
    }
    let is_whole = out.contains_key("source");
    if let Some(os) = sent.get("osDiskImage").and_then(Value::as_object) {
        let disk = shape_disk(os, "ReadWrite", "osDiskImage")?;
        if !is_whole
            || disk
                .get("source")
                .is_some_and(|s| s.as_object().is_some_and(|s| !s.is_empty()))
        {
            out.insert("osDiskImage".to_owned(), Value::Object(disk));
        }
    }
    let data = sent
        .get("dataDiskImages")
        .and_then(Value::as_array)
        .filter(|d| !d.is_empty());
    if let Some(data) = data {
        let mut list = Vec::new();
        for disk in data.iter().filter_map(Value::as_object) {
            list.push(Value::Object(shape_disk(
                disk,
                "ReadOnly",
                "dataDiskImages",
            )?));
        }
        out.insert("dataDiskImages".to_owned(), Value::Array(list));
    }
    Ok(out)
}

fn shape_disk(sent: &Document, caching: &str, of: &str) -> Result<Document> {
    let mut sent = sent.clone();
    canonical(
        &mut sent,
        "hostCaching",
        &CACHING,
        &format!("{WIRE}.storageProfile.{of}.hostCaching"),
    )?;
    let mut out = Document::new();
    if let Some(lun) = sent.get("lun") {
        out.insert("lun".to_owned(), lun.clone());
    }
    out.insert(
        "hostCaching".to_owned(),
        sent.get("hostCaching")
            .cloned()
            .unwrap_or_else(|| json!(caching)),
    );
    if let Some(source) = named(sent.get("source"), &SINGLE) {
        out.insert("source".to_owned(), Value::Object(source));
    }
    Ok(out)
}

/// Returns the members of a source that say something.
fn named(source: Option<&Value>, names: &[&str]) -> Option<Document> {
    let mut source = source?.as_object()?.clone();
    drop_query(&mut source, "uri");
    let source = &source;
    let says = |name: &&&str| text(source, name).is_some_and(|t| !t.is_empty());
    let out: Document = names
        .iter()
        .filter(says)
        .map(|n| ((*n).to_owned(), source[*n].clone()))
        .collect();
    (!out.is_empty()).then_some(out)
}

fn check_sources(profile: &Document) -> Result<()> {
    let value = Value::Object(profile.clone());
    let sourced = disks(&value).filter(|d| d.get("source").is_some()).count();
    match profile.get("source").and_then(Value::as_object) {
        Some(source) if source.len() == 1 && sourced == 0 => check_whole(source),
        None if sourced > 0 => check_disks(profile),
        _ => Err(not_one_source()),
    }
}

fn not_one_source() -> Error {
    Error::invalid_parameter(
        format!("{WIRE}.storageProfile.source.id"),
        "The gallery artifact version source can only be specified either directly under storageProfile or within individual OS \
         or data disks. One and only one source type (user image, snapshot, disk, virtual machine) can be provided.",
    )
}

fn check_whole(source: &Document) -> Result<()> {
    let target = format!("{WIRE}.storageProfile.source.id");
    if let Some(id) = text(source, "communityGalleryImageId") {
        return check_door(id, Door::Community, "source.communityGalleryImageId");
    }
    // The original knows no member of its own for images that were shared directly.
    if let Some(id) = text(source, "id").filter(|id| SharedImageId::parse(id).is_ok()) {
        return check_door(id, Door::Shared, "source.id");
    }
    let id = text(source, "id")
        .or_else(|| text(source, "virtualMachineId"))
        .unwrap_or_default();
    let parsed = resource_id(id, "source.id")?;
    let kinds = [
        "microsoft.compute/images",
        "microsoft.compute/galleries/images/versions",
        "microsoft.compute/virtualmachines",
    ];
    if kinds.contains(&parsed.type_name().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!(
            "The source id: {id} must either be a managed image, virtual machine or another gallery image version"
        ),
    ))
}

/// The id of an image of others stands where its door says. Whether it may be used is decided where the catalog is.
fn check_door(id: &str, door: Door, path: &str) -> Result<()> {
    if SharedImageId::parse(id).is_ok_and(|parsed| parsed.door == door) {
        return Ok(());
    }
    let other = match door {
        Door::Community => "",
        Door::Shared => " An image of a community gallery is named by 'communityGalleryImageId'.",
    };
    Err(Error::invalid_parameter(
        format!("{WIRE}.storageProfile.{path}"),
        format!(
            "The value '{id}' is invalid. Expect an image id of the form '/{}/{{galleryName}}/Images/{{imageName}}[/Versions/{{version}}]'.{other}",
            door.as_str()
        ),
    ))
}

fn check_disks(profile: &Document) -> Result<()> {
    let os = profile
        .get("osDiskImage")
        .ok_or_else(|| Error::required(format!("{WIRE}.storageProfile.osDiskImage")))?;
    check_disk(os, "osDiskImage")?;
    let data = profile
        .get("dataDiskImages")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let target = format!("{WIRE}.storageProfile.dataDiskImages");
    let mut luns = Vec::new();
    for disk in data {
        let lun = disk
            .get("lun")
            .and_then(Value::as_i64)
            .ok_or_else(|| Error::required(format!("{target}.lun")))?;
        if !(0..=LUN_MAX).contains(&lun) {
            return Err(out_of_range(&format!("{target}.lun"), lun, 0, LUN_MAX));
        }
        if luns.contains(&lun) {
            return Err(Error::invalid_parameter(
                format!("{target}.lun"),
                "Duplicated lun numbers have been detected in the input data disks. Lun number must be unique for each data disk.",
            ));
        }
        luns.push(lun);
        check_disk(disk, "dataDiskImages")?;
    }
    check_distinct(os, data)
}

fn check_disk(disk: &Value, of: &str) -> Result<()> {
    let source = disk
        .get("source")
        .and_then(Value::as_object)
        .ok_or_else(not_one_source)?;
    let target = format!("{WIRE}.storageProfile.{of}.source");
    if let Some(id) = text(source, "storageAccountId") {
        check_account(id, &format!("{target}.storageAccountId"))?;
    }
    if text(source, "uri").is_some() {
        // Older clients put the storage account into `id`.
        return text(source, "id").map_or(Ok(()), |id| check_account(id, &format!("{target}.id")));
    }
    let id = text(source, "id").ok_or_else(|| Error::required(format!("{target}.uri")))?;
    let parsed = resource_id(id, &format!("{of}.source.id"))?;
    let kinds = ["microsoft.compute/disks", "microsoft.compute/snapshots"];
    if kinds.contains(&parsed.type_name().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        format!("{target}.id"),
        format!("The source id: {id} must be a managed disk or snapshot."),
    ))
}

fn check_account(id: &str, target: &str) -> Result<()> {
    let is_account = ResourceId::parse(id).is_ok_and(|id| {
        id.type_name()
            .eq_ignore_ascii_case("Microsoft.Storage/storageAccounts")
    });
    if is_account {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!("The value '{id}' must be the id of a storage account."),
    ))
}

fn resource_id(id: &str, path: &str) -> Result<ResourceId> {
    ResourceId::parse(id).map_err(|_| {
        let mut error = Error::invalid_parameter(
            format!("{WIRE}.storageProfile.{path}"),
            format!(
                "Property id '{id}' at path 'properties.storageProfile.{path}' is invalid. Expect fully qualified resource Id \
                 that start with '/subscriptions/{{subscriptionId}}' or '/providers/{{resourceProviderNamespace}}/'."
            ),
        );
        error.code = "LinkedInvalidPropertyId".into();
        error
    })
}

fn check_distinct(os: &Value, data: &[Value]) -> Result<()> {
    let target = format!("{WIRE}.storageProfile.dataDiskImages.source");
    let key = |disk: &Value| {
        let source = disk.get("source").and_then(Value::as_object);
        let uri = source
            .and_then(|s| text(s, "uri"))
            .map(|u| (true, u.to_owned()));
        uri.or_else(|| {
            source
                .and_then(|s| text(s, "id"))
                .map(|id| (false, id.to_ascii_lowercase()))
        })
    };
    let mut seen = Vec::new();
    for disk in data {
        let this = key(disk);
        if let (Some((true, uri)), true) = (&this, this == key(os)) {
            return Err(Error::invalid_parameter(
                target,
                format!("OSDiskImage and DataDiskImage cannot point to same blob {uri}"),
            ));
        }
        if seen.contains(&this) || this == key(os) {
            return Err(Error::invalid_parameter(
                target,
                "Duplicated source ids are found in the input disks. Source id should be unique for each disk.",
            ));
        }
        seen.push(this);
    }
    Ok(())
}

/// Sources that carry a guest state cannot make images of these security types. Source: `API.md` 4.
fn check_security(ctx: &PutContext<'_>, profile: &Document) -> Result<()> {
    let Some(definition) = ctx.parent else {
        return Ok(());
    };
    let security = features::security_type(definition.properties.get("features"));
    if ![
        "TrustedLaunchSupported",
        "TrustedLaunchAndConfidentialVmSupported",
        "ConfidentialVMSupported",
    ]
    .contains(&security)
    {
        return Ok(());
    }
    let value = Value::Object(profile.clone());
    let is_refused = |id: &&str| {
        let kind = ResourceId::parse(id)
            .map(|id| id.type_name().to_ascii_lowercase())
            .unwrap_or_default();
        [
            "microsoft.compute/disks",
            "microsoft.compute/snapshots",
            "microsoft.compute/virtualmachines",
        ]
        .contains(&kind.as_str())
    };
    let whole = value
        .get("source")
        .and_then(|s| s.get("id").or(s.get("virtualMachineId")));
    let single = disks(&value)
        .filter_map(|d| d.get("source"))
        .filter(|s| s.get("uri").is_none())
        .filter_map(|s| s.get("id"));
    match whole
        .into_iter()
        .chain(single)
        .filter_map(Value::as_str)
        .find(is_refused)
    {
        None => Ok(()),
        Some(id) => Err(Error::invalid_parameter(
            format!("{WIRE}.storageProfile.source.id"),
            format!(
                "The security type '{security}' is not supported for the source id '{id}'. Currently only Vhd Blob, User Image \
                 and Gallery Image Version sources are supported for '{security}' images."
            ),
        )),
    }
}

/// A version keeps its sources and its disks.
fn check_unchanged(row: &Resource, sent: &Document) -> Result<()> {
    let empty = Value::Null;
    let stored = row.properties.get("storageProfile").unwrap_or(&empty);
    check_source(stored.get("source"), sent.get("source"), &WHOLE, "source")?;
    if let Some(os) = sent.get("osDiskImage") {
        check_same_disk(stored.get("osDiskImage"), os, "osDiskImage")?;
    }
    let kept = stored
        .get("dataDiskImages")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for disk in sent
        .get("dataDiskImages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(known) = kept.iter().find(|k| k.get("lun") == disk.get("lun")) else {
            return Err(Error::conflict(
                "PropertyChangeNotAllowed",
                "Adding new Data Disks or changing the LUN of a Data Disk in an existing Image is not allowed.",
            )
            .at(format!("{WIRE}.storageProfile.dataDiskImages.lun")));
        };
        check_same_disk(Some(known), disk, "dataDiskImages")?;
    }
    Ok(())
}

fn check_same_disk(stored: Option<&Value>, sent: &Value, of: &str) -> Result<()> {
    check_source(
        stored.and_then(|s| s.get("source")),
        sent.get("source"),
        &SINGLE,
        &format!("{of}.source"),
    )?;
    match (
        sent.get("hostCaching"),
        stored.and_then(|s| s.get("hostCaching")),
    ) {
        (Some(sent), Some(stored)) if !same(Some(stored), sent) => Err(Error::change_not_allowed(
            format!("{WIRE}.storageProfile.{of}.hostCaching"),
        )),
        _ => Ok(()),
    }
}

fn check_source(
    stored: Option<&Value>,
    sent: Option<&Value>,
    names: &[&str],
    path: &str,
) -> Result<()> {
    for (name, value) in named(sent, names).unwrap_or_default() {
        if !same(stored.and_then(|s| s.get(&name)), &value) {
            return Err(Error::change_not_allowed(format!(
                "{WIRE}.storageProfile.{path}.{name}"
            )));
        }
    }
    Ok(())
}
