//! Bodies as az 2.91, azurerm 5.2 and the SDKs send them (`WIRE.md` 4).

use arm::schema::{Shape, check_request_bytes};
use serde_json::Value;

/// Shape, api-version, body.
const BODIES: &[(Shape, &str, &str)] = &[
    (
        Shape::Gallery,
        "2026-03-03",
        r#"{"location":"eastus2","tags":{},"properties":{"description":"d","sharingProfile":{"permissions":"Community","communityGalleryInfo":{"publisherUri":"u","publisherContact":"c","eula":"e","publicNamePrefix":"prefix"}},"softDeletePolicy":{"isSoftDeleteEnabled":true}}}"#,
    ),
    (
        Shape::Gallery,
        "2022-03-03",
        r#"{"location":"eastus2","properties":{"identifier":{},"sharingProfile":null},"identity":{"type":"None"}}"#,
    ),
    (
        Shape::Image,
        "2024-03-03",
        r#"{"location":"eastus2","tags":{},"properties":{"osType":"Linux","osState":"Generalized","hyperVGeneration":"V2","architecture":"x64","identifier":{"publisher":"p","offer":"o","sku":"s"},"description":"d","eula":"e","privacyStatementUri":"u","releaseNoteUri":"u","endOfLifeDate":"2030-12-01T12:59:59.000Z","features":[{"name":"SecurityType","value":"TrustedLaunchSupported"}],"recommended":{"vCPUs":{"min":1,"max":8},"memory":{"min":1,"max":32}},"disallowed":{"diskTypes":["Standard_LRS"]},"purchasePlan":{"name":"n","publisher":"p","product":"q"},"allowUpdateImage":true}}"#,
    ),
    (
        Shape::ImageVersion,
        "2024-03-03",
        r#"{"location":"eastus2","tags":{},"properties":{"publishingProfile":{"targetRegions":[{"name":"East US 2","regionalReplicaCount":2,"storageAccountType":"standard_zrs","excludeFromLatest":false,"encryption":{"osDiskImage":{"diskEncryptionSetId":"/d"},"dataDiskImages":[{"lun":0,"diskEncryptionSetId":"/d"}]}}],"replicaCount":1,"storageAccountType":"standard_lrs","replicationMode":"Full","excludeFromLatest":false,"endOfLifeDate":"2030-12-01","targetExtendedLocations":[]},"safetyProfile":{"allowDeletionOfReplicatedLocations":true,"blockDeletionBeforeEndOfLife":false},"storageProfile":{"osDiskImage":{"source":{"uri":"https://a/b/c.vhd","storageAccountId":"/a"}},"dataDiskImages":[{"lun":0,"source":{"id":"/s"}}]}}}"#,
    ),
    (
        Shape::ImageVersion,
        "2024-03-03",
        r#"{"location":"eastus2","tags":{}}"#,
    ),
    (
        Shape::ImageVersion,
        "2024-03-03",
        r#"{"location":"eastus2","properties":{"restore":true}}"#,
    ),
    (
        Shape::Disk,
        "2025-01-02",
        r#"{"location":"eastus2","tags":{},"sku":{"name":"Premium_LRS"},"zones":["1"],"properties":{"creationData":{"createOption":"FromImage","galleryImageReference":{"id":"/v","lun":0}},"diskSizeGB":10,"osType":"Linux","hyperVGeneration":"V2"}}"#,
    ),
    (
        Shape::Disk,
        "2023-04-02",
        r#"{"name":"d","location":"eastus2","sku":{"name":"Standard_LRS"},"tags":{},"properties":{"creationData":{"createOption":"Upload","uploadSizeBytes":32213303808,"performancePlus":false},"encryption":{"type":"EncryptionAtRestWithPlatformKey"},"networkAccessPolicy":"AllowAll","publicNetworkAccess":"Enabled","optimizedForFrequentAttach":false,"osType":""}}"#,
    ),
    (
        Shape::GrantAccess,
        "2025-01-02",
        r#"{"access":"Write","durationInSeconds":86400}"#,
    ),
    (
        Shape::SharingUpdate,
        "2022-03-03",
        r#"{"operationType":"EnableCommunity","groups":[]}"#,
    ),
    (
        Shape::StorageAccount,
        "2025-08-01",
        r#"{"sku":{"name":"Standard_RAGRS"},"kind":"StorageV2","location":"eastus2","properties":{"encryption":{"services":{"blob":{}},"keySource":"Microsoft.Storage"},"accessTier":"Hot","supportsHttpsTrafficOnly":true}}"#,
    ),
    (
        Shape::ResourceGroup,
        "2024-11-01",
        r#"{"location":"eastus2","tags":{"a":"b"}}"#,
    ),
    (
        Shape::TagsPatch,
        "2024-11-01",
        r#"{"operation":"Merge","properties":{"tags":{"a":"b"}}}"#,
    ),
];

#[test]
fn bodies_of_the_clients_pass() {
    for (shape, api_version, body) in BODIES {
        let checked = check_request_bytes(*shape, api_version, body.as_bytes());
        let checked = checked.unwrap_or_else(|error| panic!("{body}: {error}"));
        let sent: Value = serde_json::from_str(body).unwrap();
        assert_eq!(checked["location"], sent["location"], "{body}");
    }
}

