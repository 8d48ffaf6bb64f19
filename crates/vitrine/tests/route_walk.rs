//! A walk over the route table as people who have no business there.
//!
//! The table comes from `vitrine routes`, so a new route is walked without a word here: parameters
//! that this file knows get the names of real resources, others get a name that nothing has.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Answer, Arm, DISK_VERSION, GALLERY_VERSION, GROUP_VERSION, Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// Newer than every type's versions, so every type accepts it.
const API_VERSION: &str = "2026-11-01";
/// Part of every name in the first tenant that a stranger must not read.
const MARK: &str = "hidden";

/// Routes that answer everyone who is signed in, and why that is right.
const FOR_EVERYONE: [(&str, &str); 4] = [
    ("/tenants", "lists the caller's own tenant"),
    (
        "/subscriptions",
        "lists what the caller has a role in; empty for who has none",
    ),
    (
        "/providers",
        "says what this kind of server serves, nothing of anybody",
    ),
    (
        "/providers/{namespace}",
        "says what this kind of server serves, nothing of anybody",
    ),
];

/// Routes whose path the first tenant's owner gets 200 from when the names are right.
const OWNER_READS_AT_LEAST: usize = 20;

/// One line of `vitrine routes`.
struct Route {
    method: String,
    pattern: String,
}

impl Route {
    /// Returns a body that would change something if the caller were let in.
    fn body(&self) -> Option<Value> {
        let tags = json!({ "stolen": "yes" });
        match self.method.as_str() {
            "PUT" | "PATCH" if self.pattern.ends_with("/tags/default") => {
                Some(json!({ "operation": "Merge", "properties": { "tags": tags } }))
            }
            "PUT" | "PATCH" => Some(json!({ "location": "eastus", "tags": tags })),
            "POST" => Some(json!({})),
            _ => None,
        }
    }
}

/// The first tenant with one of everything, and its owner.
struct Estate {
    server: Gallery,
    owner: Arm,
    operation: String,
}

impl Estate {
    async fn new() -> Self {
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
        ] {
            estate
                .owner
                .done("PUT", &estate.fill(pattern), version, Some(body))
                .await;
        }
        estate.publish().await;
        estate
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

