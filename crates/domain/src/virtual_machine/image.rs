//! Whether a machine and what it boots from fit. Source: `API.md` 10.

use serde_json::{Value, json};

use super::size::Size;
use super::storage::PROFILE;
use crate::plan::text;
use crate::resource::Document;
use crate::{Error, ErrorKind, Resource, Result, features};

/// The security types that a machine can say.
const SECURITY_TYPES: [&str; 3] = ["Standard", "TrustedLaunch", "ConfidentialVM"];

/// What is known of what a machine boots from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootFacts {
    /// `Windows` or `Linux`.
    pub os_type: Option<String>,
    /// Whether nothing is put into it: specialized images and attached disks.
    pub is_specialized: bool,
    /// `V1` or `V2`.
    pub generation: Option<String>,
    /// `x64` or `Arm64`.
    pub architecture: Option<String>,
    /// The `SecurityType` of the definition or disk, `Standard` when none is said.
    pub security: String,
    /// `SCSI`, `NVMe`, `SCSI, NVMe`.
    pub controllers: Option<String>,
    /// `purchasePlan`.
    pub plan: Option<Value>,
    /// The definition that disallows types of disks.
    pub definition: Option<Resource>,
    /// How the caller names the image: errors say no other name.
    pub shown: String,
    /// The version that was chosen.
    pub exact_version: Option<String>,
    /// The size of the system disk in bytes.
    pub os_bytes: u64,
    /// The image's data disks: number and size in bytes.
    pub data: Vec<(i64, u64)>,
    /// The sets that the version's copies are encrypted with: by number, none for the system disk.
    pub sets: Vec<(Option<i64>, String)>,
    /// Whether it is a disk that is attached.
    pub is_attached_disk: bool,
}

impl BootFacts {
    /// A version, by its definition.
    pub fn of_definition(definition: &Resource) -> Self {
        let says = |name: &str| text(&definition.properties, name).map(str::to_owned);
        let all = definition.properties.get("features");
        Self {
            os_type: says("osType"),
            is_specialized: says("osState").as_deref() == Some("Specialized"),
            generation: says("hyperVGeneration"),
            architecture: says("architecture"),
            security: features::security_type(all).to_owned(),
            controllers: features::value(all, "DiskControllerTypes").map(str::to_owned),
            plan: definition.properties.get("purchasePlan").cloned(),
            definition: Some(definition.clone()),
            shown: definition.id.to_string(),
            ..Self::default()
        }
    }

