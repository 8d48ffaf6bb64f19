//! The rules of image definitions as tables. Source: `API.md` 3.2, 4, 5.2.

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, missing, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::Resource;
use domain::plan::claims;
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
fn creates() {
    let asset = |part: &str, most: u32| {
        invalid(
            &format!("{P}.identifier.{part}"),
            &format!(
                "Asset name galleryImage.properties.identifier.{part} is not valid. It cannot be empty. Allowed characters are uppercase or lowercase letters, digits, hyphen(-), period (.), underscore (_). Names are not allowed to end with period(.). The length of the name cannot exceed {most} characters."
            ),
        )
    };
    let ident = |publisher: &str, offer: &str, sku: &str| {
        with(json!({ "identifier": { "publisher": publisher, "offer": offer, "sku": sku } }))
    };
    let range = |name: &str, min: Value, max: Value| {
        with(json!({ "recommended": { name: { "min": min, "max": max } } }))
    };
    let long = "x".repeat(65);
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "az's body",
            with(json!({ "disallowed": {} })),
            stored(
                json!({ "/disallowed": null, "/hyperVGeneration": "V1", "/architecture": "x64", "/features": null }),
            ),
        ),
        (
            "words are canonical",
            with(
                json!({ "osType": "linux", "osState": "SPECIALIZED", "hyperVGeneration": "v2", "architecture": "arm64" }),
            ),
            stored(json!({
            "/osType": "Linux", "/osState": "Specialized", "/hyperVGeneration": "V2", "/architecture": "Arm64" })),
        ),
        (
            "no type of system",
            with(json!({ "osType": null })),
            missing(&format!("{P}.osType")),
        ),
        (
            "empty type of system",
            with(json!({ "osType": "" })),
            missing(&format!("{P}.osType")),
        ),
        (
            "no state",
            with(json!({ "osState": null })),
            missing(&format!("{P}.osState")),
        ),
        (
            "no identifier",
            with(json!({ "identifier": null })),
            missing(&format!("{P}.identifier")),
        ),
        (
            "other system",
            with(json!({ "osType": "BeOS" })),
            invalid(
                &format!("{P}.osType"),
                "The value 'BeOS' of parameter 'osType' is invalid.",
            ),
        ),
        (
            "other state",
            with(json!({ "osState": "Half" })),
            invalid(&format!("{P}.osState"), "The value 'Half'"),
        ),
        (
            "other generation",
            with(json!({ "hyperVGeneration": "V3" })),
            invalid(&format!("{P}.hyperVGeneration"), "The value 'V3'"),
        ),
        (
            "other architecture",
            with(json!({ "architecture": "s390" })),
            invalid(&format!("{P}.architecture"), "The value 's390'"),
        ),
        (
            "empty publisher",
            ident("", "o", "s"),
            asset("publisher", 128),
        ),
        (
            "longest publisher",
            ident(&"x".repeat(128), "o", "s"),
            stored(json!({})),
        ),
        (
            "too long publisher",
            ident(&"x".repeat(129), "o", "s"),
            asset("publisher", 128),
        ),
        (
            "publisher ends with period",
            ident("p.", "o", "s"),
            asset("publisher", 128),
        ),
        ("too long offer", ident("p", &long, "s"), asset("offer", 64)),
        (
            "offer with a space",
            ident("p", "a b", "s"),
            asset("offer", 64),
        ),
        ("too long sku", ident("p", "o", &long), asset("sku", 64)),
        (
            "sku with all signs",
            ident("p", "o", "A-b_c.9"),
            stored(json!({ "/identifier/sku": "A-b_c.9" })),
        ),
        (
            "half an identifier",
            with(json!({ "identifier": { "publisher": "p" } })),
            asset("offer", 64),
        ),
        (
            "min over max",
            range("vCPUs", json!(5), json!(4)),
            invalid(
                &format!("{P}.recommended.vCPUs"),
                "The minimum value of galleryImage.properties.recommended.vCPUs must not be greater than the maximum value of galleryImage.properties.recommended.vCPUs.",
            ),
        ),
        (
            "min is max",
            range("vCPUs", json!(4), json!(4)),
            stored(json!({ "/recommended/vCPUs/min": 4 })),
        ),
        (
            "recorded memory",
            range("memory", json!(2200), json!(3200)),
            stored(json!({ "/recommended/memory/max": 3200 })),
        ),
        (
            "no memory at all",
            range("memory", json!(0), json!(1)),
            invalid(
                &format!("{P}.recommended.memory"),
                "The value 0 of parameter memory.min is out of range.",
            ),
        ),
        (
            "empty recommendation",
            with(json!({ "recommended": { "vCPUs": {} } })),
            stored(json!({ "/recommended": null })),
        ),
        (
            "end of life is over",
            with(json!({ "endOfLifeDate": "2020-01-01T00:00:00+00:00" })),
            invalid(
                &format!("{P}.endOfLifeDate"),
                "EndOfLifeDate must be set to a future date.",
            ),
        ),
        (
            "end of life to come",
            with(json!({ "endOfLifeDate": "2030-12-01T12:59:59+00:00" })),
            stored(json!({ "/endOfLifeDate": "2030-12-01T12:59:59+00:00" })),
        ),
        (
            "disallowed types are canonical, once",
            with(
                json!({ "disallowed": { "diskTypes": ["standard_lrs", "Standard_LRS", "Premium_LRS"] } }),
            ),
            stored(json!({ "/disallowed/diskTypes": ["Standard_LRS", "Premium_LRS"] })),
        ),
        (
            "unknown disallowed type",
            with(json!({ "disallowed": { "diskTypes": ["Floppy"] } })),
            invalid(&format!("{P}.disallowed.diskTypes"), "The value 'Floppy'"),
        ),
        (
            "plan",
            with(json!({ "purchasePlan": { "name": "n", "publisher": "p", "product": "q" } })),
            stored(json!({ "/purchasePlan/product": "q" })),
        ),
        (
            "empty plan",
            with(json!({ "purchasePlan": {} })),
            stored(json!({ "/purchasePlan": null })),
        ),
        (
            "write-only member is not kept",
            with(json!({ "allowUpdateImage": true })),
            stored(json!({ "/allowUpdateImage": null })),
        ),
        (
            "Arm64 needs generation 2",
            with(json!({ "architecture": "Arm64", "hyperVGeneration": "V1" })),
            invalid(
                &format!("{P}.hyperVGeneration"),
                "The architecture 'Arm64' is only supported for images of Hypervisor generation 'V2'.",
            ),
        ),
        (
            "Arm64 implies generation 2",
            with(json!({ "architecture": "Arm64" })),
            stored(json!({ "/hyperVGeneration": "V2" })),
        ),
        (
            "no location",
            json!({ "properties": {} }),
            refused(Invalid, "LocationRequired", "The location property", None),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
    let bad = World::default()
        .put(
            &format!("{COMPUTE}/galleries/g/images/bad-"),
            &with(json!({})),
            None,
        )
        .unwrap_err();
    assert_eq!(
        (bad.code.as_ref(), bad.target.as_deref()),
        ("InvalidResourceName", Some("galleryImageName"))
    );
}

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

