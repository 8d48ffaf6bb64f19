//! Work that comes due by time: expired soft-deletes, finished operations, content nobody refers to.
//!
//! Each round reads what is due and does it; a round that fails is logged and the next one repeats
//! it. Content goes in two steps: unreferenced for the grace period, then removed.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use blocks::{CondenseLimits, Condensed, LayerId, ManifestId, Store, Swept};
use catalog::{Content, ListFilter, Replica};
use domain::{Kind, Resource, Result};
use tokio_util::sync::CancellationToken;

use crate::care::Finding;
use crate::care::nodes::sweep_name;
use crate::error::{blocks as store_error, catalog as db, is_stale};
use crate::resources::PAGE_ITEMS_MAX;
use crate::{Engine, rules};

/// How often a round starts.
const ROUND_EVERY: Duration = Duration::from_secs(60);
/// How long content stays after the last reference to it.
pub const SWEEP_GRACE_MS: i64 = 60 * 60 * 1000;
/// How long a finished operation can be polled.
const OPERATION_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Operations pruned in one round.
const OPERATIONS_PRUNED_MAX: usize = 1000;
/// One day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a sweep of all regions did.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepSummary {
    /// Bytes that went back to the storage.
    pub freed_bytes: u64,
    /// Manifests removed.
    pub manifests: u64,
    /// Layers removed.
    pub layers: u64,
    /// Regions that were not swept, and why.
    pub put_off: Vec<Finding>,
}

/// What condensing one region saved.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionCondensed {
    /// The region's short name.
    pub region: String,
    /// Packs that were written anew.
    pub packs: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
    /// The difference.
    pub saved_bytes: u64,
}

