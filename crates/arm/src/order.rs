//! The order of members in responses.
//!
//! The service always answers in one order whatever order the members came in. Taken from the
//! recordings; members that were never recorded stand where the published model has them.

mod scale_set;

use domain::Kind;
use domain::resource::Document;
use serde_json::Value;

/// Objects below `properties` whose members have an order; paths without list indexes.
type Orders = &'static [(&'static str, &'static [&'static str])];

const GALLERY: Orders = &[
    (
        "",
        &[
            "description",
            "identifier",
            "sharingProfile",
            "sharingStatus",
            "provisioningState",
            "softDeletePolicy",
        ],
    ),
    (
        "sharingProfile",
        &["permissions", "groups", "communityGalleryInfo"],
    ),
    ("sharingProfile.groups", &["type", "ids"]),
    (
        "sharingProfile.communityGalleryInfo",
        &[
            "publisherUri",
            "publisherContact",
            "eula",
            "publicNamePrefix",
            "communityGalleryEnabled",
            "publicNames",
        ],
    ),
];

const IMAGE: Orders = &[
    (
        "",
        &[
            "hyperVGeneration",
            "architecture",
            "features",
            "description",
            "eula",
            "privacyStatementUri",
            "releaseNoteUri",
            "osType",
            "osState",
            "endOfLifeDate",
            "identifier",
            "recommended",
            "disallowed",
            "purchasePlan",
            "provisioningState",
        ],
    ),
    ("features", &["name", "value", "startsAtVersion"]),
    ("identifier", &["publisher", "offer", "sku"]),
    ("recommended", &["vCPUs", "memory"]),
    ("recommended.vCPUs", &["min", "max"]),
    ("recommended.memory", &["min", "max"]),
    ("purchasePlan", &["name", "publisher", "product"]),
];

const VERSION: Orders = &[
    (
        "",
        &[
            "publishingProfile",
            "storageProfile",
            "safetyProfile",
            "securityProfile",
            "replicationStatus",
            "validationsProfile",
            "provisioningState",
        ],
    ),
    (
        "publishingProfile",
        &[
            "targetRegions",
            "targetExtendedLocations",
            "replicaCount",
            "excludeFromLatest",
            "publishedDate",
            "endOfLifeDate",
            "storageAccountType",
            "storageAccountStrategy",
            "replicationMode",
        ],
    ),
    (
        "publishingProfile.targetRegions",
        &[
            "name",
            "regionalReplicaCount",
            "storageAccountType",
            "encryption",
            "excludeFromLatest",
            "additionalReplicaSets",
        ],
    ),
    (
        "publishingProfile.targetRegions.encryption",
        &["osDiskImage", "dataDiskImages"],
    ),
    (
        "publishingProfile.targetRegions.encryption.osDiskImage",
        &["securityProfile", "diskEncryptionSetId"],
    ),
    (
        "publishingProfile.targetRegions.encryption.dataDiskImages",
        &["lun", "diskEncryptionSetId"],
    ),
    (
        "storageProfile",
        &["source", "osDiskImage", "dataDiskImages"],
    ),
    (
        "storageProfile.osDiskImage",
        &["sizeInGB", "hostCaching", "source"],
    ),
    (
        "storageProfile.dataDiskImages",
        &["lun", "sizeInGB", "hostCaching", "source"],
    ),
    (
        "storageProfile.osDiskImage.source",
        &["uri", "storageAccountId", "id"],
    ),
    (
        "storageProfile.dataDiskImages.source",
        &["uri", "storageAccountId", "id"],
    ),
    (
        "safetyProfile",
        &[
            "reportedForPolicyViolation",
            "policyViolations",
            "allowDeletionOfReplicatedLocations",
            "blockDeletionBeforeEndOfLife",
        ],
    ),
    ("replicationStatus", &["aggregatedState", "summary"]),
    (
        "replicationStatus.summary",
        &["region", "state", "details", "progress"],
    ),
];

const DISK: Orders = &[
    (
        "",
        &[
            "osType",
            "hyperVGeneration",
            "purchasePlan",
            "supportedCapabilities",
            "creationData",
            "diskSizeGB",
            "diskIOPSReadWrite",
            "diskMBpsReadWrite",
            "encryption",
            "incremental",
            "networkAccessPolicy",
            "publicNetworkAccess",
            "timeCreated",
            "provisioningState",
            "diskState",
            "LastOwnershipUpdateTime",
            "diskSizeBytes",
            "uniqueId",
            "tier",
        ],
    ),
    (
        "creationData",
        &[
            "createOption",
            "imageReference",
            "galleryImageReference",
            "sourceResourceId",
            "sourceUniqueId",
        ],
    ),
];

const MANAGED_IMAGE: Orders = &[
    (
        "",
        &[
            "sourceVirtualMachine",
            "storageProfile",
            "provisioningState",
            "hyperVGeneration",
        ],
    ),
    ("storageProfile", &["osDisk", "dataDisks", "zoneResilient"]),
    (
        "storageProfile.osDisk",
        &[
            "osType",
            "osState",
            "diskSizeGB",
            "snapshot",
            "managedDisk",
            "blobUri",
            "caching",
            "storageAccountType",
            "diskEncryptionSet",
        ],
    ),
    (
        "storageProfile.dataDisks",
        &[
            "lun",
            "diskSizeGB",
            "snapshot",
            "managedDisk",
            "blobUri",
            "caching",
            "storageAccountType",
            "diskEncryptionSet",
        ],
    ),
];

