//! Scale sets: a crash at any await of any look leaves as many machines as are wanted, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use domain::operation::Work;
use domain::scale_set as rules;
use domain::virtual_machine::{Power, disks};
use domain::{Kind, ProvisioningState, Resource, ResourceId};
use engine::{ListFilter, SetAction};
use serde_json::{Value, json};

use super::crash::{BYTES, for_each_crash, template};
use super::world::{World, noise, version_body};

fn network(world: &World, rest: &str) -> ResourceId {
    let group = ResourceId::group(&world.subscription, "rg");
    ResourceId::parse(&format!("{group}/providers/Microsoft.Network/{rest}")).unwrap()
}

pub fn ss(world: &World) -> ResourceId {
    world.id("virtualMachineScaleSets/ss")
}

pub fn set_body(world: &World, image: &ResourceId, mode: &str, capacity: usize) -> Value {
    let subnet = network(world, "virtualNetworks/net/subnets/default");
    json!({
        "location": "eastus",
        "sku": { "name": "Standard_B1s", "capacity": capacity },
        "properties": {
            "orchestrationMode": mode,
            "platformFaultDomainCount": 1,
            "upgradePolicy": { "mode": "Manual" },
            "virtualMachineProfile": {
                "storageProfile": { "imageReference": { "id": image.to_string() } },
                "osProfile": { "computerNamePrefix": "ss", "adminUsername": "me", "adminPassword": "Passw0rd!" },
                "networkProfile": { "networkInterfaceConfigurations": [{
                    "name": "nic",
                    "properties": { "primary": true, "ipConfigurations": [{
                        "name": "ip", "properties": { "subnet": { "id": subnet.to_string() } },
                    }] },
                }] },
            },
        },
    })
}

pub async fn publish(world: &World, number: &str) -> ResourceId {
    let source = world
        .disk(&format!("source-{number}"), "eastus", &noise(BYTES, 1))
        .await;
    let version = world.version(number);
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    version
}

pub async fn prepare(world: &World) -> ResourceId {
    let body = json!({ "location": "eastus", "properties": {
        "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] },
        "subnets": [{ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } }],
    } });
    let net = network(world, "virtualNetworks/net");
    world.make(&net, &body).await.unwrap();
    publish(world, "1.0.0").await
}

pub async fn make(world: &World, mode: &str, capacity: usize) -> Resource {
    let version = prepare(world).await;
    let body = set_body(world, &version, mode, capacity);
    world.make(&ss(world), &body).await.unwrap()
}

pub async fn rows(world: &World, kind: Kind) -> Vec<Resource> {
    let filter = ListFilter {
        subscription: world.subscription.clone(),
        kind: Some(kind),
        ..ListFilter::default()
    };
    let mut read = world.engine.catalog().read().await.unwrap();
    read.list(&filter, None, 1000).await.unwrap().items
}

/// The set is well and has exactly these machines, each with one disk and one interface, and nothing is left over.
pub async fn has(world: &World, mode: &str, count: usize, sources: usize) -> Vec<Resource> {
    let set = world.engine.get(&world.ctx, &ss(world)).await.unwrap();
    assert_eq!(set.state, ProvisioningState::Succeeded);
    assert_eq!(rules::capacity(&set), count);
    let (kind, cards) = match mode {
        "Flexible" => (Kind::VirtualMachine, Kind::NetworkInterface),
        _ => (Kind::ScaleSetMachine, Kind::ScaleSetInterface),
    };
    let machines = rows(world, kind).await;
    assert_eq!(machines.len(), count);
    for machine in &machines {
        assert_eq!(machine.state, ProvisioningState::Succeeded);
        assert_eq!(Power::of(machine), Power::Running);
    }
    assert_eq!(rows(world, cards).await.len(), count);
    assert_eq!(rows(world, Kind::Disk).await.len(), count + sources);
    machines
}

#[test]
fn a_set_gets_its_machines_once_after_a_crash_at_any_point() {
    for mode in ["Uniform", "Flexible"] {
        let template = template(async |world| {
            let version = prepare(world).await;
            let body = set_body(world, &version, mode, 2);
            world.put(&ss(world), &body).await.unwrap();
        });
        for_each_crash(&template, async |world| {
            for machine in has(world, mode, 2, 1).await {
                let os = disks(&machine).remove(0);
                assert!(world.read_disk(&os.id, BYTES).await == noise(BYTES, 1));
            }
        });
    }
}

#[test]
fn a_set_loses_machines_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world, "Uniform", 3).await;
        let body = json!({ "sku": { "name": "Standard_B1s", "capacity": 1 } });
        let patched = world.engine.patch(&world.ctx, &ss(world), &body).await;
        patched.unwrap();
    });
    for_each_crash(&template, async |world| {
        has(world, "Uniform", 1, 1).await;
    });
}

#[test]
fn a_model_is_given_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world, "Uniform", 1).await;
        let version = publish(world, "2.0.0").await;
        give_image(world, json!({ "id": version.to_string() })).await;
        let all = json!({ "instanceIds": ["*"] });
        let update = SetAction::Update;
        let id = ss(world);
        let asked = world
            .engine
            .scale_set_action(&world.ctx, &id, update, (&all, false));
        asked.await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let machines = has(world, "Uniform", 1, 2).await;
        let version = world.version("2.0.0").to_string();
        assert_eq!(machines[0].internal["imageVersion"], json!(version));
    });
}

#[test]
fn a_deleted_set_leaves_nothing_after_a_crash_at_any_point() {
    let template = template(async |world| {
        make(world, "Uniform", 2).await;
        world.delete(&ss(world)).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let gone = world.engine.get(&world.ctx, &ss(world)).await.unwrap_err();
        assert_eq!(gone.code, "ResourceNotFound");
        assert_eq!(rows(world, Kind::ScaleSetMachine).await.len(), 0);
        assert_eq!(rows(world, Kind::ScaleSetInterface).await.len(), 0);
        assert_eq!(rows(world, Kind::Disk).await.len(), 1);
    });
}

