//! The store of a region: opened when it is needed, kept where its content is, moved as a whole.
//!
//! The catalog says where the content of each region lies. A node that is configured with another
//! place is refused before it takes an empty store for the region's: nothing would be lost, but
//! everything would seem so, and what is new would lie somewhere else.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use blocks::{Location, Progress, Store, StoreOptions};
use domain::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use crate::Engine;
use crate::care::nodes::present_name;
use crate::error::{blocks as store_error, catalog as db};

/// A region's store; one that could not be opened is tried again when it is needed.
pub(crate) struct RegionStore {
    options: StoreOptions,
    store: OnceCell<Store>,
    /// When and why it was not opened: who waited for that is answered the same.
    failed: Mutex<Option<(Instant, Error)>>,
}

/// What moved when a region got another store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MovedStore {
    /// Immutable disks that the new store has now.
    pub manifests: u64,
    /// Stored bytes that moved.
    pub bytes: u64,
}

impl RegionStore {
    pub fn new(mut options: StoreOptions, region: &str) -> Self {
        options.owner = Some(region.to_owned());
        Self {
            options,
            store: OnceCell::new(),
            failed: Mutex::default(),
        }
    }

    /// Returns the store if it is open.
    pub fn get(&self) -> Option<&Store> {
        self.store.get()
    }

    /// Whether several nodes may work on it at once: not on a directory, which has a lock.
    pub fn is_shared(&self) -> bool {
        !matches!(self.options.location, Location::Directory(_))
    }

    async fn open(&self) -> Result<&Store> {
        let begun = Instant::now();
        let open = || async {
            if let Some(error) = self.failed_since(begun) {
                return Err(error);
            }
            let opened = Store::open(self.options.clone()).await;
            opened.map_err(|cause| {
                let error = store_error(cause);
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), error.clone()));
                error
            })
        };
        self.store.get_or_try_init(open).await
    }

    /// Returns why another opened in vain while one waited for that.
    fn failed_since(&self, begun: Instant) -> Option<Error> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failed.as_ref()?;
        (*at >= begun).then(|| error.clone())
    }
}

impl Engine {
    pub(crate) async fn open_store<'a>(
        &'a self,
        region: &str,
        held: &'a RegionStore,
    ) -> Result<&'a Store> {
        if held.get().is_none() {
            self.check_place(region, &held.options.location).await?;
            if held.is_shared() {
                self.enter_store(region).await?;
            }
        }
        held.open().await
    }

    /// Opens every region's store, creating what is not there; one that is down does not stop the others.
    pub async fn open_stores(&self) {
        let each = self.region_stores().map(|(region, held)| async move {
            if let Err(error) = self.open_store(region, held).await {
                tracing::error!(region, %error, "the store of region {region} cannot be opened");
            }
        });
        futures::future::join_all(each).await;
    }

    /// Refuses a place that is not the one where the content of a region lies.
    async fn check_place(&self, region: &str, location: &Location) -> Result<()> {
        let (setting, wanted) = (place_setting(region), place_of(location));
        let mut read = self.catalog().read().await.map_err(db)?;
        let kept = read.setting(&setting).await.map_err(db)?;
        drop(read);
        if kept.as_deref() == Some(wanted.as_str()) {
            return Ok(());
        }
        if let Some(kept) = kept
            && self.has_content(region).await?
        {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "StoreMoved",
                format!(
                    "The content of the region '{region}' lies in {kept}, and this server is configured with {wanted}. Configure \
                     {kept} again, or move the content with 'vitrine region set {region}'."
                ),
            ));
        }
        self.keep_place(&setting, &wanted).await
    }

    async fn keep_place(&self, setting: &str, place: &str) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting(setting, place).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Whether the catalog refers to any content in a region.
    async fn has_content(&self, region: &str) -> Result<bool> {
        Ok(!self.live_manifests(region).await?.is_empty()
            || !self.live_layers(region).await?.is_empty())
    }

    /// Copies what the store of a region holds to another place, and says that it lies there now.
    ///
    /// Only what the new place lacks moves, so that one that was interrupted goes on. The old place
    /// stays as it is. No other node may have the store open. Layers stay with their node.
    pub async fn move_store(&self, region: &str, to: Location) -> Result<MovedStore> {
        let held = self.region_store(region)?;
        let (setting, place) = (place_setting(region), place_of(&to));
        let mut moved = MovedStore::default();
        let mut read = self.catalog().read().await.map_err(db)?;
        let kept = read.setting(&setting).await.map_err(db)?;
        drop(read);
        // A run before this one may have got so far.
        if kept.as_deref() == Some(place.as_str()) {
            return Ok(moved);
        }
        self.check_nobody_else(region).await?;
        let mut options = held.options.clone();
        options.location = to;
        options.local = held.options.local.with_extension("moving");
        let target = Store::open(options.clone()).await.map_err(store_error)?;
        if kept.is_some() && self.has_content(region).await? {
            let source = self.open_store(region, held).await?;
            for id in source.manifests().await.map_err(store_error)? {
                let copied = target.copy_from(source, id, &Progress::default()).await;
                moved.bytes += copied.map_err(store_error)?.bytes_moved;
                moved.manifests += 1;
            }
        }
        drop(target);
        // It held nothing but a lock: layers are where they were.
        if let Err(error) = std::fs::remove_dir_all(&options.local) {
            tracing::warn!(%error, "a temporary directory was left behind");
        }
        self.keep_place(&setting, &place).await?;
        Ok(moved)
    }

    /// Refuses while another node has the store of a region open.
    async fn check_nobody_else(&self, region: &str) -> Result<()> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let there = read.leases(&present_name(region, ""), self.now_ms()).await;
        let there = there.map_err(db)?;
        if there.iter().all(|(_, owner)| owner == self.home()) {
            return Ok(());
        }
        Err(Error::conflict(
            "StoreShared",
            format!(
                "A server works on the store of the region '{region}'. Stop it first; one that ended without saying so counts \
                 for ten minutes."
            ),
        ))
    }
}

fn place_setting(region: &str) -> String {
    format!("store:{region}")
}

/// Returns where a location is, without how to get there.
fn place_of(location: &Location) -> String {
    match location {
        // The data directory may lie anywhere.
        Location::Directory(_) => "a directory of the server".to_owned(),
        Location::Remote { url, .. } => url.trim_end_matches('/').to_owned(),
        Location::Memory(_) => "memory".to_owned(),
    }
}
