//! A server that runs guests, with the tiny guest as version 1.0.0 of its definition.

#![expect(clippy::disallowed_methods, reason = "it kills emulators by their id")]
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "not every binary leaves something unused"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{GALLERY_VERSION, Gallery, Options, Scene};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
pub const VERSION: &str = "2024-07-01";
const NETWORK_VERSION: &str = "2024-05-01";
/// How long a guest may take to come up, on a busy machine without KVM.
pub const GUEST: Duration = Duration::from_secs(240);
/// How long anything else may take.
pub const SOON: Duration = Duration::from_secs(30);

pub struct World {
    pub server: Gallery,
    pub scene: Scene,
}

impl World {
    /// A server that runs guests, with the tiny guest as version 1.0.0.
    pub async fn new() -> Self {
        Self::with(Gallery::start(Self::options()).await).await
    }

    /// How such a server is started.
    pub fn options() -> Options {
        Options::new(BINARY)
            .env("VITRINE_MACHINES", "qemu")
            .env("VITRINE_ACCELERATOR", "tcg")
    }

    /// The same with a server that runs already.
    pub async fn with(server: Gallery) -> Self {
        Self::of(server, "VITRINE_TEST_TINY").await
    }

    /// The same with the guest in the directory that a variable of the environment names.
    pub async fn of(server: Gallery, variable: &str) -> Self {
        let scene = Scene::new(&server).await;
        let tiny = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set"));
        let bytes = std::fs::read(format!("{tiny}/machine.raw")).expect("machine.raw is there");
        let disk = scene.upload("tiny", &bytes).await;
        let body = scene.version_body(&disk, &["eastus"]);
        let version = scene.version("1.0.0");
        let arm = &scene.arm;
        arm.done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        Self { server, scene }
    }

    /// Makes a card with a public address on which port 22 is open; returns its id and the address.
    pub async fn card(&self) -> (String, String) {
        let arm = &self.scene.arm;
        let network =
            |tail: &str| format!("{}/providers/Microsoft.Network/{tail}", self.scene.group);
        let put = async |tail: &str, properties: Value, sku: &str| {
            let mut body = json!({ "location": "eastus", "properties": properties });
            if !sku.is_empty() {
                body["sku"] = json!({ "name": sku });
            }
            arm.done("PUT", &network(tail), NETWORK_VERSION, Some(&body))
                .await
        };
        let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
        let space = json!({ "addressPrefixes": ["10.0.0.0/16"] });
        let net = json!({ "addressSpace": space, "subnets": [subnet] });
        put("virtualNetworks/net", net, "").await;
        let rule = json!({ "name": "ssh", "properties": {
            "priority": 1000, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
            "sourceAddressPrefix": "*", "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": "22",
        } });
        let group = "networkSecurityGroups/nsg";
        put(group, json!({ "securityRules": [rule] }), "").await;
        let public = "publicIPAddresses/ip";
        let made = put(
            public,
            json!({ "publicIPAllocationMethod": "Static" }),
            "Standard",
        )
        .await;
        let address = made["properties"]["ipAddress"]
            .as_str()
            .expect("an address")
            .to_owned();
        let config = json!({ "name": "one", "properties": {
            "subnet": { "id": network("virtualNetworks/net/subnets/default") },
            "publicIPAddress": { "id": network(public) },
        } });
        let card = json!({ "ipConfigurations": [config], "networkSecurityGroup": { "id": network(group) } });
        put("networkInterfaces/card", card, "").await;
        (network("networkInterfaces/card"), address)
    }

    pub fn machine(&self, name: &str) -> String {
        let group = &self.scene.group;
        format!("{group}/providers/Microsoft.Compute/virtualMachines/{name}")
    }

    pub async fn make(&self, name: &str, body: &Value) -> Value {
        let id = self.machine(name);
        self.scene.arm.done("PUT", &id, VERSION, Some(body)).await
    }

    pub async fn act(&self, name: &str, verb: &str) {
        let id = format!("{}/{verb}", self.machine(name));
        self.scene.arm.done("POST", &id, VERSION, None).await;
    }

    pub async fn view(&self, name: &str) -> Value {
        let id = format!("{}/instanceView", self.machine(name));
        let answer = self.scene.arm.send("GET", &id, VERSION, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    pub async fn power(&self, name: &str) -> String {
        let view = self.view(name).await;
        let statuses = view["statuses"].as_array().cloned().unwrap_or_default();
        let codes = statuses.iter().filter_map(|status| status["code"].as_str());
        let mut powers = codes.filter_map(|code| code.strip_prefix("PowerState/"));
        powers.next().unwrap_or_default().to_owned()
    }

    /// Waits until the serial log, fetched by its URL, has a line; returns the log.
    pub async fn says(&self, name: &str, line: &str) -> String {
        let begin = Instant::now();
        loop {
            let log = self.log(name).await;
            if log.lines().any(|said| said.starts_with(line)) {
                return log;
            }
            assert!(begin.elapsed() < GUEST, "no {line:?} in {log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the server and starts it again.
    pub async fn restart(&mut self) {
        self.server.kill();
        self.server.resume().await;
        self.scene.arm = self.server.arm().await;
    }

    /// Returns what the serial log's URL serves.
    pub async fn log(&self, name: &str) -> String {
        let verb = format!("{}/retrieveBootDiagnosticsData", self.machine(name));
        let answer = self.scene.arm.send("POST", &verb, VERSION, None).await;
        let url = answer.body["serialConsoleLogBlobUri"]
            .as_str()
            .expect("a URL")
            .to_owned();
        let log = self.scene.arm.http().get(&url).send().await;
        log.expect("it answers").text().await.expect("text")
    }

    /// Returns the only machine's only process.
    pub fn pid(&self) -> u32 {
        let guests = self.server.guests();
        match &guests[..] {
            [machine] if machine.len() == 1 => machine[0],
            _ => panic!("one machine with one process, not {guests:?}"),
        }
    }
}

/// A machine that notes what its user data says.
pub fn body(image: &str, host: &str, user_data: &str) -> Value {
    use base64::Engine as _;
    let custom = base64::engine::general_purpose::STANDARD.encode(user_data);
    json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_B1s" },
            "storageProfile": {
                "imageReference": { "id": image },
                "osDisk": { "createOption": "FromImage" },
            },
            "osProfile": {
                "computerName": host,
                "adminUsername": "me",
                "adminPassword": "correct horse 1 battery",
                "customData": custom,
            },
        },
    })
}

/// Whether the guest's own program answers on port 22 of an address.
pub fn answers(address: &str) -> bool {
    use std::io::Read as _;
    let Ok(mut stream) = std::net::TcpStream::connect((address, 22)) else {
        return false;
    };
    let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut said = [0; 8];
    limit.and_then(|()| stream.read_exact(&mut said)).is_ok() && &said == b"TINY-SSH"
}

pub fn kill(pid: u32) {
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(killed.expect("kill").success());
}
