//! Blobs that a recording used and that lay in accounts of others, put into accounts of the same names here.
//!
//! A VHD has the size that the machine which wrote it showed; a package of an application has any bytes.
//! Answers are read with our URLs turned back into the recorded ones.

use std::collections::HashMap;

use serde_json::{Value, json};
use testkit::{Arm, Gallery};

use crate::exchange::{Exchange, RECORDED_SUBSCRIPTION};

const GROUP_VERSION: &str = "2024-11-01";
const ACCOUNT_VERSION: &str = "2023-01-01";
const BLOB_VERSION: &str = "2021-12-02";
const GIB: u64 = 1 << 30;

/// Makes stand-ins and remembers them.
pub struct StandIns<'a> {
    server: &'a Gallery,
    arm: Arm,
    group: String,
    /// The last recorded answer for what is not there, by its id in lower case.
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

    /// Remembers how something looked that is not there.
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

    /// Returns the body to send, with our blobs in place of those of others.
    pub async fn request(&mut self, exchange: &Exchange, mut body: Value) -> Value {
        match exchange.type_name().as_str() {
            "galleries/applications/versions" => self.package(&exchange.request).await,
            "galleries/images/versions" => {
                let storage = &exchange.request["properties"]["storageProfile"];
                let disks = storage["dataDiskImages"].as_array();
                for (at, disk) in disks.into_iter().flatten().enumerate() {
                    let Some(uri) = disk.pointer("/source/uri") else {
                        continue;
                    };
                    let source =
                        &mut body["properties"]["storageProfile"]["dataDiskImages"][at]["source"];
                    source["uri"] = match self.known(uri) {
                        Some(known) => known,
                        None => self.vhd(&source["id"], uri).await,
                    };
                }
            }
            _ => {}
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

    async fn group(&self, location: &Value) {
        let here = json!({ "location": location });
        self.arm
            .done("PUT", &self.group, GROUP_VERSION, Some(&here))
            .await;
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
