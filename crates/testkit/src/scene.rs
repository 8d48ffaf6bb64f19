//! What most tests need first: a group, a gallery, a definition, a disk with bytes in it.

use serde_json::{Value, json};

use crate::{Arm, Gallery};

/// The api-version that scenes speak.
pub const GALLERY_VERSION: &str = "2026-03-03";
/// The api-version of disks in scenes.
pub const DISK_VERSION: &str = "2025-01-02";
/// The api-version of resource groups in scenes.
pub const GROUP_VERSION: &str = "2024-11-01";
/// The most bytes of one Put Page.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// A group with a gallery and a definition in it.
#[derive(Clone)]
pub struct Scene {
    /// A client signed in as the owner.
    pub arm: Arm,
    /// Id of the group.
    pub group: String,
    /// Id of the gallery.
    pub gallery: String,
    /// Id of the definition.
    pub definition: String,
}

impl Scene {
    /// Makes group `rg`, gallery `sig` and definition `debian` (Linux, Generalized, V2) in eastus.
    pub async fn new(server: &Gallery) -> Self {
        let arm = server.arm().await;
        let group = format!("{}/resourceGroups/rg", server.subscription());
        let gallery = format!("{group}/providers/Microsoft.Compute/galleries/sig");
        let definition = format!("{gallery}/images/debian");
        let here = json!({ "location": "eastus" });
        arm.done("PUT", &group, GROUP_VERSION, Some(&here)).await;
        arm.done("PUT", &gallery, GALLERY_VERSION, Some(&here))
            .await;
        let body = definition_body("acme", "debian", "12");
        arm.done("PUT", &definition, GALLERY_VERSION, Some(&body))
            .await;
        Self {
            arm,
            group,
            gallery,
            definition,
        }
    }

    /// Returns the id of a version of the definition.
    pub fn version(&self, number: &str) -> String {
        format!("{}/versions/{number}", self.definition)
    }

    /// Returns the id of a disk in the group.
    pub fn disk(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Compute/disks/{name}", self.group)
    }

    /// Makes a disk in eastus whose content is `bytes`; returns its id.
    pub async fn upload(&self, name: &str, bytes: &[u8]) -> String {
        let disk = self.disk(name);
        let body = json!({
            "location": "eastus",
            "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": bytes.len() + 512 } },
        });
        self.arm.done("PUT", &disk, DISK_VERSION, Some(&body)).await;
        let url = self.access(&disk, "Write").await;
        for (number, page) in bytes.chunks(PAGE_BYTES_MAX).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                self.put_page(&url, number * PAGE_BYTES_MAX, page.to_vec())
                    .await;
            }
        }
        let footer = disk::vhd::footer(bytes.len() as u64, [7; 16], 0);
        self.put_page(&url, bytes.len(), footer.to_vec()).await;
        self.arm
            .done("POST", &format!("{disk}/endGetAccess"), DISK_VERSION, None)
            .await;
        disk
    }

    async fn put_page(&self, url: &str, offset: usize, bytes: Vec<u8>) {
        let range = format!("bytes={offset}-{}", offset + bytes.len() - 1);
        let request = self.arm.http().put(format!("{url}&comp=page"));
        let request = request
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-page-write", "update");
        let sent = request.header("x-ms-range", range).body(bytes).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("Put Page: {error:?}"));
        assert_eq!(answer.status(), 201, "Put Page: {:?}", answer.headers());
    }

    /// Opens a disk for `Read` or `Write`; returns the URL.
    pub async fn access(&self, disk: &str, access: &str) -> String {
        let body = json!({ "access": access, "durationInSeconds": 3600 });
        let output = self
            .arm
            .done(
                "POST",
                &format!("{disk}/beginGetAccess"),
                DISK_VERSION,
                Some(&body),
            )
            .await;
        output["accessSAS"]
            .as_str()
            .unwrap_or_else(|| panic!("no accessSAS: {output}"))
            .to_owned()
    }

    /// Returns the body that makes a version of a disk in these regions.
    pub fn version_body(&self, source: &str, regions: &[&str]) -> Value {
        let targets: Vec<Value> = regions.iter().map(|name| json!({ "name": name })).collect();
        json!({
            "location": "eastus",
            "properties": {
                "publishingProfile": { "targetRegions": targets },
                "storageProfile": { "osDiskImage": { "source": { "id": source } } },
            },
        })
    }

    /// Makes a disk from a version, downloads it and returns its bytes without the footer.
    pub async fn download(&self, version: &str, region: &str, name: &str) -> Vec<u8> {
        let disk = self.disk(name);
        let body = json!({
            "location": region,
            "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": version } } },
        });
        self.arm.done("PUT", &disk, DISK_VERSION, Some(&body)).await;
        let url = self.access(&disk, "Read").await;
        let answer = self
            .arm
            .http()
            .get(&url)
            .header("x-ms-version", "2021-12-02")
            .send()
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("download: {error:?}"));
        assert_eq!(answer.status(), 200, "download: {:?}", answer.headers());
        let mut bytes = answer
            .bytes()
            .await
            .unwrap_or_else(|error| panic!("download: {error:?}"))
            .to_vec();
        self.arm
            .done("POST", &format!("{disk}/endGetAccess"), DISK_VERSION, None)
            .await;
        self.arm.done("DELETE", &disk, DISK_VERSION, None).await;
        bytes.truncate(bytes.len() - 512);
        bytes
    }
}

/// Returns the body of a definition.
pub fn definition_body(publisher: &str, offer: &str, sku: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V2",
            "features": [{ "name": "SecurityType", "value": "Standard" }],
            "identifier": { "publisher": publisher, "offer": offer, "sku": sku },
        },
    })
}
