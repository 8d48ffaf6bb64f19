//! Whether a source fits its image definition. Source: `API.md` 5.4.

use serde_json::{Value, json};

use super::{encryption, storage};
use crate::{Error, Kind, Resource, ResourceId, Result, disk, features, managed_image};

const TARGET: &str = "galleryImageVersion.properties.storageProfile.source.id";

/// The largest disk of a full version. Source: `API.md` 5.4.
const FULL_GIB_MAX: u64 = 2048;
/// The largest disk of a shallow version.
const SHALLOW_GIB_MAX: u64 = 32 * 1024;
const GIB: u64 = 1 << 30;

/// What is known of a source; what a source does not say fits everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFacts {
    shown: String,
    generation: Option<String>,
    os_type: Option<String>,
    os_state: Option<String>,
    plan: Option<Value>,
    architecture: Option<String>,
    security: Option<String>,
    controllers: Option<String>,
    size_bytes: u64,
}

impl SourceFacts {
    /// Another version, by its definition.
    ///
    /// `shown` is how the caller names it: errors say no other name.
    pub fn of_definition(shown: &str, definition: &Resource, size_bytes: u64) -> Self {
        let text = |name: &str| {
            definition
                .properties
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let plan = definition.properties.get("purchasePlan").cloned();
        let security = features::security_type(definition.properties.get("features"));
        Self {
            shown: shown.to_owned(),
            generation: text("hyperVGeneration"),
            os_type: text("osType"),
            os_state: text("osState"),
            plan: Some(plan.unwrap_or(Value::Null)),
            architecture: text("architecture"),
            security: ["TrustedLaunch", "ConfidentialVM"]
                .contains(&security)
                .then(|| security.to_owned()),
            controllers: None,
            size_bytes,
        }
    }

    /// A managed image.
    pub fn of_managed_image(image: &Resource, size_bytes: u64) -> Self {
        let generation = image.properties.get("hyperVGeneration");
        let os = image.properties.get("storageProfile");
        let os = os.and_then(|profile| profile.get("osDisk"));
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Self {
            shown: image.id.to_string(),
            generation: text(generation),
            os_type: text(os.and_then(|os| os.get("osType"))),
            os_state: text(os.and_then(|os| os.get("osState"))),
            size_bytes,
            ..Self::default()
        }
    }

    /// A managed disk or snapshot: it says only what it was created with, and as a data disk only its size.
    pub fn of_disk(disk: &Resource, slot: &str) -> Self {
        if slot != "os" {
            let size_bytes = disk.properties.get("diskSizeBytes");
            return Self {
                shown: disk.id.to_string(),
                size_bytes: size_bytes.and_then(Value::as_u64).unwrap_or(0),
                ..Self::default()
            };
        }
        let text = |name: &str| {
            disk.properties
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let capabilities = disk.properties.get("supportedCapabilities");
        Self {
            shown: disk.id.to_string(),
            generation: text("hyperVGeneration"),
            os_type: text("osType"),
            plan: disk.properties.get("purchasePlan").cloned(),
            architecture: capabilities
                .and_then(|c| c.get("architecture"))
                .and_then(Value::as_str)
                .map(str::to_owned),
            security: disk
                .properties
                .get("securityProfile")
                .and_then(|s| s.get("securityType"))
                .and_then(Value::as_str)
                .map(|s| s.split('_').next().unwrap_or(s).to_owned()),
            controllers: capabilities
                .and_then(|c| c.get("diskControllerTypes"))
                .and_then(Value::as_str)
                .map(str::to_owned),
            size_bytes: disk
                .properties
                .get("diskSizeBytes")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            ..Self::default()
        }
    }

    /// A machine: what its image said, and what became of it.
    pub fn of_machine(machine: &Resource, size_bytes: u64) -> Self {
        let inside = |name: &str| {
            let value = machine.internal.get(name).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        let profile = machine.properties.get("storageProfile");
        let os = profile.and_then(|p| p.pointer("/osDisk/osType"));
        let controller = profile.and_then(|p| p.get("diskControllerType"));
        let family = crate::virtual_machine::Size::of(machine).map(|size| size.family);
        let usual = family.map(|family| family.controllers.join(", "));
        let is_generalized = crate::virtual_machine::is_generalized(machine);
        let plan = machine.top.get("plan").cloned();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Self {
            shown: machine.id.to_string(),
            generation: inside("generation"),
            os_type: text(os),
            os_state: Some(
                if is_generalized {
                    "Generalized"
                } else {
                    "Specialized"
                }
                .to_owned(),
            ),
            plan: Some(plan.unwrap_or(Value::Null)),
            architecture: inside("architecture"),
            security: inside("security").filter(|s| s != "Standard"),
            controllers: text(controller).or(usual),
            size_bytes,
        }
    }

    /// A VHD in a blob: it says its size.
    pub fn of_vhd(uri: &str, size_bytes: u64) -> Self {
        Self {
            shown: uri.split('?').next().unwrap_or_default().to_owned(),
            size_bytes,
            ..Self::default()
        }
    }
}

/// The refusal of a source that is not there. Source: `API.md` 5.3.
pub fn source_not_found(id: &ResourceId) -> Error {
    Error::not_found(
        "NotFound",
        format!("Source was not found: {id}. Please make sure the source exists."),
    )
    .at(TARGET)
}

/// The refusal of an image of others that is not there, not shared with the asker or not in the region:
/// one answer for all, so that nobody learns what there is. Source: `API.md` 5.3.
pub fn shared_source_not_found(id: &str) -> Error {
    Error::not_found(
        "NotFound",
        format!("Source was not found: {id}. Please make sure the source exists."),
    )
    .at(TARGET)
}

/// Refuses an image of others whose copies would be encrypted with keys of the customer, or one that is.
pub fn check_image_of_others(version: &Resource, source: &Resource, shown: &str) -> Result<()> {
    if encryption::has_sets(version) || encryption::has_sets(source) {
        return Err(encryption_unsupported(shown));
    }
    Ok(())
}

/// Refuses a source that is in another region, has no content yet or is encrypted where that cannot be. Source: `API.md` 5.3.
pub fn check_source(version: &Resource, source: &Resource) -> Result<()> {
    let id = &source.id;
    let is_regional = source.kind != Kind::ImageVersion;
    if is_regional && source.location != version.location {
        return Err(Error::not_found(
            "NotFound",
            format!(
                "Source {id} is not found. Please check source exists, and is in the same region as gallery image version being \
                 created."
            ),
        )
        .at(TARGET));
    }
    if matches!(source.kind, Kind::Disk | Kind::Snapshot) {
        disk::check_readable(source)?;
    }
    if source.kind == Kind::VirtualMachine {
        crate::virtual_machine::check_captured(source)?;
    }
    if source.kind == Kind::ImageVersion && encryption::has_sets(source) {
        return Err(encryption_unsupported(&id.to_string()));
    }
    let is_encrypted = match source.kind {
        Kind::Disk | Kind::Snapshot => disk::encryption_set(source).is_some(),
        Kind::ManagedImage => !managed_image::encryption_sets(source).is_empty(),
        _ => false,
    };
    let (mine, theirs) = (version.id.subscription(), id.subscription());
    if is_encrypted && !mine.eq_ignore_ascii_case(theirs) {
        return Err(Error::invalid_parameter(
            TARGET,
            format!(
                "Encrypted source: '{id}' is in a different subscription ID than the current gallery image version subscription \
                 '{mine}'. Please retry with an unencrypted source(s) or use the source's subscription '{theirs}' for creating \
                 the gallery image version."
            ),
        ));
    }
    Ok(())
}

/// Copies of blobs and of other versions are not encrypted with keys of the customer. Source: `API.md` 5.3.
pub(super) fn check_encryption(version: &Resource) -> Result<()> {
    if !encryption::has_sets(version) {
        return Ok(());
    }
    let ids = storage::source_ids(version);
    let other = ids.iter().find(|id| id.kind() == Some(Kind::ImageVersion));
    let blob = storage::source_blobs(version).first().copied();
    match other.map(ToString::to_string).or(blob.map(str::to_owned)) {
        Some(source) => Err(encryption_unsupported(&source)),
        None => Ok(()),
    }
}

fn encryption_unsupported(id: &str) -> Error {
    Error::invalid_parameter(
        TARGET,
        format!(
            "Encryption is not supported for source resource '{id}'. Please use a different source resource type which supports \
             encryption or update encryption properties."
        ),
    )
}

/// Refuses a source that does not fit: the version fails with this error.
pub fn check_source_matches(
    definition: &Resource,
    version: &Resource,
    facts: &SourceFacts,
) -> Result<()> {
    let src = &facts.shown;
    let of = |name: &str| {
        definition
            .properties
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let differs = |fact: &Option<String>, parent: &str| {
        fact.as_deref()
            .filter(|f| !f.eq_ignore_ascii_case(parent))
            .map(str::to_owned)
    };
    let parent = of("hyperVGeneration");
    if let Some(mine) = differs(&facts.generation, parent) {
        return Err(mismatch(format!(
            "The resource with id '{src}' has a different Hypervisor generation ['{mine}'] than the parent gallery image \
             Hypervisor generation ['{parent}']."
        )));
    }
    let parent = of("osType");
    if let Some(mine) = differs(&facts.os_type, parent) {
        return Err(mismatch(format!(
            "The resource with id '{src}' has a different OS type ['{mine}'] than the parent gallery image OS type generation \
             ['{parent}']"
        )));
    }
    let parent = of("osState");
    if let Some(mine) = differs(&facts.os_state, parent) {
        return Err(mismatch(format!(
            "Cannot create Gallery Image Version from: {src} since the OS State in the parent gallery image ('{parent}') is not \
             '{mine}'."
        )));
    }
    check_plan(definition, facts)?;
    let parent = of("architecture");
    if let Some(mine) = differs(&facts.architecture, parent) {
        return Err(mismatch(format!(
            "The resource with id '{src}' has a different Architecture ['{mine}'] than the parent gallery image Architecture \
             ['{parent}']."
        )));
    }
    let parent = features::security_type(definition.properties.get("features"));
    if let Some(mine) = differs(&facts.security, parent) {
        return Err(mismatch(format!(
            "The resource with id '{src}' has a different Security type ['{mine}'] than the parent gallery image Security type \
             ['{parent}']."
        )));
    }
    check_controllers(definition, facts)?;
    check_size(version, facts.size_bytes)
}

/// A source that needs `NVMe` makes images that say so. Source: `API.md` 4.
fn check_controllers(definition: &Resource, facts: &SourceFacts) -> Result<()> {
    let names = |types: &str, name: &str| types.to_ascii_lowercase().contains(name);
    let needs_nvme = |types: &&str| names(types, "nvme") && !names(types, "scsi");
    let Some(mine) = facts.controllers.as_deref().filter(needs_nvme) else {
        return Ok(());
    };
    let parent = features::value(definition.properties.get("features"), "DiskControllerTypes")
        .unwrap_or("SCSI");
    if names(parent, "nvme") {
        return Ok(());
    }
    Err(mismatch(format!(
        "The resource with id '{}' has a different Disk controller type ['{mine}'] than the parent gallery image Disk controller \
         type ['{parent}'].",
        facts.shown
    )))
}

fn mismatch(message: String) -> Error {
    Error::conflict("Conflict", message)
}

fn check_plan(definition: &Resource, facts: &SourceFacts) -> Result<()> {
    let Some(plan) = &facts.plan else {
        return Ok(());
    };
    let parent = definition
        .properties
        .get("purchasePlan")
        .unwrap_or(&Value::Null);
    let part = |plan: &Value, name: &str| {
        plan.get(name)
            .and_then(Value::as_str)
            .map(str::to_ascii_lowercase)
    };
    if ["name", "publisher", "product"]
        .iter()
        .all(|name| part(plan, name) == part(parent, name))
    {
        return Ok(());
    }
    let shown = |plan: &Value| match plan.as_object() {
        None => "null".to_owned(),
        Some(plan) => {
            let part = |name: &str| plan.get(name).cloned().unwrap_or(Value::Null);
            let all = json!({ "name": part("name"), "publisher": part("publisher"), "product": part("product"), "promotionCode": part("promotionCode") });
            all.to_string()
        }
    };
    Err(mismatch(format!(
        "The resource with id '{}' has a different plan ['{}'] than the parent gallery image plan ['{}']",
        facts.shown,
        shown(plan),
        shown(parent)
    )))
}

fn check_size(version: &Resource, size_bytes: u64) -> Result<()> {
    let mode = version
        .properties
        .get("publishingProfile")
        .and_then(|p| p.get("replicationMode"))
        .and_then(Value::as_str);
    let most = if mode == Some("Shallow") {
        SHALLOW_GIB_MAX
    } else {
        FULL_GIB_MAX
    };
    let gib = size_bytes.div_ceil(GIB);
    if gib <= most {
        return Ok(());
    }
    Err(mismatch(format!(
        "Replication failed in this region due to 'The GalleryImageVersion source resource size {gib} exceeds the max size \
         {most} supported.'"
    )))
}
