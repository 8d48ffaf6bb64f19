//! Care of what is stored: what it costs, and whether catalog and stores agree.

use std::collections::{BTreeMap, BTreeSet};

use blocks::{Fault, Scrubbed, Stat};
use catalog::{Content, ReplicaState};
use domain::Result;
use serde::Serialize;

use crate::error::{blocks as store_error, catalog as db};
use crate::{Ctx, Engine};

/// What the gallery holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GalleryStat {
    /// Rows of each resource type.
    pub resources: BTreeMap<&'static str, i64>,
    /// Operations that are not over.
    pub open_operations: i64,
    /// What each region's store holds.
    pub regions: Vec<RegionStat>,
}

/// What one region's store holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStat {
    /// The region's short name.
    pub region: String,
    /// Whether its store answers.
    pub is_available: bool,
    /// Bytes that versions and disks show to users.
    pub logical_bytes: u64,
    /// Bytes of distinct blocks.
    pub unique_bytes: u64,
    /// Bytes in packs.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Immutable disks.
    pub manifests: u64,
    /// Writable disks and blobs.
    pub layers: u64,
}

/// Something that is not as it should be, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The region's short name.
    pub region: String,
    /// Which object.
    pub what: String,
    /// What is wrong.
    pub reason: String,
}

/// What a scrub of one region read.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionScrub {
    /// The region's short name.
    pub region: String,
    /// Frames read.
    pub frames: u64,
    /// Stored bytes read.
    pub bytes: u64,
    /// Stored bytes that no scrub has read yet.
    pub unverified_bytes: u64,
    /// When the frame that waits longest was read last, in milliseconds since the epoch, UTC.
    pub oldest_verified_ms: Option<i64>,
    /// What does not match its digest.
    pub findings: Vec<Finding>,
}

impl Engine {
    /// Returns what the gallery holds, for its operators.
    pub async fn stat(&self, ctx: &Ctx) -> Result<GalleryStat> {
        self.authorize(ctx, "Vitrine.Gallery/stat/read", "/")
            .await?;
        self.stat_now().await
    }

    /// Returns what the gallery holds, to whoever owns its directory.
    pub async fn stat_now(&self) -> Result<GalleryStat> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let counts = read.counts().await.map_err(db)?;
        let open_operations = read.count_open_operations().await.map_err(db)?;
        drop(read);
        let mut regions = Vec::new();
        for region in self.regions().iter() {
            regions.push(self.region_stat(&region.name).await?);
        }
        let resources = counts
            .into_iter()
            .map(|(kind, count)| (kind.type_name(), count))
            .collect();
        Ok(GalleryStat {
            resources,
            open_operations,
            regions,
        })
    }

    async fn region_stat(&self, region: &str) -> Result<RegionStat> {
        let mut logical_bytes = 0;
        self.each_replica(region, |replica| {
            logical_bytes += u64::try_from(replica.bytes_total).unwrap_or(0);
        })
        .await?;
        let held = match self.store(region).await {
            Ok(store) => Some(store.stat().await.map_err(store_error)?),
            Err(_) => None,
        };
        let stat = held.unwrap_or_default();
        let Stat {
            stored_bytes,
            packs,
            blocks,
            manifests,
            layers,
            ..
        } = stat;
        Ok(RegionStat {
            region: region.to_owned(),
            is_available: held.is_some(),
            logical_bytes,
            unique_bytes: blocks * blocks::BLOCK_BYTES as u64,
            stored_bytes,
            packs,
            manifests,
            layers,
        })
    }

    /// Checks that everything the catalog refers to is in the stores, and whole there.
    pub async fn fsck(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let names: Vec<String> = self.regions().iter().map(|r| r.name.clone()).collect();
        for region in names {
            let store = match self.store(&region).await {
                Ok(store) => store,
                Err(error) => {
                    findings.push(finding(&region, "store".to_owned(), error.message));
                    continue;
                }
            };
            let faults = store.fsck().await.map_err(store_error)?;
            findings.extend(faults.into_iter().map(|fault| found(&region, fault)));
            for id in self.complete_manifests(&region).await? {
                let is_there = match id.parse() {
                    Ok(id) => store.has_manifest(id).await.map_err(store_error)?,
                    Err(_) => false,
                };
                if !is_there {
                    let reason = "a completed replica refers to it, but it is not here".to_owned();
                    findings.push(finding(&region, format!("manifest {id}"), reason));
                }
            }
            let there: BTreeSet<_> = store
                .layers()
                .await
                .map_err(store_error)?
                .into_iter()
                .collect();
            for id in self.live_layers(&region).await?.difference(&there) {
                let reason = "a disk or blob refers to it, but it is not here".to_owned();
                findings.push(finding(&region, format!("layer {id}"), reason));
            }
        }
        Ok(findings)
    }

    /// Returns the manifests of a region's completed replicas.
    async fn complete_manifests(&self, region: &str) -> Result<BTreeSet<String>> {
        let mut complete = BTreeSet::new();
        self.each_replica(region, |replica| {
            if let (Content::Manifest(id), ReplicaState::Completed) =
                (&replica.content, replica.state)
            {
                complete.insert(id.clone());
            }
        })
        .await?;
        Ok(complete)
    }

    /// Reads every frame of every region and checks it against its digest.
    pub async fn scrub(&self) -> Result<Vec<RegionScrub>> {
        let mut all = Vec::new();
        for (region, store) in self.stores() {
            let Scrubbed {
                frames,
                bytes,
                faults,
                unverified_bytes,
                oldest_verified_ms,
            } = store.scrub().await.map_err(store_error)?;
            let findings = faults
                .into_iter()
                .map(|fault| found(region, fault))
                .collect();
            all.push(RegionScrub {
                region: region.to_owned(),
                frames,
                bytes,
                unverified_bytes,
                oldest_verified_ms,
                findings,
            });
        }
        Ok(all)
    }
}

fn found(region: &str, fault: Fault) -> Finding {
    finding(region, fault.what, fault.reason)
}

fn finding(region: &str, what: String, reason: String) -> Finding {
    Finding {
        region: region.to_owned(),
        what,
        reason,
    }
}
