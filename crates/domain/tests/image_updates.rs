//! The rules of changes to image definitions as tables. Source: `API.md` 3.2, 5.2.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, refused, stored};
use domain::ErrorKind::Conflict;
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

fn second(mut change: Value) -> Value {
    change["hyperVGeneration"] = json!("V2");
    with(change)
}

const P: &str = "galleryImage.properties";

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
