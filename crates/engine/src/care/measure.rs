//! What each version, snapshot and image takes of the stores, and what would go with it.

use std::collections::{BTreeMap, BTreeSet};

use blocks::{ManifestId, Share, Shares, Store};
use catalog::Content;
use domain::{Error, ResourceId, Result};
use serde::Serialize;

use super::RegionStat;
use crate::Engine;
use crate::error::blocks as store_error;

/// What one resource takes of one region's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerStat {
    /// The resource's id, in lower case.
    pub id: String,
    /// The region's short name.
    pub region: String,
    /// Bytes of its disks as they are seen.
    pub logical_bytes: u64,
    /// Bytes of its disks that are not in holes.
    pub content_bytes: u64,
    /// Stored bytes of everything that it needs.
    pub stored_bytes: u64,
    /// Stored bytes of what it needs together with others.
    pub shared_bytes: u64,
    /// Stored bytes that deleting it would free: what nothing else needs.
    pub frees_bytes: u64,
}

impl Engine {
    /// Measures who takes what of a region's store, and adds what they share to the region's numbers.
    pub(super) async fn measure_owners(
        &self,
        region: &mut RegionStat,
        store: &Store,
    ) -> Result<Vec<OwnerStat>> {
        let mut owned: BTreeMap<String, BTreeSet<ManifestId>> = BTreeMap::new();
        let mut unreadable = false;
        self.each_replica(&region.region, |replica| {
            if let Content::Manifest(id) = &replica.content {
                match id.parse() {
                    Ok(id) => drop(owned.entry(replica.owner.clone()).or_default().insert(id)),
                    Err(_) => unreadable = true,
                }
            }
        })
        .await?;
        if unreadable {
            return Err(Error::internal());
        }
        let (owners, users): (Vec<String>, Vec<_>) = owned.into_iter().unzip();
        let Shares {
            users,
            shared_bytes,
            needed_bytes,
            ..
        } = store.shares(users).await.map_err(store_error)?;
        region.shared_bytes = Some(shared_bytes);
        region.needed_bytes = Some(needed_bytes);
        let stats = owners.into_iter().zip(users);
        Ok(stats
            .map(|(owner, share)| owner_stat(owner, &region.region, &share))
            .collect())
    }
}

fn owner_stat(owner: String, region: &str, share: &Share) -> OwnerStat {
    let shown = ResourceId::parse(&owner).map_or(owner, |id| id.to_string());
    OwnerStat {
        id: shown,
        region: region.to_owned(),
        logical_bytes: share.logical_bytes,
        content_bytes: share.content_bytes,
        stored_bytes: share.stored_bytes,
        shared_bytes: share.stored_bytes - share.alone_bytes,
        frees_bytes: share.alone_bytes,
    }
}
