//! Managed disks: writable layers in their region's store.
//!
//! From a version, snapshot or disk it is a layer over a manifest: nothing is copied, whatever the size.

use catalog::Content;
use domain::operation::Operation;
use domain::{Result, disk};

use crate::Engine;
use crate::disk_content::grow;
use crate::operations::Outcome;

impl Engine {
    /// Makes a disk what its row says: its layer exists and has the size.
    pub(crate) async fn make_disk(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let wanted = disk::size_bytes(&row);
        let (size, definition) = if self.content_of(&row).await?.is_some() {
            let layer = self.disk_layer(&row).await?;
            let size = wanted.unwrap_or(layer.size_bytes()).max(layer.size_bytes());
            grow(&layer, size).await?;
            (size, None)
        } else {
            let start = self.start_of(&row).await?;
            let size = start.size_bytes;
            let (id, _) = self.ensure_layer(operation, &row, start.base, size).await?;
            let content = Content::Layer(id.into());
            if !self.record_content(operation, &row, content, size).await? {
                return Ok(Outcome::Lost);
            }
            (size, start.definition)
        };
        self.succeed(operation, None, |row| {
            if wanted.is_none() {
                disk::set_size(row, size);
            }
            if let Some(definition) = &definition {
                disk::inherit(row, definition);
            }
        })
        .await
    }
}
