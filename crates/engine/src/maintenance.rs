//! Work that comes due by time: expired soft-deletes, finished operations, content nobody refers to.
//!
//! Each round reads what is due and does it; a round that fails is logged and the next one repeats
//! it. Content goes in two steps: unreferenced for the grace period, then removed.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use blocks::{LayerId, ManifestId};
use catalog::{Content, ListFilter, Replica};
use domain::{Kind, Resource, Result};
use tokio_util::sync::CancellationToken;

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
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepSummary {
    /// Bytes that went back to the storage.
    pub freed_bytes: u64,
    /// Manifests removed.
    pub manifests: u64,
    /// Layers removed.
    pub layers: u64,
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
            if let Err(error) = self.maintenance_round().await {
                tracing::warn!(%error, "maintenance round failed; the next one repeats it");
            }
        }
    }

    /// Does what is due now.
    pub async fn maintenance_round(&self) -> Result<()> {
        self.open_stores().await;
        self.flush_refusals(false).await?;
        self.expire_soft_deleted().await?;
        let before = self.now_ms() - OPERATION_KEPT_MS;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.prune_operations(before, OPERATIONS_PRUNED_MAX)
            .await
            .map_err(db)?;
        tx.prune_tokens(self.now_ms()).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.forget_stale_blocks().await?;
        self.sweep(SWEEP_GRACE_MS).await?;
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
            let live = self.live_manifests(region).await?;
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
            let live = self.live_manifests(region).await?;
            let swept = match store.sweep_plan(&live, self.now_ms(), grace_ms).await {
                Ok(plan) => store.sweep(plan).await,
                Err(error) => Err(error),
            };
            match swept {
                Ok(swept) => {
                    summary.freed_bytes += swept.freed_bytes;
                    summary.manifests += swept.manifests;
                }
                // One region's trouble does not keep the others from being swept.
                Err(error) => tracing::warn!(region, %error, "sweep of region {region} put off"),
            }
        }
        Ok(summary)
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
