//! A gallery whose regions lie on object stores, and the verbs that say so.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{GALLERY_VERSION, GROUP_VERSION, Gallery, Options, Scene, until};

use super::proxy::Proxy;

/// moto takes any secret; this one must not be anywhere but in its file.
const CANARY: &str = "canary-of-the-bucket-9d1f";

/// The object stores of the run, each behind a way that can be cut.
pub struct Stores {
    s3: Proxied,
    azure: Proxied,
    /// A prefix of our own.
    prefix: String,
    /// What must not be told.
    secrets: Vec<String>,
    dir: tempfile::TempDir,
}

struct Proxied {
    proxy: Option<Proxy>,
    bucket: String,
    options: BTreeMap<String, String>,
}

impl Proxied {
    /// Reads a URL, then options, in words.
    fn from(variable: &str) -> Self {
        let words =
            std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: see CONTRIBUTING"));
        let mut words = words.split_whitespace();
        let bucket = words.next().unwrap().to_owned();
        let pairs = words.map(|word| word.split_once('=').unwrap());
        let options = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            proxy: None,
            bucket,
            options: options.collect(),
        }
    }

    fn endpoint(&self, name: &str) -> (String, String) {
        let url = self.options[name].strip_prefix("http://").unwrap();
        let (host, path) = url.split_once('/').unwrap_or((url, ""));
        (host.to_owned(), path.to_owned())
    }

    fn port(&self) -> u16 {
        self.proxy.as_ref().unwrap().port
    }
}

impl Stores {
    pub fn from_environment() -> Self {
        let azure = Proxied::from("VITRINE_TEST_AZURE_BLOBS");
        let key = azure.options["azure_storage_account_key"].clone();
        let dir = tempfile::tempdir().unwrap();
        write_credentials(
            &dir.path().join("s3"),
            &format!("AWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY={CANARY}\n"),
        );
        write_credentials(
            &dir.path().join("azure"),
            &format!("AZURE_STORAGE_ACCOUNT_KEY={key}\n"),
        );
        Self {
            s3: Proxied::from("VITRINE_TEST_S3"),
            azure,
            prefix: uuid::Uuid::new_v4().to_string(),
            secrets: vec![CANARY.to_owned(), key],
            dir,
        }
    }

    async fn connect(&mut self) {
        let (s3, _) = self.s3.endpoint("aws_endpoint");
        let (azure, _) = self.azure.endpoint("azure_storage_endpoint");
        self.s3.proxy = Some(Proxy::to(s3.parse().unwrap()).await);
        self.azure.proxy = Some(Proxy::to(azure.parse().unwrap()).await);
    }

    pub fn set_down(&self, is_down: bool) {
        for store in [&self.s3, &self.azure] {
            store.proxy.as_ref().unwrap().set_down(is_down);
        }
    }

    /// Returns what to say of a region on S3.
    pub fn s3(&self, region: &str) -> Vec<String> {
        vec![
            format!("--store={}/{}/{region}", self.s3.bucket, self.prefix),
            format!("--endpoint=http://127.0.0.1:{}", self.s3.port()),
            "--location=us-east-1".to_owned(),
            format!("--credentials={}", self.dir.path().join("s3").display()),
        ]
    }

    /// Returns what to say of a region on Azure Blob.
    pub fn azure(&self, region: &str) -> Vec<String> {
        let (_, account) = self.azure.endpoint("azure_storage_endpoint");
        vec![
            format!("--store={}/{}/{region}", self.azure.bucket, self.prefix),
            format!(
                "--endpoint=http://127.0.0.1:{}/{account}",
                self.azure.port()
            ),
            format!("--account={account}"),
            format!("--credentials={}", self.dir.path().join("azure").display()),
        ]
    }

