//! Features and defaults of image definitions as tables. Source: `API.md` 3.2, 4.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::type_complexity, reason = "a row of a table")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, World, check, done, invalid, stored};
use domain::Resource;
use serde_json::{Value, json};

fn id() -> String {
    format!("{COMPUTE}/galleries/g/images/Def-1")
}

fn gallery(permissions: &str) -> Resource {
    let body = json!({ "location": "eastus", "properties": { "sharingProfile": { "permissions": permissions, "communityGalleryInfo": {
        "publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "prefix" } } } });
    done(
        World::default()
            .put(&format!("{COMPUTE}/galleries/g"), &body, None)
            .unwrap(),
    )
}

/// A complete definition with changes; null takes a member away.
fn with(change: Value) -> Value {
    let mut properties = json!({ "osType": "Linux", "osState": "Generalized", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            properties.as_object_mut().unwrap().shift_remove(name);
        } else {
            properties[name] = value.clone();
        }
    }
    json!({ "location": "eastus", "properties": properties })
}

fn feature(name: &str, value: &str) -> Value {
    json!({ "features": [{ "name": name, "value": value }] })
}

fn second(mut change: Value) -> Value {
    change["hyperVGeneration"] = json!("V2");
    with(change)
}

const P: &str = "galleryImage.properties";

#[test]
fn defaults_depend_on_the_api_version() {
    let launch = json!([{ "name": "SecurityType", "value": "TrustedLaunchSupported" }]);
    let standard = json!([{ "name": "SecurityType", "value": "Standard" }]);
    let table: Vec<(&str, &str, Value, Value)> = vec![
        (
            "old",
            "2024-03-03",
            json!({}),
            json!({ "/hyperVGeneration": "V1", "/features": null }),
        ),
        (
            "new",
            "2025-03-03",
            json!({}),
            json!({ "/hyperVGeneration": "V2", "/features": launch }),
        ),
        (
            "newest",
            "2026-03-03",
            json!({}),
            json!({ "/hyperVGeneration": "V2", "/features": launch }),
        ),
        (
            "unknown between",
            "2025-04-01",
            json!({}),
            json!({ "/hyperVGeneration": "V2", "/features": launch }),
        ),
        (
            "new, generation 1",
            "2025-03-03",
            json!({ "hyperVGeneration": "V1" }),
            json!({ "/hyperVGeneration": "V1", "/features": null }),
        ),
        (
            "new, opted out",
            "2025-03-03",
            json!({ "features": standard }),
            json!({ "/hyperVGeneration": "V2", "/features": standard }),
        ),
        (
            "new, opted out in small letters",
            "2025-03-03",
            json!({ "features": [{ "name": "securitytype", "value": "standard" }] }),
            json!({ "/hyperVGeneration": "V2", "/features": standard }),
        ),
        (
            "new, other feature",
            "2025-03-03",
            feature("IsHibernateSupported", "true"),
            json!({ "/features/1/value": "TrustedLaunchSupported", "/features/0/value": "True" }),
        ),
        (
            "old, a security type implies generation 2",
            "2024-03-03",
            feature("securityType", "trustedlaunch"),
            json!({ "/hyperVGeneration": "V2", "/features/0/value": "TrustedLaunch" }),
        ),
        (
            "old, opted out",
            "2023-07-03",
            json!({ "features": standard }),
            json!({ "/hyperVGeneration": "V1" }),
        ),
    ];
    for (name, api_version, change, expected) in table {
        let world = World {
            api_version,
            ..World::default()
        };
        check(
            name,
            world.put(&id(), &with(change), None),
            &stored(expected),
        );
    }
}

#[test]
fn features_are_canonical() {
    let table: Vec<(&str, &str, Result<(&str, &str), &str>)> = vec![
        (
            "IsAcceleratedNetworkSupported",
            "true",
            Ok(("IsAcceleratedNetworkSupported", "True")),
        ),
        (
            "isacceleratednetworksupported",
            "FALSE",
            Ok(("IsAcceleratedNetworkSupported", "False")),
        ),
        (
            "IsHibernateSupported",
            "tRue",
            Ok(("IsHibernateSupported", "True")),
        ),
        (
            "IsSecureBootSupported",
            "true",
            Ok(("IsSecureBootSupported", "True")),
        ),
        (
            "IsMeasuredBootSupported",
            "true",
            Ok(("IsMeasuredBootSupported", "True")),
        ),
        (
            "SecurityType",
            "ConfidentialVm",
            Ok(("SecurityType", "ConfidentialVM")),
        ),
        (
            "SecurityType",
            "ConfidentialVmSupported",
            Ok(("SecurityType", "ConfidentialVMSupported")),
        ),
        (
            "SecurityType",
            "TrustedLaunchAndConfidentialVMSupported",
            Ok(("SecurityType", "TrustedLaunchAndConfidentialVmSupported")),
        ),
        (
            "DiskControllerTypes",
            "scsi, nvme",
            Ok(("DiskControllerTypes", "SCSI, NVMe")),
        ),
        (
            "DiskControllerTypes",
            "NVMe,SCSI",
            Ok(("DiskControllerTypes", "NVMe,SCSI")),
        ),
        (
            "DiskControllerType",
            "SCSI",
            Ok(("DiskControllerTypes", "SCSI")),
        ),
        (
            "IsHibernateSupported",
            "maybe",
            Err(
                "The value 'maybe' of feature 'IsHibernateSupported' is invalid. The supported values are: True, False.",
            ),
        ),
        (
            "SecurityType",
            "Lock",
            Err("The value 'Lock' of feature 'SecurityType' is invalid."),
        ),
        (
            "Sauna",
            "True",
            Err("The feature name 'Sauna' is invalid. The supported features are: SecurityType,"),
        ),
        (
            "",
            "True",
            Err("Required parameter 'name' is missing (null)."),
        ),
        (
            "SecurityType",
            "",
            Err("Required parameter 'value' is missing (null)."),
        ),
    ];
    for (name, value, expected) in table {
        let result = World::default().put(&id(), &second(feature(name, value)), None);
        match expected {
            Ok((name, value)) => check(
                name,
                result,
                &stored(json!({ "/features": [{ "name": name, "value": value }] })),
            ),
            Err(text) => assert!(
                result.unwrap_err().message.starts_with(text),
                "{name} {value}"
            ),
        }
    }
    let twice = json!({ "features": [{ "name": "IsHibernateSupported", "value": "True" }, { "name": "ishibernatesupported", "value": "False" }] });
    check(
        "twice",
        World::default().put(&id(), &second(twice), None),
        &invalid(
            &format!("{P}.features"),
            "The feature 'IsHibernateSupported' is given twice.",
        ),
    );
    let bad_first = json!({ "features": [{ "name": "IsHibernateSupported", "value": "True", "startsAtVersion": "2.0" }] });
    check(
        "first version",
        World::default().put(&id(), &second(bad_first), None),
        &invalid(
            &format!("{P}.features.startsAtVersion"),
            "The image version name is invalid.",
        ),
    );
}

#[test]
fn security_types_fit_galleries_and_generations() {
    let all = ["Private", "Groups", "Community"];
    let private = ["Private"];
    let table: [(&str, &[&str]); 6] = [
        ("Standard", &all),
        ("TrustedLaunchSupported", &all),
        ("TrustedLaunch", &private),
        ("ConfidentialVMSupported", &all),
        ("ConfidentialVM", &private),
        ("TrustedLaunchAndConfidentialVmSupported", &all),
    ];
    for (security, kinds) in table {
        for permissions in all {
            let parent = gallery(permissions);
            let world = World {
                parent: Some(&parent),
                ..World::default()
            };
            let result = world.put(&id(), &second(feature("SecurityType", security)), None);
            assert_eq!(
                result.is_ok(),
                kinds.contains(&permissions),
                "{security} in {permissions}"
            );
            let mut first = with(feature("SecurityType", security));
            first["properties"]["hyperVGeneration"] = json!("V1");
            assert_eq!(
                world.put(&id(), &first, None).is_ok(),
                security == "Standard",
                "{security} in V1"
            );
        }
    }
    let parent = gallery("Community");
    let world = World {
        parent: Some(&parent),
        ..World::default()
    };
    let plan = with(json!({ "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } }));
    check(
        "plan",
        world.put(&id(), &plan, None),
        &invalid(
            &format!("{P}.purchasePlan"),
            "A purchase plan is not supported",
        ),
    );
}
