//! The rules of storage accounts as tables. Source: `WIRE.md` 4.8.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Expect, GROUP, World, check, fixed, invalid, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::ProvisioningState;
use domain::plan::claims;
use domain::storage_account::check_name;
use serde_json::{Value, json};

fn id(name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}")
}

fn with(change: Value) -> Value {
    let mut body = json!({ "location": "eastus", "sku": { "name": "Standard_RAGRS" }, "kind": "StorageV2", "properties": { "accessTier": "Hot" } });
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn names_are_host_names() {
    for (name, is_good) in [
        ("abc", true),
        ("a1b2c3", true),
        ("123", true),
        (&"a".repeat(24), true),
        ("ab", false),
        (&"a".repeat(25), false),
        ("Abc", false),
        ("a-b", false),
        ("a.b", false),
        ("äbc", false),
        ("", false),
    ] {
        let result = check_name(name);
        assert_eq!(result.is_ok(), is_good, "{name}");
        if let Err(error) = result {
            assert_eq!(
                (error.code.as_ref(), error.message),
                (
                    "AccountNameInvalid",
                    format!(
                        "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use numbers and lower-case letters only."
                    )
                )
            );
        }
    }
}

#[test]
fn creates() {
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "az's",
            with(json!({})),
            stored(
                json!({ "/@top": { "sku": { "name": "Standard_RAGRS", "tier": "Standard" }, "kind": "StorageV2" }, "/accessTier": "Hot" }),
            ),
        ),
        (
            "minimal",
            json!({ "location": "eastus" }),
            stored(json!({ "/@top/sku/name": "Standard_LRS", "/@top/kind": "StorageV2" })),
        ),
        (
            "words are canonical",
            with(json!({ "sku": { "name": "premium_lrs" }, "kind": "blockblobstorage" })),
            stored(
                json!({ "/@top/sku": { "name": "Premium_LRS", "tier": "Premium" }, "/@top/kind": "BlockBlobStorage" }),
            ),
        ),
        (
            "unknown sku",
            with(json!({ "sku": { "name": "Tape" } })),
            invalid("sku.name", "The value 'Tape'"),
        ),
        (
            "unknown kind",
            with(json!({ "kind": "Attic" })),
            invalid("kind", "The value 'Attic'"),
        ),
        (
            "read-only members",
            with(
                json!({ "properties": { "primaryEndpoints": { "blob": "https://evil/" }, "creationTime": "2001-01-01", "primaryLocation": "x", "supportsHttpsTrafficOnly": true } }),
            ),
            stored(json!({
            "/primaryEndpoints": null, "/creationTime": null, "/primaryLocation": null, "/supportsHttpsTrafficOnly": true })),
        ),
        (
            "nowhere",
            json!({}),
            refused(
                Invalid,
                "LocationRequired",
                "The location property is required",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id("acc"), &body, None),
            &expected,
        );
    }
}

#[test]
fn updates() {
    let row = World::default()
        .put(&id("acc"), &with(json!({})), None)
        .unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "what is omitted stays",
            json!({ "location": "eastus" }),
            stored(json!({ "/@top/sku/name": "Standard_RAGRS", "/accessTier": "Hot" })),
        ),
        (
            "another sku",
            with(json!({ "sku": { "name": "Standard_LRS" } })),
            stored(json!({ "/@top/sku/name": "Standard_LRS" })),
        ),
        (
            "tier",
            json!({ "location": "eastus", "properties": { "accessTier": "Cool" } }),
            stored(json!({ "/accessTier": "Cool" })),
        ),
        (
            "the same kind",
            with(json!({ "kind": "storagev2" })),
            stored(json!({ "/@top/kind": "StorageV2" })),
        ),
        (
            "another kind",
            with(json!({ "kind": "FileStorage" })),
            fixed("kind"),
        ),
        (
            "location",
            json!({ "location": "westus2" }),
            refused(
                Conflict,
                "InvalidResourceLocation",
                "The resource 'acc' already exists",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&id("acc"), &body, Some(&row)),
            &expected,
        );
        check(
            name,
            World::default().patch(&id("acc"), &body, &row),
            &expected,
        );
    }
    let old = World::default()
        .put(&id("acc"), &with(json!({ "kind": "Storage" })), None)
        .unwrap();
    check(
        "upgrade",
        World::default().put(&id("acc"), &with(json!({})), Some(&old)),
        &stored(json!({ "/@top/kind": "StorageV2" })),
    );
}

#[test]
fn names_are_unique_everywhere() {
    let row = World::default()
        .put(&id("acc"), &with(json!({})), None)
        .unwrap();
    let claim = claims(&row).remove(0);
    assert_eq!(
        (claim.scope.as_str(), claim.key.as_str()),
        ("storage-account", "acc")
    );
    assert_eq!(
        (claim.taken.code.as_ref(), claim.taken.kind),
        ("StorageAccountAlreadyTaken", Conflict)
    );
}