#[tokio::test]
async fn a_set_whose_version_was_deleted_grows_no_more_and_says_why() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    make(&world, "Uniform", 1).await;
    world.remove(&world.version("1.0.0")).await;
    let body = json!({ "sku": { "name": "Standard_B1s", "capacity": 2 } });
    let accepted = world.engine.patch(&world.ctx, &ss(&world), &body).await;
    let operation = accepted.unwrap().operation.unwrap();
    world.settle().await;
    let error = world.operation(&operation).await.error.unwrap();
    assert_eq!(error.code, "GalleryImageNotFound", "{error}");
    assert_eq!(rows(&world, Kind::ScaleSetMachine).await.len(), 1);
}

#[tokio::test]
async fn a_set_that_follows_its_image_is_upgraded_when_a_version_is_published() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let version = prepare(&world).await;
    let definition = version.parent().unwrap();
    let mut body = set_body(&world, &definition, "Uniform", 2);
    body["properties"]["upgradePolicy"]["automaticOSUpgradePolicy"] =
        json!({ "enableAutomaticOSUpgrade": true });
    world.make(&ss(&world), &body).await.unwrap();
    assert_eq!(world.engine.upgrade_followers().await.unwrap(), 0);
    publish(&world, "1.1.0").await;
    assert_eq!(world.engine.upgrade_followers().await.unwrap(), 1);
    assert_eq!(world.engine.upgrade_followers().await.unwrap(), 0);
    world.settle().await;
    let newest = world.version("1.1.0").to_string();
    for machine in has(&world, "Uniform", 2, 2).await {
        assert_eq!(machine.internal["imageVersion"], json!(newest));
    }
    let shown = world.engine.latest_upgrade(&world.ctx, &ss(&world)).await;
    let shown = shown.unwrap();
    assert_eq!(shown["properties"]["runningStatus"]["code"], "Completed");
    assert_eq!(
        shown["properties"]["progress"]["successfulInstanceCount"],
        2
    );
    assert_eq!(world.engine.upgrade_followers().await.unwrap(), 0);
}

pub async fn act(world: &World, asked: SetAction) {
    let all = json!({ "instanceIds": ["*"] });
    let id = ss(world);
    let asked = world
        .engine
        .scale_set_action(&world.ctx, &id, asked, (&all, false));
    let operation = asked.await.unwrap().operation.unwrap();
    world.settle().await;
    assert_eq!(world.operation(&operation).await.error, None);
}

pub async fn begin_image(world: &World, image: Value) {
    let image = json!({ "storageProfile": { "imageReference": image } });
    let body = json!({ "properties": { "virtualMachineProfile": image } });
    let patched = world.engine.patch(&world.ctx, &ss(world), &body).await;
    patched.unwrap();
}

pub async fn give_image(world: &World, image: Value) {
    begin_image(world, image).await;
    world.settle().await;
}

#[tokio::test]
async fn a_reimage_starts_what_stands_still_and_a_new_image_does_not() {
    for (mode, kind) in [
        ("Uniform", Kind::ScaleSetMachine),
        ("Flexible", Kind::VirtualMachine),
    ] {
        let world = World::new().await;
        world.gallery(json!({})).await;
        make(&world, mode, 1).await;
        act(&world, SetAction::Power(Work::Deallocate)).await;
        let version = publish(&world, "2.0.0").await;
        give_image(&world, json!({ "id": version.to_string() })).await;
        act(&world, SetAction::Update).await;
        let machine = rows(&world, kind).await.remove(0);
        assert_eq!(machine.internal["imageVersion"], json!(version.to_string()));
        assert_eq!(Power::of(&machine), Power::Deallocated, "{mode}");
        let second = disks(&machine).remove(0).id;
        act(&world, SetAction::Reimage).await;
        let machine = has(&world, mode, 1, 2).await.remove(0);
        let third = disks(&machine).remove(0).id;
        assert_ne!(second, third, "{mode}");
        let disk = world.engine.get(&world.ctx, &third).await.unwrap();
        assert_eq!(disk.properties["diskState"], "Attached", "{mode}");
        world.nothing_is_orphaned().await;
    }
}

#[tokio::test]
async fn the_old_system_disk_of_a_flexible_sets_machine_stays_where_its_option_says_so() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    make(&world, "Flexible", 1).await;
    let machine = rows(&world, Kind::VirtualMachine).await.remove(0);
    let first = disks(&machine).remove(0).id;
    let own = world.disk("own", "eastus", &noise(BYTES, 4)).await;
    let body = json!({ "properties": { "storageProfile": {
        "osDisk": { "deleteOption": "Detach" },
        "dataDisks": [{ "lun": 0, "createOption": "Attach", "managedDisk": { "id": own.to_string() } }],
    } } });
    let patched = world.engine.patch(&world.ctx, &machine.id, &body).await;
    patched.unwrap();
    world.settle().await;
    let nothing = json!({});
    let asked = world.engine.reimage(&world.ctx, &machine.id, &nothing);
    asked.await.unwrap();
    world.settle().await;
    assert!(world.read_disk(&first, BYTES).await == noise(BYTES, 1));
    // A reimage by the set brings the set's model; the disk that was attached by hand is no part of it and stays.
    act(&world, SetAction::Reimage).await;
    assert!(world.read_disk(&own, BYTES).await == noise(BYTES, 4));
    let disk = world.engine.get(&world.ctx, &own).await.unwrap();
    assert_eq!(disk.properties["diskState"], "Attached");
    world.nothing_is_orphaned().await;
}
