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
        let (captured, os) = self.capture_image(&row).await?;
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

    /// Returns the content of each disk, taken at one moment, and what the system disk was taken from if that was a
    /// resource.
    async fn capture_image(
        &self,
        row: &Resource,
    ) -> Result<(Vec<(String, Frozen)>, Option<Resource>)> {
        let disks = managed_image::disks(row);
        let mut sources = Vec::new();
        for disk in &disks {
            if let DiskSource::Resource(id) = &disk.source {
                let source = self.load_row(id).await?;
                let source = source.ok_or_else(|| source_not_found(id))?;
                check_source(row, &source)?;
                sources.push(source);
            }
        }
        let rows: Vec<&Resource> = sources.iter().collect();
        let mut frozen = self.freeze_contents(&rows).await?.into_iter();
        let mut captured = Vec::new();
        for disk in &disks {
            let content = match &disk.source {
                DiskSource::Resource(_) => frozen.next().ok_or_else(Error::internal)?,
                DiskSource::Blob(uri) => self.freeze_image_blob(row, uri).await?,
            };
            let content = self.sized(row, disk, content).await?;
            captured.push((disk.slot.clone(), content));
        }
        let os = disks.iter().find(|disk| disk.slot == "os");
        let os = os.and_then(|os| match &os.source {
            DiskSource::Resource(id) => sources.into_iter().find(|row| row.id.key() == id.key()),
            DiskSource::Blob(_) => None,
        });
        Ok((captured, os))
    }

    async fn freeze_image_blob(&self, row: &Resource, uri: &str) -> Result<Frozen> {
        let vhd = self.freeze_vhd(uri, None, "blobUri").await?;
        if vhd.region != row.location {
            return Err(Error::bad_request(format!(
                "The source blob {uri} does not belong to the same region as the image."
            )));
        }
        Ok(vhd.frozen)
    }

    /// Returns content in the size that is asked for.
    async fn sized(&self, row: &Resource, from: &ImageDisk, frozen: Frozen) -> Result<Frozen> {
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
        self.larger(row, frozen, wanted).await
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
