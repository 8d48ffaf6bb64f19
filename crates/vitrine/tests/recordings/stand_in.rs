//! What a recording used as a source and this server does not build yet, put in its place.
//!
//! | recorded source | in its place |
//! |---|---|
//! | virtual machine | a version of a definition like the target's, with disks of the recorded sizes |
//! | managed image of a machine | a managed image of disks of the recorded sizes |
//! | disk of a machine | an empty disk of the recorded size and system |
//! | VHD in a storage account | an account of the same name here, with a VHD of the recorded size in it |
//!
//! Stand-ins live in a group of their own, so that no list shows them. Answers are read with the
//! stand-ins' names turned back into the recorded ones.

use std::collections::HashMap;

use serde_json::{Value, json};
use testkit::{Arm, Gallery};

use crate::exchange::{Exchange, RECORDED_SUBSCRIPTION};

const GROUP_VERSION: &str = "2024-11-01";
/// Before definitions had a default security type.
const GALLERY_VERSION: &str = "2023-07-03";
const DISK_VERSION: &str = "2023-04-02";
const ACCOUNT_VERSION: &str = "2023-01-01";
const BLOB_VERSION: &str = "2021-12-02";
const IMAGE_VERSION: &str = "2024-07-01";
const GIB: u64 = 1 << 30;

/// Makes stand-ins and remembers them.
pub struct StandIns<'a> {
    server: &'a Gallery,
    arm: Arm,
    group: String,
    /// The last recorded answer for what was left out, by its id in lower case.
    recorded: HashMap<String, Value>,
    /// What is ours and what was recorded.
    pairs: Vec<(Value, Value)>,
}

impl<'a> StandIns<'a> {
    /// Returns no stand-ins yet.
    pub fn new(server: &'a Gallery, arm: &Arm) -> Self {
        Self {
            server,
            arm: arm.clone(),
            group: format!("{}/resourceGroups/stand-ins", server.subscription()),
            recorded: HashMap::new(),
            pairs: Vec::new(),
        }
    }

    /// Remembers how something that is left out looked.
    pub fn remember(&mut self, exchange: &Exchange) {
        if let (200, Some(id)) = (exchange.status, exchange.body["id"].as_str()) {
            self.recorded
                .insert(id.to_ascii_lowercase(), exchange.body.clone());
        }
    }

    /// Returns an answer of ours with recorded names instead of the stand-ins'.
    pub fn turned_back(&self, body: Value) -> Value {
        let same = |ours: &Value| match (ours, &body) {
            (Value::String(a), Value::String(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        };
        if let Some((_, recorded)) = self.pairs.iter().find(|(ours, _)| same(ours)) {
            return self.here(recorded);
        }
        match body {
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| (name, self.turned_back(value)))
                .collect(),
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.turned_back(item))
                .collect(),
            other => other,
        }
    }

    /// Returns the body to send: our subscription, and stand-ins for sources.
    pub async fn request(&mut self, exchange: &Exchange, path: &str) -> Value {
        let mut body = self.here(&exchange.request);
        if exchange.type_name() == "snapshots" {
            self.copy_source(&mut body, &exchange.request).await;
        }
        if exchange.type_name() == "galleries/applications/versions" {
            self.package(&exchange.request).await;
        }
        if exchange.type_name() != "galleries/images/versions" {
            return body;
        }
        let recorded = &exchange.request["properties"]["storageProfile"];
        if let Some(source) = recorded.get("source").filter(|s| s.is_object()) {
            body["properties"]["storageProfile"]["source"] = self.whole(source, path).await;
        }
        if let Some(source) = recorded.pointer("/osDiskImage/source") {
            body["properties"]["storageProfile"]["osDiskImage"]["source"] =
                self.single(source).await;
        }
        for (at, disk) in recorded["dataDiskImages"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            if let Some(source) = disk.get("source") {
                body["properties"]["storageProfile"]["dataDiskImages"][at]["source"] =
                    self.single(source).await;
            }
        }
        body
    }

    /// Returns a value with our subscription in it.
    fn here(&self, value: &Value) -> Value {
        let text = value.to_string();
        let ours = self.server.credential("subscriptionId");
        serde_json::from_str(&text.replace(RECORDED_SUBSCRIPTION, &ours)).expect("still JSON")
    }

    fn known(&self, recorded: &Value) -> Option<Value> {
        let pair = self.pairs.iter().find(|(_, known)| known == recorded);
        pair.map(|(ours, _)| ours.clone())
    }

