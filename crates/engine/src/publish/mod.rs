//! Publishing an image version: capture its disks, copy them to every target region.
//!
//! Desired state is the row; actual state is the replicas table. One run captures what is not
//! captured, copies what a region lacks, drops what is no longer wanted, and records the end. Each
//! step is idempotent: a crash anywhere is mended by running again. A region is usable as soon as
//! all disks of the version are complete there; one region's trouble does not hold up the others.

mod capture;
mod files;
mod replicate;
mod status;

use domain::operation::Operation;
use domain::{Error, Resource, Result};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::error::catalog as db;
use crate::operations::Outcome;

/// A captured disk of an image version, as `internal.images` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapturedDisk {
    /// `os` or `lun:N`.
    pub slot: String,
    /// The manifest's id, the same in every region.
    pub manifest: String,
    /// BLAKE3 of the raw content.
    pub digest: String,
    /// Virtual size in bytes.
    pub size_bytes: u64,
    /// The region whose store captured it.
    pub region: String,
    /// How a managed image says that hosts cache the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caching: Option<String>,
}

/// Returns the captured disks of a version; empty while it has none.
pub fn captured(version: &Resource) -> Result<Vec<CapturedDisk>> {
    match version.internal.get("images") {
        None => Ok(Vec::new()),
        Some(images) => serde_json::from_value(images.clone()).map_err(|error| {
            tracing::error!(resource.id = %version.id, %error, "row holds captured disks that cannot be read");
            Error::internal()
        }),
    }
}

impl Engine {
    /// Makes a version what its row says.
    pub(crate) async fn publish(
        &self,
        operation: &Operation,
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        let Some(version) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let disks = self.capture(operation, &version).await?;
        let failures = self.replicate(operation, &version, &disks, cancel).await?;
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        match failures.into_iter().next() {
            None => {
                self.succeed(operation, None, |row| capture::show_sizes(row, &disks))
                    .await
            }
            Some(first) => Err(first),
        }
    }

    /// Returns a row that a worker works on.
    pub(crate) async fn load_row(&self, id: &domain::ResourceId) -> Result<Option<Resource>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        read.load(id).await.map_err(db)
    }
}

/// The error that a paused run ends with; it is begun again.
pub(crate) fn interrupted() -> Error {
    Error::new(
        domain::ErrorKind::Unavailable,
        "Interrupted",
        "The work was paused because the server stops; it goes on when the server is back.",
    )
}