impl Engine {
    /// Runs rounds until `stop` is cancelled.
    pub async fn run_maintenance(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    if let Err(error) = self.flush_refusals(true).await {
                        tracing::warn!(%error, "counted refusals were not recorded");
                    }
                    return;
                }
                () = tokio::time::sleep(ROUND_EVERY) => {}
            }
            if let Err(error) = self.housekeeping().await {
                tracing::warn!(%error, "maintenance round failed; the next one repeats it");
            }
        }
    }

    /// Does what is due now, and sweeps every region, whatever the schedule says.
    pub async fn maintenance_round(&self) -> Result<()> {
        self.housekeeping().await?;
        self.sweep(SWEEP_GRACE_MS).await?;
        Ok(())
    }

    /// Does what every node does for itself: what is over in the catalog, its own layers.
    async fn housekeeping(&self) -> Result<()> {
        self.open_stores().await;
        self.flush_refusals(false).await?;
        self.expire_soft_deleted().await?;
        let before = self.now_ms() - OPERATION_KEPT_MS;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.prune_operations(before, OPERATIONS_PRUNED_MAX)
            .await
            .map_err(db)?;
        tx.prune_tokens(self.now_ms()).await.map_err(db)?;
        tx.prune_uploads(self.now_ms()).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.remove_abandoned().await?;
        self.forget_stale_blocks().await?;
        self.tell_bases().await?;
        self.sweep_layers(SWEEP_GRACE_MS).await?;
        Ok(())
    }

    /// Removes for good the versions whose retention is over.
    pub async fn expire_soft_deleted(&self) -> Result<u64> {
        let mut removed = 0;
        let mut read = self.catalog().read().await.map_err(db)?;
        let subscriptions = read.list_subscriptions(None).await.map_err(db)?;
        drop(read);
        for subscription in subscriptions {
            let filter = ListFilter {
                subscription: subscription.id,
                kind: Some(Kind::ImageVersion),
                deleted: true,
                ..ListFilter::default()
            };
            let mut after = None;
            loop {
                let mut read = self.catalog().read().await.map_err(db)?;
                let page = read
                    .list(&filter, after.as_deref(), PAGE_ITEMS_MAX)
                    .await
                    .map_err(db)?;
                drop(read);
                for row in &page.items {
                    if self.is_expired(row).await? {
                        rules::check_protected(row, self.now_ms())?;
                        match self.remove(row, None).await {
                            // It was restored at the last moment.
                            Err(error) if is_stale(&error) => {}
                            other => {
                                other?;
                                removed += 1;
                            }
                        }
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(removed)
    }

    async fn is_expired(&self, row: &Resource) -> Result<bool> {
        let Some(deleted_ms) = row.deleted_ms else {
            return Ok(false);
        };
        let gallery = match row.id.parent().and_then(|d| d.parent()) {
            Some(id) => self.load_row(&id).await?,
            None => None,
        };
        let Some(gallery) = gallery else {
            return Ok(true);
        };
        let policy = domain::gallery::soft_delete_policy(&gallery);
        let days = policy.retention_days + policy.grace_days;
        Ok(!policy.is_enabled || deleted_ms + days * DAY_MS <= self.now_ms())
    }

    /// Returns what a sweep would remove now, and marks what is not referred to.
    pub async fn sweep_plan(&self, grace_ms: i64) -> Result<SweepSummary> {
        let mut summary = SweepSummary::default();
        for (region, store) in self.stores() {
            let live = self.needed_manifests(region).await?;
            let plan = store.sweep_plan(&live, self.now_ms(), grace_ms).await;
            summary.manifests += plan.map_err(store_error)?.manifests.len() as u64;
            let there = store.layers().await.map_err(store_error)?;
            let live = self.live_layers(region).await?;
            summary.layers += there.iter().filter(|id| !live.contains(id)).count() as u64;
        }
        Ok(summary)
    }

    /// Removes content that nothing has referred to for `grace_ms`.
    pub async fn sweep(&self, grace_ms: i64) -> Result<SweepSummary> {
        let mut summary = SweepSummary {
            layers: self.sweep_layers(grace_ms).await?,
            ..SweepSummary::default()
        };
        for (region, store) in self.stores() {
            match self.sweep_region(region, store, grace_ms).await {
                Ok(swept) => {
                    summary.freed_bytes += swept.freed_bytes;
                    summary.manifests += swept.manifests;
                }
                // One region's trouble does not keep the others from being swept.
                Err(error) => {
                    tracing::warn!(region, %error, "sweep of region {region} put off");
                    summary.put_off.push(Finding {
                        region: region.to_owned(),
                        what: "store".to_owned(),
                        reason: error.message,
                    });
                }
            }
        }
        Ok(summary)
    }

    /// Removes content of one region that nothing has referred to for `grace_ms`.
    ///
    /// Of an object store that other nodes use too nothing is removed: they may be writing what no
    /// manifest names yet.
    pub(crate) async fn sweep_region(
        &self,
        region: &str,
        store: &Store,
        grace_ms: i64,
    ) -> Result<Swept> {
        let work = async {
            self.check_bases_are_known(region, store).await?;
            let live = self.needed_manifests(region).await?;
            self.check_nothing_is_lost(region, store).await?;
            let plan = store.sweep_plan(&live, self.now_ms(), grace_ms).await;
            let plan = plan.map_err(store_error)?;
            store.sweep(plan).await.map_err(store_error)
        };
        self.alone_in(region, work).await
    }

    /// Compresses packs of one region once more that stay; where no sweep may work, neither may this.
    pub(crate) async fn condense_region(
        &self,
        region: &str,
        store: &Store,
        limits: CondenseLimits,
    ) -> Result<Condensed> {
        let work = async {
            let condensed = store.condense(limits, self.now_ms()).await;
            condensed.map_err(store_error)
        };
        self.alone_in(region, work).await
    }

    /// Compresses every pack of every region once more that was not yet; returns what each region saved.
    pub async fn condense(&self) -> Result<Vec<RegionCondensed>> {
        let mut all = Vec::new();
        for (region, store) in self.stores() {
            let limits = CondenseLimits::default();
            let done = self.condense_region(region, store, limits).await?;
            all.push(RegionCondensed {
                region: region.to_owned(),
                packs: done.packs,
                bytes_before: done.bytes_before,
                bytes_after: done.bytes_after,
                saved_bytes: done.saved_bytes(),
            });
        }
        Ok(all)
    }

    /// Does work that removes objects of a region's store: on one node, and where no other works.
    async fn alone_in<T>(&self, region: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let work = async {
            self.check_alone(region).await?;
            work.await
        };
        // A directory has a lock of its own; a lease there would only outlive a killed process.
        if !self.is_shared(region) {
            return work.await;
        }
        let done = self
            .with_lease_of(self.home(), &sweep_name(region), work)
            .await?;
        done.ok_or_else(|| {
            domain::Error::conflict(
                "SweepRunning",
                format!("Another node sweeps the region '{region}' now."),
            )
        })
    }

    /// Refuses to sweep a store that has lost a manifest: its blocks are there still, and nothing but it names them.
    async fn check_nothing_is_lost(&self, region: &str, store: &Store) -> Result<()> {
        let there = store.manifests().await.map_err(store_error)?;
        let complete = self.complete_manifests(region).await?;
        let lost = complete.iter().filter(|id| {
            let id = id.parse::<ManifestId>();
            id.is_ok_and(|id| !there.contains(&id))
        });
        let lost = lost.count();
        if lost == 0 {
            return Ok(());
        }
        Err(domain::Error::conflict(
            "ContentNotFound",
            format!(
                "The store of the region '{region}' lacks {lost} manifests that the catalog refers to. Nothing is removed until \
                 they are back, or what refers to them is deleted: run 'vitrine fsck'."
            ),
        ))
    }

    /// Removes layers that nothing has referred to for `grace_ms`, as seen by this node.
    async fn sweep_layers(&self, grace_ms: i64) -> Result<u64> {
        let now_ms = self.now_ms();
        let mut removed = 0;
        for (region, store) in self.stores() {
            let Ok(there) = store.layers().await.map_err(store_error) else {
                continue;
            };
            let live = self.live_layers(region).await?;
            let due = self.due_layers(&there, &live, now_ms - grace_ms, now_ms);
            for id in due {
                match store.delete_layer(id).await.map_err(store_error) {
                    Ok(()) => removed += 1,
                    Err(_) => break,
                }
            }
        }
        Ok(removed)
    }

    /// Remembers since when layers are without an owner; returns those that are so since `before_ms`.
    fn due_layers(
        &self,
        there: &[LayerId],
        live: &BTreeSet<LayerId>,
        before_ms: i64,
        now_ms: i64,
    ) -> Vec<LayerId> {
        let mut seen = self
            .ownerless()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for id in there {
            if live.contains(id) || self.blob_locks().is_filled(*id) {
                seen.remove(id);
            } else if *seen.entry(*id).or_insert(now_ms) <= before_ms {
                seen.remove(id);
                due.push(*id);
            }
        }
        due
    }

    pub(crate) async fn live_layers(&self, region: &str) -> Result<BTreeSet<LayerId>> {
        let mut live = BTreeSet::new();
        self.each_replica(region, |replica| {
            if let Content::Layer(id) = &replica.content {
                live.insert(LayerId::from(*id));
            }
        })
        .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let blobs = read.blob_layers(region).await.map_err(db)?;
        live.extend(blobs.into_iter().map(LayerId::from));
        Ok(live)
    }

    /// Returns every manifest that the catalog refers to in a region.
    pub async fn live_manifests(&self, region: &str) -> Result<BTreeSet<ManifestId>> {
        let mut live = BTreeSet::new();
        let mut unreadable = None;
        self.each_replica(region, |replica| {
            if let Content::Manifest(id) = &replica.content {
                match id.parse::<ManifestId>() {
                    Ok(id) => drop(live.insert(id)),
                    Err(_) => unreadable = Some(id.clone()),
                }
            }
        })
        .await?;
        // What cannot be read may be what must be kept: nothing is removed then.
        if let Some(id) = unreadable {
            tracing::error!(
                manifest.id = id,
                "the catalog holds a manifest id that cannot be read"
            );
            return Err(domain::Error::internal());
        }
        Ok(live)
    }

    pub(crate) async fn each_replica(
        &self,
        region: &str,
        mut visit: impl FnMut(&Replica) + Send,
    ) -> Result<()> {
        let mut after = None;
        let mut read = self.catalog().read().await.map_err(db)?;
        loop {
            let page = read
                .contents(region, after.as_deref(), PAGE_ITEMS_MAX)
                .await
                .map_err(db)?;
            page.items.iter().for_each(&mut visit);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
