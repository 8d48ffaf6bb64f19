//! Rules of applications, scripts and access control profiles, and of their versions.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, missing, refused, stored};
use domain::artifact::{files, target_regions};
use domain::{ErrorKind, Kind, ProvisioningState, Resource, ResourceId};
use serde_json::{Value, json};

const APPLICATION: &str = "galleryApplication.properties";
const VERSION: &str = "galleryApplicationVersion.properties.publishingProfile";
const SCRIPT: &str = "galleryScriptVersion.properties.publishingProfile.source";
const PROFILE: &str = "galleryInVMAccessControlProfileVersion.properties";
const LINK: &str = "https://account.blob.core.windows.net/packages/app.zip";

fn world() -> World<'static> {
    World {
        api_version: "2025-03-03",
        ..World::default()
    }
}

fn id(rest: &str) -> String {
    format!("{COMPUTE}/galleries/g/{rest}")
}

fn put(rest: &str, properties: &Value, held: Option<&Resource>) -> domain::Result<Resource> {
    let body = json!({ "location": "eastus", "properties": properties });
    world().put(&id(rest), &body, held)
}

/// A version's properties: the least, changed as said.
fn version(other: Value) -> Value {
    let mut profile = json!({
        "source": { "mediaLink": LINK },
        "manageActions": { "install": "./install", "remove": "./remove" },
    });
    for (name, value) in other.as_object().into_iter().flatten() {
        profile[name] = value.clone();
    }
    json!({ "publishingProfile": profile })
}

#[test]
fn applications_name_their_system_once() {
    let rest = "applications/app";
    let held = done(put(rest, &json!({ "supportedOSType": "linux" }), None).unwrap());
    assert_eq!(held.state, ProvisioningState::Succeeded);
    let rows: Vec<(&str, &str, Value, bool, Expect)> = vec![
        (
            "least",
            rest,
            json!({ "supportedOSType": "linux" }),
            false,
            stored(json!({ "/supportedOSType": "Linux" })),
        ),
        (
            "no system",
            rest,
            json!({}),
            false,
            missing(&format!("{APPLICATION}.supportedOSType")),
        ),
        (
            "unknown system",
            rest,
            json!({ "supportedOSType": "BeOS" }),
            false,
            invalid(
                &format!("{APPLICATION}.supportedOSType"),
                "The value 'BeOS'",
            ),
        ),
        (
            "a bad name",
            "applications/_app",
            json!({ "supportedOSType": "Linux" }),
            false,
            refused(
                ErrorKind::Invalid,
                "InvalidResourceName",
                "The entity name 'galleryApplicationName'",
                Some("galleryApplicationName"),
            ),
        ),
        (
            "an end that is over",
            rest,
            json!({ "supportedOSType": "Linux", "endOfLifeDate": "2020-01-01T00:00:00+00:00" }),
            false,
            invalid(
                &format!("{APPLICATION}.endOfLifeDate"),
                "EndOfLifeDate must be set to a future date.",
            ),
        ),
        (
            "another system",
            rest,
            json!({ "supportedOSType": "Windows" }),
            true,
            fixed(&format!("{APPLICATION}.supportedOSType")),
        ),
        (
            "a description",
            rest,
            json!({ "description": "d" }),
            true,
            stored(json!({ "/description": "d", "/supportedOSType": "Linux" })),
        ),
        (
            "actions",
            rest,
            json!({ "customActions": [{ "name": "a", "script": "s", "parameters": [{ "name": "p", "type": "logoutputblob" }] }] }),
            true,
            stored(json!({ "/customActions/0/parameters/0/type": "LogOutputBlob" })),
        ),
        (
            "an action without script",
            rest,
            json!({ "customActions": [{ "name": "a" }] }),
            true,
            missing(&format!("{APPLICATION}.customActions.script")),
        ),
        (
            "an action twice",
            rest,
            json!({ "customActions": [{ "name": "a", "script": "s" }, { "name": "A", "script": "s" }] }),
            true,
            invalid(
                &format!("{APPLICATION}.customActions.name"),
                "The name 'A' is there more than once.",
            ),
        ),
    ];
    for (name, rest, properties, is_change, expected) in rows {
        let held = Some(&held).filter(|_| is_change);
        check(name, put(rest, &properties, held), &expected);
    }
}

