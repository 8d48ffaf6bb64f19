//! The real Azure CLI: `az vm create`, which is a template deployment of networks and a machine.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

struct World {
    server: Gallery,
    definition: String,
    version: String,
    source: String,
}

/// A server that runs machines without guests, with definition `debian` and its version 1.0.0.
fn world() -> World {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 23)).await;
        let version = scene.version("1.0.0");
        let body = scene.version_body(&source, &["eastus"]);
        scene
            .arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        World {
            server,
            definition: scene.definition,
            version,
            source,
        }
    })
}

fn run(az: &Az<'_>, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
    az.json(&words)
}

#[test]
fn az_makes_a_machine_with_its_network_from_an_image() {
    let world = world();
    let az = Az::connect(&world.server);
    let create = format!(
        "vm create -n vm1 --image {} --admin-username me --generate-ssh-keys --size Standard_B1s",
        world.version
    );
    let valid = run(&az, &format!("{create} --validate"));
    assert_eq!(
        member(&valid, "/properties/provisioningState"),
        "Succeeded",
        "{valid}"
    );
    assert_eq!(count(&run(&az, "vm list")), 0);

    let made = run(&az, &create);
    assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
    assert!(
        member(&made, "/privateIpAddress").starts_with("10."),
        "{made}"
    );
    assert!(
        member(&made, "/publicIpAddress").starts_with("127."),
        "{made}"
    );
    assert!(member(&made, "/id").ends_with("/virtualMachines/vm1"));
    let shown = run(&az, "vm show -n vm1");
    assert_eq!(member(&shown, "/hardwareProfile/vmSize"), "Standard_B1s");
    assert_eq!(member(&shown, "/osProfile/adminUsername"), "me");
    assert_eq!(count(&run(&az, "network vnet list")), 1);
    assert_eq!(count(&run(&az, "network nsg list")), 1);

    let deployments = run(&az, "deployment group list");
    let name = member(&deployments, "/0/name").to_owned();
    let steps = run(
        &az,
        &format!("deployment operation group list --name {name}"),
    );
    assert_eq!(count(&steps), 5, "{steps}");
    // A second machine finds the network of the first.
    let made = run(&az, &format!("vm create -n vm2 --image {} --admin-username me --generate-ssh-keys --nsg {} --public-ip-address {}", world.definition, "''", "''").replace("''", ""));
    assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
    assert_eq!(count(&run(&az, "network vnet list")), 1);
    assert_eq!(count(&run(&az, "vm list")), 2);
    run(&az, "vm delete -n vm2 --yes");
    assert_eq!(count(&run(&az, "vm list")), 1);
}

#[test]
fn az_gives_a_machine_a_password_that_nobody_reads_back() {
    const PASSWORD: &str = "Hidden-Word-2026";
    let world = world();
    let az = Az::connect(&world.server);
    let create = format!(
        "vm create -n vm1 --image {} --admin-username me --admin-password {PASSWORD} --authentication-type password",
        world.version
    );
    // Twice: the second time everything is there, and nothing of it is a change.
    for _ in 0..2 {
        let made = run(&az, &create);
        assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
    }
    let deployments = run(&az, "deployment group list");
    assert!(!deployments.to_string().contains(PASSWORD), "{deployments}");
    assert!(!run(&az, "vm show -n vm1").to_string().contains(PASSWORD));
    assert!(!world.server.log_text().contains(PASSWORD));
}

#[test]
fn az_makes_a_machine_of_a_disk_and_says_why_it_cannot() {
    let world = world();
    let az = Az::connect(&world.server);
    let made = run(
        &az,
        &format!(
            "vm create -n vm1 --attach-os-disk {} --os-type linux",
            world.source
        ),
    );
    assert_eq!(member(&made, "/powerState"), "VM running", "{made}");
    let text = az.fails(&[
        "vm",
        "create",
        "-g",
        "rg",
        "-n",
        "vm2",
        "--image",
        &world.version,
        "--admin-username",
        "me",
        "--generate-ssh-keys",
        "--size",
        "Standard_None",
    ]);
    assert!(text.contains("Standard_None"), "{text}");
}
