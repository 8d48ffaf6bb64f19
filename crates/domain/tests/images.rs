//! The rules of image definitions as tables. Source: `API.md` 3.2, 4, 5.2.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, invalid, missing, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::plan::claims;
use serde_json::{Value, json};

fn id() -> String {
    format!("{COMPUTE}/galleries/g/images/Def-1")
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
fn publisher_offer_and_sku_are_unique_in_any_case() {
    let claim = claims(&World::default().put(&id(), &with(json!({})), None).unwrap()).remove(0);
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
