//! A scale set with real guests: two of them boot, each answers on its own port of one balancer, both get another image.

use std::io::Read as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2024-07-01";
const NETWORK_VERSION: &str = "2024-05-01";
/// How long a guest may take to come up, on a busy machine without KVM.
const GUEST: Duration = Duration::from_secs(300);

struct World {
    server: Gallery,
    scene: Scene,
}

impl World {
    async fn new() -> Self {
        let options = Options::new(BINARY)
            .env("VITRINE_MACHINES", "qemu")
            .env("VITRINE_ACCELERATOR", "tcg");
        let server = Gallery::start(options).await;
        let scene = Scene::new(&server).await;
        let tiny = std::env::var("VITRINE_TEST_TINY").expect("VITRINE_TEST_TINY is set");
        let bytes = std::fs::read(format!("{tiny}/machine.raw")).expect("machine.raw is there");
        let disk = scene.upload("tiny", &bytes).await;
        for number in ["1.0.0", "2.0.0"] {
            let body = scene.version_body(&disk, &["eastus"]);
            let version = scene.version(number);
            scene
                .arm
                .done("PUT", &version, GALLERY_VERSION, Some(&body))
                .await;
        }
        Self { server, scene }
    }

    fn network(&self, tail: &str) -> String {
        format!("{}/providers/Microsoft.Network/{tail}", self.scene.group)
    }

    fn set(&self) -> String {
        let group = &self.scene.group;
        format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets/ss")
    }

    async fn put(&self, tail: &str, sku: &str, properties: Value) -> Value {
        let mut body = json!({ "location": "eastus", "properties": properties });
        if !sku.is_empty() {
            body["sku"] = json!({ "name": sku });
        }
        let id = self.network(tail);
        let arm = &self.scene.arm;
        arm.done("PUT", &id, NETWORK_VERSION, Some(&body)).await
    }

    /// Makes a network with a balancer whose ports from 50000 on lead to port 22; returns its public address.
    async fn balancer(&self) -> String {
        let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
        let space = json!({ "addressPrefixes": ["10.0.0.0/16"] });
        let net = json!({ "addressSpace": space, "subnets": [subnet] });
        self.put("virtualNetworks/net", "", net).await;
        let rule = json!({ "name": "ssh", "properties": {
            "priority": 1000, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": "22",
        } });
        let group = json!({ "securityRules": [rule] });
        self.put("networkSecurityGroups/nsg", "", group).await;
        let public = json!({ "publicIPAllocationMethod": "Static" });
        let made = self.put("publicIPAddresses/ip", "Standard", public).await;
        let balancer = self.network("loadBalancers/lb");
        let at = |tail: &str| json!({ "id": format!("{balancer}/{tail}") });
        let front = json!({ "name": "front", "properties": { "publicIPAddress": { "id": self.network("publicIPAddresses/ip") } } });
        let nat = json!({ "name": "nat", "properties": {
            "frontendIPConfiguration": at("frontendIPConfigurations/front"),
            "backendAddressPool": at("backendAddressPools/pool"),
            "frontendPortRangeStart": 50000, "frontendPortRangeEnd": 50119, "backendPort": 22, "protocol": "Tcp",
        } });
        let properties = json!({
            "frontendIPConfigurations": [front], "backendAddressPools": [{ "name": "pool" }], "inboundNatRules": [nat],
        });
        self.put("loadBalancers/lb", "Standard", properties).await;
        let address = made["properties"]["ipAddress"].as_str();
        address.expect("an address").to_owned()
    }

    fn body(&self, image: &str) -> Value {
        let pool = self.network("loadBalancers/lb/backendAddressPools/pool");
        let subnet = self.network("virtualNetworks/net/subnets/default");
        let config = json!({ "name": "ip", "properties": {
            "subnet": { "id": subnet }, "loadBalancerBackendAddressPools": [{ "id": pool }],
            "publicIPAddressConfiguration": { "name": "own", "sku": { "name": "Standard" } },
        } });
        let card = json!({ "name": "nic", "properties": {
            "primary": true, "ipConfigurations": [config],
            "networkSecurityGroup": { "id": self.network("networkSecurityGroups/nsg") },
        } });
        json!({
            "location": "eastus",
            "sku": { "name": "Standard_B1s", "capacity": 2 },
            "properties": {
                "orchestrationMode": "Uniform",
                "upgradePolicy": { "mode": "Automatic" },
                "virtualMachineProfile": {
                    "storageProfile": { "imageReference": { "id": image } },
                    "osProfile": { "computerNamePrefix": "ss", "adminUsername": "me", "adminPassword": "correct horse 1 battery" },
                    "networkProfile": { "networkInterfaceConfigurations": [card] },
                },
            },
        })
    }

