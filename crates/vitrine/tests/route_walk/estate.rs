//! A tenant with one of everything, its owner, and strangers at the door.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Answer, Arm, DISK_VERSION, GALLERY_VERSION, GROUP_VERSION, Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// Newer than every type's versions, so every type accepts it.
pub const API_VERSION: &str = "2026-11-01";
/// Part of every name in the first tenant that a stranger must not read.
pub const MARK: &str = "hidden";
/// The group that holds everything.
pub const GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}";
/// The gallery, below the group.
pub const GALLERY: &str = "/providers/Microsoft.Compute/galleries/{gallery}";

/// One line of `vitrine routes`.
pub struct Route {
    /// The verb.
    pub method: String,
    /// The path with its parameters.
    pub pattern: String,
}

impl Route {
    /// Returns a body that would change something if the caller were let in.
    pub fn body(&self) -> Option<Value> {
        let tags = json!({ "stolen": "yes" });
        match self.method.as_str() {
            "PUT" | "PATCH" if self.pattern.ends_with("/tags/default") => {
                Some(json!({ "operation": "Merge", "properties": { "tags": tags } }))
            }
            "PUT" | "PATCH" => Some(json!({ "location": "eastus", "tags": tags })),
            "POST" if self.pattern.ends_with("Microsoft.ResourceGraph/resources") => {
                let query = "communitygalleryresources | where type == 'microsoft.compute/locations/communitygalleries'";
                Some(json!({ "query": query }))
            }
            "POST" => Some(json!({})),
            _ => None,
        }
    }
}

/// The audience of tokens for blobs.
const STORAGE: Option<&str> = Some("https://storage.azure.com");

/// A service principal that is signed in.
pub struct Principal {
    /// A client signed in as it.
    pub arm: Arm,
    /// Its token for blobs.
    pub blob_token: String,
    /// Its client id.
    pub id: String,
}

/// The first tenant with one of everything, and its owner.
pub struct Estate {
    /// The server.
    pub server: Gallery,
    /// A client signed in as the owner.
    pub owner: Arm,
    /// Id of an operation that is over.
    pub operation: String,
}