#[test]
fn galleries_that_others_see_hold_no_applications() {
    for permissions in ["Groups", "Community"] {
        let mut gallery = Resource::new(
            ResourceId::parse(&id("")).unwrap(),
            Kind::Gallery,
            "eastus",
            0,
        );
        gallery.properties.insert(
            "sharingProfile".to_owned(),
            json!({ "permissions": permissions }),
        );
        let world = World {
            parent: Some(&gallery),
            ..world()
        };
        let body = json!({ "location": "eastus", "properties": { "supportedOSType": "Linux" } });
        let expected = refused(
            ErrorKind::Conflict,
            "OperationNotAllowed",
            "VM applications are not supported",
            None,
        );
        check(
            permissions,
            world.put(&id("applications/a"), &body, None),
            &expected,
        );
        check(
            "a script",
            world.put(&id("scripts/a"), &body, None),
            &stored(json!({})),
        );
    }
}

#[test]
fn versions_are_checked_as_a_table_says() {
    let rest = "applications/app/versions/1.0.0";
    let held = done(
        put(
            rest,
            &version(json!({ "settings": { "packageFileName": "p" } })),
            None,
        )
        .unwrap(),
    );
    let long = "x".repeat(4097);
    let rows: Vec<(&str, &str, Value, bool, Expect)> = vec![
        (
            "least",
            rest,
            version(json!({})),
            false,
            stored(json!({
                "/publishingProfile/enableHealthCheck": false,
                "/publishingProfile/targetRegions/0/name": "East US",
                "/publishingProfile/targetRegions/0/regionalReplicaCount": 1,
                "/publishingProfile/replicaCount": 1,
                "/publishingProfile/excludeFromLatest": false,
                "/safetyProfile/allowDeletionOfReplicatedLocations": false,
            })),
        ),
        (
            "a SAS is not kept",
            rest,
            version(json!({ "source": { "mediaLink": format!("{LINK}?sv=1&sig=s") } })),
            false,
            stored(json!({ "/publishingProfile/source/mediaLink": LINK })),
        ),
        (
            "no source",
            rest,
            json!({ "publishingProfile": {} }),
            false,
            missing(&format!("{VERSION}.source")),
        ),
        (
            "no link",
            rest,
            version(json!({ "source": {} })),
            false,
            missing(&format!("{VERSION}.source.mediaLink")),
        ),
        (
            "a link elsewhere",
            rest,
            version(json!({ "source": { "mediaLink": "ftp://h/x" } })),
            false,
            invalid(
                &format!("{VERSION}.source.mediaLink"),
                "The link 'ftp://h/x' is invalid.",
            ),
        ),
        (
            "no removal",
            rest,
            version(json!({ "manageActions": { "install": "i" } })),
            false,
            missing(&format!("{VERSION}.manageActions.remove")),
        ),
        (
            "a long command",
            rest,
            version(json!({ "manageActions": { "install": long, "remove": "r" } })),
            false,
            invalid(
                &format!("{VERSION}.manageActions.install"),
                "The value of parameter 'install' has 4097 characters",
            ),
        ),
        (
            "a bad name",
            "applications/app/versions/1.0",
            version(json!({})),
            false,
            invalid(
                "galleryApplicationVersionName",
                "The gallery application version name is invalid.",
            ),
        ),
        (
            "encryption",
            rest,
            version(
                json!({ "targetRegions": [{ "name": "eastus", "encryption": { "osDiskImage": { "diskEncryptionSetId": "/x" } } }] }),
            ),
            false,
            invalid(
                &format!("{VERSION}.targetRegions.encryption"),
                "Gallery application version resources currently don't support encryption.",
            ),
        ),
        (
            "not at home",
            rest,
            version(json!({ "targetRegions": [{ "name": "westus2" }] })),
            false,
            invalid(
                &format!("{VERSION}.targetRegions"),
                "Gallery application version publishing profile regions West US 2 must contain the location of gallery application version",
            ),
        ),
        (
            "a region twice",
            rest,
            version(json!({ "targetRegions": [{ "name": "eastus" }, { "name": "East US" }] })),
            false,
            invalid(&format!("{VERSION}.targetRegions"), "Duplicate regions"),
        ),
        (
            "after a reboot",
            rest,
            version(json!({ "settings": { "scriptBehaviorAfterReboot": "rerun" } })),
            false,
            stored(json!({ "/publishingProfile/settings/scriptBehaviorAfterReboot": "Rerun" })),
        ),
        (
            "only tags",
            rest,
            json!({ "publishingProfile": { "source": { "mediaLink": LINK } } }),
            true,
            stored(
                json!({ "/publishingProfile/manageActions/install": "./install", "/publishingProfile/settings/packageFileName": "p" }),
            ),
        ),
        (
            "another link",
            rest,
            json!({ "publishingProfile": { "source": { "mediaLink": "https://other" } } }),
            true,
            fixed(&format!("{VERSION}.source.mediaLink")),
        ),
        (
            "another command",
            rest,
            version(json!({ "manageActions": { "install": "other", "remove": "./remove" } })),
            true,
            fixed(&format!("{VERSION}.manageActions.install")),
        ),
        (
            "more regions",
            rest,
            version(
                json!({ "targetRegions": [{ "name": "eastus" }, { "name": "westus2", "regionalReplicaCount": 2 }], "enableHealthCheck": true }),
            ),
            true,
            stored(
                json!({ "/publishingProfile/targetRegions/1/name": "West US 2", "/publishingProfile/enableHealthCheck": true }),
            ),
        ),
    ];
    for (name, rest, properties, is_change, expected) in rows {
        let held = Some(&held).filter(|_| is_change);
        check(name, put(rest, &properties, held), &expected);
    }
    let wide = done(
        put(
            rest,
            &version(json!({ "targetRegions": [{ "name": "eastus" }, { "name": "westus2" }] })),
            Some(&held),
        )
        .unwrap(),
    );
    let expected = refused(
        ErrorKind::Invalid,
        "BadRequest",
        "Complete set of target locations not specified while updating gallery artifact '1.0.0' and type 'GalleryApplicationVersion'.",
        None,
    );
    check(
        "fewer regions",
        put(
            rest,
            &version(json!({ "targetRegions": [{ "name": "eastus" }] })),
            Some(&wide),
        ),
        &expected,
    );
}

