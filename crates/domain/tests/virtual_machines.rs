//! Tables of machines: what is asked, what an image needs, which power action is allowed when.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, Expect, World, check, done, fixed, invalid, missing, refused, stored};
use domain::operation::Work;
use domain::virtual_machine::{
    BootFacts, Power, add_image_disks, after, check_action, disks, generalize, take_boot,
};
use domain::{ErrorKind, Resource, Result};
use serde_json::{Value, json};
use uuid::Uuid;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m me@here";

fn id() -> String {
    format!("{COMPUTE}/virtualMachines/one")
}

fn body() -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": {
                "imageReference": { "id": format!("{COMPUTE}/galleries/g/images/d") },
                "osDisk": { "createOption": "FromImage" },
            },
            "osProfile": {
                "computerName": "one",
                "adminUsername": "me",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": true,
                    "ssh": { "publicKeys": [{ "path": "/home/me/.ssh/authorized_keys", "keyData": KEY }] },
                },
            },
        },
    })
}

/// The body with one member changed; `null` takes it out.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        members.shift_remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    body
}

fn put(body: &Value, held: Option<&Resource>) -> Result<Resource> {
    World::default().put(&id(), body, held)
}

fn facts() -> BootFacts {
    BootFacts {
        os_type: Some("Linux".to_owned()),
        generation: Some("V2".to_owned()),
        architecture: Some("x64".to_owned()),
        security: "Standard".to_owned(),
        os_bytes: 4 << 30,
        ..BootFacts::default()
    }
}

fn made() -> Resource {
    let mut row = put(&body(), None).unwrap();
    take_boot(&mut row, &facts()).unwrap();
    Power::Running.set(&mut row);
    done(row)
}

