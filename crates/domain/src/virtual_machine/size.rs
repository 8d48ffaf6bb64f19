//! Sizes of machines: the one table that lists, checks and drivers read.

use serde_json::{Map, Value, json};

use super::WIRE;
use crate::resource::Document;
use crate::{Error, ErrorKind, Resource, Result};

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// `Standard_D2s_v5`.
    pub name: &'static str,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Data disks at most.
    pub data_disks_max: u64,
    /// The temporary disk in MiB, shown only.
    pub temporary_disk_mib: u64,
    /// Network cards at most.
    pub cards_max: usize,
    /// What kind it is.
    pub family: &'static Family,
}

/// What sizes of one kind share.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// `standardDSv5Family`.
    pub name: &'static str,
    /// Whether it takes premium disks.
    pub has_premium: bool,
    /// `V1`, `V2`.
    pub generations: &'static [&'static str],
    /// `x64` or `Arm64`.
    pub architecture: &'static str,
    /// `SCSI`, `NVMe`.
    pub controllers: &'static [&'static str],
}

const BOTH: &[&str] = &["V1", "V2"];
const SECOND: &[&str] = &["V2"];
const FIRST: &[&str] = &["V1"];
const SCSI: &[&str] = &["SCSI"];
const NVME: &[&str] = &["NVMe"];
const ANY: &[&str] = &["SCSI", "NVMe"];

const fn family(
    name: &'static str,
    has_premium: bool,
    generations: &'static [&'static str],
    architecture: &'static str,
    controllers: &'static [&'static str],
) -> Family {
    Family {
        name,
        has_premium,
        generations,
        architecture,
        controllers,
    }
}

static A: Family = family("standardA0_A7Family", false, FIRST, "x64", SCSI);
static B: Family = family("standardBSFamily", true, BOTH, "x64", SCSI);
static DS2: Family = family("standardDSv2Family", true, BOTH, "x64", SCSI);
static DS3: Family = family("standardDSv3Family", true, BOTH, "x64", SCSI);
static DS4: Family = family("standardDSv4Family", true, BOTH, "x64", SCSI);
static DS5: Family = family("standardDSv5Family", true, BOTH, "x64", SCSI);
static DAS5: Family = family("standardDASv5Family", true, BOTH, "x64", SCSI);
static DPS5: Family = family("standardDPSv5Family", true, SECOND, "Arm64", SCSI);
static DS6: Family = family("standardDsv6Family", true, SECOND, "x64", NVME);
static EBDS5: Family = family("standardEBDSv5Family", true, BOTH, "x64", ANY);
static ES5: Family = family("standardESv5Family", true, BOTH, "x64", SCSI);
static FS2: Family = family("standardFSv2Family", true, BOTH, "x64", SCSI);

const fn size(
    name: &'static str,
    cpus: u32,
    memory_mib: u64,
    data_disks_max: u64,
    temporary_disk_mib: u64,
    cards_max: usize,
    family: &'static Family,
) -> Size {
    Size {
        name,
        cpus,
        memory_mib,
        data_disks_max,
        temporary_disk_mib,
        cards_max,
        family,
    }
}

