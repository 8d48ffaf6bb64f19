//! The rules of snapshots as tables: where they differ from disks. Source: `API.md` 3.7, `WIRE.md` 4.5.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, missing, stored};
use domain::disk::{check_copy_source, check_readable, copy_source, take_source};
use domain::{Kind, Resource};
use serde_json::{Value, json};

const C: &str = "snapshot.properties.creationData";

fn id() -> String {
    format!("{COMPUTE}/snapshots/s1")
}

fn from(creation: Value) -> Value {
    json!({ "location": "eastus", "properties": { "creationData": creation } })
}

fn copy(id: &str) -> Value {
    from(json!({ "createOption": "Copy", "sourceResourceId": id }))
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body["properties"][name] = value;
    body
}

fn disk(location: &str) -> Resource {
    let body = json!({ "location": location, "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4,
        "osType": "Linux", "hyperVGeneration": "V2", "supportedCapabilities": { "architecture": "Arm64" } } });
    done(
        World::default()
            .put(&format!("{COMPUTE}/disks/d"), &body, None)
            .unwrap(),
    )
}

#[test]
fn creates() {
    let disk = format!("{COMPUTE}/disks/d");
    let snapshot = format!("{COMPUTE}/snapshots/s0");
    let sku = |name: &str| json!({ "location": "eastus", "sku": { "name": name }, "properties": copy(&disk)["properties"] });
    let start = || from(json!({ "createOption": "CopyStart", "sourceResourceId": snapshot }));
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "recorded copy",
            copy(&disk),
            stored(json!({
            "/@top/sku": { "name": "Standard_LRS", "tier": "Standard" }, "/incremental": false, "/diskState": "Unattached", "/diskSizeGB": null,
            "/encryption": { "type": "EncryptionAtRestWithPlatformKey" }, "/networkAccessPolicy": "AllowAll", "/publicNetworkAccess": "Enabled",
            "/uniqueId": "00000000-0000-0000-0000-000000000001", "/tier": null, "/diskIOPSReadWrite": null })),
        ),
        (
            "recorded empty",
            json!({ "location": "westus2", "tags": { "tag1": "s1" }, "sku": { "name": "Premium_LRS" },
            "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 } }),
            stored(
                json!({ "/@top/sku": { "name": "Premium_LRS", "tier": "Premium" }, "/diskSizeGB": 1, "/diskSizeBytes": 1 << 30, "/tier": null }),
            ),
        ),
        (
            "of a snapshot",
            copy(&snapshot),
            stored(json!({ "/creationData/sourceResourceId": snapshot })),
        ),
        (
            "terraform's copy",
            from(json!({ "createOption": "Copy", "sourceUri": disk })),
            stored(
                json!({ "/creationData/sourceResourceId": disk, "/creationData/sourceUri": disk }),
            ),
        ),
        (
            "incremental",
            with(copy(&disk), "incremental", json!(true)),
            stored(json!({ "/incremental": true })),
        ),
        (
            "upload",
            from(json!({ "createOption": "Upload", "uploadSizeBytes": 1024 + 512 })),
            stored(json!({ "/diskState": "ReadyToUpload", "/diskSizeBytes": 1024 })),
        ),
        (
            "zone redundant",
            sku("standard_zrs"),
            stored(json!({ "/@top/sku/name": "Standard_ZRS" })),
        ),
        (
            "a disk's sku",
            sku("UltraSSD_LRS"),
            invalid("snapshot.sku.name", "The value 'UltraSSD_LRS'"),
        ),
        (
            "copy of nothing",
            from(json!({ "createOption": "Copy" })),
            missing(&format!("{C}.sourceResourceId")),
        ),
        (
            "copy of a blob",
            from(json!({ "createOption": "Copy", "sourceUri": "https://h/blob/a/c/b" })),
            missing(&format!("{C}.sourceResourceId")),
        ),
        (
            "copy of an image",
            copy(&format!("{COMPUTE}/images/i")),
            invalid(&format!("{C}.sourceResourceId"), "The source id: "),
        ),
        (
            "import of nothing",
            from(json!({ "createOption": "Import" })),
            missing(&format!("{C}.sourceUri")),
        ),
        (
            "from an image",
            from(json!({ "createOption": "FromImage" })),
            invalid(
                &format!("{C}.createOption"),
                "The create option 'FromImage' is not supported by this service. Use Empty, Import, Upload, Copy, CopyStart.",
            ),
        ),
        (
            "across regions, full",
            start(),
            invalid(
                "snapshot.properties.incremental",
                "The create option 'CopyStart' makes incremental snapshots only.",
            ),
        ),
        (
            "across regions",
            with(start(), "incremental", json!(true)),
            stored(json!({ "/creationData/createOption": "CopyStart" })),
        ),
        (
            "across regions, of a disk",
            with(
                from(json!({ "createOption": "CopyStart", "sourceResourceId": disk })),
                "incremental",
                json!(true),
            ),
            invalid(&format!("{C}.sourceResourceId"), "The source id: "),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
}

#[test]
fn updates() {
    let mut row = done(
        World::default()
            .put(&id(), &copy(&format!("{COMPUTE}/disks/d")), None)
            .unwrap(),
    );
    domain::disk::set_size(&mut row, 4 << 30);
    let sent = |name: &str, value: Value| json!({ "properties": { name: value } });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "larger",
            sent("diskSizeGB", json!(8)),
            stored(json!({ "/diskSizeGB": 8 })),
        ),
        (
            "smaller",
            sent("diskSizeGB", json!(2)),
            invalid(
                "snapshot.properties.diskSizeGB",
                "Disks or snapshot cannot be resized down.",
            ),
        ),
        (
            "incremental",
            sent("incremental", json!(true)),
            fixed("snapshot.properties.incremental"),
        ),
        (
            "another source",
            sent(
                "creationData",
                json!({ "sourceResourceId": format!("{COMPUTE}/disks/e") }),
            ),
            fixed(&format!("{C}.sourceResourceId")),
        ),
        (
            "sku",
            json!({ "sku": { "name": "Standard_ZRS" } }),
            stored(json!({ "/@top/sku/name": "Standard_ZRS" })),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().patch(&id(), &body, &row), &expected);
    }
}

