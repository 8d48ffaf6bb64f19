//! What protects a version: keys, sharing, end of life, soft delete. Source: `API.md` 3.3, 4, 5.3, 8.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    COMPUTE, Expect, GROUP, NOW_MS, SUB, World, check, done, fixed, invalid, refused, stored,
};
use domain::ErrorKind::{Conflict, Invalid};
use domain::Resource;
use domain::image_version::{PutKind, check_delete, plan_restore, put_kind};
use serde_json::{Value, json};

const P: &str = "galleryImageVersion.properties";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn id() -> String {
    format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0")
}

fn with(storage: Value) -> Value {
    json!({ "location": "eastus", "properties": { "storageProfile": storage } })
}

fn blob(name: &str) -> Value {
    json!({ "uri": format!("https://localhost/a/c/{name}.vhd"), "storageAccountId": format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/a") })
}

fn disks(os: Value, data: Value) -> Value {
    with(json!({ "osDiskImage": { "source": os }, "dataDiskImages": data }))
}

fn made(storage: Value) -> Resource {
    let mut row = done(World::default().put(&id(), &with(storage), None).unwrap());
    row.properties["storageProfile"]["osDiskImage"]["sizeInGB"] = json!(30);
    row
}

fn definition(security: &str, plan: Value) -> Resource {
    let mut properties = json!({ "osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": { "publisher": "p", "offer": "o", "sku": "s" },
        "features": [{ "name": "SecurityType", "value": security }] });
    if plan.is_object() {
        properties["purchasePlan"] = plan;
    }
    let body = json!({ "location": "eastus", "properties": properties });
    done(
        World::default()
            .put(&format!("{COMPUTE}/galleries/g/images/d"), &body, None)
            .unwrap(),
    )
}

#[test]
fn uefi_settings_are_said_once() {
    let trusted = definition("TrustedLaunchSupported", Value::Null);
    let plain = definition("Standard", Value::Null);
    let settings = json!({ "signatureTemplateNames": ["NoSignatureTemplate"], "additionalSignatures": { "pk": { "type": "x509", "value": ["AA"] }, "db": [{ "type": "sha256", "value": ["BB"] }] } });
    let with = |settings: &Value| {
        let mut body = disks(blob("os"), json!([]));
        body["properties"]["securityProfile"] = json!({ "uefiSettings": settings });
        body
    };
    let target = format!("{P}.securityProfile.uefiSettings");
    let table: Vec<(&str, &Resource, Value, Expect)> = vec![
        (
            "kept",
            &trusted,
            with(&settings),
            stored(json!({ "/securityProfile/uefiSettings": settings })),
        ),
        (
            "empty",
            &plain,
            with(&json!({})),
            stored(json!({ "/securityProfile": null })),
        ),
        (
            "unknown template",
            &trusted,
            with(&json!({ "signatureTemplateNames": ["Mine"] })),
            invalid(
                &format!("{target}.signatureTemplateNames"),
                "The value 'Mine'",
            ),
        ),
        (
            "unknown key",
            &trusted,
            with(&json!({ "additionalSignatures": { "kek": [{ "type": "md5", "value": [] }] } })),
            invalid(
                &format!("{target}.additionalSignatures.type"),
                "The value 'md5'",
            ),
        ),
        (
            "not for plain images",
            &plain,
            with(&settings),
            invalid(&target, "UEFI settings are only supported"),
        ),
    ];
    for (name, parent, body, expected) in table {
        let world = World {
            parent: Some(parent),
            ..World::default()
        };
        check(name, world.put(&id(), &body, None), &expected);
    }
    let world = World {
        parent: Some(&trusted),
        ..World::default()
    };
    let row = done(world.put(&id(), &with(&settings), None).unwrap());
    let part = json!({ "location": "eastus", "properties": { "securityProfile": { "uefiSettings": { "signatureTemplateNames": ["NoSignatureTemplate"] } } } });
    check(
        "a part",
        world.put(&id(), &part, Some(&row)),
        &stored(json!({ "/securityProfile/uefiSettings": settings })),
    );
    let other = json!({ "location": "eastus", "properties": { "securityProfile": { "uefiSettings": { "signatureTemplateNames": ["MicrosoftWindowsTemplate"] } } } });
    check(
        "another",
        world.put(&id(), &other, Some(&row)),
        &fixed(&format!("{P}.securityProfile")),
    );
}

#[test]
fn encryption_is_checked_as_far_as_it_can_be() {
    let set = |name: &str| format!("{COMPUTE}/diskEncryptionSets/{name}");
    let target = |of: &str| {
        format!(
            "galleryArtifactVersion.properties.publishingProfile.targetRegions.encryption.{of}.diskEncryptionSetId"
        )
    };
    let body = |east: Value, west: Value| {
        let mut body = disks(
            blob("os"),
            json!([{ "lun": 0, "source": blob("d0") }, { "lun": 9, "source": blob("d9") }]),
        );
        body["properties"]["publishingProfile"] = json!({ "targetRegions": [{ "name": "eastus", "encryption": east }, { "name": "westus2", "encryption": west }] });
        body
    };
    let os = |id: String| json!({ "osDiskImage": { "diskEncryptionSetId": id } });
    let data = |luns: &[i64]| {
        let disks: Vec<Value> = luns
            .iter()
            .map(|lun| json!({ "lun": lun, "diskEncryptionSetId": set("d") }))
            .collect();
        json!({ "dataDiskImages": disks })
    };
    let luns = format!("{P}.publishingProfile.targetRegions.encryption.dataDiskImages");
    let other = "/subscriptions/22222222-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute/diskEncryptionSets/d".to_owned();
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "nothing asked",
            body(json!({ "osDiskImage": {} }), json!({})),
            stored(json!({ "/publishingProfile/targetRegions/0/encryption": null })),
        ),
        (
            "no id",
            body(os("des".into()), os("des".into())),
            invalid(
                &target("osDiskImage"),
                &format!(
                    "The value of parameter {} is invalid.",
                    target("osDiskImage")
                ),
            ),
        ),
        (
            "of another kind",
            body(os(format!("{COMPUTE}/disks/d")), json!({})),
            invalid(&target("osDiskImage"), "The value of parameter"),
        ),
        (
            "of another subscription",
            body(os(other.clone()), json!({})),
            invalid(
                &target("osDiskImage"),
                &format!(
                    "The disk encryption set '{other}' must be in the same subscription '{SUB}' as the gallery resource."
                ),
            ),
        ),
        (
            "of one region only",
            body(os(set("e")), json!({})),
            invalid(
                &target("osDiskImage"),
                &format!(
                    "A disk encryption set is required for disk 'osDiskImage.diskEncryptionSetId' in target region 'West US 2' since disk encryption set '{}' is used for the corresponding disk in region 'East US'",
                    set("e")
                ),
            ),
        ),
        (
            "of one region's data disk",
            body(data(&[0, 9]), data(&[0])),
            invalid(
                &target("dataDiskImages"),
                "A disk encryption set is required for disk 'LUN 9' in target region 'West US 2'",
            ),
        ),
        (
            "unknown number",
            body(data(&[1]), json!({})),
            invalid(
                &luns,
                "An invalid lun [1] was specified in encryption.dataDiskImages. The lun must be one of the following values ['0,9'].",
            ),
        ),
        (
            "number twice",
            body(data(&[0, 0]), json!({})),
            invalid(
                &luns,
                "Duplicate luns '0' were specified in target region 'East US' encryption.dataDiskImages.",
            ),
        ),
        (
            "unknown confidential type",
            body(
                json!({ "osDiskImage": { "securityProfile": { "confidentialVMEncryptionType": "Rot13" } } }),
                json!({}),
            ),
            invalid(
                &format!(
                    "{P}.publishingProfile.targetRegions.encryption.osDiskImage.securityProfile.confidentialVMEncryptionType"
                ),
                "The value 'Rot13'",
            ),
        ),
        (
            "of a blob",
            body(os(set("e")), os(set("w"))),
            invalid(
                &format!("{P}.storageProfile.source.id"),
                "Encryption is not supported for source resource 'https://",
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
}

fn gallery(permissions: &str, location: &str) -> Resource {
    let body = json!({ "location": location, "properties": { "sharingProfile": { "permissions": permissions, "communityGalleryInfo": {
        "publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "prefix" } } } });
    done(
        World::default()
            .put(&format!("{COMPUTE}/galleries/g"), &body, None)
            .unwrap(),
    )
}

#[test]
fn shared_galleries_keep_versions_at_home_and_readable() {
    for (permissions, location, is_good) in [
        ("Private", "eastus", true),
        ("Private", "westus2", true),
        ("Groups", "eastus", true),
        ("Groups", "westus2", false),
        ("Community", "eastus", true),
        ("Community", "westus2", false),
    ] {
        let gallery = gallery(permissions, location);
        let world = World {
            gallery: Some(&gallery),
            ..World::default()
        };
        let result = world.put(&id(), &disks(blob("os"), json!([])), None);
        assert_eq!(result.is_ok(), is_good, "{permissions} {location}");
        let row = made(json!({ "osDiskImage": { "source": blob("os") } }));
        assert!(
            world
                .put(
                    &id(),
                    &json!({ "location": "eastus", "tags": {} }),
                    Some(&row)
                )
                .is_ok(),
            "an older version of {permissions} can be changed"
        );
    }
    let shared = gallery("Groups", "eastus");
    let world = World {
        gallery: Some(&shared),
        ..World::default()
    };
    let mut body = disks(blob("os"), json!([]));
    body["properties"]["publishingProfile"] = json!({ "targetRegions": [{ "name": "eastus", "encryption": { "osDiskImage": { "diskEncryptionSetId": "/x" } } }] });
    check(
        "encrypted",
        world.put(&id(), &body, None),
        &invalid(
            &format!("{P}.publishingProfile.targetRegions.encryption"),
            "Encryption is not supported in a gallery whose sharing permission is 'Groups'.",
        ),
    );
}

#[test]
fn deletion_is_blocked_before_the_end_of_life() {
    let ends = json!("2027-01-01T00:00:00+00:00");
    let after = 1_798_761_600_000;
    for (block, ends, now_ms, may_go) in [
        (json!(true), ends.clone(), NOW_MS, false),
        (json!(true), ends.clone(), after - 1, false),
        (json!(true), ends.clone(), after, true),
        (json!(false), ends.clone(), NOW_MS, true),
        (json!(null), ends, NOW_MS, true),
        (json!(true), json!(null), NOW_MS, true),
    ] {
        let mut row = made(json!({ "osDiskImage": { "source": blob("os") } }));
        row.properties["safetyProfile"]["blockDeletionBeforeEndOfLife"] = block.clone();
        row.properties["publishingProfile"]["endOfLifeDate"] = ends.clone();
        let result = check_delete(&row, now_ms);
        assert_eq!(result.is_ok(), may_go, "{block} {ends} {now_ms}");
        if let Err(error) = result {
            let text = "Deletion of Gallery image version is not allowed because the image is enabled for blockDeletionBeforeEndOfLife and its endOfLifeDate has not reached yet";
            assert_eq!(
                (error.code.as_ref(), error.message.as_str()),
                ("DeleteGalleryImageVersionBlockedBeforeEndOfLife", text)
            );
        }
    }
}

#[test]
fn a_restore_is_told_by_its_body() {
    for (body, expected) in [
        (
            json!({ "location": "eastus", "tags": {} }),
            PutKind::Restore,
        ),
        (
            json!({ "location": "eastus", "properties": {} }),
            PutKind::Restore,
        ),
        (
            json!({ "location": "eastus", "properties": { "restore": true } }),
            PutKind::Restore,
        ),
        (
            json!({ "location": "eastus", "properties": { "restore": true, "safetyProfile": {} } }),
            PutKind::Restore,
        ),
        (
            json!({ "location": "eastus", "properties": { "restore": false } }),
            PutKind::Write,
        ),
        (disks(blob("os"), json!([])), PutKind::Write),
    ] {
        assert_eq!(put_kind(&body), expected, "{body}");
    }
}

#[test]
fn a_restore_is_at_home_and_in_time() {
    let mut hidden = made(json!({ "osDiskImage": { "source": blob("os") } }));
    hidden.tags = Some(json!({ "a": "b" }).as_object().unwrap().clone());
    hidden.deleted_ms = Some(NOW_MS);
    let mut kept = gallery("Private", "eastus");
    kept.properties.insert(
        "softDeletePolicy".to_owned(),
        json!({ "isSoftDeleteEnabled": true, "retentionPeriodInDays": 30, "gracePeriodInDays": 7 }),
    );
    let at = |location: &str| json!({ "location": location });
    let over = || {
        refused(
            Conflict,
            "OperationNotAllowed",
            "The time in which the image version '1.0.0' can be restored is over.",
            None,
        )
    };
    let home = || {
        invalid(
            "galleryImageVersion.location",
            "A soft-deleted image version can only be restored in its own location 'eastus'.",
        )
    };
    let table: Vec<(&str, Value, i64, Expect)> = vec![
        (
            "at once",
            at("eastus"),
            NOW_MS,
            stored(
                json!({ "/@tags": { "a": "b" }, "/storageProfile": hidden.properties["storageProfile"] }),
            ),
        ),
        ("by display name", at("East US"), NOW_MS, stored(json!({}))),
        (
            "with tags",
            json!({ "location": "eastus", "tags": {} }),
            NOW_MS,
            stored(json!({ "/@tags": {} })),
        ),
        ("elsewhere", at("westus2"), NOW_MS, home()),
        (
            "nowhere",
            json!({}),
            NOW_MS,
            refused(
                Invalid,
                "LocationRequired",
                "The location property is required",
                None,
            ),
        ),
        (
            "in grace",
            at("eastus"),
            NOW_MS + 37 * DAY_MS - 1,
            stored(json!({})),
        ),
        ("too late", at("eastus"), NOW_MS + 37 * DAY_MS, over()),
    ];
    for (name, body, now_ms, expected) in table {
        check(
            name,
            plan_restore(now_ms, &body, &hidden, Some(&kept)),
            &expected,
        );
    }
    let plain = gallery("Private", "eastus");
    check(
        "seven days",
        plan_restore(NOW_MS + 7 * DAY_MS, &at("eastus"), &hidden, Some(&plain)),
        &over(),
    );
}