fn full() -> Resource {
    let body = second(json!({
        "description": "d", "eula": "e", "privacyStatementUri": "p", "releaseNoteUri": "r", "endOfLifeDate": "2030-12-01T00:00:00+00:00",
        "recommended": { "vCPUs": { "min": 1, "max": 8 }, "memory": { "min": 4, "max": 32 } },
        "disallowed": { "diskTypes": ["Premium_LRS"] },
        "purchasePlan": { "name": "n", "publisher": "p", "product": "q" },
        "features": [{ "name": "SecurityType", "value": "TrustedLaunch", "startsAtVersion": "2.0.0" }, { "name": "IsHibernateSupported", "value": "True" }],
    }));
    done(World::default().put(&id(), &body, None).unwrap())
}

#[test]
fn updates() {
    let row = full();
    let none = json!({ "location": "eastus", "properties": { "osType": "Linux" } });
    let change = |change: Value| {
        let mut body = none.clone();
        for (name, value) in change.as_object().unwrap() {
            body["properties"][name] = value.clone();
        }
        body
    };
    let features = |list: Value| change(json!({ "features": list }));
    let allowed = |list: Value| change(json!({ "features": list, "allowUpdateImage": true }));
    let launch = json!({ "name": "SecurityType", "value": "TrustedLaunch" });
    let sleep = json!({ "name": "IsHibernateSupported", "value": "True" });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "what is omitted stays",
            none.clone(),
            stored(
                json!({ "/description": "d", "/purchasePlan/name": "n", "/recommended/memory/min": 4, "/disallowed/diskTypes": ["Premium_LRS"] }),
            ),
        ),
        (
            "description",
            change(json!({ "description": "new" })),
            stored(json!({ "/description": "new" })),
        ),
        (
            "release notes",
            change(json!({ "releaseNoteUri": "new" })),
            stored(json!({ "/releaseNoteUri": "new" })),
        ),
        (
            "end of life",
            change(json!({ "endOfLifeDate": "2031-01-01T00:00:00+00:00" })),
            stored(json!({ "/endOfLifeDate": "2031-01-01T00:00:00+00:00" })),
        ),
        (
            "end of life into the past",
            change(json!({ "endOfLifeDate": "2021-01-01T00:00:00+00:00" })),
            invalid(&format!("{P}.endOfLifeDate"), "EndOfLifeDate must be"),
        ),
        (
            "type of system",
            change(json!({ "osType": "Windows" })),
            fixed(&format!("{P}.osType")),
        ),
        (
            "state",
            change(json!({ "osState": "Specialized" })),
            fixed(&format!("{P}.osState")),
        ),
        (
            "generation",
            change(json!({ "hyperVGeneration": "V1" })),
            fixed(&format!("{P}.hyperVGeneration")),
        ),
        (
            "architecture",
            change(json!({ "architecture": "Arm64" })),
            fixed(&format!("{P}.architecture")),
        ),
        (
            "publisher",
            change(json!({ "identifier": { "publisher": "x" } })),
            fixed(&format!("{P}.identifier.publisher")),
        ),
        (
            "offer",
            change(json!({ "identifier": { "offer": "x" } })),
            fixed(&format!("{P}.identifier.offer")),
        ),
        (
            "sku",
            change(json!({ "identifier": { "sku": "x" } })),
            fixed(&format!("{P}.identifier.sku")),
        ),
        (
            "the same in other letters",
            change(json!({ "identifier": { "publisher": "P", "offer": "O", "sku": "S" } })),
            stored(json!({ "/identifier/publisher": "p" })),
        ),
        (
            "empty identifier",
            change(json!({ "identifier": {} })),
            stored(json!({ "/identifier/sku": "s" })),
        ),
        (
            "plan",
            change(json!({ "purchasePlan": { "name": "x", "publisher": "p", "product": "q" } })),
            fixed(&format!("{P}.purchasePlan")),
        ),
        (
            "features without leave",
            features(json!([launch])),
            fixed(&format!("{P}.features")),
        ),
        (
            "no features without leave",
            features(json!([])),
            fixed(&format!("{P}.features")),
        ),
        (
            "the same features in another order, first version unsaid",
            features(json!([sleep, launch])),
            stored(
                json!({ "/features/0/startsAtVersion": "2.0.0", "/features/0/name": "SecurityType" }),
            ),
        ),
        (
            "features with leave",
            allowed(
                json!([launch, { "name": "DiskControllerTypes", "value": "SCSI", "startsAtVersion": "2.0.0" }]),
            ),
            stored(json!({
            "/features": [{ "name": "SecurityType", "value": "TrustedLaunch", "startsAtVersion": "2.0.0" }, { "name": "DiskControllerTypes", "value": "SCSI", "startsAtVersion": "2.0.0" }], "/allowUpdateImage": null })),
        ),
        (
            "no features with leave",
            allowed(json!([])),
            stored(json!({ "/features": null })),
        ),
        (
            "disallowed says nothing",
            change(json!({ "disallowed": {} })),
            stored(json!({ "/disallowed/diskTypes": ["Premium_LRS"] })),
        ),
        (
            "disallowed says none",
            change(json!({ "disallowed": { "diskTypes": [] } })),
            stored(json!({ "/disallowed": null })),
        ),
        (
            "location",
            json!({ "location": "westus2", "properties": { "osType": "Linux" } }),
            refused(
                Conflict,
                "InvalidResourceLocation",
                "The resource 'Def-1' already exists",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id(), &body, Some(&row)),
            &expected,
        );
        check(name, World::default().patch(&id(), &body, &row), &expected);
    }
}

