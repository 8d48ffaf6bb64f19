//! The rules of galleries as tables. Source: `API.md` 3.1, 5.1, 8.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    COMPUTE, Expect, NOW_MS, SUB, World, check, done, fixed, invalid, missing, refused, stored,
};
use domain::ErrorKind::{Conflict, Invalid};
use domain::gallery::{permissions, soft_delete_policy};
use domain::plan::{check_delete, claims};
use domain::{Resource, quota};
use serde_json::{Value, json};

fn id(name: &str) -> String {
    format!("{COMPUTE}/galleries/{name}")
}

fn body(properties: Value) -> Value {
    json!({ "location": "eastus", "properties": properties })
}

fn info() -> Value {
    json!({ "publisherUri": "puburi", "publisherContact": "a@b", "eula": "eula", "publicNamePrefix": "prefix" })
}

fn community(change: Value) -> Value {
    let mut info = info();
    for (name, value) in change.as_object().unwrap() {
        info[name] = value.clone();
    }
    body(json!({ "sharingProfile": { "permissions": "Community", "communityGalleryInfo": info } }))
}

fn made(properties: Value) -> Resource {
    done(
        World::default()
            .put(&id("G.one"), &body(properties), None)
            .unwrap(),
    )
}

const INFO: &str = "gallery.properties.sharingProfile.communityGalleryInfo";

#[test]
fn creates() {
    let long = "a".repeat(80);
    let too_long = "a".repeat(81);
    let dash = "Gallery name is invalid. Allowed characters are English alphanumeric characters, with underscores, and periods allowed in the middle, up to 80 characters total. All other special characters, including dashes, are disallowed.";
    let rule = r"The entity name 'galleryName' is invalid according to its validation rule: ^[^_\W][\w-._]{0,79}(?<![-.])$.";
    let bad_name = || refused(Invalid, "InvalidResourceName", rule, Some("galleryName"));
    let table: Vec<(&str, &str, Value, Expect)> = vec![
        (
            "minimal",
            "gallery1",
            json!({ "location": "eastus" }),
            stored(json!({
            "/identifier/uniqueName": format!("{SUB}-GALLERY1"), "/sharingProfile": null, "/softDeletePolicy": null, "/@tags": null })),
        ),
        (
            "tags are echoed when empty",
            "g",
            json!({ "location": "East US", "tags": {} }),
            stored(json!({ "/@tags": {} })),
        ),
        ("longest name", &long, body(json!({})), stored(json!({}))),
        ("name too long", &too_long, body(json!({})), bad_name()),
        (
            "name with dash",
            "a-b",
            body(json!({})),
            invalid("galleryName", dash),
        ),
        (
            "name starts with underscore",
            "_a",
            body(json!({})),
            bad_name(),
        ),
        ("name ends with period", "a.", body(json!({})), bad_name()),
        (
            "name with other letters",
            "gàllery",
            body(json!({})),
            bad_name(),
        ),
        (
            "no location",
            "g",
            json!({}),
            refused(
                Invalid,
                "LocationRequired",
                "The location property is required",
                None,
            ),
        ),
        (
            "unknown location",
            "g",
            json!({ "location": "mars" }),
            refused(
                Invalid,
                "LocationNotAvailableForResourceType",
                "The provided location 'mars' is not available for resource type 'Microsoft.Compute/galleries'. List of available regions for the resource type is 'eastus,westus2,westeurope,northcentralus,lab1'.",
                None,
            ),
        ),
        (
            "display name of its own",
            "g",
            json!({ "location": "the lab (BERLIN)" }),
            stored(json!({})),
        ),
        (
            "identifier is read-only",
            "g",
            body(json!({ "identifier": { "uniqueName": "mine" } })),
            stored(json!({ "/identifier/uniqueName": format!("{SUB}-G") })),
        ),
        (
            "an empty sharing profile is no profile",
            "g",
            body(json!({ "sharingProfile": {} })),
            stored(json!({ "/sharingProfile": null })),
        ),
        (
            "an empty policy is no policy",
            "g",
            body(json!({ "softDeletePolicy": {} })),
            stored(json!({ "/softDeletePolicy": null })),
        ),
        (
            "permission words are canonical",
            "g",
            body(json!({ "sharingProfile": { "permissions": "groups" } })),
            stored(json!({ "/sharingProfile": { "permissions": "Groups" } })),
        ),
        (
            "groups are not set by PUT",
            "g",
            body(
                json!({ "sharingProfile": { "permissions": "Groups", "groups": [{ "type": "Subscriptions", "ids": [SUB] }] } }),
            ),
            stored(json!({ "/sharingProfile/groups": null })),
        ),
        (
            "unknown permission",
            "g",
            body(json!({ "sharingProfile": { "permissions": "World" } })),
            invalid(
                "gallery.properties.sharingProfile.permissions",
                "The value 'World' of parameter 'permissions' is invalid.",
            ),
        ),
        (
            "community",
            "g",
            community(json!({})),
            stored(json!({
            "/sharingProfile/communityGalleryInfo/communityGalleryEnabled": false,
            "/sharingProfile/communityGalleryInfo/publicNames": ["prefix-00000000-0000-0000-0000-000000000001"],
            "/sharingProfile/communityGalleryInfo/publisherUri": "puburi" })),
        ),
        (
            "community without its facts",
            "g",
            body(json!({ "sharingProfile": { "permissions": "Community" } })),
            missing(&format!("{INFO}.publisherUri")),
        ),
        (
            "community without contact",
            "g",
            community(json!({ "publisherContact": "" })),
            missing(&format!("{INFO}.publisherContact")),
        ),
        (
            "community without eula",
            "g",
            community(json!({ "eula": "" })),
            missing(&format!("{INFO}.eula")),
        ),
        (
            "community without prefix",
            "g",
            community(json!({ "publicNamePrefix": "" })),
            missing(&format!("{INFO}.publicNamePrefix")),
        ),
        (
            "short prefix",
            "g",
            community(json!({ "publicNamePrefix": "abcd" })),
            invalid(
                &format!("{INFO}.publicNamePrefix"),
                "The public name prefix must have 5 to 16",
            ),
        ),
        (
            "long prefix",
            "g",
            community(json!({ "publicNamePrefix": "a".repeat(17) })),
            invalid(
                &format!("{INFO}.publicNamePrefix"),
                "The public name prefix must have 5 to 16",
            ),
        ),
        (
            "prefix with dash",
            "g",
            community(json!({ "publicNamePrefix": "abc-def" })),
            invalid(
                &format!("{INFO}.publicNamePrefix"),
                "The public name prefix must have 5 to 16",
            ),
        ),
        (
            "policy",
            "g",
            body(
                json!({ "softDeletePolicy": { "isSoftDeleteEnabled": true, "retentionPeriodInDays": 30, "gracePeriodInDays": 7 } }),
            ),
            stored(json!({ "/softDeletePolicy/retentionPeriodInDays": 30 })),
        ),
        (
            "no retention",
            "g",
            body(json!({ "softDeletePolicy": { "retentionPeriodInDays": 0 } })),
            invalid(
                "gallery.properties.softDeletePolicy.retentionPeriodInDays",
                "The value 0 of parameter retentionPeriodInDays is out of range. The value must be between 1 and 365, inclusive.",
            ),
        ),
        (
            "negative grace",
            "g",
            body(json!({ "softDeletePolicy": { "gracePeriodInDays": -1 } })),
            invalid(
                "gallery.properties.softDeletePolicy.gracePeriodInDays",
                "The value -1 of parameter gracePeriodInDays is out of range.",
            ),
        ),
        (
            "identity",
            "g",
            json!({ "location": "eastus", "identity": { "type": "systemassigned", "principalId": "p" } }),
            stored(json!({ "/@top/identity": { "type": "SystemAssigned" } })),
        ),
        (
            "identity none is none",
            "g",
            json!({ "location": "eastus", "identity": { "type": "None" } }),
            stored(json!({ "/@top/identity": null })),
        ),
        (
            "unknown identity",
            "g",
            json!({ "location": "eastus", "identity": { "type": "Mine" } }),
            invalid(
                "gallery.identity.type",
                "The value 'Mine' of parameter 'type' is invalid.",
            ),
        ),
    ];
    for (name, gallery, body, expected) in table {
        check(
            name,
            World::default().put(&id(gallery), &body, None),
            &expected,
        );
    }
}