#[test]
fn members_stand_in_the_recorded_order() {
    let made = put("applications/app/versions/1.0.0", &version(json!({})), None).unwrap();
    let Value::Object(profile) = &made.properties["publishingProfile"] else {
        panic!("an object")
    };
    let names: Vec<&str> = profile.keys().map(String::as_str).take(4).collect();
    assert_eq!(
        names,
        [
            "source",
            "manageActions",
            "enableHealthCheck",
            "targetRegions"
        ]
    );
}

#[test]
fn a_version_names_its_files() {
    let source = json!({ "source": { "mediaLink": LINK, "defaultConfigurationLink": format!("{LINK}.json?sig=1") } });
    let made = put("applications/app/versions/1.0.0", &version(source), None).unwrap();
    let slots: Vec<(&str, String)> = files(&made).into_iter().map(|f| (f.slot, f.url)).collect();
    assert_eq!(
        slots,
        [
            ("package", LINK.to_owned()),
            ("configuration", format!("{LINK}.json"))
        ]
    );
    let file = &files(&made)[0];
    for (size, is_fit) in [
        (0, false),
        (1, true),
        (2 << 30, true),
        ((2 << 30) + 1, false),
    ] {
        assert_eq!(
            domain::artifact::check_file_size(file, size).is_ok(),
            is_fit,
            "{size}"
        );
    }
}

