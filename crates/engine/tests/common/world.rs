//! A gallery in a temporary directory: three regions, a clock that is turned by hand, one owner.
//!
//! Nothing works unless a test says so: [`World::settle`] runs workers until no operation is open.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blocks::LayerId;
use catalog::{Content, Replica};
use domain::operation::Operation;
use domain::{Error, Kind, Resource, ResourceId, Result};
use engine::blob::{BlobPath, Conditions, PutBlob, Session, Upload};
use engine::identity::BootstrapOptions;
use engine::{Accepted, Clock, Ctx, DeleteOptions, Engine, ListFilter, RegionSettings, Settings};
use futures::StreamExt as _;
use hmac::{KeyInit as _, Mac as _};
use serde_json::{Value, json};
use testkit::Database;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const REGIONS: [&str; 3] = ["eastus", "westus2", "westeurope"];
pub const START_MS: i64 = 1_800_000_000_000;
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Longer than any lease.
pub const LEASE_OVER_MS: i64 = 31_000;
/// Seconds that work may take on the manual clock, more than all pauses between attempts.
const SETTLE_SECONDS_MAX: usize = 300;
const REST_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
const ACCOUNT: &str = "vhdstore";
const CONTAINER: &str = "vhds";

/// A gallery and its owner.
pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Clock,
    pub engine: Engine,
    pub ctx: Ctx,
    pub subscription: String,
    /// Removed when nobody needs it any more.
    pub database: Database,
}

