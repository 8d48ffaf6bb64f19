//! A server in memory, an account in it, and a client that signs as the service's clients do.

#![expect(clippy::disallowed_methods, reason = "the worker ends with its test")]

use std::time::{Duration, Instant};

use api::ApiState;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Clock, Engine, RegionSettings, Settings};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

/// 2026-06-01T00:00:00Z.
pub const NOW_MS: i64 = 1_780_272_000_000;
pub const NOW_TEXT: &str = "Mon, 01 Jun 2026 00:00:00 GMT";
pub const ACCOUNT: &str = "acct1";
pub const HOST: &str = "localhost:8443";
const LIMIT: Duration = Duration::from_secs(60);

/// An answer, whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Asserts the status and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{:?} {}",
            self.headers,
            self.text()
        );
        self
    }

    /// Asserts an error of the blob service.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("x-ms-error-code"), code, "{}", answer.text());
        answer
    }
}

pub struct World {
    pub router: Router,
    pub engine: Engine,
    pub clock: Clock,
    pub token: String,
    pub storage_token: String,
    pub group: String,
    pub key: Vec<u8>,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let region = domain::Region {
            name: "eastus".to_owned(),
            display_name: "East US".to_owned(),
            has_zones: false,
        };
        let settings = Settings {
            data: dir.path().to_owned(),
            database: format!(
                "sqlite:{}?mode=rwc",
                dir.path().join("catalog.db").display()
            ),
            regions: vec![RegionSettings {
                region,
                store: blocks::Location::Directory(dir.path().join("eastus")),
            }],
            machines: engine::MachineSettings {
                driver: engine::DriverChoice::Simulated,
                ..Default::default()
            },
        };
        let clock = Clock::manual(NOW_MS);
        let engine = Engine::open(settings, clock.clone()).await.unwrap();
        let first = engine
            .bootstrap(&Default::default())
            .await
            .unwrap()
            .unwrap();
        let stop = CancellationToken::new();
        let workers = engine.clone();
        let until = stop.clone();
        tokio::spawn(async move { workers.run_workers(1, until).await });
        let mut world = Self {
            router: api::router(ApiState::new(engine.clone())),
            engine,
            clock,
            token: String::new(),
            storage_token: String::new(),
            group: format!("/subscriptions/{}/resourceGroups/rg", first.subscription_id),
            key: Vec::new(),
            _stop: stop.drop_guard(),
            _dir: dir,
        };
        let scope = format!("https://{HOST}/.default");
        world.token = world.sign_in(&first, &scope).await;
        world.storage_token = world
            .sign_in(&first, "https://storage.azure.com/.default")
            .await;
        world
            .arm(
                "PUT",
                &world.group.clone(),
                "2024-11-01",
                Some(json!({ "location": "eastus" })),
            )
            .await;
        let account = world.account_id();
        let body =
            json!({ "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
        world
            .arm("PUT", &account, "2025-08-01", Some(body))
            .await
            .expect(200);
        let keys = world
            .arm("POST", &format!("{account}/listKeys"), "2025-08-01", None)
            .await
            .expect(200)
            .json();
        world.key = STANDARD
            .decode(keys["keys"][0]["value"].as_str().unwrap())
            .unwrap();
        world
    }

    pub fn account_id(&self) -> String {
        format!(
            "{}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
            self.group
        )
    }

    async fn sign_in(&self, first: &engine::identity::Bootstrapped, scope: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            first.client_id,
            first.client_secret,
            scope.replace(':', "%3A").replace('/', "%2F")
        );
        let request = Request::post(format!(
            "https://{HOST}/{}/oauth2/v2.0/token",
            first.tenant_id
        ))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("content-length", form.len())
        .body(Body::from(form))
        .unwrap();
        let answer = self.send(request).await.expect(200).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// The same server with limits of its own on the blob face.
    pub fn limited(&mut self, blobs: api::BlobLimits) {
        let limits = api::Limits {
            blobs,
            ..api::Limits::default()
        };
        self.router = api::router(ApiState::with_limits(self.engine.clone(), limits));
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Sends an ARM request and, when it is accepted, waits for its end.
    pub async fn arm(&self, method: &str, id: &str, version: &str, body: Option<Value>) -> Answer {
        let text = body.map(|b| b.to_string()).unwrap_or_default();
        let request = self.arm_request(
            method,
            &format!("https://{HOST}{id}?api-version={version}"),
            text,
        );
        let answer = self.send(request).await;
        let poll = answer.header("azure-asyncoperation").to_owned();
        if poll.is_empty() {
            return answer;
        }
        let started = Instant::now();
        loop {
            let state = self
                .send(self.arm_request("GET", &poll, String::new()))
                .await;
            match state.json()["status"].as_str() {
                Some("InProgress") if started.elapsed() < LIMIT => tokio::task::yield_now().await,
                _ => return state,
            }
        }
    }

    fn arm_request(&self, method: &str, url: &str, body: String) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Body::from(body))
            .unwrap()
    }

    /// Sends a request signed with the account's key; `path` begins below the account.
    pub async fn signed(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = format!("/blob/{ACCOUNT}{path}");
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let has = |name: &str| headers.iter().any(|(n, _)| *n == name);
        if !has("x-ms-date") {
            all.push(("x-ms-date".to_owned(), NOW_TEXT.to_owned()));
        }
        all.push(("x-ms-version".to_owned(), "2026-04-06".to_owned()));
        if method == "PUT" {
            all.push(("content-length".to_owned(), body.len().to_string()));
        }
        let string = string_to_sign(method, &path, query, &all);
        let authorization = format!("SharedKey {ACCOUNT}:{}", self.mac(&string));
        all.push(("authorization".to_owned(), authorization));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{HOST}{path}?{query}"));
        for (name, value) in &all {
            request = request.header(name, value);
        }
        self.send(request.body(Body::from(body.to_vec())).unwrap())
            .await
    }

    /// Sends a request without a header of its own to a whole URL.
    pub async fn bare(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method == "PUT" {
            request = request.header("content-length", body.len());
        }
        self.send(request.body(Body::from(body.to_vec())).unwrap())
            .await
    }

    pub fn mac(&self, string: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(string.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn string_to_sign(method: &str, path: &str, query: &str, headers: &[(String, String)]) -> String {
    let value = |name: &str| {
        let found = headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v.as_str());
        if name == "content-length" && found == "0" {
            ""
        } else {
            found
        }
    };
    let mut out = format!("{method}\n");
    for name in [
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        out.push_str(value(name));
        out.push('\n');
    }
    let mut own: Vec<&(String, String)> = headers
        .iter()
        .filter(|(n, _)| n.starts_with("x-ms-"))
        .collect();
    own.sort();
    for (name, value) in own {
        out.push_str(&format!("{name}:{value}\n"));
    }
    out.push_str(&format!("/{ACCOUNT}{path}"));
    let mut options: Vec<&str> = query.split('&').filter(|q| !q.is_empty()).collect();
    options.sort_unstable();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        out.push_str(&format!(
            "\n{name}:{}",
            value.replace("%2F", "/").replace("%3D", "=")
        ));
    }
    out
}
