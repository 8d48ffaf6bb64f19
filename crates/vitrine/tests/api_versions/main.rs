//! Requests written by hand, as clients of eight years send them. Source: `API.md` 1 to 3.

mod disks;
mod members;
mod requests;
mod writes;

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// The api-versions that are walked, oldest first.
const VERSIONS: [&str; 8] = [
    "2018-06-01",
    "2019-03-01",
    "2021-10-01",
    "2022-03-03",
    "2023-07-03",
    "2024-03-03",
    "2025-03-03",
    "2026-03-03",
];

/// A server with a group, a gallery `sig`, a definition `debian` and the empty disk `source`.
struct World {
    _server: Gallery,
    scene: Scene,
    source: String,
}

impl World {
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.disk("source");
        let body = json!({
            "location": "eastus",
            "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } },
        });
        scene
            .arm
            .done("PUT", &source, DISK_VERSION, Some(&body))
            .await;
        Self {
            _server: server,
            scene,
            source,
        }
    }

    async fn put(&self, id: &str, version: &str, body: &Value) -> Answer {
        self.scene.arm.over("PUT", id, version, Some(body)).await.0
    }

    async fn get(&self, id: &str, version: &str) -> Value {
        let answer = self.scene.arm.send("GET", id, version, None).await;
        assert_eq!(answer.status, 200, "{id} at {version}: {}", answer.body);
        answer.body
    }

    /// Puts, waits, and returns what a GET of the same api-version shows.
    async fn made(&self, id: &str, version: &str, body: &Value) -> Value {
        self.scene.arm.done("PUT", id, version, Some(body)).await
    }

    /// Returns a gallery's id with a name of its own per api-version.
    fn gallery(&self, version: &str) -> String {
        self.scene
            .gallery
            .replace("/sig", &format!("/sig_{}", version.replace('-', "_")))
    }

    /// Makes a version of generation V1, the source for clients that can only name an image.
    async fn first(&self) -> String {
        let definition = format!("{}/images/first", self.scene.gallery);
        self.made(&definition, "2021-10-01", &plain_definition("first"))
            .await;
        let id = format!("{definition}/versions/1.0.0");
        let body = self.scene.version_body(&self.source, &["eastus"]);
        self.made(&id, GALLERY_VERSION, &body).await;
        id
    }
}

/// Returns the body of a definition as every api-version knows it.
fn plain_definition(version: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "identifier": { "publisher": "acme", "offer": "debian", "sku": version },
        },
    })
}

/// Returns the members of an object, sorted.
fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names
}

/// Returns a list of names that grew over time: `since name`, as of `version`.
fn as_of(version: &str, names: &[(&str, &'static str)]) -> Vec<&'static str> {
    let known = names
        .iter()
        .filter(|(since, _)| version >= *since)
        .map(|(_, name)| *name);
    let mut names: Vec<&str> = known.collect();
    names.sort_unstable();
    names
}
