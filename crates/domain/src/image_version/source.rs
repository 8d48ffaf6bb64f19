//! Whether a source fits its image definition. Source: `API.md` 5.4.

use serde_json::{Value, json};

use crate::{Error, Resource, ResourceId, Result, features};

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
    pub fn of_definition(source: &ResourceId, definition: &Resource, size_bytes: u64) -> Self {
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
            shown: source.to_string(),
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

    /// A managed disk: it says only what it was created with.
    pub fn of_disk(disk: &Resource) -> Self {
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

    /// A VHD in a blob: it says its size.
    pub fn of_vhd(uri: &str, size_bytes: u64) -> Self {
        Self {
            shown: uri.split('?').next().unwrap_or_default().to_owned(),
            size_bytes,
            ..Self::default()
        }
    }
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
