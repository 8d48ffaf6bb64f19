//! Managed images: disks of a generalized machine under one name. Source: `API.md` 3.6, `WIRE.md` 4.5.

use serde_json::{Value, json};

use crate::plan::{PutContext, canonical, drop_query, is_nothing, properties, same, start, text};
use crate::resource::Document;
use crate::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};

const CACHING: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
const STORAGE: [&str; 4] = [
    "Standard_LRS",
    "Premium_LRS",
    "StandardSSD_LRS",
    "Standard_ZRS",
];
/// The highest number of a data disk.
const LUN_MAX: i64 = 63;
const GIB: u64 = 1 << 30;
const PROFILE: &str = "storageProfile";

/// One disk of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDisk {
    /// `os` or `lun:N`.
    pub slot: String,
    /// Where its content comes from.
    pub source: DiskSource,
    /// The size that was asked for, in bytes.
    pub wanted_bytes: Option<u64>,
}

/// Where the content of a disk of an image comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskSource {
    /// A managed disk or a snapshot.
    Resource(ResourceId),
    /// A VHD in a blob.
    Blob(String),
}

/// Decides a PUT or, with `stored`, a change: only tags change.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    if !crate::plan::is_entity_name(id.name()) && !id.name().ends_with('_') {
        return Err(crate::plan::invalid_entity_name("imageName"));
    }
    let mut row = start(ctx, Kind::ManagedImage, id, body, stored)?;
    let mut sent = properties(body);
    canonical(
        &mut sent,
        "hyperVGeneration",
        &["V1", "V2"],
        "hyperVGeneration",
    )?;
    if let Some(place) = body.get("extendedLocation") {
        row.top.insert("extendedLocation".to_owned(), place.clone());
    }
    // An image that failed before it was captured holds nothing: a new PUT may say everything anew.
    let is_new = stored.is_none_or(|s| s.state == ProvisioningState::Failed && !has_content(s));
    if !is_new {
        check_unchanged(&row, &sent)?;
        return Ok(row);
    }
    if let Some(machine) = sent.get("sourceVirtualMachine").filter(|m| !is_nothing(m)) {
        return plan_of_machine(row, &sent, machine);
    }
    let profile = match sent.get(PROFILE).and_then(Value::as_object) {
        Some(profile) => shape(profile)?,
        // Sent again without a source, a failed image tries the source that it has.
        None if row.properties.contains_key(PROFILE) => return Ok(row),
        None => return Err(Error::required(PROFILE)),
    };
    let value = Value::Object(profile);
    let is_blob = |disk: &ImageDisk| matches!(disk.source, DiskSource::Blob(_));
    let disks = disks_of(&value);
    if disks.iter().any(is_blob) && !sent.contains_key("hyperVGeneration") {
        return Err(Error::required("hyperVGeneration"));
    }
    row.properties.insert(PROFILE.to_owned(), value);
    if let Some(generation) = sent.get("hyperVGeneration") {
        row.properties
            .insert("hyperVGeneration".to_owned(), generation.clone());
    }
    Ok(row)
}

/// The disks of an image of a machine are those of the machine: filled in where the catalog is.
fn plan_of_machine(mut row: Resource, sent: &Document, machine: &Value) -> Result<Resource> {
    if sent.get(PROFILE).is_some_and(|p| p.get("osDisk").is_some()) {
        return Err(Error::invalid_parameter(
            PROFILE,
            "Parameter 'storageProfile' is not allowed together with 'sourceVirtualMachine'.",
        ));
    }
    let id = machine
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kind = ResourceId::parse(id).ok().and_then(|id| id.kind());
    if kind != Some(Kind::VirtualMachine) {
        return Err(Error::invalid_parameter(
            "sourceVirtualMachine.id",
            format!("The value '{id}' must be the id of a virtual machine."),
        ));
    }
    row.properties
        .insert("sourceVirtualMachine".to_owned(), json!({ "id": id }));
    row.properties.shift_remove(PROFILE);
    if let Some(generation) = sent.get("hyperVGeneration") {
        row.properties
            .insert("hyperVGeneration".to_owned(), generation.clone());
    }
    Ok(row)
}

/// Returns the machine that an image is made of, while its disks are not filled in yet.
pub fn source_machine(row: &Resource) -> Option<ResourceId> {
    if row.properties.contains_key(PROFILE) {
        return None;
    }
    let id = row.properties.get("sourceVirtualMachine")?.get("id")?;
    ResourceId::parse(id.as_str()?).ok()
}