    /// Returns what lies below a region's prefix in the bucket.
    pub async fn left_on_s3(&self, region: &str) -> Vec<String> {
        let (host, _) = self.s3.endpoint("aws_endpoint");
        let bucket = self.s3.bucket.trim_start_matches("s3://");
        let prefix = format!("{}/{region}/", self.prefix);
        let url = format!("http://{host}/{bucket}?list-type=2&prefix={prefix}");
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let keys = text.split("<Key>").skip(1);
        let keys = keys.map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.map(|key| key.trim_start_matches(&prefix).to_owned())
            .collect()
    }
}

fn write_credentials(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A gallery and its object stores.
pub struct World {
    pub server: Gallery,
    pub scene: Scene,
    pub stores: Stores,
}

impl World {
    pub async fn new(mut stores: Stores) -> Self {
        stores.connect().await;
        let server = Gallery::start(Options::new(env!("CARGO_BIN_EXE_vitrine"))).await;
        let scene = Scene::new(&server).await;
        Self {
            server,
            scene,
            stores,
        }
    }

    /// Runs a verb that succeeds; returns what it printed.
    pub fn verb(&self, args: &[&str]) -> Value {
        let done = self.server.vitrine(args);
        let says = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{args:?}: {says}");
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Says where a region lies.
    pub fn set(&self, region: &str, store: &[String]) -> Value {
        let mut args = vec!["region", "set", region];
        args.extend(store.iter().map(String::as_str));
        self.verb(&args)
    }

    /// Says where a region lies, which is refused; returns why.
    pub fn refused(&self, region: &str, store: &[String]) -> String {
        let mut args = vec!["region", "set", region];
        args.extend(store.iter().map(String::as_str));
        let done = self.server.vitrine(&args);
        assert!(!done.status.success(), "{args:?} worked");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    pub async fn shown(&self, version: &str) -> Value {
        let path = format!("{version}?$expand=ReplicationStatus");
        let answer = self
            .scene
            .arm
            .send("GET", &path, GALLERY_VERSION, None)
            .await;
        answer.body
    }

    /// Waits until a version is in a state; another end fails.
    pub async fn state_is(&self, version: &str, wanted: &str) {
        let limit = Duration::from_secs(240);
        let state = until("the version is over", limit, || async {
            let shown = self
                .scene
                .arm
                .send("GET", version, GALLERY_VERSION, None)
                .await
                .body;
            let state = shown["properties"]["provisioningState"]
                .as_str()?
                .to_owned();
            (!["Creating", "Updating"].contains(&state.as_str())).then_some(state)
        })
        .await;
        assert_eq!(state, wanted);
    }

    /// Sends a PUT that is accepted.
    pub async fn put(&self, id: &str, body: &Value) {
        let arm = &self.scene.arm;
        let answer = arm.send("PUT", id, GALLERY_VERSION, Some(body)).await;
        assert!(
            answer.status < 300,
            "{id}: {} {}",
            answer.status,
            answer.body
        );
    }

    pub async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.server.endpoint());
        let answer = self.scene.arm.http().get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// Deletes everything and sweeps: the stores are empty and agree with the catalog.
    pub async fn nothing_is_left(&mut self) {
        self.scene
            .arm
            .over("DELETE", &self.scene.group, GROUP_VERSION, None)
            .await;
        assert!(self.server.stop());
        self.verb(&["fsck"]);
        let swept = self.verb(&["sweep", "--now"]);
        assert_eq!(swept["putOff"], json!([]), "{swept}");
        let stat = self.verb(&["stat"]);
        for region in stat["regions"].as_array().into_iter().flatten() {
            let left = (&region["storedBytes"], &region["layers"]);
            assert_eq!(left, (&0.into(), &0.into()), "{region}");
        }
    }

    /// No file of the gallery and no line of its log holds a secret of the stores.
    pub fn nobody_told_a_secret(&self) {
        let mut all = Vec::new();
        files(self.server.scratch(), &mut all);
        assert!(all.iter().any(|path| path.ends_with("catalog.db")));
        assert!(all.iter().any(|path| path.ends_with("server.log")));
        for path in all {
            let bytes = std::fs::read(&path).unwrap();
            for secret in &self.stores.secrets {
                let is_there = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!is_there, "a secret in {}", path.display());
            }
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}