    /// A managed image.
    pub fn of_managed_image(image: &Resource) -> Self {
        let os = image.properties.get(PROFILE).and_then(|p| p.get("osDisk"));
        let says = |name: &str| {
            let value = os.and_then(|os| os.get(name)).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        Self {
            os_type: says("osType"),
            is_specialized: says("osState").as_deref() == Some("Specialized"),
            generation: text(&image.properties, "hyperVGeneration").map(str::to_owned),
            security: "Standard".to_owned(),
            ..Self::default()
        }
    }

    /// A disk that is attached to boot from.
    pub fn of_disk(disk: &Resource) -> Self {
        let says = |name: &str| text(&disk.properties, name).map(str::to_owned);
        let inside = |of: &str, name: &str| {
            let value = disk.properties.get(of).and_then(|o| o.get(name));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        Self {
            os_type: says("osType"),
            is_specialized: true,
            generation: says("hyperVGeneration"),
            architecture: inside("supportedCapabilities", "architecture"),
            security: inside("securityProfile", "securityType")
                .filter(|s| s == "TrustedLaunch")
                .unwrap_or_else(|| "Standard".to_owned()),
            controllers: inside("supportedCapabilities", "diskControllerTypes"),
            plan: disk.properties.get("purchasePlan").cloned(),
            is_attached_disk: true,
            ..Self::default()
        }
    }
}

/// Checks a new machine against what it boots from, and takes over what that says.
pub fn take_boot(row: &mut Resource, facts: &BootFacts) -> Result<()> {
    check_os_profile(row, facts)?;
    let generation = facts.generation.as_deref().unwrap_or("V1");
    check_size(row, facts, generation)?;
    let security = security_of(row, facts, generation)?;
    check_plan(row, facts)?;
    check_disk_types(row, facts)?;
    check_disk_size(row, facts)?;
    let profile = row
        .properties
        .get_mut(PROFILE)
        .and_then(Value::as_object_mut);
    let profile = profile.ok_or_else(Error::internal)?;
    take_sets(profile, &facts.sets);
    if let (Some(exact), Some(reference)) = (
        &facts.exact_version,
        profile
            .get_mut("imageReference")
            .and_then(Value::as_object_mut),
    ) {
        reference.insert("exactVersion".to_owned(), json!(exact));
    }
    if let Some(os) = profile.get_mut("osDisk").and_then(Value::as_object_mut) {
        let mut out = Document::new();
        let sent = os.shift_remove("osType");
        let known = facts.os_type.as_ref().map(|os| json!(os));
        if let (Some(sent), Some(known)) = (&sent, &known)
            && sent != known
        {
            return Err(Error::invalid_parameter(
                "osDisk.osType",
                format!("The system disk holds {known}, not {sent}."),
            ));
        }
        if let Some(os_type) = known.or(sent) {
            out.insert("osType".to_owned(), os_type);
        }
        out.extend(std::mem::take(os));
        *os = out;
    }
    row.internal
        .insert("isSpecialized".to_owned(), json!(facts.is_specialized));
    row.internal
        .insert("generation".to_owned(), json!(generation));
    let architecture = facts.architecture.as_deref().unwrap_or("x64");
    row.internal
        .insert("architecture".to_owned(), json!(architecture));
    row.internal.insert("security".to_owned(), json!(security));
    Ok(())
}

/// Disks of an encrypted copy are encrypted with its set, unless another was said. Source: recorded.
fn take_sets(profile: &mut Document, sets: &[(Option<i64>, String)]) {
    let take = |disk: &mut Value, set: &str| {
        let is_made = disk.get("createOption") == Some(&json!("FromImage"));
        if let (true, Some(managed)) = (is_made, disk.get_mut("managedDisk"))
            && let Some(managed) = managed.as_object_mut()
        {
            managed
                .entry("diskEncryptionSet")
                .or_insert_with(|| json!({ "id": set }));
        }
    };
    for (lun, set) in sets {
        match lun {
            None => {
                if let Some(os) = profile.get_mut("osDisk") {
                    take(os, set);
                }
            }
            Some(lun) => {
                let data = profile.get_mut("dataDisks").and_then(Value::as_array_mut);
                let mut data = data.into_iter().flatten();
                if let Some(disk) = data.find(|disk| disk.get("lun") == Some(&json!(lun))) {
                    take(disk, set);
                }
            }
        }
    }
}

fn check_os_profile(row: &Resource, facts: &BootFacts) -> Result<()> {
    match (
        facts.is_specialized,
        row.properties.contains_key("osProfile"),
    ) {
        (true, true) => Err(Error::invalid_parameter(
            "osProfile",
            "Parameter 'osProfile' is not allowed.",
        )),
        (false, false) => Err(Error::required("osProfile")),
        (false, true) => check_configuration(row, facts),
        (true, false) => Ok(()),
    }
}

/// A configuration for the other system would be ignored by the guest: said instead.
fn check_configuration(row: &Resource, facts: &BootFacts) -> Result<()> {
    let wrong = match facts.os_type.as_deref() {
        Some("Windows") => "linuxConfiguration",
        _ => "windowsConfiguration",
    };
    let profile = row.properties.get("osProfile");
    if profile.is_some_and(|p| p.get(wrong).is_some()) {
        let target = format!("osProfile.{wrong}");
        return Err(Error::invalid_parameter(
            wrong,
            format!("Parameter '{target}' is not allowed."),
        ));
    }
    Ok(())
}

fn check_size(row: &Resource, facts: &BootFacts, generation: &str) -> Result<()> {
    let size = Size::of(row).ok_or_else(Error::internal)?;
    let family = size.family;
    if !family.generations.contains(&generation) {
        let number = generation.trim_start_matches('V');
        return Err(Error::bad_request(format!(
            "The selected VM size '{}' cannot boot Hypervisor Generation '{number}'. If this was a Create operation please \
             check that the Hypervisor Generation of the Image matches the Hypervisor Generation of the selected VM Size. If \
             this was an Update operation please select a Hypervisor Generation '{number}' VM Size. For more information, see \
             https://aka.ms/azuregen2vm",
            size.name
        )));
    }
    let architecture = facts.architecture.as_deref().unwrap_or("x64");
    if !family.architecture.eq_ignore_ascii_case(architecture) {
        return Err(Error::bad_request(format!(
            "Cannot create a VM of size '{}' because this VM size only supports a CPU Architecture of '{}', but an image or \
             disk with CPU Architecture '{architecture}' was given. Please check that the CPU Architecture of the image or \
             disk is compatible with that of the VM size.",
            size.name, family.architecture
        )));
    }
    check_controllers(row, facts, size)
}

fn check_controllers(row: &Resource, facts: &BootFacts, size: &Size) -> Result<()> {
    let held = facts.controllers.as_deref().unwrap_or("SCSI");
    let asked = row.properties.get(PROFILE);
    let asked = asked.and_then(|p| p.get("diskControllerType"));
    let asked = asked.and_then(Value::as_str);
    let has = |name: &str| held.split(',').any(|h| h.trim().eq_ignore_ascii_case(name));
    let fits = |name: &&&str| has(name) && asked.is_none_or(|asked| asked == **name);
    if size.family.controllers.iter().any(|name| fits(&name)) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "storageProfile.diskControllerType",
        format!(
            "The VM size '{0}' cannot boot with OS image or disk. Please check that disk controller types supported by the OS \
             image or disk is one of the supported disk controller types for the VM size '{0}'. Please query sku api at \
             https://aka.ms/azure-compute-skus to determine supported disk controller types for the VM size.",
            size.name
        ),
    ))
}

