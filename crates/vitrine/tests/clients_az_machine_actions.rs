//! The real Azure CLI: several disks at once, reimaging, sizes, and what is not offered.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// A server with machine `one` of version 1.0.0, and the path of its group.
fn world() -> (Gallery, Scene) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 29)).await;
        let body = scene.version_body(&source, &["eastus"]);
        let version = scene.version("1.0.0");
        let put = scene
            .arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body));
        put.await;
        (server, scene)
    })
}

#[test]
fn az_changes_disks_and_reimages_and_says_what_is_not_offered() {
    let (server, scene) = world();
    let az = Az::connect(&server);
    let run = |line: &str| {
        let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
        az.json(&words)
    };
    let refused = |line: &str, text: &str| {
        let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
        let said = az.fails(&words);
        assert!(
            said.contains("(OperationNotAllowed)") && said.contains(text),
            "az {line}: {said}"
        );
    };
    let definition = &scene.definition;
    run(&format!(
        "vm create -n one --image {definition} --size Standard_B2s --admin-username me --generate-ssh-keys --nsg-rule NONE"
    ));
    let disk = |name: &str| {
        run(&format!("disk create -n {name} --size-gb 1"));
        scene.disk(name)
    };
    let (a, b) = (disk("a"), disk("b"));
    disk("c");
    let attached = || {
        let shown = run("vm show -n one");
        let disks = shown["storageProfile"]["dataDisks"].as_array().cloned();
        let name = |disk: &Value| format!("{}:{}", disk["lun"], member(disk, "/name"));
        disks
            .unwrap_or_default()
            .iter()
            .map(name)
            .collect::<Vec<_>>()
    };
    run(&format!("vm disk attach --vm-name one --disks {a} {b}"));
    assert_eq!(attached(), ["0:a", "1:b"]);
    let profile = run(&format!("vm disk detach --vm-name one --disk-ids {a} {b}"));
    assert_eq!(count(&profile["dataDisks"]), 0, "{profile}");
    assert!(attached().is_empty());
    run("vm disk attach --vm-name one --name c --lun 3");
    assert_eq!(attached(), ["3:c"]);
    run("vm disk detach --vm-name one --name c");
    assert!(attached().is_empty());

    let os = |shown: &Value| member(shown, "/storageProfile/osDisk/name").to_owned();
    let before = os(&run("vm show -n one"));
    run("vm reimage -n one");
    assert_ne!(os(&run("vm show -n one")), before);
    run("vm redeploy -n one");
    run("vm reapply -n one");
    run("vm resize -n one --size Standard_B1s");
    let sizes = run("vm list-vm-resize-options -n one");
    let names: Vec<&str> = sizes
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| member(s, "/name"))
        .collect();
    assert!(names.contains(&"Standard_B2s"), "{names:?}");
    assert_eq!(count(&run("vm extension list --vm-name one")), 0);
    assert_eq!(count(&run("vm run-command list --vm-name one")), 0);
    refused("vm simulate-eviction -n one", "evicts no machines");
    refused("vm perform-maintenance -n one", "no maintenance");
    refused(
        "vm run-command invoke -n one --command-id RunShellScript --scripts id",
        "it is simulated and has no guest",
    );
    refused(
        "vm user update -n one -u me -p Hidden-Word-2026",
        "Extensions cannot be installed",
    );
    refused("vm assess-patches -n one", "does not look into");
    refused("vm convert -n one", "managed already");
    refused("vm capture -n one --vhd-name-prefix x", "Create an image");
}
