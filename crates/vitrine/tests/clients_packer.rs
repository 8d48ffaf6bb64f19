//! The real Packer: its azure-arm builder makes the next version of an image out of the last.
//!
//! The program is Debian's (1.6.6), which knows the public cloud alone: `vitrine exec` runs it.

#![expect(clippy::disallowed_methods, reason = "it runs Packer")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::{Arm, DISK_VERSION, GALLERY_VERSION, GROUP_VERSION, Gallery, Options, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const TEMPLATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/packer/debian-1.6.json"
);
/// Where `vitrine publish` puts galleries.
const GROUP: &str = "vitrine";
const NOTHING: [&str; 0] = [];
const VERSION_1_1: &str = "galleries/pipeline/images/debian/versions/1.1.0";

/// A gallery `pipeline` with an image as version 1.0.0 of `debian`.
struct World {
    server: Gallery,
    arm: Arm,
}

impl World {
    async fn new(options: Options, image: &str) -> Self {
        let server = Gallery::start(options).await;
        let to = "pipeline/debian/1.0.0";
        let published = server.vitrine(&["publish", image, "--to", to, "--format", "raw"]);
        assert!(published.status.success(), "{published:?}");
        let arm = server.arm().await;
        Self { server, arm }
    }

    /// The same with machines that are states alone, and an image that is noise.
    async fn simulated() -> Self {
        let image = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(image.path(), random_disk(1 << 20, 5)).expect("it can be written");
        let path = image.path().display().to_string();
        Self::new(Options::new(BINARY), &path).await
    }

    /// Runs Packer with a template, or the example of this repository.
    fn packer(&self, verb: &[&str], variables: &[(&str, &str)], template: &Path) -> Output {
        let mut command = Command::new(BINARY);
        command
            .args(["exec", "--", "packer"])
            .args(verb)
            .args(["-var", &format!("group={GROUP}")]);
        for (name, value) in variables {
            command.args(["-var", &format!("{name}={value}")]);
        }
        command
            .arg(template)
            .env("VITRINE_DATA", self.server.data())
            .env("CHECKPOINT_DISABLE", "1")
            .env("PACKER_LOG", "1")
            .env("PACKER_LOG_PATH", self.server.scratch().join("packer.log"))
            .env("HOME", self.server.scratch())
            .current_dir(self.server.scratch())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    fn build(&self, variables: &[(&str, &str)]) -> Output {
        self.packer(&["build", "-color=false"], variables, Path::new(TEMPLATE))
    }

    /// Writes the example with other members of its builder; null takes one away.
    fn template(&self, members: &Value) -> PathBuf {
        let text = std::fs::read_to_string(TEMPLATE).expect("the example can be read");
        let mut template: Value = serde_json::from_str(&text).expect("it is JSON");
        let builder = template["builders"][0].as_object_mut().expect("a builder");
        for (name, value) in members.as_object().expect("members") {
            if value.is_null() {
                builder.remove(name);
            } else {
                builder.insert(name.clone(), value.clone());
            }
        }
        let path = self.server.scratch().join("other.json");
        std::fs::write(&path, template.to_string()).expect("it can be written");
        path
    }

    async fn get(&self, id: &str, api_version: &str) -> Value {
        let answer = self.arm.send("GET", id, api_version, None).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.body);
        answer.body
    }

    fn group(&self) -> String {
        format!("{}/resourceGroups/{GROUP}", self.server.subscription())
    }

    fn version_id(&self, number: &str) -> String {
        let group = self.group();
        format!(
            "{group}/providers/Microsoft.Compute/galleries/pipeline/images/debian/versions/{number}"
        )
    }

    async fn version(&self, number: &str) -> Value {
        self.get(&self.version_id(number), GALLERY_VERSION).await
    }

    /// Returns what a version's content is called.
    async fn digest(&self, number: &str) -> String {
        let id = format!("{}?$expand=ContentDigests", self.version_id(number));
        let shown = self.get(&id, GALLERY_VERSION).await;
        let digest = shown["properties"]["contentDigests"][0]["blake3"].as_str();
        digest.unwrap_or_else(|| panic!("{shown}")).to_owned()
    }