/// Every size, in the order of lists.
pub static SIZES: [Size; 40] = [
    size("Standard_A1_v2", 1, 2048, 2, 10_240, 2, &A),
    size("Standard_B1ls", 1, 512, 2, 4096, 2, &B),
    size("Standard_B1s", 1, 1024, 2, 4096, 2, &B),
    size("Standard_B1ms", 1, 2048, 2, 4096, 2, &B),
    size("Standard_B2s", 2, 4096, 4, 8192, 3, &B),
    size("Standard_B2ms", 2, 8192, 4, 16_384, 3, &B),
    size("Standard_B4ms", 4, 16_384, 8, 32_768, 4, &B),
    size("Standard_B8ms", 8, 32_768, 16, 65_536, 4, &B),
    size("Standard_DS1_v2", 1, 3584, 4, 7168, 2, &DS2),
    size("Standard_DS2_v2", 2, 7168, 8, 14_336, 2, &DS2),
    size("Standard_DS3_v2", 4, 14_336, 16, 28_672, 4, &DS2),
    size("Standard_DS4_v2", 8, 28_672, 32, 57_344, 8, &DS2),
    size("Standard_DS5_v2", 16, 57_344, 64, 114_688, 8, &DS2),
    size("Standard_D2s_v3", 2, 8192, 4, 16_384, 2, &DS3),
    size("Standard_D4s_v3", 4, 16_384, 8, 32_768, 2, &DS3),
    size("Standard_D8s_v3", 8, 32_768, 16, 65_536, 4, &DS3),
    size("Standard_D16s_v3", 16, 65_536, 32, 131_072, 8, &DS3),
    size("Standard_D2s_v4", 2, 8192, 4, 0, 2, &DS4),
    size("Standard_D4s_v4", 4, 16_384, 8, 0, 2, &DS4),
    size("Standard_D8s_v4", 8, 32_768, 16, 0, 4, &DS4),
    size("Standard_D16s_v4", 16, 65_536, 32, 0, 8, &DS4),
    size("Standard_D2s_v5", 2, 8192, 4, 0, 2, &DS5),
    size("Standard_D4s_v5", 4, 16_384, 8, 0, 2, &DS5),
    size("Standard_D8s_v5", 8, 32_768, 16, 0, 4, &DS5),
    size("Standard_D16s_v5", 16, 65_536, 32, 0, 8, &DS5),
    size("Standard_D2as_v5", 2, 8192, 4, 0, 2, &DAS5),
    size("Standard_D4as_v5", 4, 16_384, 8, 0, 2, &DAS5),
    size("Standard_D8as_v5", 8, 32_768, 16, 0, 4, &DAS5),
    size("Standard_D2ps_v5", 2, 8192, 4, 0, 2, &DPS5),
    size("Standard_D4ps_v5", 4, 16_384, 8, 0, 2, &DPS5),
    size("Standard_D2s_v6", 2, 8192, 8, 0, 2, &DS6),
    size("Standard_D4s_v6", 4, 16_384, 12, 0, 2, &DS6),
    size("Standard_E2bds_v5", 2, 16_384, 4, 76_800, 2, &EBDS5),
    size("Standard_E4bds_v5", 4, 32_768, 8, 153_600, 2, &EBDS5),
    size("Standard_E2s_v5", 2, 16_384, 4, 0, 2, &ES5),
    size("Standard_E4s_v5", 4, 32_768, 8, 0, 2, &ES5),
    size("Standard_E8s_v5", 8, 65_536, 16, 0, 4, &ES5),
    size("Standard_F2s_v2", 2, 4096, 4, 16_384, 2, &FS2),
    size("Standard_F4s_v2", 4, 8192, 8, 32_768, 2, &FS2),
    size("Standard_F8s_v2", 8, 16_384, 16, 65_536, 4, &FS2),
];

/// What a node gives one machine at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Processors.
    pub cpus_max: u32,
    /// Memory in MiB.
    pub memory_mib_max: u64,
}

