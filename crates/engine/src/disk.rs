//! Managed disks: made from versions and blobs, opened for download and upload.
//!
//! A disk is a writable layer in its region's store. From a version it is a layer over the
//! version's manifest: nothing is copied, whatever the size.

use blocks::{Layer, LayerId, ManifestId};
use catalog::{Content, Replica, ReplicaState};
use domain::disk::{AccessLevel, AccessRequest};
use domain::operation::{Operation, Work};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Deed};
use crate::deletion::check_lease;
use crate::error::{blocks as store_error, catalog as db};
use crate::operations::Outcome;
use crate::resources::{Accepted, new_operation, not_found};
use crate::{Ctx, Engine, image_choice};

const SLOT: &str = "disk";
const OS_SLOT: &str = "os";

/// What a disk starts as.
struct Start {
    base: Option<ManifestId>,
    size_bytes: u64,
    /// The image definition whose words the disk takes over.
    definition: Option<Resource>,
}

impl Engine {
    /// Makes a disk what its row says: its layer exists and has the size.
    pub(crate) async fn make_disk(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let wanted = domain::disk::size_bytes(&row);
        let (size, definition) = match self.disk_content(&row).await? {
            Some(id) => {
                let layer = self.open_disk(&row, id).await?;
                let size = wanted.unwrap_or(layer.size_bytes()).max(layer.size_bytes());
                if layer.size_bytes() < size {
                    layer.resize(size).await.map_err(store_error)?;
                    layer.flush().await.map_err(store_error)?;
                }
                (size, None)
            }
            None => {
                let start = self.start_of(&row).await?;
                if !self.create_disk_layer(operation, &row, &start).await? {
                    return Ok(Outcome::Lost);
                }
                (start.size_bytes, start.definition)
            }
        };
        self.succeed(operation, None, |row| {
            if wanted.is_none() {
                domain::disk::set_size(row, size);
            }
            if let Some(definition) = &definition {
                domain::disk::inherit(row, definition);
            }
        })
        .await
    }

    /// Creates the disk's layer and records it; false when the lease is lost.
    async fn create_disk_layer(
        &self,
        operation: &Operation,
        row: &Resource,
        start: &Start,
    ) -> Result<bool> {
        let store = self.store(&row.location).await?;
        // The id is derived from the disk's own: a crash before the row is written finds it again.
        let id = LayerId::from(layer_uuid(row)?);
        match store.open_layer(id).await {
            Ok(_) => {}
            Err(error) if error.kind() == blocks::Kind::NotFound => {
                let created = store.create_layer(id, start.base, start.size_bytes).await;
                created.map_err(store_error)?;
            }
            Err(error) => return Err(store_error(error)),
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Ok(false);
        }
        let replica = replica(row, id, start.size_bytes, self.now_ms())?;
        tx.put_replica(&replica).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }

    async fn start_of(&self, row: &Resource) -> Result<Start> {
        let creation = row
            .properties
            .get("creationData")
            .cloned()
            .unwrap_or_default();
        let wanted = domain::disk::size_bytes(row);
        match creation.get("createOption").and_then(Value::as_str) {
            Some("FromImage") => self.start_from_image(row, &creation).await,
            Some("Import") => self.start_from_blob(row, &creation).await,
            Some("Copy") => self.start_from_disk(row, &creation).await,
            _ => Ok(Start {
                base: None,
                size_bytes: wanted.ok_or_else(Error::internal)?,
                definition: None,
            }),
        }
    }

    /// Starts from the version's disk that is complete in the disk's region.
    async fn start_from_image(&self, row: &Resource, creation: &Value) -> Result<Start> {
        let reference = creation
            .get("galleryImageReference")
            .ok_or_else(Error::internal)?;
        let pinned = row.internal.get("imageVersion").or(reference.get("id"));
        let id = ResourceId::parse(pinned.and_then(Value::as_str).unwrap_or_default())?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let chosen = image_choice::choose(self, &mut read, &id, &row.location).await?;
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
        let manifest: ManifestId = manifest.parse().map_err(|_| Error::internal())?;
        let store = self.store(&row.location).await?;
        let held = store
            .manifest(manifest)
            .await
            .map_err(store_error)?
            .size_bytes();
        let definition = definition.filter(|_| slot == OS_SLOT);
        Ok(Start {
            base: Some(manifest),
            size_bytes: grown(row, held)?,
            definition,
        })
    }

    async fn start_from_blob(&self, row: &Resource, creation: &Value) -> Result<Start> {
        let uri = creation
            .get("sourceUri")
            .and_then(Value::as_str)
            .ok_or_else(Error::internal)?;
        let account = creation.get("storageAccountId").and_then(Value::as_str);
        let account = account.and_then(|id| ResourceId::parse(id).ok());
        let vhd = self
            .freeze_vhd(uri, account.as_ref(), "disk.creationData.sourceUri")
            .await?;
        if vhd.region != row.location {
            let shown = uri.split('?').next().unwrap_or_default();
            return Err(Error::bad_request(format!(
                "The source blob {shown} does not belong to the same region as the disk."
            )));
        }
        let size = vhd.ingested.size_bytes;
        Ok(Start {
            base: Some(vhd.ingested.manifest),
            size_bytes: grown(row, size)?,
            definition: None,
        })
    }