    /// Returns the ids, below the provider, of what the group holds before any build, and more.
    fn kept(more: &[&str]) -> Vec<String> {
        let first = [
            "galleries/pipeline",
            "galleries/pipeline/images/debian",
            "galleries/pipeline/images/debian/versions/1.0.0",
        ];
        first
            .iter()
            .chain(more)
            .map(|id| (*id).to_owned())
            .collect()
    }

    /// Returns the ids, below the provider, of everything in the group.
    async fn in_group(&self) -> Vec<String> {
        let all = self
            .get(&format!("{}/resources", self.group()), GROUP_VERSION)
            .await;
        let items = all["value"].as_array().expect("a list");
        let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
        let below = |id: String| match id.split_once("/providers/Microsoft.Compute/") {
            Some((_, below)) => below.to_owned(),
            None => id,
        };
        items.iter().map(id).map(below).collect()
    }

    /// Returns the ids of what is there beyond `kept`; no group and no guest may be.
    async fn beyond(&self, kept: &[String]) -> Vec<String> {
        let groups = format!("{}/resourceGroups", self.server.subscription());
        let groups = self.get(&groups, GROUP_VERSION).await;
        let groups = groups["value"].as_array().expect("a list");
        let names: Vec<&str> = groups.iter().filter_map(|g| g["name"].as_str()).collect();
        assert_eq!(names, [GROUP]);
        assert!(self.server.guests().is_empty());
        let mut ids = self.in_group().await;
        for id in kept {
            let found = ids.iter().position(|there| there == id);
            ids.remove(found.unwrap_or_else(|| panic!("{id} is not in {ids:?}")));
        }
        ids
    }

    /// Asserts that a build in a group that was there has left what this Packer leaves, and removes it.
    ///
    /// Since 1.6.2 it forgets the system disk (hashicorp/packer#10416).
    async fn has_one_disk_beyond(&self, kept: &[String]) {
        let left = self.beyond(kept).await;
        let [disk] = &left[..] else {
            panic!("more than a disk is left: {left:?}");
        };
        assert!(disk.starts_with("disks/pkros"), "{disk}");
        let id = format!("{}/providers/Microsoft.Compute/{disk}", self.group());
        self.arm.done("DELETE", &id, DISK_VERSION, None).await;
    }

