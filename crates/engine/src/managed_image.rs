//! Managed images: manifests in their region's store, taken from disks, snapshots and blobs.

use blocks::LayerId;
use catalog::{Content, Read, Replica, Tx};
use domain::managed_image::{self, DiskSource, ImageDisk};
use domain::operation::Operation;
use domain::virtual_machine::take_machine;
use domain::{Error, Resource, ResourceId, Result, disk};
use uuid::Uuid;

use crate::Engine;
use crate::creation::source_not_found;
use crate::disk_content::{Frozen, replica};
use crate::error::{blocks as store_error, catalog as db};
use crate::operations::Outcome;

const GIB: u64 = 1 << 30;

impl Engine {
    /// Makes an image what its row says: every disk is captured; the sources are not needed any more.
    pub(crate) async fn make_managed_image(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        if managed_image::has_content(&row) {
            return self.succeed(operation, None, |_| {}).await;
        }
        let mut captured = Vec::new();
        let mut os = None;
        for disk in managed_image::disks(&row) {
            let (frozen, source) = self.capture_image_disk(&row, &disk).await?;
            if disk.slot == "os" {
                os = source;
            }
            captured.push((disk.slot, frozen));
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Ok(Outcome::Lost);
        }
        for (slot, frozen) in &captured {
            let content = Content::Manifest(frozen.manifest.to_string());
            let replica = replica(&row, slot, content, frozen.size_bytes, self.now_ms())?;
            tx.put_replica(&replica).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        self.succeed(operation, None, |row| {
            for (slot, frozen) in &captured {
                managed_image::set_size(row, slot, frozen.size_bytes);
            }
            if let Some(os) = &os {
                managed_image::inherit(row, os);
            }
            managed_image::set_captured(row);
        })
        .await
    }

    /// Returns the content of one disk and, where it was one, the resource that it was taken from.
    async fn capture_image_disk(
        &self,
        row: &Resource,
        from: &ImageDisk,
    ) -> Result<(Frozen, Option<Resource>)> {
        let (frozen, source) = match &from.source {
            DiskSource::Resource(id) => {
                let source = self.load_row(id).await?;
                let source = source.ok_or_else(|| source_not_found(id))?;
                check_source(row, &source)?;
                (self.freeze_content(&source).await?, Some(source))
            }
            DiskSource::Blob(uri) => {
                let vhd = self.freeze_vhd(uri, None, "blobUri").await?;
                if vhd.region != row.location {
                    return Err(Error::bad_request(format!(
                        "The source blob {uri} does not belong to the same region as the image."
                    )));
                }
                (vhd.frozen, None)
            }
        };
        let wanted = from.wanted_bytes.unwrap_or(frozen.size_bytes);
        if wanted.div_ceil(GIB) < frozen.size_bytes.div_ceil(GIB) {
            return Err(Error::invalid_parameter(
                "diskSizeGB",
                format!(
                    "The specified disk size {} GB is smaller than the size of the source: {} GB.",
                    wanted >> 30,
                    frozen.size_bytes.div_ceil(GIB)
                ),
            ));
        }
        let frozen = self.larger(row, frozen, wanted).await?;
        Ok((frozen, source))
    }

    /// Returns the same content in a size that is asked for in whole GiB.
    async fn larger(&self, row: &Resource, frozen: Frozen, wanted: u64) -> Result<Frozen> {
        if wanted.div_ceil(GIB) <= frozen.size_bytes.div_ceil(GIB) {
            return Ok(frozen);
        }
        let store = self.store(&row.location).await?;
        let id = LayerId::from(Uuid::new_v4());
        let layer = store.create_layer(id, Some(frozen.manifest), wanted).await;
        let grown = layer.map_err(store_error)?.freeze(None).await;
        let grown = grown.map_err(store_error)?;
        store.delete_layer(id).await.map_err(store_error)?;
        Ok(grown.into())
    }
}

/// Returns the captured disks of an image; refused while it has none.
pub(crate) async fn ready_disks(read: &mut Read, image: &Resource) -> Result<Vec<Replica>> {
    let replicas = read.replicas(&image.id.key()).await.map_err(db)?;
    if managed_image::has_content(image) && !replicas.is_empty() {
        return Ok(replicas);
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The image '{}' is in provisioning state '{}' and has no disks yet.",
            image.id.name(),
            image.state.as_str()
        ),
    )
    .at("imageReference"))
}

/// Checks that the sources of a new image are there and near: said at once, not by the worker.
pub(crate) async fn check_sources(tx: &mut Tx, row: &mut Resource) -> Result<()> {
    if let Some(id) = managed_image::source_machine(row) {
        let machine = tx.load(&id).await.map_err(db)?;
        let machine = machine.ok_or_else(|| source_not_found(&id).at("sourceVirtualMachine"))?;
        let held = crate::machine::capture::disks_of(tx, &machine).await?;
        let from = crate::machine::capture::as_sources(&held);
        take_machine(row, &machine, &from)?;
    }
    for from in managed_image::disks(row) {
        if let DiskSource::Resource(id) = from.source {
            let source = tx.load(&id).await.map_err(db)?;
            check_source(row, &source.ok_or_else(|| source_not_found(&id))?)?;
        }
    }
    Ok(())
}

fn check_source(row: &Resource, source: &Resource) -> Result<()> {
    if source.location != row.location {
        return Err(outside(row, &source.id, source.kind.wire_name()));
    }
    disk::check_readable(source)
}

fn outside(row: &Resource, id: &ResourceId, kind: &str) -> Error {
    Error::bad_request(format!(
        "The source {kind} {id} does not belong to the same region '{}' as the image.",
        row.location
    ))
}
