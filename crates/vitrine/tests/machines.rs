//! Machines over plain HTTP, on the driver without guests: images, disks, power, images of machines.

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2024-07-01";
const MIB: usize = 1 << 20;
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m me@here";

/// A server, its scene and a version 1.0.0 whose system disk holds `bytes`.
struct World {
    _server: Gallery,
    scene: Scene,
    bytes: Vec<u8>,
}

impl World {
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let bytes = random_disk(8 * MIB, 3);
        let disk = scene.upload("source", &bytes).await;
        let body = scene.version_body(&disk, &["eastus"]);
        let version = scene.version("1.0.0");
        scene
            .arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        Self {
            _server: server,
            scene,
            bytes,
        }
    }

    fn compute(&self, tail: &str) -> String {
        format!("{}/providers/Microsoft.Compute/{tail}", self.scene.group)
    }

    fn machine(&self, name: &str) -> String {
        self.compute(&format!("virtualMachines/{name}"))
    }

    async fn make(&self, name: &str, body: &Value) -> Value {
        let id = self.machine(name);
        self.scene.arm.done("PUT", &id, VERSION, Some(body)).await
    }

    async fn get(&self, id: &str, version: &str) -> Value {
        let answer = self.scene.arm.send("GET", id, version, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn act(&self, name: &str, verb: &str) {
        let id = format!("{}/{verb}", self.machine(name));
        self.scene.arm.done("POST", &id, VERSION, None).await;
    }

    async fn power(&self, name: &str) -> Vec<String> {
        let id = format!("{}/instanceView", self.machine(name));
        let view = self.get(&id, VERSION).await;
        let statuses = view["statuses"].as_array().cloned().unwrap_or_default();
        let code = |status: &Value| status["code"].as_str().unwrap_or_default().to_owned();
        statuses.iter().map(code).collect()
    }

    async fn deallocate_and_generalize(&self, name: &str) {
        self.act(name, "deallocate").await;
        let id = format!("{}/generalize", self.machine(name));
        let answer = self.scene.arm.send("POST", &id, VERSION, None).await;
        assert_eq!((answer.status, &answer.body), (200, &Value::Null));
    }

    async fn bytes(&self, disk: &str) -> Vec<u8> {
        let url = self.scene.access(disk, "Read").await;
        let request = self.scene.arm.http().get(&url);
        let answer = request.header("x-ms-version", "2021-12-02").send().await;
        let mut bytes = answer
            .expect("it answers")
            .bytes()
            .await
            .expect("bytes")
            .to_vec();
        let end = format!("{disk}/endGetAccess");
        self.scene.arm.done("POST", &end, DISK_VERSION, None).await;
        bytes.truncate(bytes.len() - 512);
        bytes
    }
}

fn from_image(image: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "standard_d2s_v5" },
            "storageProfile": {
                "imageReference": { "id": image },
                "osDisk": { "createOption": "fromImage", "name": null, "managedDisk": { "storageAccountType": null } },
            },
            "osProfile": {
                "computerName": "one",
                "adminUsername": "me",
                "customData": "aGVsbG8=",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": true,
                    "ssh": { "publicKeys": [{ "path": "/home/me/.ssh/authorized_keys", "keyData": KEY }] },
                },
            },
        },
    })
}

fn refused(answer: &Answer, status: u16, code: &str, text: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code), "{}", answer.body);
    assert!(answer.message().contains(text), "{}", answer.body);
}