    async fn start_from_disk(&self, row: &Resource, creation: &Value) -> Result<Start> {
        let id = creation
            .get("sourceResourceId")
            .and_then(Value::as_str)
            .ok_or_else(Error::internal)?;
        let source = ResourceId::parse(id)?;
        let missing = || {
            Error::not_found(
                "NotFound",
                format!("Resource {} is not found.", source.name()),
            )
        };
        if source.kind() != Some(Kind::Disk) {
            return Err(missing());
        }
        let source_row = self.load_row(&source).await?.ok_or_else(missing)?;
        if source_row.location != row.location {
            return Err(Error::bad_request(format!(
                "The source disk {source} does not belong to the same region as the disk."
            )));
        }
        let frozen = self
            .disk_layer(&source_row)
            .await?
            .freeze(None)
            .await
            .map_err(store_error)?;
        Ok(Start {
            base: Some(frozen.manifest),
            size_bytes: grown(row, frozen.size_bytes)?,
            definition: Some(source_row),
        })
    }

    /// Returns the layer that holds a disk's content.
    pub(crate) async fn disk_layer(&self, row: &Resource) -> Result<Layer> {
        let id = self
            .disk_content(row)
            .await?
            .ok_or_else(|| not_found(&row.id))?;
        self.open_disk(row, id).await
    }

    async fn open_disk(&self, row: &Resource, id: LayerId) -> Result<Layer> {
        let store = self.store(&row.location).await?;
        store.open_layer(id).await.map_err(store_error)
    }

    async fn disk_content(&self, row: &Resource) -> Result<Option<LayerId>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&row.id.key()).await.map_err(db)?;
        Ok(replicas
            .iter()
            .find(|r| r.slot == SLOT)
            .and_then(|r| match &r.content {
                Content::Layer(id) => Some(LayerId::from(*id)),
                Content::Manifest(_) => None,
            }))
    }

    /// Accepts `beginGetAccess`: a URL that reads or writes the disk for a time.
    pub async fn begin_access(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        self.authorize(
            ctx,
            "Microsoft.Compute/disks/beginGetAccess/action",
            &id.to_string(),
        )
        .await?;
        let request = AccessRequest::parse(body)?;
        self.access_operation(
            ctx,
            id,
            Work::BeginAccess,
            json!({
                "write": request.access == AccessLevel::Write,
                "seconds": request.duration_seconds,
                "baseUrl": ctx.base_url,
            }),
            |row| domain::disk::begin_access(row, &request),
        )
        .await
    }

    /// Accepts `endGetAccess`: every URL of the disk stops working.
    pub async fn end_access(&self, ctx: &Ctx, id: &ResourceId) -> Result<Accepted> {
        self.authorize(
            ctx,
            "Microsoft.Compute/disks/endGetAccess/action",
            &id.to_string(),
        )
        .await?;
        self.access_operation(ctx, id, Work::EndAccess, Value::Null, |_| Ok(()))
            .await
    }

    async fn access_operation(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        work: Work,
        step: Value,
        decide: impl FnOnce(&mut Resource) -> Result<()> + Send,
    ) -> Result<Accepted> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let mut row = tx
            .load(id)
            .await
            .map_err(db)?
            .ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(crate::resources::marked_for_deletion(
                Kind::Disk,
                id.name(),
                "Access",
            ));
        }
        let before = audit::of_row(&row);
        decide(&mut row)?;
        let deed = Deed {
            action: match work {
                Work::BeginAccess => "Microsoft.Compute/disks/beginGetAccess/action",
                _ => "Microsoft.Compute/disks/endGetAccess/action",
            },
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut row).await.map_err(db)?;
        let operation = new_operation(Kind::Disk, work, &row, now_ms, step);
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource: row,
            operation: Some(operation),
            is_created: false,
        })
    }

    /// Grants the URL that was asked for.
    pub(crate) async fn begin_access_work(&self, operation: &Operation) -> Result<Outcome> {
        let seconds = operation
            .step
            .get("seconds")
            .and_then(Value::as_i64)
            .unwrap_or(3600);
        let write = operation
            .step
            .get("write")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let base_url = operation
            .step
            .get("baseUrl")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let expires_ms = operation.started_ms + seconds.saturating_mul(1000);
        let url = self
            .grant_disk_access(operation, base_url, write, expires_ms)
            .await?;
        self.succeed(operation, Some(json!({ "accessSAS": url })), |_| {})
            .await
    }

    pub(crate) async fn end_access_work(&self, operation: &Operation) -> Result<Outcome> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        tx.delete_grants_of(&operation.resource).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.succeed(operation, None, |row| {
            let state = domain::disk::closed_state(row);
            domain::disk::set_state(row, state);
        })
        .await
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

/// Returns the size that was asked for, if it holds what the disk starts from, or that size.
fn grown(row: &Resource, held: u64) -> Result<u64> {
    match domain::disk::size_bytes(row) {
        Some(wanted) if wanted < held => Err(Error::invalid_parameter(
            "disk.diskSizeGB",
            format!(
                "The specified disk size {} GB is smaller than the size of the source: {} GB.",
                wanted >> 30,
                held.div_ceil(1 << 30)
            ),
        )),
        Some(wanted) => Ok(wanted),
        None => Ok(held),
    }
}

fn layer_uuid(row: &Resource) -> Result<Uuid> {
    let unique = row
        .properties
        .get("uniqueId")
        .and_then(Value::as_str)
        .ok_or_else(Error::internal)?;
    Uuid::parse_str(unique).map_err(|_| Error::internal())
}

fn replica(row: &Resource, id: LayerId, size: u64, now_ms: i64) -> Result<Replica> {
    let bytes = i64::try_from(size).map_err(|_| Error::internal())?;
    Ok(Replica {
        owner: row.id.key(),
        slot: SLOT.to_owned(),
        region: row.location.clone(),
        content: Content::Layer(id.into()),
        state: ReplicaState::Completed,
        bytes_total: bytes,
        bytes_done: bytes,
        details: None,
        updated_ms: now_ms,
    })
}
