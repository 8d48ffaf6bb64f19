//! Checks of models, upgrades, what is refused, what groups leave.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::world::{NETWORK_VERSION, VERSION, World, refused};

#[tokio::test]
async fn a_model_is_checked_as_its_machines_would_be() {
    let world = World::new().await;
    let version = world.scene.version("1.0.0");
    for (pointer, value, status, code, text) in [
        (
            "/sku/name",
            json!("Standard_None"),
            400,
            "InvalidParameter",
            "Standard_None",
        ),
        (
            "/properties/virtualMachineProfile/storageProfile/imageReference/id",
            json!(world.scene.version("9.9.9")),
            404,
            "GalleryImageNotFound",
            "not available",
        ),
        (
            "/properties/virtualMachineProfile/osProfile",
            json!(null),
            400,
            "InvalidParameter",
            "'osProfile' is missing",
        ),
        (
            "/properties/virtualMachineProfile/osProfile/adminPassword",
            json!("short"),
            400,
            "InvalidParameter",
            "password",
        ),
        (
            "/properties/virtualMachineProfile/networkProfile/networkInterfaceConfigurations/0/properties/ipConfigurations/0/properties/subnet/id",
            json!(format!(
                "{}/providers/Microsoft.Network/virtualNetworks/net/subnets/none",
                world.scene.group
            )),
            400,
            "InvalidResourceReference",
            "subnets/none",
        ),
    ] {
        let mut body = world.body(&version, 1);
        *body.pointer_mut(pointer).expect("it is there") = value;
        let id = world.set("");
        let answer = world.scene.arm.send("PUT", &id, VERSION, Some(&body)).await;
        refused(&answer, status, code, text);
    }
    let id = world.compute("virtualMachineScaleSets");
    let none = world.scene.arm.send("GET", &id, VERSION, None).await;
    assert_eq!(none.body["value"], json!([]));
}

#[tokio::test]
async fn a_rolling_set_gives_its_model_in_batches() {
    let world = World::new().await;
    let mut body = world.body(&world.scene.version("1.0.0"), 3);
    let extension = json!({ "name": "health", "properties": {
        "publisher": "Microsoft.ManagedServices", "type": "ApplicationHealthLinux", "typeHandlerVersion": "1.0",
    } });
    body["properties"]["upgradePolicy"] = json!({
        "mode": "Rolling",
        "rollingUpgradePolicy": { "maxBatchInstancePercent": 40, "pauseTimeBetweenBatches": "PT0S" },
    });
    body["properties"]["virtualMachineProfile"]["extensionProfile"] =
        json!({ "extensions": [extension] });
    let made = world.put(&body).await;
    assert!(!made.to_string().contains("Hidden-Word"), "{made}");
    assert_eq!(world.versions().await, ["1.0.0"; 3]);
    let id = world.set("/rollingUpgrades/latest");
    let none = world.scene.arm.send("GET", &id, VERSION, None).await;
    assert_eq!(none.status, 404);
    let image = json!({ "imageReference": { "id": world.scene.version("2.0.0") } });
    let change = json!({ "properties": { "virtualMachineProfile": { "storageProfile": image } } });
    let id = world.set("");
    let arm = &world.scene.arm;
    arm.done("PATCH", &id, VERSION, Some(&change)).await;
    assert_eq!(world.versions().await, ["2.0.0"; 3]);
    let latest = world.get("/rollingUpgrades/latest").await;
    assert_eq!(latest["properties"]["runningStatus"]["code"], "Completed");
    assert_eq!(
        latest["properties"]["progress"]["successfulInstanceCount"],
        3
    );
    for one in world.get("/virtualMachines").await["value"]
        .as_array()
        .expect("a list")
    {
        assert_eq!(one["properties"]["latestModelApplied"], true);
    }
}

#[tokio::test]
async fn a_set_of_a_definition_starts_an_upgrade_when_it_is_asked_to() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    arm.done(
        "DELETE",
        &world.scene.version("2.0.0"),
        GALLERY_VERSION,
        None,
    )
    .await;
    world.put(&world.body(&world.scene.definition, 2)).await;
    assert_eq!(world.versions().await, ["1.0.0"; 2]);
    let source = world.scene.disk("source");
    let body = world.scene.version_body(&source, &["eastus"]);
    let newer = world.scene.version("1.1.0");
    arm.done("PUT", &newer, GALLERY_VERSION, Some(&body)).await;
    assert_eq!(world.versions().await, ["1.0.0"; 2]);
    world.post("/osRollingUpgrade", &json!({})).await;
    assert_eq!(world.versions().await, ["1.1.0"; 2]);
    let shown = world.get("").await;
    let profile = &shown["properties"]["virtualMachineProfile"];
    let image = &profile["storageProfile"]["imageReference"];
    assert_eq!(image["exactVersion"], "1.1.0", "{shown}");
}

