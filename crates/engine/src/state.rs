//! The engine: what every use case and worker shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use blocks::{LayerId, Store, StoreOptions};
use catalog::Catalog;
use domain::{Error, Regions, Result};
use tokio::sync::{Notify, OnceCell};

use crate::blob::locks::BlobLocks;
use crate::error::catalog as db;
use crate::refusals::Refusals;
use crate::settings::RegionSettings;
use crate::{Clock, Settings};

const STORE_KEY_SETTING: &str = "store-key";

/// A running gallery; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    stores: BTreeMap<String, RegionStore>,
    regions: Regions,
    clock: Clock,
    bell: Notify,
    identity: crate::identity::State,
    /// Layers that a sweep found without an owner, and when.
    ownerless: Mutex<HashMap<LayerId, i64>>,
    blob_locks: BlobLocks,
    refusals: Refusals,
}

/// A region's store; one that could not be opened is tried again when it is needed.
struct RegionStore {
    options: StoreOptions,
    store: OnceCell<Store>,
}

impl Engine {
    /// Opens the catalog; stores are opened when they are needed, or by [`Engine::open_stores`].
    pub async fn open(settings: Settings, clock: Clock) -> Result<Self> {
        let catalog = Catalog::open(&settings.database).await.map_err(db)?;
        let key = store_key(&catalog).await?;
        let mut stores = BTreeMap::new();
        let mut regions = Vec::new();
        for RegionSettings { region, store } in settings.regions {
            let local = settings.data.join("local").join(&region.name);
            let held = RegionStore {
                options: StoreOptions::new(store, local, key),
                store: OnceCell::new(),
            };
            stores.insert(region.name.clone(), held);
            regions.push(region);
        }
        Ok(Self(Arc::new(Inner {
            catalog,
            stores,
            regions: Regions::new(regions),
            clock,
            bell: Notify::new(),
            identity: crate::identity::State::default(),
            ownerless: Mutex::default(),
            blob_locks: BlobLocks::default(),
            refusals: Refusals::default(),
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
        match self.0.stores.get(region) {
            Some(held) => held.open().await,
            None => Err(Error::bad_request(format!(
                "The region '{region}' is not configured on this server."
            ))),
        }
    }

    /// Opens every region's store, creating what is not there; one that is down does not stop the others.
    pub async fn open_stores(&self) {
        for (region, held) in &self.0.stores {
            if let Err(error) = held.open().await {
                tracing::error!(region, %error, "the store of region {region} cannot be opened");
            }
        }
    }

    /// Returns every region's store that is open.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &Store)> {
        self.0
            .stores
            .iter()
            .filter_map(|(name, held)| Some((name.as_str(), held.store.get()?)))
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

    /// Returns the refusals that were counted and not recorded yet.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// Returns the time in milliseconds since the epoch, UTC.
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// Wakes a worker: an operation was recorded.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Returns when the bell was rung.
    pub(crate) async fn rung(&self) {
        self.0.bell.notified().await;
    }
}

impl RegionStore {
    async fn open(&self) -> Result<&Store> {
        let open = || async {
            Store::open(self.options.clone())
                .await
                .map_err(crate::error::blocks)
        };
        self.store.get_or_try_init(open).await
    }
}

/// Returns the key of this installation's block identities; made once, kept for ever.
///
/// Two nodes that start at once agree: the first insert wins and both read it back.
async fn store_key(catalog: &Catalog) -> Result<[u8; 32]> {
    let mut fresh = [0_u8; 32];
    getrandom::fill(&mut fresh).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Error::internal()
    })?;
    let mut tx = catalog.write().await.map_err(db)?;
    tx.put_setting_if_absent(STORE_KEY_SETTING, &hex(&fresh))
        .await
        .map_err(db)?;
    let kept = tx
        .setting(STORE_KEY_SETTING)
        .await
        .map_err(db)?
        .unwrap_or_default();
    tx.commit().await.map_err(db)?;
    unhex(&kept).ok_or_else(|| {
        tracing::error!("the stored block key cannot be read");
        Error::internal()
    })
}

fn hex(bytes: &[u8]) -> String {
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
