//! The rules of image versions as tables: what is sent, what is stored. Source: `API.md` 3.3, 5.3, 6.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, invalid, missing, refused, regions, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::Resource;
use domain::image_version::{is_excluded_in, target_regions};
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

fn made(api_version: &str, body: &Value) -> Resource {
    let world = World {
        api_version,
        ..World::default()
    };
    let mut row = done(world.put(&id("1.0.0"), body, None).unwrap());
    row.properties["storageProfile"]["osDiskImage"]["sizeInGB"] = json!(30);
    row
}

#[test]
fn names() {
    let text = "The image version name is invalid. The image version name should follow Major(int).Minor(int).Patch(int) format, for e.g: 1.0.0, 2018.12.1 etc.";
    for (name, is_good) in [
        ("1.0.0", true),
        ("0.0.0", true),
        ("2018.12.1", true),
        ("2147483647.2147483647.2147483647", true),
        ("0000000001.2.3", true),
        ("1.0", false),
        ("1.0.0.0", false),
        ("2147483648.0.0", false),
        ("00000000001.0.0", false),
        ("1.0.x", false),
        ("latest", false),
        ("-1.0.0", false),
        ("+1.0.0", false),
        ("1.0.0-rc1", false),
        ("٣.0.0", false),
    ] {
        let result = World::default().put(&id(name), &with(json!({})), None);
        let expected = if is_good {
            stored(json!({}))
        } else {
            invalid("galleryImageVersionName", text)
        };
        check(name, result, &expected);
    }
}

