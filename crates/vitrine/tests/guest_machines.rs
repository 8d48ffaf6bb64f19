//! Machines with real guests: from a version to a running guest and back to a version.

#![expect(clippy::disallowed_methods, reason = "it kills emulators by their id")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2024-07-01";
const NETWORK_VERSION: &str = "2024-05-01";
/// How long a guest may take to come up, on a busy machine without KVM.
const GUEST: Duration = Duration::from_secs(240);
/// How long anything else may take.
const SOON: Duration = Duration::from_secs(30);

struct World {
    server: Gallery,
    scene: Scene,
}

impl World {
    /// A server that runs guests, with the tiny guest as version 1.0.0.
    async fn new() -> Self {
        let options = Options::new(BINARY)
            .env("VITRINE_MACHINES", "qemu")
            .env("VITRINE_ACCELERATOR", "tcg");
        let server = Gallery::start(options).await;
        let scene = Scene::new(&server).await;
        let tiny = std::env::var("VITRINE_TEST_TINY").expect("VITRINE_TEST_TINY is set");
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
    async fn card(&self) -> (String, String) {
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

    fn machine(&self, name: &str) -> String {
        let group = &self.scene.group;
        format!("{group}/providers/Microsoft.Compute/virtualMachines/{name}")
    }

    async fn make(&self, name: &str, body: &Value) -> Value {
        let id = self.machine(name);
        self.scene.arm.done("PUT", &id, VERSION, Some(body)).await
    }

    async fn act(&self, name: &str, verb: &str) {
        let id = format!("{}/{verb}", self.machine(name));
        self.scene.arm.done("POST", &id, VERSION, None).await;
    }

    async fn view(&self, name: &str) -> Value {
        let id = format!("{}/instanceView", self.machine(name));
        let answer = self.scene.arm.send("GET", &id, VERSION, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn power(&self, name: &str) -> String {
        let view = self.view(name).await;
        let statuses = view["statuses"].as_array().cloned().unwrap_or_default();
        let codes = statuses.iter().filter_map(|status| status["code"].as_str());
        let mut powers = codes.filter_map(|code| code.strip_prefix("PowerState/"));
        powers.next().unwrap_or_default().to_owned()
    }

    /// Waits until the serial log, fetched by its URL, has a line; returns the log.
    async fn says(&self, name: &str, line: &str) -> String {
        let verb = format!("{}/retrieveBootDiagnosticsData", self.machine(name));
        let answer = self.scene.arm.send("POST", &verb, VERSION, None).await;
        let url = answer.body["serialConsoleLogBlobUri"]
            .as_str()
            .expect("a URL")
            .to_owned();
        let begin = Instant::now();
        loop {
            let log = self
                .scene
                .arm
                .http()
                .get(&url)
                .send()
                .await
                .expect("it answers");
            let log = log.text().await.expect("text");
            if log.lines().any(|said| said.starts_with(line)) {
                return log;
            }
            assert!(begin.elapsed() < GUEST, "no {line:?} in {log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the only machine's only process.
    fn pid(&self) -> u32 {
        let guests = self.server.guests();
        match &guests[..] {
            [machine] if machine.len() == 1 => machine[0],
            _ => panic!("one machine with one process, not {guests:?}"),
        }
    }
}

/// A machine that notes what its user data says.
fn body(image: &str, host: &str, user_data: &str) -> Value {
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
fn answers(address: &str) -> bool {
    use std::io::Read as _;
    let Ok(mut stream) = std::net::TcpStream::connect((address, 22)) else {
        return false;
    };
    let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut said = [0; 8];
    limit.and_then(|()| stream.read_exact(&mut said)).is_ok() && &said == b"TINY-SSH"
}

fn kill(pid: u32) {
    let killed = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(killed.expect("kill").success());
}

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
