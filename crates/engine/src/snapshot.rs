//! Snapshots: a manifest in their region's store, made without copying.
//!
//! What a snapshot holds never changes; a larger one is a new manifest over the same content.

use catalog::Content;
use domain::operation::Operation;
use domain::{Resource, Result, disk, snapshot};
use serde_json::{Value, json};

use crate::Engine;
use crate::creation::Start;
use crate::disk_content::Frozen;
use crate::error::blocks as store_error;
use crate::operations::Outcome;

impl Engine {
    /// Makes a snapshot what its row says: its manifest exists and has the size.
    pub(crate) async fn make_snapshot(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let wanted = disk::size_bytes(&row);
        let start = match self.content_of(&row).await? {
            // What is being uploaded is a layer until the upload ends.
            Some(Content::Layer(_)) => return self.succeed(operation, None, |_| {}).await,
            Some(Content::Manifest(id)) => {
                let held = self.frozen(&row.location, &id).await?;
                Start {
                    base: Some(held.manifest),
                    base_bytes: held.size_bytes,
                    size_bytes: wanted.unwrap_or(held.size_bytes).max(held.size_bytes),
                    definition: None,
                }
            }
            None => self.start_of(&row).await?,
        };
        let is_upload = create_option(&row) == Some("Upload") && start.base.is_none();
        let (content, size) = if is_upload {
            let size = start.size_bytes;
            let (id, _) = self.ensure_layer(operation, &row, None, size).await?;
            (Content::Layer(id.into()), size)
        } else {
            let frozen = self.manifest_of(operation, &row, &start).await?;
            let manifest = frozen.manifest.to_string();
            (Content::Manifest(manifest), frozen.size_bytes)
        };
        if !self.record_content(operation, &row, content, size).await? {
            return Ok(Outcome::Lost);
        }
        if !is_upload {
            self.drop_layer(&row).await?;
        }
        self.succeed(operation, None, |row| {
            if wanted.is_none() {
                disk::set_size(row, size);
            }
            if create_option(row) == Some("CopyStart") {
                snapshot::set_copied(row);
            }
        })
        .await
    }

    /// Returns the start itself, or the same content in a larger size.
    async fn manifest_of(
        &self,
        operation: &Operation,
        row: &Resource,
        start: &Start,
    ) -> Result<Frozen> {
        if let Some(base) = start.base
            && start.base_bytes == start.size_bytes
        {
            return self.frozen(&row.location, &base.to_string()).await;
        }
        let layer = self.ensure_layer(operation, row, start.base, start.size_bytes);
        let (_, layer) = layer.await?;
        let frozen = layer.freeze(None).await.map_err(store_error)?;
        Ok(frozen.into())
    }

    /// Makes what was uploaded immutable once every URL is closed; false when the lease is lost.
    pub(crate) async fn seal_upload(&self, operation: &Operation, row: &Resource) -> Result<bool> {
        let is_written = row.properties.get("diskState") == Some(&json!("ActiveUpload"));
        let content = self.content_of(row).await?;
        if !is_written || !matches!(content, Some(Content::Layer(_))) {
            return Ok(true);
        }
        let frozen = self.freeze_content(row).await?;
        let content = Content::Manifest(frozen.manifest.to_string());
        let is_recorded = self
            .record_content(operation, row, content, frozen.size_bytes)
            .await?;
        if is_recorded {
            self.drop_layer(row).await?;
        }
        Ok(is_recorded)
    }

    /// Removes the layer that a snapshot was made in.
    async fn drop_layer(&self, row: &Resource) -> Result<()> {
        let id = crate::disk_content::layer_id(row)?;
        let store = self.store(&row.location).await?;
        match store.delete_layer(id).await {
            Err(error) if error.kind() != blocks::Kind::NotFound => return Err(store_error(error)),
            _ => {}
        }
        self.forget_bases(row).await
    }
}

fn create_option(row: &Resource) -> Option<&str> {
    let creation = row.properties.get("creationData")?;
    creation.get("createOption").and_then(Value::as_str)
}