/// Returns the security type of the machine: what it says, or what the image needs.
fn security_of(row: &mut Resource, facts: &BootFacts, generation: &str) -> Result<&'static str> {
    let asked = row.properties.get("securityProfile");
    let asked = asked.and_then(|p| p.get("securityType"));
    let asked = asked.and_then(Value::as_str);
    let asked = SECURITY_TYPES
        .into_iter()
        .find(|known| Some(*known) == asked);
    let supports = |kinds: &[&str]| kinds.contains(&facts.security.as_str());
    let needs_launch = facts.security == "TrustedLaunch";
    match asked {
        Some("TrustedLaunch") => {
            let can = [
                "TrustedLaunch",
                "TrustedLaunchSupported",
                "TrustedLaunchAndConfidentialVmSupported",
            ];
            if generation != "V2" || !supports(&can) {
                return Err(Error::bad_request(
                    "Use of TrustedLaunch setting is not supported for the provided image. Please select Trusted Launch \
                     Supported Gen2 OS Image. For more information, see https://aka.ms/TrustedLaunch-FAQ.",
                ));
            }
            set_launch_defaults(row);
            Ok("TrustedLaunch")
        }
        Some("ConfidentialVM") => Err(Error::bad_request(
            "Confidential machines are not available on this server: it has no hardware that encrypts the memory of guests. \
             Use the security type 'Standard' or 'TrustedLaunch'.",
        )),
        _ if facts.security == "ConfidentialVM" => Err(Error::bad_request(
            "The provided image boots on confidential machines only, which are not available on this server.",
        )),
        Some(_) if needs_launch => Err(Error::bad_request(
            "Security type of VM is not compatible with the security type of attached OS Disk or image: it needs \
             'TrustedLaunch'.",
        )),
        None if needs_launch => {
            let profile = row
                .properties
                .entry("securityProfile")
                .or_insert_with(|| json!({}));
            if let Some(profile) = profile.as_object_mut() {
                profile.insert("securityType".to_owned(), json!("TrustedLaunch"));
            }
            set_launch_defaults(row);
            Ok("TrustedLaunch")
        }
        _ => Ok("Standard"),
    }
}

