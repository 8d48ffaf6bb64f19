//! Machines with real guests: from a version to a running guest and back to a version.

mod guests;

use std::time::Instant;

use guests::{GUEST, SOON, VERSION, World, answers, body, kill};
use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_has_written_is_in_the_version_made_of_it_and_in_the_next_machine() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let image = world.scene.version("1.0.0");
    let mut first = body(&image, "first-host", "note=hello from the first\n");
    let (card, address) = world.card().await;
    first["properties"]["networkProfile"] = json!({ "networkInterfaces": [{ "id": card }] });
    let begin = Instant::now();
    world.make("one", &first).await;
    let created = begin.elapsed();
    println!("created in {created:?}");
    assert_eq!(world.power("one").await, "running");
    let log = world.says("one", "TINY-READY tiny 1.0.0").await;
    println!("ready after {:?}", begin.elapsed());
    for line in ["TINY-HOST first-host", "TINY-WROTE hello from the first"] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert!(log.contains("firmware=efi"), "{log}");
    until("port 22 answers on the public address", GUEST, || async {
        answers(&address).then_some(())
    })
    .await;
    let view = world.view("one").await.to_string();
    assert!(view.contains("QEMU") && view.contains("TCG"), "{view}");

    world.act("one", "deallocate").await;
    assert_eq!(world.power("one").await, "deallocated");
    assert_eq!(world.server.guests(), [[0_u32; 0]], "no process is left");
    let generalize = format!("{}/generalize", world.machine("one"));
    assert_eq!(
        arm.send("POST", &generalize, VERSION, None).await.status,
        200
    );
    let captured = json!({
        "location": "eastus",
        "properties": {
            "publishingProfile": { "targetRegions": [{ "name": "eastus" }] },
            "storageProfile": { "source": { "virtualMachineId": world.machine("one") } },
        },
    });
    let begin = Instant::now();
    let version = world.scene.version("2.0.0");
    arm.done("PUT", &version, GALLERY_VERSION, Some(&captured))
        .await;
    println!("captured in {:?}", begin.elapsed());

    world
        .make("two", &body(&world.scene.definition, "second-host", ""))
        .await;
    let log = world.says("two", "TINY-READY tiny 1.0.0").await;
    for line in ["TINY-HOST second-host", "TINY-NOTE hello from the first"] {
        assert!(log.contains(line), "{line} in {log}");
    }
    for name in ["one", "two"] {
        arm.done("DELETE", &world.machine(name), VERSION, None)
            .await;
    }
    let left = world.server.guests();
    assert!(left.is_empty(), "of deleted machines: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_outlives_its_server_and_a_dead_emulator_is_a_stopped_machine() {
    let mut world = World::new().await;
    let first = body(&world.scene.definition, "host", "note=before\n");
    world.make("one", &first).await;
    let pid = world.pid();
    world.server.kill();
    assert_eq!(world.pid(), pid, "the guest runs on");
    world.server.resume().await;
    world.scene.arm = world.server.arm().await;
    assert_eq!(world.pid(), pid);
    // It boots on, from disks that the new server serves, and writes to them.
    world.says("one", "TINY-WROTE before").await;
    world.says("one", "TINY-READY").await;
    assert_eq!(world.power("one").await, "running");

    let disk = world.scene.disk("extra");
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    let arm = &world.scene.arm;
    arm.done("PUT", &disk, DISK_VERSION, Some(&empty)).await;
    let data = json!([{ "lun": 3, "createOption": "Attach", "managedDisk": { "id": disk } }]);
    let with = |data: &Value| json!({ "properties": { "storageProfile": { "dataDisks": data } } });
    let id = world.machine("one");
    arm.done("PATCH", &id, VERSION, Some(&with(&data))).await;
    arm.done("PATCH", &id, VERSION, Some(&with(&json!([]))))
        .await;

    for says in ["killed or crashed", "killed by signal 9"] {
        let pid = world.pid();
        kill(pid);
        until("the machine is seen to be stopped", SOON, || async {
            (world.power("one").await == "stopped").then_some(())
        })
        .await;
        let view = world.view("one").await.to_string();
        assert!(view.contains(says), "{says} in {view}");
        world.act("one", "start").await;
        assert_ne!(world.pid(), pid);
    }
    world.says("one", "TINY-NOTE before").await;

    // Both die; the next server says so, and starts the machine when it is asked to.
    world.server.kill();
    kill(world.pid());
    world.server.resume().await;
    world.scene.arm = world.server.arm().await;
    assert_eq!(world.power("one").await, "stopped");
    let view = world.view("one").await.to_string();
    assert!(view.contains("while nobody watched"), "{view}");
    world.act("one", "start").await;
    assert_eq!(world.power("one").await, "running");
    let arm = &world.scene.arm;
    arm.done("DELETE", &id, VERSION, None).await;
    assert!(world.server.guests().is_empty());
}
