//! Digests of contents as their users see them.
//!
//! BLAKE3 is known as soon as content is captured. SHA-256 reads every virtual byte, holes too, so
//! it is computed when somebody asks, by one worker a content, and kept by the content's BLAKE3:
//! copies, snapshots and versions of the same bytes have it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blocks::{ManifestId, Reader};
use catalog::{ContentDigest, Read};
use disk::ExtentKind;
use domain::{Error, Resource, ResourceId, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::error::catalog as db;
use crate::publish::{CapturedDisk, captured};
use crate::resources::{action, not_found};
use crate::{Ctx, Engine};

/// Bytes hashed at a time.
const PIECE_BYTES: usize = 1 << 20;
static ZEROES: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
/// Contents looked at to find one that this node can read.
const LOOKED_AT_MAX: usize = 32;

/// The digests of one disk of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskDigests {
    /// `os` or `lun:N`.
    pub disk: String,
    /// The virtual size.
    pub size_bytes: u64,
    /// BLAKE3 of the raw content, hexadecimal.
    pub blake3: String,
    /// SHA-256 of the raw content, hexadecimal; missing until somebody asks and a worker has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Engine {
    /// Returns the digests of a version's disks; empty until its content is captured.
    pub async fn content_digests(&self, version: &Resource) -> Result<Vec<DiskDigests>> {
        let disks = captured(version)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        digests_of(&mut read, &disks).await
    }

    /// Asks for the SHA-256 of a version's disks; those that are known already are returned with it.
    pub async fn ask_digests(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<DiskDigests>> {
        let deed = action(id, "computeDigests/action");
        self.authorize(ctx, &deed, &id.to_string()).await?;
        let row = self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        let disks = captured(&row)?;
        if disks.is_empty() {
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "The content of '{}' is not captured yet. Ask again when its provisioning has succeeded.",
                    id.name()
                ),
            ));
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        for disk in &disks {
            tx.ask_digest(&ContentDigest {
                content: disk.digest.clone(),
                manifest: disk.manifest.clone(),
                size_bytes: i64::try_from(disk.size_bytes).unwrap_or(i64::MAX),
                sha256: None,
                asked_ms: self.now_ms(),
            })
            .await
            .map_err(db)?;
        }
        let known = digests_of(&mut tx, &disks).await?;
        tx.commit().await.map_err(db)?;
        Ok(known)
    }

    /// Computes one SHA-256 that waits; false when this node can do none.
    pub async fn digest_once(&self, stop: &CancellationToken) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let waiting = read.waiting_digests(LOOKED_AT_MAX).await.map_err(db)?;
        drop(read);
        for wanted in waiting {
            let lease = format!("digest:{}", wanted.content);
            let work = self.digest_now(&wanted, stop);
            if self.with_lease(&lease, work).await? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Computes a digest and keeps it; false when no region here has the content, or the server stops.
    async fn digest_now(&self, wanted: &ContentDigest, stop: &CancellationToken) -> Result<bool> {
        let manifest: ManifestId = wanted.manifest.parse().map_err(|_| Error::internal())?;
        let mut is_reachable = true;
        let mut reader = None;
        for region in self.regions().iter() {
            let Ok(store) = self.store(&region.name).await else {
                is_reachable = false;
                continue;
            };
            if let Ok(found) = store.open_reader(manifest).await {
                reader = Some(found);
                break;
            }
        }
        let Some(reader) = reader else {
            // Where every region answers, the content is gone for good.
            if is_reachable {
                let mut tx = self.catalog().write().await.map_err(db)?;
                tx.forget_digest(&wanted.content).await.map_err(db)?;
                tx.commit().await.map_err(db)?;
            }
            return Ok(false);
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let hashing = tokio::task::spawn_blocking({
            let is_stopped = is_stopped.clone();
            move || sha256(&reader, &is_stopped)
        });
        // Ends the blocking part when this future is dropped: the lease is lost, or the server stops.
        let _guard = StopOnDrop(is_stopped);
        let sha256 = tokio::select! {
            hashed = hashing => hashed.map_err(|_| Error::internal())??,
            () = stop.cancelled() => return Ok(false),
        };
        let Some(sha256) = sha256 else {
            return Ok(false);
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_digest(&wanted.content, &sha256).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        tracing::info!(content = wanted.content, sha256, "computed a SHA-256");
        Ok(true)
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the SHA-256 of a disk, `None` when it was stopped.
fn sha256(reader: &Reader, is_stopped: &AtomicBool) -> Result<Option<String>> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "a SHA-256 could not be computed");
        Error::new(
            domain::ErrorKind::Unavailable,
            "StoreUnavailable",
            "Stored content cannot be read now.",
        )
    };
    let size = reader.size_bytes();
    let mut hash = Sha256::new();
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut at = 0;
    while at < size {
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let extent = reader.extent_at(at).map_err(|error| failed(&error))?;
        let left = extent.length.min(PIECE_BYTES as u64);
        let length = usize::try_from(left).unwrap_or(PIECE_BYTES);
        if extent.kind == ExtentKind::Zero {
            hash.update(&ZEROES[..length]);
        } else {
            let read = disk::Source::read_at(reader, at, &mut piece[..length]);
            read.map_err(|error| failed(&error))?;
            hash.update(&piece[..length]);
        }
        at += left;
    }
    Ok(Some(crate::state::hex(&hash.finalize())))
}

async fn digests_of(read: &mut Read, disks: &[CapturedDisk]) -> Result<Vec<DiskDigests>> {
    let mut shown = Vec::new();
    for disk in disks {
        let known = read.digest(&disk.digest).await.map_err(db)?;
        shown.push(DiskDigests {
            disk: disk.slot.clone(),
            size_bytes: disk.size_bytes,
            blake3: disk.digest.clone(),
            sha256: known.and_then(|known| known.sha256),
        });
    }
    Ok(shown)
}
