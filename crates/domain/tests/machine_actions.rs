//! Tables of what is asked of a machine beside its power: disks that come and go by their ids, reimaging, what is not offered.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, World, done};
use domain::virtual_machine::{
    BootFacts, NotOffered, Power, attach_detach, attached, disks, generalize, reimage, secret,
    set_secrets, take_boot,
};
use domain::{ErrorKind, Resource};
use serde_json::{Value, json};
use uuid::Uuid;

fn disk(name: &str) -> String {
    format!("{COMPUTE}/disks/{name}")
}

/// A machine of an image, with data disks at LUN 1 and 3.
fn made(image: &str) -> Resource {
    let attach = |lun: i64, name: &str| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": disk(name) } });
    let body = json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": {
                "imageReference": { "id": image },
                "osDisk": { "createOption": "FromImage", "deleteOption": "Delete" },
                "dataDisks": [attach(1, "a"), attach(3, "b")],
            },
            "osProfile": { "computerName": "one", "adminUsername": "me", "adminPassword": "Passw0rd!" },
        },
    });
    let id = format!("{COMPUTE}/virtualMachines/one");
    let mut row = World::default().put(&id, &body, None).unwrap();
    let facts = BootFacts {
        os_type: Some("Linux".to_owned()),
        generation: Some("V2".to_owned()),
        security: "Standard".to_owned(),
        exact_version: Some("1.0.0".to_owned()),
        ..BootFacts::default()
    };
    take_boot(&mut row, &facts).unwrap();
    Power::Running.set(&mut row);
    done(row)
}

fn definition() -> String {
    format!("{COMPUTE}/galleries/g/images/d")
}

#[test]
fn data_disks_come_and_go_by_their_ids() {
    let row = made(&definition());
    let put = |request: &Value| {
        let mut body = attach_detach(&row, request)?;
        body["location"] = json!("eastus");
        let planned = World::default().put(&row.id.to_string(), &body, Some(&row))?;
        let all: Vec<(i64, String)> = disks(&planned)
            .iter()
            .filter_map(|disk| Some((disk.lun?, disk.id.name().to_owned())))
            .collect();
        domain::Result::Ok((planned, all))
    };
    let on = |name: &str| json!({ "diskId": disk(name) });
    let at = |name: &str, lun: i64| json!({ "diskId": disk(name), "lun": lun });
    for (attach, detach, left) in [
        (
            json!([on("c")]),
            json!([]),
            vec![(0, "c"), (1, "a"), (3, "b")],
        ),
        (
            json!([on("c"), at("d", 0)]),
            json!(null),
            vec![(0, "d"), (1, "a"), (2, "c"), (3, "b")],
        ),
        (json!([]), json!([on("a"), on("B")]), vec![]),
        (
            json!([at("c", 1)]),
            json!([on("a")]),
            vec![(1, "c"), (3, "b")],
        ),
        (
            json!([on("a"), at("b", 3)]),
            json!(null),
            vec![(1, "a"), (3, "b")],
        ),
    ] {
        let request = json!({ "dataDisksToAttach": attach, "dataDisksToDetach": detach });
        let (_, all) = put(&request).unwrap();
        let all: Vec<(i64, &str)> = all
            .iter()
            .map(|(lun, name)| (*lun, name.as_str()))
            .collect();
        assert_eq!(all, left, "{request}");
    }
    for (request, target, text) in [
        (json!({}), "dataDisksToAttach", "missing"),
        (
            json!({ "dataDisksToDetach": [on("c")] }),
            "dataDisksToDetach.diskId",
            "not attached",
        ),
        (
            json!({ "dataDisksToDetach": [{}] }),
            "dataDisksToDetach.diskId",
            "missing",
        ),
        (
            json!({ "dataDisksToAttach": [at("a", 2)] }),
            "dataDisksToAttach.lun",
            "already at LUN 1",
        ),
        (
            json!({ "dataDisksToAttach": [at("c", 1)] }),
            "dataDisk.lun",
            "already exists",
        ),
        (
            json!({ "dataDisksToAttach": [at("c", 64)] }),
            "dataDisk.lun",
            "out of range",
        ),
        (
            json!({ "dataDisksToAttach": [on("c"), on("C")] }),
            "dataDisksToAttach.diskId",
            "twice",
        ),
        (
            json!({ "dataDisksToAttach": [{ "diskId": "x" }] }),
            "dataDisksToAttach.diskId",
            "invalid",
        ),
    ] {
        let error = put(&request).unwrap_err();
        assert_eq!(error.target.as_deref(), Some(target), "{request} {error}");
        assert!(error.message.contains(text), "{error}");
    }
    // What a disk that comes says of itself is kept; so is what one that stays says anew.
    let said = json!({ "dataDisksToAttach": [
        { "diskId": disk("c"), "caching": "readonly", "deleteOption": "delete",
          "diskEncryptionSet": { "id": format!("{COMPUTE}/diskEncryptionSets/s") } },
        { "diskId": disk("a"), "caching": "ReadWrite" },
    ] });
    let (planned, _) = put(&said).unwrap();
    let shown = &planned.properties["storageProfile"]["dataDisks"];
    assert_eq!(
        (&shown[0]["caching"], &shown[0]["deleteOption"]),
        (&json!("ReadOnly"), &json!("Delete"))
    );
    assert_eq!(shown[1]["caching"], "ReadWrite");
    let names = attached(&said).to_string();
    for named in ["/disks/c", "/disks/a", "/diskEncryptionSets/s"] {
        assert!(names.contains(named), "{named} needs a right: {names}");
    }
}