    /// Returns a route's path with names of the first tenant in it.
    fn fill(&self, pattern: &str) -> String {
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
    fn routes(&self) -> Vec<Route> {
        let printed = verb(&self.server, &["routes"]);
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
    async fn ask(&self, client: &Arm, route: &Route) -> Answer {
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
    async fn everything(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for route in self.routes().iter().filter(|r| r.method == "GET") {
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

    /// Signs in as a principal of a tenant.
    async fn sign_in(&self, principal: &Value) -> Arm {
        let text = |name: &str| {
            principal[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {principal}"))
        };
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", text("clientId")),
            ("client_secret", text("secret")),
            ("scope", &format!("{}/.default", self.server.endpoint())),
        ];
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.server.endpoint(),
            text("tenantId")
        );
        let answer = self
            .owner
            .http()
            .post(url)
            .form(&form)
            .send()
            .await
            .expect("the token service answers");
        let body: Value = answer.json().await.expect("the token service answers JSON");
        self.owner.with_token(
            body["access_token"]
                .as_str()
                .unwrap_or_else(|| panic!("{body}")),
        )
    }

    /// Returns the words that an answer to `path` gives away: names of the first tenant that the
    /// asker has not written himself.
    fn leaks(&self, path: &str, answer: &Answer) -> Vec<String> {
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

const GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}";
const GALLERY: &str = "/providers/Microsoft.Compute/galleries/{gallery}";

/// Returns the words of a text that hold the mark.
fn marked_words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.contains(MARK))
        .map(str::to_owned)
        .collect()
}

/// Runs a verb that prints JSON.
fn verb(server: &Gallery, args: &[&str]) -> Value {
    let output = server.vitrine(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

fn is_for_everyone(route: &Route) -> bool {
    route.method == "GET"
        && FOR_EVERYONE
            .iter()
            .any(|(pattern, _)| *pattern == route.pattern)
}

#[tokio::test]
async fn no_route_answers_without_a_token_that_this_server_signed() {
    let estate = Estate::new().await;
    let text = estate
        .owner
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(text.status, 200, "{}", text.body);
    for token in [
        "",
        "garbage",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.eyJvaWQiOiJ4In0.",
    ] {
        let stranger = estate.owner.with_token(token);
        for route in estate.routes() {
            let answer = estate.ask(&stranger, &route).await;
            let line = format!(
                "{} {} with {token:?}: {} {}",
                route.method, route.pattern, answer.status, answer.body
            );
            assert_eq!(answer.status, 401, "{line}");
            let challenge = answer
                .header("www-authenticate")
                .unwrap_or_else(|| panic!("no challenge: {line}"));
            assert!(challenge.starts_with("Bearer "), "{challenge}: {line}");
            if route.method != "HEAD" {
                assert!(
                    !answer.code().is_empty() && !answer.message().is_empty(),
                    "{line}"
                );
            }
            assert_eq!(
                estate.leaks(&estate.fill(&route.pattern), &answer),
                [""; 0],
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn a_principal_of_another_tenant_gets_nothing_of_the_first_one() {
    let estate = Estate::new().await;
    let before = estate.everything().await;
    let server = &estate.server;
    verb(
        server,
        &[
            "tenant",
            "create",
            "--name",
            "Other",
            "--domain",
            "other.example",
        ],
    );
    let principal = verb(
        server,
        &[
            "principal",
            "create-service-principal",
            "stranger",
            "--tenant",
            "other.example",
        ],
    );
    let client = principal["clientId"].as_str().expect("a client id");
    let own = [
        "subscription",
        "create",
        "--name",
        "Other",
        "--tenant",
        "other.example",
        "--owner",
        client,
    ];
    let own = verb(server, &own);
    let stranger = estate.sign_in(&principal).await;
    let shown = stranger
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(
        shown.body["value"][0]["subscriptionId"], own["subscriptionId"],
        "{}",
        shown.body
    );
    for route in estate.routes() {
        let path = estate.fill(&route.pattern);
        let answer = estate.ask(&stranger, &route).await;
        let line = format!(
            "{} {}: {} {}",
            route.method, route.pattern, answer.status, answer.body
        );
        if is_for_everyone(&route) {
            assert_eq!(answer.status, 200, "{line}");
        } else {
            assert!([403, 404].contains(&answer.status), "{line}");
        }
        assert_eq!(estate.leaks(&path, &answer), [""; 0], "{line}");
        let body = answer.body.to_string();
        assert!(!body.contains(&server.credential("tenantId")), "{line}");
    }
    assert_eq!(
        estate.everything().await,
        before,
        "a stranger changed something"
    );
}

#[tokio::test]
async fn a_principal_without_roles_is_refused_everywhere() {
    let estate = Estate::new().await;
    let before = estate.everything().await;
    let principal = verb(
        &estate.server,
        &["principal", "create-service-principal", "nobody"],
    );
    let nobody = estate.sign_in(&principal).await;
    for route in estate.routes() {
        let path = estate.fill(&route.pattern);
        let answer = estate.ask(&nobody, &route).await;
        let line = format!(
            "{} {}: {} {}",
            route.method, route.pattern, answer.status, answer.body
        );
        if is_for_everyone(&route) {
            assert_eq!(answer.status, 200, "{line}");
        } else {
            assert!([403, 404].contains(&answer.status), "{line}");
        }
        assert_eq!(estate.leaks(&path, &answer), [""; 0], "{line}");
    }
    let subscriptions = nobody
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(
        subscriptions.body["value"],
        json!([]),
        "{}",
        subscriptions.body
    );
    assert_eq!(
        estate.everything().await,
        before,
        "a principal without roles changed something"
    );
}

#[tokio::test]
async fn the_walk_asks_for_what_is_there() {
    let estate = Estate::new().await;
    let read = estate.everything().await;
    assert!(
        read.len() >= OWNER_READS_AT_LEAST,
        "the owner reads only {} routes",
        read.len()
    );
    let marked = read
        .iter()
        .filter(|(_, body)| !marked_words(&body.to_string()).is_empty())
        .count();
    assert!(
        marked >= 10,
        "only {marked} answers hold what must not leak"
    );
    for (pattern, reason) in FOR_EVERYONE {
        assert!(
            read.iter().any(|(known, _)| known == pattern),
            "no route {pattern} ({reason})"
        );
    }
}

#[tokio::test]
async fn a_contributor_of_one_group_works_there_to_the_end_and_nowhere_else() {
    let estate = Estate::new().await;
    let principal = verb(
        &estate.server,
        &["principal", "create-service-principal", "builder"],
    );
    let client = principal["clientId"].as_str().expect("a client id");
    let group = estate.fill(GROUP).replace(MARK, "open");
    let here = json!({ "location": "eastus" });
    estate
        .owner
        .done("PUT", &group, GROUP_VERSION, Some(&here))
        .await;
    verb(
        &estate.server,
        &[
            "principal",
            "grant",
            client,
            "--role",
            "Contributor",
            "--scope",
            &group,
        ],
    );
    let builder = estate.sign_in(&principal).await;

    let gallery = format!("{group}/providers/Microsoft.Compute/galleries/open");
    // Waits for the operation too: who may write a resource may also ask how far it is.
    let made = builder
        .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    let (deleted, status) = builder
        .over("DELETE", &gallery, GALLERY_VERSION, None)
        .await;
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    assert_eq!(status.expect("an operation")["status"], "Succeeded");

    for (method, pattern) in [
        ("GET", GALLERY),
        ("PUT", GALLERY),
        ("DELETE", GALLERY),
        ("GET", ""),
    ] {
        let path = estate.fill(&format!("{GROUP}{pattern}"));
        let answer = builder
            .send(
                method,
                &path,
                GALLERY_VERSION,
                (method == "PUT").then_some(&here),
            )
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "AuthorizationFailed"),
            "{method} {path}: {}",
            answer.body
        );
    }
    let operation = format!(
        "/subscriptions/{{subscription}}/providers/Microsoft.Compute/locations/eastus/capsOperations/{}",
        estate.operation
    );
    let foreign = builder
        .send("GET", &estate.fill(&operation), GALLERY_VERSION, None)
        .await;
    assert!([403, 404].contains(&foreign.status), "{}", foreign.body);
}