#[test]
fn creates() {
    let region = |name: &str| json!({ "name": name });
    let out = |name: &str, value: i64| {
        format!(
            "The value {value} of parameter {name} is out of range. The value must be between 1 and 100, inclusive."
        )
    };
    let lrs = |name: &str, count: i64| json!({ "name": name, "regionalReplicaCount": count, "storageAccountType": "Standard_LRS" });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "recorded defaults",
            to(json!([region("eastus")])),
            stored(json!({
            "/publishingProfile": { "targetRegions": [lrs("East US", 1)], "replicaCount": 1, "excludeFromLatest": false, "publishedDate": "2026-09-21T14:13:20.0000000+00:00", "storageAccountType": "Standard_LRS" },
            "/safetyProfile": { "reportedForPolicyViolation": false, "allowDeletionOfReplicatedLocations": false } })),
        ),
        (
            "no profile: home alone",
            json!({ "location": "eastus", "properties": { "storageProfile": storage() } }),
            stored(json!({ "/publishingProfile/targetRegions": [lrs("East US", 1)] })),
        ),
        (
            "empty regions: home alone",
            to(json!([])),
            stored(json!({ "/publishingProfile/targetRegions": [lrs("East US", 1)] })),
        ),
        (
            "either form of names, order kept",
            to(json!([region("West US 2"), region("EAST US")])),
            stored(
                json!({ "/publishingProfile/targetRegions": [lrs("West US 2", 1), lrs("East US", 1)] }),
            ),
        ),
        (
            "display name of its own",
            to(json!([region("lab1"), region("eastus")])),
            stored(json!({ "/publishingProfile/targetRegions/0/name": "The Lab (Berlin)" })),
        ),
        (
            "unsaid counts follow",
            with(
                json!({ "targetRegions": [region("eastus"), { "name": "westus2", "regionalReplicaCount": 1 }], "replicaCount": 2 }),
            ),
            stored(json!({
            "/publishingProfile/targetRegions": [lrs("East US", 2), lrs("West US 2", 1)] })),
        ),
        (
            "home is missing",
            to(json!([region("westus2"), region("West Europe")])),
            invalid(
                &format!("{P}.targetRegions"),
                "Gallery image version publishing profile regions West US 2, West Europe must contain the location of image version East US",
            ),
        ),
        (
            "twice by two forms",
            to(json!([region("eastus"), region("East US")])),
            invalid(
                &format!("{P}.targetRegions"),
                "Duplicate regions are not allowed in target publishing regions.",
            ),
        ),
        (
            "twice by own display name",
            to(json!([
                region("eastus"),
                region("lab1"),
                region("The Lab (Berlin)")
            ])),
            invalid(&format!("{P}.targetRegions"), "Duplicate regions"),
        ),
        (
            "region without a name",
            to(json!([{}])),
            missing(&format!("{P}.targetRegions.name")),
        ),
        (
            "unknown region",
            to(json!([region("mars")])),
            invalid(
                &format!("{P}.targetRegions.name"),
                "The target region 'mars' is not available.",
            ),
        ),
        (
            "no replicas",
            with(json!({ "replicaCount": 0 })),
            invalid(&format!("{P}.replicaCount"), &out("replicaCount", 0)),
        ),
        (
            "negative replicas",
            with(json!({ "replicaCount": -1 })),
            invalid(&format!("{P}.replicaCount"), &out("replicaCount", -1)),
        ),
        (
            "most replicas",
            with(json!({ "replicaCount": 100 })),
            stored(json!({ "/publishingProfile/targetRegions/0/regionalReplicaCount": 100 })),
        ),
        (
            "too many replicas",
            with(json!({ "replicaCount": 101 })),
            invalid(&format!("{P}.replicaCount"), &out("replicaCount", 101)),
        ),
        (
            "no regional replicas",
            to(json!([{ "name": "eastus", "regionalReplicaCount": 0 }])),
            invalid(
                &format!("{P}.targetRegions.regionalReplicaCount"),
                &out("regionalReplicaCount", 0),
            ),
        ),
        (
            "too many regional replicas",
            to(json!([{ "name": "eastus", "regionalReplicaCount": 101 }])),
            invalid(
                &format!("{P}.targetRegions.regionalReplicaCount"),
                &out("regionalReplicaCount", 101),
            ),
        ),
        (
            "too many in all",
            with(
                json!({ "replicaCount": 51, "targetRegions": [region("eastus"), region("westus2")] }),
            ),
            refused(
                Conflict,
                "OperationNotAllowed",
                "The image version would have 102 replicas",
                Some(&format!("{P}.targetRegions")),
            ),
        ),
        (
            "storage words are canonical",
            with(
                json!({ "storageAccountType": "standard_zrs", "targetRegions": [{ "name": "eastus", "storageAccountType": "premium_lrs" }] }),
            ),
            stored(json!({
            "/publishingProfile/storageAccountType": "Standard_ZRS", "/publishingProfile/targetRegions/0/storageAccountType": "Premium_LRS" })),
        ),
        (
            "regions take the version's storage",
            with(json!({ "storageAccountType": "Premium_LRS" })),
            stored(
                json!({ "/publishingProfile/targetRegions/0/storageAccountType": "Premium_LRS" }),
            ),
        ),
        (
            "unknown storage",
            with(json!({ "storageAccountType": "Tape" })),
            invalid(&format!("{P}.storageAccountType"), "The value 'Tape'"),
        ),
        (
            "unknown regional storage",
            to(json!([{ "name": "eastus", "storageAccountType": "Tape" }])),
            invalid(
                &format!("{P}.targetRegions.storageAccountType"),
                "The value 'Tape'",
            ),
        ),
        (
            "no zones there",
            to(
                json!([region("eastus"), { "name": "northcentralus", "storageAccountType": "Standard_ZRS" }]),
            ),
            invalid(
                &format!("{P}.targetRegions.storageAccountType"),
                "ZRS storage account type is not supported in this region.",
            ),
        ),
        (
            "no zones there, by the version's word",
            with(
                json!({ "storageAccountType": "Standard_ZRS", "targetRegions": [region("eastus"), region("northcentralus")] }),
            ),
            invalid(
                &format!("{P}.targetRegions.storageAccountType"),
                "ZRS storage",
            ),
        ),
        (
            "no zones for the additional set",
            to(
                json!([region("eastus"), { "name": "northcentralus", "additionalReplicaSets": [{ "storageAccountType": "standard_zrs", "regionalReplicaCount": 1 }] }]),
            ),
            invalid(
                &format!("{P}.targetRegions.storageAccountType"),
                "ZRS storage",
            ),
        ),
        (
            "additional set",
            to(
                json!([{ "name": "eastus", "additionalReplicaSets": [{ "storageAccountType": "premium_lrs", "regionalReplicaCount": 2 }] }]),
            ),
            stored(json!({
            "/publishingProfile/targetRegions/0/additionalReplicaSets": [{ "storageAccountType": "Premium_LRS", "regionalReplicaCount": 2 }] })),
        ),
        (
            "additional set of none",
            to(
                json!([{ "name": "eastus", "additionalReplicaSets": [{ "regionalReplicaCount": 0 }] }]),
            ),
            invalid(
                &format!("{P}.targetRegions.additionalReplicaSets.regionalReplicaCount"),
                &out("regionalReplicaCount", 0),
            ),
        ),
        (
            "mode is echoed when said",
            with(json!({ "replicationMode": "full" })),
            stored(json!({ "/publishingProfile/replicationMode": "Full" })),
        ),
        (
            "unknown mode",
            with(json!({ "replicationMode": "Half" })),
            invalid(&format!("{P}.replicationMode"), "The value 'Half'"),
        ),
        (
            "shallow at home",
            with(json!({ "replicationMode": "Shallow" })),
            stored(json!({ "/publishingProfile/replicationMode": "Shallow" })),
        ),
        (
            "shallow in two regions",
            with(
                json!({ "replicationMode": "Shallow", "targetRegions": [region("eastus"), region("westus2")] }),
            ),
            invalid(
                &format!("{P}.replicationMode"),
                "The replication mode 'Shallow' keeps a single replica in the home region 'eastus'.",
            ),
        ),
        (
            "shallow in two copies",
            with(json!({ "replicationMode": "Shallow", "replicaCount": 2 })),
            invalid(
                &format!("{P}.replicationMode"),
                "The replication mode 'Shallow'",
            ),
        ),
        (
            "shallow with a set",
            with(
                json!({ "replicationMode": "Shallow", "targetRegions": [{ "name": "eastus", "additionalReplicaSets": [{ "regionalReplicaCount": 1 }] }] }),
            ),
            invalid(
                &format!("{P}.replicationMode"),
                "The replication mode 'Shallow'",
            ),
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
            "published date is the server's",
            with(json!({ "publishedDate": "2001-01-01T00:00:00Z" })),
            stored(
                json!({ "/publishingProfile/publishedDate": "2026-09-21T14:13:20.0000000+00:00" }),
            ),
        ),
        (
            "edge zone",
            with(
                json!({ "targetExtendedLocations": [{ "name": "w", "extendedLocation": { "name": "edge1", "type": "EdgeZone" } }] }),
            ),
            invalid(
                &format!("{P}.targetExtendedLocations"),
                "The extended location 'edge1' is not available.",
            ),
        ),
        (
            "no edge zones",
            with(json!({ "targetExtendedLocations": [] })),
            stored(json!({ "/publishingProfile/targetExtendedLocations": null })),
        ),
        (
            "unknown location",
            json!({ "location": "mars", "properties": { "storageProfile": storage() } }),
            refused(
                Invalid,
                "LocationNotAvailableForResourceType",
                "The provided location 'mars'",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id("1.0.0"), &body, None),
            &expected,
        );
    }
}