#[test]
fn a_reimage_names_a_new_disk_and_the_version_that_is_meant() {
    let shared = "/SharedGalleries/one-g/Images/d/Versions/latest";
    let version = |number: &str| format!("{}/versions/{number}", definition());
    for (image, request, looked_for, shown) in [
        (definition(), json!({}), version("1.0.0"), definition()),
        (
            definition(),
            json!({ "exactVersion": "2.0.0" }),
            version("2.0.0"),
            definition(),
        ),
        (
            version("latest"),
            json!({}),
            version("1.0.0"),
            version("latest"),
        ),
        (
            version("1.0.0"),
            json!({ "exactVersion": "2.0.0" }),
            version("2.0.0"),
            version("2.0.0"),
        ),
        (
            format!("{COMPUTE}/images/i"),
            json!({}),
            format!("{COMPUTE}/images/i"),
            format!("{COMPUTE}/images/i"),
        ),
    ] {
        let mut row = made(&image);
        let before = disks(&row)[0].clone();
        let meant = reimage(&mut row, &request, Uuid::from_u128(7)).unwrap();
        assert_eq!(meant["id"], json!(looked_for), "{image} {request}");
        let profile = &row.properties["storageProfile"];
        assert_eq!(
            profile["imageReference"]["id"],
            json!(shown),
            "{image} {request}"
        );
        let now = disks(&row);
        assert_ne!(now[0].id.key(), before.id.key());
        assert_eq!(profile["osDisk"]["name"], json!(now[0].id.name()));
        assert_eq!((now.len(), now[0].option.as_str()), (3, "FromImage"));
    }
    let mut row = made(&definition());
    row.properties["storageProfile"]["imageReference"] =
        json!({ "sharedGalleryImageId": shared, "exactVersion": "1.0.0" });
    let meant = reimage(&mut row, &json!({}), Uuid::from_u128(7)).unwrap();
    assert_eq!(
        meant["sharedGalleryImageId"],
        "/SharedGalleries/one-g/Images/d/Versions/1.0.0"
    );
    assert_eq!(
        row.properties["storageProfile"]["imageReference"]["sharedGalleryImageId"],
        shared
    );
}

