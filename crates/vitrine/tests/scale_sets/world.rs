//! A server with versions and a subnet, and a set called `ss`.

use serde_json::{Value, json};
use testkit::{Answer, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
pub const VERSION: &str = "2024-11-01";
pub const NETWORK_VERSION: &str = "2024-05-01";

/// A server with a scene.
pub struct World {
    _server: Gallery,
    pub scene: Scene,
}

impl World {
    /// A server with a subnet, and versions 1.0.0 and 2.0.0 of a definition.
    pub async fn new() -> Self {
        Self::with(Options::new(BINARY)).await
    }

    /// The same on a server whose public addresses come from `range`.
    pub async fn with_addresses(range: &str) -> Self {
        Self::with(Options::new(BINARY).env("VITRINE_PUBLIC_ADDRESSES", range)).await
    }

    async fn with(options: Options) -> Self {
        let server = Gallery::start(options).await;
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

    pub fn compute(&self, tail: &str) -> String {
        format!("{}/providers/Microsoft.Compute/{tail}", self.scene.group)
    }

    pub fn set(&self, tail: &str) -> String {
        self.compute(&format!("virtualMachineScaleSets/ss{tail}"))
    }

    pub fn body(&self, image: &str, capacity: usize) -> Value {
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

    pub async fn put(&self, body: &Value) -> Value {
        let id = self.set("");
        self.scene.arm.done("PUT", &id, VERSION, Some(body)).await
    }

    pub async fn get(&self, tail: &str) -> Value {
        let id = self.set(tail);
        let answer = self.scene.arm.send("GET", &id, VERSION, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    pub async fn post(&self, tail: &str, body: &Value) -> Value {
        let id = self.set(tail);
        self.scene.arm.done("POST", &id, VERSION, Some(body)).await
    }

    pub async fn versions(&self) -> Vec<String> {
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

/// Asserts a refusal.
pub fn refused(answer: &Answer, status: u16, code: &str, text: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code), "{}", answer.body);
    assert!(answer.message().contains(text), "{}", answer.body);
}
