//! The rules of changes to image versions as tables. Source: `API.md` 3.3, 5.3.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::{ProvisioningState, Resource};
use serde_json::{Value, json};

const P: &str = "galleryImageVersion.properties.publishingProfile";

fn id(name: &str) -> String {
    format!("{COMPUTE}/galleries/g/images/d/versions/{name}")
}

fn storage() -> Value {
    json!({ "osDiskImage": { "source": { "uri": "https://localhost/a/c/os.vhd" } } })
}

/// A create with a publishing profile.
fn with(publishing: Value) -> Value {
    json!({ "location": "eastus", "properties": { "publishingProfile": publishing, "storageProfile": storage() } })
}

fn to(regions: Value) -> Value {
    with(json!({ "targetRegions": regions }))
}

/// A change of the publishing profile alone.
fn change(publishing: Value) -> Value {
    json!({ "location": "eastus", "properties": { "publishingProfile": publishing } })
}

fn made(api_version: &str, body: &Value) -> Resource {
    let world = World {
        api_version,
        ..World::default()
    };
    let mut row = done(world.put(&id("1.0.0"), body, None).unwrap());
    row.properties["storageProfile"]["osDiskImage"]["sizeInGB"] = json!(30);
    row
}

fn two() -> Resource {
    made(
        "2024-03-03",
        &to(json!([{ "name": "eastus" }, { "name": "West US 2", "regionalReplicaCount": 2 }])),
    )
}

const REMOVAL: &str = "Complete set of target locations not specified while updating gallery artifact '1.0.0' and type 'GalleryImageVersion'. \
    Deletion of previously replicated locations is not allowed, and you need to specify a complete set of target locations in the update \
    request or specify null or empty set for target regions in the update request or set allow deletion of replicated locations under \
    safety profile property. To figure out complete set of target locations, you can perform a get first on gallery artifact";

