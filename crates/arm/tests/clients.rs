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