    /// Returns what Packer printed, and the end of its log.
    fn said(&self, output: &Output) -> String {
        let log = std::fs::read_to_string(self.server.scratch().join("packer.log"));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(60).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!(
            "{}\n{}\n--- log ---\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            lines.join("\n"),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_makes_the_next_version_of_a_debian_and_leaves_nothing_else() {
    let images = std::env::var("VITRINE_TEST_DEBIAN").expect("VITRINE_TEST_DEBIAN is set");
    let options = Options::new(BINARY)
        .env("VITRINE_MACHINES", "qemu")
        .env("VITRINE_ACCELERATOR", "tcg");
    let world = World::new(options, &format!("{images}/debian.raw")).await;

    // Out of a version, in a group that Packer makes and removes.
    let built = world.build(&[
        ("from", "1.0.0"),
        ("next", "1.1.0"),
        (
            "change",
            "echo made by $(id -un) | sudo tee /etc/image-release",
        ),
    ]);
    assert!(built.status.success(), "{}", world.said(&built));
    let second = world.version("1.1.0").await;
    assert_eq!(second["properties"]["provisioningState"], "Succeeded");
    let digests = [world.digest("1.0.0").await, world.digest("1.1.0").await];
    assert_ne!(digests[0], digests[1]);
    let kept = World::kept(&["images/debian-1.1.0", VERSION_1_1]);
    assert_eq!(world.beyond(&kept).await, NOTHING);

    // Out of `latest`, in a group that is there: the machine has the file; the build fails.
    let failed = world.build(&[
        ("next", "1.2.0"),
        ("location", ""),
        ("build_group", GROUP),
        ("change", "cat /etc/image-release && exit 3"),
    ]);
    let text = world.said(&failed);
    assert_eq!(failed.status.code(), Some(1), "{text}");
    assert!(text.contains("azure-arm: made by packer"), "{text}");
    assert!(text.contains("exit status: 3"), "{text}");
    world.has_one_disk_beyond(&kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_cleans_up_after_a_machine_that_never_answers() {
    let world = World::simulated().await;
    let valid = world.packer(&["validate"], &[("next", "1.1.0")], Path::new(TEMPLATE));
    assert!(valid.status.success(), "{}", world.said(&valid));
    let never = ("ssh_timeout", "3s");
    let failed = world.build(&[("next", "1.1.0"), never]);
    let text = world.said(&failed);
    assert_eq!(failed.status.code(), Some(1), "{text}");
    assert!(text.contains("Timeout waiting for SSH"), "{text}");
    assert_eq!(world.beyond(&World::kept(&[])).await, NOTHING);

    let here = [("location", ""), ("build_group", GROUP)];
    let failed = world.build(&[("next", "1.1.0"), never, here[0], here[1]]);
    let text = world.said(&failed);
    assert_eq!(failed.status.code(), Some(1), "{text}");
    assert!(text.contains("Timeout waiting for SSH"), "{text}");
    world.has_one_disk_beyond(&World::kept(&[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_is_told_what_is_not_there_before_it_makes_anything() {
    let world = World::simulated().await;
    for (name, value, said) in [
        ("image", "ubuntu", "does not exist"),
        ("client_secret", "wrong", "AADSTS7000215"),
    ] {
        let failed = world.build(&[("next", "1.1.0"), (name, value)]);
        let text = world.said(&failed);
        assert_eq!(failed.status.code(), Some(1), "{text}");
        assert!(text.contains(said), "{name}: {text}");
    }
    assert_eq!(world.beyond(&World::kept(&[])).await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn packer_deploys_machines_of_managed_images_and_with_disks_rules_and_networks() {
    let world = World::simulated().await;
    let made = async |tail: &str, version: &str, properties: Value| {
        let id = format!("{}/providers/{tail}", world.group());
        let body = json!({ "location": "eastus", "properties": properties });
        world.arm.done("PUT", &id, version, Some(&body)).await;
        id
    };
    let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": world.version_id("1.0.0") } });
    let disk = "Microsoft.Compute/disks/first";
    let disk = made(disk, DISK_VERSION, json!({ "creationData": creation })).await;
    let system =
        json!({ "osType": "Linux", "osState": "Generalized", "managedDisk": { "id": disk } });
    let image = json!({ "hyperVGeneration": "V2", "storageProfile": { "osDisk": system } });
    made("Microsoft.Compute/images/base", "2024-07-01", image).await;
    let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.1.0.0/24" } });
    let network =
        json!({ "addressSpace": { "addressPrefixes": ["10.1.0.0/16"] }, "subnets": [subnet] });
    made(
        "Microsoft.Network/virtualNetworks/net",
        "2024-05-01",
        network,
    )
    .await;
    let kept = world.in_group().await;
    for members in [
        json!({
            "shared_image_gallery": null,
            "custom_managed_image_name": "base",
            "custom_managed_image_resource_group_name": GROUP,
        }),
        json!({ "disk_additional_size": [4], "allowed_inbound_ip_addresses": ["127.0.0.0/8"] }),
        json!({ "virtual_network_name": "net", "private_virtual_network_with_public_ip": true }),
        json!({ "tenant_id": null }),
    ] {
        let template = world.template(&members);
        let variables = [("next", "1.1.0"), ("ssh_timeout", "3s")];
        let failed = world.packer(&["build", "-color=false"], &variables, &template);
        let text = world.said(&failed);
        assert!(
            text.contains("Timeout waiting for SSH"),
            "{members}: {text}"
        );
        assert_eq!(world.beyond(&kept).await, NOTHING, "{members}");
    }
}
