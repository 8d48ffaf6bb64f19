//! The rules of resource groups as tables. Source: `WIRE.md` 4.1.

mod common;

use common::{Expect, SUB, World, check, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::{ProvisioningState, ResourceId};
use serde_json::{Value, json};

fn id(name: &str) -> String {
    format!("/subscriptions/{SUB}/resourceGroups/{name}")
}

#[test]
fn creates() {
    let longest = "g".repeat(90);
    let too_long = "g".repeat(91);
    let bad = || {
        refused(
            Invalid,
            "InvalidResourceGroup",
            "The provided resource group name",
            None,
        )
    };
    let home = json!({ "location": "eastus" });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "rg",
            home.clone(),
            stored(json!({ "/@tags": null, "/@top": {} })),
        ),
        ("clitest.rg000001", home.clone(), stored(json!({}))),
        ("a(b)_c-d", home.clone(), stored(json!({}))),
        ("größe", home.clone(), stored(json!({}))),
        (&longest, home.clone(), stored(json!({}))),
        (&too_long, home.clone(), bad()),
        ("ends.", home.clone(), bad()),
        ("a b", home.clone(), bad()),
        ("a+b", home, bad()),
        (
            "tagged",
            json!({ "location": "East US", "tags": { "a": "b" } }),
            stored(json!({ "/@tags": { "a": "b" } })),
        ),
        (
            "managed",
            json!({ "location": "eastus", "managedBy": "/x" }),
            stored(json!({ "/@top/managedBy": "/x" })),
        ),
        (
            "nowhere",
            json!({}),
            refused(
                Invalid,
                "LocationRequired",
                "The location property is required for this definition. Resource: 'nowhere'.",
                None,
            ),
        ),
        (
            "mars",
            json!({ "location": "mars" }),
            refused(
                Invalid,
                "LocationNotAvailableForResourceType",
                "The provided location 'mars' is not available for resource type 'Microsoft.Resources/resourceGroups'.",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        if ResourceId::parse(&id(name)).is_ok() {
            check(
                name,
                World::default().put(&id(name), &body, None),
                &expected,
            );
        } else {
            assert!(matches!(expected, Expect::Refused(..)), "{name}");
        }
    }
}

#[test]
fn updates() {
    let row = World::default()
        .put(
            &id("rg"),
            &json!({ "location": "eastus", "tags": { "a": "b" } }),
            None,
        )
        .unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "tags stay",
            json!({ "location": "eastus" }),
            stored(json!({ "/@tags": { "a": "b" } })),
        ),
        (
            "tags change",
            json!({ "location": "EASTUS", "tags": { "c": "d" } }),
            stored(json!({ "/@tags": { "c": "d" } })),
        ),
        (
            "tags go",
            json!({ "location": "eastus", "tags": {} }),
            stored(json!({ "/@tags": {} })),
        ),
        (
            "location",
            json!({ "location": "westus2" }),
            refused(
                Conflict,
                "InvalidResourceGroupLocation",
                "Invalid resource group location 'westus2'. The Resource group already exists in location 'eastus'.",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id("rg"), &body, Some(&row)),
            &expected,
        );
        check(
            name,
            World::default().patch(&id("rg"), &body, &row),
            &expected,
        );
    }
    check(
        "patch of tags",
        World::default().patch(&id("rg"), &json!({ "tags": { "x": "y" } }), &row),
        &stored(json!({ "/@tags": { "x": "y" } })),
    );
}
