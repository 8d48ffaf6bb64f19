//! The real Azure CLI: snapshots, managed images, disk encryption sets, and versions made from them.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// A server with gallery `sig`, definition `debian` and the disk `source`, and az signed in to it.
struct World {
    server: Gallery,
    source: String,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        runtime.block_on(async {
            let server = Gallery::start(Options::new(BINARY)).await;
            let scene = Scene::new(&server).await;
            let source = scene.upload("source", &random_disk(2 << 20, 11)).await;
            Self { server, source }
        })
    }

    /// Runs words of a command line in group `rg`.
    fn run(&self, az: &Az<'_>, line: &str) -> Value {
        let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
        let _ = &self.server;
        az.json(&words)
    }
}

#[test]
fn az_takes_snapshots_and_makes_disks_and_versions_of_them() {
    let world = World::new();
    let az = Az::connect(&world.server);
    let run = |line: &str| world.run(&az, line);
    let made = run("snapshot create -n s1 --source source");
    assert_eq!(member(&made, "/provisioningState"), "Succeeded");
    assert_eq!(member(&made, "/sku/name"), "Standard_LRS");
    assert_eq!(
        member(&made, "/creationData/sourceResourceId"),
        world.source
    );
    assert_eq!(made["incremental"], false);
    let made = run("snapshot create -n s2 --source s1 --incremental true --tags a=b");
    assert_eq!(made["incremental"], true);
    assert_eq!(count(&run("snapshot list")), 2);
    let shown = run("snapshot show -n s2");
    assert_eq!(member(&shown, "/tags/a"), "b");
    let url = run("snapshot grant-access -n s1 --duration-in-seconds 600");
    let url = url["accessSAS"].as_str().or(url["accessSas"].as_str());
    let url = url.expect("a URL");
    assert!(url.contains("/blob/disk-access/"), "{url}");
    assert_eq!(
        member(&run("snapshot show -n s1"), "/diskState"),
        "ActiveSAS"
    );
    run("snapshot revoke-access -n s1");
    let updated = run("snapshot update -n s1 --set tags.c=d");
    assert_eq!(member(&updated, "/tags/c"), "d");

    let disk = run("disk create -n d1 --source s1 --sku StandardSSD_LRS");
    assert_eq!(member(&disk, "/creationData/createOption"), "Copy");
    assert_eq!(disk["diskSizeBytes"], 2 << 20);
    let version = run(
        "sig image-version create -r sig -i debian -e 1.0.0 --os-snapshot s1 --data-snapshots s2 --data-snapshot-luns 4",
    );
    assert_eq!(member(&version, "/provisioningState"), "Succeeded");
    assert_eq!(version["storageProfile"]["dataDiskImages"][0]["lun"], 4);
    run("snapshot delete -n s1");
    run("snapshot delete -n s2");
    let text = az.fails(&["snapshot", "show", "-n", "s1", "-g", "rg"]);
    assert!(text.contains("ResourceNotFound"), "{text}");
    assert_eq!(count(&run("snapshot list")), 0);
}

#[test]
fn az_makes_managed_images_and_versions_of_them() {
    let world = World::new();
    let az = Az::connect(&world.server);
    let run = |line: &str| world.run(&az, line);
    run("snapshot create -n data --source source");
    let image = run(
        "image create -n golden --source source --os-type Linux --hyper-v-generation V2 --data-disk-sources data",
    );
    assert_eq!(member(&image, "/provisioningState"), "Succeeded");
    let os = &image["storageProfile"]["osDisk"];
    assert_eq!(member(os, "/managedDisk/id"), world.source);
    assert_eq!(
        (&os["osState"], &os["diskSizeGb"].is_null()),
        (&"Generalized".into(), &true)
    );
    assert_eq!(count(&image["storageProfile"]["dataDisks"]), 1);
    assert_eq!(
        member(&run("image show -n golden"), "/hyperVGeneration"),
        "V2"
    );
    let tagged = run("image update -n golden --tags a=b");
    assert_eq!(member(&tagged, "/tags/a"), "b");
    assert_eq!(count(&run("image list")), 1);
    let version = run(
        "sig image-version create -r sig -i debian -e 1.0.0 --managed-image golden --target-regions eastus westus2=2",
    );
    let source = member(&version, "/storageProfile/source/id");
    assert!(source.ends_with("/images/golden"), "{source}");
    run("image delete -n golden");
    assert_eq!(count(&run("image list")), 0);
    let disk = run(&format!(
        "disk create -n back --gallery-image-reference {} --gallery-image-reference-lun 0 --sku Standard_LRS",
        member(&version, "/id")
    ));
    assert_eq!(member(&disk, "/provisioningState"), "Succeeded");
}

#[test]
fn az_names_disk_encryption_sets() {
    let world = World::new();
    let az = Az::connect(&world.server);
    let run = |line: &str| world.run(&az, line);
    let set = run(
        "disk-encryption-set create -n e1 --key-url https://vault/keys/k/1 --source-vault vault",
    );
    assert_eq!(member(&set, "/provisioningState"), "Succeeded");
    assert_eq!(member(&set, "/identity/type"), "SystemAssigned");
    assert_eq!(
        member(&set, "/encryptionType"),
        "EncryptionAtRestWithCustomerKey"
    );
    let disk = run(
        "disk create -n d1 --size-gb 4 --encryption-type EncryptionAtRestWithCustomerKey --disk-encryption-set e1",
    );
    assert_eq!(
        member(&disk, "/encryption/diskEncryptionSetId"),
        member(&set, "/id")
    );
    let users = run("disk-encryption-set list-associated-resources -n e1");
    assert_eq!(users[0], disk["id"]);
    assert_eq!(count(&run("disk-encryption-set list")), 1);
    let text = az.fails(&["disk-encryption-set", "delete", "-n", "e1", "-g", "rg"]);
    assert!(
        text.contains("OperationNotAllowed") || text.contains("is used by"),
        "{text}"
    );
    run("disk delete -n d1 --yes");
    run("disk-encryption-set delete -n e1");
    assert_eq!(count(&run("disk-encryption-set list")), 0);
}