#[test]
fn a_patch_repeats_the_type_of_system() {
    let row = full();
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "tags alone",
            json!({ "tags": { "a": "b" } }),
            stored(json!({ "/@tags": { "a": "b" }, "/description": "d" })),
        ),
        (
            "no properties",
            json!({ "properties": {} }),
            stored(json!({})),
        ),
        (
            "description alone",
            json!({ "properties": { "description": "x" } }),
            fixed(&format!("{P}.osType")),
        ),
        (
            "one bound leaves the others",
            json!({ "properties": { "osType": "Linux", "recommended": { "memory": { "max": 64 } } } }),
            stored(json!({
            "/recommended/memory": { "max": 64, "min": 4 }, "/recommended/vCPUs": { "min": 1, "max": 8 } })),
        ),
        (
            "a bound is checked with the other",
            json!({ "properties": { "osType": "Linux", "recommended": { "memory": { "max": 2 } } } }),
            invalid(&format!("{P}.recommended.memory"), "The minimum value"),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().patch(&id(), &body, &row), &expected);
    }
}

#[test]
fn an_end_of_life_that_is_over_may_be_sent_back() {
    let row = full();
    let later = World {
        now_ms: 2_000_000_000_000,
        ..World::default()
    };
    let body = with(json!({ "endOfLifeDate": "2030-12-01T00:00:00+00:00", "description": "x" }));
    check(
        "sent back",
        later.put(&id(), &body, Some(&row)),
        &stored(json!({ "/description": "x" })),
    );
    check(
        "omitted",
        later.put(&id(), &with(json!({})), Some(&row)),
        &stored(json!({ "/endOfLifeDate": "2030-12-01T00:00:00+00:00" })),
    );
}

#[test]
fn publisher_offer_and_sku_are_unique_in_any_case() {
    let claim = claims(&full()).remove(0);
    assert_eq!(claim.key, "p\no\ns");
    let expected = "Gallery image: 'Def-1' identified by (publisher:p, offer:o, sku:s) already exists. Choose a different publisher, offer, sku combination.";
    assert_eq!(
        (
            claim.taken.code.as_ref(),
            claim.taken.message.as_str(),
            claim.taken.kind
        ),
        ("OperationNotAllowed", expected, Conflict)
    );
}

#[test]
fn a_definition_of_a_gallery_that_was_shared_since_can_still_be_described() {
    let parent = gallery("Groups");
    let world = World {
        parent: Some(&parent),
        ..World::default()
    };
    let body = with(json!({ "description": "x", "features": full().properties["features"] }));
    check(
        "described",
        world.put(&id(), &body, Some(&full())),
        &stored(json!({ "/description": "x" })),
    );
}
