//! The rules of managed images and disk encryption sets as tables. Source: `API.md` 3.6, 5.3.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, SUB, World, check, done, fixed, invalid, missing, regions, stored};
use domain::managed_image::{DiskSource, disks, set_captured, set_size};
use domain::{Resource, disk_encryption_set};
use serde_json::{Value, json};

fn id() -> String {
    format!("{COMPUTE}/images/i")
}

fn set_id(name: &str) -> String {
    format!("{COMPUTE}/diskEncryptionSets/{name}")
}

fn os(source: Value) -> Value {
    let mut disk = json!({ "osType": "linux", "osState": "generalized" });
    for (name, value) in source.as_object().unwrap() {
        disk[name] = value.clone();
    }
    disk
}

fn blob(name: &str) -> Value {
    json!({ "blobUri": format!("https://h/blob/a/c/{name}.vhd") })
}

fn body(os: Value, data: Value) -> Value {
    json!({ "location": "eastus", "properties": { "hyperVGeneration": "V1", "storageProfile": { "osDisk": os, "dataDisks": data } } })
}

#[test]
fn images() {
    let snapshot = json!({ "snapshot": { "id": format!("{COMPUTE}/snapshots/s") } });
    let disk = json!({ "managedDisk": { "id": format!("{COMPUTE}/disks/d") } });
    let without = |mut body: Value, name: &str| {
        body["properties"].as_object_mut().unwrap().remove(name);
        body
    };
    let from_machine = |source: &str, more: Value| {
        let mut properties =
            json!({ "sourceVirtualMachine": { "id": format!("{COMPUTE}/{source}") } });
        properties
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "location": "eastus", "properties": properties })
    };
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "from a blob",
            body(os(blob("os")), json!([])),
            stored(json!({
            "/storageProfile/osDisk": { "osType": "Linux", "osState": "Generalized", "blobUri": "https://h/blob/a/c/os.vhd", "caching": "ReadWrite" },
            "/storageProfile/dataDisks": [], "/hyperVGeneration": "V1" })),
        ),
        (
            "recorded: a blob without a generation",
            without(body(os(blob("os")), json!([])), "hyperVGeneration"),
            missing("hyperVGeneration"),
        ),
        (
            "a snapshot without a generation",
            without(body(os(snapshot.clone()), json!([])), "hyperVGeneration"),
            stored(json!({ "/hyperVGeneration": null })),
        ),
        (
            "a disk and data",
            body(
                os(disk.clone()),
                json!([{ "lun": 3, "snapshot": snapshot["snapshot"] }]),
            ),
            stored(json!({ "/storageProfile/dataDisks/0/caching": "None" })),
        ),
        (
            "a secret in a URL",
            body(os(json!({ "blobUri": "https://h/b.vhd?sig=x" })), json!([])),
            stored(json!({ "/storageProfile/osDisk/blobUri": "https://h/b.vhd" })),
        ),
        (
            "two sources",
            body(
                os(json!({ "blobUri": "https://h/b.vhd", "snapshot": snapshot["snapshot"] })),
                json!([]),
            ),
            invalid("osDisk", "The disk must have exactly one source"),
        ),
        (
            "no source",
            body(os(json!({})), json!([])),
            invalid("osDisk", "The disk must have exactly one source"),
        ),
        (
            "a disk that is a snapshot",
            body(
                os(json!({ "managedDisk": snapshot["snapshot"] })),
                json!([]),
            ),
            invalid("osDisk.managedDisk.id", "The value '"),
        ),
        (
            "no system",
            body(
                json!({ "osState": "Generalized", "blobUri": "https://h/b.vhd" }),
                json!([]),
            ),
            missing("osDisk.osType"),
        ),
        (
            "no state",
            body(
                json!({ "osType": "Linux", "blobUri": "https://h/b.vhd" }),
                json!([]),
            ),
            missing("osDisk.osState"),
        ),
        (
            "no profile",
            without(body(os(blob("os")), json!([])), "storageProfile"),
            missing("storageProfile"),
        ),
        (
            "a number twice",
            body(
                os(blob("os")),
                json!([{ "lun": 0, "blobUri": "https://h/1.vhd" }, { "lun": 0, "blobUri": "https://h/2.vhd" }]),
            ),
            invalid("dataDisk.lun", "A disk at LUN 0"),
        ),
        (
            "no number",
            body(os(blob("os")), json!([{ "blobUri": "https://h/1.vhd" }])),
            missing("dataDisk.lun"),
        ),
        (
            "from a machine: its disks are filled in where the catalog is",
            from_machine("virtualMachines/vm1", json!({})),
            stored(json!({ "/sourceVirtualMachine/id": format!("{COMPUTE}/virtualMachines/vm1") })),
        ),
        (
            "from a machine, and disks",
            from_machine(
                "virtualMachines/vm1",
                json!({ "storageProfile": { "osDisk": os(blob("os")) } }),
            ),
            invalid(
                "storageProfile",
                "Parameter 'storageProfile' is not allowed together with 'sourceVirtualMachine'.",
            ),
        ),
        (
            "from what is no machine",
            from_machine("disks/d", json!({})),
            invalid("sourceVirtualMachine.id", "The value '"),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
}

