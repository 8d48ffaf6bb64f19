//! The real Azure CLI: images of the marketplace, as `az vm image` lists them and `az vm create` uses them.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const SKU: &str = "Canonical:ubuntu-24_04-lts:server";

/// A server whose operator offers versions 24.4.1 and 24.4.2 of a definition.
fn world() -> Gallery {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 29)).await;
        for number in ["24.4.1", "24.4.2"] {
            let body = scene.version_body(&source, &["eastus"]);
            let version = scene.version(number);
            let arm = &scene.arm;
            arm.done("PUT", &version, GALLERY_VERSION, Some(&body))
                .await;
        }
        let offer = ["image", "offer", &scene.definition, "--as", SKU];
        let offered = server.vitrine(&[&offer[..], &["--alias", "Ubuntu2404"]].concat());
        assert!(offered.status.success(), "{offered:?}");
        server
    })
}

fn run(az: &Az<'_>, line: &str) -> Value {
    az.json(&line.split(' ').collect::<Vec<_>>())
}

fn names(list: &Value, pointer: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| member(item, pointer).to_owned()).collect()
}

#[test]
fn az_lists_images_that_the_operator_offers() {
    let server = world();
    let az = Az::connect(&server);
    let at = "-l eastus -p Canonical";
    let publishers = run(&az, "vm image list-publishers -l eastus");
    assert_eq!(names(&publishers, "/name"), ["Canonical"]);
    let offers = run(&az, &format!("vm image list-offers {at}"));
    assert_eq!(names(&offers, "/name"), ["ubuntu-24_04-lts"]);
    let skus = run(&az, &format!("vm image list-skus {at} -f ubuntu-24_04-lts"));
    assert_eq!(names(&skus, "/name"), ["server"]);
    let all = run(&az, "vm image list -l eastus --all");
    let urns = ["24.4.1", "24.4.2"].map(|number| format!("{SKU}:{number}"));
    let mut found = names(&all, "/urn");
    found.sort();
    assert_eq!(found, urns);
    assert_eq!(member(&all, "/0/architecture"), "x64", "{all}");
    assert_eq!(
        member(&all, "/0/imageDeprecationStatus/imageState"),
        "Active",
        "{all}"
    );

    // Without --all: the words that the operator chose, and no others.
    let words = run(&az, "vm image list");
    assert_eq!(names(&words, "/urnAlias"), ["Ubuntu2404"]);
    let shown = run(&az, &format!("vm image show -l eastus --urn {SKU}:latest"));
    assert_eq!(member(&shown, "/name"), "24.4.2", "{shown}");
    assert_eq!(member(&shown, "/osDiskImage/operatingSystem"), "Linux");
    let missing = "vm image show -l eastus --urn Canonical:ubuntu-24_04-lts:desktop:1.0.0";
    let said = az.fails(&missing.split(' ').collect::<Vec<_>>());
    assert!(said.contains("Artifact: VMImage was not found."), "{said}");
}

#[test]
fn az_makes_machines_from_the_name_and_from_one_word_and_captures_them() {
    let server = world();
    let az = Az::connect(&server);
    let who = "--admin-username me --generate-ssh-keys --size Standard_B1s -g rg";
    for (name, image) in [
        ("vm1", format!("{SKU}:latest")),
        ("vm2", "ubuntu2404".to_owned()),
        ("vm3", format!("{SKU}:24.4.1")),
    ] {
        let made = run(&az, &format!("vm create -n {name} --image {image} {who}"));
        assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
        let shown = run(&az, &format!("vm show -n {name} -g rg"));
        let reference = "/storageProfile/imageReference";
        assert_eq!(
            member(&shown, &format!("{reference}/offer")),
            "ubuntu-24_04-lts"
        );
        let exact = if name == "vm3" { "24.4.1" } else { "24.4.2" };
        assert_eq!(member(&shown, &format!("{reference}/exactVersion")), exact);
    }
    let wrong = format!("vm create -n vm4 --image Canonical:ubuntu-24_04-lts:desktop:latest {who}");
    let said = az.fails(&wrong.split(' ').collect::<Vec<_>>());
    assert!(said.contains("Artifact: VMImage was not found."), "{said}");
    assert_eq!(count(&run(&az, "vm list -g rg")), 3);

    run(&az, "vm deallocate -n vm1 -g rg");
    run(&az, "vm generalize -n vm1 -g rg");
    let image = run(
        &az,
        "image create -n golden --source vm1 -g rg --hyper-v-generation V2",
    );
    assert_eq!(member(&image, "/provisioningState"), "Succeeded", "{image}");
    let made = run(&az, &format!("vm create -n vm5 --image golden {who}"));
    assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
}