    /// Waits until the serial log of a machine has a line; returns the log.
    async fn says(&self, instance: &str, line: &str) -> String {
        let set = self.set();
        let verb = format!("{set}/virtualMachines/{instance}/retrieveBootDiagnosticsData");
        let answer = self.scene.arm.send("POST", &verb, VERSION, None).await;
        let url = answer.body["serialConsoleLogBlobUri"].as_str();
        let url = url.expect("a URL").to_owned();
        let begin = Instant::now();
        loop {
            let log = self.scene.arm.http().get(&url).send().await;
            let log = log.expect("it answers").text().await.expect("text");
            if log.lines().any(|said| said.starts_with(line)) {
                return log;
            }
            assert!(begin.elapsed() < GUEST, "no {line:?} in {log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether the guest's own program answers on a port.
fn answers(address: &str, port: u16) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect((address, port)) else {
        return false;
    };
    let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut said = [0; 8];
    limit.and_then(|()| stream.read_exact(&mut said)).is_ok() && &said == b"TINY-SSH"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_stops_when_the_guests_of_a_batch_do_not_stay_up() {
    use base64::Engine as _;
    let world = World::new().await;
    world.balancer().await;
    let arm = &world.scene.arm;
    let mut body = world.body(&world.scene.version("1.0.0"));
    body["properties"]["upgradePolicy"] = json!({ "mode": "Rolling", "rollingUpgradePolicy": {
        "maxBatchInstancePercent": 50, "maxUnhealthyInstancePercent": 60, "pauseTimeBetweenBatches": "PT10M",
    } });
    let extension = json!({ "name": "health", "properties": {
        "publisher": "Microsoft.ManagedServices", "type": "ApplicationHealthLinux", "typeHandlerVersion": "1.0",
    } });
    body["properties"]["virtualMachineProfile"]["extensionProfile"] =
        json!({ "extensions": [extension] });
    arm.done("PUT", &world.set(), VERSION, Some(&body)).await;
    let before = world.server.guests().concat();
    assert_eq!(before.len(), 2);
    // The new model tells its guests to shut themselves down.
    let dies = "#!/bin/busybox sh\n/bin/busybox poweroff -f\n";
    let dies = base64::engine::general_purpose::STANDARD.encode(dies);
    let profile = &mut body["properties"]["virtualMachineProfile"];
    profile["osProfile"]["customData"] = json!(dies);
    profile["storageProfile"]["imageReference"]["id"] = json!(world.scene.version("2.0.0"));
    let (answer, ended) = arm.over("PUT", &world.set(), VERSION, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ended = ended.expect("an operation");
    let code = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade";
    assert_eq!(ended["error"]["code"], code, "{ended}");
    // One was given the model and stands still; the other one never stopped.
    let left = world.server.guests().concat();
    assert!(left.len() == 1 && before.contains(&left[0]), "{left:?}");
    let read = async |tail: &str| {
        let id = format!("{}{tail}", world.set());
        arm.send("GET", &id, VERSION, None).await.body
    };
    let latest = read("/rollingUpgrades/latest").await;
    assert_eq!(latest["properties"]["runningStatus"]["code"], "Faulted");
    let progress = &latest["properties"]["progress"];
    assert_eq!(progress["failedInstanceCount"], 1, "{latest}");
    assert_eq!(progress["pendingInstanceCount"], 1, "{latest}");
    let mut exact = Vec::new();
    for instance in ["0", "1"] {
        let one = read(&format!("/virtualMachines/{instance}")).await;
        let image = &one["properties"]["storageProfile"]["imageReference"];
        exact.push(
            image["exactVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    exact.sort();
    assert_eq!(exact, ["1.0.0", "2.0.0"]);
    arm.done("DELETE", &world.set(), VERSION, None).await;
    assert!(world.server.guests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_guests_of_a_set_boot_answer_and_boot_another_image() {
    let world = World::new().await;
    let address = world.balancer().await;
    let arm = &world.scene.arm;
    let body = world.body(&world.scene.version("1.0.0"));
    arm.done("PUT", &world.set(), VERSION, Some(&body)).await;
    assert_eq!(world.server.guests().len(), 2);
    for (instance, host) in [("0", "ss000000"), ("1", "ss000001")] {
        let log = world.says(instance, "TINY-READY").await;
        assert!(log.contains(&format!("TINY-HOST {host}")), "{log}");
    }
    for port in [50000, 50001] {
        until("a guest answers on its port", GUEST, || async {
            answers(&address, port).then_some(())
        })
        .await;
    }
    // So does each on the port of its own address.
    let own = format!("{}/publicipaddresses", world.set());
    let own = arm.send("GET", &own, NETWORK_VERSION, None).await.body;
    let own = own["value"].as_array().expect("a list");
    assert_eq!(own.len(), 2, "{own:?}");
    for address in own {
        let address = address["properties"]["ipAddress"].as_str().expect("one");
        until("a guest answers on its own address", GUEST, || async {
            answers(address, 22).then_some(())
        })
        .await;
    }
    // All machines get the other version at once, each with a new system disk and a new log.
    let body = world.body(&world.scene.version("2.0.0"));
    arm.done("PUT", &world.set(), VERSION, Some(&body)).await;
    assert_eq!(world.server.guests().len(), 2);
    for instance in ["0", "1"] {
        world.says(instance, "TINY-READY").await;
        let one = format!("{}/virtualMachines/{instance}", world.set());
        let shown = arm.send("GET", &one, VERSION, None).await.body;
        let image = &shown["properties"]["storageProfile"]["imageReference"];
        assert_eq!(image["exactVersion"], "2.0.0", "{shown}");
    }
    arm.done("DELETE", &world.set(), VERSION, None).await;
    let left = world.server.guests();
    assert!(left.is_empty(), "of a deleted set: {left:?}");
}
