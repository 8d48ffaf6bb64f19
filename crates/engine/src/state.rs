//! The engine: what every use case and worker shares.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use blocks::{FrameCache, LayerId, Store, StoreOptions};
use catalog::Catalog;
use domain::{Error, Regions, Result};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::blob::Abandoned;
use crate::blob::audit::Writers;
use crate::blob::locks::BlobLocks;
use crate::error::catalog as db;
use crate::machine::driver::Driver;
use crate::machine::settings::{self as machine_settings, MachineSettings};
use crate::metering::Egress;
use crate::metrics::Metrics;
use crate::node::{home_file, home_of};
use crate::refusals::Refusals;
use crate::region_store::RegionStore;
use crate::settings::RegionSettings;
use crate::{Clock, Settings};

/// Bytes of decompressed frames that all disks of a node share.
const FRAME_CACHE_BYTES: usize = 128 << 20;
const STORE_KEY_SETTING: &str = "store-key";
/// The key that secrets of disk URLs are made with.
const ACCESS_KEY_SETTING: &str = "access-key";
/// The key that secrets in rows are sealed with.
const SEAL_KEY_SETTING: &str = "seal-key";

/// A running gallery; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    stores: BTreeMap<String, RegionStore>,
    regions: Regions,
    clock: Clock,
    bell: Notify,
    /// Rung when a deployment was recorded.
    conductor: Notify,
    identity: crate::identity::State,
    /// Layers that a sweep found without an owner, and when.
    ownerless: Mutex<HashMap<LayerId, i64>>,
    blob_locks: BlobLocks,
    abandoned: Abandoned,
    refusals: Refusals,
    writers: Writers,
    /// The name of this process among the nodes of the catalog.
    node: String,
    /// The name of its data directory among those that work on the catalog, and the file that it lies in.
    home: String,
    home_file: PathBuf,
    /// The lock of that file, while this process works in the directory.
    home_lock: Mutex<Option<File>>,
    access_key: [u8; 32],
    seal_key: [u8; 32],
    metrics: Metrics,
    egress: Egress,
    machines: Machines,
}

/// What runs machines on this node.
struct Machines {
    settings: MachineSettings,
    driver: Option<Driver>,
    directory: PathBuf,
}

impl Engine {
    /// Opens the catalog; stores are opened when they are needed, or by [`Engine::open_stores`].
    pub async fn open(settings: Settings, clock: Clock) -> Result<Self> {
        let catalog = Catalog::open(&settings.database).await.map_err(db)?;
        let key = installation_key(&catalog, STORE_KEY_SETTING).await?;
        let access_key = installation_key(&catalog, ACCESS_KEY_SETTING).await?;
        let seal_key = installation_key(&catalog, SEAL_KEY_SETTING).await?;
        // One for all regions of a node: a frame is the same in each of them.
        let frames = FrameCache::new(FRAME_CACHE_BYTES);
        let mut stores = BTreeMap::new();
        let mut regions = Vec::new();
        for RegionSettings { region, store } in settings.regions {
            let local = settings.data.join("local").join(&region.name);
            let mut options = StoreOptions::new(store, local, key);
            options.cache = Some(frames.clone());
            let held = RegionStore::new(options, &region.name);
            stores.insert(region.name.clone(), held);
            regions.push(region);
        }
        let machines = settings.data.join("machines");
        Ok(Self(Arc::new(Inner {
            catalog,
            stores,
            regions: Regions::new(regions),
            clock,
            bell: Notify::new(),
            conductor: Notify::new(),
            identity: crate::identity::State::default(),
            ownerless: Mutex::default(),
            blob_locks: BlobLocks::default(),
            abandoned: Abandoned::default(),
            refusals: Refusals::default(),
            writers: Writers::default(),
            node: Uuid::new_v4().to_string(),
            home: home_of(&settings.data),
            home_file: home_file(&settings.data),
            home_lock: Mutex::default(),
            access_key,
            seal_key,
            metrics: Metrics::default(),
            egress: Egress::default(),
            machines: Machines {
                driver: machine_settings::driver(&settings.machines, &machines),
                settings: settings.machines,
                directory: machines,
            },
        })))
    }

    /// Returns what this node remembers about sign-in.
    pub(crate) fn identity(&self) -> &crate::identity::State {
        &self.0.identity
    }

    /// Returns the metadata store.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// Returns the block store of a region, by its short name.
    pub async fn store(&self, region: &str) -> Result<&Store> {
        self.open_store(region, self.region_store(region)?).await
    }

