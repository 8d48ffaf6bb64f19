//! What the storage accounts of a region keep: blobs, and blocks that wait for their list.

use std::collections::BTreeMap;

use blocks::{Layer, Store};
use catalog::{Blob, BlobKind, StorageUsage};
use disk::ExtentKind;
use domain::scope::subscription_in;
use domain::{ResourceId, Result};

use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};
use crate::metering::day;

/// Blobs read in one go.
const BLOBS_PAGE_ROWS: usize = 500;
/// Extents of one layer that are walked before others get the processor.
const EXTENTS_AT_ONCE: usize = 1000;

/// Bytes of one resource: as its disks or blobs are long, and those that count.
#[derive(Default)]
pub(super) struct Kept {
    logical: u64,
    content: u64,
}

impl Kept {
    pub(super) fn add(&mut self, logical: u64, content: u64) {
        self.logical = self.logical.saturating_add(logical);
        self.content = self.content.saturating_add(content);
    }

    /// Returns the measurement of a resource in a region; none of what belongs to no subscription.
    pub(super) fn measured(self, owner: String, region: &str, now_ms: i64) -> Option<StorageUsage> {
        Some(StorageUsage {
            day: day(now_ms),
            subscription: subscription_in(&owner)?.to_owned(),
            owner,
            region: region.to_owned(),
            logical_bytes: i64::try_from(self.logical).unwrap_or(i64::MAX),
            content_bytes: i64::try_from(self.content).unwrap_or(i64::MAX),
            copies: 1,
            measured_ms: now_ms,
        })
    }
}

impl Engine {
    /// Returns what every account stores in a region now: block blobs and staged blocks count whole,
    /// page blobs by the pages that were written.
    pub(super) async fn measure_accounts(
        &self,
        region: &str,
        store: &Store,
    ) -> Result<Vec<StorageUsage>> {
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        let mut after = None;
        loop {
            let mut read = self.catalog().read().await.map_err(db)?;
            let page = read.blobs_in(region, after, BLOBS_PAGE_ROWS).await;
            drop(read);
            let page = page.map_err(db)?;
            let Some(last) = page.last() else { break };
            after = Some(last.layer);
            for blob in &page {
                let size = u64::try_from(blob.size_bytes).unwrap_or(0);
                let content = match blob.kind {
                    BlobKind::Block => size,
                    BlobKind::Page => written_bytes(store, blob).await?,
                };
                kept.entry(blob.account.clone())
                    .or_default()
                    .add(size, content);
            }
        }
        self.add_staged(region, &mut kept).await?;
        let now_ms = self.now_ms();
        let usage = kept.into_iter();
        Ok(usage
            .filter_map(|(owner, kept)| kept.measured(owner, region, now_ms))
            .collect())
    }

    /// Adds the staged blocks of the accounts that are in this region.
    async fn add_staged(&self, region: &str, kept: &mut BTreeMap<String, Kept>) -> Result<()> {
        let mut read = self.catalog().read().await.map_err(db)?;
        for (account, bytes) in read.staged_by_account().await.map_err(db)? {
            let Ok(id) = ResourceId::parse(&account) else {
                continue;
            };
            let row = read.load(&id).await.map_err(db)?;
            if row.is_some_and(|row| row.location == region) {
                let bytes = u64::try_from(bytes).unwrap_or(0);
                kept.entry(account).or_default().add(bytes, bytes);
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a page blob that are not in holes; none of a layer that is gone meanwhile.
async fn written_bytes(store: &Store, blob: &Blob) -> Result<u64> {
    // Replaced since its row was read, or a finding of the check: nobody pays for it.
    let Ok(layer) = store.open_layer(blob.layer.into()).await else {
        return Ok(0);
    };
    seen_bytes(&layer, u64::try_from(blob.size_bytes).unwrap_or(0)).await
}

/// Returns the bytes among the first `size` of a layer that are not in holes, its base's among them.
pub(super) async fn seen_bytes(layer: &Layer, size: u64) -> Result<u64> {
    let (mut at, mut written) = (0, 0_u64);
    let size = layer.size_bytes().min(size);
    let mut walked = 0_usize;
    while at < size {
        let extent = layer.extent_at(at).map_err(store_error)?;
        let end = at.saturating_add(extent.length.max(1)).min(size);
        if extent.kind != ExtentKind::Zero {
            written += end - at;
        }
        at = end;
        walked += 1;
        if walked.is_multiple_of(EXTENTS_AT_ONCE) {
            tokio::task::yield_now().await;
        }
    }
    Ok(written)
}
