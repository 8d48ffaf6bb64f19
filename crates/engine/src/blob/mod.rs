//! The blob plane: containers, page blobs, block blobs, and URLs that read or write disks.

use blocks::LayerId;
use domain::{Error, ResourceId, Result};

use crate::Engine;

/// A blob that a version or disk is made from.
pub(crate) struct OpenedBlob {
    /// The region of its account.
    pub region: String,
    /// The layer that holds its bytes.
    pub layer: LayerId,
    /// Its length.
    pub size_bytes: u64,
}

impl Engine {
    /// Returns the blob behind a URL of this gallery; `account` must be its account when given.
    pub(crate) async fn open_blob_by_uri(
        &self,
        _uri: &str,
        _account: Option<&ResourceId>,
    ) -> Result<OpenedBlob> {
        Err(Error::internal())
    }

    /// Returns a URL below `base_url` that reads or writes a disk until `expires_ms`.
    pub(crate) async fn grant_disk_access(
        &self,
        _disk: &ResourceId,
        _base_url: &str,
        _write: bool,
        _expires_ms: i64,
    ) -> Result<String> {
        Err(Error::internal())
    }

    /// Removes every container and blob of an account.
    pub(crate) async fn empty_storage_account(&self, _account: &ResourceId) -> Result<()> {
        Err(Error::internal())
    }
}
