//! A VHD in a blob as the source of versions and disks: checked, then frozen without its footer.

use disk::vhd::{FOOTER_BYTES, Footer};
use domain::{Error, ResourceId, Result};

use crate::Engine;
use crate::disk_content::Frozen;
use crate::error::blocks as store_error;

/// A VHD's disk as an immutable manifest.
pub(crate) struct FrozenVhd {
    /// The region whose store holds it.
    pub region: String,
    /// What was frozen.
    pub frozen: Frozen,
}

impl Engine {
    /// Checks that the blob behind `uri` is a fixed VHD and freezes the disk in it; `target` is the property at fault.
    pub(crate) async fn freeze_vhd(
        &self,
        uri: &str,
        account: Option<&ResourceId>,
        target: &str,
    ) -> Result<FrozenVhd> {
        let blob = self.open_blob_by_uri(uri, account).await?;
        let size = blob
            .size_bytes
            .checked_sub(FOOTER_BYTES)
            .filter(|size| *size > 0);
        let Some(size) = size else {
            return Err(not_a_vhd(
                uri,
                target,
                "the blob is shorter than a VHD footer",
            ));
        };
        let store = self.store(&blob.region).await?;
        let layer = store.open_layer(blob.layer).await.map_err(store_error)?;
        let mut footer = [0_u8; 512];
        layer
            .read_at(size, &mut footer)
            .await
            .map_err(store_error)?;
        Footer::parse_fixed(&footer, size)
            .map_err(|error| not_a_vhd(uri, target, &error.to_string()))?;
        let ingested = layer.freeze(Some(size)).await.map_err(store_error)?;
        let frozen = Frozen {
            manifest: ingested.manifest,
            digest: ingested.content,
            size_bytes: ingested.size_bytes,
        };
        Ok(FrozenVhd {
            region: blob.region,
            frozen,
        })
    }
}

fn not_a_vhd(uri: &str, target: &str, reason: &str) -> Error {
    let shown = uri.split('?').next().unwrap_or_default();
    Error::invalid_parameter(
        target,
        format!(
            "The blob '{shown}' is not a fixed VHD: {reason}. Upload a fixed VHD whose size is a multiple of 512 bytes, then \
             try again."
        ),
    )
}