    /// Stands in for a managed image or a machine: `{id}` or `{virtualMachineId}`.
    async fn whole(&mut self, source: &Value, target: &str) -> Value {
        if let Some(ours) = self.known(source) {
            return ours;
        }
        let id = source.get("id").or(source.get("virtualMachineId"));
        let id = id
            .and_then(Value::as_str)
            .expect("a source has an id")
            .to_owned();
        let body = self.recorded_body(&id);
        let definition = target.rsplit_once("/versions/").expect("a version").0;
        let definition = self
            .arm
            .send("GET", definition, GALLERY_VERSION, None)
            .await
            .body;
        let location = definition["location"].clone();
        self.group(&location).await;
        if id.contains("/images/") {
            let generation = &definition["properties"]["hyperVGeneration"];
            let ours = self.image(&body, generation).await;
            self.pairs.push((ours.clone(), source.clone()));
            return ours;
        }
        let gallery = format!(
            "{}/providers/Microsoft.Compute/galleries/stand_ins",
            self.group
        );
        let here = json!({ "location": location });
        self.arm
            .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
            .await;
        let name = format!("image{}", self.pairs.len());
        let image = format!("{gallery}/images/{name}");
        let mut like = json!({ "location": location, "properties": definition["properties"] });
        like["properties"]["identifier"]["sku"] = json!(name);
        self.arm
            .done("PUT", &image, GALLERY_VERSION, Some(&like))
            .await;
        let profile = &body["properties"]["storageProfile"];
        let os = self
            .disk(
                &location,
                profile["osDisk"]["diskSizeGB"].as_u64(),
                &Value::Null,
            )
            .await;
        let mut storage = json!({
            "osDiskImage": { "hostCaching": profile["osDisk"]["caching"], "source": { "id": os } },
            "dataDiskImages": [],
        });
        for disk in profile["dataDisks"].as_array().into_iter().flatten() {
            let data = self
                .disk(&location, disk["diskSizeGB"].as_u64(), &Value::Null)
                .await;
            let image = json!({ "lun": disk["lun"], "hostCaching": disk["caching"], "source": { "id": data } });
            storage["dataDiskImages"]
                .as_array_mut()
                .expect("a list")
                .push(image);
        }
        let version = format!("{image}/versions/1.0.0");
        let body = json!({ "location": location, "properties": { "storageProfile": storage } });
        self.arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        let ours = json!({ "id": version });
        self.pairs.push((ours.clone(), source.clone()));
        ours
    }

    /// Stands in for the disk of a machine that a snapshot copies.
    async fn copy_source(&mut self, body: &mut Value, request: &Value) {
        let recorded = &request["properties"]["creationData"]["sourceResourceId"];
        let id = recorded.as_str().unwrap_or_default().to_ascii_lowercase();
        let Some(shown) = self.recorded.get(&id).cloned() else {
            return;
        };
        let ours = match self.known(recorded) {
            Some(known) => known,
            None => {
                let size = shown["properties"]["diskSizeGB"].as_u64();
                let like = &shown["properties"];
                let disk = json!(self.disk(&shown["location"], size, like).await);
                self.pairs.push((disk.clone(), recorded.clone()));
                disk
            }
        };
        body["properties"]["creationData"]["sourceResourceId"] = ours;
    }

    /// Stands in for a managed image of a machine.
    async fn image(&mut self, recorded: &Value, generation: &Value) -> Value {
        let location = &recorded["location"];
        let image = format!(
            "{}/providers/Microsoft.Compute/images/image{}",
            self.group,
            self.pairs.len()
        );
        let mut profile = recorded["properties"]["storageProfile"].clone();
        let size = profile["osDisk"]["diskSizeGB"].as_u64();
        let os = self.disk(location, size, &Value::Null).await;
        profile["osDisk"]["managedDisk"] = json!({ "id": os });
        for disk in profile["dataDisks"].as_array_mut().into_iter().flatten() {
            let size = disk["diskSizeGB"].as_u64();
            disk["managedDisk"] = json!({ "id": self.disk(location, size, &Value::Null).await });
        }
        let body = json!({ "location": location, "properties": { "hyperVGeneration": generation, "storageProfile": profile } });
        self.arm
            .done("PUT", &image, IMAGE_VERSION, Some(&body))
            .await;
        json!({ "id": image })
    }

    /// Stands in for a VHD.
    async fn single(&mut self, source: &Value) -> Value {
        let mut ours = self.here(source);
        if let Some(uri) = source.get("uri") {
            ours["uri"] = match self.known(uri) {
                Some(known) => known,
                None => self.vhd(&ours["id"], uri).await,
            };
        }
        ours
    }

    fn recorded_body(&self, id: &str) -> Value {
        let found = self.recorded.get(&id.to_ascii_lowercase());
        found
            .cloned()
            .unwrap_or_else(|| panic!("{id} was never shown before it was used"))
    }

    async fn group(&self, location: &Value) {
        let here = json!({ "location": location });
        self.arm
            .done("PUT", &self.group, GROUP_VERSION, Some(&here))
            .await;
    }

