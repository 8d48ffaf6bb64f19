//! The real Azure CLI: `az vmss create`, which is a template deployment of networks and a scale set, and what follows.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

struct World {
    server: Gallery,
    definition: String,
    versions: [String; 2],
}

/// A server that runs machines without guests, with definition `debian` and its versions 1.0.0 and 2.0.0.
fn world() -> World {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 23)).await;
        let versions = ["1.0.0", "2.0.0"].map(|number| scene.version(number));
        for version in &versions {
            let body = scene.version_body(&source, &["eastus"]);
            scene
                .arm
                .done("PUT", version, GALLERY_VERSION, Some(&body))
                .await;
        }
        World {
            server,
            definition: scene.definition,
            versions,
        }
    })
}

fn run(az: &Az<'_>, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
    az.json(&words)
}

fn ids(instances: &Value) -> Vec<String> {
    let all = instances.as_array().into_iter().flatten();
    all.map(|one| member(one, "/instanceId").to_owned())
        .collect()
}

fn codes(view: &Value) -> Vec<(String, i64)> {
    let summary = view.pointer("/virtualMachine/statusesSummary");
    let all = summary.and_then(Value::as_array).into_iter().flatten();
    all.map(|one| {
        let count = one["count"].as_i64().unwrap_or_default();
        (member(one, "/code").to_owned(), count)
    })
    .collect()
}

#[test]
fn az_makes_a_uniform_set_and_leads_it_through_its_life() {
    let world = world();
    let az = Az::connect(&world.server);
    let create = format!(
        "vmss create -n ss1 --image {} --admin-username me --generate-ssh-keys --vm-sku Standard_B1s --instance-count 2 \
         --orchestration-mode Uniform --upgrade-policy-mode Manual",
        world.versions[0]
    );
    let made = run(&az, &create);
    assert_eq!(
        made.pointer("/vmss/orchestrationMode"),
        Some(&"Uniform".into()),
        "{made}"
    );
    let shown = run(&az, "vmss show -n ss1");
    assert_eq!(member(&shown, "/provisioningState"), "Succeeded");
    assert_eq!(shown["sku"]["capacity"], 2);
    let image = "/virtualMachineProfile/storageProfile/imageReference";
    assert_eq!(member(&shown, &format!("{image}/exactVersion")), "1.0.0");
    assert_eq!(ids(&run(&az, "vmss list-instances -n ss1")), ["0", "1"]);
    let ports = run(&az, "vmss list-instance-connection-info -n ss1");
    assert!(
        member(&ports, "/instance 0").ends_with(":50000")
            && member(&ports, "/instance 1").ends_with(":50001"),
        "{ports}"
    );
    assert_eq!(count(&run(&az, "vmss nic list --vmss-name ss1")), 2);

    run(&az, "vmss scale -n ss1 --new-capacity 4");
    assert_eq!(
        ids(&run(&az, "vmss list-instances -n ss1")),
        ["0", "1", "2", "3"]
    );
    run(&az, "vmss scale -n ss1 --new-capacity 2");
    assert_eq!(ids(&run(&az, "vmss list-instances -n ss1")), ["0", "1"]);
    assert_eq!(
        count(&run(&az, "disk list")),
        3,
        "two systems and the source"
    );
    run(&az, "vmss delete-instances -n ss1 --instance-ids 0");
    assert_eq!(ids(&run(&az, "vmss list-instances -n ss1")), ["1"]);
    run(&az, "vmss scale -n ss1 --new-capacity 2");
    assert_eq!(ids(&run(&az, "vmss list-instances -n ss1")), ["1", "4"]);

    let update = format!(
        "vmss update -n ss1 --set virtualMachineProfile.storageProfile.imageReference.id={}",
        world.versions[1]
    );
    run(&az, &update);
    let applied = |az: &Az<'_>| -> Vec<bool> {
        let all = run(az, "vmss list-instances -n ss1");
        let all = all.as_array().into_iter().flatten();
        all.map(|one| one["latestModelApplied"] == true).collect()
    };
    assert_eq!(applied(&az), [false, false]);
    run(&az, "vmss update-instances -n ss1 --instance-ids 1");
    assert_eq!(applied(&az), [true, false]);
    run(&az, "vmss update-instances -n ss1 --instance-ids *");
    assert_eq!(applied(&az), [true, true]);
    let one = run(&az, "vmss show -n ss1 --instance-id 1");
    let exact = "/storageProfile/imageReference/exactVersion";
    assert_eq!(member(&one, exact), "2.0.0", "{one}");

    run(&az, "vmss deallocate -n ss1");
    let view = run(&az, "vmss get-instance-view -n ss1");
    assert!(
        codes(&view).contains(&("PowerState/deallocated".to_owned(), 2)),
        "{view}"
    );
    run(&az, "vmss start -n ss1 --instance-ids 1");
    let view = run(&az, "vmss get-instance-view -n ss1 --instance-id 1");
    assert!(view.to_string().contains("PowerState/running"), "{view}");
    run(&az, "vmss start -n ss1");
    run(&az, "vmss restart -n ss1");
    run(&az, "vmss stop -n ss1");
    run(&az, "vmss start -n ss1");
    run(&az, "vmss reimage -n ss1");
    let view = run(&az, "vmss get-instance-view -n ss1");
    assert!(
        codes(&view).contains(&("PowerState/running".to_owned(), 2)),
        "{view}"
    );
    assert!(count(&run(&az, "vmss list-skus -n ss1")) > 0);
    run(&az, "vmss delete -n ss1");
    assert_eq!(count(&run(&az, "vmss list")), 0);
    assert_eq!(count(&run(&az, "disk list")), 1);
}

