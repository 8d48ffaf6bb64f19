//! A server in memory with an owner, and people of this tenant and of others.

#![expect(clippy::disallowed_methods, reason = "the worker ends with its test")]

use std::path::Path;
use std::time::{Duration, Instant};

use api::ApiState;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use engine::identity::{
    Asked, Bootstrapped, Grant, NewPrincipal, NewSubscription, NewTenant, PrincipalKind,
    TokenRequest,
};
use engine::{Clock, Engine, RegionSettings, Settings};
use serde_json::{Value, json};
use testkit::Database;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

/// 2026-06-01T00:00:00Z.
pub const NOW_MS: i64 = 1_780_272_000_000;
pub const HOST: &str = "localhost:8443";
pub const GALLERY: &str = "2026-03-03";
pub const DISK: &str = "2025-01-02";
pub const MACHINE: &str = "2024-07-01";
pub const GROUP: &str = "2024-11-01";
pub const ACCOUNT: &str = "2025-08-01";
/// The smallest disk, in bytes.
pub const DISK_BYTES: usize = 20 << 20;
const LIMIT: Duration = Duration::from_secs(120);

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Who {
    pub token: String,
    pub blob_token: String,
    pub object_id: String,
    pub client_id: String,
    pub secret: String,
    pub tenant: String,
    /// `/subscriptions/{id}` of a subscription that is theirs; empty when they have none.
    pub own: String,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn code(&self) -> &str {
        let in_body = self.body["error"]["code"].as_str();
        in_body.unwrap_or_else(|| self.header("x-ms-error-code"))
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Asserts status and code and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16, code: &str) -> Self {
        let found = if status < 400 { "" } else { self.code() };
        assert_eq!((self.status(), found), (status, code), "{}", self.text());
        self
    }
}

pub struct World {
    pub router: Router,
    pub engine: Engine,
    pub clock: Clock,
    pub owner: Who,
    /// `/subscriptions/{id}` of the owner.
    pub subscription: String,
    _stop: DropGuard,
    pub dir: tempfile::TempDir,
    /// Removed when nobody needs it any more.
    _database: Database,
}

