//! Managed disks: made from versions and blobs, opened for download and upload.
//!
//! A disk is a writable layer in its region's store. From a version it is a layer over the
//! version's manifest: nothing is copied, whatever the size.

use blocks::{Layer, LayerId, ManifestId};
use catalog::{Content, Replica, ReplicaState};
use disk::vhd::Footer;
use domain::disk::{AccessLevel, AccessRequest, DiskState};
use domain::operation::{Operation, Work};
use domain::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{blocks as store_error, catalog as db};
use crate::operations::Outcome;
use crate::resources::{Accepted, new_operation, not_found};
use crate::{Ctx, Engine};

const SLOT: &str = "disk";
const VHD_FOOTER_BYTES: u64 = 512;

impl Engine {
    /// Makes a disk what its row says: its layer exists and has the size.
    pub(crate) async fn make_disk(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else { return Ok(Outcome::Lost) };
        let size = size_bytes(&row)?;
        let layer = match self.disk_content(&row).await? {
            Some(id) => self.store_of(&row)?.open_layer(id).await.map_err(store_error)?,
            None => self.create_disk_layer(&row, size).await?,
        };
        if layer.size_bytes() < size {
            layer.resize(size).await.map_err(store_error)?;
            layer.flush().await.map_err(store_error)?;
        }
        let output = None;
        self.succeed(operation, output, |_| {}).await
    }

