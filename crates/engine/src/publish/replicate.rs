//! Replicating: every captured disk into every target region's own store.

use std::collections::BTreeSet;
use std::time::Duration;

use blocks::{ManifestId, Progress, Store};
use catalog::{Content, Replica, ReplicaState};
use domain::artifact::{reword, target_regions};
use domain::operation::Operation;
use domain::{Error, ErrorKind, Resource, Result};
use tokio_util::sync::CancellationToken;

use super::CapturedDisk;
use crate::Engine;
use crate::error::{blocks as store_error, catalog as db, is_stale};

/// How often a copy under way writes its bytes into the catalog.
const REPORT_EVERY: Duration = Duration::from_millis(500);

impl Engine {
    /// Copies what target regions lack and drops what is not wanted; returns one error per failed region.
    pub(super) async fn replicate(
        &self,
        operation: &Operation,
        version: &Resource,
        disks: &[CapturedDisk],
        cancel: &CancellationToken,
    ) -> Result<Vec<Error>> {
        let targets = target_regions(version, self.regions());
        self.announce(operation, version, disks, &targets).await?;
        let copies = targets
            .iter()
            .map(|region| self.fill_region(operation, version, disks, region, cancel));
        let outcomes = futures::future::join_all(copies).await;
        let mut failed = Vec::new();
        for (region, outcome) in targets.iter().zip(outcomes) {
            if let Err(error) = outcome {
                if !is_of_region(&error) {
                    return Err(error);
                }
                tracing::warn!(resource.id = %version.id, region, %error, "replication failed");
                let failure = replication_failed(self.display_name(region), &error);
                failed.push(reword(failure, version.kind));
            }
        }
        if failed.is_empty() && !cancel.is_cancelled() {
            self.drop_regions(operation, version, &targets).await?;
        }
        Ok(failed)
    }

    fn display_name<'a>(&'a self, region: &'a str) -> &'a str {
        self.regions()
            .find(region)
            .map_or(region, |r| r.display_name.as_str())
    }