#[test]
fn a_reimage_finds_the_version_of_an_offered_image() {
    for (said, request, looked_for, shown) in [
        ("latest", json!({}), "1.0.0", "latest"),
        (
            "latest",
            json!({ "exactVersion": "1.0.1" }),
            "1.0.1",
            "latest",
        ),
        (
            "1.0.0",
            json!({ "exactVersion": "1.0.1" }),
            "1.0.1",
            "1.0.1",
        ),
    ] {
        let mut row = made(&definition());
        row.properties["storageProfile"]["imageReference"] = json!({
            "publisher": "Zoo", "offer": "linux", "sku": "one", "version": said, "exactVersion": "1.0.0",
        });
        let meant = reimage(&mut row, &request, Uuid::from_u128(7)).unwrap();
        assert_eq!(meant["version"], looked_for, "{said} {request}");
        let reference = &row.properties["storageProfile"]["imageReference"];
        assert_eq!(reference["version"], shown, "{said} {request}");
    }
}

#[test]
fn a_reimage_takes_new_secrets_and_refuses_what_cannot_be() {
    let mut row = made(&definition());
    let asked = json!({ "osProfile": { "customData": "aGVsbG8=" } });
    reimage(&mut row, &asked, Uuid::from_u128(7)).unwrap();
    assert_eq!(secret(&row, "customData"), Some("aGVsbG8="));
    assert_eq!(secret(&row, "adminPassword"), Some("Passw0rd!"));
    type Change = fn(&mut Resource);
    let none: Change = |_| {};
    for (change, request, kind, text) in [
        (
            none,
            json!({ "tempDisk": true }),
            ErrorKind::Invalid,
            "ephemeral",
        ),
        (
            none,
            json!({ "osProfile": { "adminPassword": "short" } }),
            ErrorKind::Invalid,
            "password",
        ),
        (
            none,
            json!({ "osProfile": { "customData": "?" } }),
            ErrorKind::Invalid,
            "Base64",
        ),
        (
            none,
            json!({ "osProfile": { "computerName": "x" } }),
            ErrorKind::Invalid,
            "not allowed",
        ),
        (
            |row| drop(row.internal.insert("isSpecialized".to_owned(), json!(true))),
            json!({ "osProfile": { "customData": "aGVsbG8=" } }),
            ErrorKind::Invalid,
            "not allowed",
        ),
        (
            |row| row.properties["storageProfile"]["imageReference"] = Value::Null,
            json!({}),
            ErrorKind::Conflict,
            "not created from an image",
        ),
        (
            |row| {
                row.properties["storageProfile"]["imageReference"] =
                    json!({ "id": format!("{COMPUTE}/images/i") })
            },
            json!({ "exactVersion": "1.0.0" }),
            ErrorKind::Invalid,
            "no versions",
        ),
        (
            |row| {
                Power::Stopped.set(row);
                generalize(row).unwrap();
            },
            json!({}),
            ErrorKind::Conflict,
            "generalized",
        ),
        (
            |row| Power::Created.set(row),
            json!({}),
            ErrorKind::Conflict,
            "not there yet",
        ),
    ] {
        let mut row = made(&definition());
        change(&mut row);
        let error = reimage(&mut row, &request, Uuid::from_u128(7)).unwrap_err();
        assert_eq!(error.kind, kind, "{request} {error}");
        assert!(error.message.contains(text), "{error}");
    }
    // Sealed secrets are not taken for none.
    let mut row = made(&definition());
    set_secrets(&mut row, json!("sealed"));
    reimage(&mut row, &json!({}), Uuid::from_u128(7)).unwrap();
    assert_eq!(row.internal["secrets"], "sealed");
}

#[test]
fn what_is_not_offered_says_what_to_do_instead() {
    for asked in NotOffered::ALL {
        let error = asked.refusal("one");
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert_eq!(error.code, "OperationNotAllowed");
        assert!(error.message.contains("VM 'one'"), "{error}");
        assert!(asked.action().ends_with("/action") || asked.action().ends_with("/write"));
    }
}