#[test]
fn every_wrong_member_of_a_new_machine_is_named() {
    const P: &str = "/properties/osProfile";
    const L: &str = "/properties/osProfile/linuxConfiguration";
    const S: &str = "/properties/storageProfile";
    let attach =
        json!({ "createOption": "Attach", "managedDisk": { "id": format!("{COMPUTE}/disks/d") } });
    let two = json!([{ "lun": 1, "createOption": "Empty", "diskSizeGB": 1 }, { "lun": 1, "createOption": "Empty", "diskSizeGB": 1 }]);
    let five: Vec<Value> = (0..5)
        .map(|lun| json!({ "lun": lun, "createOption": "Empty", "diskSizeGB": 1 }))
        .collect();
    let cards = json!({ "networkInterfaces": [{ "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d" }] });
    let rows: Vec<(Value, Expect)> = vec![
        (
            with("/properties/hardwareProfile", Value::Null),
            missing("hardwareProfile.vmSize"),
        ),
        (
            with("/properties/hardwareProfile/vmSize", json!("Huge")),
            invalid(
                "vmSize",
                "The value Huge provided for the VM size is not valid.",
            ),
        ),
        (with(S, Value::Null), missing("storageProfile")),
        (
            with(&format!("{S}/imageReference"), Value::Null),
            missing("imageReference"),
        ),
        (
            with(
                &format!("{S}/imageReference"),
                json!({ "id": format!("{COMPUTE}/disks/d") }),
            ),
            invalid(
                "imageReference",
                "The value of parameter imageReference is invalid.",
            ),
        ),
        (
            with(
                &format!("{S}/imageReference"),
                json!({ "id": format!("{COMPUTE}/images/i"), "sharedGalleryImageId": "/SharedGalleries/a/Images/b" }),
            ),
            invalid("imageReference", "The value"),
        ),
        (
            with(
                &format!("{S}/imageReference"),
                json!({ "publisher": "p", "offer": "o", "version": "latest" }),
            ),
            refused(
                ErrorKind::Invalid,
                "InvalidParameter",
                "Required parameter 'sku' is missing (null).",
                Some("imageReference.sku"),
            ),
        ),
        (
            with(
                &format!("{S}/imageReference"),
                json!({ "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i", "publisher": "p" }),
            ),
            refused(
                ErrorKind::Invalid,
                "InvalidParameter",
                "The value of parameter imageReference is invalid.",
                Some("imageReference"),
            ),
        ),
        (
            with(&format!("{S}/osDisk"), attach.clone()),
            invalid(
                "imageReference",
                "Parameter 'imageReference' is not allowed.",
            ),
        ),
        (
            with(&format!("{S}/osDisk/vhd"), json!({ "uri": "https://a/b" })),
            invalid("osDisk.vhd", "Unmanaged disks are not supported"),
        ),
        (
            with(&format!("{S}/osDisk/createOption"), json!("Empty")),
            invalid(
                "osDisk.createOption",
                "The create option 'Empty' is not supported",
            ),
        ),
        (
            with(&format!("{S}/osDisk/caching"), json!("Maybe")),
            invalid("osDisk.caching", "The value 'Maybe'"),
        ),
        (
            with(&format!("{S}/dataDisks"), two),
            invalid("dataDisk.lun", "A disk at LUN 1 already exists."),
        ),
        (
            with(
                &format!("{S}/dataDisks"),
                json!([{ "lun": 64, "createOption": "Empty", "diskSizeGB": 1 }]),
            ),
            invalid(
                "dataDisk.lun",
                "The value 64 of parameter dataDisk.lun is out of range.",
            ),
        ),
        (
            with(
                &format!("{S}/dataDisks"),
                json!([{ "lun": 1, "createOption": "Empty" }]),
            ),
            missing("dataDisk.diskSizeGB"),
        ),
        (
            with(
                &format!("{S}/dataDisks"),
                json!([{ "lun": 1, "createOption": "Attach" }]),
            ),
            missing("dataDisk.managedDisk.id"),
        ),
        (
            with(&format!("{S}/dataDisks"), json!(five)),
            refused(
                ErrorKind::Conflict,
                "OperationNotAllowed",
                "The maximum number of data disks allowed to be attached to a VM of this size is 4.",
                Some("dataDisks"),
            ),
        ),
        (
            with(&format!("{P}/adminUsername"), Value::Null),
            missing("adminUsername"),
        ),
        (
            with(&format!("{P}/adminUsername"), json!("root")),
            invalid(
                "adminUsername",
                "The Admin Username specified is not allowed.",
            ),
        ),
        (
            with(&format!("{P}/computerName"), json!("a b")),
            invalid(
                "computerName",
                "Linux host name cannot exceed 64 characters",
            ),
        ),
        (
            with(&format!("{P}/customData"), json!("not base64!")),
            invalid(
                "customData",
                "Custom data in OSProfile must be in Base64 encoding",
            ),
        ),
        (
            with("/properties/userData", json!("***")),
            invalid("userData", "User data must be in Base64"),
        ),
        (
            with(&format!("{P}/adminPassword"), json!("short")),
            invalid(
                "adminPassword",
                "The supplied password must be between 6-72 characters long",
            ),
        ),
        (
            with(&format!("{L}/disablePasswordAuthentication"), json!(false)),
            missing("adminPassword"),
        ),
        (
            with(&format!("{L}/ssh"), Value::Null),
            invalid("linuxConfiguration", "Authentication using either SSH"),
        ),
        (
            with(
                &format!("{L}/ssh"),
                json!({ "publicKeys": [{ "path": "/root/.ssh/authorized_keys", "keyData": KEY }] }),
            ),
            invalid(
                "linuxConfiguration.ssh.publicKeys.path",
                "Destination path for SSH public keys is currently limited",
            ),
        ),
        (
            with(
                &format!("{L}/ssh"),
                json!({ "publicKeys": [{ "path": "/home/me/.ssh/authorized_keys", "keyData": "ssh-rsa no" }] }),
            ),
            invalid(
                "linuxConfiguration.ssh.publicKeys.keyData",
                "The value of parameter",
            ),
        ),
        (
            with("/properties/networkProfile", cards),
            refused(
                ErrorKind::Invalid,
                "LinkedInvalidPropertyId",
                "Property id",
                None,
            ),
        ),
        (
            with("/identity", json!({ "type": "SystemAssigned" })),
            invalid("identity", "Identities of machines are not supported"),
        ),
        (
            body(),
            stored(json!({
                "/storageProfile/osDisk/caching": "ReadWrite",
                "/storageProfile/osDisk/managedDisk/storageAccountType": "Premium_LRS",
                "/osProfile/allowExtensionOperations": true,
                "/osProfile/linuxConfiguration/patchSettings/patchMode": "ImageDefault",
                "/osProfile/customData": null,
            })),
        ),
        (
            with(&format!("{P}/adminPassword"), json!("Passw0rd!")),
            stored(json!({ "/osProfile/adminPassword": null })),
        ),
        (
            with("/properties/additionalCapabilities", json!({})),
            stored(json!({ "/additionalCapabilities": null })),
        ),
    ];
    for (at, (body, expected)) in rows.into_iter().enumerate() {
        check(&format!("row {at}"), put(&body, None), &expected);
    }
}