#[tokio::test]
async fn addresses_and_names_stay_and_the_old_system_goes() {
    let world = World::new().await;
    world
        .put(&world.body(&world.scene.version("1.0.0"), 2))
        .await;
    let before = world.get("/virtualMachines/1").await;
    let cards = world.get("/virtualMachines/1/networkInterfaces").await;
    world
        .post("/reimage", &json!({ "instanceIds": ["1"] }))
        .await;
    let after = world.get("/virtualMachines/1").await;
    let disk =
        |one: &Value| one["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"].clone();
    assert_ne!(disk(&before), disk(&after));
    assert_eq!(before["properties"]["vmId"], after["properties"]["vmId"]);
    let address = |cards: &Value| {
        cards["value"][0]["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
            .clone()
    };
    let now = world.get("/virtualMachines/1/networkInterfaces").await;
    assert!(address(&cards).is_string());
    assert_eq!(address(&cards), address(&now));
    let disks = world.compute("disks");
    let disks = world
        .scene
        .arm
        .send("GET", &disks, "2024-03-02", None)
        .await;
    assert_eq!(disks.body["value"].as_array().map(Vec::len), Some(3));

    let id = world.set("/start");
    let body = json!({ "instanceIds": ["7"] });
    let answer = world
        .scene
        .arm
        .send("POST", &id, VERSION, Some(&body))
        .await;
    refused(
        &answer,
        400,
        "InvalidParameter",
        "The provided instanceId 7 is not an active",
    );
    // One machine by its own path; fewer are wanted then.
    let arm = &world.scene.arm;
    arm.done(
        "POST",
        &world.set("/virtualMachines/0/deallocate"),
        VERSION,
        None,
    )
    .await;
    let view = world.get("/instanceView").await.to_string();
    assert!(view.contains("PowerState/deallocated"), "{view}");
    arm.done("DELETE", &world.set("/virtualMachines/0"), VERSION, None)
        .await;
    assert_eq!(world.get("").await["sku"]["capacity"], 1);
    let resources = format!("{}/resources", world.scene.group);
    let listed = arm.send("GET", &resources, "2024-03-01", None).await;
    assert!(
        !listed
            .body
            .to_string()
            .contains("virtualMachineScaleSets/virtualMachines")
    );
    arm.done("DELETE", &world.scene.group, "2021-04-01", None)
        .await;
}

#[tokio::test]
async fn a_complete_deployment_keeps_what_belongs_to_the_sets_that_it_names() {
    let world = World::new().await;
    let uniform = world.body(&world.scene.version("1.0.0"), 2);
    let mut flexible = uniform.clone();
    flexible["properties"]["orchestrationMode"] = json!("Flexible");
    flexible["properties"]["platformFaultDomainCount"] = json!(1);
    flexible["properties"]["virtualMachineProfile"]["networkProfile"]["networkApiVersion"] =
        json!("2020-11-01");
    let named = |name: &str, body: &Value| {
        let mut out = body.clone();
        out["type"] = json!("Microsoft.Compute/virtualMachineScaleSets");
        out["apiVersion"] = json!(VERSION);
        out["name"] = json!(name);
        out
    };
    let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
    let net = json!({
        "type": "Microsoft.Network/virtualNetworks", "apiVersion": NETWORK_VERSION, "name": "net", "location": "eastus",
        "properties": { "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet] },
    });
    let sets = [named("ss", &uniform), named("fx", &flexible)];
    let deploy = async |name: &str, mode: &str| {
        let resources = json!([net, sets[0], sets[1]]);
        let template = json!({
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0", "resources": resources,
        });
        let body =
            json!({ "properties": { "mode": mode, "template": template, "parameters": {} } });
        let id = format!(
            "{}/providers/Microsoft.Resources/deployments/{name}",
            world.scene.group
        );
        world
            .scene
            .arm
            .done("PUT", &id, "2022-09-01", Some(&body))
            .await
    };
    deploy("first", "Incremental").await;
    let kept = async || {
        let mut all = Vec::new();
        for (kind, version) in [
            ("Microsoft.Compute/virtualMachines", VERSION),
            ("Microsoft.Compute/disks", "2023-04-02"),
            ("Microsoft.Network/networkInterfaces", NETWORK_VERSION),
        ] {
            let path = format!("{}/providers/{kind}", world.scene.group);
            let listed = world.scene.arm.send("GET", &path, version, None).await;
            let listed = listed.body["value"].as_array().cloned().unwrap_or_default();
            all.extend(listed.iter().map(|one| one["id"].to_string()));
        }
        all.retain(|id| !id.contains("/disks/source"));
        all
    };
    let before = kept().await;
    assert!(before.len() >= 8, "{before:?}");
    deploy("second", "Complete").await;
    assert_eq!(kept().await, before);
    let galleries = format!(
        "{}/providers/Microsoft.Compute/galleries",
        world.scene.group
    );
    let left = world
        .scene
        .arm
        .send("GET", &galleries, GALLERY_VERSION, None)
        .await;
    assert_eq!(left.body["value"], json!([]), "what nobody names goes");
}