#[test]
fn updates() {
    let row = two();
    let east = json!({ "name": "eastus" });
    let west = json!({ "name": "westus2", "regionalReplicaCount": 2 });
    let regions = |list: Value| change(json!({ "targetRegions": list }));
    let removal = || refused(Invalid, "BadRequest", REMOVAL, None);
    let allowing = json!({ "location": "eastus", "properties": { "publishingProfile": { "targetRegions": [east] }, "safetyProfile": { "allowDeletionOfReplicatedLocations": true } } });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "nothing",
            change(json!({})),
            stored(json!({ "/publishingProfile/targetRegions/1/regionalReplicaCount": 2 })),
        ),
        (
            "empty regions change nothing",
            regions(json!([])),
            stored(
                json!({ "/publishingProfile/targetRegions": row.properties["publishingProfile"]["targetRegions"] }),
            ),
        ),
        (
            "recorded: the unsaid count follows",
            change(json!({ "targetRegions": [west, east], "replicaCount": 2 })),
            stored(json!({
            "/publishingProfile/targetRegions/1": { "name": "East US", "regionalReplicaCount": 2, "storageAccountType": "Standard_LRS" } })),
        ),
        (
            "the unsaid count follows without a list",
            change(json!({ "replicaCount": 3 })),
            stored(json!({
            "/publishingProfile/targetRegions/0/regionalReplicaCount": 3, "/publishingProfile/targetRegions/1/regionalReplicaCount": 2 })),
        ),
        (
            "a region more",
            regions(json!([east, west, { "name": "westeurope" }])),
            stored(json!({ "/publishingProfile/targetRegions/2/name": "West Europe" })),
        ),
        ("a region less", regions(json!([east])), removal()),
        (
            "a region less, allowed",
            allowing,
            stored(
                json!({ "/publishingProfile/targetRegions/1": null, "/safetyProfile/allowDeletionOfReplicatedLocations": true }),
            ),
        ),
        (
            "home less",
            regions(json!([west])),
            invalid(
                &format!("{P}.targetRegions"),
                "Gallery image version publishing profile regions West US 2 must contain",
            ),
        ),
        (
            "regional storage",
            regions(json!([{ "name": "eastus", "storageAccountType": "Premium_LRS" }, west])),
            fixed(&format!("{P}.targetRegions.storageAccountType")),
        ),
        (
            "the same regional storage",
            regions(json!([{ "name": "eastus", "storageAccountType": "standard_lrs" }, west])),
            stored(json!({})),
        ),
        (
            "storage",
            change(json!({ "storageAccountType": "Premium_LRS" })),
            fixed(&format!("{P}.storageAccountType")),
        ),
        (
            "strategy",
            change(json!({ "storageAccountStrategy": "PreferStandard_ZRS" })),
            fixed(&format!("{P}.storageAccountStrategy")),
        ),
        (
            "the strategy that it has",
            change(json!({ "storageAccountStrategy": "DefaultStandard_LRS" })),
            stored(json!({ "/publishingProfile/storageAccountStrategy": null })),
        ),
        (
            "mode",
            change(json!({ "replicationMode": "Shallow" })),
            fixed(&format!("{P}.replicationMode")),
        ),
        (
            "the mode that it has",
            change(json!({ "replicationMode": "Full" })),
            stored(json!({ "/publishingProfile/replicationMode": null })),
        ),
        (
            "published date",
            change(json!({ "publishedDate": "2001-01-01T00:00:00Z" })),
            stored(
                json!({ "/publishingProfile/publishedDate": "2026-09-21T14:13:20.0000000+00:00" }),
            ),
        ),
        (
            "excluded",
            change(json!({ "excludeFromLatest": true })),
            stored(json!({ "/publishingProfile/excludeFromLatest": true })),
        ),
        (
            "end of life",
            change(json!({ "endOfLifeDate": "2030-01-01T00:00:00+00:00" })),
            stored(json!({ "/publishingProfile/endOfLifeDate": "2030-01-01T00:00:00+00:00" })),
        ),
        (
            "encryption later",
            regions(
                json!([{ "name": "eastus", "encryption": { "osDiskImage": { "diskEncryptionSetId": "/x" } } }, west]),
            ),
            fixed(&format!("{P}.targetRegions.encryption")),
        ),
        (
            "encryption of a data disk later",
            regions(
                json!([{ "name": "eastus", "encryption": { "dataDiskImages": [{ "lun": 3, "diskEncryptionSetId": "/x" }] } }, west]),
            ),
            invalid(
                &format!("{P}.targetRegions.encryption.dataDiskImages"),
                "Cannot specify new data disk image encryption lun [3] with a disk encryption set in region [eastus] for update gallery image version request.",
            ),
        ),
        (
            "empty encryption",
            regions(json!([{ "name": "eastus", "encryption": {} }, west])),
            stored(json!({})),
        ),
        (
            "location",
            json!({ "location": "westus2" }),
            refused(
                Conflict,
                "InvalidResourceLocation",
                "The resource '1.0.0' already exists in location 'eastus'",
                None,
            ),
        ),
        (
            "safety of tf",
            json!({ "location": "eastus", "properties": { "safetyProfile": {} } }),
            stored(json!({ "/safetyProfile/reportedForPolicyViolation": false })),
        ),
        (
            "what only the server reports",
            json!({ "location": "eastus", "properties": { "safetyProfile": { "reportedForPolicyViolation": true } } }),
            stored(json!({ "/safetyProfile/reportedForPolicyViolation": false })),
        ),
        (
            "restore of what is there",
            json!({ "location": "eastus", "properties": { "restore": true } }),
            stored(json!({ "/restore": null })),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id("1.0.0"), &body, Some(&row)),
            &expected,
        );
        check(
            name,
            World::default().patch(&id("1.0.0"), &body, &row),
            &expected,
        );
    }
}

#[test]
fn a_count_that_is_only_sent_back_goes_on_to_follow() {
    let row = two();
    let shown = change(row.properties["publishingProfile"].clone());
    let same = World::default()
        .put(&id("1.0.0"), &shown, Some(&row))
        .unwrap();
    assert_eq!(
        (&same.properties, &same.internal),
        (&row.properties, &row.internal)
    );
    check(
        "follows",
        World::default().put(
            &id("1.0.0"),
            &change(json!({ "replicaCount": 4 })),
            Some(&same),
        ),
        &stored(json!({
        "/publishingProfile/targetRegions/0/regionalReplicaCount": 4, "/publishingProfile/targetRegions/1/regionalReplicaCount": 2 })),
    );
}