#[test]
fn az_makes_a_flexible_set_of_ordinary_machines() {
    let world = world();
    let az = Az::connect(&world.server);
    let create = format!(
        "vmss create -n ss1 --image {} --admin-username me --generate-ssh-keys --vm-sku Standard_B1s --instance-count 2 \
         --orchestration-mode Flexible",
        world.definition
    );
    run(&az, &create);
    let instances = run(&az, "vmss list-instances -n ss1");
    assert_eq!(count(&instances), 2, "{instances}");
    let machines = run(&az, "vm list");
    assert_eq!(count(&machines), 2);
    assert!(
        member(&machines, "/0/name").starts_with("ss1_"),
        "{machines}"
    );
    let set = run(&az, "vmss show -n ss1");
    assert_eq!(
        member(&machines, "/0/virtualMachineScaleSet/id").to_lowercase(),
        member(&set, "/id").to_lowercase()
    );
    let exact = "/0/storageProfile/imageReference/exactVersion";
    assert_eq!(member(&machines, exact), "2.0.0");
    // Who deletes one of them wants one less.
    run(&az, &format!("vm delete --yes -n {}", ids(&instances)[0]));
    assert_eq!(run(&az, "vmss show -n ss1")["sku"]["capacity"], 1);
    run(&az, "vmss scale -n ss1 --new-capacity 2");
    assert_eq!(count(&run(&az, "vm list")), 2);
    run(&az, "vmss delete -n ss1");
    assert_eq!(count(&run(&az, "vm list")), 0);
    az.json(&["group", "delete", "-n", "rg", "--yes"]);
    let left = az.json(&["resource", "list"]);
    assert_eq!(count(&left), 0, "{left}");
}

#[test]
fn az_gives_machines_addresses_disks_and_protection() {
    let world = world();
    let az = Az::connect(&world.server);
    let create = format!(
        "vmss create -n ss1 --image {} --admin-username me --generate-ssh-keys --vm-sku Standard_B1s --instance-count 2 \
         --orchestration-mode Uniform --upgrade-policy-mode Manual --public-ip-per-vm",
        world.versions[0]
    );
    run(&az, &create);
    let addresses = run(&az, "vmss list-instance-public-ips -n ss1");
    assert_eq!(count(&addresses), 2, "{addresses}");
    for one in addresses.as_array().into_iter().flatten() {
        assert!(member(one, "/ipAddress").starts_with("127."), "{one}");
        assert!(
            member(one, "/id").ends_with("/publicIPAddresses/instancepublicip"),
            "{one}"
        );
    }
    run(
        &az,
        "vmss update -n ss1 --instance-id 1 --protect-from-scale-in true",
    );
    run(&az, "disk create -n extra --size-gb 4");
    run(
        &az,
        "vmss disk attach --vmss-name ss1 --instance-id 1 --disk extra --lun 1",
    );
    let one = run(&az, "vmss show -n ss1 --instance-id 1");
    assert_eq!(one["protectionPolicy"]["protectFromScaleIn"], true, "{one}");
    assert!(
        member(&one, "/storageProfile/dataDisks/0/managedDisk/id").ends_with("/disks/extra"),
        "{one}"
    );
    run(&az, "vmss scale -n ss1 --new-capacity 1");
    assert_eq!(ids(&run(&az, "vmss list-instances -n ss1")), ["1"]);
    assert_eq!(count(&run(&az, "vmss list-instance-public-ips -n ss1")), 1);
    run(
        &az,
        "vmss disk detach --vmss-name ss1 --instance-id 1 --lun 1",
    );
    assert_eq!(run(&az, "disk show -n extra")["managedBy"], Value::Null);
    assert_eq!(count(&run(&az, "vmss get-os-upgrade-history -n ss1")), 0);
    let words = "vmss simulate-eviction -n ss1 --instance-id 1 -g rg";
    let refused = az.fails(&words.split(' ').collect::<Vec<_>>());
    assert!(refused.contains("evicts no machines"), "{refused}");
}