#[test]
fn the_strategy_is_zones_first_since_2025() {
    let both = with(
        json!({ "storageAccountType": "Premium_LRS", "storageAccountStrategy": "DefaultStandard_LRS" }),
    );
    let three = json!([{ "name": "eastus" }, { "name": "northcentralus" }, { "name": "westus2", "storageAccountType": "Premium_LRS" }]);
    let table: Vec<(&str, &str, Value, Expect)> = vec![
        (
            "old",
            "2024-03-03",
            to(three.clone()),
            stored(
                json!({ "/publishingProfile/storageAccountStrategy": null, "/publishingProfile/targetRegions/0/storageAccountType": "Standard_LRS" }),
            ),
        ),
        (
            "new",
            "2025-03-03",
            to(three.clone()),
            stored(json!({
            "/publishingProfile/storageAccountStrategy": "PreferStandard_ZRS", "/publishingProfile/targetRegions/0/storageAccountType": "Standard_ZRS",
            "/publishingProfile/targetRegions/1/storageAccountType": "Standard_LRS", "/publishingProfile/targetRegions/2/storageAccountType": "Premium_LRS" })),
        ),
        (
            "new, locally",
            "2025-03-03",
            with(
                json!({ "storageAccountStrategy": "defaultstandard_lrs", "targetRegions": three }),
            ),
            stored(json!({
            "/publishingProfile/storageAccountStrategy": "DefaultStandard_LRS", "/publishingProfile/targetRegions/0/storageAccountType": "Standard_LRS" })),
        ),
        (
            "new, with a type",
            "2025-03-03",
            with(json!({ "storageAccountType": "Premium_LRS" })),
            stored(json!({ "/publishingProfile/storageAccountStrategy": null })),
        ),
        (
            "both",
            "2025-03-03",
            both,
            invalid(
                &format!("{P}.storageAccountStrategy"),
                "Only one of storageAccountType and storageAccountStrategy can be specified.",
            ),
        ),
    ];
    for (name, api_version, body, expected) in table {
        let world = World {
            api_version,
            ..World::default()
        };
        check(name, world.put(&id("1.0.0"), &body, None), &expected);
    }
}

#[test]
fn regions_are_found_by_either_name() {
    let row = made(
        "2024-03-03",
        &to(
            json!([{ "name": "eastus", "excludeFromLatest": true }, { "name": "lab1", "excludeFromLatest": false }, { "name": "westus2" }]),
        ),
    );
    let all = regions();
    assert_eq!(target_regions(&row, &all), ["eastus", "lab1", "westus2"]);
    let excluded = ["eastus", "lab1", "westus2", "westeurope"]
        .map(|region| is_excluded_in(&row, region, &all));
    assert_eq!(excluded, [Some(true), Some(false), None, None]);
}