#[test]
fn updates() {
    let plain = made(json!({}));
    let groups = made(json!({ "sharingProfile": { "permissions": "Groups" } }));
    let mut reset = done(
        World::default()
            .put(&id("G.one"), &community(json!({})), None)
            .unwrap(),
    );
    let public = reset.clone();
    reset.properties["sharingProfile"]["permissions"] = json!("Private");
    let kept = made(
        json!({ "description": "d", "softDeletePolicy": { "isSoftDeleteEnabled": true, "retentionPeriodInDays": 30 } }),
    );
    let table: Vec<(&str, &Resource, Value, Expect)> = vec![
        (
            "omitted members stay",
            &kept,
            body(json!({ "identifier": {} })),
            stored(json!({
            "/description": "d", "/softDeletePolicy/isSoftDeleteEnabled": true, "/identifier/uniqueName": format!("{SUB}-G.ONE") })),
        ),
        (
            "a policy is turned off, its days stay",
            &kept,
            body(json!({ "softDeletePolicy": { "isSoftDeleteEnabled": false } })),
            stored(json!({
            "/softDeletePolicy": { "isSoftDeleteEnabled": false, "retentionPeriodInDays": 30 } })),
        ),
        (
            "description changes",
            &kept,
            body(json!({ "description": "e" })),
            stored(json!({ "/description": "e" })),
        ),
        (
            "location changes",
            &plain,
            json!({ "location": "westus2" }),
            refused(
                Conflict,
                "InvalidResourceLocation",
                "The resource 'G.one' already exists in location 'eastus' in resource group 'rg'. A resource with the same name cannot be created in location 'westus2'. Please select a new resource name.",
                None,
            ),
        ),
        (
            "location in the other form",
            &plain,
            json!({ "location": "EAST us" }),
            stored(json!({})),
        ),
        (
            "private becomes shared",
            &plain,
            body(json!({ "sharingProfile": { "permissions": "Groups" } })),
            stored(json!({ "/sharingProfile/permissions": "Groups" })),
        ),
        (
            "shared becomes private by reset only",
            &groups,
            body(json!({ "sharingProfile": { "permissions": "Private" } })),
            fixed("gallery.properties.sharingProfile.permissions"),
        ),
        (
            "shared becomes community by reset only",
            &groups,
            community(json!({})),
            fixed("gallery.properties.sharingProfile.permissions"),
        ),
        (
            "public stays public without its facts",
            &public,
            body(json!({ "sharingProfile": { "permissions": "Community" } })),
            stored(json!({
            "/sharingProfile/communityGalleryInfo/publicNames/0": "prefix-00000000-0000-0000-0000-000000000001" })),
        ),
        (
            "the contact changes",
            &public,
            body(
                json!({ "sharingProfile": { "communityGalleryInfo": { "publisherContact": "n" } } }),
            ),
            stored(json!({
            "/sharingProfile/communityGalleryInfo/publisherContact": "n", "/sharingProfile/communityGalleryInfo/eula": "eula" })),
        ),
        (
            "the prefix does not",
            &public,
            community(json!({ "publicNamePrefix": "other" })),
            fixed(&format!("{INFO}.publicNamePrefix")),
        ),
        (
            "after a reset another prefix and name",
            &reset,
            community(json!({ "publicNamePrefix": "other" })),
            stored(json!({
            "/sharingProfile/communityGalleryInfo/publicNames": ["other-00000000-0000-0000-0000-000000000001"] })),
        ),
    ];
    for (name, row, body, expected) in table {
        check(
            name,
            World::default().put(&id("G.one"), &body, Some(row)),
            &expected,
        );
        check(
            name,
            World::default().patch(&id("G.one"), &body, row),
            &expected,
        );
    }
}

