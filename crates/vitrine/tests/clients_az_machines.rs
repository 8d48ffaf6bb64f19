//! The real Azure CLI: machines from images, their power and disks, images made of them.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m me@here\n";

/// A server with version 1.0.0 of `debian` in gallery `sig`, and the definition's id.
fn world() -> (Gallery, String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 11)).await;
        let body = scene.version_body(&source, &["eastus"]);
        let version = scene.version("1.0.0");
        scene
            .arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        (server, scene.definition.clone())
    })
}

fn power(az: &Az<'_>) -> String {
    let view = az.json(&["vm", "get-instance-view", "-g", "rg", "-n", "one"]);
    let statuses = view["instanceView"]["statuses"].as_array().cloned();
    let last = statuses.and_then(|all| all.last().cloned());
    last.unwrap_or_default()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn az_makes_machines_of_images_and_images_of_machines() {
    let (server, definition) = world();
    let az = Az::connect(&server);
    let key = server.scratch().join("key.pub");
    std::fs::write(&key, KEY).expect("the key can be written");
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
        az.json(&words)
    };
    let made = run(&format!(
        "vm create -n one --image {definition} --size Standard_B2s --admin-username me --ssh-key-values {} --nsg-rule SSH",
        key.display()
    ));
    assert_eq!(member(&made, "/powerState"), "VM running");
    assert!(
        member(&made, "/publicIpAddress").starts_with("127."),
        "{made}"
    );
    let shown = run("vm show -n one");
    let image = &shown["storageProfile"]["imageReference"];
    assert_eq!(member(image, "/exactVersion"), "1.0.0");
    assert_eq!(member(&shown, "/provisioningState"), "Succeeded");
    let listed = run("vm list -d");
    assert_eq!(count(&listed), 1);
    assert_eq!(member(&listed[0], "/powerState"), "VM running");

    run("vm disk attach --vm-name one --name data --new --size-gb 2 --sku Standard_LRS");
    let shown = run("vm show -n one");
    assert_eq!(count(&shown["storageProfile"]["dataDisks"]), 1);
    assert_eq!(member(&run("disk show -n data"), "/diskState"), "Attached");
    run("vm disk detach --vm-name one --name data");
    assert_eq!(
        member(&run("disk show -n data"), "/diskState"),
        "Unattached"
    );

    run("vm stop -n one");
    assert_eq!(power(&az), "PowerState/stopped");
    run("vm start -n one");
    run("vm restart -n one");
    assert_eq!(power(&az), "PowerState/running");
    let sizes = az.json(&["vm", "list-sizes", "-l", "eastus"]);
    assert!(
        sizes
            .as_array()
            .is_some_and(|all| all.iter().any(|s| s["name"] == "Standard_B2s"))
    );
    run("vm resize -n one --size Standard_B1s");
    run("vm update -n one --set tags.a=b");
    assert_eq!(
        member(&run("vm show -n one"), "/hardwareProfile/vmSize"),
        "Standard_B1s"
    );

    let text = az.fails(&[
        "image",
        "create",
        "-n",
        "i",
        "--source",
        "one",
        "-g",
        "rg",
        "--hyper-v-generation",
        "V2",
    ]);
    assert!(text.contains("has not been generalized"), "{text}");
    run("vm deallocate -n one");
    assert_eq!(power(&az), "PowerState/deallocated");
    run("vm generalize -n one");
    let image = run("image create -n i --source one --hyper-v-generation V2");
    assert_eq!(member(&image, "/provisioningState"), "Succeeded");
    let id: Value = shown["id"].clone();
    let version = run(&format!(
        "sig image-version create -r sig -i debian -e 2.0.0 --virtual-machine {}",
        id.as_str().unwrap_or_default()
    ));
    assert_eq!(member(&version, "/provisioningState"), "Succeeded");
    run("vm delete -n one --yes");
    assert_eq!(count(&run("vm list")), 0);
}