const DISK_ENCRYPTION_SET: Orders = &[(
    "",
    &[
        "activeKey",
        "previousKeys",
        "encryptionType",
        "rotationToLatestKeyVersionEnabled",
        "lastKeyRotationTimestamp",
        "federatedClientId",
        "provisioningState",
    ],
)];

const ARTIFACT: Orders = &[(
    "",
    &[
        "supportedOSType",
        "osType",
        "applicableHostEndpoint",
        "description",
        "eula",
        "privacyStatementUri",
        "releaseNoteUri",
        "endOfLifeDate",
        "customActions",
        "provisioningState",
    ],
)];

const ARTIFACT_VERSION: Orders = &[
    (
        "",
        &[
            "publishingProfile",
            "mode",
            "defaultAccess",
            "rules",
            "targetLocations",
            "excludeFromLatest",
            "publishedDate",
            "safetyProfile",
            "replicationStatus",
            "provisioningState",
        ],
    ),
    (
        "publishingProfile",
        &[
            "source",
            "manageActions",
            "settings",
            "advancedSettings",
            "enableHealthCheck",
            "customActions",
            "targetRegions",
            "replicaCount",
            "excludeFromLatest",
            "publishedDate",
            "endOfLifeDate",
            "storageAccountType",
            "storageAccountStrategy",
            "replicationMode",
        ],
    ),
    (
        "publishingProfile.source",
        &[
            "mediaLink",
            "defaultConfigurationLink",
            "scriptLink",
            "parameters",
        ],
    ),
    (
        "publishingProfile.manageActions",
        &["install", "remove", "update"],
    ),
    (
        "publishingProfile.settings",
        &[
            "packageFileName",
            "configFileName",
            "scriptBehaviorAfterReboot",
        ],
    ),
    (
        "publishingProfile.targetRegions",
        &["name", "regionalReplicaCount", "storageAccountType"],
    ),
    ("replicationStatus", &["aggregatedState", "summary"]),
];

const MANAGED_DISK: &[&str] = &[
    "diskEncryptionSet",
    "securityProfile",
    "storageAccountType",
    "id",
];

const VIRTUAL_MACHINE: Orders = &[
    (
        "",
        &[
            "hardwareProfile",
            "provisioningState",
            "vmId",
            "additionalCapabilities",
            "storageProfile",
            "osProfile",
            "securityProfile",
            "networkProfile",
            "diagnosticsProfile",
            "priority",
            "evictionPolicy",
            "billingProfile",
            "licenseType",
            "userData",
            "instanceView",
            "timeCreated",
        ],
    ),
    ("storageProfile", &["imageReference", "osDisk", "dataDisks"]),
    (
        "storageProfile.dataDisks",
        &[
            "lun",
            "name",
            "createOption",
            "caching",
            "writeAcceleratorEnabled",
            "managedDisk",
            "deleteOption",
            "diskSizeGB",
            "toBeDetached",
        ],
    ),
    ("storageProfile.osDisk.managedDisk", MANAGED_DISK),
    ("storageProfile.dataDisks.managedDisk", MANAGED_DISK),
    (
        "osProfile.linuxConfiguration.ssh.publicKeys",
        &["path", "keyData"],
    ),
];

const fn orders(kind: Kind) -> Orders {
    match kind {
        Kind::Gallery => GALLERY,
        Kind::Image => IMAGE,
        Kind::ImageVersion => VERSION,
        Kind::Disk | Kind::Snapshot => DISK,
        Kind::ManagedImage => MANAGED_IMAGE,
        Kind::DiskEncryptionSet => DISK_ENCRYPTION_SET,
        Kind::GalleryApplication | Kind::GalleryScript | Kind::AccessProfile => ARTIFACT,
        Kind::GalleryApplicationVersion
        | Kind::GalleryScriptVersion
        | Kind::AccessProfileVersion => ARTIFACT_VERSION,
        Kind::VirtualMachine | Kind::ScaleSetMachine => VIRTUAL_MACHINE,
        Kind::ScaleSet => scale_set::SCALE_SET,
        // Networks have views of their own.
        _ => &[],
    }
}

/// Returns the properties in the order of responses; members without a place come after the rest.
pub(crate) fn arrange(kind: Kind, properties: Document) -> Document {
    arrange_at(orders(kind), "", properties)
}

fn arrange_at(orders: Orders, path: &str, mut from: Document) -> Document {
    let wanted = orders
        .iter()
        .find(|(at, _)| *at == path)
        .map_or(&[][..], |(_, names)| *names);
    let mut out = Document::new();
    for name in wanted {
        if let Some((name, value)) = from.shift_remove_entry(*name) {
            out.insert(name, value);
        }
    }
    out.extend(from);
    for (name, value) in &mut out {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        arrange_value(orders, &below, value);
    }
    out
}

fn arrange_value(orders: Orders, path: &str, value: &mut Value) {
    match value {
        Value::Object(members) => *members = arrange_at(orders, path, std::mem::take(members)),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| arrange_value(orders, path, item)),
        _ => {}
    }
}