#[test]
fn a_copy_takes_over_the_words_of_its_source() {
    let source = disk("eastus");
    let body = with(copy(&source.id.to_string()), "incremental", json!(true));
    let mut row = World::default().put(&id(), &body, None).unwrap();
    assert_eq!(copy_source(&row), Some(source.id.clone()));
    take_source(&mut row, &source);
    for (at, value) in [
        ("/osType", json!("Linux")),
        ("/hyperVGeneration", json!("V2")),
        ("/supportedCapabilities/architecture", json!("Arm64")),
        (
            "/creationData/sourceUniqueId",
            source.properties["uniqueId"].clone(),
        ),
        (
            "/incrementalSnapshotFamilyId",
            source.properties["uniqueId"].clone(),
        ),
    ] {
        assert_eq!(json!(row.properties).pointer(at), Some(&value), "{at}");
    }
    let body = with(copy(&row.id.to_string()), "incremental", json!(true));
    let mut second = World::default()
        .put(&format!("{COMPUTE}/snapshots/s2"), &body, None)
        .unwrap();
    take_source(&mut second, &row);
    assert_eq!(
        second.properties["incrementalSnapshotFamilyId"],
        source.properties["uniqueId"]
    );
}

#[test]
fn copies_stay_in_their_region_and_need_content() {
    let far = disk("westus2");
    let near = disk("eastus");
    let row = World::default()
        .put(&id(), &copy(&near.id.to_string()), None)
        .unwrap();
    assert!(check_copy_source(&row, &near).is_ok());
    let error = check_copy_source(&row, &far).unwrap_err();
    assert_eq!(error.code, "BadRequest");
    assert!(
        error
            .message
            .contains("does not belong to the same region as the snapshot."),
        "{error}"
    );
    let mut waiting = near;
    domain::disk::set_state(&mut waiting, domain::disk::DiskState::ReadyToUpload);
    assert_eq!(
        check_copy_source(&row, &waiting).unwrap_err().code,
        "OperationNotAllowed"
    );
    assert_eq!(
        check_readable(&waiting).unwrap_err().code,
        "OperationNotAllowed"
    );
    assert_eq!(row.kind, Kind::Snapshot);
}
