//! Capturing the files of an application or script: blobs of this server, frozen as they are.

use domain::artifact::{File, check_file_size, files};
use domain::{Error, Resource, Result};

use super::CapturedDisk;
use super::capture::describe;
use crate::Engine;
use crate::disk_content::Frozen;
use crate::error::blocks as store_error;

impl Engine {
    /// Captures every file that a version names; after that the blobs are not needed any more.
    pub(super) async fn capture_files(&self, version: &Resource) -> Result<Vec<CapturedDisk>> {
        let mut captured = Vec::new();
        for file in files(version) {
            captured.push(self.capture_file(&file).await?);
        }
        if captured.is_empty() {
            return Err(Error::internal());
        }
        Ok(captured)
    }

    async fn capture_file(&self, file: &File) -> Result<CapturedDisk> {
        let blob = self.open_blob_by_uri(&file.url, None).await;
        let blob = blob.map_err(|error| Error {
            message: error
                .message
                .replace("Upload the VHD to", "Upload the file to"),
            ..error.at(file.target.as_str())
        })?;
        check_file_size(file, blob.size_bytes)?;
        let store = self.store(&blob.region).await?;
        let layer = store.open_layer(blob.layer).await.map_err(store_error)?;
        let frozen = layer.freeze(Some(blob.size_bytes)).await;
        let frozen = frozen.map_err(store_error)?;
        let frozen = Frozen {
            manifest: frozen.manifest,
            digest: frozen.content,
            size_bytes: frozen.size_bytes,
        };
        Ok(describe(file.slot, &blob.region, &frozen))
    }
}
