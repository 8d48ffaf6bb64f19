//! The real, unmodified Azure CLI against the real server: the thread of the README, and back.

mod az;

use az::Az;
use serde_json::Value;
use testkit::{Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// A bootable disk as a fixed VHD, and the way back from one.
struct Image {
    raw: std::path::PathBuf,
    vhd: std::path::PathBuf,
}

impl Image {
    /// Takes the tiny guest's disk, grown to 64 MiB so that it has holes.
    fn tiny(server: &Gallery) -> Self {
        let tiny = az::tiny();
        let raw = server.scratch().join("tiny.raw");
        std::fs::copy(tiny.join("tiny.raw"), &raw).expect("the tiny guest's disk is there");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&raw)
            .expect("the copy can be opened");
        file.set_len(64 << 20).expect("the copy can be grown");
        let vhd = server.scratch().join("tiny.vhd");
        az::run(
            "qemu-img",
            &[
                "convert",
                "-f",
                "raw",
                "-O",
                "vpc",
                "-o",
                "subformat=fixed,force_size=on",
                &az::text(&raw),
                &az::text(&vhd),
            ],
        );
        Self { raw, vhd }
    }
}

#[test]
fn az_uploads_a_vhd_publishes_it_to_two_regions_and_downloads_the_same_bytes() {
    let server = az::start(Options::new(BINARY));
    let image = Image::tiny(&server);
    let az = Az::connect(&server);

    let group = az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    assert_eq!(group["properties"]["provisioningState"], "Succeeded");
    let (account, blob) = upload(&az, &image);
    az.json(&[
        "sig",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "-l",
        "eastus",
        "--description",
        "ours",
        "--tags",
        "team=images",
    ]);
    definition(&az);
    let version = publish(&az, &account, &blob);
    update(&az);
    comes_back(&az, &server, &image, &version);
    lists(&az);
    soft_deletes(&az);
    deletes(&az);
}

fn upload(az: &Az<'_>, image: &Image) -> (String, String) {
    let made = az.json(&[
        "storage",
        "account",
        "create",
        "-n",
        "imagestore1",
        "-g",
        "rg",
        "-l",
        "eastus",
        "--sku",
        "Standard_LRS",
    ]);
    let free = az.json(&["storage", "account", "check-name", "-n", "imagestore1"]);
    assert_eq!(
        (&free["nameAvailable"], &free["reason"]),
        (&false.into(), &"AlreadyExists".into())
    );
    let keys = az.json(&[
        "storage",
        "account",
        "keys",
        "list",
        "-n",
        "imagestore1",
        "-g",
        "rg",
    ]);
    let endpoint = az::member(&made, "/primaryEndpoints/blob")
        .trim_end_matches('/')
        .to_owned();
    let connection = format!(
        "DefaultEndpointsProtocol=https;AccountName=imagestore1;AccountKey={};BlobEndpoint={endpoint}",
        az::member(&keys, "/0/value")
    );
    let storage = |args: &[&str]| az.json(&[args, &["--connection-string", &connection]].concat());
    assert_eq!(
        storage(&["storage", "container", "create", "-n", "vhds"])["created"],
        true
    );
    storage(&[
        "storage",
        "blob",
        "upload",
        "-c",
        "vhds",
        "-n",
        "tiny.vhd",
        "--type",
        "page",
        "-f",
        &az::text(&image.vhd),
    ]);
    let listed = storage(&["storage", "blob", "list", "-c", "vhds"]);
    assert_eq!(az::member(&listed, "/0/name"), "tiny.vhd");
    let shown = storage(&["storage", "blob", "show", "-c", "vhds", "-n", "tiny.vhd"]);
    assert_eq!(shown["properties"]["contentLength"], (64 << 20) + 512);
    (
        az::member(&made, "/id").to_owned(),
        format!("{endpoint}/vhds/tiny.vhd"),
    )
}

fn definition(az: &Az<'_>) {
    let made = az.json(&[
        "sig",
        "image-definition",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "--publisher",
        "acme",
        "--offer",
        "linux",
        "--sku",
        "tiny",
        "--os-type",
        "Linux",
        "--os-state",
        "Generalized",
        "--hyper-v-generation",
        "V1",
        "--architecture",
        "x64",
        "--features",
        "IsAcceleratedNetworkSupported=true DiskControllerTypes=SCSI",
        "--minimum-cpu-core",
        "1",
        "--maximum-cpu-core",
        "4",
        "--minimum-memory",
        "1",
        "--maximum-memory",
        "8",
        "--description",
        "tiny guest",
        "--eula",
        "https://acme.example/eula",
        "--privacy-statement-uri",
        "https://acme.example/privacy",
        "--release-note-uri",
        "https://acme.example/notes",
        "--end-of-life-date",
        "2036-12-01",
        "--disallowed-disk-types",
        "Premium_LRS",
        "UltraSSD_LRS",
        "--plan-name",
        "free",
        "--plan-publisher",
        "acme",
        "--plan-product",
        "linux",
        "--tags",
        "a=b",
    ]);
    assert_eq!(
        made["features"][0]["name"], "IsAcceleratedNetworkSupported",
        "{made}"
    );
    assert_eq!(made["recommended"]["memory"]["max"], 8);
    let again = az.fails(&[
        "sig",
        "image-definition",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "other",
        "--publisher",
        "ACME",
        "--offer",
        "linux",
        "--sku",
        "tiny",
        "--os-type",
        "Linux",
        "--hyper-v-generation",
        "V1",
    ]);
    assert!(
        again.contains("Choose a different publisher, offer, sku combination."),
        "{again}"
    );
}