#[tokio::test]
async fn a_machine_from_latest_has_the_images_bytes_and_shows_which_version() {
    let world = World::new().await;
    let machine = world
        .make("one", &from_image(&world.scene.definition))
        .await;
    let properties = &machine["properties"];
    assert_eq!(properties["hardwareProfile"]["vmSize"], "Standard_D2s_v5");
    let storage = &properties["storageProfile"];
    assert_eq!(
        storage["imageReference"],
        json!({ "id": world.scene.definition, "exactVersion": "1.0.0" })
    );
    let os = &storage["osDisk"];
    let name = os["name"].as_str().expect("a name");
    assert!(name.starts_with("one_OsDisk_1_"), "{name}");
    assert_eq!(os["osType"], "Linux");
    assert_eq!(os["createOption"], "FromImage");
    assert_eq!(os["deleteOption"], "Detach");
    assert_eq!(os["managedDisk"]["storageAccountType"], "Premium_LRS");
    assert_eq!(os["diskSizeGB"], 1);
    let shown = machine.to_string();
    assert!(!shown.contains("aGVsbG8="), "custom data is shown: {shown}");
    assert!(machine["etag"].is_string(), "{machine}");

    let disk = world.scene.disk(name);
    let row = world.get(&disk, DISK_VERSION).await;
    assert_eq!(row["managedBy"], json!(world.machine("one")));
    assert_eq!(row["properties"]["diskState"], "Attached");
    assert_eq!(row["properties"]["provisioningState"], "Succeeded");
    assert_eq!(row["properties"]["hyperVGeneration"], "V2");
    let unique = row["properties"]["uniqueId"].as_str().expect("an id");
    assert!(name.ends_with(&unique.replace('-', "")), "{name} {unique}");

    assert_eq!(
        world.power("one").await,
        ["ProvisioningState/succeeded", "PowerState/running"]
    );
    let id = format!("{}?$expand=instanceView", world.machine("one"));
    let view = world.get(&world.machine("one"), VERSION).await;
    assert!(view["properties"].get("instanceView").is_none(), "{id}");
    world.act("one", "deallocate").await;
    assert!(world.bytes(&disk).await == world.bytes, "the disk's bytes");
}

#[tokio::test]
async fn every_power_action_has_its_effect_or_its_refusal() {
    let world = World::new().await;
    world
        .make("one", &from_image(&world.scene.version("1.0.0")))
        .await;
    for (verb, state) in [
        ("powerOff", "stopped"),
        ("powerOff", "stopped"),
        ("start", "running"),
        ("start", "running"),
        ("restart", "running"),
        ("redeploy", "running"),
        ("reapply", "running"),
        ("deallocate", "deallocated"),
        ("deallocate", "deallocated"),
        ("reapply", "deallocated"),
        ("start", "running"),
        ("deallocate", "deallocated"),
    ] {
        world.act("one", verb).await;
        let power = world.power("one").await;
        let shown = power.last().map(String::as_str);
        assert_eq!(
            shown,
            Some(format!("PowerState/{state}").as_str()),
            "{verb}"
        );
    }
    let arm = &world.scene.arm;
    let on = |verb: &str| format!("{}/{verb}", world.machine("one"));
    let answer = arm.send("POST", &on("restart"), VERSION, None).await;
    refused(&answer, 409, "OperationNotAllowed", "deallocated");
    let script = json!({ "commandId": "RunShellScript", "script": ["id"] });
    let path = on("runCommand");
    let answer = arm.send("POST", &path, VERSION, Some(&script)).await;
    refused(&answer, 409, "OperationNotAllowed", "simulated");
    world.deallocate_and_generalize("one").await;
    assert_eq!(world.power("one").await[0], "OSState/generalized");
    for verb in ["start", "restart", "redeploy", "reapply"] {
        let answer = arm.send("POST", &on(verb), VERSION, None).await;
        let text =
            format!("Operation '{verb}' is not allowed on VM 'one' since the VM is generalized.");
        refused(&answer, 409, "OperationNotAllowed", &text);
    }
    let missing = format!("{}/start", world.machine("none"));
    let answer = arm.send("POST", &missing, VERSION, None).await;
    assert_eq!((answer.status, answer.code()), (404, "ResourceNotFound"));
}