    async fn create_disk_layer(&self, row: &Resource, size: u64) -> Result<Layer> {
        let base = self.base_of(row, size).await?;
        let store = self.store_of(row)?;
        // The id is derived from the disk's own: a crash before the row is written finds it again.
        let id = LayerId::from(layer_uuid(row)?);
        let layer = match store.open_layer(id).await {
            Ok(layer) => layer,
            Err(_) => store.create_layer(id, base, size).await.map_err(store_error)?,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_replica(&replica(row, id, size, self.now_ms())?).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(layer)
    }

    async fn base_of(&self, row: &Resource, size: u64) -> Result<Option<ManifestId>> {
        let creation = row.properties.get("creationData").cloned().unwrap_or_default();
        match creation.get("createOption").and_then(Value::as_str) {
            Some("FromImage") => self.image_base(row, &creation, size).await.map(Some),
            Some("Import") => self.import_base(row, &creation).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the manifest of the version's disk that is complete in the disk's region.
    async fn image_base(&self, row: &Resource, creation: &Value, size: u64) -> Result<ManifestId> {
        let reference = creation.get("galleryImageReference").ok_or_else(Error::internal)?;
        let id = reference.get("id").and_then(Value::as_str).ok_or_else(Error::internal)?;
        let slot = match reference.get("lun").and_then(Value::as_i64) {
            Some(lun) => format!("lun:{lun}"),
            None => "os".to_owned(),
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&ResourceId::parse(id)?.key()).await.map_err(db)?;
        drop(read);
        let here: Vec<&Replica> = replicas.iter().filter(|r| r.region == row.location).collect();
        if here.is_empty() || here.iter().any(|r| r.state != ReplicaState::Completed) {
            return Err(image_not_in_region(id, &row.location));
        }
        let found = here.iter().find(|r| r.slot == slot).ok_or_else(|| {
            Error::invalid_parameter("imageReference", "The value of parameter imageReference is invalid.")
        })?;
        let Content::Manifest(manifest) = &found.content else { return Err(Error::internal()) };
        let manifest: ManifestId = manifest.parse().map_err(|_| Error::internal())?;
        let held = self.store_of(row)?.manifest(manifest).await.map_err(store_error)?;
        if held.size_bytes() > size {
            return Err(Error::invalid_parameter(
                "disk.diskSizeGB",
                format!("The specified disk size {} GB is smaller than the size of the corresponding disk in the VM image: {} GB.", size >> 30, held.size_bytes().div_ceil(1 << 30)),
            ));
        }
        Ok(manifest)
    }

    async fn import_base(&self, row: &Resource, creation: &Value) -> Result<ManifestId> {
        let uri = creation.get("sourceUri").and_then(Value::as_str).ok_or_else(Error::internal)?;
        let account = creation.get("storageAccountId").and_then(Value::as_str);
        let account = account.map(ResourceId::parse).transpose()?;
        let blob = self.open_blob_by_uri(uri, account.as_ref()).await?;
        if blob.region != row.location {
            let shown = uri.split('?').next().unwrap_or_default();
            return Err(Error::bad_request(format!(
                "The source blob {shown} does not belong to the same region as the disk."
            )));
        }
        let layer = self.store_of(row)?.open_layer(blob.layer).await.map_err(store_error)?;
        let size = blob.size_bytes.saturating_sub(VHD_FOOTER_BYTES);
        let mut footer = [0_u8; 512];
        layer.read_at(size, &mut footer).await.map_err(store_error)?;
        Footer::parse_fixed(&footer, size).map_err(|error| {
            Error::invalid_parameter("disk.creationData.sourceUri", format!("The source blob is not a fixed VHD: {error}."))
        })?;
        Ok(layer.freeze(Some(size)).await.map_err(store_error)?.manifest)
    }

    /// Returns the layer that holds a disk's content.
    pub(crate) async fn disk_layer(&self, row: &Resource) -> Result<Layer> {
        let id = self.disk_content(row).await?.ok_or_else(|| not_found(&row.id))?;
        self.store_of(row)?.open_layer(id).await.map_err(store_error)
    }

    async fn disk_content(&self, row: &Resource) -> Result<Option<LayerId>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&row.id.key()).await.map_err(db)?;
        Ok(replicas.iter().find(|r| r.slot == SLOT).and_then(|r| match &r.content {
            Content::Layer(id) => Some(LayerId::from(*id)),
            Content::Manifest(_) => None,
        }))
    }

    pub(crate) fn store_of(&self, row: &Resource) -> Result<&blocks::Store> {
        self.store(&row.location).ok_or_else(|| {
            Error::bad_request(format!("The region '{}' is not configured on this server any more.", row.location))
        })
    }

    /// Accepts `beginGetAccess`: a URL that reads or writes the disk for a time.
    pub async fn begin_access(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        self.authorize(ctx, "Microsoft.Compute/disks/beginGetAccess/action", &id.to_string()).await?;
        let request = AccessRequest::parse(body)?;
        self.access_operation(ctx, id, Work::BeginAccess, json!({
            "write": request.access == AccessLevel::Write,
            "seconds": request.duration_seconds,
            "baseUrl": ctx.base_url,
        }), |row| domain::disk::begin_access(row, &request))
        .await
    }

    /// Accepts `endGetAccess`: every URL of the disk stops working.
    pub async fn end_access(&self, ctx: &Ctx, id: &ResourceId) -> Result<Accepted> {
        self.authorize(ctx, "Microsoft.Compute/disks/endGetAccess/action", &id.to_string()).await?;
        self.access_operation(ctx, id, Work::EndAccess, Value::Null, domain::disk::end_access).await
    }

    async fn access_operation(
        &self,
        _ctx: &Ctx,
        id: &ResourceId,
        work: Work,
        step: Value,
        decide: impl FnOnce(&mut Resource) -> Result<()> + Send,
    ) -> Result<Accepted> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let mut row = tx.load(id).await.map_err(db)?.ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(crate::resources::marked_for_deletion(Kind::Disk, id.name(), "Access"));
        }
        decide(&mut row)?;
        tx.update(&mut row).await.map_err(db)?;
        let operation = new_operation(Kind::Disk, work, &row, now_ms, step);
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted { resource: row, operation: Some(operation), is_created: false })
    }

    /// Grants the URL that was asked for.
    pub(crate) async fn begin_access_work(&self, operation: &Operation) -> Result<Outcome> {
        let seconds = operation.step.get("seconds").and_then(Value::as_i64).unwrap_or(3600);
        let write = operation.step.get("write").and_then(Value::as_bool).unwrap_or(false);
        let base_url = operation.step.get("baseUrl").and_then(Value::as_str).unwrap_or_default();
        let expires_ms = operation.started_ms + seconds.saturating_mul(1000);
        let url = self.grant_disk_access(&operation.resource, base_url, write, expires_ms).await?;
        self.succeed(operation, Some(json!({ "accessSAS": url })), |_| {}).await
    }

    pub(crate) async fn end_access_work(&self, operation: &Operation) -> Result<Outcome> {
        self.revoke_disk_access(&operation.resource).await?;
        self.succeed(operation, None, |row| domain::disk::set_state(row, DiskState::Unattached)).await
    }
}

/// Returns the disk's size in bytes as its row says.
fn size_bytes(row: &Resource) -> Result<u64> {
    row.properties.get("diskSizeBytes").and_then(Value::as_u64).ok_or_else(Error::internal)
}

fn layer_uuid(row: &Resource) -> Result<Uuid> {
    let unique = row.properties.get("uniqueId").and_then(Value::as_str).ok_or_else(Error::internal)?;
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

/// 404 `GalleryImageNotFound`. Source: `API.md` 2.2.
pub(crate) fn image_not_in_region(id: &str, region: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "GalleryImageNotFound",
        format!("\"The gallery image {id} is not available in {region} region. Please contact image owner to replicate to this region, or change your requested region.\""),
    )
    .at("imageReference")
}