fn publish(az: &Az<'_>, account: &str, blob: &str) -> String {
    let bad = az.fails(&[
        "sig",
        "image-version",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "-e",
        "1.0",
        "--os-vhd-uri",
        blob,
        "--os-vhd-storage-account",
        account,
    ]);
    assert!(
        bad.contains("should follow Major(int).Minor(int).Patch(int) format"),
        "{bad}"
    );
    let made = az.json(&[
        "sig",
        "image-version",
        "create",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "-e",
        "1.0.0",
        "--os-vhd-uri",
        blob,
        "--os-vhd-storage-account",
        account,
        "--target-regions",
        "eastus=1=standard_lrs",
        "West Europe=2=standard_zrs",
        "--replica-count",
        "1",
        "--end-of-life-date",
        "2036-06-01",
    ]);
    assert_eq!(made["provisioningState"], "Succeeded", "{made}");
    let shown = az.json(&[
        "sig",
        "image-version",
        "show",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "-e",
        "1.0.0",
        "--expand",
        "ReplicationStatus",
    ]);
    assert_eq!(
        shown["replicationStatus"]["aggregatedState"], "Completed",
        "{shown}"
    );
    assert_eq!(
        shown["publishingProfile"]["targetRegions"][1]["storageAccountType"],
        "Standard_ZRS"
    );
    az::member(&shown, "/id").to_owned()
}

fn update(az: &Az<'_>) {
    let base = [
        "sig",
        "image-version",
        "update",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "-e",
        "1.0.0",
    ];
    let changed = az.json(
        &[
            &base[..],
            &[
                "--target-regions",
                "eastus=1",
                "westeurope=3=standard_zrs",
                "westus2",
            ],
        ]
        .concat(),
    );
    assert_eq!(
        changed["publishingProfile"]["targetRegions"][1]["regionalReplicaCount"], 3,
        "{changed}"
    );
    let refused = az.fails(&[&base[..], &["--target-regions", "eastus=1"]].concat());
    assert!(
        refused.contains("Complete set of target locations not specified"),
        "{refused}"
    );
    let excluded = az.json(
        &[
            &base[..],
            &["--set", "publishingProfile.excludeFromLatest=true"],
        ]
        .concat(),
    );
    assert_eq!(excluded["publishingProfile"]["excludeFromLatest"], true);
    az.json(
        &[
            &base[..],
            &["--set", "publishingProfile.excludeFromLatest=false"],
        ]
        .concat(),
    );
    let named = az.json(&[
        "sig",
        "update",
        "-g",
        "rg",
        "-r",
        "sig",
        "--set",
        "description=changed",
    ]);
    assert_eq!(
        (&named["description"], &named["tags"]["team"]),
        (&"changed".into(), &"images".into())
    );
}

fn comes_back(az: &Az<'_>, server: &Gallery, image: &Image, version: &str) {
    let far = [
        "disk",
        "create",
        "-g",
        "rg",
        "-n",
        "far",
        "-l",
        "westeurope",
        "--gallery-image-reference",
        version,
    ];
    // The definition forbids what az chooses when it is told nothing.
    let premium = az.fails(&far);
    assert!(
        premium.contains("The disk type 'Premium_LRS' is not allowed"),
        "{premium}"
    );
    let made = az.json(&[&far[..], &["--sku", "Standard_LRS"]].concat());
    assert_eq!(
        (&made["provisioningState"], &made["diskState"]),
        (&"Succeeded".into(), &"Unattached".into()),
        "{made}"
    );
    let access = az.json(&[
        "disk",
        "grant-access",
        "-g",
        "rg",
        "-n",
        "far",
        "--duration-in-seconds",
        "3600",
    ]);
    let url = access["accessSAS"]
        .as_str()
        .or(access["accessSas"].as_str())
        .expect("a URL was granted");
    let (vhd, raw) = (
        server.scratch().join("out.vhd"),
        server.scratch().join("out.raw"),
    );
    az::run(
        "curl",
        &[
            "-sf",
            "--cacert",
            &az::text(&server.ca()),
            "-o",
            &az::text(&vhd),
            url,
        ],
    );
    az::run(
        "qemu-img",
        &[
            "convert",
            "-f",
            "vpc",
            "-O",
            "raw",
            &az::text(&vhd),
            &az::text(&raw),
        ],
    );
    assert_eq!(
        az::sha256(&raw),
        az::sha256(&image.raw),
        "the bytes that come out are those that went in"
    );
    az::boots(&raw);
    az.json(&["disk", "revoke-access", "-g", "rg", "-n", "far"]);
    let revoked = az::output(
        "curl",
        &[
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &az::text(&server.ca()),
            url,
        ],
    );
    assert_eq!(revoked, "403");
    let elsewhere = az.fails(&[
        "disk",
        "create",
        "-g",
        "rg",
        "-n",
        "none",
        "-l",
        "eastus",
        "--gallery-image-reference",
        &version.replace("1.0.0", "9.9.9"),
    ]);
    assert!(
        elsewhere.contains("is not available in eastus region"),
        "{elsewhere}"
    );
    az.json(&["disk", "update", "-g", "rg", "-n", "far", "--size-gb", "2"]);
    let smaller = az.fails(&["disk", "update", "-g", "rg", "-n", "far", "--size-gb", "1"]);
    assert!(smaller.contains("cannot be resized down"), "{smaller}");
    az.json(&["disk", "delete", "-g", "rg", "-n", "far", "--yes"]);
}

