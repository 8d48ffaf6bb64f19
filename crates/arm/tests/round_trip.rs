//! What a client of any api-version reads, it may send back: nothing changes, nothing is lost.

use arm::envelope::response;
use arm::schema::{Shape, check_request_bytes};
use domain::plan::{PutContext, plan_patch, plan_put};
use domain::region::known;
use domain::{Kind, ProvisioningState, Regions, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

const NOW_MS: i64 = 1_790_000_000_000;
const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";

/// The richest resource of each kind, and one as plain as can be.
fn bodies() -> Vec<(&'static str, Value)> {
    let os = json!({ "osDiskImage": { "source": { "uri": "https://a/os.vhd" } }, "dataDiskImages": [{ "lun": 3, "source": { "uri": "https://a/d.vhd" } }] });
    let image =
        json!({ "source": { "id": format!("{GROUP}/providers/Microsoft.Compute/images/i") } });
    vec![
        ("", json!({ "tags": { "a": "b" }, "managedBy": "/x" })),
        ("Microsoft.Compute/galleries/g", json!({})),
        (
            "Microsoft.Compute/galleries/g",
            json!({ "tags": {}, "identity": { "type": "UserAssigned", "userAssignedIdentities": { "/u": {} } }, "properties": {
            "description": "d", "softDeletePolicy": { "isSoftDeleteEnabled": true, "retentionPeriodInDays": 30, "gracePeriodInDays": 7 },
            "sharingProfile": { "permissions": "Community", "communityGalleryInfo": { "publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "prefix" } } } }),
        ),
        (
            "Microsoft.Compute/galleries/g/images/d",
            json!({ "properties": { "osType": "Linux", "osState": "Generalized", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } } }),
        ),
        (
            "Microsoft.Compute/galleries/g/images/d",
            json!({ "properties": {
            "osType": "Windows", "osState": "Specialized", "hyperVGeneration": "V2", "architecture": "Arm64", "identifier": { "publisher": "p", "offer": "o", "sku": "s" },
            "features": [{ "name": "SecurityType", "value": "TrustedLaunch", "startsAtVersion": "2.0.0" }, { "name": "DiskControllerTypes", "value": "SCSI, NVMe" }],
            "description": "d", "eula": "e", "privacyStatementUri": "p", "releaseNoteUri": "r", "endOfLifeDate": "2030-01-01T00:00:00+00:00",
            "recommended": { "vCPUs": { "min": 1, "max": 4 }, "memory": { "min": 1 } }, "disallowed": { "diskTypes": ["Standard_LRS"] },
            "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } } }),
        ),
        (
            "Microsoft.Compute/galleries/g/images/d/versions/1.0.0",
            json!({ "properties": { "storageProfile": image } }),
        ),
        (
            "Microsoft.Compute/galleries/g/images/d/versions/1.0.0",
            json!({ "properties": { "storageProfile": os,
            "publishingProfile": { "targetRegions": [
                { "name": "westus2", "regionalReplicaCount": 2, "storageAccountType": "Premium_LRS", "excludeFromLatest": true, "additionalReplicaSets": [{ "storageAccountType": "Standard_ZRS", "regionalReplicaCount": 1 }] },
                { "name": "eastus" }], "replicaCount": 3, "excludeFromLatest": true, "endOfLifeDate": "2030-01-01T00:00:00+00:00", "replicationMode": "Full" },
            "safetyProfile": { "allowDeletionOfReplicatedLocations": true, "blockDeletionBeforeEndOfLife": true },
            "securityProfile": { "uefiSettings": { "signatureTemplateNames": ["NoSignatureTemplate"], "additionalSignatures": { "pk": { "type": "x509", "value": ["AA=="] } } },
                "secretsProvisioningSettings": { "isSupported": true, "osName": "n", "components": [{ "name": "OS", "version": "1" }] } } } }),
        ),
        (
            "Microsoft.Compute/disks/d",
            json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 } }),
        ),
        (
            "Microsoft.Compute/disks/d",
            json!({ "tags": {}, "zones": ["1"], "sku": { "name": "Premium_LRS" }, "properties": {
            "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": format!("{GROUP}/providers/Microsoft.Compute/galleries/g/images/d/versions/1.0.0"), "lun": 0 }, "performancePlus": false },
            "diskSizeGB": 64, "osType": "Linux", "hyperVGeneration": "V2", "networkAccessPolicy": "DenyAll", "publicNetworkAccess": "Disabled", "securityProfile": { "securityType": "TrustedLaunch" },
            "supportedCapabilities": { "architecture": "x64", "diskControllerTypes": "SCSI" }, "optimizedForFrequentAttach": true, "maxShares": 2, "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } } }),
        ),
        (
            "Microsoft.Storage/storageAccounts/acc",
            json!({ "sku": { "name": "Standard_RAGRS" }, "kind": "StorageV2", "properties": { "accessTier": "Hot" } }),
        ),
    ]
}

fn decide(
    api_version: &str,
    path: &str,
    body: &Value,
    stored: Option<(&Resource, bool)>,
) -> Result<Resource> {
    let regions = Regions::new(["eastus", "westus2"].map(known).into());
    let id = match path {
        "" => GROUP.to_owned(),
        path => format!("{GROUP}/providers/{path}"),
    };
    let id = ResourceId::parse(&id).expect("an id");
    let mut fresh = || Uuid::from_u128(7);
    let mut ctx = PutContext {
        regions: &regions,
        now_ms: NOW_MS,
        api_version,
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    let kind = id.kind().expect("a kind");
    match stored {
        Some((row, true)) => plan_patch(kind, &mut ctx, &id, body, row),
        stored => plan_put(kind, &mut ctx, &id, body, stored.map(|(row, _)| row)),
    }
}

/// The row after its worker: sizes are known, extra facts are there.
fn made(path: &str, mut body: Value, api_version: &str) -> Resource {
    body["location"] = json!("eastus");
    let mut row =
        decide(api_version, path, &body, None).unwrap_or_else(|error| panic!("{path}: {error}"));
    row.state = ProvisioningState::Succeeded;
    if row.kind == Kind::ImageVersion {
        let storage = &mut row.properties["storageProfile"];
        if storage.get("osDiskImage").is_none() {
            storage["osDiskImage"] = json!({ "hostCaching": "ReadWrite", "source": {} });
            storage["dataDiskImages"] = json!([{ "lun": 0, "hostCaching": "None" }]);
        }
        storage["osDiskImage"]["sizeInGB"] = json!(30);
        storage["dataDiskImages"][0]["sizeInGB"] = json!(10);
    }
    row
}

fn check_back(row: &Resource, path: &str, api_version: &str, body: &Value) {
    let bytes = body.to_string();
    let checked = check_request_bytes(row.kind, api_version, bytes.as_bytes())
        .unwrap_or_else(|error| panic!("{api_version} {bytes}: {error}"));
    for is_patch in [false, true] {
        let again = decide(api_version, path, &checked, Some((row, is_patch)))
            .unwrap_or_else(|error| panic!("{api_version} {bytes}: {error}"));
        assert_eq!(again.properties, row.properties, "{api_version} {bytes}");
        assert_eq!(
            (&again.top, &again.tags, &again.internal),
            (&row.top, &row.tags, &row.internal),
            "{api_version} {bytes}"
        );
    }
}

#[test]
fn whoever_reads_may_send_back() {
    let mut count = 0;
    for (path, body) in bodies() {
        for made_at in ["2024-03-03", "2026-03-03"] {
            let row = made(path, body.clone(), made_at);
            for api_version in Shape::from(row.kind).api_versions() {
                check_back(&row, path, api_version, &response(&row, api_version));
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn whoever_sends_the_least_loses_nothing() {
    for (path, body) in bodies() {
        let row = made(path, body.clone(), "2024-03-03");
        for api_version in Shape::from(row.kind).api_versions() {
            let mut least = json!({ "location": "East US" });
            if row.kind == Kind::Image {
                least["properties"] = json!({ "osType": row.properties["osType"] });
            }
            check_back(&row, path, api_version, &least);
        }
    }
}

/// Terraform and az send read-only members, empty objects and nulls.
#[test]
fn what_clients_add_says_nothing() {
    let additions: [(Kind, &str); 6] = [
        (
            Kind::Gallery,
            r#"{"location":"eastus","extendedLocation":null,"identity":{"type":"None"},"properties":{"identifier":{},"sharingProfile":null,"provisioningState":"Succeeded"}}"#,
        ),
        (
            Kind::Image,
            r#"{"location":"eastus","properties":{"osType":"Windows","disallowed":{},"purchasePlan":null,"features":null,"identifier":{"publisher":"p","offer":"o","sku":"s"},"provisioningState":"Failed"}}"#,
        ),
        (
            Kind::ImageVersion,
            r#"{"id":"x","name":"x","type":"x","location":"eastus","properties":{"safetyProfile":{},"storageProfile":{},"publishingProfile":{"targetRegions":null,"publishedDate":"2001-01-01","targetExtendedLocations":[]},"provisioningState":"Failed","replicationStatus":{"aggregatedState":"Failed","summary":[]}}}"#,
        ),
        (
            Kind::Disk,
            r#"{"location":"eastus","managedBy":"","properties":{"osType":"","encryption":{"type":"EncryptionAtRestWithPlatformKey"},"diskState":"Reserved","creationData":{"createOption":"Empty","performancePlus":false},"optimizedForFrequentAttach":null}}"#,
        ),
        (
            Kind::StorageAccount,
            r#"{"location":"eastus","identity":null,"properties":{"primaryEndpoints":{"blob":"https://evil"},"creationTime":"2001-01-01T00:00:00Z"}}"#,
        ),
        (
            Kind::ResourceGroup,
            r#"{"location":"eastus","properties":{"provisioningState":"Failed"}}"#,
        ),
    ];
    for (path, body) in bodies() {
        let row = made(path, body, "2024-03-03");
        let Some((_, sent)) = additions.iter().find(|(kind, _)| *kind == row.kind) else {
            panic!("{path}")
        };
        let is_plain = row.kind != Kind::Disk || row.properties["diskSizeGB"] == 4;
        let is_other = row.kind == Kind::Image && row.properties["osType"] != "Windows";
        let has_identity = row.top.contains_key("identity");
        if is_plain && !is_other && !has_identity {
            check_back(
                &row,
                path,
                "2023-07-03",
                &serde_json::from_str(sent).unwrap(),
            );
        }
    }
}