    /// Shows every region as replicating before the first byte moves.
    async fn announce(
        &self,
        operation: &Operation,
        version: &Resource,
        disks: &[CapturedDisk],
        targets: &[String],
    ) -> Result<()> {
        let owner = version.id.key();
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Err(super::interrupted());
        }
        // A failed version that was given another source has no use for what it had.
        let slots: Vec<&str> = disks.iter().map(|disk| disk.slot.as_str()).collect();
        tx.keep_replica_slots(&owner, &slots).await.map_err(db)?;
        let existing = tx.replicas(&owner).await.map_err(db)?;
        for region in targets {
            for disk in disks {
                let content = Content::Manifest(disk.manifest.clone());
                let is_there = existing.iter().any(|r| {
                    r.region == *region
                        && r.slot == disk.slot
                        && r.content == content
                        && r.state == ReplicaState::Completed
                });
                if !is_there {
                    let row = pending(
                        &owner,
                        disk,
                        region,
                        ReplicaState::Replicating,
                        self.now_ms(),
                    )?;
                    tx.put_replica(&row).await.map_err(db)?;
                }
            }
        }
        tx.commit().await.map_err(db)
    }

    async fn fill_region(
        &self,
        operation: &Operation,
        version: &Resource,
        disks: &[CapturedDisk],
        region: &str,
        cancel: &CancellationToken,
    ) -> Result<()> {
        for disk in disks {
            if cancel.is_cancelled() {
                return Err(super::interrupted());
            }
            let owner = version.id.key();
            let mut row = pending(
                &owner,
                disk,
                region,
                ReplicaState::Replicating,
                self.now_ms(),
            )?;
            match self
                .copy_disk(operation, disk, region, &mut row, cancel)
                .await
            {
                Ok(()) => {
                    row.state = ReplicaState::Completed;
                    self.put_replica(operation, &row).await?;
                }
                Err(error) if cancel.is_cancelled() => return Err(error),
                Err(error) => {
                    row.state = ReplicaState::Failed;
                    row.details = Some(error.message.clone());
                    self.put_replica(operation, &row).await?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn copy_disk(
        &self,
        operation: &Operation,
        disk: &CapturedDisk,
        region: &str,
        row: &mut Replica,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let target = self.store(region).await?;
        let manifest: ManifestId = disk.manifest.parse().map_err(|_| Error::internal())?;
        if target.has_manifest(manifest).await.map_err(store_error)? {
            return Ok(());
        }
        let (from, source) = self.source_of(disk, manifest, region).await?;
        let progress = Progress::default();
        let copy = target.copy_from(source, manifest, &progress);
        tokio::pin!(copy);
        loop {
            tokio::select! {
                copied = &mut copy => {
                    let moved = progress.done_bytes();
                    self.meter_copy(&row.owner, from, region, moved).await?;
                    let copied = copied.map_err(store_error)?;
                    tracing::info!(region, bytes = copied.bytes_moved, "copied {} to {region}", disk.slot);
                    row.bytes_total = i64::try_from(copied.bytes_total).unwrap_or(i64::MAX);
                    row.bytes_done = row.bytes_total;
                    return Ok(());
                }
                () = tokio::time::sleep(REPORT_EVERY) => {
                    row.bytes_total = i64::try_from(progress.total_bytes()).unwrap_or(i64::MAX);
                    row.bytes_done = i64::try_from(progress.done_bytes()).unwrap_or(i64::MAX);
                    row.updated_ms = self.now_ms();
                    self.put_replica(operation, row).await?;
                }
                () = cancel.cancelled() => {
                    progress.cancel();
                    return Err(super::interrupted());
                }
            }
        }
    }

    /// Writes what a copy has moved to the bill of its owner, whether or not it came to its end.
    pub(crate) async fn meter_copy(
        &self,
        owner: &str,
        from: &str,
        to: &str,
        bytes: u64,
    ) -> Result<()> {
        let Some(usage) = self.replication_egress(owner, from, to, bytes) else {
            return Ok(());
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.add_egress(&usage).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Returns a region and its store that has the manifest: where it was captured, else any other.
    async fn source_of(
        &self,
        disk: &CapturedDisk,
        manifest: ManifestId,
        target: &str,
    ) -> Result<(&str, &Store)> {
        let first = self.stores().filter(|(name, _)| *name == disk.region);
        let others = self
            .stores()
            .filter(|(name, _)| *name != target && *name != disk.region);
        // Opens it, if it was down until now; one that stays down is passed over.
        drop(self.store(&disk.region).await);
        let mut trouble = None;
        for (name, store) in first.chain(others) {
            match store.has_manifest(manifest).await {
                Ok(true) => return Ok((name, store)),
                Ok(false) => {}
                Err(error) => trouble = Some(store_error(error)),
            }
        }
        Err(trouble.unwrap_or_else(|| {
            Error::not_found("ContentNotFound", "No region holds the content of this version any more. Run 'vitrine fsck' on the server.")
        }))
    }

    /// Writes a replica's row, only while the operation's lease is held.
    async fn put_replica(&self, operation: &Operation, row: &Replica) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Err(super::interrupted());
        }
        tx.put_replica(row).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Forgets regions that are no longer targets; their content goes with the next sweep.
    async fn drop_regions(
        &self,
        operation: &Operation,
        version: &Resource,
        targets: &[String],
    ) -> Result<()> {
        let owner = version.id.key();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let existing = tx.replicas(&owner).await.map_err(db)?;
        let gone: BTreeSet<&str> = existing
            .iter()
            .map(|r| r.region.as_str())
            .filter(|region| !targets.iter().any(|t| t == region))
            .collect();
        if gone.is_empty() || !tx.checkpoint(operation).await.map_err(db)? {
            return Ok(());
        }
        for region in gone {
            tx.delete_replicas(&owner, Some(region)).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }
}

fn pending(
    owner: &str,
    disk: &CapturedDisk,
    region: &str,
    state: ReplicaState,
    now_ms: i64,
) -> Result<Replica> {
    Ok(Replica {
        owner: owner.to_owned(),
        slot: disk.slot.clone(),
        region: region.to_owned(),
        content: Content::Manifest(disk.manifest.clone()),
        state,
        bytes_total: i64::try_from(disk.size_bytes).map_err(|_| Error::internal())?,
        bytes_done: 0,
        details: None,
        updated_ms: now_ms,
    })
}

/// Whether an error is a region's own; else the catalog or the lease is in trouble, and the work is begun again.
fn is_of_region(error: &Error) -> bool {
    !is_stale(error) && !["Interrupted", "ServiceUnavailable"].contains(&error.code.as_ref())
}

/// The operation's error for a region that did not complete. Source: `API.md` 5.4.
fn replication_failed(region: &str, cause: &Error) -> Error {
    // A target makes it final: passing trouble was retried inside the region's own store.
    Error::new(
        ErrorKind::Conflict,
        "ReplicationFailed",
        format!(
            "Replication to all the target regions not completed. The replication job has not completed at region: '{region}'. {} \
             Send the same PUT again to resume; what was copied is kept.",
            cause.message
        ),
    )
    .at("galleryImageVersion.properties.publishingProfile.targetRegions")
}