#[test]
fn parameters_of_scripts_have_names_and_known_types() {
    let with = |parameters: Value| json!({ "publishingProfile": { "source": { "scriptLink": LINK, "parameters": parameters } } });
    for (name, parameters, expected) in [
        (
            "fine",
            json!([{ "name": "p", "type": "int" }]),
            stored(json!({ "/publishingProfile/source/parameters/0/type": "Int" })),
        ),
        (
            "no name",
            json!([{ "type": "Int" }]),
            missing(&format!("{SCRIPT}.parameters.name")),
        ),
        (
            "no values",
            json!([{ "name": "p", "type": "Enum" }]),
            missing(&format!("{SCRIPT}.parameters.enumValues")),
        ),
        (
            "unknown type",
            json!([{ "name": "p", "type": "Date" }]),
            invalid(&format!("{SCRIPT}.parameters.type"), "The value 'Date'"),
        ),
    ] {
        check(
            name,
            put("scripts/s/versions/1.0.0", &with(parameters), None),
            &expected,
        );
    }
    let none = put(
        "scripts/s/versions/1.0.0",
        &json!({ "publishingProfile": {} }),
        None,
    );
    check("no link", none, &missing(SCRIPT));
}

#[test]
fn rules_of_profiles_name_what_is_there() {
    let rest = "inVMAccessControlProfiles/p/versions/1.0.0";
    let with = |other: Value| {
        let mut all = json!({ "mode": "enforce", "defaultAccess": "allow" });
        for (name, value) in other.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    };
    let rules = |role: &str, privilege: &str, identity: &str| {
        with(json!({ "rules": {
            "privileges": [{ "name": "read", "path": "/machine" }],
            "roles": [{ "name": "reader", "privileges": [privilege] }],
            "identities": [{ "name": "agent", "userName": "root" }],
            "roleAssignments": [{ "role": role, "identities": [identity] }],
        } }))
    };
    for (name, properties, expected) in [
        (
            "least",
            with(json!({})),
            stored(
                json!({ "/mode": "Enforce", "/defaultAccess": "Allow", "/targetLocations/0/name": "East US", "/publishingProfile": null }),
            ),
        ),
        (
            "no mode",
            json!({ "defaultAccess": "Deny" }),
            missing(&format!("{PROFILE}.mode")),
        ),
        (
            "unknown access",
            json!({ "mode": "Audit", "defaultAccess": "Maybe" }),
            invalid(&format!("{PROFILE}.defaultAccess"), "The value 'Maybe'"),
        ),
        (
            "rules",
            rules("Reader", "READ", "agent"),
            stored(json!({ "/rules/roles/0/name": "reader" })),
        ),
        (
            "unknown role",
            rules("writer", "read", "agent"),
            invalid(
                &format!("{PROFILE}.rules.roleAssignments.role"),
                "The name 'writer'",
            ),
        ),
        (
            "unknown privilege",
            rules("reader", "write", "agent"),
            invalid(
                &format!("{PROFILE}.rules.roles.privileges"),
                "The name 'write'",
            ),
        ),
        (
            "unknown identity",
            rules("reader", "read", "other"),
            invalid(
                &format!("{PROFILE}.rules.roleAssignments.identities"),
                "The name 'other'",
            ),
        ),
        (
            "not at home",
            with(json!({ "targetLocations": [{ "name": "westus2" }] })),
            invalid(
                &format!("{PROFILE}.targetLocations"),
                "Gallery in vm access control profile version",
            ),
        ),
    ] {
        check(name, put(rest, &properties, None), &expected);
    }
    let held = done(
        put(
            rest,
            &with(json!({ "targetLocations": [{ "name": "eastus" }, { "name": "westus2" }] })),
            None,
        )
        .unwrap(),
    );
    assert_eq!(
        target_regions(&held, &common::regions()),
        ["eastus", "westus2"]
    );
    let fewer = put(
        rest,
        &with(json!({ "mode": "Audit", "targetLocations": [{ "name": "eastus" }] })),
        Some(&held),
    )
    .unwrap();
    assert_eq!(target_regions(&fewer, &common::regions()), ["eastus"]);
    assert_eq!(
        fewer.properties["publishedDate"],
        held.properties["publishedDate"]
    );
}