/// Types and api-versions that az 2.91, azurerm 5.2 and the SDKs asked for in one day.
const ASKED: &[(&str, &str)] = &[
    (
        "Microsoft.Compute/galleries",
        "2021-10-01 2022-03-03 2023-07-03 2024-03-03 2025-03-03 2025-04-01 2026-03-03",
    ),
    (
        "Microsoft.Compute/galleries/images",
        "2021-10-01 2022-03-03 2024-03-03 2025-03-03 2026-03-03",
    ),
    (
        "Microsoft.Compute/galleries/images/versions",
        "2022-03-03 2023-07-03 2024-03-03 2025-03-03 2026-03-03",
    ),
    (
        "Microsoft.Compute/galleries/softdeletedartifacttypes/artifacts/versions",
        "2026-03-03",
    ),
    (
        "Microsoft.Compute/locations/sharedGalleries",
        "2022-01-03 2023-07-03 2026-03-03",
    ),
    (
        "Microsoft.Compute/locations/communityGalleries",
        "2023-07-03 2025-03-03 2026-03-03",
    ),
    (
        "Microsoft.Compute/locations/capsOperations",
        "2019-12-01 2022-03-03 2026-03-03",
    ),
    (
        "Microsoft.Compute/locations/DiskOperations",
        "2019-07-01 2023-04-02 2025-01-02 2026-03-02",
    ),
    (
        "Microsoft.Compute/disks",
        "2016-04-30-preview 2019-07-01 2023-04-02 2025-01-02 2026-03-02",
    ),
    (
        "Microsoft.Compute/snapshots",
        "2022-03-02 2023-04-02 2023-10-02 2025-01-02",
    ),
    ("Microsoft.Storage/storageAccounts", "2025-08-01"),
    ("Microsoft.Storage/checkNameAvailability", "2025-08-01"),
    ("Microsoft.Resources/subscriptions", "2022-12-01"),
    ("Microsoft.Resources/locations", "2022-12-01"),
    (
        "Microsoft.Resources/resourceGroups",
        "2023-07-01 2024-11-01 2025-04-01",
    ),
    ("Microsoft.Resources/resources", "2023-07-01 2024-11-01"),
    ("Microsoft.Resources/providers", "2024-11-01"),
    ("Microsoft.Resources/tags", "2024-11-01"),
    ("Microsoft.Resources/tenants", "2022-12-01"),
    ("Microsoft.Authorization/roleAssignments", "2022-04-01"),
    (
        "Microsoft.Authorization/roleDefinitions",
        "2022-05-01-preview",
    ),
    ("Microsoft.Authorization/locks", "2016-09-01"),
    ("Microsoft.ResourceGraph/resources", "2021-03-01"),
];

#[test]
fn what_the_clients_ask_for_is_supported() {
    for (type_name, versions) in ASKED {
        for version in versions.split(' ') {
            let taken = arm::versions::check(type_name, Some(version));
            assert!(taken.is_ok(), "{type_name} {version}: {taken:?}");
        }
    }
}

/// Shape, api-version, body, the beginning of the refusal.
const REFUSED: &[(Shape, &str, &str, &str)] = &[
    (
        Shape::GrantAccess,
        "2018-06-01",
        r#"{"access":"Read","durationInSeconds":1,"getSecureVMGuestStateSAS":true}"#,
        "Could not find member 'getSecureVMGuestStateSAS' on object of type 'GrantAccessData'. Path 'getSecureVMGuestStateSAS', line 1, position",
    ),
    (
        Shape::GrantAccess,
        "2025-01-02",
        r#"{"access":"Read","durationInSeconds":"1h"}"#,
        "Could not convert string to integer: 1h. Path 'durationInSeconds'",
    ),
    (
        Shape::GrantAccess,
        "2025-01-02",
        r#"[]"#,
        "Cannot deserialize the current JSON array",
    ),
    (
        Shape::SharingUpdate,
        "2023-07-03",
        r#"{"operationType":"Add","groups":[{"kind":"Subscriptions"}]}"#,
        "Could not find member 'kind' on object of type 'SharingProfileGroup'. Path 'groups[0].kind'",
    ),
    (
        Shape::SharingUpdate,
        "2023-07-03",
        r#"{"operationType":"Add","groups":{}}"#,
        "Cannot deserialize the current JSON object",
    ),
    (
        Shape::Disk,
        "2025-01-02",
        r#"{"location":"w","sku":{"name":"Premium_LRS","colour":"red"}}"#,
        "Could not find member 'colour' on object of type",
    ),
    (
        Shape::Disk,
        "2018-06-01",
        r#"{"location":"w","properties":{"creationData":{"createOption":"FromImage","galleryImageReference":{"id":"/v"}}}}"#,
        "Could not find member 'galleryImageReference' on object of type 'CreationData'.",
    ),
    (
        Shape::Gallery,
        "2021-10-01",
        r#"{"location":"w","identity":{"type":"SystemAssigned"}}"#,
        "Could not find member 'identity' on object of type 'Gallery'.",
    ),
    (
        Shape::ImageVersion,
        "2022-01-03",
        r#"{"location":"w","properties":{"publishingProfile":{"targetRegions":[{"name":"w","excludeFromLatest":true}]}}}"#,
        "Could not find member 'excludeFromLatest' on object of type 'TargetRegion'. Path 'properties.publishingProfile.targetRegions[0].excludeFromLatest'",
    ),
];

#[test]
fn what_is_unknown_is_refused_by_name_and_place() {
    for (shape, api_version, body, text) in REFUSED {
        let error = check_request_bytes(*shape, api_version, body.as_bytes()).expect_err(body);
        assert_eq!(error.code, "BadRequest", "{body}");
        assert!(error.message.starts_with(text), "{body}: {error}");
    }
}