impl World {
    /// A fresh gallery with the group `rg`.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::sqlite(dir.path());
        Self::over(dir, database).await
    }

    /// The same with its catalog on PostgreSQL.
    pub async fn on_postgres() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::over(dir, Database::postgres()).await
    }

    async fn over(dir: tempfile::TempDir, database: Database) -> Self {
        let clock = Clock::manual(START_MS);
        let engine = open_over(dir.path(), &database, &clock).await;
        Self::begin(dir, database, clock, engine).await
    }

    /// A fresh gallery of which `engine` is the first node.
    pub async fn begin(
        dir: tempfile::TempDir,
        database: Database,
        clock: Clock,
        engine: Engine,
    ) -> Self {
        let options = BootstrapOptions::default();
        let first = engine.bootstrap(&options).await.unwrap().unwrap();
        let owner = engine.find_principal("vitrine-admin").await.unwrap();
        let ctx = Ctx {
            auxiliary: Vec::new(),
            client: "127.0.0.1".to_owned(),
            caller: engine::Caller {
                object_id: owner.object_id,
                tenant: owner.tenant,
                app_id: first.client_id,
                name: owner.name,
                groups: Vec::new(),
            },
            api_version: "2026-03-03".to_owned(),
            base_url: "https://localhost:8443".to_owned(),
            correlation_id: Uuid::nil(),
        };
        let world = Self {
            dir,
            clock,
            engine,
            ctx,
            subscription: first.subscription_id,
            database,
        };
        world.group().await;
        world
    }

    /// The same gallery in a copy of the directory, as another process would open it.
    pub async fn copy(of: &Template) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_directory(of.dir.path(), dir.path());
        let clock = Clock::manual(of.now_ms);
        let database = Database::sqlite(dir.path());
        let engine = open_over(dir.path(), &database, &clock).await;
        Self {
            database,
            dir,
            clock,
            engine,
            ctx: of.ctx.clone(),
            subscription: of.subscription.clone(),
        }
    }

    /// The same gallery opened once more, as by another node.
    pub async fn node(&self) -> Engine {
        open_over(self.dir.path(), &self.database, &self.clock).await
    }

    /// The same directory after a kill, as the next process opens it.
    pub async fn restart(self) -> Self {
        let Self {
            dir,
            clock,
            engine,
            ctx,
            subscription,
            database,
        } = self;
        drop(engine);
        let engine = open_over(dir.path(), &database, &clock).await;
        Self {
            dir,
            clock,
            engine,
            ctx,
            subscription,
            database,
        }
    }

    /// Closes the gallery, to be copied.
    pub fn into_template(self) -> Template {
        Template {
            now_ms: self.clock.now_ms(),
            dir: self.dir,
            ctx: self.ctx,
            subscription: self.subscription,
        }
    }

    /// Makes the group that everything is in.
    pub async fn group(&self) {
        let id = ResourceId::group(&self.subscription, "rg");
        let here = json!({ "location": "eastus" });
        self.engine.put(&self.ctx, &id, &here).await.unwrap();
    }

    /// The id of something of the compute provider in the group: `galleries/sig`.
    pub fn id(&self, rest: &str) -> ResourceId {
        let group = ResourceId::group(&self.subscription, "rg");
        ResourceId::parse(&format!("{group}/providers/Microsoft.Compute/{rest}")).unwrap()
    }

    pub fn version(&self, number: &str) -> ResourceId {
        self.id(&format!("galleries/sig/images/debian/versions/{number}"))
    }

    pub async fn put(&self, id: &ResourceId, body: &Value) -> Result<Accepted> {
        self.engine.put(&self.ctx, id, body).await
    }

    /// Writes a resource and waits for the end; the error of the request or of its operation.
    pub async fn make(&self, id: &ResourceId, body: &Value) -> Result<Resource> {
        let accepted = self.put(id, body).await?;
        self.settle().await;
        if let Some(operation) = &accepted.operation
            && let Some(error) = self.operation(operation).await.error
        {
            return Err(error);
        }
        self.engine.get(&self.ctx, id).await
    }

    pub async fn delete(&self, id: &ResourceId) -> Result<Option<Accepted>> {
        let options = DeleteOptions::default();
        self.engine.delete(&self.ctx, id, options).await
    }

    /// Deletes a resource and waits for the end.
    pub async fn remove(&self, id: &ResourceId) {
        self.delete(id).await.unwrap();
        self.settle().await;
    }

    /// Makes the gallery `sig` with these properties and the definition `debian`.
    pub async fn gallery(&self, properties: Value) {
        let body = json!({ "location": "eastus", "properties": properties });
        self.make(&self.id("galleries/sig"), &body).await.unwrap();
        self.definition("debian", json!({})).await;
    }

    /// Makes a definition whose properties differ from the usual ones as said.
    pub async fn definition(&self, name: &str, other: Value) -> ResourceId {
        let id = self.id(&format!("galleries/sig/images/{name}"));
        self.make(&id, &definition_body(name, other)).await.unwrap();
        id
    }

    /// Makes a disk of one GiB in a region that begins with `bytes`.
    pub async fn disk(&self, name: &str, region: &str, bytes: &[u8]) -> ResourceId {
        self.disk_like(name, region, json!({}), bytes).await
    }

    /// The same with further properties.
    pub async fn disk_like(
        &self,
        name: &str,
        region: &str,
        other: Value,
        bytes: &[u8],
    ) -> ResourceId {
        let id = self.id(&format!("disks/{name}"));
        let mut properties =
            json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 });
        merge(&mut properties, other);
        let body = json!({ "location": region, "properties": properties });
        self.make(&id, &body).await.unwrap();
        self.write_disk(&id, bytes).await;
        id
    }

    pub async fn write_disk(&self, id: &ResourceId, bytes: &[u8]) {
        let (region, layer) = self.layer_of(id).await;
        let store = self.engine.store(&region).await.unwrap();
        let layer = store.open_layer(layer).await.unwrap();
        layer.write_at(0, bytes).await.unwrap();
        layer.flush().await.unwrap();
    }

    /// The first bytes of a disk.
    pub async fn read_disk(&self, id: &ResourceId, length: usize) -> Vec<u8> {
        let (region, layer) = self.layer_of(id).await;
        let store = self.engine.store(&region).await.unwrap();
        let layer = store.open_layer(layer).await.unwrap();
        layer.read(0, length).await.unwrap()
    }

    async fn layer_of(&self, disk: &ResourceId) -> (String, LayerId) {
        let replicas = self.replicas(disk).await;
        let Some(Content::Layer(layer)) = replicas.first().map(|r| &r.content) else {
            panic!("{disk} has no layer: {replicas:?}");
        };
        (replicas[0].region.clone(), LayerId::from(*layer))
    }

    /// Makes a disk from a version (or `latest` of a definition) in a region.
    pub async fn disk_from(
        &self,
        name: &str,
        image: &ResourceId,
        region: &str,
    ) -> Result<ResourceId> {
        let id = self.id(&format!("disks/{name}"));
        let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": image.to_string() } });
        let body = json!({ "location": region, "properties": { "creationData": creation } });
        self.make(&id, &body).await?;
        Ok(id)
    }

    /// The first bytes of what a version shows in a region.
    pub async fn content(
        &self,
        version: &ResourceId,
        region: &str,
        length: usize,
    ) -> Result<Vec<u8>> {
        let disk = self.disk_from("probe", version, region).await;
        let read = match &disk {
            Ok(disk) => Ok(self.read_disk(disk, length).await),
            Err(error) => Err(error.clone()),
        };
        self.remove(&self.id("disks/probe")).await;
        read
    }

    pub async fn operation(&self, accepted: &Operation) -> Operation {
        let mut read = self.engine.catalog().read().await.unwrap();
        let found = read.load_operation(accepted.id).await.unwrap();
        found.unwrap()
    }

    pub async fn replicas(&self, owner: &ResourceId) -> Vec<Replica> {
        let mut read = self.engine.catalog().read().await.unwrap();
        read.replicas(&owner.key()).await.unwrap()
    }

    /// State of each region's replica of the operating system's disk.
    pub async fn regions_of(&self, version: &ResourceId) -> BTreeMap<String, &'static str> {
        let replicas = self.replicas(version).await;
        let os = replicas.into_iter().filter(|r| r.slot == "os");
        os.map(|r| (r.region, r.state.as_str())).collect()
    }

    pub async fn open_operations(&self) -> i64 {
        let mut read = self.engine.catalog().read().await.unwrap();
        read.count_open_operations().await.unwrap()
    }

    /// Runs a worker until no operation can run now.
    pub async fn work(&self, name: &str) {
        let stop = CancellationToken::new();
        while self.engine.work_once(name, &stop).await.unwrap() {}
    }

    /// Runs workers, and turns the clock through their pauses, until no operation is open.
    pub async fn settle(&self) {
        for _ in 0..SETTLE_SECONDS_MAX {
            self.work("worker").await;
            if self.open_operations().await == 0 {
                return;
            }
            self.clock.advance_ms(1000);
        }
        panic!("operations are still open");
    }

    /// Where a region keeps its blocks.
    pub fn store_path(&self, region: &str) -> PathBuf {
        self.dir.path().join("regions").join(region)
    }

    /// Everything that the catalog says of resources, their content and their grants.
    pub async fn snapshot(&self) -> String {
        let mut out = String::new();
        let mut read = self.engine.catalog().read().await.unwrap();
        for deleted in [false, true] {
            let filter = ListFilter {
                subscription: self.subscription.clone(),
                deleted,
                ..ListFilter::default()
            };
            for row in read.list(&filter, None, 1000).await.unwrap().items {
                let grants = read.grants_of(&row.id).await.unwrap().len();
                out += &format!("{row:?} grants {grants}\n");
            }
        }
        for region in REGIONS {
            for replica in read.contents(region, None, 1000).await.unwrap().items {
                out += &format!("{replica:?}\n");
            }
            for known in read.layer_bases(region).await.unwrap() {
                out += &format!("in {region} {known:?}\n");
            }
            for layer in read.blob_layers(region).await.unwrap() {
                out += &format!("blob in {region} {layer}\n");
            }
        }
        out
    }

    /// Deletes the group and sweeps: nothing is left in any store, and stores and catalog agree before.
    pub async fn nothing_is_orphaned(&self) {
        self.engine.open_stores().await;
        assert_eq!(self.engine.fsck().await.unwrap(), []);
        let group = ResourceId::group(&self.subscription, "rg");
        self.remove(&group).await;
        self.engine.sweep(0).await.unwrap();
        let stat = self.engine.stat_now().await.unwrap();
        assert_eq!(stat.open_operations, 0);
        assert!(
            stat.resources.values().all(|n| *n == 0),
            "{:?}",
            stat.resources
        );
        for region in &stat.regions {
            let left = (region.stored_bytes, region.manifests, region.layers);
            assert_eq!(left, (0, 0, 0), "{region:?}");
        }
        assert_eq!(self.snapshot().await, "");
    }

    /// Makes the storage account of this world with its container.
    pub async fn account(&self) -> ResourceId {
        let group = ResourceId::group(&self.subscription, "rg");
        let id = group.child(Kind::StorageAccount, ACCOUNT);
        let body =
            json!({ "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
        self.put(&id, &body).await.unwrap();
        let session = self.session(&id).await;
        let made = self
            .engine
            .create_container(&session, CONTAINER, serde_json::Map::new());
        made.await.unwrap();
        id
    }

    pub async fn session(&self, account: &ResourceId) -> Session {
        let mut read = self.engine.catalog().read().await.unwrap();
        let row = read.load(account).await.unwrap().unwrap();
        let key = row.internal["keys"][0]["value"].as_str().unwrap();
        let key = STANDARD.decode(key).unwrap();
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(b"x");
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let signed = ["x".to_owned()];
        let session = self.engine.session_by_key(ACCOUNT, &signed, &signature);
        session.await.unwrap()
    }

    /// Stores a blob in the account; returns its URL. A length that is no multiple of 512 makes a block blob.
    pub async fn blob(&self, account: &ResourceId, name: &str, bytes: &[u8]) -> String {
        let session = self.session(account).await;
        let path = BlobPath::new(CONTAINER, name).unwrap();
        let put = PutBlob::default();
        if bytes.len().is_multiple_of(512) {
            let made = self
                .engine
                .put_page_blob(&session, &path, &put, bytes.len() as u64);
            made.await.unwrap();
            let none = Conditions::default();
            if !bytes.is_empty() {
                let written = self
                    .engine
                    .write_pages(&session, &path, 0, upload(bytes), &none);
                written.await.unwrap();
            }
        } else {
            let made = self
                .engine
                .put_block_blob(&session, &path, &put, upload(bytes));
            made.await.unwrap();
        }
        format!("https://localhost:8443/blob/{ACCOUNT}/{CONTAINER}/{name}")
    }

    /// Stores a block blob whose bytes come piece by piece; `between` happens before the last piece.
    pub async fn slow_blob(
        &self,
        account: &ResourceId,
        name: &str,
        bytes: &[u8],
        between: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let session = self.session(account).await;
        let path = BlobPath::new(CONTAINER, name).unwrap();
        let whole = bytes::Bytes::copy_from_slice(bytes);
        let last = whole.slice(bytes.len() / 2..);
        let first = futures::stream::once(async move { Ok(whole.slice(..whole.len() / 2)) });
        let rest = futures::stream::once(async move {
            between.await;
            Ok(last)
        });
        let slow = Upload {
            body: first.chain(rest).boxed(),
            ..upload(bytes)
        };
        let put = PutBlob::default();
        let made = self.engine.put_block_blob(&session, &path, &put, slow);
        made.await.map(|_| ())
    }

    pub async fn delete_blob(&self, account: &ResourceId, name: &str) {
        let session = self.session(account).await;
        let path = BlobPath::new(CONTAINER, name).unwrap();
        let none = Conditions::default();
        self.engine
            .delete_blob(&session, &path, &none)
            .await
            .unwrap();
    }
}

/// A closed gallery.
pub struct Template {
    dir: tempfile::TempDir,
    now_ms: i64,
    ctx: Ctx,
    subscription: String,
}

impl Template {
    /// Waits until the connections have left: one that leaves folds the log into the database under a copy.
    pub fn at_rest(self) -> Self {
        let started = std::time::Instant::now();
        while self.is_open() && started.elapsed() < REST_LIMIT {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        self
    }

    fn is_open(&self) -> bool {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let catalog = self.dir.path().join("catalog.db");
        let catalog = catalog.to_string_lossy();
        files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .any(|open| open.to_string_lossy().starts_with(&*catalog))
    }
}

pub async fn open(dir: &Path, clock: &Clock) -> Engine {
    open_over(dir, &Database::sqlite(dir), clock).await
}

async fn open_over(dir: &Path, database: &Database, clock: &Clock) -> Engine {
    let region = |name: &str| RegionSettings {
        region: domain::region::known(name),
        store: engine::Location::Directory(dir.join("regions").join(name)),
    };
    let settings = Settings {
        data: dir.to_owned(),
        database: database.url().to_owned(),
        regions: REGIONS.map(region).into(),
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..Default::default()
        },
    };
    Engine::open(settings, clock.clone()).await.unwrap()
}

/// Polls a future at most `times` times; `None` when it wants more.
pub async fn poll_times<F: Future>(mut future: Pin<&mut F>, times: usize) -> Option<F::Output> {
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

pub fn definition_body(name: &str, other: Value) -> Value {
    let mut properties = json!({
        "osType": "Linux",
        "osState": "Generalized",
        "hyperVGeneration": "V2",
        "features": [{ "name": "SecurityType", "value": "Standard" }],
        "identifier": { "publisher": "acme", "offer": name, "sku": "1" },
    });
    merge(&mut properties, other);
    json!({ "location": "eastus", "properties": properties })
}

/// The body of a version in these regions; `source` is the id of a disk or version, or a blob's URL.
pub fn version_body(source: impl ToString, regions: &[&str]) -> Value {
    let source = source.to_string();
    let targets: Vec<Value> = regions.iter().map(|r| json!({ "name": r })).collect();
    let storage = if source.starts_with("https:") {
        json!({ "osDiskImage": { "source": { "uri": source } } })
    } else if source.contains("/versions/") {
        json!({ "source": { "id": source } })
    } else {
        json!({ "osDiskImage": { "source": { "id": source } } })
    };
    json!({
        "location": "eastus",
        "properties": {
            "publishingProfile": { "targetRegions": targets },
            "storageProfile": storage,
            "safetyProfile": { "allowDeletionOfReplicatedLocations": true },
        },
    })
}

/// Bytes that differ from seed to seed, without zero blocks.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A fixed VHD of a disk.
pub fn vhd(disk: &[u8]) -> Vec<u8> {
    let footer = disk::vhd::footer(disk.len() as u64, [7; 16], START_MS);
    [disk, &footer].concat()
}

pub fn upload(bytes: &[u8]) -> Upload {
    let whole = bytes::Bytes::copy_from_slice(bytes);
    Upload {
        length: bytes.len() as u64,
        md5: None,
        crc64: None,
        body: futures::stream::once(async move { Ok::<_, Error>(whole) }).boxed(),
    }
}

fn merge(into: &mut Value, other: Value) {
    let (Some(into), Value::Object(other)) = (into.as_object_mut(), other) else {
        return;
    };
    into.extend(other);
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
