//! Whether a source fits its definition: what a failed version says. Source: `API.md` 5.4.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, World, done};
use domain::image_version::{SourceFacts, check_source_matches};
use domain::{ErrorKind, Resource, ResourceId};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

fn definition(change: Value) -> Resource {
    let mut properties = json!({ "osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } });
    for (name, value) in change.as_object().unwrap() {
        properties[name] = value.clone();
    }
    let body = json!({ "location": "eastus", "properties": properties });
    done(
        World::default()
            .put(&format!("{COMPUTE}/galleries/g/images/d"), &body, None)
            .unwrap(),
    )
}

fn version(mode: &str) -> Resource {
    let body = json!({ "location": "eastus", "properties": { "publishingProfile": { "replicationMode": mode }, "storageProfile": { "osDiskImage": { "source": { "uri": "https://a/b" } } } } });
    World::default()
        .put(
            &format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0"),
            &body,
            None,
        )
        .unwrap()
}

fn security(value: &str) -> Value {
    json!({ "features": [{ "name": "SecurityType", "value": value }] })
}

#[test]
fn another_definition() {
    let source =
        ResourceId::parse(&format!("{COMPUTE}/galleries/g/images/e/versions/1.0.0")).unwrap();
    let plan = json!({ "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } });
    let table: Vec<(&str, Value, Value, Result<(), String>)> = vec![
        ("alike", json!({}), json!({}), Ok(())),
        (
            "generation",
            json!({}),
            json!({ "hyperVGeneration": "V1" }),
            Err(format!(
                "The resource with id '{source}' has a different Hypervisor generation ['V1'] than the parent gallery image Hypervisor generation ['V2']."
            )),
        ),
        (
            "system",
            json!({}),
            json!({ "osType": "Windows" }),
            Err(format!(
                "The resource with id '{source}' has a different OS type ['Windows'] than the parent gallery image OS type generation ['Linux']"
            )),
        ),
        (
            "state",
            json!({ "osState": "Specialized" }),
            json!({}),
            Err(format!(
                "Cannot create Gallery Image Version from: {source} since the OS State in the parent gallery image ('Specialized') is not 'Generalized'."
            )),
        ),
        (
            "plan of the source",
            json!({}),
            plan.clone(),
            Err(format!(
                "The resource with id '{source}' has a different plan ['{{\"name\":\"n\",\"publisher\":\"p\",\"product\":\"q\",\"promotionCode\":null}}'] than the parent gallery image plan ['null']"
            )),
        ),
        (
            "plan of the parent",
            plan.clone(),
            json!({}),
            Err(format!(
                "The resource with id '{source}' has a different plan ['null'] than the parent gallery image plan ['{{\"name\":\"n\""
            )),
        ),
        ("the same plan", plan.clone(), plan, Ok(())),
        (
            "architecture",
            json!({}),
            json!({ "architecture": "Arm64" }),
            Err(format!(
                "The resource with id '{source}' has a different Architecture ['Arm64'] than the parent gallery image Architecture ['x64']."
            )),
        ),
        (
            "guest state",
            json!({}),
            security("TrustedLaunch"),
            Err(format!(
                "The resource with id '{source}' has a different Security type ['TrustedLaunch'] than the parent gallery image Security type ['Standard']."
            )),
        ),
        (
            "guest state into the same",
            security("ConfidentialVM"),
            security("ConfidentialVM"),
            Ok(()),
        ),
        (
            "generic into standard",
            json!({}),
            security("TrustedLaunchSupported"),
            Ok(()),
        ),
    ];
    for (name, parent, of_source, expected) in table {
        let facts = SourceFacts::of_definition(&source.to_string(), &definition(of_source), GIB);
        let result = check_source_matches(&definition(parent), &version("Full"), &facts);
        match expected {
            Ok(()) => assert_eq!(result, Ok(()), "{name}"),
            Err(text) => {
                let error = result.unwrap_err();
                assert!(error.message.starts_with(&text), "{name}: {error}");
                assert_eq!(
                    (error.code.as_ref(), error.kind),
                    ("Conflict", ErrorKind::Conflict)
                );
            }
        }
    }
}

#[test]
fn a_disk_says_only_what_it_knows() {
    let disk = |properties: Value| {
        let mut row = done(World::default().put(&format!("{COMPUTE}/disks/x"), &json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 } }), None).unwrap());
        for (name, value) in properties.as_object().unwrap() {
            row.properties.insert(name.clone(), value.clone());
        }
        SourceFacts::of_disk(&row, "os")
    };
    let nvme = json!({ "features": [{ "name": "DiskControllerTypes", "value": "SCSI, NVMe" }] });
    let table = [
        ("nothing", json!({}), json!({}), None),
        (
            "generation",
            json!({}),
            json!({ "hyperVGeneration": "V1" }),
            Some("Hypervisor generation ['V1']"),
        ),
        (
            "system",
            json!({}),
            json!({ "osType": "Windows" }),
            Some("OS type ['Windows']"),
        ),
        (
            "architecture",
            json!({}),
            json!({ "supportedCapabilities": { "architecture": "Arm64" } }),
            Some("Architecture ['Arm64']"),
        ),
        (
            "guest state",
            json!({}),
            json!({ "securityProfile": { "securityType": "TrustedLaunch" } }),
            Some("Security type ['TrustedLaunch']"),
        ),
        (
            "confidential",
            json!({}),
            json!({ "securityProfile": { "securityType": "ConfidentialVM_DiskEncryptedWithPlatformKey" } }),
            Some("Security type ['ConfidentialVM']"),
        ),
        (
            "controllers",
            json!({}),
            json!({ "supportedCapabilities": { "diskControllerTypes": "NVMe" } }),
            Some("Disk controller type ['NVMe']"),
        ),
        (
            "either controller",
            json!({}),
            json!({ "supportedCapabilities": { "diskControllerTypes": "SCSI, NVMe" } }),
            None,
        ),
        (
            "controllers fit",
            nvme,
            json!({ "supportedCapabilities": { "diskControllerTypes": "NVMe" } }),
            None,
        ),
    ];
    for (name, parent, properties, expected) in table {
        let result = check_source_matches(&definition(parent), &version("Full"), &disk(properties));
        match expected {
            None => assert_eq!(result, Ok(()), "{name}"),
            Some(text) => assert!(
                result
                    .unwrap_err()
                    .message
                    .contains(&format!("has a different {text}")),
                "{name}"
            ),
        }
    }
}

#[test]
fn sizes_have_limits_by_mode() {
    for (mode, gib, fits) in [
        ("Full", 2048, true),
        ("Full", 2049, false),
        ("Shallow", 2049, true),
        ("Shallow", 32_768, true),
        ("Shallow", 32_769, false),
    ] {
        let facts = SourceFacts::of_vhd("https://a/b.vhd?sig=secret", gib * GIB);
        let result = check_source_matches(&definition(json!({})), &version(mode), &facts);
        assert_eq!(result.is_ok(), fits, "{mode} {gib}");
    }
    let facts = SourceFacts::of_vhd("https://a/b.vhd?sig=secret", 2520 * GIB);
    let error = check_source_matches(&definition(json!({})), &version("Full"), &facts).unwrap_err();
    assert!(error.message.starts_with("Replication failed in this region due to 'The GalleryImageVersion source resource size 2520 exceeds the max size 2048 supported"), "{error}");
}
