//! Care of what is stored: what it costs, and whether catalog and stores agree.

mod accounts;
mod bases;
mod digest;
mod measure;
pub(crate) mod nodes;
mod schedule;
mod settings;
mod stored;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use blocks::{Fault, LayerId, Scrubbed, Stat};
use catalog::{Content, ReplicaState};
use domain::Result;
use serde::Serialize;

use crate::error::{blocks as store_error, catalog as db};
use crate::resources::PAGE_ITEMS_MAX;
use crate::{Ctx, Engine};

pub use digest::DiskDigests;
pub use measure::OwnerStat;
pub use schedule::{Run, Schedule, Task};
pub use settings::CareSettings;

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
    /// What each version, snapshot and image takes; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owners: Option<Vec<OwnerStat>>,
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
    /// Stored bytes that several resources need; only when owners were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<u64>,
    /// Stored bytes that any resource needs; the rest goes with sweeps. Only when owners were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
    /// Bytes in packs.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Immutable disks.
    pub manifests: u64,
    /// Writable disks and blobs.
    pub layers: u64,
    /// Stored bytes that no scheduled scrub has checked yet; missing before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_bytes: Option<u64>,
    /// When the bytes were checked whose check is longest ago, in milliseconds since the epoch, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_verified_ms: Option<i64>,
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
    /// Returns what the gallery holds, for its operators; with what each resource takes if `owners` says so.
    pub async fn stat(&self, ctx: &Ctx, owners: bool) -> Result<GalleryStat> {
        self.authorize_operator(ctx).await?;
        match owners {
            true => self.stat_owners_now().await,
            false => self.stat_now().await,
        }
    }

    /// Returns what the gallery holds and what each resource takes, to whoever owns its directory.
    pub async fn stat_owners_now(&self) -> Result<GalleryStat> {
        let mut stat = self.stat_now().await?;
        let mut owners = Vec::new();
        for region in &mut stat.regions {
            if let Ok(store) = self.store(&region.region.clone()).await {
                owners.extend(self.measure_owners(region, store).await?);
            }
        }
        stat.owners = Some(owners);
        Ok(stat)
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
            owners: None,
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
        let mut read = self.catalog().read().await.map_err(db)?;
        let scrub = read.care_run(Task::Scrub.name(), region).await;
        let scrub = scrub.map_err(db)?.map(|run| run.result);
        drop(read);
        let known = |name: &str| scrub.as_ref()?.get(name)?.as_i64();
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
            shared_bytes: None,
            needed_bytes: None,
            stored_bytes,
            packs,
            manifests,
            layers,
            unverified_bytes: known("unverifiedBytes").and_then(|bytes| u64::try_from(bytes).ok()),
            oldest_verified_ms: known("oldestVerifiedMs"),
        })
    }

    /// Checks that everything the catalog refers to is in the stores, and whole there.
    ///
    /// A region whose store does not answer is a finding; the others are checked all the same.
    pub async fn fsck(&self) -> Result<Vec<Finding>> {
        let mut findings = self.check_owners().await?;
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

    /// Returns manifests and layers that no row refers to: they go with a sweep after its grace.
    pub async fn unreferenced(&self) -> Result<Vec<Finding>> {
        let mut all = Vec::new();
        for (region, store) in self.stores() {
            all.extend(self.unreferenced_in(region, store).await?);
            let live = self.live_layers(region).await?;
            let there = store.layers().await.map_err(store_error)?;
            for id in there.iter().filter(|id| !live.contains(id)) {
                let reason =
                    "no disk or blob refers to it; the first sweep after its grace removes it";
                all.push(finding(region, format!("layer {id}"), reason.to_owned()));
            }
        }
        Ok(all)
    }

    /// Checks that every replica belongs to a resource: without one nothing ever removes its content.
    async fn check_owners(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for region in self.regions().iter().map(|r| r.name.as_str()) {
            let mut after: Option<String> = None;
            loop {
                let mut read = self.catalog().read().await.map_err(db)?;
                let page = read
                    .contents(region, after.as_deref(), PAGE_ITEMS_MAX)
                    .await;
                let page = page.map_err(db)?;
                for replica in &page.items {
                    let Ok(id) = domain::ResourceId::parse(&replica.owner) else {
                        let reason = "the catalog holds a replica of it, but its id cannot be read";
                        findings.push(finding(region, replica.owner.clone(), reason.to_owned()));
                        continue;
                    };
                    let is_there = read.load(&id).await.map_err(db)?.is_some()
                        || read.load_deleted(&id).await.map_err(db)?.is_some();
                    if !is_there {
                        let reason = "the catalog holds a replica of it, but no such resource";
                        findings.push(finding(region, replica.owner.clone(), reason.to_owned()));
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
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
    pub(crate) async fn complete_manifests(&self, region: &str) -> Result<BTreeSet<String>> {
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
