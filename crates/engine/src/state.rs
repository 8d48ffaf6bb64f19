//! The engine: what every use case and worker shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use blocks::{Store, StoreOptions};
use catalog::Catalog;
use domain::{Error, Regions, Result};
use tokio::sync::Notify;

use crate::error::catalog as db;
use crate::settings::RegionSettings;
use crate::{Clock, Settings};

const STORE_KEY_SETTING: &str = "store-key";

/// A running gallery; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    stores: BTreeMap<String, Store>,
    regions: Regions,
    clock: Clock,
    bell: Notify,
}

impl Engine {
    /// Opens the catalog and the stores of all regions; creates what is not there.
    pub async fn open(settings: Settings, clock: Clock) -> Result<Self> {
        let catalog = Catalog::open(&settings.database).await.map_err(db)?;
        let key = store_key(&catalog).await?;
        let mut stores = BTreeMap::new();
        let mut regions = Vec::new();
        for RegionSettings { region, store } in settings.regions {
            let local = settings.data.join("local").join(&region.name);
            let opened = Store::open(StoreOptions::new(store, local, key)).await.map_err(crate::error::blocks)?;
            stores.insert(region.name.clone(), opened);
            regions.push(region);
        }
        Ok(Self(Arc::new(Inner {
            catalog,
            stores,
            regions: Regions::new(regions),
            clock,
            bell: Notify::new(),
        })))
    }

    /// Returns the metadata store.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// Returns the block store of a region, by its short name.
    pub fn store(&self, region: &str) -> Option<&Store> {
        self.0.stores.get(region)
    }

    /// Returns every region's store.
    pub fn stores(&self) -> impl Iterator<Item = (&str, &Store)> {
        self.0.stores.iter().map(|(name, store)| (name.as_str(), store))
    }

    /// Returns the regions.
    pub fn regions(&self) -> &Regions {
        &self.0.regions
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
    tx.put_setting_if_absent(STORE_KEY_SETTING, &hex(&fresh)).await.map_err(db)?;
    let kept = tx.setting(STORE_KEY_SETTING).await.map_err(db)?.unwrap_or_default();
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