fn set_launch_defaults(row: &mut Resource) {
    let profile = row.properties.get_mut("securityProfile");
    let Some(profile) = profile.and_then(Value::as_object_mut) else {
        return;
    };
    let settings = profile.entry("uefiSettings").or_insert_with(|| json!({}));
    if let Some(settings) = settings.as_object_mut() {
        for name in ["secureBootEnabled", "vTpmEnabled"] {
            settings.entry(name).or_insert(Value::Bool(true));
        }
    }
}

fn check_plan(row: &Resource, facts: &BootFacts) -> Result<()> {
    let sent = row.top.get("plan");
    let Some(plan) = &facts.plan else {
        return Ok(());
    };
    let part = |plan: Option<&Value>, name: &str| {
        let value = plan.and_then(|p| p.get(name)).and_then(Value::as_str);
        value.map(str::to_ascii_lowercase)
    };
    if sent.is_none() {
        return Err(invalid_plan(format!(
            "Creating a virtual machine from Marketplace image or a custom image sourced from a Marketplace image requires \
             Plan information in the request. VM: '{}'.",
            row.id
        )));
    }
    let is_same = ["name", "publisher", "product"]
        .iter()
        .all(|name| part(sent, name) == part(Some(plan), name));
    if is_same {
        return Ok(());
    }
    Err(invalid_plan(format!(
        "The Plan information of VM '{}' differs from the purchase plan of its image: {plan}.",
        row.id
    )))
}

fn invalid_plan(message: String) -> Error {
    Error::new(ErrorKind::Invalid, "VMMarketplaceInvalidInput", message)
}

fn check_disk_types(row: &Resource, facts: &BootFacts) -> Result<()> {
    let Some(definition) = &facts.definition else {
        return Ok(());
    };
    let types = definition.properties.get("disallowed");
    let types = types
        .and_then(|d| d.get("diskTypes"))
        .and_then(Value::as_array);
    for disk in super::disks(row).iter().filter(|d| d.option == "FromImage") {
        let Some(storage) = &disk.storage else {
            continue;
        };
        if types.is_some_and(|types| types.iter().any(|t| t == storage.as_str())) {
            let of = if disk.lun.is_none() {
                "osDisk"
            } else {
                "dataDisk"
            };
            return Err(Error::invalid_parameter(
                format!("{of}.managedDisk.storageAccountType"),
                format!(
                    "The disk type '{storage}' is not allowed for disks made from the gallery image '{}'.",
                    facts.shown
                ),
            ));
        }
    }
    Ok(())
}

fn check_disk_size(row: &Resource, facts: &BootFacts) -> Result<()> {
    const GIB: u64 = 1 << 30;
    for disk in super::disks(row).iter().filter(|d| d.option == "FromImage") {
        let held = match disk.lun {
            None => facts.os_bytes,
            Some(lun) => facts
                .data
                .iter()
                .find(|(known, _)| *known == lun)
                .map_or(0, |(_, bytes)| *bytes),
        };
        let of = if disk.lun.is_none() {
            "osDisk"
        } else {
            "dataDisk"
        };
        if let Some(gib) = disk.size_gib.filter(|gib| gib * GIB < held) {
            return Err(Error::invalid_parameter(
                format!("{of}.diskSizeGB"),
                format!(
                    "The specified disk size {gib} GB is smaller than the size of the corresponding disk in the VM image: {} GB.",
                    held.div_ceil(GIB)
                ),
            ));
        }
    }
    Ok(())
}
