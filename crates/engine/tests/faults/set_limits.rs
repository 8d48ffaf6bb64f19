//! Scale sets at their limits: quotas that are full, and upgrades that make machines sick.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use catalog::Content;
use domain::scale_set as rules;
use domain::virtual_machine::Power;
use domain::{Kind, ProvisioningState, ResourceId};
use engine::ByteQuota;
use serde_json::{Value, json};

use super::scale_sets::{begin_image, give_image, has, make, prepare, publish, rows, set_body, ss};
use super::world::World;

const GIB: i64 = 1 << 30;

fn kind_of(mode: &str) -> Kind {
    match mode {
        "Flexible" => Kind::VirtualMachine,
        _ => Kind::ScaleSetMachine,
    }
}

fn wanted(capacity: usize) -> Value {
    json!({ "sku": { "name": "Standard_B1s", "capacity": capacity } })
}

async fn quota(world: &World) -> ByteQuota {
    world.engine.byte_quota(&world.subscription).await.unwrap()
}

/// Leaves room for so many bytes more.
async fn leave_room(world: &World, bytes: i64) -> ByteQuota {
    let limit = quota(world).await.held_bytes + bytes;
    let set = world
        .engine
        .set_byte_quota(&world.subscription, Some(limit));
    set.await.unwrap()
}

#[tokio::test]
async fn a_scale_out_beyond_the_quota_of_bytes_is_refused_whole() {
    for mode in ["Uniform", "Flexible"] {
        let world = World::new().await;
        world.gallery(json!({})).await;
        make(&world, mode, 1).await;
        // A machine of this image has a disk of one GiB: one more fits, two do not.
        let before = leave_room(&world, 2 * GIB - 1).await;
        let refused = world
            .engine
            .patch(&world.ctx, &ss(&world), &wanted(3))
            .await;
        let error = refused.err().unwrap();
        assert_eq!(error.code, "QuotaExceeded", "{error}");
        let more = format!("Additional Required: {},", 2 * GIB);
        assert!(error.message.contains(&more), "{error}");
        assert_eq!(world.open_operations().await, 0);
        has(&world, mode, 1, 1).await;
        assert_eq!(quota(&world).await, before);
        let other = world.id("virtualMachineScaleSets/other");
        let body = set_body(&world, &world.version("1.0.0"), mode, 2);
        let refused = world.put(&other, &body).await.err().unwrap();
        assert_eq!(refused.code, "QuotaExceeded", "{refused}");
        let gone = world.engine.get(&world.ctx, &other).await.unwrap_err();
        assert_eq!(gone.code, "ResourceNotFound");

        let fits = world
            .engine
            .patch(&world.ctx, &ss(&world), &wanted(2))
            .await;
        fits.unwrap();
        world.settle().await;
        has(&world, mode, 2, 1).await;
        assert_eq!(quota(&world).await.held_bytes, before.held_bytes + GIB);
        world.nothing_is_orphaned().await;
        assert_eq!(quota(&world).await.held_bytes, 0);
    }
}

#[tokio::test]
async fn room_that_others_take_meanwhile_ends_the_scale_out_and_leaks_nothing() {
    for mode in ["Uniform", "Flexible"] {
        let world = World::new().await;
        world.gallery(json!({})).await;
        make(&world, mode, 1).await;
        let before = leave_room(&world, 2 * GIB).await;
        let patched = world
            .engine
            .patch(&world.ctx, &ss(&world), &wanted(3))
            .await;
        let operation = patched.unwrap().operation.unwrap();
        let other = world.id("disks/other");
        let empty = json!({ "location": "eastus", "properties": {
            "creationData": { "createOption": "Empty" }, "diskSizeGB": 1,
        } });
        world.put(&other, &empty).await.unwrap();
        world.settle().await;
        let error = world.operation(&operation).await.error.unwrap();
        assert_eq!(error.code, "QuotaExceeded", "{error}");
        // What fitted is there and runs; the set says that it is not what it should be.
        let set = world.engine.get(&world.ctx, &ss(&world)).await.unwrap();
        assert_eq!(set.state, ProvisioningState::Failed);
        assert_eq!(rules::capacity(&set), 3);
        let machines = rows(&world, kind_of(mode)).await;
        assert_eq!(machines.len(), 2);
        for machine in &machines {
            assert_eq!(machine.state, ProvisioningState::Succeeded);
            assert_eq!(Power::of(machine), Power::Running);
        }
        // The source, two machines' disks and the other one.
        assert_eq!(rows(&world, Kind::Disk).await.len(), 4);
        assert_eq!(quota(&world).await.held_bytes, before.held_bytes + 2 * GIB);

        world.remove(&other).await;
        let again = world
            .engine
            .patch(&world.ctx, &ss(&world), &wanted(3))
            .await;
        again.unwrap();
        world.settle().await;
        has(&world, mode, 3, 1).await;
        world.nothing_is_orphaned().await;
        assert_eq!(quota(&world).await.held_bytes, 0);
    }
}

/// Where the store of a region keeps what a version's system disk is.
async fn manifest_of(world: &World, version: &ResourceId) -> PathBuf {
    let Content::Manifest(id) = world.replicas(version).await.remove(0).content else {
        panic!("{version} has no manifest");
    };
    let mut left = vec![world.store_path("eastus")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                left.push(path);
            } else if name.contains(&id) {
                return path;
            }
        }
    }
    panic!("no file for {id}");
}