impl Size {
    /// Returns the size of a name, whatever its case.
    pub fn find(name: &str) -> Option<&'static Self> {
        SIZES
            .iter()
            .find(|size| size.name.eq_ignore_ascii_case(name))
    }

    /// Returns the size of a machine's row.
    pub fn of(row: &Resource) -> Option<&'static Self> {
        let name = row.properties.get("hardwareProfile")?.get("vmSize")?;
        Self::find(name.as_str()?)
    }

    /// Returns the storage that a disk gets when nothing is said.
    pub fn default_storage(&self) -> &'static str {
        if self.family.has_premium {
            "Premium_LRS"
        } else {
            "Standard_LRS"
        }
    }

    /// Whether a node with these limits offers the size.
    pub fn fits(&self, cap: Cap) -> bool {
        self.cpus <= cap.cpus_max && self.memory_mib <= cap.memory_mib_max
    }

    /// Returns an item of `vmSizes`.
    pub fn shown(&self) -> Value {
        json!({
            "name": self.name,
            "numberOfCores": self.cpus,
            "osDiskSizeInMB": 1_047_552,
            "resourceDiskSizeInMB": self.temporary_disk_mib,
            "memoryInMB": self.memory_mib,
            "maxDataDiskCount": self.data_disks_max,
        })
    }

    /// Returns an item of `Microsoft.Compute/skus` for a region.
    pub fn shown_sku(&self, region: &str, has_zones: bool) -> Value {
        let zones: &[&str] = if has_zones { &["1", "2", "3"] } else { &[] };
        let memory_gb = if self.memory_mib.is_multiple_of(1024) {
            (self.memory_mib / 1024).to_string()
        } else {
            format!(
                "{:.1}",
                f64::from(u32::try_from(self.memory_mib).unwrap_or(0)) / 1024.0
            )
        };
        let yes = |on: bool| if on { "True" } else { "False" }.to_owned();
        let capabilities = [
            ("MaxResourceVolumeMB", self.temporary_disk_mib.to_string()),
            ("OSVhdSizeMB", "1047552".to_owned()),
            ("vCPUs", self.cpus.to_string()),
            ("MemoryPreservingMaintenanceSupported", yes(true)),
            ("HyperVGenerations", self.family.generations.join(",")),
            ("MemoryGB", memory_gb),
            ("MaxDataDiskCount", self.data_disks_max.to_string()),
            ("CpuArchitectureType", self.family.architecture.to_owned()),
            ("LowPriorityCapable", yes(true)),
            ("PremiumIO", yes(self.family.has_premium)),
            ("VMDeploymentTypes", "IaaS".to_owned()),
            ("vCPUsAvailable", self.cpus.to_string()),
            ("DiskControllerTypes", self.family.controllers.join(", ")),
            ("EphemeralOSDiskSupported", yes(false)),
            ("EncryptionAtHostSupported", yes(false)),
            ("AcceleratedNetworkingEnabled", yes(false)),
            ("MaxNetworkInterfaces", self.cards_max.to_string()),
        ];
        let capabilities: Vec<Value> = capabilities
            .into_iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        json!({
            "resourceType": "virtualMachines",
            "name": self.name,
            "tier": "Standard",
            "size": self.name.trim_start_matches("Standard_"),
            "family": self.family.name,
            "locations": [region],
            "locationInfo": [{ "location": region, "zones": zones, "zoneDetails": [] }],
            "capabilities": capabilities,
            "restrictions": [],
        })
    }
}

/// Plans `hardwareProfile`.
pub(super) fn plan(row: &mut Resource, sent: &Document, is_new: bool) -> Result<()> {
    let sent = sent.get("hardwareProfile").and_then(Value::as_object);
    let asked = sent.and_then(|s| s.get("vmSize")).and_then(Value::as_str);
    let asked = asked.filter(|name| !name.is_empty());
    let Some(name) = asked else {
        // The service has a default from long ago, which nobody means.
        return match is_new {
            true => Err(Error::required("hardwareProfile.vmSize").at("hardwareProfile.vmSize")),
            false => Ok(()),
        };
    };
    let size = Size::find(name).ok_or_else(|| unknown(name))?;
    let mut profile = Map::new();
    profile.insert("vmSize".to_owned(), json!(size.name));
    if let Some(extra) = sent.and_then(|s| s.get("vmSizeProperties")) {
        profile.insert("vmSizeProperties".to_owned(), extra.clone());
    }
    row.properties
        .insert("hardwareProfile".to_owned(), Value::Object(profile));
    Ok(())
}

fn unknown(name: &str) -> Error {
    Error::invalid_parameter(
        "vmSize",
        format!(
            "The value {name} provided for the VM size is not valid. The valid sizes in the current region are: {}.",
            SIZES.map(|size| size.name).join(",")
        ),
    )
}

/// Refuses a size that this node does not give. Source: the service's `SkuNotAvailable`.
pub fn check_cap(row: &Resource, cap: Cap) -> Result<()> {
    let Some(size) = Size::of(row).filter(|size| !size.fits(cap)) else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Conflict,
        "SkuNotAvailable",
        format!(
            "The requested VM size '{}' is not available in location '{}': it has {} vCPUs and {} MiB of memory, and this \
             server gives a machine at most {} vCPUs and {} MiB. Choose a smaller size.",
            size.name, row.location, size.cpus, size.memory_mib, cap.cpus_max, cap.memory_mib_max
        ),
    )
    .at(format!("{WIRE}.hardwareProfile.vmSize")))
}