#[test]
fn every_mismatch_of_image_and_machine_has_its_text() {
    let definition = |types: Value| {
        let mut row = World::default()
            .put(&format!("{COMPUTE}/disks/x"), &json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } }), None)
            .unwrap();
        row.properties
            .insert("disallowed".to_owned(), json!({ "diskTypes": types }));
        Some(row)
    };
    let size = |name: &str| with("/properties/hardwareProfile/vmSize", json!(name));
    let no_profile = with("/properties/osProfile", Value::Null);
    let launch = with(
        "/properties/securityProfile",
        json!({ "securityType": "trustedlaunch" }),
    );
    let standard = with(
        "/properties/securityProfile",
        json!({ "securityType": "Standard" }),
    );
    let nvme = with(
        "/properties/storageProfile/diskControllerType",
        json!("NVMe"),
    );
    let grown = with("/properties/storageProfile/osDisk/diskSizeGB", json!(2));
    let planned = |name: &str| Some(json!({ "name": name, "publisher": "p", "product": "o" }));
    type Change = fn(&mut BootFacts);
    let none: Change = |_| {};
    type Row = (
        &'static str,
        Value,
        BootFacts,
        Change,
        Option<(&'static str, &'static str)>,
    );
    let rows: Vec<Row> = vec![
        ("fits", body(), facts(), none, None),
        (
            "no osProfile",
            no_profile.clone(),
            facts(),
            none,
            Some((
                "InvalidParameter",
                "Required parameter 'osProfile' is missing (null).",
            )),
        ),
        (
            "specialized with osProfile",
            body(),
            facts(),
            |f| f.is_specialized = true,
            Some(("InvalidParameter", "Parameter 'osProfile' is not allowed.")),
        ),
        (
            "specialized",
            no_profile,
            facts(),
            |f| f.is_specialized = true,
            None,
        ),
        (
            "first generation",
            size("Standard_D2s_v6"),
            facts(),
            |f| f.generation = Some("V1".to_owned()),
            Some((
                "BadRequest",
                "The selected VM size 'Standard_D2s_v6' cannot boot Hypervisor Generation '1'.",
            )),
        ),
        (
            "second generation",
            size("Standard_A1_v2"),
            facts(),
            none,
            Some((
                "BadRequest",
                "The selected VM size 'Standard_A1_v2' cannot boot Hypervisor Generation '2'.",
            )),
        ),
        (
            "processor",
            body(),
            facts(),
            |f| f.architecture = Some("Arm64".to_owned()),
            Some((
                "BadRequest",
                "Cannot create a VM of size 'Standard_D2s_v5' because this VM size only supports a CPU Architecture of 'x64'",
            )),
        ),
        (
            "controller of the size",
            size("Standard_D2s_v6"),
            facts(),
            none,
            Some((
                "InvalidParameter",
                "The VM size 'Standard_D2s_v6' cannot boot with OS image or disk.",
            )),
        ),
        (
            "controller of both",
            size("Standard_D2s_v6"),
            facts(),
            |f| f.controllers = Some("SCSI, NVMe".to_owned()),
            None,
        ),
        (
            "controller asked",
            nvme,
            facts(),
            |f| f.controllers = Some("SCSI, NVMe".to_owned()),
            Some(("InvalidParameter", "The VM size")),
        ),
        (
            "launch of a standard image",
            launch.clone(),
            facts(),
            none,
            Some((
                "BadRequest",
                "Use of TrustedLaunch setting is not supported for the provided image.",
            )),
        ),
        (
            "launch of a supporting image",
            launch,
            facts(),
            |f| f.security = "TrustedLaunchSupported".to_owned(),
            None,
        ),
        (
            "launch image alone",
            body(),
            facts(),
            |f| f.security = "TrustedLaunch".to_owned(),
            None,
        ),
        (
            "launch image as standard",
            standard,
            facts(),
            |f| f.security = "TrustedLaunch".to_owned(),
            Some(("BadRequest", "Security type of VM is not compatible")),
        ),
        (
            "confidential image",
            body(),
            facts(),
            |f| f.security = "ConfidentialVM".to_owned(),
            Some((
                "BadRequest",
                "The provided image boots on confidential machines only",
            )),
        ),
        (
            "plan",
            body(),
            BootFacts {
                plan: planned("n"),
                ..facts()
            },
            none,
            Some((
                "VMMarketplaceInvalidInput",
                "Creating a virtual machine from Marketplace image or a custom image sourced from a Marketplace image requires Plan information in the request. VM: '/subscriptions/",
            )),
        ),
        (
            "right plan",
            with("/plan", planned("N").unwrap()),
            BootFacts {
                plan: planned("n"),
                ..facts()
            },
            none,
            None,
        ),
        (
            "other plan",
            with("/plan", planned("m").unwrap()),
            BootFacts {
                plan: planned("n"),
                ..facts()
            },
            none,
            Some(("VMMarketplaceInvalidInput", "The Plan information of VM")),
        ),
        (
            "disk type",
            body(),
            BootFacts {
                definition: definition(json!(["Premium_LRS"])),
                ..facts()
            },
            none,
            Some((
                "InvalidParameter",
                "The disk type 'Premium_LRS' is not allowed",
            )),
        ),
        (
            "other disk type",
            body(),
            BootFacts {
                definition: definition(json!(["Standard_LRS"])),
                ..facts()
            },
            none,
            None,
        ),
        (
            "smaller disk",
            grown,
            facts(),
            none,
            Some((
                "InvalidParameter",
                "The specified disk size 2 GB is smaller than the size of the corresponding disk in the VM image: 4 GB.",
            )),
        ),
        (
            "Windows",
            body(),
            facts(),
            |f| f.os_type = Some("Windows".to_owned()),
            Some((
                "InvalidParameter",
                "Parameter 'osProfile.linuxConfiguration' is not allowed.",
            )),
        ),
    ];
    for (name, body, mut facts, change, expected) in rows {
        change(&mut facts);
        let mut row = put(&body, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        match (take_boot(&mut row, &facts), expected) {
            (Ok(()), None) => {}
            (Err(error), Some((code, text))) => {
                assert_eq!(error.code, code, "{name}: {error}");
                assert!(error.message.starts_with(text), "{name}: {error}");
            }
            (result, expected) => panic!("{name}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn data_disks_of_the_image_come_with_the_machine() {
    let mut row = put(&body(), None).unwrap();
    add_image_disks(&mut row, &[(3, 1 << 30), (0, 1 << 30)], Uuid::new_v4).unwrap();
    let names: Vec<String> = disks(&row).iter().map(|d| d.id.name().to_owned()).collect();
    assert!(names[0].starts_with("one_OsDisk_1_"), "{names:?}");
    assert!(names[1].starts_with("one_lun_0_2_"), "{names:?}");
    assert!(names[2].starts_with("one_lun_3_2_"), "{names:?}");
    let other = with(
        "/properties/storageProfile/dataDisks",
        json!([{ "lun": 3, "createOption": "Empty", "diskSizeGB": 1 }]),
    );
    let mut row = put(&other, None).unwrap();
    let error = add_image_disks(&mut row, &[(3, 1 << 30)], Uuid::new_v4).unwrap_err();
    assert_eq!(error.target.as_deref(), Some("dataDisk.createOption"));
    let absent = with(
        "/properties/storageProfile/dataDisks",
        json!([{ "lun": 4, "createOption": "fromImage" }]),
    );
    let mut row = put(&absent, None).unwrap();
    let error = add_image_disks(&mut row, &[(3, 1 << 30)], Uuid::new_v4).unwrap_err();
    assert_eq!(error.target.as_deref(), Some("dataDisk.lun"));
}

#[test]
fn every_power_action_in_every_state() {
    use Power::{Created, Deallocated, Running, Stopped};
    // Start, PowerOff, Deallocate, Restart, Redeploy, Reapply, Reimage: the state after, or a refusal.
    let works = [
        Work::Start,
        Work::PowerOff,
        Work::Deallocate,
        Work::Restart,
        Work::Redeploy,
        Work::Reapply,
        Work::Reimage,
    ];
    let no = None;
    for (before, expected) in [
        (
            Created,
            [no, no, Some(Deallocated), no, no, Some(Created), no],
        ),
        (
            Running,
            [
                Some(Running),
                Some(Stopped),
                Some(Deallocated),
                Some(Running),
                Some(Running),
                Some(Running),
                Some(Running),
            ],
        ),
        (
            Stopped,
            [
                Some(Running),
                Some(Stopped),
                Some(Deallocated),
                no,
                Some(Running),
                Some(Stopped),
                Some(Running),
            ],
        ),
        (
            Deallocated,
            [
                Some(Running),
                Some(Deallocated),
                Some(Deallocated),
                no,
                no,
                Some(Deallocated),
                Some(Running),
            ],
        ),
    ] {
        for (work, expected) in works.into_iter().zip(expected) {
            let mut row = made();
            before.set(&mut row);
            let found = check_action(&row, work).ok().map(|()| after(work, before));
            assert_eq!(found, expected, "{work:?} of {before:?}");
        }
    }
    let mut row = made();
    Stopped.set(&mut row);
    generalize(&mut row).unwrap();
    for work in works {
        let is_allowed = matches!(work, Work::PowerOff | Work::Deallocate);
        let found = check_action(&row, work);
        assert_eq!(found.is_ok(), is_allowed, "{work:?}: {found:?}");
        if let Err(error) = found {
            assert!(
                error.message.ends_with("since the VM is generalized."),
                "{error}"
            );
        }
    }
    let mut row = made();
    assert_eq!(
        generalize(&mut row).unwrap_err().code,
        "OperationNotAllowed"
    );
}

#[test]
fn what_cannot_change_later_is_refused_and_what_can_is_taken() {
    let held = made();
    let change = |pointer: &str, value: Value| {
        let mut body = common::shown(&held);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        put(&body, Some(&held))
    };
    let resize = refused(
        ErrorKind::Conflict,
        "OperationNotAllowed",
        "Resizing a disk",
        Some("os.diskSizeGB"),
    );
    let mut sized = held.clone();
    sized.properties["storageProfile"]["osDisk"]["diskSizeGB"] = json!(4);
    let mut body = common::shown(&sized);
    body["properties"]["storageProfile"]["osDisk"]["diskSizeGB"] = json!(8);
    check("grow a running disk", put(&body, Some(&sized)), &resize);
    Power::Deallocated.set(&mut sized);
    check(
        "grow a disk",
        put(&body, Some(&sized)),
        &stored(json!({ "/storageProfile/osDisk/diskSizeGB": 8 })),
    );
    for (pointer, value, expected) in [
        (
            "/properties/osProfile/computerName",
            json!("two"),
            fixed("osProfile.computerName"),
        ),
        (
            "/properties/osProfile/adminPassword",
            json!("Other0ne!"),
            fixed("osProfile.adminPassword"),
        ),
        (
            "/properties/storageProfile/imageReference",
            json!({ "id": format!("{COMPUTE}/images/i") }),
            fixed("imageReference"),
        ),
        (
            "/properties/storageProfile/osDisk/createOption",
            json!("Attach"),
            fixed("osDisk.createOption"),
        ),
        (
            "/properties/securityProfile",
            json!({ "securityType": "TrustedLaunch" }),
            fixed("securityProfile.securityType"),
        ),
        (
            "/properties/storageProfile/osDisk/deleteOption",
            json!("delete"),
            stored(json!({ "/storageProfile/osDisk/deleteOption": "Delete" })),
        ),
        (
            "/properties/hardwareProfile/vmSize",
            json!("standard_b1s"),
            stored(json!({ "/hardwareProfile/vmSize": "Standard_B1s" })),
        ),
        (
            "/properties/vmId",
            json!("x"),
            stored(json!({ "/vmId": held.properties["vmId"] })),
        ),
        (
            "/properties/diagnosticsProfile",
            json!({ "bootDiagnostics": { "enabled": true } }),
            stored(json!({ "/diagnosticsProfile/bootDiagnostics/enabled": true })),
        ),
    ] {
        check(pointer, change(pointer, value), &expected);
    }
    let mut gone = held.clone();
    Power::Stopped.set(&mut gone);
    generalize(&mut gone).unwrap();
    assert!(gone.internal.get("secrets").is_none());
    let body = common::shown(&gone);
    let error = put(&body, Some(&gone)).unwrap_err();
    assert_eq!(error.code, "OperationNotAllowed");
}
