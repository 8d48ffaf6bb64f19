//! Care of what is stored: what it costs, and whether catalog and stores agree.

use std::collections::{BTreeMap, BTreeSet};

use blocks::{Fault, LayerId, Scrubbed, Stat};
use catalog::{Content, ReplicaState};
use domain::Result;
use serde::Serialize;

use crate::access::not_authorized;
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
    /// Returns what the gallery holds, for its operators: readers of the whole first tenant.
    ///
    /// Another tenant, even as its owner, would learn from stored bytes what the others keep.
    pub async fn stat(&self, ctx: &Ctx) -> Result<GalleryStat> {
        const ACTION: &str = "Vitrine.Gallery/stat/read";
        self.authorize(ctx, ACTION, "/").await?;
        if self.find_tenant_or_first(None).await?.id != ctx.caller.tenant {
            return Err(not_authorized(ctx, ACTION, "/"));
        }
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
            Ok(store) => store.stat().await.map_err(store_error).ok(),
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
    ///
    /// A region whose store does not answer is a finding; the others are checked all the same.
    pub async fn fsck(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for region in self.regions().iter().map(|r| r.name.as_str()) {
            let complete = self.complete_manifests(region).await?;
            let live = self.live_layers(region).await?;
            match self.check_region(region, &complete, &live).await {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(finding(region, "store".to_owned(), error.message)),
            }
        }
        Ok(findings)
    }

    async fn check_region(
        &self,
        region: &str,
        complete: &BTreeSet<String>,
        live: &BTreeSet<LayerId>,
    ) -> Result<Vec<Finding>> {
        let store = self.store(region).await?;
        let faults = store.fsck().await.map_err(store_error)?;
        let mut findings: Vec<Finding> = faults
            .into_iter()
            .map(|fault| found(region, fault))
            .collect();
        for id in complete {
            let is_there = match id.parse() {
                Ok(id) => store.has_manifest(id).await.map_err(store_error)?,
                Err(_) => false,
            };
            if !is_there {
                let reason = "a completed replica refers to it, but it is not here".to_owned();
                findings.push(finding(region, format!("manifest {id}"), reason));
            }
        }
        let layers = store.layers().await.map_err(store_error)?;
        let there: BTreeSet<LayerId> = layers.into_iter().collect();
        for id in live.difference(&there) {
            let reason = "a disk or blob refers to it, but it is not here".to_owned();
            findings.push(finding(region, format!("layer {id}"), reason));
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

    /// Reads every frame of every region and checks it against its digest; a store that does not answer is a finding.
    pub async fn scrub(&self) -> Result<Vec<RegionScrub>> {
        let mut all = Vec::new();
        for (region, store) in self.stores() {
            let (scrubbed, trouble) = match store.scrub().await.map_err(store_error) {
                Ok(scrubbed) => (scrubbed, None),
                Err(error) => (Scrubbed::default(), Some(error.message)),
            };
            let Scrubbed {
                frames,
                bytes,
                faults,
                unverified_bytes,
                oldest_verified_ms,
            } = scrubbed;
            let mut findings: Vec<Finding> = faults
                .into_iter()
                .map(|fault| found(region, fault))
                .collect();
            findings.extend(trouble.map(|reason| finding(region, "store".to_owned(), reason)));
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
