//! `vitrine vm run`: boots a machine from an image of a gallery.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{API_VERSION, Client};
use crate::names::{FoundGallery, require_gallery};

/// The api-version of machines that the verb speaks.
const MACHINE_API_VERSION: &str = "2024-07-01";
/// The api-version of networks that the verb speaks.
const NETWORK_API_VERSION: &str = "2024-05-01";
/// The network that machines of this verb share.
const NETWORK: &str = "vitrine-net";
/// Public keys that are looked for when none is named, below the home directory.
const KEYS: [&str; 3] = [
    ".ssh/id_ed25519.pub",
    ".ssh/id_ecdsa.pub",
    ".ssh/id_rsa.pub",
];

/// Boots machines.
#[derive(clap::Args)]
pub struct VmArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Boot a machine from an image: GALLERY/IMAGE[/VERSION]
    Run(RunArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// The image; its latest version when none is named
    image: String,
    /// The machine's name
    #[arg(long, default_value = "machine")]
    name: String,
    /// The machine's size
    #[arg(long, default_value = "Standard_B2s")]
    size: String,
    /// The region; by default the gallery's
    #[arg(long)]
    region: Option<String>,
    /// The user that a generalized image gets
    #[arg(long, default_value = "vitrine")]
    user: String,
    /// Public key of the user; by default the first of ~/.ssh
    #[arg(long)]
    ssh_key: Option<PathBuf>,
    /// Custom data for cloud-init
    #[arg(long)]
    custom_data: Option<PathBuf>,
    /// Make no network: the guest is reached by its serial log alone
    #[arg(long)]
    no_network: bool,
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Runs the verb.
pub async fn run(args: VmArgs) -> anyhow::Result<Value> {
    let Verb::Run(args) = args.verb;
    let parts: Vec<&str> = args.image.split('/').collect();
    let (gallery, image, version) = match parts.as_slice() {
        [gallery, image] => (*gallery, *image, None),
        [gallery, image, version] => (*gallery, *image, Some(*version)),
        _ => anyhow::bail!(
            "expected GALLERY/IMAGE or GALLERY/IMAGE/VERSION, for example web/debian/1.0.0"
        ),
    };
    let client = Client::login(&args.data).await?;
    let gallery = require_gallery(&client, gallery).await?;
    let definition = format!("{}/images/{image}", gallery.id);
    let shown = client.get(&definition, API_VERSION).await?;
    let id = match version {
        Some(version) => format!("{definition}/versions/{version}"),
        None => definition,
    };
    let location = args
        .region
        .clone()
        .unwrap_or_else(|| gallery.location.clone());
    let address = match args.no_network {
        true => None,
        false => Some(network(&client, &gallery, &args.name, &location).await?),
    };
    let body = body(&args, &shown, &id, &location, &gallery)?;
    let machine = format!(
        "{}/providers/Microsoft.Compute/virtualMachines/{}",
        gallery.group_id, args.name
    );
    client.put(&machine, MACHINE_API_VERSION, &body).await?;
    let log = client
        .post(
            &format!("{machine}/retrieveBootDiagnosticsData"),
            MACHINE_API_VERSION,
            &Value::Null,
        )
        .await?;
    let mut made = client.get(&machine, MACHINE_API_VERSION).await?;
    made["serialLog"] = log["serialConsoleLogBlobUri"].clone();
    if let Some(address) = address {
        if body["properties"]["osProfile"].is_object() {
            eprintln!("{} is booting: ssh {}@{address}", args.name, args.user);
        }
        made["publicIpAddress"] = json!(address);
    }
    Ok(made)
}

fn body(
    args: &RunArgs,
    definition: &Value,
    image: &str,
    location: &str,
    gallery: &FoundGallery,
) -> anyhow::Result<Value> {
    let mut properties = json!({
        "hardwareProfile": { "vmSize": args.size },
        "storageProfile": {
            "imageReference": { "id": image },
            "osDisk": { "createOption": "FromImage", "deleteOption": "Delete" },
        },
        "diagnosticsProfile": { "bootDiagnostics": { "enabled": true } },
    });
    if !args.no_network {
        let card = card_id(gallery, &args.name);
        properties["networkProfile"] = json!({ "networkInterfaces": [{ "id": card, "properties": { "deleteOption": "Delete" } }] });
    }
    let kind = &definition["properties"];
    anyhow::ensure!(
        kind["osType"] != "Windows" || kind["osState"] == "Specialized",
        "a generalized Windows image needs a password: make the machine with az vm create"
    );
    if kind["osState"] != "Specialized" {
        let key = public_key(args.ssh_key.as_deref())?;
        let path = format!("/home/{}/.ssh/authorized_keys", args.user);
        properties["osProfile"] = json!({
            "computerName": args.name,
            "adminUsername": args.user,
            "linuxConfiguration": {
                "disablePasswordAuthentication": true,
                "ssh": { "publicKeys": [{ "path": path, "keyData": key }] },
            },
        });
        if let Some(file) = &args.custom_data {
            let data =
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            properties["osProfile"]["customData"] = json!(STANDARD.encode(data));
        }
    }
    Ok(json!({ "location": location, "properties": properties }))
}

fn public_key(named: Option<&Path>) -> anyhow::Result<String> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path);
        text.with_context(|| format!("cannot read {}", path.display()))
    };
    if let Some(path) = named {
        return Ok(read(path)?.trim().to_owned());
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let found = home
        .iter()
        .flat_map(|home| KEYS.map(|key| home.join(key)))
        .find(|path| path.exists());
    let path = found.context("no public key was found in ~/.ssh: name one with --ssh-key")?;
    Ok(read(&path)?.trim().to_owned())
}

