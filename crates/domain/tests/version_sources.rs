//! Where the disks of a version come from, as tables. Source: `API.md` 3.3, 4, 5.3.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{
    COMPUTE, Expect, GROUP, World, check, done, fixed, invalid, missing, refused, stored,
};
use domain::ErrorKind::{Conflict, Invalid};
use domain::image_version::source_ids;
use domain::{Resource, ResourceId};
use serde_json::{Value, json};

const P: &str = "galleryImageVersion.properties";

fn id() -> String {
    format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0")
}

fn with(storage: Value) -> Value {
    json!({ "location": "eastus", "properties": { "storageProfile": storage } })
}

fn whole(member: &str, value: &str) -> Value {
    with(json!({ "source": { member: value } }))
}

fn blob(name: &str) -> Value {
    json!({ "uri": format!("https://localhost/a/c/{name}.vhd"), "storageAccountId": format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/a") })
}

fn snapshot(name: &str) -> Value {
    json!({ "id": format!("{COMPUTE}/snapshots/{name}") })
}

fn disks(os: Value, data: Value) -> Value {
    with(json!({ "osDiskImage": { "source": os }, "dataDiskImages": data }))
}

#[test]
fn sources_of_creates() {
    let one = || {
        invalid(
            &format!("{P}.storageProfile.source.id"),
            "The gallery artifact version source can only be specified either directly under storageProfile or within individual OS or data disks. One and only one source type (user image, snapshot, disk, virtual machine) can be provided.",
        )
    };
    let link = |id: &str, path: &str| {
        refused(
            Invalid,
            "LinkedInvalidPropertyId",
            &format!(
                "Property id '{id}' at path 'properties.storageProfile.{path}' is invalid. Expect fully qualified resource Id that start with '/subscriptions/{{subscriptionId}}' or '/providers/{{resourceProviderNamespace}}/'."
            ),
            Some(&format!("{P}.storageProfile.{path}")),
        )
    };
    let image = format!("{COMPUTE}/images/i");
    let version = format!("{COMPUTE}/galleries/h/images/e/versions/1.0.0");
    let machine = format!("{COMPUTE}/virtualMachines/vm");
    let disk = format!("{COMPUTE}/disks/x");
    let lun = |lun: i64, source: Value| json!({ "lun": lun, "source": source });
    let data = |name: &str| format!("{P}.storageProfile.dataDiskImages.{name}");
    let table: Vec<(&str, Value, Expect)> = vec![
        (
            "nothing",
            json!({ "location": "eastus", "properties": {} }),
            missing(&format!("{P}.storageProfile")),
        ),
        ("empty profile", with(json!({})), one()),
        ("empty source", with(json!({ "source": {} })), one()),
        (
            "managed image",
            whole("id", &image),
            stored(json!({ "/storageProfile": { "source": { "id": image } } })),
        ),
        (
            "another version",
            whole("id", &version),
            stored(json!({ "/storageProfile/source/id": version })),
        ),
        (
            "machine of an old client",
            whole("id", &machine),
            stored(json!({ "/storageProfile/source/id": machine })),
        ),
        (
            "machine",
            whole("virtualMachineId", &machine),
            stored(json!({ "/storageProfile/source": { "virtualMachineId": machine } })),
        ),
        (
            "disk as a whole",
            whole("id", &disk),
            invalid(
                &format!("{P}.storageProfile.source.id"),
                &format!(
                    "The source id: {disk} must either be a managed image, virtual machine or another gallery image version"
                ),
            ),
        ),
        ("no id", whole("id", "image1"), link("image1", "source.id")),
        (
            "two wholes",
            with(json!({ "source": { "id": image, "virtualMachineId": machine } })),
            one(),
        ),
        (
            "whole and disks",
            with(json!({ "source": { "id": image }, "osDiskImage": { "source": snapshot("s") } })),
            one(),
        ),
        (
            "whole and read-only disks",
            with(
                json!({ "source": { "id": image }, "osDiskImage": { "hostCaching": "ReadWrite", "source": {} } }),
            ),
            stored(json!({ "/storageProfile": { "source": { "id": image } } })),
        ),
        (
            "community image",
            whole("communityGalleryImageId", "/CommunityGalleries/p/Images/d"),
            stored(
                json!({ "/storageProfile": { "source": { "communityGalleryImageId": "/CommunityGalleries/p/Images/d" } } }),
            ),
        ),
        (
            "shared image",
            whole("id", "/SharedGalleries/p/Images/d/Versions/1.0.0"),
            stored(
                json!({ "/storageProfile": { "source": { "id": "/SharedGalleries/p/Images/d/Versions/1.0.0" } } }),
            ),
        ),
        (
            "shared image by the public door",
            whole("communityGalleryImageId", "/SharedGalleries/p/Images/d"),
            refused(
                Invalid,
                "InvalidParameter",
                "The value '/SharedGalleries/p/Images/d' is invalid. Expect an image id of the form \
                 '/CommunityGalleries/{galleryName}/Images/{imageName}[/Versions/{version}]'.",
                Some(&format!(
                    "{P}.storageProfile.source.communityGalleryImageId"
                )),
            ),
        ),
        (
            "community image by the wrong member",
            whole("id", "/CommunityGalleries/p/Images/d"),
            refused(
                Invalid,
                "InvalidParameter",
                "The value '/CommunityGalleries/p/Images/d' is invalid. Expect an image id of the form \
                 '/SharedGalleries/{galleryName}/Images/{imageName}[/Versions/{version}]'. An image of a community gallery is \
                 named by 'communityGalleryImageId'.",
                Some(&format!("{P}.storageProfile.source.id")),
            ),
        ),
        (
            "recorded snapshots and a blob",
            disks(
                snapshot("s1"),
                json!([
                    lun(0, snapshot("s2")),
                    lun(
                        1,
                        json!({ "id": format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/a"), "uri": "https://a/b.vhd" })
                    )
                ]),
            ),
            stored(json!({
            "/storageProfile/osDiskImage": { "hostCaching": "ReadWrite", "source": snapshot("s1") },
            "/storageProfile/dataDiskImages/0": { "lun": 0, "hostCaching": "ReadOnly", "source": snapshot("s2") },
            "/storageProfile/dataDiskImages/1/hostCaching": "ReadOnly", "/storageProfile/dataDiskImages/1/source/uri": "https://a/b.vhd" })),
        ),
        (
            "caching is canonical",
            with(json!({ "osDiskImage": { "hostCaching": "readonly", "source": blob("os") } })),
            stored(json!({ "/storageProfile/osDiskImage/hostCaching": "ReadOnly" })),
        ),
        (
            "unknown caching",
            with(json!({ "osDiskImage": { "hostCaching": "Maybe", "source": blob("os") } })),
            invalid(
                &format!("{P}.storageProfile.osDiskImage.hostCaching"),
                "The value 'Maybe'",
            ),
        ),
        (
            "data disks alone",
            with(json!({ "dataDiskImages": [lun(0, blob("d"))] })),
            missing(&format!("{P}.storageProfile.osDiskImage")),
        ),
        (
            "system disk without a source",
            with(json!({ "osDiskImage": {}, "dataDiskImages": [lun(0, blob("d"))] })),
            one(),
        ),
        (
            "system disk of an image",
            disks(json!({ "id": image }), json!([])),
            invalid(
                &format!("{P}.storageProfile.osDiskImage.source.id"),
                &format!("The source id: {image} must be a managed disk or snapshot."),
            ),
        ),
        (
            "system disk of no id",
            disks(json!({ "id": "s1" }), json!([])),
            link("s1", "osDiskImage.source.id"),
        ),
        (
            "account that is none",
            disks(
                json!({ "uri": "https://a/b.vhd", "storageAccountId": "acc" }),
                json!([]),
            ),
            invalid(
                &format!("{P}.storageProfile.osDiskImage.source.storageAccountId"),
                "The value 'acc' must be the id of a storage account.",
            ),
        ),
        (
            "number twice",
            disks(blob("os"), json!([lun(0, blob("a")), lun(0, blob("b"))])),
            invalid(
                &data("lun"),
                "Duplicated lun numbers have been detected in the input data disks. Lun number must be unique for each data disk.",
            ),
        ),
        (
            "negative number",
            disks(blob("os"), json!([lun(-1, blob("a"))])),
            invalid(
                &data("lun"),
                "The value -1 of parameter lun is out of range. The value must be between 0 and 63, inclusive.",
            ),
        ),
        (
            "highest number",
            disks(blob("os"), json!([lun(63, blob("a"))])),
            stored(json!({ "/storageProfile/dataDiskImages/0/lun": 63 })),
        ),
        (
            "no number",
            disks(blob("os"), json!([{ "source": blob("a") }])),
            missing(&data("lun")),
        ),
        (
            "source twice",
            disks(
                blob("os"),
                json!([lun(0, snapshot("a")), lun(1, snapshot("A"))]),
            ),
            invalid(
                &data("source"),
                "Duplicated source ids are found in the input disks. Source id should be unique for each disk.",
            ),
        ),
        (
            "system disk's source again",
            disks(snapshot("a"), json!([lun(0, snapshot("a"))])),
            invalid(&data("source"), "Duplicated source ids"),
        ),
        (
            "system disk's blob again",
            disks(blob("os"), json!([lun(0, blob("os"))])),
            invalid(
                &data("source"),
                "OSDiskImage and DataDiskImage cannot point to same blob https://localhost/a/c/os.vhd",
            ),
        ),
    ];
    for (name, body, expected) in table {
        check(name, World::default().put(&id(), &body, None), &expected);
    }
}

fn made(storage: Value) -> Resource {
    let mut row = done(World::default().put(&id(), &with(storage), None).unwrap());
    row.properties["storageProfile"]["osDiskImage"]["sizeInGB"] = json!(30);
    row
}

#[test]
fn sources_of_updates() {
    let image = format!("{COMPUTE}/images/i");
    let mut whole_row = made(json!({ "source": { "id": image } }));
    whole_row.properties["storageProfile"] = json!({ "source": { "id": image }, "osDiskImage": { "sizeInGB": 30, "hostCaching": "ReadWrite", "source": {} },
        "dataDiskImages": [{ "lun": 0, "sizeInGB": 10, "hostCaching": "None" }] });
    let disk_row = made(
        json!({ "osDiskImage": { "source": snapshot("s1") }, "dataDiskImages": [{ "lun": 0, "source": snapshot("s2") }] }),
    );
    let lun_text = "Adding new Data Disks or changing the LUN of a Data Disk in an existing Image is not allowed.";
    let no_lun = || {
        refused(
            Conflict,
            "PropertyChangeNotAllowed",
            lun_text,
            Some(&format!("{P}.storageProfile.dataDiskImages.lun")),
        )
    };
    let same = json!({ "/storageProfile": whole_row.properties["storageProfile"] });
    let table: Vec<(&str, &Resource, Value, Expect)> = vec![
        (
            "recorded: caching alone",
            &whole_row,
            with(
                json!({ "osDiskImage": { "hostCaching": "ReadWrite" }, "dataDiskImages": [{ "hostCaching": "None", "lun": 0 }] }),
            ),
            stored(same.clone()),
        ),
        (
            "no profile",
            &whole_row,
            json!({ "location": "eastus" }),
            stored(same.clone()),
        ),
        (
            "the same source in other letters",
            &whole_row,
            whole("id", &image.to_uppercase()),
            stored(same),
        ),
        (
            "another source",
            &whole_row,
            whole("id", &format!("{COMPUTE}/images/j")),
            fixed(&format!("{P}.storageProfile.source.id")),
        ),
        (
            "a machine instead",
            &whole_row,
            whole("virtualMachineId", &format!("{COMPUTE}/virtualMachines/v")),
            fixed(&format!("{P}.storageProfile.source.virtualMachineId")),
        ),
        (
            "a system disk's source",
            &whole_row,
            disks(snapshot("x"), json!([])),
            fixed(&format!("{P}.storageProfile.osDiskImage.source.id")),
        ),
        (
            "another snapshot",
            &disk_row,
            disks(snapshot("x"), json!([])),
            fixed(&format!("{P}.storageProfile.osDiskImage.source.id")),
        ),
        (
            "a blob instead",
            &disk_row,
            disks(blob("x"), json!([])),
            fixed(&format!("{P}.storageProfile.osDiskImage.source.uri")),
        ),
        (
            "another data snapshot",
            &disk_row,
            disks(
                snapshot("s1"),
                json!([{ "lun": 0, "source": snapshot("x") }]),
            ),
            fixed(&format!("{P}.storageProfile.dataDiskImages.source.id")),
        ),
        (
            "a data disk more",
            &disk_row,
            disks(
                snapshot("s1"),
                json!([{ "lun": 1, "source": snapshot("x") }]),
            ),
            no_lun(),
        ),
        (
            "another caching",
            &disk_row,
            with(json!({ "osDiskImage": { "hostCaching": "None" } })),
            fixed(&format!("{P}.storageProfile.osDiskImage.hostCaching")),
        ),
        (
            "another size is ignored",
            &disk_row,
            with(json!({ "osDiskImage": { "sizeInGB": 99 } })),
            stored(json!({ "/storageProfile/osDiskImage/sizeInGB": 30 })),
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
}

#[test]
fn the_secret_of_a_url_is_not_stored() {
    let url = "https://localhost/a/c/os.vhd";
    let secret = json!({ "uri": format!("{url}?sv=1&sig=CANARY") });
    let row = done(
        World::default()
            .put(&id(), &disks(secret.clone(), json!([])), None)
            .unwrap(),
    );
    let all = format!("{:?} {:?}", row.properties, row.internal);
    assert!(all.contains(url) && !all.contains("CANARY"), "{all}");
    for source in [secret, json!({ "uri": url })] {
        let again = World::default().put(&id(), &disks(source, json!([])), Some(&row));
        assert_eq!(again.unwrap().properties, row.properties);
    }
    let two = disks(
        json!({ "uri": format!("{url}?a") }),
        json!([{ "lun": 0, "source": { "uri": format!("{url}?b") } }]),
    );
    let target = format!("{P}.storageProfile.dataDiskImages.source");
    check(
        "twice behind two secrets",
        World::default().put(&id(), &two, None),
        &invalid(
            &target,
            "OSDiskImage and DataDiskImage cannot point to same blob",
        ),
    );
}

#[test]
fn sources_are_found_in_rows() {
    let row = made(
        json!({ "osDiskImage": { "source": snapshot("s1") }, "dataDiskImages": [{ "lun": 0, "source": blob("b") }, { "lun": 1, "source": snapshot("s2") }] }),
    );
    let ids: Vec<String> = source_ids(&row).iter().map(ResourceId::to_string).collect();
    assert_eq!(
        ids,
        [
            format!("{COMPUTE}/snapshots/s1"),
            format!("{COMPUTE}/snapshots/s2")
        ]
    );
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
fn generic_security_types_take_sources_without_guest_state() {
    let bodies = [
        (whole("id", &format!("{COMPUTE}/images/i")), true),
        (
            whole(
                "id",
                &format!("{COMPUTE}/galleries/h/images/e/versions/1.0.0"),
            ),
            true,
        ),
        (disks(blob("os"), json!([])), true),
        (
            whole("virtualMachineId", &format!("{COMPUTE}/virtualMachines/v")),
            false,
        ),
        (disks(snapshot("s"), json!([])), false),
        (
            disks(json!({ "id": format!("{COMPUTE}/disks/x") }), json!([])),
            false,
        ),
    ];
    for (security, is_generic) in [
        ("Standard", false),
        ("TrustedLaunch", false),
        ("ConfidentialVM", false),
        ("TrustedLaunchSupported", true),
        ("ConfidentialVMSupported", true),
        ("TrustedLaunchAndConfidentialVmSupported", true),
    ] {
        let parent = definition(security, Value::Null);
        let world = World {
            parent: Some(&parent),
            ..World::default()
        };
        for (body, is_stateless) in &bodies {
            let result = world.put(&id(), body, None);
            assert_eq!(
                result.is_ok(),
                !is_generic || *is_stateless,
                "{security} {body}"
            );
        }
    }
    let parent = definition("TrustedLaunchSupported", Value::Null);
    let world = World {
        parent: Some(&parent),
        ..World::default()
    };
    let disk = format!("{COMPUTE}/disks/x");
    check(
        "text",
        world.put(&id(), &disks(json!({ "id": disk }), json!([])), None),
        &invalid(
            &format!("{P}.storageProfile.source.id"),
            &format!(
                "The security type 'TrustedLaunchSupported' is not supported for the source id '{disk}'. Currently only Vhd Blob, User Image and Gallery Image Version sources are supported for 'TrustedLaunchSupported' images."
            ),
        ),
    );
}
