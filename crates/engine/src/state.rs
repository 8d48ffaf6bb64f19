//! The engine: what every use case and worker shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use blocks::{Store, StoreOptions};
use catalog::Catalog;
use domain::{Error, Regions, Result};
use tokio::sync::Notify;

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
        let catalog = Catalog::open(&settings.database).await?;
        let key = store_key(&catalog).await?;
        let mut stores = BTreeMap::new();
        let mut regions = Vec::new();
        for RegionSettings { region, store } in settings.regions {
            let local = settings.data.join("local").join(&region.name);
            let opened = Store::open(StoreOptions::new(store, local, key)).await?;
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
