//! Who holds a disk, and what it inherits, as tables. Source: `API.md` 3.7, `WIRE.md` 4.5.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, World, check, done, refused, stored};
use domain::ErrorKind::Conflict;
use domain::Resource;
use domain::disk::{
    AccessLevel, AccessRequest, DiskState, begin_access, closed_state, inherit, set_state,
    size_bytes,
};
use domain::plan::check_delete;
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

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

fn made(body: &Value) -> Resource {
    done(World::default().put(&id(), body, None).unwrap())
}

#[test]
fn access_requests() {
    let target = |name: &str| Some(format!("grantAccessData.{name}"));
    let table = [
        (
            json!({ "access": "Read", "durationInSeconds": 3600 }),
            Ok((AccessLevel::Read, 3600)),
        ),
        (
            json!({ "access": "write", "durationInSeconds": 1, "fileFormat": "vhd" }),
            Ok((AccessLevel::Write, 1)),
        ),
        (
            json!({ "access": "Read", "durationInSeconds": 1, "getSecureVMGuestStateSAS": false }),
            Ok((AccessLevel::Read, 1)),
        ),
        (json!({ "durationInSeconds": 1 }), Err(target("access"))),
        (
            json!({ "access": "None", "durationInSeconds": 1 }),
            Err(target("access")),
        ),
        (
            json!({ "access": "Read" }),
            Err(target("durationInSeconds")),
        ),
        (
            json!({ "access": "Read", "durationInSeconds": 0 }),
            Err(target("durationInSeconds")),
        ),
        (
            json!({ "access": "Read", "durationInSeconds": 4_294_967_296_i64 }),
            Err(target("durationInSeconds")),
        ),
        (
            json!({ "access": "Read", "durationInSeconds": 1, "fileFormat": "VHDX" }),
            Err(target("fileFormat")),
        ),
        (
            json!({ "access": "Read", "durationInSeconds": 1, "getSecureVMGuestStateSAS": true }),
            Err(target("getSecureVMGuestStateSAS")),
        ),
    ];
    for (body, expected) in table {
        let result = AccessRequest::parse(&body)
            .map(|r| (r.access, r.duration_seconds))
            .map_err(|e| e.target);
        assert_eq!(result, expected, "{body}");
    }
}

#[test]
fn states() {
    use DiskState::{ActiveSas, ActiveUpload, ReadyToUpload, Unattached};
    let after = |state: DiskState, access: AccessLevel| {
        let mut row = made(&body(empty(1)));
        set_state(&mut row, state);
        let request = AccessRequest {
            access,
            duration_seconds: 1,
        };
        begin_access(&mut row, &request)
            .ok()
            .map(|()| DiskState::of(&row))
    };
    for (state, read, write, closed, may_go) in [
        (Unattached, Some(ActiveSas), None, Unattached, true),
        (ActiveSas, Some(ActiveSas), None, Unattached, false),
        (ReadyToUpload, None, Some(ActiveUpload), ReadyToUpload, true),
        (ActiveUpload, None, Some(ActiveUpload), Unattached, false),
    ] {
        assert_eq!(after(state, AccessLevel::Read), read, "{state:?}");
        assert_eq!(after(state, AccessLevel::Write), write, "{state:?}");
        let mut row = made(&body(empty(1)));
        set_state(&mut row, state);
        assert_eq!(closed_state(&row), closed, "{state:?}");
        assert_eq!(check_delete(&row).is_ok(), may_go, "{state:?}");
    }
    let mut shut = made(&body(
        json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "networkAccessPolicy": "DenyAll" }),
    ));
    let request = AccessRequest {
        access: AccessLevel::Read,
        duration_seconds: 1,
    };
    let error = begin_access(&mut shut, &request).unwrap_err();
    assert_eq!(
        (error.code.as_ref(), error.kind),
        ("OperationNotAllowed", Conflict)
    );
}

#[test]
fn a_disk_that_waits_for_content_keeps_its_size() {
    let mut row = made(&from(
        json!({ "createOption": "Upload", "uploadSizeBytes": 20_972_032 }),
    ));
    let larger = body(json!({ "diskSizeGB": 2 }));
    let expected = refused(
        Conflict,
        "OperationNotAllowed",
        "The disk d1 waits for its content.",
        Some("disk.properties.diskSizeGB"),
    );
    check(
        "waits",
        World::default().put(&id(), &larger, Some(&row)),
        &expected,
    );
    set_state(&mut row, DiskState::Unattached);
    check(
        "has it",
        World::default().put(&id(), &larger, Some(&row)),
        &stored(json!({ "/diskSizeBytes": 2 * GIB })),
    );
}

#[test]
fn a_disk_takes_from_its_definition_what_it_does_not_say() {
    let definition = World::default().put(&format!("{COMPUTE}/galleries/g/images/i"), &json!({ "location": "eastus", "properties": {
        "osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "architecture": "Arm64", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } } }), None).unwrap();
    let mut silent = made(&body(empty(1)));
    inherit(&mut silent, &definition);
    assert_eq!(
        (
            &silent.properties["osType"],
            &silent.properties["hyperVGeneration"],
            &silent.properties["supportedCapabilities"]
        ),
        (
            &json!("Linux"),
            &json!("V2"),
            &json!({ "architecture": "Arm64" })
        )
    );
    let mut says = made(&body(
        json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1, "osType": "Windows" }),
    ));
    inherit(&mut says, &definition);
    assert_eq!(says.properties["osType"], "Windows");
    assert_eq!(size_bytes(&says), Some(GIB));
}
