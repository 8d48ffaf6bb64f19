//! What disks and snapshots start from, as their `creationData` says.
//!
//! The start is a manifest in the region's own store, or nothing: no byte is copied inside a region.

use blocks::{ManifestId, Progress};
use catalog::Content;
use domain::{Error, Resource, ResourceId, Result};
use serde_json::Value;

use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};
use crate::image_choice::{self, For, Named};

const OS_SLOT: &str = "os";

/// What a disk or snapshot starts as.
pub(crate) struct Start {
    /// The content; none is all zero.
    pub base: Option<ManifestId>,
    /// The size of the content.
    pub base_bytes: u64,
    /// The size that was asked for, or the content's.
    pub size_bytes: u64,
    /// The image definition whose words the disk takes over.
    pub definition: Option<Resource>,
}

impl Engine {
    /// Finds or makes what a new disk or snapshot starts from.
    pub(crate) async fn start_of(&self, row: &Resource) -> Result<Start> {
        let creation = row
            .properties
            .get("creationData")
            .cloned()
            .unwrap_or_default();
        match creation.get("createOption").and_then(Value::as_str) {
            Some("FromImage") => self.start_from_image(row, &creation).await,
            Some("Import") => self.start_from_blob(row, &creation).await,
            Some("Copy" | "Restore" | "CopyStart") => self.start_from_copy(row).await,
            _ => Ok(Start {
                base: None,
                base_bytes: 0,
                size_bytes: domain::disk::size_bytes(row).ok_or_else(Error::internal)?,
                definition: None,
            }),
        }
    }

    /// Starts from the version's disk that is complete in the disk's region.
    async fn start_from_image(&self, row: &Resource, creation: &Value) -> Result<Start> {
        let Some(reference) = domain::disk::version_reference(row) else {
            let reference = creation.get("imageReference");
            let reference = reference.ok_or_else(Error::internal)?;
            return self.start_from_managed_image(row, reference).await;
        };
        let mut named = Named::read(reference)?;
        let pinned = row.internal.get("imageVersion").and_then(Value::as_str);
        let pinned = pinned.map(ResourceId::parse).transpose()?;
        if let Some(pinned) = &pinned {
            named = named.pinned(pinned);
        }
        let who = For {
            subscription: row.id.subscription(),
            region: &row.location,
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        // Asked again: what was unshared since is not used any more.
        let chosen = image_choice::choose(self, &mut read, &named, who).await?;
        if let Named::Platform(image) = &named
            && pinned.is_some_and(|pinned| pinned.key() != chosen.version.id.key())
        {
            // Another definition is offered under the name since.
            return Err(image.not_available());
        }
        let definition = match chosen.version.id.parent() {
            Some(definition) => read.load(&definition).await.map_err(db)?,
            None => None,
        };
        drop(read);
        let slot = image_slot(reference);
        let found = chosen.replicas.iter().find(|r| r.slot == slot);
        let Some(Content::Manifest(manifest)) = found.map(|r| &r.content) else {
            return Err(no_such_lun());
        };
        let held = self.frozen(&row.location, manifest).await?;
        let start = start(row, held.manifest, held.size_bytes)?;
        Ok(Start {
            definition: definition.filter(|_| slot == OS_SLOT),
            ..start
        })
    }

    /// Starts from a disk of a managed image.
    async fn start_from_managed_image(&self, row: &Resource, reference: &Value) -> Result<Start> {
        let id = reference.get("id").and_then(Value::as_str);
        let id = ResourceId::parse(id.unwrap_or_default())?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let image = read.load(&id).await.map_err(db)?;
        let image = image.filter(|image| image.location == row.location);
        let image = image.ok_or_else(|| source_not_found(&id))?;
        let replicas = crate::managed_image::ready_disks(&mut read, &image).await?;
        drop(read);
        let slot = image_slot(reference);
        let found = replicas.iter().find(|r| r.slot == slot);
        let Some(Content::Manifest(manifest)) = found.map(|r| &r.content) else {
            return Err(no_such_lun());
        };
        let held = self.frozen(&row.location, manifest).await?;
        start(row, held.manifest, held.size_bytes)
    }

    async fn start_from_blob(&self, row: &Resource, creation: &Value) -> Result<Start> {
        let uri = creation
            .get("sourceUri")
            .and_then(Value::as_str)
            .ok_or_else(Error::internal)?;
        let account = creation.get("storageAccountId").and_then(Value::as_str);
        let account = account.and_then(|id| ResourceId::parse(id).ok());
        let kind = row.kind.wire_name();
        let target = format!("{kind}.creationData.sourceUri");
        let vhd = self.freeze_vhd(uri, account.as_ref(), &target).await?;
        if vhd.region != row.location {
            let shown = uri.split('?').next().unwrap_or_default();
            return Err(Error::bad_request(format!(
                "The source blob {shown} does not belong to the same region as the {kind}."
            )));
        }
        start(row, vhd.frozen.manifest, vhd.frozen.size_bytes)
    }

    /// Starts from another disk or snapshot; one of another region is copied, frames that are here already excepted.
    async fn start_from_copy(&self, row: &Resource) -> Result<Start> {
        let id = domain::disk::copy_source(row).ok_or_else(Error::internal)?;
        let source = self.load_row(&id).await?;
        let source = source.ok_or_else(|| source_not_found(&id))?;
        domain::disk::check_copy_source(row, &source)?;
        let frozen = self.freeze_content(&source).await?;
        let store = self.store(&row.location).await?;
        let is_here = store.has_manifest(frozen.manifest).await;
        if !is_here.map_err(store_error)? {
            let from = self.store(&source.location).await?;
            let progress = Progress::default();
            let copied = store.copy_from(from, frozen.manifest, &progress).await;
            let moved = progress.done_bytes();
            self.meter_copy(&row.id.key(), &source.location, &row.location, moved)
                .await?;
            copied.map_err(store_error)?;
        }
        start(row, frozen.manifest, frozen.size_bytes)
    }
}

/// Returns the slot of a version's replicas that an image reference means.
pub(crate) fn image_slot(reference: &Value) -> String {
    match reference.get("lun").and_then(Value::as_i64) {
        Some(lun) => format!("lun:{lun}"),
        None => OS_SLOT.to_owned(),
    }
}

/// 400 for a lun that the version does not have. Source: `API.md` 3.7.
pub(crate) fn no_such_lun() -> Error {
    Error::invalid_parameter(
        "imageReference",
        "The value of parameter imageReference is invalid.",
    )
}

/// 404 for a disk or snapshot that is to be copied. Source: `API.md` 3.7.
pub(crate) fn source_not_found(id: &ResourceId) -> Error {
    Error::not_found("NotFound", format!("Resource {} is not found.", id.name()))
}

/// Starts from content that fits into the size that was asked for.
fn start(row: &Resource, base: ManifestId, held: u64) -> Result<Start> {
    let size_bytes = match domain::disk::size_bytes(row) {
        Some(wanted) if wanted < held => {
            return Err(Error::invalid_parameter(
                format!("{}.diskSizeGB", row.kind.wire_name()),
                format!(
                    "The specified disk size {} GB is smaller than the size of the source: {} GB.",
                    wanted >> 30,
                    held.div_ceil(1 << 30)
                ),
            ));
        }
        Some(wanted) => wanted,
        None => held,
    };
    Ok(Start {
        base: Some(base),
        base_bytes: held,
        size_bytes,
        definition: None,
    })
}