#[test]
fn an_older_client_does_not_erase_what_it_cannot_say() {
    let sets = json!([{ "storageAccountType": "Premium_LRS", "regionalReplicaCount": 1 }]);
    let row = made(
        "2024-03-03",
        &to(
            json!([{ "name": "eastus", "excludeFromLatest": true, "additionalReplicaSets": sets }]),
        ),
    );
    let body = change(json!({ "targetRegions": [{ "name": "eastus" }] }));
    for (api_version, excluded, set) in [
        ("2021-10-01", json!(true), sets.clone()),
        ("2023-07-03", json!(null), sets),
        ("2024-03-03", json!(null), json!(null)),
    ] {
        let world = World {
            api_version,
            ..World::default()
        };
        check(
            api_version,
            world.put(&id("1.0.0"), &body, Some(&row)),
            &stored(json!({
            "/publishingProfile/targetRegions/0/excludeFromLatest": excluded, "/publishingProfile/targetRegions/0/additionalReplicaSets": set })),
        );
    }
}

#[test]
fn a_version_that_never_was_may_be_written_anew_one_that_was_may_not() {
    let other = json!({ "location": "eastus", "properties": {
        "publishingProfile": { "targetRegions": [{ "name": "eastus" }], "storageAccountType": "Premium_LRS", "replicationMode": "Shallow" },
        "storageProfile": { "osDiskImage": { "source": { "uri": "https://localhost/a/c/other.vhd" } } } } });
    let mut never = World::default()
        .put(&id("1.0.0"), &with(json!({})), None)
        .unwrap();
    never.state = ProvisioningState::Failed;
    never
        .internal
        .insert("images".to_owned(), json!([{ "slot": "os" }]));
    let anew = World::default()
        .put(&id("1.0.0"), &other, Some(&never))
        .unwrap();
    assert_eq!(anew.internal.get("images"), None);
    check(
        "anew",
        Ok(anew),
        &stored(
            json!({ "/storageProfile/osDiskImage/source/uri": "https://localhost/a/c/other.vhd", "/publishingProfile/replicationMode": "Shallow" }),
        ),
    );
    let again = World::default()
        .put(&id("1.0.0"), &json!({ "location": "eastus" }), Some(&never))
        .unwrap();
    assert_eq!(
        (
            &again.properties["storageProfile"],
            again.internal.get("images")
        ),
        (
            &never.properties["storageProfile"],
            never.internal.get("images")
        )
    );
    let mut was = made("2024-03-03", &with(json!({})));
    was.state = ProvisioningState::Failed;
    check(
        "was",
        World::default().put(&id("1.0.0"), &other, Some(&was)),
        &fixed(&format!("{P}.storageAccountType")),
    );
    for state in [ProvisioningState::Creating, ProvisioningState::Updating] {
        never.state = state;
        check(
            "busy",
            World::default().put(&id("1.0.0"), &other, Some(&never)),
            &fixed(&format!("{P}.storageAccountType")),
        );
    }
}

#[test]
fn the_answer_of_a_failed_create_may_be_sent_back() {
    let world = World {
        api_version: "2025-03-03",
        ..World::default()
    };
    let mut row = world
        .put(
            &id("1.0.0"),
            &with(json!({ "endOfLifeDate": "2030-01-01T00:00:00+00:00" })),
            None,
        )
        .unwrap();
    row.state = ProvisioningState::Failed;
    let later = World {
        now_ms: 2_000_000_000_000,
        ..world
    };
    let again = later.put(&id("1.0.0"), &common::shown(&row), Some(&row));
    check(
        "again",
        again,
        &stored(json!({ "/publishingProfile/storageAccountStrategy": "PreferStandard_ZRS" })),
    );
}