fn card_id(gallery: &FoundGallery, name: &str) -> String {
    format!("{}/{name}-nic", network_base(gallery, "networkInterfaces"))
}

fn network_base(gallery: &FoundGallery, kind: &str) -> String {
    format!("{}/providers/Microsoft.Network/{kind}", gallery.group_id)
}

/// Makes a network interface with a public address on which ssh answers; returns the address.
async fn network(
    client: &Client,
    gallery: &FoundGallery,
    name: &str,
    location: &str,
) -> anyhow::Result<String> {
    let id = |kind: &str, name: &str| format!("{}/{name}", network_base(gallery, kind));
    let net = id("virtualNetworks", &format!("{NETWORK}-{location}"));
    let found = client.arm(Method::GET, &net, NETWORK_API_VERSION, None);
    if found.await?.is_none() {
        let body = json!({ "location": location, "properties": {
            "addressSpace": { "addressPrefixes": ["10.44.0.0/16"] },
            "subnets": [{ "name": "default", "properties": { "addressPrefix": "10.44.0.0/20" } }] } });
        client.put(&net, NETWORK_API_VERSION, &body).await?;
    }
    let group = id("networkSecurityGroups", &format!("{name}-nsg"));
    let rule = json!({ "name": "ssh", "properties": {
        "priority": 1000, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
        "sourceAddressPrefix": "*", "sourcePortRange": "*",
        "destinationAddressPrefix": "*", "destinationPortRange": "22" } });
    let body = json!({ "location": location, "properties": { "securityRules": [rule] } });
    client.put(&group, NETWORK_API_VERSION, &body).await?;
    let public = id("publicIPAddresses", &format!("{name}-ip"));
    let body = json!({ "location": location, "sku": { "name": "Standard" }, "properties": { "publicIPAllocationMethod": "Static" } });
    client.put(&public, NETWORK_API_VERSION, &body).await?;
    let body = json!({ "location": location, "properties": {
        "networkSecurityGroup": { "id": group },
        "ipConfigurations": [{ "name": "ip", "properties": {
            "subnet": { "id": format!("{net}/subnets/default") },
            "publicIPAddress": { "id": public } } }] } });
    client
        .put(&card_id(gallery, name), NETWORK_API_VERSION, &body)
        .await?;
    let shown = client.get(&public, NETWORK_API_VERSION).await?;
    let address = shown["properties"]["ipAddress"].as_str();
    Ok(address
        .context("the public address is not there yet")?
        .to_owned())
}