    /// Returns what is held for each region's store.
    pub(crate) fn region_stores(&self) -> impl Iterator<Item = (&str, &RegionStore)> {
        let all = self.0.stores.iter();
        all.map(|(name, held)| (name.as_str(), held))
    }

    /// Returns what is held for a region's store.
    pub(crate) fn region_store(&self, region: &str) -> Result<&RegionStore> {
        self.0.stores.get(region).ok_or_else(|| {
            Error::bad_request(format!(
                "The region '{region}' is not configured on this server."
            ))
        })
    }

    /// Whether several nodes may work on a region's store at once: not on a directory, which has a lock.
    pub(crate) fn is_shared(&self, region: &str) -> bool {
        let held = self.0.stores.get(region);
        held.is_some_and(RegionStore::is_shared)
    }

    /// Returns the name of this process among the nodes of the catalog.
    pub(crate) fn node(&self) -> &str {
        &self.0.node
    }

    /// Returns the name of this node's data directory among those that work on the catalog.
    pub(crate) fn home(&self) -> &str {
        &self.0.home
    }

    /// Returns the file that this name lies in.
    pub(crate) fn home_file(&self) -> &Path {
        &self.0.home_file
    }

    /// Keeps the lock of the data directory for as long as this gallery is open.
    pub(crate) fn hold_home(&self, lock: Option<File>) {
        *self
            .0
            .home_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = lock;
    }

    /// Returns the key that secrets of disk URLs are made with.
    pub(crate) fn access_key(&self) -> &[u8; 32] {
        &self.0.access_key
    }

    /// Returns the key that secrets in rows are sealed with.
    pub(crate) fn seal_key(&self) -> &[u8; 32] {
        &self.0.seal_key
    }

    /// Returns what this process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the bytes that were sent and are not in the catalog yet.
    pub(crate) fn egress(&self) -> &Egress {
        &self.0.egress
    }

    /// Returns every region's store that is open.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &Store)> {
        self.0
            .stores
            .iter()
            .filter_map(|(name, held)| Some((name.as_str(), held.get()?)))
    }

    /// Returns the layers that a sweep found without an owner.
    pub(crate) fn ownerless(&self) -> &Mutex<HashMap<LayerId, i64>> {
        &self.0.ownerless
    }

    /// Returns the regions.
    pub fn regions(&self) -> &Regions {
        &self.0.regions
    }

    /// Returns who uses which blob now.
    pub(crate) fn blob_locks(&self) -> &BlobLocks {
        &self.0.blob_locks
    }

    /// Returns the uploads that ended without being recorded.
    pub(crate) fn abandoned(&self) -> &Abandoned {
        &self.0.abandoned
    }

    /// Returns the refusals that were counted and not recorded yet.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// Returns whose writes to blobs were recorded last.
    pub(crate) fn writers(&self) -> &Writers {
        &self.0.writers
    }

    /// Returns how machines run on this node.
    pub fn machine_settings(&self) -> &MachineSettings {
        &self.0.machines.settings
    }

    /// Returns what runs machines, or what to install.
    pub(crate) fn driver(&self) -> Result<&Driver> {
        let driver = self.0.machines.driver.as_ref();
        driver.ok_or_else(machine_settings::no_driver)
    }

    /// Returns the directory in which each machine has its own.
    pub(crate) fn machines_directory(&self) -> &Path {
        &self.0.machines.directory
    }

    /// Returns the time in milliseconds since the epoch, UTC.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// Wakes a worker: an operation was recorded.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Wakes who conducts deployments.
    pub(crate) fn ring_conductor(&self) {
        self.0.conductor.notify_one();
    }

    /// Returns when a deployment was recorded.
    pub(crate) async fn conductor_rung(&self) {
        self.0.conductor.notified().await;
    }

    /// Returns when the bell was rung.
    pub(crate) async fn rung(&self) {
        self.0.bell.notified().await;
    }
}

/// Returns a key of this installation; made once, kept for ever.
///
/// Two nodes that start at once agree: the first insert wins and both read it back.
async fn installation_key(catalog: &Catalog, setting: &str) -> Result<[u8; 32]> {
    let mut fresh = [0_u8; 32];
    getrandom::fill(&mut fresh).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Error::internal()
    })?;
    let mut tx = catalog.write().await.map_err(db)?;
    tx.put_setting_if_absent(setting, &hex(&fresh))
        .await
        .map_err(db)?;
    let kept = tx.setting(setting).await.map_err(db)?.unwrap_or_default();
    tx.commit().await.map_err(db)?;
    unhex(&kept).ok_or_else(|| {
        tracing::error!(setting, "a stored key cannot be read");
        Error::internal()
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}
