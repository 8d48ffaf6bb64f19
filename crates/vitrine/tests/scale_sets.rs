//! Scale sets over plain HTTP, on the driver without guests: checks, upgrades, what is refused, what groups leave.

use serde_json::{Value, json};
use testkit::{Answer, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2024-11-01";
const NETWORK_VERSION: &str = "2024-05-01";

struct World {
    _server: Gallery,
    scene: Scene,
}

impl World {
    /// A server with a subnet, and versions 1.0.0 and 2.0.0 of a definition.
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let disk = scene.upload("source", &random_disk(2 << 20, 3)).await;
        for number in ["1.0.0", "2.0.0"] {
            let body = scene.version_body(&disk, &["eastus"]);
            let version = scene.version(number);
            scene
                .arm
                .done("PUT", &version, GALLERY_VERSION, Some(&body))
                .await;
        }
        let net = format!(
            "{}/providers/Microsoft.Network/virtualNetworks/net",
            scene.group
        );
        let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
        let body = json!({ "location": "eastus", "properties": {
            "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet],
        } });
        scene
            .arm
            .done("PUT", &net, NETWORK_VERSION, Some(&body))
            .await;
        Self {
            _server: server,
            scene,
        }
    }

    fn compute(&self, tail: &str) -> String {
        format!("{}/providers/Microsoft.Compute/{tail}", self.scene.group)
    }

    fn set(&self, tail: &str) -> String {
        self.compute(&format!("virtualMachineScaleSets/ss{tail}"))
    }

    fn body(&self, image: &str, capacity: usize) -> Value {
        let subnet = format!(
            "{}/providers/Microsoft.Network/virtualNetworks/net/subnets/default",
            self.scene.group
        );
        let config = json!({ "name": "ip", "properties": { "subnet": { "id": subnet } } });
        let card = json!({ "name": "nic", "properties": { "primary": true, "ipConfigurations": [config] } });
        json!({
            "location": "eastus",
            "sku": { "name": "Standard_B1s", "capacity": capacity },
            "properties": {
                "upgradePolicy": { "mode": "Manual" },
                "virtualMachineProfile": {
                    "storageProfile": { "imageReference": { "id": image } },
                    "osProfile": { "computerNamePrefix": "ss", "adminUsername": "me", "adminPassword": "Hidden-Word-2026" },
                    "networkProfile": { "networkInterfaceConfigurations": [card] },
                },
            },
        })
    }

    async fn put(&self, body: &Value) -> Value {
        let id = self.set("");
        self.scene.arm.done("PUT", &id, VERSION, Some(body)).await
    }

    async fn get(&self, tail: &str) -> Value {
        let id = self.set(tail);
        let answer = self.scene.arm.send("GET", &id, VERSION, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn post(&self, tail: &str, body: &Value) -> Value {
        let id = self.set(tail);
        self.scene.arm.done("POST", &id, VERSION, Some(body)).await
    }

    async fn versions(&self) -> Vec<String> {
        let all = self.get("/virtualMachines").await;
        let all = all["value"].as_array().cloned().unwrap_or_default();
        let exact = |one: &Value| {
            let image = &one["properties"]["storageProfile"]["imageReference"];
            image["exactVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        all.iter().map(exact).collect()
    }
}

fn refused(answer: &Answer, status: u16, code: &str, text: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code), "{}", answer.body);
    assert!(answer.message().contains(text), "{}", answer.body);
}

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
