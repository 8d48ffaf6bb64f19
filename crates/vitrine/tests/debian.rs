//! A whole Debian: published, booted as a machine, set up by cloud-init, reached by ssh.

#![expect(clippy::disallowed_methods, reason = "it runs ssh")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Gallery, Options, Scene, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const MACHINE_VERSION: &str = "2024-07-01";
const NETWORK_VERSION: &str = "2024-05-01";
/// How long Debian may take to its first answer over ssh, on a busy machine without KVM.
const BOOT: Duration = Duration::from_secs(420);

#[tokio::test(flavor = "multi_thread")]
async fn a_published_debian_boots_with_its_name_its_user_and_its_key() {
    let images = std::env::var("VITRINE_TEST_DEBIAN").expect("VITRINE_TEST_DEBIAN is set");
    let options = Options::new(BINARY)
        .env("VITRINE_MACHINES", "qemu")
        .env("VITRINE_ACCELERATOR", "tcg");
    let server = Gallery::start(options).await;
    let scene = Scene::new(&server).await;
    let image = format!("{images}/debian.raw");
    let published = server.vitrine(&[
        "publish",
        &image,
        "--to",
        "debians/debian/12.0.0",
        "--format",
        "raw",
    ]);
    assert!(published.status.success(), "{published:?}");
    let group = &scene.group;
    let subscription = server.subscription();
    let definition = format!(
        "{subscription}/resourceGroups/vitrine/providers/Microsoft.Compute/galleries/debians/images/debian"
    );

    let key = server.scratch().join("key");
    keygen(&key);
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
    let (card, address) = card(&scene).await;
    let machine = format!("{group}/providers/Microsoft.Compute/virtualMachines/web");
    let body = json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_B2s" },
            "storageProfile": { "imageReference": { "id": definition }, "osDisk": { "createOption": "FromImage" } },
            "osProfile": {
                "computerName": "web01",
                "adminUsername": "azureuser",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": true,
                    "ssh": { "publicKeys": [{ "path": "/home/azureuser/.ssh/authorized_keys", "keyData": public.trim() }] },
                },
            },
            "networkProfile": { "networkInterfaces": [{ "id": card }] },
        },
    });
    scene
        .arm
        .done("PUT", &machine, MACHINE_VERSION, Some(&body))
        .await;

    let said = until("ssh answers", BOOT, || async {
        let answer = ssh(&key, &address, "id -un; sudo -n id -u; hostname");
        answer.status.success().then_some(answer.stdout)
    })
    .await;
    assert_eq!(String::from_utf8_lossy(&said), "azureuser\n0\nweb01\n");
    scene
        .arm
        .done("DELETE", &machine, MACHINE_VERSION, None)
        .await;
    assert!(server.guests().is_empty());
}

/// Makes a network card with a public address that lets ssh in; returns its id and the address.
async fn card(scene: &Scene) -> (String, String) {
    let network = format!("{}/providers/Microsoft.Network", scene.group);
    let put = async |tail: &str, mut body: Value| {
        body["location"] = json!("eastus");
        let id = format!("{network}/{tail}");
        let made = scene
            .arm
            .done("PUT", &id, NETWORK_VERSION, Some(&body))
            .await;
        (id, made)
    };
    let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
    let (net, _) = put(
        "virtualNetworks/net",
        json!({ "properties": { "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet] } }),
    )
    .await;
    let rule = json!({ "name": "ssh", "properties": {
        "priority": 100, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
        "sourceAddressPrefix": "*", "sourcePortRange": "*", "destinationAddressPrefix": "*", "destinationPortRange": "22",
    } });
    let (guard, _) = put(
        "networkSecurityGroups/guard",
        json!({ "properties": { "securityRules": [rule] } }),
    )
    .await;
    let (public, made) = put(
        "publicIPAddresses/public",
        json!({ "sku": { "name": "Standard" }, "properties": { "publicIPAllocationMethod": "Static" } }),
    )
    .await;
    let address = made["properties"]["ipAddress"]
        .as_str()
        .expect("an address");
    let configuration = json!({ "name": "one", "properties": {
        "subnet": { "id": format!("{net}/subnets/default") }, "publicIPAddress": { "id": public },
    } });
    let (card, _) = put(
        "networkInterfaces/card",
        json!({ "properties": { "ipConfigurations": [configuration], "networkSecurityGroup": { "id": guard } } }),
    )
    .await;
    (card, address.to_owned())
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .output()
        .expect("ssh-keygen");
    assert!(made.status.success(), "{made:?}");
}

fn ssh(key: &Path, address: &str, command: &str) -> Output {
    Command::new("ssh")
        .arg("-i")
        .arg(key)
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "LogLevel=ERROR",
        ])
        .arg(format!("azureuser@{address}"))
        .arg(command)
        .output()
        .expect("ssh")
}