#[test]
fn images_stay_what_they_are() {
    let mut row = done(
        World::default()
            .put(
                &id(),
                &body(
                    os(blob("os")),
                    json!([{ "lun": 1, "blobUri": "https://h/d.vhd" }]),
                ),
                None,
            )
            .unwrap(),
    );
    let found: Vec<(String, DiskSource)> = disks(&row)
        .into_iter()
        .map(|d| (d.slot, d.source))
        .collect();
    assert_eq!(
        found[0],
        (
            "os".to_owned(),
            DiskSource::Blob("https://h/blob/a/c/os.vhd".to_owned())
        )
    );
    assert_eq!(found[1].0, "lun:1");
    set_size(&mut row, "os", 30 << 30);
    set_size(&mut row, "lun:1", 10 << 30);
    set_captured(&mut row);
    assert_eq!(
        json!(row.properties).pointer("/storageProfile/dataDisks/0/diskSizeGB"),
        Some(&json!(10))
    );
    let sent = |properties: Value| json!({ "properties": properties });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "tags",
            json!({ "tags": { "a": "b" } }),
            stored(json!({ "/@tags": { "a": "b" } })),
        ),
        (
            "generation",
            sent(json!({ "hyperVGeneration": "V2" })),
            fixed("hyperVGeneration"),
        ),
        (
            "another blob",
            sent(json!({ "storageProfile": { "osDisk": { "blobUri": "https://h/other.vhd" } } })),
            fixed("osDisk.blobUri"),
        ),
        (
            "another disk",
            sent(json!({ "storageProfile": { "dataDisks": [{ "lun": 2 }] } })),
            fixed("dataDisks.lun"),
        ),
        (
            "a machine",
            sent(json!({ "sourceVirtualMachine": { "id": "/x" } })),
            fixed("sourceVirtualMachine"),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().patch(&id(), &body, &row), &expected);
    }
}

fn set(location: &str, subscription: &str) -> Resource {
    let body = json!({ "location": location, "properties": { "activeKey": { "keyUrl": "https://v/keys/k/1" } } });
    let id = set_id("e").replace(SUB, subscription);
    done(World::default().put(&id, &body, None).unwrap())
}