/// Makes one test of every law for each database: attributes are what no function can make.
macro_rules! on_both {
    ($($law:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $law() {
                super::$law(crate::world::World::new().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $law() {
                super::$law(crate::world::World::on_postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;

async fn open(dir: &Path, clock: &Clock, database: &Database) -> Engine {
    let region = |name: &str| RegionSettings {
        region: domain::region::known(name),
        store: engine::Location::Directory(dir.join(name)),
    };
    let settings = Settings {
        data: dir.to_owned(),
        database: database.url().to_owned(),
        regions: vec![region("eastus"), region("westus2")],
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..engine::MachineSettings::default()
        },
    };
    Engine::open(settings, clock.clone()).await.unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::at(NOW_MS).await
    }

    pub async fn at(now_ms: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::sqlite(dir.path());
        Self::begin(dir, database, now_ms).await
    }

    /// The same with its catalog on PostgreSQL.
    pub async fn on_postgres() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::begin(dir, Database::postgres(), NOW_MS).await
    }

    async fn begin(dir: tempfile::TempDir, database: Database, now_ms: i64) -> Self {
        let clock = Clock::manual(now_ms);
        let engine = open(dir.path(), &clock, &database).await;
        let first = engine
            .bootstrap(&Default::default())
            .await
            .unwrap()
            .unwrap();
        let stop = CancellationToken::new();
        for _ in 0..2 {
            let (workers, until) = (engine.clone(), stop.clone());
            tokio::spawn(async move { workers.run_workers(1, until).await });
        }
        let subscription = format!("/subscriptions/{}", first.subscription_id);
        let mut world = Self {
            router: api::router(ApiState::new(engine.clone())),
            engine,
            clock,
            owner: who(&first, &subscription),
            subscription,
            _stop: stop.drop_guard(),
            dir,
            _database: database,
        };
        world.owner = world.signed_in(world.owner.clone()).await;
        world
    }

    /// Returns somebody with fresh tokens.
    pub async fn signed_in(&self, mut one: Who) -> Who {
        one.token = self.token(&one, &format!("https://{HOST}/.default")).await;
        let storage = "https://storage.azure.com/.default";
        one.blob_token = self.token(&one, storage).await;
        one
    }

    pub async fn token(&self, one: &Who, scope: &str) -> String {
        let issued = self.engine.issue(TokenRequest {
            tenant: one.tenant.clone(),
            base_url: format!("https://{HOST}"),
            client_id: one.client_id.clone(),
            asked: Asked::from_scope(scope),
            grant: Grant::ClientSecret(one.secret.clone().into()),
        });
        match issued.await {
            Ok(issued) => issued.access_token,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Makes somebody without roles.
    pub async fn person(&self, name: &str, tenant: Option<&str>) -> Who {
        let new = NewPrincipal {
            kind: PrincipalKind::ServicePrincipal,
            name: name.to_owned(),
            tenant: tenant.map(str::to_owned),
            secret: None,
        };
        let made = self.engine.create_principal(new).await.unwrap();
        let one = Who {
            token: String::new(),
            blob_token: String::new(),
            object_id: made.principal.object_id,
            client_id: made.principal.app_id,
            secret: made.secret.unwrap(),
            tenant: made.principal.tenant,
            own: String::new(),
        };
        self.signed_in(one).await
    }

    /// Makes somebody of this tenant with a role.
    pub async fn with_role(&self, name: &str, role: &str, scope: &str) -> Who {
        let one = self.person(name, None).await;
        self.engine
            .grant_role(&one.object_id, role, scope)
            .await
            .unwrap();
        one
    }

    /// Makes a tenant with an owner, a subscription of his and a group `rg` in it.
    pub async fn stranger(&self, name: &str) -> Who {
        let domain = format!("{name}.example");
        let new = NewTenant {
            name: name.to_owned(),
            domain: domain.clone(),
        };
        self.engine.create_tenant(&new).await.unwrap();
        let mut one = self.person(name, Some(&domain)).await;
        let new = NewSubscription {
            name: name.to_owned(),
            tenant: Some(domain),
            owner: Some(one.object_id.clone()),
            id: None,
        };
        let own = self.engine.create_subscription(&new).await.unwrap();
        one.own = format!("/subscriptions/{}", own.id);
        self.group(&one, "rg").await;
        one
    }

    /// Makes a group in somebody's own subscription and returns its id.
    pub async fn group(&self, one: &Who, name: &str) -> String {
        let group = format!("{}/resourceGroups/{name}", one.own);
        self.done(
            one,
            "PUT",
            &group,
            GROUP,
            Some(json!({ "location": "eastus" })),
        )
        .await;
        group
    }

    pub async fn raw(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        }
    }

    /// Sends an ARM request with a body as text.
    pub async fn send_text(&self, token: &str, method: &str, url: &str, body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json")
            .header("content-length", body.len());
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.raw(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// Sends an ARM request; `path` may hold a query.
    pub async fn send(
        &self,
        one: &Who,
        method: &str,
        path: &str,
        version: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        let url = format!("https://{HOST}{path}{mark}api-version={version}");
        let text = body.map(Value::to_string).unwrap_or_default();
        self.send_text(&one.token, method, &url, &text).await
    }

    /// Sends an ARM request and waits for its operation; returns the answer and the operation's status.
    pub async fn over(
        &self,
        one: &Who,
        method: &str,
        path: &str,
        version: &str,
        body: Option<&Value>,
    ) -> (Answer, Value) {
        let answer = self.send(one, method, path, version, body).await;
        let poll = answer.header("azure-asyncoperation").to_owned();
        if answer.status() >= 400 || poll.is_empty() {
            return (answer, json!({ "status": "Succeeded" }));
        }
        let started = Instant::now();
        loop {
            let state = self.send_text(&one.token, "GET", &poll, "").await;
            if state.body["status"] != "InProgress" {
                return (answer, state.body);
            }
            assert!(started.elapsed() < LIMIT, "{poll}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends an ARM request that must end well; returns the operation's output or the answer's body.
    pub async fn done(
        &self,
        one: &Who,
        method: &str,
        path: &str,
        version: &str,
        body: Option<Value>,
    ) -> Value {
        let (answer, status) = self.over(one, method, path, version, body.as_ref()).await;
        let line = format!("{method} {path}: {} {status}", answer.text());
        assert!(answer.status() < 300, "{line}");
        assert_eq!(status["status"], "Succeeded", "{line}");
        match status.pointer("/properties/output") {
            Some(output) => output.clone(),
            None => answer.body,
        }
    }

    /// Sends a request to the blob plane with a bearer token, or with none when it is empty.
    pub async fn blob(
        &self,
        token: &str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let url = match url.starts_with("https://") {
            true => url.to_owned(),
            false => format!("https://{HOST}/blob/{url}"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("x-ms-version", "2021-12-02")
            .header("content-length", body.len());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.raw(request.body(Body::from(body.to_vec())).unwrap())
            .await
    }

    /// Opens a disk; returns the URL.
    pub async fn access(&self, one: &Who, disk: &str, level: &str) -> String {
        let body = json!({ "access": level, "durationInSeconds": 3600 });
        let path = format!("{disk}/beginGetAccess");
        let output = self.done(one, "POST", &path, DISK, Some(body)).await;
        let url = output["accessSAS"].as_str();
        url.unwrap_or_else(|| panic!("{output}")).to_owned()
    }

    pub async fn close(&self, one: &Who, disk: &str) {
        let path = format!("{disk}/endGetAccess");
        self.done(one, "POST", &path, DISK, None).await;
    }

    /// Writes one page through a disk's URL.
    pub async fn put_page(&self, url: &str, from: usize, bytes: &[u8]) -> Answer {
        let range = format!("bytes={from}-{}", from + bytes.len() - 1);
        let headers = [
            ("x-ms-page-write", "update"),
            ("x-ms-range", range.as_str()),
        ];
        self.blob("", "PUT", &format!("{url}&comp=page"), &headers, bytes)
            .await
    }

    /// Reads the first bytes of a disk that somebody may open.
    pub async fn head_of(&self, one: &Who, disk: &str) -> Vec<u8> {
        let url = self.access(one, disk, "Read").await;
        let range = [("x-ms-range", "bytes=0-4095")];
        let answer = self.blob("", "GET", &url, &range, &[]).await;
        assert_eq!(answer.status(), 206, "{}", answer.text());
        self.close(one, disk).await;
        answer.bytes
    }

    /// Makes a disk in a group of somebody's whose first page is `page`; returns its id.
    pub async fn disk(&self, one: &Who, group: &str, name: &str, page: &[u8]) -> String {
        let disk = format!("{group}/providers/Microsoft.Compute/disks/{name}");
        let body = json!({
            "location": "eastus",
            "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": DISK_BYTES + 512 } },
        });
        self.done(one, "PUT", &disk, DISK, Some(body)).await;
        let url = self.access(one, &disk, "Write").await;
        self.put_page(&url, 0, page).await.expect(201, "");
        let footer = disk::vhd::footer(DISK_BYTES as u64, [7; 16], 0);
        self.put_page(&url, DISK_BYTES, &footer)
            .await
            .expect(201, "");
        self.close(one, &disk).await;
        disk
    }

    /// Makes a gallery with version 1.0.0 of a disk that begins with `secret`; returns the ids of gallery, disk and version.
    pub async fn published(&self, one: &Who, group: &str) -> (String, String, String) {
        let gallery = self.gallery(one, group, None).await;
        let source = self.disk(one, group, "source", &page("secret")).await;
        let version = format!("{gallery}/images/debian/versions/1.0.0");
        let body = version_body(&source);
        self.done(one, "PUT", &version, GALLERY, Some(body)).await;
        (gallery, source, version)
    }

    /// Makes a gallery `sig` with a definition `debian` in a group of somebody's; returns the gallery's id.
    pub async fn gallery(&self, one: &Who, group: &str, profile: Option<Value>) -> String {
        let gallery = format!("{group}/providers/Microsoft.Compute/galleries/sig");
        let mut body = json!({ "location": "eastus" });
        if let Some(profile) = profile {
            body["properties"] = json!({ "sharingProfile": profile });
        }
        self.done(one, "PUT", &gallery, GALLERY, Some(body)).await;
        let definition = format!("{gallery}/images/debian");
        self.done(one, "PUT", &definition, GALLERY, Some(definition_body()))
            .await;
        gallery
    }

    /// Changes with whom a gallery is shared.
    pub async fn share(&self, one: &Who, gallery: &str, operation: &str, groups: Value) {
        let body = json!({ "operationType": operation, "groups": groups });
        let path = format!("{gallery}/share");
        self.done(one, "POST", &path, GALLERY, Some(body)).await;
    }

    /// Makes an account in a group of somebody's, with a container `images`; returns its name.
    pub async fn account(&self, one: &Who, group: &str, name: &str) -> String {
        let path = format!("{group}/providers/Microsoft.Storage/storageAccounts/{name}");
        let body =
            json!({ "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
        self.done(one, "PUT", &path, ACCOUNT, Some(body)).await;
        let container = format!("{name}/images?restype=container");
        self.blob(&one.blob_token, "PUT", &container, &[], &[])
            .await
            .expect(201, "");
        path
    }

    /// Puts a page blob with these bytes; its length is rounded up to a page. Returns its URL.
    pub async fn page_blob(&self, one: &Who, account: &str, name: &str, bytes: &[u8]) -> String {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let url = format!("https://{HOST}/blob/{account}/images/{name}");
        let length = bytes.len().to_string();
        let made = [
            ("x-ms-blob-type", "PageBlob"),
            ("x-ms-blob-content-length", length.as_str()),
        ];
        self.blob(&one.blob_token, "PUT", &url, &made, &[])
            .await
            .expect(201, "");
        for (number, part) in bytes.chunks(4 << 20).enumerate() {
            if part.iter().all(|byte| *byte == 0) {
                continue;
            }
            let from = number * (4 << 20);
            let range = format!("bytes={from}-{}", from + part.len() - 1);
            let page = [
                ("x-ms-page-write", "update"),
                ("x-ms-range", range.as_str()),
            ];
            self.blob(
                &one.blob_token,
                "PUT",
                &format!("{url}?comp=page"),
                &page,
                part,
            )
            .await
            .expect(201, "");
        }
        url
    }
}

fn who(first: &Bootstrapped, own: &str) -> Who {
    Who {
        token: String::new(),
        blob_token: String::new(),
        object_id: String::new(),
        client_id: first.client_id.clone(),
        secret: first.client_secret.clone(),
        tenant: first.tenant_id.clone(),
        own: own.to_owned(),
    }
}

/// Returns the body of a definition.
pub fn definition_body() -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V2",
            "features": [{ "name": "SecurityType", "value": "Standard" }],
            "identifier": { "publisher": "acme", "offer": "debian", "sku": "12" },
        },
    })
}

/// Returns the body that makes a version of something.
pub fn version_body(source: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "publishingProfile": { "targetRegions": [{ "name": "eastus" }] },
            "storageProfile": { "osDiskImage": { "source": { "id": source } } },
        },
    })
}

/// Returns the body that makes a disk of an image; `member` is `id`, `sharedGalleryImageId` or `communityGalleryImageId`.
pub fn disk_body(member: &str, image: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { member: image } } },
    })
}

/// Returns 4 KiB that say what they are.
pub fn page(text: &str) -> Vec<u8> {
    let mut page = text.as_bytes().repeat(4096 / text.len() + 1);
    page.truncate(4096);
    page
}