/// Returns the profile with words canonical and defaults filled in.
fn shape(sent: &Document) -> Result<Document> {
    let mut out = Document::new();
    let os = sent.get("osDisk").and_then(Value::as_object);
    let os = os.ok_or_else(|| Error::required(format!("{PROFILE}.osDisk")))?;
    let mut os = shape_disk(os, "osDisk", "ReadWrite")?;
    let words: [(&str, &[&'static str]); 2] = [
        ("osType", &["Windows", "Linux"]),
        ("osState", &["Generalized", "Specialized"]),
    ];
    for (name, words) in words {
        let target = format!("osDisk.{name}");
        canonical(&mut os, name, words, &target)?;
        if !os.contains_key(name) {
            return Err(Error::required(target));
        }
    }
    out.insert("osDisk".to_owned(), Value::Object(os));
    let mut luns = Vec::new();
    let mut data = Vec::new();
    for disk in sent
        .get("dataDisks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let disk = disk.as_object().cloned().unwrap_or_default();
        let lun = disk.get("lun").and_then(Value::as_i64);
        let lun = lun.ok_or_else(|| Error::required("dataDisk.lun"))?;
        if !(0..=LUN_MAX).contains(&lun) || luns.contains(&lun) {
            return Err(Error::invalid_parameter(
                "dataDisk.lun",
                format!(
                    "A disk at LUN {lun} already exists, or the number is not between 0 and {LUN_MAX}."
                ),
            ));
        }
        luns.push(lun);
        data.push(Value::Object(shape_disk(&disk, "dataDisk", "None")?));
    }
    out.insert("dataDisks".to_owned(), Value::Array(data));
    if let Some(resilient) = sent.get("zoneResilient") {
        out.insert("zoneResilient".to_owned(), resilient.clone());
    }
    Ok(out)
}

fn shape_disk(sent: &Document, of: &str, caching: &str) -> Result<Document> {
    let mut disk = sent.clone();
    drop_query(&mut disk, "blobUri");
    canonical(&mut disk, "caching", &CACHING, &format!("{of}.caching"))?;
    let storage = format!("{of}.storageAccountType");
    canonical(&mut disk, "storageAccountType", &STORAGE, &storage)?;
    disk.entry("caching").or_insert_with(|| json!(caching));
    let mut sources = Vec::new();
    for (name, kind) in [("snapshot", Kind::Snapshot), ("managedDisk", Kind::Disk)] {
        let id = disk.get(name).and_then(|s| s.get("id"));
        let Some(id) = id.and_then(Value::as_str).filter(|id| !id.is_empty()) else {
            disk.shift_remove(name);
            continue;
        };
        let parsed = ResourceId::parse(id).ok().and_then(|id| id.kind());
        if parsed != Some(kind) {
            return Err(Error::invalid_parameter(
                format!("{of}.{name}.id"),
                format!("The value '{id}' must be the id of a {}.", kind.wire_name()),
            ));
        }
        sources.push(name);
    }
    if text(&disk, "blobUri").is_some_and(|uri| !uri.is_empty()) {
        sources.push("blobUri");
    } else {
        disk.shift_remove("blobUri");
    }
    if sources.len() != 1 {
        return Err(Error::invalid_parameter(
            of,
            format!(
                "The disk must have exactly one source: snapshot, managedDisk or blobUri. {} were given.",
                sources.len()
            ),
        ));
    }
    Ok(disk)
}

/// Returns the disks of an image and where they come from.
pub fn disks(row: &Resource) -> Vec<ImageDisk> {
    row.properties
        .get(PROFILE)
        .map(disks_of)
        .unwrap_or_default()
}

fn disks_of(profile: &Value) -> Vec<ImageDisk> {
    let os = profile.get("osDisk").map(|disk| ("os".to_owned(), disk));
    let data = profile.get("dataDisks").and_then(Value::as_array);
    let data = data.into_iter().flatten().filter_map(|disk| {
        let lun = disk.get("lun")?.as_i64()?;
        Some((format!("lun:{lun}"), disk))
    });
    os.into_iter()
        .chain(data)
        .filter_map(|(slot, disk)| {
            Some(ImageDisk {
                slot,
                source: source_of(disk)?,
                wanted_bytes: disk
                    .get("diskSizeGB")
                    .and_then(Value::as_u64)
                    .map(|gib| gib * GIB),
            })
        })
        .collect()
}

fn source_of(disk: &Value) -> Option<DiskSource> {
    if let Some(uri) = disk.get("blobUri").and_then(Value::as_str) {
        return Some(DiskSource::Blob(uri.to_owned()));
    }
    let named = disk.get("snapshot").or(disk.get("managedDisk"))?;
    let id = named.get("id")?.as_str()?;
    ResourceId::parse(id).ok().map(DiskSource::Resource)
}

/// Returns the sets that encrypt an image's disks.
pub(crate) fn encryption_sets(row: &Resource) -> Vec<ResourceId> {
    let profile = row.properties.get(PROFILE);
    let os = profile.and_then(|p| p.get("osDisk"));
    let data = profile.and_then(|p| p.get("dataDisks"));
    let data = data.and_then(Value::as_array).into_iter().flatten();
    os.into_iter()
        .chain(data)
        .filter_map(|disk| disk.pointer("/diskEncryptionSet/id")?.as_str())
        .filter_map(|id| ResourceId::parse(id).ok())
        .collect()
}

/// Takes over what the source of the system disk says and the image does not.
pub fn inherit(row: &mut Resource, source: &Resource) {
    let generation = source.properties.get("hyperVGeneration").cloned();
    let generation = generation.unwrap_or_else(|| json!("V1"));
    row.properties
        .entry("hyperVGeneration")
        .or_insert(generation);
}

/// Shows the size of a captured disk.
pub fn set_size(row: &mut Resource, slot: &str, bytes: u64) {
    let gib = bytes.div_ceil(GIB).max(1);
    let Some(profile) = row.properties.get_mut(PROFILE) else {
        return;
    };
    let lun = slot
        .strip_prefix("lun:")
        .and_then(|lun| lun.parse::<i64>().ok());
    let disk = match lun {
        None => profile.get_mut("osDisk"),
        Some(lun) => profile
            .get_mut("dataDisks")
            .and_then(Value::as_array_mut)
            .and_then(|disks| disks.iter_mut().find(|d| d.get("lun") == Some(&json!(lun)))),
    };
    if let Some(disk) = disk.and_then(Value::as_object_mut) {
        disk.insert("diskSizeGB".to_owned(), json!(gib));
    }
}

/// Returns how hosts cache a disk of an image.
pub fn caching(row: &Resource, slot: &str) -> Option<String> {
    let profile = row.properties.get(PROFILE)?;
    let disk = match slot.strip_prefix("lun:") {
        None => profile.get("osDisk")?,
        Some(lun) => {
            let lun = json!(lun.parse::<i64>().ok()?);
            let data = profile.get("dataDisks")?.as_array()?;
            data.iter().find(|disk| disk.get("lun") == Some(&lun))?
        }
    };
    let caching = disk.get("caching").and_then(Value::as_str);
    caching.map(str::to_owned)
}

/// Whether an image's disks were captured.
pub fn has_content(row: &Resource) -> bool {
    let captured = row.internal.get("isCaptured");
    captured.and_then(Value::as_bool).unwrap_or(false)
}

/// Records that the disks were captured: the sources are not needed any more.
pub fn set_captured(row: &mut Resource) {
    row.internal.insert("isCaptured".to_owned(), json!(true));
}

/// What is sent must be what is there; what is not named stays.
fn check_unchanged(row: &Resource, sent: &Document) -> Result<()> {
    for name in ["hyperVGeneration", "sourceVirtualMachine"] {
        if let Some(value) = sent.get(name)
            && !same(row.properties.get(name), value)
        {
            return Err(Error::change_not_allowed(name));
        }
    }
    let Some(profile) = sent.get(PROFILE).and_then(Value::as_object) else {
        return Ok(());
    };
    let held = row.properties.get(PROFILE);
    if let Some(os) = profile.get("osDisk") {
        check_same_disk(held.and_then(|h| h.get("osDisk")), os, "osDisk")?;
    }
    let kept = held
        .and_then(|h| h.get("dataDisks"))
        .and_then(Value::as_array);
    for disk in profile
        .get("dataDisks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let known = kept.and_then(|kept| kept.iter().find(|k| k.get("lun") == disk.get("lun")));
        check_same_disk(known, disk, "dataDisks")?;
    }
    if let Some(resilient) = profile.get("zoneResilient") {
        let known = held.and_then(|h| h.get("zoneResilient"));
        let is_off = known.is_none() && resilient == &Value::Bool(false);
        if !is_off && !same(known, resilient) {
            return Err(Error::change_not_allowed("zoneResilient"));
        }
    }
    Ok(())
}

fn check_same_disk(held: Option<&Value>, sent: &Value, of: &str) -> Result<()> {
    let mut sent = sent.as_object().cloned().unwrap_or_default();
    drop_query(&mut sent, "blobUri");
    for (name, value) in &sent {
        if !crate::plan::is_part(held.and_then(|h| h.get(name)), value) {
            return Err(Error::change_not_allowed(format!("{of}.{name}")));
        }
    }
    Ok(())
}