#[tokio::test]
async fn data_disks_come_and_go_and_are_given_to_one_machine_only() {
    let world = World::new().await;
    let mut body = from_image(&world.scene.version("1.0.0"));
    body["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 0, "createOption": "empty", "diskSizeGB": 2, "deleteOption": "Delete" }]);
    let machine = world.make("one", &body).await;
    let data = &machine["properties"]["storageProfile"]["dataDisks"];
    let empty = data[0]["managedDisk"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(empty.contains("/disks/one_disk2_"), "{empty}");

    let extra = world.scene.disk("extra");
    let new = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    let arm = &world.scene.arm;
    arm.done("PUT", &extra, DISK_VERSION, Some(&new)).await;
    let attach = json!({ "lun": 5, "createOption": "Attach", "managedDisk": { "id": extra } });
    let both = json!({ "properties": { "storageProfile": { "dataDisks": [data[0], attach] } } });
    let id = world.machine("one");
    let machine = arm.done("PATCH", &id, VERSION, Some(&both)).await;
    let luns: Vec<&Value> = machine["properties"]["storageProfile"]["dataDisks"]
        .as_array()
        .expect("disks")
        .iter()
        .map(|disk| &disk["lun"])
        .collect();
    assert_eq!(luns, [0, 5]);
    let row = world.get(&extra, DISK_VERSION).await;
    assert_eq!(
        (&row["managedBy"], &row["properties"]["diskState"]),
        (&json!(id), &json!("Attached"))
    );

    let answer = arm.send("DELETE", &extra, DISK_VERSION, None).await;
    refused(&answer, 409, "OperationNotAllowed", "is attached to VM");
    let mut second = from_image(&world.scene.version("1.0.0"));
    second["properties"]["storageProfile"]["dataDisks"] = json!([attach]);
    let other = world.machine("two");
    let answer = arm.send("PUT", &other, VERSION, Some(&second)).await;
    refused(&answer, 409, "ConflictingUserInput", "already owned by VM");

    let one = json!({ "properties": { "storageProfile": { "dataDisks": [data[0]] } } });
    arm.done("PATCH", &id, VERSION, Some(&one)).await;
    let row = world.get(&extra, DISK_VERSION).await;
    assert_eq!(row.get("managedBy"), None);
    assert_eq!(row["properties"]["diskState"], "Unattached");
    arm.done("PUT", &other, VERSION, Some(&second)).await;
    // An empty list is the whole list.
    let none = json!({ "properties": { "storageProfile": { "dataDisks": [] } } });
    let machine = arm.done("PATCH", &other, VERSION, Some(&none)).await;
    assert_eq!(
        machine["properties"]["storageProfile"]["dataDisks"],
        json!([])
    );
    let row = world.get(&extra, DISK_VERSION).await;
    assert_eq!(row["properties"]["diskState"], "Unattached");

    arm.done("DELETE", &id, VERSION, None).await;
    assert_eq!(
        arm.send("GET", &empty, DISK_VERSION, None).await.status,
        404
    );
    assert_eq!(
        arm.send("GET", &extra, DISK_VERSION, None).await.status,
        200
    );
}

#[tokio::test]
async fn a_machine_read_and_sent_back_changes_nothing() {
    let world = World::new().await;
    let before = world
        .make("one", &from_image(&world.scene.definition))
        .await;
    let id = world.machine("one");
    let after = world
        .scene
        .arm
        .done("PUT", &id, "2026-04-01", Some(&before))
        .await;
    assert_eq!(before["properties"], after["properties"]);
    for (pointer, value, code) in [
        (
            "/properties/osProfile/adminUsername",
            json!("you"),
            "PropertyChangeNotAllowed",
        ),
        (
            "/properties/storageProfile/imageReference/id",
            json!(world.scene.version("1.0.0")),
            "PropertyChangeNotAllowed",
        ),
        (
            "/properties/storageProfile/osDisk/name",
            json!("x"),
            "PropertyChangeNotAllowed",
        ),
        ("/location", json!("westus2"), "InvalidResourceLocation"),
    ] {
        let mut changed = before.clone();
        *changed.pointer_mut(pointer).expect("it is there") = value;
        let answer = world
            .scene
            .arm
            .send("PUT", &id, VERSION, Some(&changed))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (409, code),
            "{pointer} {}",
            answer.body
        );
    }
    let smaller = json!({ "properties": { "hardwareProfile": { "vmSize": "Standard_B1s" } } });
    let machine = world
        .scene
        .arm
        .done("PATCH", &id, VERSION, Some(&smaller))
        .await;
    assert_eq!(
        machine["properties"]["hardwareProfile"]["vmSize"],
        "Standard_B1s"
    );
}

#[tokio::test]
async fn a_network_interface_belongs_to_one_machine() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let network = |tail: &str| format!("{}/providers/Microsoft.Network/{tail}", world.scene.group);
    let net = json!({ "location": "eastus", "properties": {
        "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] },
        "subnets": [{ "name": "s", "properties": { "addressPrefix": "10.0.0.0/24" } }] } });
    arm.done(
        "PUT",
        &network("virtualNetworks/v"),
        "2024-05-01",
        Some(&net),
    )
    .await;
    let subnet = network("virtualNetworks/v/subnets/s");
    let card = json!({ "location": "eastus", "properties": {
        "ipConfigurations": [{ "name": "c", "properties": { "subnet": { "id": subnet } } }] } });
    let id = network("networkInterfaces/card");
    arm.done("PUT", &id, "2024-05-01", Some(&card)).await;
    let mut body = from_image(&world.scene.definition);
    body["properties"]["networkProfile"] =
        json!({ "networkInterfaces": [{ "id": id, "properties": { "deleteOption": null } }] });
    let machine = world.make("one", &body).await;
    let shown = &machine["properties"]["networkProfile"]["networkInterfaces"];
    assert_eq!(shown, &json!([{ "id": id }]));
    let row = world.get(&id, "2024-05-01").await;
    assert_eq!(
        row["properties"]["virtualMachine"]["id"],
        json!(world.machine("one"))
    );
    let answer = arm
        .send("PUT", &world.machine("two"), VERSION, Some(&body))
        .await;
    assert_eq!(answer.code(), "NicInUse", "{}", answer.body);
    let answer = arm.send("DELETE", &id, "2024-05-01", None).await;
    assert_eq!(answer.code(), "NicInUse", "{}", answer.body);
    let mut missing = body.clone();
    missing["properties"]["networkProfile"]["networkInterfaces"][0]["id"] =
        json!(network("networkInterfaces/none"));
    let answer = arm
        .send("PUT", &world.machine("two"), VERSION, Some(&missing))
        .await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "InvalidResourceReference"),
        "{}",
        answer.body
    );
    arm.done("DELETE", &world.machine("one"), VERSION, None)
        .await;
    let row = world.get(&id, "2024-05-01").await;
    assert_eq!(row["properties"].get("virtualMachine"), None);
}

#[tokio::test]
async fn the_serial_log_opens_by_its_url_only() {
    let world = World::new().await;
    world
        .make("one", &from_image(&world.scene.definition))
        .await;
    let verb = format!("{}/retrieveBootDiagnosticsData", world.machine("one"));
    let answer = world.scene.arm.send("POST", &verb, VERSION, None).await;
    let url = answer.body["serialConsoleLogBlobUri"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let log = world
        .scene
        .arm
        .http()
        .get(&url)
        .send()
        .await
        .expect("it answers");
    assert_eq!(log.status(), 200);
    assert_eq!(log.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(log.headers()["x-content-type-options"], "nosniff");
    assert!(log.text().await.expect("text").contains("simulated"));
    let later = url.replace("se=1", "se=2");
    let log = world
        .scene
        .arm
        .http()
        .get(&later)
        .send()
        .await
        .expect("it answers");
    assert_eq!(log.status(), 403);
}