fn lists(az: &Az<'_>) {
    let documented =
        az.shell("az account list -otsv --query \"[].id\" | xargs -n 1 az sig list --subscription");
    let listed: Value = serde_json::from_str(&documented).expect("az prints JSON");
    assert_eq!(az::member(&listed, "/0/name"), "sig");
    assert_eq!(
        az::count(&az.json(&["sig", "image-definition", "list", "-g", "rg", "-r", "sig"])),
        1
    );
    assert_eq!(
        az::count(&az.json(&[
            "resource",
            "list",
            "-g",
            "rg",
            "--resource-type",
            "Microsoft.Compute/galleries"
        ])),
        1
    );
    let tagged = az.json(&["tag", "list"]);
    assert!(tagged.to_string().contains("team"), "{tagged}");
    assert!(az::count(&az.json(&["account", "list-locations"])) >= 3);
    assert_eq!(
        az.json(&["provider", "show", "-n", "Microsoft.Compute"])["registrationState"],
        "Registered"
    );
}

fn soft_deletes(az: &Az<'_>) {
    let version = ["-g", "rg", "-r", "sig", "-i", "tiny", "-e", "1.0.0"];
    az.json(&[
        "sig",
        "update",
        "-g",
        "rg",
        "-r",
        "sig",
        "--soft-delete",
        "true",
    ]);
    az.json(&[&["sig", "image-version", "delete"], &version[..]].concat());
    assert_eq!(
        az::count(&az.json(&[
            "sig",
            "image-version",
            "list",
            "-g",
            "rg",
            "-r",
            "sig",
            "-i",
            "tiny"
        ])),
        0
    );
    let hidden = az.json(&[
        "sig",
        "image-version",
        "list-soft-deleted",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
    ]);
    assert_eq!(az::member(&hidden, "/0/name"), "1.0.0", "{hidden}");
    let back = az.json(&[&["sig", "image-version", "undelete"], &version[..]].concat());
    assert_eq!(back["provisioningState"], "Succeeded", "{back}");
    assert_eq!(
        az::count(&az.json(&[
            "sig",
            "image-version",
            "list",
            "-g",
            "rg",
            "-r",
            "sig",
            "-i",
            "tiny"
        ])),
        1
    );
}

fn deletes(az: &Az<'_>) {
    let nested = az.fails(&[
        "sig",
        "image-definition",
        "delete",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
    ]);
    assert!(
        nested.contains("Cannot delete resource while nested resources exist"),
        "{nested}"
    );
    az.json(&[
        "sig",
        "update",
        "-g",
        "rg",
        "-r",
        "sig",
        "--soft-delete",
        "false",
    ]);
    az.json(&[
        "sig",
        "image-version",
        "delete",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
        "-e",
        "1.0.0",
    ]);
    az.json(&[
        "sig",
        "image-definition",
        "delete",
        "-g",
        "rg",
        "-r",
        "sig",
        "-i",
        "tiny",
    ]);
    az.json(&["sig", "delete", "-g", "rg", "-r", "sig"]);
    az.json(&[
        "storage",
        "account",
        "delete",
        "-n",
        "imagestore1",
        "-g",
        "rg",
        "--yes",
    ]);
    az.json(&["group", "delete", "-n", "rg", "--yes"]);
    assert_eq!(az.json(&["group", "exists", "-n", "rg"]), false);
}

#[test]
fn az_signs_in_as_a_managed_identity() {
    let server = az::start(Options::new(BINARY));
    let az = Az::connect(&server);
    let identity = az.with_identity();
    let signed_in = identity.json(&["login", "--identity"]);
    assert_eq!(
        signed_in[0]["user"]["type"], "servicePrincipal",
        "{signed_in}"
    );
    identity.json(&["group", "create", "-n", "mine", "-l", "westus2"]);
    assert_eq!(az::count(&az.json(&["group", "list"])), 1);
}
