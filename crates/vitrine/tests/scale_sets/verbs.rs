//! Verbs of sets and their machines: the history of upgrades, disks by their ids, what is not offered.

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION};

use crate::world::{VERSION, World, refused};

#[tokio::test]
async fn the_history_of_upgrades_says_to_which_version_and_who_began_them() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let newer = world.scene.version("2.0.0");
    arm.done("DELETE", &newer, GALLERY_VERSION, None).await;
    world.put(&world.body(&world.scene.definition, 2)).await;
    assert_eq!(world.get("/osUpgradeHistory").await["value"], json!([]));
    let body = world
        .scene
        .version_body(&world.scene.disk("source"), &["eastus"]);
    for number in ["1.1.0", "1.2.0"] {
        let version = world.scene.version(number);
        arm.done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        world.post("/osRollingUpgrade", &json!({})).await;
    }
    let history = world.get("/osUpgradeHistory").await;
    let all = history["value"].as_array().expect("a list");
    let versions: Vec<&Value> = all
        .iter()
        .map(|one| &one["properties"]["targetImageReference"]["exactVersion"])
        .collect();
    assert_eq!(versions, ["1.2.0", "1.1.0"], "{history}");
    for one in all {
        let properties = &one["properties"];
        assert_eq!(
            (
                &properties["startedBy"],
                &properties["runningStatus"]["code"]
            ),
            (&json!("User"), &json!("Completed")),
            "{one}"
        );
        assert_eq!(properties["progress"]["successfulInstanceCount"], 2);
        assert!(properties["runningStatus"]["endTime"].is_string(), "{one}");
        assert_eq!(one["location"], "eastus");
    }
}

#[tokio::test]
async fn disks_of_a_machine_of_a_set_come_and_go_by_their_ids() {
    let world = World::new().await;
    world
        .put(&world.body(&world.scene.version("1.0.0"), 1))
        .await;
    let id = world.compute("disks/own");
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 } });
    let arm = &world.scene.arm;
    arm.done("PUT", &id, DISK_VERSION, Some(&body)).await;
    let verb = "/virtualMachines/0/attachDetachDataDisks";
    let luns = async || {
        let shown = world.get("/virtualMachines/0").await;
        let disks = shown["properties"]["storageProfile"]["dataDisks"].clone();
        let disks = disks.as_array().cloned().unwrap_or_default();
        disks
            .iter()
            .map(|disk| disk["lun"].clone())
            .collect::<Vec<_>>()
    };
    world
        .post(
            verb,
            &json!({ "dataDisksToAttach": [{ "diskId": id, "lun": 2 }] }),
        )
        .await;
    assert_eq!(luns().await, [json!(2)]);
    world
        .post(verb, &json!({ "dataDisksToDetach": [{ "diskId": id }] }))
        .await;
    assert_eq!(luns().await, [] as [Value; 0]);
    let shown = arm.send("GET", &id, DISK_VERSION, None).await.body;
    assert_eq!(shown["managedBy"], Value::Null, "{shown}");
}

#[tokio::test]
async fn what_is_not_offered_says_what_to_do_instead() {
    let world = World::new().await;
    world
        .put(&world.body(&world.scene.version("1.0.0"), 1))
        .await;
    let machine = "/virtualMachines/0";
    for (tail, text) in [
        (
            "/performMaintenance".to_owned(),
            "no maintenance is planned for it",
        ),
        (
            "/setOrchestrationServiceState".to_owned(),
            "repairs no machines by itself",
        ),
        (
            "/forceRecoveryServiceFabricPlatformUpdateDomainWalk".to_owned(),
            "no Service Fabric cluster",
        ),
        (
            "/extensionRollingUpgrade".to_owned(),
            "no agent in its guests",
        ),
        ("/approveRollingUpgrade".to_owned(), "waits for an approval"),
        (
            format!("{machine}/performMaintenance"),
            "no maintenance is planned for it",
        ),
        (format!("{machine}/simulateEviction"), "evicts no machines"),
        (
            format!("{machine}/approveRollingUpgrade"),
            "waits for an approval",
        ),
    ] {
        let id = world.set(&tail);
        let answer = world
            .scene
            .arm
            .send("POST", &id, VERSION, Some(&json!({})))
            .await;
        refused(&answer, 409, "OperationNotAllowed", text);
        let verb = tail.rsplit('/').next().unwrap_or_default();
        assert!(
            answer.message().starts_with(&format!("Operation '{verb}'")),
            "{}",
            answer.body
        );
    }
    let none = world.set("/virtualMachines/9/simulateEviction");
    let answer = world.scene.arm.send("POST", &none, VERSION, None).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
}
