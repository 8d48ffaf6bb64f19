//! The rules of managed disks as tables. Source: `API.md` 3.7, `WIRE.md` 4.5.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, missing, refused, stored};
use domain::ErrorKind::{Conflict, Invalid};
use domain::Resource;
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;
const C: &str = "disk.properties.creationData";

fn id() -> String {
    format!("{COMPUTE}/disks/d1")
}

fn empty(gib: i64) -> Value {
    json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": gib })
}

fn body(properties: Value) -> Value {
    json!({ "location": "eastus", "properties": properties })
}

fn from(creation: Value) -> Value {
    body(json!({ "creationData": creation }))
}

fn with_sku(sku: &str, gib: i64) -> Value {
    json!({ "location": "eastus", "sku": { "name": sku }, "properties": empty(gib) })
}

fn made(body: &Value) -> Resource {
    done(World::default().put(&id(), body, None).unwrap())
}

#[test]
fn creates() {
    let version = format!("{COMPUTE}/galleries/g/images/i/versions/1.0.0");
    let disk = format!("{COMPUTE}/disks/other");
    let image = |reference: Value| {
        from(json!({ "createOption": "FromImage", "galleryImageReference": reference }))
    };
    let bad_image = || {
        invalid(
            "imageReference",
            "The value of parameter imageReference is invalid.",
        )
    };
    let upload = |bytes: i64| from(json!({ "createOption": "Upload", "uploadSizeBytes": bytes }));
    let bytes = |value: i64| {
        invalid(
            &format!("{C}.uploadSizeBytes"),
            &format!("The value {value} of parameter uploadSizeBytes is out of range."),
        )
    };
    let set = format!("{COMPUTE}/diskEncryptionSets/e");
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "empty",
            with_sku("Premium_LRS", 10),
            stored(json!({
            "/@top/sku": { "name": "Premium_LRS", "tier": "Premium" }, "/diskSizeGB": 10, "/diskSizeBytes": 10 * GIB, "/diskState": "Unattached", "/tier": "P3",
            "/diskIOPSReadWrite": 120, "/diskMBpsReadWrite": 25, "/encryption": { "type": "EncryptionAtRestWithPlatformKey" }, "/networkAccessPolicy": "AllowAll",
            "/publicNetworkAccess": "Enabled", "/timeCreated": "2026-09-21T14:13:20.0000000+00:00", "/uniqueId": "00000000-0000-0000-0000-000000000001" })),
        ),
        (
            "without a sku",
            body(empty(1)),
            stored(json!({ "/@top/sku": { "name": "Standard_LRS", "tier": "Standard" } })),
        ),
        (
            "tf's empty texts",
            body(
                json!({ "creationData": { "createOption": "Empty", "performancePlus": false }, "diskSizeGB": 1, "osType": "", "hyperVGeneration": "", "encryption": { "type": "EncryptionAtRestWithPlatformKey" }, "optimizedForFrequentAttach": false }),
            ),
            stored(json!({
            "/osType": null, "/hyperVGeneration": null, "/optimizedForFrequentAttach": false, "/creationData/performancePlus": false })),
        ),
        (
            "no creation data",
            body(json!({ "diskSizeGB": 1 })),
            missing(C),
        ),
        (
            "no option",
            from(json!({})),
            missing(&format!("{C}.createOption")),
        ),
        (
            "unknown option",
            from(json!({ "createOption": "Wish" })),
            invalid(&format!("{C}.createOption"), "The value 'Wish'"),
        ),
        (
            "known but not served",
            from(json!({ "createOption": "Attach" })),
            invalid(
                &format!("{C}.createOption"),
                "The create option 'Attach' is not supported",
            ),
        ),
        (
            "empty without a size",
            from(json!({ "createOption": "Empty" })),
            missing("disk.properties.diskSizeGB"),
        ),
        (
            "no size",
            body(empty(0)),
            invalid(
                "disk.properties.diskSizeGB",
                "The value 0 of parameter diskSizeGB is out of range. The value must be between 1 and 32767, inclusive.",
            ),
        ),
        (
            "largest size",
            body(empty(32_767)),
            stored(json!({ "/diskSizeGB": 32_767 })),
        ),
        (
            "too large",
            body(empty(32_768)),
            invalid("disk.properties.diskSizeGB", "The value 32768"),
        ),
        (
            "negative size",
            body(empty(-1)),
            invalid("disk.properties.diskSizeGB", "The value -1"),
        ),
        (
            "from a version",
            image(json!({ "id": version })),
            stored(json!({ "/creationData/galleryImageReference/id": version })),
        ),
        (
            "from a data disk of a version",
            image(json!({ "id": version, "lun": 3 })),
            stored(json!({ "/creationData/galleryImageReference/lun": 3 })),
        ),
        (
            "from a negative number",
            image(json!({ "id": version, "lun": -1 })),
            bad_image(),
        ),
        (
            "from nothing",
            from(json!({ "createOption": "FromImage" })),
            missing(&format!("{C}.galleryImageReference")),
        ),
        (
            "from no id",
            image(json!({ "id": "" })),
            missing(&format!("{C}.galleryImageReference.id")),
        ),
        ("from a disk", image(json!({ "id": disk })), bad_image()),
        ("from text", image(json!({ "id": "image1" })), bad_image()),
        (
            "from two",
            image(
                json!({ "id": version, "communityGalleryImageId": "/CommunityGalleries/p/Images/i" }),
            ),
            bad_image(),
        ),
        (
            "from a shared image by the wrong door",
            image(json!({ "sharedGalleryImageId": "/CommunityGalleries/u/Images/i" })),
            bad_image(),
        ),
        (
            "import",
            from(
                json!({ "createOption": "Import", "sourceUri": "https://a/b.vhd", "storageAccountId": "acc" }),
            ),
            stored(json!({ "/creationData/storageAccountId": "acc" })),
        ),
        (
            "import of nothing",
            from(json!({ "createOption": "Import" })),
            missing(&format!("{C}.sourceUri")),
        ),
        (
            "copy",
            from(json!({ "createOption": "copy", "sourceResourceId": disk })),
            stored(json!({ "/creationData/createOption": "Copy" })),
        ),
        (
            "copy of nothing",
            from(json!({ "createOption": "Copy" })),
            missing(&format!("{C}.sourceResourceId")),
        ),
        (
            "copy of a version",
            from(json!({ "createOption": "Copy", "sourceResourceId": version })),
            invalid(
                &format!("{C}.sourceResourceId"),
                &format!("The source id: {version} must be a managed disk or snapshot."),
            ),
        ),
        (
            "upload",
            upload(32_213_303_808),
            stored(
                json!({ "/diskState": "ReadyToUpload", "/diskSizeGB": 31, "/diskSizeBytes": 32_213_303_296_u64 }),
            ),
        ),
        (
            "upload of nothing",
            from(json!({ "createOption": "Upload" })),
            missing(&format!("{C}.uploadSizeBytes")),
        ),
        (
            "smallest upload",
            upload(20_972_032),
            stored(json!({ "/diskSizeGB": 1 })),
        ),
        ("too small upload", upload(512), bytes(512)),
        ("odd upload", upload(20_972_033), bytes(20_972_033)),
        (
            "upload with the size that follows",
            body(
                json!({ "creationData": { "createOption": "Upload", "uploadSizeBytes": 20_972_032 }, "diskSizeGB": 1 }),
            ),
            stored(json!({ "/diskSizeBytes": 20_971_520 })),
        ),
        (
            "upload with another size",
            body(
                json!({ "creationData": { "createOption": "Upload", "uploadSizeBytes": 20_972_032 }, "diskSizeGB": 9 }),
            ),
            refused(
                Conflict,
                "OperationNotAllowed",
                "The disk d1 waits for its content.",
                Some("disk.properties.diskSizeGB"),
            ),
        ),
        (
            "words are canonical",
            body(
                json!({ "creationData": { "createOption": "empty" }, "diskSizeGB": 1, "osType": "linux", "hyperVGeneration": "v2", "networkAccessPolicy": "denyall", "publicNetworkAccess": "disabled" }),
            ),
            stored(json!({
            "/creationData/createOption": "Empty", "/osType": "Linux", "/hyperVGeneration": "V2", "/networkAccessPolicy": "DenyAll", "/publicNetworkAccess": "Disabled" })),
        ),
        (
            "unknown sku",
            with_sku("Floppy_LRS", 1),
            invalid("disk.sku.name", "The value 'Floppy_LRS'"),
        ),
        (
            "customer key without a set",
            body(
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "type": "EncryptionAtRestWithCustomerKey" } }),
            ),
            missing("disk.properties.encryption.diskEncryptionSetId"),
        ),
        (
            "unknown encryption",
            body(
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "type": "Rot13" } }),
            ),
            invalid("disk.properties.encryption.type", "The value 'Rot13'"),
        ),
        (
            "a set alone",
            body(
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "diskEncryptionSetId": set } }),
            ),
            stored(
                json!({ "/encryption": { "diskEncryptionSetId": set, "type": "EncryptionAtRestWithCustomerKey" } }),
            ),
        ),
        (
            "a set with the platform's key",
            body(
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "diskEncryptionSetId": set, "type": "EncryptionAtRestWithPlatformKey" } }),
            ),
            invalid(
                "disk.properties.encryption.diskEncryptionSetId",
                "A disk encryption set cannot be used",
            ),
        ),
        (
            "a set that is a disk",
            body(
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "diskEncryptionSetId": disk } }),
            ),
            invalid(
                "disk.properties.encryption.diskEncryptionSetId",
                "The value of parameter disk.properties.encryption.diskEncryptionSetId is invalid.",
            ),
        ),
        (
            "restored from a snapshot",
            from(
                json!({ "createOption": "Restore", "sourceResourceId": format!("{COMPUTE}/snapshots/s") }),
            ),
            stored(json!({ "/creationData/createOption": "Restore" })),
        ),
        (
            "terraform's copy",
            from(json!({ "createOption": "Copy", "sourceUri": disk })),
            stored(
                json!({ "/creationData": { "createOption": "Copy", "sourceUri": disk, "sourceResourceId": disk } }),
            ),
        ),
        (
            "a copy of a gallery",
            from(
                json!({ "createOption": "Copy", "sourceResourceId": format!("{COMPUTE}/galleries/g") }),
            ),
            invalid(&format!("{C}.sourceResourceId"), "The source id: "),
        ),
        (
            "zones",
            json!({ "location": "eastus", "zones": ["1"], "properties": empty(1) }),
            stored(json!({ "/@top/zones": ["1"] })),
        ),
        (
            "no zones",
            json!({ "location": "eastus", "zones": [], "properties": empty(1) }),
            stored(json!({ "/@top/zones": null })),
        ),
        (
            "no location",
            json!({ "properties": empty(1) }),
            refused(
                Invalid,
                "LocationRequired",
                "The location property is required",
                None,
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
    for (name, is_good) in [
        ("d", true),
        ("D_1.x-y", true),
        ("d_", true),
        ("-d", false),
        ("_d", false),
        ("d-", false),
        ("d.", false),
        ("dé", false),
    ] {
        let result =
            World::default().put(&format!("{COMPUTE}/disks/{name}"), &body(empty(1)), None);
        assert_eq!(result.is_ok(), is_good, "{name}");
    }
}

#[test]
fn the_secret_of_a_url_is_not_stored() {
    let import = |url: &str| {
        from(json!({ "createOption": "Import", "sourceUri": url, "storageAccountId": "acc" }))
    };
    let row = made(&import("https://a/b.vhd?sig=CANARY"));
    assert_eq!(
        row.properties["creationData"]["sourceUri"],
        "https://a/b.vhd"
    );
    for url in ["https://a/b.vhd?sig=CANARY", "https://a/b.vhd"] {
        let again = World::default()
            .put(&id(), &import(url), Some(&row))
            .unwrap();
        assert_eq!(again.properties, row.properties, "{url}");
    }
}

#[test]
fn skus_have_tiers_and_numbers() {
    for (sku, gib, tier, number, iops) in [
        ("Standard_LRS", 128, "Standard", json!(null), json!(500)),
        ("StandardSSD_LRS", 128, "Standard", json!(null), json!(500)),
        ("StandardSSD_ZRS", 128, "Standard", json!(null), json!(500)),
        ("Premium_LRS", 30, "Premium", json!("P4"), json!(120)),
        ("Premium_ZRS", 1024, "Premium", json!("P30"), json!(5000)),
        (
            "premium_lrs",
            32_767,
            "Premium",
            json!("P80"),
            json!(20_000),
        ),
        ("PremiumV2_LRS", 4, "Premium", json!(null), json!(null)),
        ("UltraSSD_LRS", 4, "Ultra", json!(null), json!(null)),
    ] {
        check(
            sku,
            World::default().put(&id(), &with_sku(sku, gib), None),
            &stored(json!({ "/@top/sku/tier": tier, "/tier": number, "/diskIOPSReadWrite": iops })),
        );
    }
}

#[test]
fn updates() {
    let row = made(
        &json!({ "location": "eastus", "sku": { "name": "Premium_LRS" }, "zones": ["1"], "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 10, "osType": "Linux", "hyperVGeneration": "V2" } }),
    );
    let mut odd = row.clone();
    odd.properties["diskSizeBytes"] = json!(10 * GIB - 512);
    let table: Vec<(&str, &Resource, Value, Expect)> = vec![
        (
            "nothing",
            &row,
            body(json!({})),
            stored(
                json!({ "/diskSizeGB": 10, "/@top/sku/name": "Premium_LRS", "/uniqueId": row.properties["uniqueId"] }),
            ),
        ),
        (
            "larger, with what az read before",
            &row,
            body(
                json!({ "diskSizeGB": 128, "diskIOPSReadWrite": 120, "diskMBpsReadWrite": 25, "tier": "P3" }),
            ),
            stored(json!({ "/diskSizeGB": 128, "/tier": "P10", "/diskIOPSReadWrite": 500 })),
        ),
        (
            "smaller",
            &row,
            body(json!({ "diskSizeGB": 9 })),
            invalid(
                "disk.properties.diskSizeGB",
                "Disks or snapshot cannot be resized down.",
            ),
        ),
        (
            "the same size keeps odd bytes",
            &odd,
            body(json!({ "diskSizeGB": 10 })),
            stored(json!({ "/diskSizeBytes": 10 * GIB - 512 })),
        ),
        (
            "another sku",
            &row,
            json!({ "location": "eastus", "sku": { "name": "Standard_LRS" } }),
            stored(
                json!({ "/tier": null, "/diskIOPSReadWrite": 500, "/@top/sku/tier": "Standard" }),
            ),
        ),
        (
            "another option",
            &row,
            from(json!({ "createOption": "Upload" })),
            fixed(&format!("{C}.createOption")),
        ),
        (
            "the same option",
            &row,
            from(json!({ "createOption": "EMPTY", "performancePlus": false })),
            stored(json!({ "/creationData": { "createOption": "Empty" } })),
        ),
        (
            "another source",
            &row,
            from(json!({ "createOption": "Empty", "sourceUri": "https://a/b" })),
            fixed(&format!("{C}.sourceUri")),
        ),
        (
            "another generation",
            &row,
            body(json!({ "hyperVGeneration": "V1" })),
            fixed("disk.properties.hyperVGeneration"),
        ),
        (
            "system",
            &row,
            body(json!({ "osType": "Windows" })),
            stored(json!({ "/osType": "Windows" })),
        ),
        (
            "policy",
            &row,
            body(json!({ "networkAccessPolicy": "DenyAll" })),
            stored(json!({ "/networkAccessPolicy": "DenyAll" })),
        ),
        (
            "other zones",
            &row,
            json!({ "location": "eastus", "zones": ["2"] }),
            fixed("disk.zones"),
        ),
        (
            "state is the server's",
            &row,
            body(
                json!({ "diskState": "ReadyToUpload", "uniqueId": "x", "timeCreated": "2001-01-01" }),
            ),
            stored(
                json!({ "/diskState": "Unattached", "/uniqueId": row.properties["uniqueId"], "/timeCreated": row.properties["timeCreated"] }),
            ),
        ),
        (
            "location",
            &row,
            json!({ "location": "westus2" }),
            refused(
                Conflict,
                "InvalidResourceLocation",
                "The resource 'd1' already exists",
                None,
            ),
        ),
    ];
    for (name, row, body, expected) in table {
        check(
            name,
            World::default().put(&id(), &body, Some(row)),
            &expected,
        );
        check(name, World::default().patch(&id(), &body, row), &expected);
    }
    let numbers = made(&with_sku("PremiumV2_LRS", 4));
    check(
        "sold by numbers",
        World::default().put(
            &id(),
            &body(json!({ "diskIOPSReadWrite": 4000 })),
            Some(&numbers),
        ),
        &stored(json!({ "/diskIOPSReadWrite": 4000 })),
    );
}

#[test]
fn tiers_are_chosen_above_the_sizes_own() {
    let premium = |tier: &str, gib: i64| {
        let mut body = with_sku("Premium_LRS", gib);
        body["properties"]["tier"] = json!(tier);
        body
    };
    let mut standard = premium("P30", 64);
    standard["sku"]["name"] = json!("Standard_LRS");
    let target = "disk.properties.tier";
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "its own",
            premium("P6", 64),
            stored(json!({ "/tier": "P6", "/diskIOPSReadWrite": 240 })),
        ),
        (
            "higher",
            premium("p30", 64),
            stored(json!({ "/tier": "P30", "/diskIOPSReadWrite": 5000 })),
        ),
        ("none", premium("", 64), stored(json!({ "/tier": "P6" }))),
        (
            "lower",
            premium("P4", 64),
            invalid(
                target,
                "The performance tier 'P4' is not possible for a disk of 64 GiB. Choose one from 'P6' to 'P50'.",
            ),
        ),
        (
            "for large disks only",
            premium("P60", 64),
            invalid(target, "The performance tier 'P60' is not possible"),
        ),
        (
            "of a large disk",
            premium("P80", 8192),
            stored(json!({ "/tier": "P80" })),
        ),
        (
            "unknown",
            premium("P7", 64),
            invalid(target, "The value 'P7' of parameter 'tier' is invalid."),
        ),
        (
            "of a standard disk",
            standard,
            invalid(
                target,
                "The performance tier 'P30' can only be set on disks of the types",
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
    let high = made(&premium("P30", 64));
    let grown = |gib: i64| {
        World::default().patch(
            &id(),
            &json!({ "properties": { "diskSizeGB": gib } }),
            &high,
        )
    };
    check(
        "a little larger",
        grown(128),
        &stored(json!({ "/tier": "P30" })),
    );
    check(
        "larger than the tier",
        grown(2048),
        &stored(json!({ "/tier": "P40" })),
    );
    let lower = json!({ "properties": { "tier": "P10" } });
    check(
        "back",
        World::default().patch(&id(), &lower, &high),
        &stored(json!({ "/tier": "P10", "/diskIOPSReadWrite": 500 })),
    );
}

#[test]
fn a_customers_key_is_never_given_up() {
    let set = |name: &str| format!("{COMPUTE}/diskEncryptionSets/{name}");
    let sent = |encryption: Value| json!({ "properties": { "encryption": encryption } });
    let plain = made(&body(empty(1)));
    let taken =
        sent(json!({ "diskEncryptionSetId": set("a"), "type": "EncryptionAtRestWithCustomerKey" }));
    let encrypted = done(World::default().patch(&id(), &taken, &plain).unwrap());
    assert_eq!(domain::disk::encryption_set(&plain), None);
    assert_eq!(
        domain::disk::encryption_set(&encrypted)
            .unwrap()
            .to_string(),
        set("a")
    );
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "another set",
            sent(json!({ "diskEncryptionSetId": set("b") })),
            stored(
                json!({ "/encryption/diskEncryptionSetId": set("b"), "/encryption/type": "EncryptionAtRestWithCustomerKey" }),
            ),
        ),
        (
            "both keys",
            sent(json!({ "type": "EncryptionAtRestWithPlatformAndCustomerKeys" })),
            stored(
                json!({ "/encryption/diskEncryptionSetId": set("a"), "/encryption/type": "EncryptionAtRestWithPlatformAndCustomerKeys" }),
            ),
        ),
        (
            "back",
            sent(json!({ "type": "EncryptionAtRestWithPlatformKey" })),
            fixed("disk.properties.encryption.type"),
        ),
        (
            "nothing said",
            json!({ "tags": {} }),
            stored(json!({ "/encryption/diskEncryptionSetId": set("a") })),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().patch(&id(), &body, &encrypted),
            &expected,
        );
    }
}