impl Estate {
    pub async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let owner = server.arm().await;
        let mut estate = Self {
            server,
            owner,
            operation: String::new(),
        };
        let definition = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": {
                "osType": "Linux",
                "osState": "Generalized",
                "hyperVGeneration": "V2",
                "features": [{ "name": "SecurityType", "value": "Standard" }],
                "identifier": { "publisher": MARK, "offer": "debian", "sku": "12" },
            },
        });
        let here = json!({ "location": "eastus", "tags": { "owner": MARK } });
        let empty = json!({
            "location": "eastus",
            "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": (20 << 20) + 512 } },
        });
        let snapshot = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 },
        });
        let image = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": { "storageProfile": { "osDisk": {
                "osType": "Linux",
                "osState": "Generalized",
                "snapshot": { "id": estate.fill(&format!("{GROUP}/providers/Microsoft.Compute/snapshots/{{snapshot}}")) },
            } } },
        });
        let set = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": { "activeKey": { "keyUrl": "https://vault/keys/k/1" } },
        });
        let account =
            json!({ "location": "eastus", "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
        for (pattern, version, body) in [
            (GROUP, GROUP_VERSION, &here),
            (&format!("{GROUP}{GALLERY}"), GALLERY_VERSION, &here),
            (
                &format!("{GROUP}{GALLERY}/images/{{image}}"),
                GALLERY_VERSION,
                &definition,
            ),
            (
                &format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/{{account}}"),
                "2025-08-01",
                &account,
            ),
            (
                &format!("{GROUP}/providers/Microsoft.Compute/disks/{{disk}}"),
                DISK_VERSION,
                &empty,
            ),
            (
                &format!("{GROUP}/providers/Microsoft.Compute/snapshots/{{snapshot}}"),
                DISK_VERSION,
                &snapshot,
            ),
            (
                &format!("{GROUP}/providers/Microsoft.Compute/images/{{managedImage}}"),
                "2024-07-01",
                &image,
            ),
            (
                &format!(
                    "{GROUP}/providers/Microsoft.Compute/diskEncryptionSets/{{encryptionSet}}"
                ),
                DISK_VERSION,
                &set,
            ),
        ] {
            estate
                .owner
                .done("PUT", &estate.fill(pattern), version, Some(body))
                .await;
        }
        estate.connect().await;
        estate.publish().await;
        estate.boot().await;
        estate
    }

    /// Makes a network with an interface, a public address, rules and a balancer.
    async fn connect(&self) {
        const NETWORK: &str = "/providers/Microsoft.Network";
        let at = |rest: &str| self.fill(&format!("{GROUP}{NETWORK}/{rest}"));
        let part = format!("{MARK}part");
        let network = at("virtualNetworks/{virtualNetwork}");
        let subnets = json!([{ "name": part, "properties": { "addressPrefix": "10.0.0.0/24" } }]);
        let config = json!({ "name": part, "properties": { "subnet": { "id": format!("{network}/subnets/{part}") } } });
        let rule = json!({ "name": part, "properties": {
            "protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100, "sourcePortRange": "*",
            "destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*" } });
        let items = json!([{ "name": part }]);
        for (path, properties) in [
            (
                network.clone(),
                json!({ "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": subnets }),
            ),
            (
                at("networkInterfaces/{networkInterface}"),
                json!({ "ipConfigurations": [config] }),
            ),
            (at("publicIPAddresses/{publicIpAddress}"), json!({})),
            (
                at("networkSecurityGroups/{networkSecurityGroup}"),
                json!({ "securityRules": [rule] }),
            ),
            (
                at("loadBalancers/{loadBalancer}"),
                json!({
                    "frontendIPConfigurations": items, "backendAddressPools": items, "probes": items,
                    "inboundNatRules": items, "loadBalancingRules": items, "outboundRules": items,
                }),
            ),
        ] {
            let body = json!({ "location": "eastus", "tags": { "owner": MARK }, "properties": properties });
            self.owner
                .done("PUT", &path, "2024-07-01", Some(&body))
                .await;
        }
    }

    /// Makes a version of an empty disk and keeps the operation's id.
    async fn publish(&mut self) {
        let disk = self.fill(&format!(
            "{GROUP}/providers/Microsoft.Compute/disks/{{disk}}"
        ));
        let source = disk.replace(&format!("{MARK}disk"), "source");
        let body = json!({
            "location": "eastus",
            "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } },
        });
        self.owner
            .done("PUT", &source, DISK_VERSION, Some(&body))
            .await;
        let version = self.fill(&format!(
            "{GROUP}{GALLERY}/images/{{image}}/versions/{{version}}"
        ));
        let body = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": { "storageProfile": { "osDiskImage": { "source": { "id": source } } } },
        });
        let (answer, status) = self
            .owner
            .over("PUT", &version, GALLERY_VERSION, Some(&body))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let status = status.expect("the PUT of a version has an operation");
        assert_eq!(status["status"], "Succeeded", "{status}");
        status["name"]
            .as_str()
            .expect("an operation has a name")
            .clone_into(&mut self.operation);
    }

    /// Makes a machine of the version.
    async fn boot(&self) {
        let image = self.fill(&format!("{GROUP}{GALLERY}/images/{{image}}"));
        let body = json!({
            "location": "eastus",
            "tags": { "owner": MARK },
            "properties": {
                "hardwareProfile": { "vmSize": "Standard_B1s" },
                "storageProfile": { "imageReference": { "id": image } },
                "osProfile": { "computerName": MARK, "adminUsername": MARK, "adminPassword": "Passw0rd!" },
            },
        });
        let machine = format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/{{machine}}");
        self.owner
            .done("PUT", &self.fill(&machine), "2024-07-01", Some(&body))
            .await;
    }

    /// Returns a route's path with names of the first tenant in it.
    pub fn fill(&self, pattern: &str) -> String {
        let fill_in = |segment: &str| {
            let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            match name {
                None => segment.to_owned(),
                Some("subscription") => self.server.credential("subscriptionId"),
                Some("namespace") => "Microsoft.Compute".to_owned(),
                Some("location") => "eastus".to_owned(),
                Some("version") => "1.0.0".to_owned(),
                Some("artifactType") => "Images".to_owned(),
                Some("artifact") => format!("{MARK}image"),
                Some("operation") => self.operation.clone(),
                // A name that is fit for every kind, storage accounts among them.
                Some(kind) => format!("{MARK}{}", kind.to_ascii_lowercase()),
            }
        };
        pattern
            .split('/')
            .map(fill_in)
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Returns the routes of this server.
    pub fn routes(&self) -> Vec<Route> {
        let printed = verb(&self.server, "routes");
        let text =
            |route: &Value, name: &str| route[name].as_str().expect("a route has both").to_owned();
        let routes: Vec<Route> = printed
            .as_array()
            .expect("routes are a list")
            .iter()
            .map(|route| Route {
                method: text(route, "method"),
                pattern: text(route, "path"),
            })
            .collect();
        assert!(routes.len() > 50, "only {} routes", routes.len());
        routes
    }

    /// Asks a route as `client`.
    pub async fn ask(&self, client: &Arm, route: &Route) -> Answer {
        let body = route.body();
        client
            .send(
                &route.method,
                &self.fill(&route.pattern),
                API_VERSION,
                body.as_ref(),
            )
            .await
    }

    /// Returns what the owner reads on every GET route that answers 200.
    ///
    /// The activity log is left out: it grows by every refusal, and is meant to.
    pub async fn everything(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let is_state = |r: &&Route| r.method == "GET" && !r.pattern.contains("/eventtypes/");
        for route in self.routes().iter().filter(is_state) {
            let answer = self.ask(&self.owner, route).await;
            assert!(
                answer.status < 500 && answer.status != 401,
                "{}: {}",
                route.pattern,
                answer.body
            );
            if answer.status == 200 {
                all.push((route.pattern.clone(), answer.body));
            }
        }
        all
    }

    /// Makes a service principal without roles and signs in as it.
    pub async fn principal(&self, name_and_options: &str) -> Principal {
        let made = format!("principal create-service-principal {name_and_options}");
        let made = verb(&self.server, &made);
        let text = |name: &str| {
            let found = made[name].as_str();
            found.unwrap_or_else(|| panic!("{name}: {made}")).to_owned()
        };
        let (tenant, id, secret) = (text("tenantId"), text("clientId"), text("secret"));
        let token = self.token(&tenant, &id, &secret, None).await;
        let blob_token = self.token(&tenant, &id, &secret, STORAGE).await;
        Principal {
            arm: self.owner.with_token(&token),
            blob_token,
            id,
        }
    }

    /// Makes another tenant with a subscription; returns its owner and the subscription's path.
    pub async fn stranger(&self) -> (Principal, String) {
        verb(
            &self.server,
            "tenant create --name Other --domain other.example",
        );
        let owner = self.principal("stranger --tenant other.example").await;
        let own = format!(
            "subscription create --name Other --tenant other.example --owner {}",
            owner.id
        );
        let own = verb(&self.server, &own);
        let own = own["subscriptionId"]
            .as_str()
            .expect("a subscription has an id");
        (owner, format!("/subscriptions/{own}"))
    }

    /// Returns the owner's tokens: for the gallery and for blobs.
    pub async fn owner_tokens(&self) -> [String; 2] {
        let credential = |name: &str| self.server.credential(name);
        let (tenant, client) = (credential("tenantId"), credential("clientId"));
        let secret = credential("clientSecret");
        [
            self.token(&tenant, &client, &secret, None).await,
            self.token(&tenant, &client, &secret, STORAGE).await,
        ]
    }

    /// Returns a token for the gallery, or for another audience.
    pub async fn token(
        &self,
        tenant: &str,
        client: &str,
        secret: &str,
        audience: Option<&str>,
    ) -> String {
        let audience = audience.unwrap_or(self.server.endpoint());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", &format!("{audience}/.default")),
        ];
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.server.endpoint());
        let request = self.owner.http().post(url).form(&form);
        let answer = request.send().await.expect("the token service answers");
        let body: Value = answer.json().await.expect("the token service answers JSON");
        let token = body["access_token"].as_str();
        token.unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    /// Puts a small VHD into a blob of the first tenant's account; returns its URL.
    pub async fn upload_blob(&self) -> String {
        let [_, token] = self.owner_tokens().await;
        let container = format!("{}/blob/{MARK}account/images", self.server.endpoint());
        let blob = format!("{container}/disk.vhd");
        let footer = disk::vhd::footer(1 << 20, [7; 16], 0).to_vec();
        let range = format!("bytes={}-{}", 1 << 20, (1 << 20) + 511);
        let length = ((1 << 20) + 512).to_string();
        let page_blob = [
            ("x-ms-blob-type", "PageBlob"),
            ("x-ms-blob-content-length", &length),
        ];
        let page = [("x-ms-page-write", "update"), ("x-ms-range", &range)];
        for (url, headers, body) in [
            (
                format!("{container}?restype=container"),
                &[][..],
                Vec::new(),
            ),
            (blob.clone(), &page_blob[..], Vec::new()),
            (format!("{blob}?comp=page"), &page[..], footer),
        ] {
            let mut request = self.owner.http().put(&url).bearer_auth(&token);
            request = request.header("x-ms-version", "2021-12-02").body(body);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.expect("the blob plane answers");
            let status = answer.status();
            assert_eq!(status, 201, "{url}: {:?}", answer.text().await);
        }
        blob
    }

    /// Returns the words that an answer to `path` gives away: names of the first tenant that the
    /// asker has not written himself.
    pub fn leaks(&self, path: &str, answer: &Answer) -> Vec<String> {
        let (path, body) = (
            path.to_ascii_lowercase(),
            answer.body.to_string().to_ascii_lowercase(),
        );
        let mut words = vec![
            self.server.credential("subscriptionId"),
            self.server.credential("clientId"),
        ];
        words.extend(marked_words(&body));
        words.retain(|word| {
            body.contains(&word.to_ascii_lowercase()) && !path.contains(&word.to_ascii_lowercase())
        });
        words
    }
}

/// Returns the words of a text that hold the mark.
pub fn marked_words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.contains(MARK))
        .map(str::to_owned)
        .collect()
}

/// Runs a verb, its words separated by spaces, that prints JSON.
pub fn verb(server: &Gallery, words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').collect();
    let output = server.vitrine(&words);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}