async fn rolling(world: &World, capacity: usize, unhealthy: u64, upgraded: u64) {
    let version = prepare(world).await;
    let mut body = set_body(world, &version, "Uniform", capacity);
    let extension = json!({ "name": "health", "properties": {
        "publisher": "Microsoft.ManagedServices", "type": "ApplicationHealthLinux", "typeHandlerVersion": "1.0",
    } });
    body["properties"]["upgradePolicy"] = json!({ "mode": "Rolling", "rollingUpgradePolicy": {
        "maxBatchInstancePercent": 20,
        "maxUnhealthyInstancePercent": unhealthy,
        "maxUnhealthyUpgradedInstancePercent": upgraded,
        "pauseTimeBetweenBatches": "PT5S",
    } });
    body["properties"]["virtualMachineProfile"]["extensionProfile"] =
        json!({ "extensions": [extension] });
    world.make(&ss(world), &body).await.unwrap();
}

/// How many machines failed, and how many run each version.
async fn fleet(world: &World) -> (usize, Vec<(String, usize)>) {
    let mut failed = 0;
    let mut versions = std::collections::BTreeMap::new();
    for machine in rows(world, Kind::ScaleSetMachine).await {
        if machine.state == ProvisioningState::Failed {
            failed += 1;
            continue;
        }
        assert_eq!(Power::of(&machine), Power::Running);
        let version = machine.internal["imageVersion"].as_str().unwrap();
        let number = version.rsplit('/').next().unwrap().to_owned();
        *versions.entry(number).or_insert(0) += 1;
    }
    (failed, versions.into_iter().collect())
}

#[tokio::test]
async fn a_rolling_upgrade_stops_when_the_machines_of_a_batch_cannot_be_made() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    rolling(&world, 5, 10, 10).await;
    let newer = publish(&world, "2.0.0").await;
    // The image cannot be read, as on a disk that failed: whoever is given it does not come up.
    let file = manifest_of(&world, &newer).await;
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    let world = world.restart().await;
    give_image(&world, json!({ "id": newer.to_string() })).await;
    let one = |number: &str, count| vec![(number.to_owned(), count)];
    assert_eq!(
        fleet(&world).await,
        (1, one("1.0.0", 4)),
        "one batch, no more"
    );
    let set = world.engine.get(&world.ctx, &ss(&world)).await.unwrap();
    assert_eq!(set.state, ProvisioningState::Failed);
    let shown = world.engine.latest_upgrade(&world.ctx, &ss(&world)).await;
    let shown = shown.unwrap();
    assert_eq!(shown["properties"]["runningStatus"]["code"], "Faulted");
    let progress = &shown["properties"]["progress"];
    let counts = [
        "successfulInstanceCount",
        "failedInstanceCount",
        "pendingInstanceCount",
    ];
    assert_eq!(
        counts.map(|name| progress[name].as_u64()),
        [Some(0), Some(1), Some(4)],
        "{shown}"
    );

    // Mended, the same model is asked for again: the sick machine is more than the policy bears, so it is made first.
    std::fs::rename(&aside, &file).unwrap();
    let world = world.restart().await;
    let sick = rows(&world, Kind::ScaleSetMachine).await;
    let sick = sick.iter().find(|m| m.state == ProvisioningState::Failed);
    let sick = json!({ "instanceIds": [sick.unwrap().id.name()] });
    let id = ss(&world);
    let asked = engine::SetAction::Reimage;
    let asked = world
        .engine
        .scale_set_action(&world.ctx, &id, asked, (&sick, false));
    asked.await.unwrap();
    world.settle().await;
    let again = world.engine.patch(&world.ctx, &id, &wanted(5)).await;
    again.unwrap();
    world.settle().await;
    assert_eq!(fleet(&world).await, (0, one("2.0.0", 5)));
    has(&world, "Uniform", 5, 2).await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_rolling_upgrade_goes_on_past_as_many_sick_machines_as_its_policy_bears() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    rolling(&world, 5, 20, 100).await;
    let newer = publish(&world, "2.0.0").await;
    let file = manifest_of(&world, &newer).await;
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    let world = world.restart().await;
    begin_image(&world, json!({ "id": newer.to_string() })).await;
    while fleet(&world).await.0 == 0 {
        world.work("worker").await;
        world.clock.advance_ms(100);
    }
    std::fs::rename(&aside, &file).unwrap();
    let world = world.restart().await;
    world.settle().await;
    assert_eq!(fleet(&world).await, (1, vec![("2.0.0".to_owned(), 4)]));
    let shown = world.engine.latest_upgrade(&world.ctx, &ss(&world)).await;
    let shown = shown.unwrap();
    assert_eq!(shown["properties"]["runningStatus"]["code"], "Completed");
    let progress = &shown["properties"]["progress"];
    assert_eq!(progress["failedInstanceCount"], 1, "{shown}");
    assert_eq!(progress["successfulInstanceCount"], 4, "{shown}");
    let set = world.engine.get(&world.ctx, &ss(&world)).await.unwrap();
    assert_eq!(set.state, ProvisioningState::Succeeded);
}