#[test]
fn encryption_sets() {
    let key = |url: &str| json!({ "activeKey": { "keyUrl": url } });
    let body = |properties: Value| json!({ "location": "eastus", "identity": { "type": "systemAssigned" }, "properties": properties });
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "recorded",
            body(key("https://v/keys/k/1")),
            stored(json!({
            "/@top/identity": { "type": "SystemAssigned", "principalId": "00000000-0000-0000-0000-000000000001" },
            "/encryptionType": "EncryptionAtRestWithCustomerKey", "/activeKey/keyUrl": "https://v/keys/k/1" })),
        ),
        (
            "without a key",
            body(json!({})),
            missing("diskEncryptionSet.properties.activeKey"),
        ),
        (
            "without a URL",
            body(json!({ "activeKey": { "sourceVault": { "id": "/v" } } })),
            missing("diskEncryptionSet.properties.activeKey.keyUrl"),
        ),
        (
            "no URL",
            body(key("k")),
            invalid(
                "diskEncryptionSet.properties.activeKey.keyUrl",
                "The key URL 'k' is invalid.",
            ),
        ),
        (
            "unknown type",
            body(json!({ "activeKey": { "keyUrl": "https://v/k" }, "encryptionType": "Rot13" })),
            invalid(
                "diskEncryptionSet.properties.encryptionType",
                "The value 'Rot13'",
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(
            name,
            World::default().put(&set_id("e"), &body, None),
            &expected,
        );
    }
    let row = set("eastus", SUB);
    let patch = |properties: Value| {
        World::default().patch(&set_id("e"), &json!({ "properties": properties }), &row)
    };
    check(
        "the same key",
        patch(key("https://v/keys/k/1")),
        &stored(json!({ "/lastKeyRotationTimestamp": null })),
    );
    check(
        "another key",
        patch(key("https://v/keys/k/2")),
        &stored(json!({ "/lastKeyRotationTimestamp": "2026-09-21T14:13:20.0000000+00:00" })),
    );
    check(
        "another type",
        patch(json!({ "encryptionType": "EncryptionAtRestWithPlatformAndCustomerKeys" })),
        &fixed("diskEncryptionSet.properties.encryptionType"),
    );
}

#[test]
fn sets_are_used_in_their_own_region_and_subscription() {
    let disk = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "encryption": { "diskEncryptionSetId": set_id("e") } } });
    let disk = World::default()
        .put(&format!("{COMPUTE}/disks/d"), &disk, None)
        .unwrap();
    let version = json!({ "location": "eastus", "properties": {
        "publishingProfile": { "targetRegions": [
            { "name": "East US", "encryption": { "osDiskImage": { "diskEncryptionSetId": set_id("e") } } },
            { "name": "westus2", "encryption": { "osDiskImage": { "diskEncryptionSetId": set_id("w") } } }] },
        "storageProfile": { "osDiskImage": { "source": { "id": format!("{COMPUTE}/snapshots/s") } } } } });
    let version = World::default()
        .put(
            &format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0"),
            &version,
            None,
        )
        .unwrap();
    let uses = disk_encryption_set::uses(&version, &regions());
    let regional: Vec<(String, &str)> = uses
        .iter()
        .map(|u| (u.set.to_string(), u.region.as_str()))
        .collect();
    assert_eq!(
        regional,
        [(set_id("e"), "eastus"), (set_id("w"), "westus2")]
    );
    assert!(
        disk_encryption_set::not_found(&uses[0])
            .message
            .ends_with("/diskEncryptionSets/e was not found.")
    );
    let other = "22222222-1111-1111-1111-111111111111";
    for row in [&disk, &version] {
        let used = &disk_encryption_set::uses(row, &regions())[0];
        let verdict = |set: &Resource| {
            disk_encryption_set::check_use(row, used, set).map_err(|error| error.message)
        };
        assert_eq!(verdict(&set("eastus", SUB)), Ok(()));
        let far = verdict(&set("westus2", SUB)).unwrap_err();
        assert!(far.contains("must be in region 'eastus'"), "{far}");
        let foreign = verdict(&set("eastus", other)).unwrap_err();
        assert!(
            foreign.contains(&format!("must be in the same subscription '{SUB}' as the ")),
            "{foreign}"
        );
    }
}
