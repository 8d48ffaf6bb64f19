//! What the versions, images, snapshots and disks of a region store.
//!
//! A disk counts what was written to it. What it shows of a version, image or snapshot of its own
//! subscription is that one's, as long as it is there: nothing stands twice on one bill. What it shows
//! of anything else is the disk's, so that a bill never tells what others have.

use std::collections::{BTreeMap, BTreeSet};

use blocks::{ManifestId, Store};
use catalog::{Content, ReplicaState, StorageUsage};
use domain::scope::subscription_in;
use domain::{Error, Result};
use uuid::Uuid;

use super::accounts::{Kept, seen_bytes};
use crate::Engine;
use crate::error::catalog as db;

/// Contents of resources with their virtual sizes, by owner.
type Owned = BTreeMap<String, Vec<(Content, i64)>>;

impl Engine {
    /// Returns what every resource stores in a region now.
    pub(super) async fn measure_region(
        &self,
        region: &str,
        store: &Store,
    ) -> Result<Vec<StorageUsage>> {
        let mut owned = Owned::new();
        self.each_replica(region, |replica| {
            if replica.state == ReplicaState::Completed {
                let held = (replica.content.clone(), replica.bytes_total);
                owned.entry(replica.owner.clone()).or_default().push(held);
            }
        })
        .await?;
        let charged = charged(&owned)?;
        let none = BTreeSet::new();
        let mut measured = Vec::new();
        for (owner, contents) in owned {
            let mut kept = Kept::default();
            let own = subscription_in(&owner).and_then(|id| charged.get(id));
            for (content, size) in contents {
                let size = u64::try_from(size).unwrap_or(0);
                match content {
                    Content::Manifest(id) => {
                        // One that is missing is a finding of the check; nobody pays for it.
                        if let Ok(manifest) = store.manifest(parse(&id)?).await {
                            kept.add(manifest.size_bytes(), manifest.content_bytes());
                        }
                    }
                    Content::Layer(id) => {
                        let own = own.unwrap_or(&none);
                        let (logical, content) = match layer_bytes(store, id, own).await? {
                            Some(found) => found,
                            None => (size, self.last_content(&owner, region).await?),
                        };
                        kept.add(logical, content);
                    }
                }
            }
            measured.extend(kept.measured(owner, region, self.now_ms()));
        }
        Ok(measured)
    }

    /// Returns what was measured last of a disk whose layer another node has.
    async fn last_content(&self, owner: &str, region: &str) -> Result<u64> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let subscription = subscription_in(owner).unwrap_or_default();
        let last = read.last_storage_usage(subscription, owner, region).await;
        let bytes = last.map_err(db)?.map_or(0, |last| last.content_bytes);
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

/// Returns what each subscription is charged for as a version, image or snapshot.
fn charged(owned: &Owned) -> Result<BTreeMap<String, BTreeSet<ManifestId>>> {
    let mut charged: BTreeMap<String, BTreeSet<ManifestId>> = BTreeMap::new();
    for (owner, contents) in owned {
        let Some(subscription) = subscription_in(owner) else {
            continue;
        };
        for (content, _) in contents {
            if let Content::Manifest(id) = content {
                let all = charged.entry(subscription.to_owned()).or_default();
                all.insert(parse(id)?);
            }
        }
    }
    Ok(charged)
}

/// Returns the virtual size of a disk and what counts of it; none when the layer is not on this node.
async fn layer_bytes(
    store: &Store,
    id: Uuid,
    charged: &BTreeSet<ManifestId>,
) -> Result<Option<(u64, u64)>> {
    let Ok(layer) = store.open_layer(id.into()).await else {
        return Ok(None);
    };
    let size = layer.size_bytes();
    let content = match layer.base() {
        Some(base) if !charged.contains(&base) => seen_bytes(&layer, size).await?,
        _ => layer.own_bytes(),
    };
    Ok(Some((size, content)))
}

fn parse(id: &str) -> Result<ManifestId> {
    id.parse().map_err(|_| Error::internal())
}