    /// Makes an empty disk that says what `like` says of its system; returns its id.
    async fn disk(&mut self, location: &Value, size_gib: Option<u64>, like: &Value) -> String {
        self.group(location).await;
        let size = size_gib.expect("the recording says how large the source is");
        let disks = format!("{}/providers/Microsoft.Compute/disks", self.group);
        let all = self.arm.send("GET", &disks, DISK_VERSION, None).await;
        let number = all.body["value"].as_array().map_or(0, Vec::len);
        let disk = format!("{disks}/disk{number}");
        let mut body = json!({
            "location": location,
            "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": size },
        });
        for name in ["osType", "hyperVGeneration", "supportedCapabilities"] {
            if let Some(value) = like.get(name) {
                body["properties"][name] = value.clone();
            }
        }
        self.arm.done("PUT", &disk, DISK_VERSION, Some(&body)).await;
        disk
    }

    /// Puts a VHD as large as the recorded one into an account of the recorded name; returns its URL.
    async fn vhd(&mut self, account: &Value, uri: &Value) -> Value {
        let path = account.as_str().expect("the id of an account").to_owned();
        let mut machines = self.recorded.values();
        let machine = machines
            .find(|body| body.pointer("/properties/storageProfile/osDisk/vhd/uri") == Some(uri));
        let machine = machine.unwrap_or_else(|| panic!("{uri}: no machine showed how large it is"));
        let size = machine["properties"]["storageProfile"]["osDisk"]["diskSizeGB"].as_u64();
        let bytes = size.expect("the size of the disk") * GIB;
        let body = json!({ "location": machine["location"], "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
        let shown = self
            .arm
            .done("PUT", &path, ACCOUNT_VERSION, Some(&body))
            .await;
        let endpoint = shown["properties"]["primaryEndpoints"]["blob"].as_str();
        let endpoint = endpoint
            .unwrap_or_else(|| panic!("no endpoint: {shown}"))
            .to_owned();
        let tail: Vec<&str> = uri.as_str().unwrap_or_default().splitn(4, '/').collect();
        let (container, blob) = tail[3].split_once('/').expect("a container and a blob");
        let container = format!("{endpoint}{container}");
        let blob = format!("{container}/{blob}");
        self.upload(&container, &blob, bytes).await;
        self.pairs.push((json!(blob), uri.clone()));
        json!(blob)
    }

    /// Puts a file where a recorded link of an application points to: an account of that name here.
    async fn package(&mut self, request: &Value) {
        let Some(link) = request.pointer("/properties/publishingProfile/source/mediaLink") else {
            return;
        };
        if self.known(link).is_some() {
            return;
        }
        let tail: Vec<&str> = link.as_str().unwrap_or_default().splitn(4, '/').collect();
        let account = tail[2].split('.').next().expect("a host has labels");
        let (container, blob) = tail[3].split_once('/').expect("a container and a blob");
        let location = &request["location"];
        self.group(location).await;
        let path = format!(
            "{}/providers/Microsoft.Storage/storageAccounts/{account}",
            self.group
        );
        let body =
            json!({ "location": location, "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
        let shown = self
            .arm
            .done("PUT", &path, ACCOUNT_VERSION, Some(&body))
            .await;
        let endpoint = shown["properties"]["primaryEndpoints"]["blob"].as_str();
        let container = format!(
            "{}{container}",
            endpoint.expect("an account has an endpoint")
        );
        self.upload(&container, &format!("{container}/{blob}"), 1 << 20)
            .await;
        self.pairs.push((link.clone(), link.clone()));
    }

    async fn upload(&self, container: &str, blob: &str, bytes: u64) {
        let token = self.storage_token().await;
        let send = async |url: String, headers: &[(&str, String)], body: Vec<u8>| {
            let mut request = self
                .arm
                .http()
                .put(&url)
                .bearer_auth(&token)
                .header("x-ms-version", BLOB_VERSION);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let sent = request.body(body).send().await;
            let answer = sent.unwrap_or_else(|error| panic!("{url}: {error:?}"));
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            assert_eq!(status, 201, "{url}: {text}");
        };
        send(format!("{container}?restype=container"), &[], Vec::new()).await;
        let length = (bytes + 512).to_string();
        let page_blob = [
            ("x-ms-blob-type", "PageBlob".to_owned()),
            ("x-ms-blob-content-length", length),
        ];
        send(blob.to_owned(), &page_blob, Vec::new()).await;
        let range = [
            ("x-ms-page-write", "update".to_owned()),
            ("x-ms-range", format!("bytes={bytes}-{}", bytes + 511)),
        ];
        let footer = disk::vhd::footer(bytes, [7; 16], 0).to_vec();
        send(format!("{blob}?comp=page"), &range, footer).await;
    }

    async fn storage_token(&self) -> String {
        let tenant = self.server.credential("tenantId");
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", self.server.credential("clientId")),
            ("client_secret", self.server.credential("clientSecret")),
            ("scope", "https://storage.azure.com/.default".to_owned()),
        ];
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.server.endpoint());
        let sent = self.arm.http().post(&url).form(&form).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let body: Value = answer.json().await.unwrap_or_default();
        let token = body["access_token"].as_str();
        token.unwrap_or_else(|| panic!("{url}: {body}")).to_owned()
    }
}