#[test]
fn names_are_unique_in_the_subscription() {
    let claim = claims(&made(json!({}))).remove(0);
    assert_eq!(
        (claim.scope.as_str(), claim.key.as_str()),
        (format!("gallery:{SUB}").as_str(), "g.one")
    );
    assert_eq!(
        claim.taken.message,
        format!(
            "The gallery name G.one is not unique within the subscription {SUB}. Please pick another gallery name"
        )
    );
    assert_eq!(claim.taken.kind, Conflict);
}

#[test]
fn a_shared_gallery_is_reset_before_it_is_deleted() {
    let table = [
        (json!({}), true),
        (json!({ "permissions": "Groups" }), true),
        (
            json!({ "permissions": "Groups", "groups": [{ "type": "Subscriptions", "ids": ["a"] }] }),
            false,
        ),
        (
            json!({ "permissions": "Community", "communityGalleryInfo": { "communityGalleryEnabled": false } }),
            true,
        ),
        (
            json!({ "permissions": "Community", "communityGalleryInfo": { "communityGalleryEnabled": true } }),
            false,
        ),
    ];
    for (profile, may_go) in table {
        let mut row = made(json!({}));
        row.properties
            .insert("sharingProfile".to_owned(), profile.clone());
        assert_eq!(check_delete(&row).is_ok(), may_go, "{profile}");
    }
}

#[test]
fn policy_and_permissions_have_defaults() {
    let plain = made(json!({}));
    assert_eq!(permissions(&plain), "Private");
    let policy = soft_delete_policy(&plain);
    assert_eq!(
        (policy.is_enabled, policy.retention_days, policy.grace_days),
        (false, 7, 0)
    );
    let all = made(
        json!({ "softDeletePolicy": { "isSoftDeleteEnabled": true, "retentionPeriodInDays": 31, "gracePeriodInDays": 8 } }),
    );
    let policy = soft_delete_policy(&all);
    assert_eq!(
        (policy.is_enabled, policy.retention_days, policy.grace_days),
        (true, 31, 8)
    );
    assert_eq!(all.created_ms, NOW_MS);
}

#[test]
fn quotas_refuse_one_more_than_the_limit() {
    use domain::Kind;
    for (kind, most) in [
        (Kind::Gallery, 100),
        (Kind::Image, 1_000),
        (Kind::ImageVersion, 10_000),
    ] {
        assert_eq!(quota::limit(kind), Some(most));
        assert!(quota::check(kind, "eastus", most - 1, 1, most).is_ok());
        let error = quota::check(kind, "eastus", most - 1, 2, most).unwrap_err();
        let over = format!("and 2 more are over the maximum of {most}.");
        assert!(error.message.contains(&over), "{error}");
        let error = quota::check(kind, "eastus", most, 1, most).unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.kind),
            ("OperationNotAllowed", Conflict)
        );
    }
}
