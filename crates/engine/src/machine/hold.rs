//! The disks of a machine: made, attached and let go, as rows of their own.
//!
//! A disk's row says which machine has it; a claim beside it lets the machine find its disks. Both
//! are written in the transaction that accepts the machine, so no disk is ever given to two.

use catalog::Tx;
use domain::disk::{self, is_held_by};
use domain::plan::PutContext;
use domain::platform_image::PlatformImage;
use domain::virtual_machine::{MachineDisk, Power, disks, show_disk};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::catalog as db;
use crate::{Ctx, Engine, disk_encryption_set, lock, rules};

/// Disks of one machine at most: 64 numbers, and those that are being let go.
pub(crate) const DISKS_MAX: usize = 256;
const GIB: u64 = 1 << 30;

/// Makes or takes every disk that a machine names; what it names no more is let go by its worker.
pub(crate) async fn hold_disks(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
    now_ms: i64,
) -> Result<()> {
    let is_allocated = Power::of(row).is_allocated();
    for wanted in disks(row) {
        let found = tx.load(&wanted.id).await.map_err(db)?;
        let disk = match found {
            Some(disk) if is_held_by(&disk, row) => keep(tx, &wanted, disk).await?,
            Some(disk) if wanted.option == "Attach" => {
                let mut disk = check_attachable(row, disk)?;
                lock::check(tx, domain::lock::Deed::Write, &disk.id.to_string()).await?;
                let before = disk.clone();
                disk::attach(&mut disk, row, is_allocated)?;
                disk::note_owner(&mut disk, now_ms)?;
                disk.changed_ms = now_ms;
                let action = "Microsoft.Compute/disks/write";
                let audited = engine.audit_row(tx, ctx, action, Some(&before), &disk);
                audited.await?;
                tx.update(&mut disk).await.map_err(db)?;
                disk
            }
            Some(disk) => return Err(already_there(&disk.id)),
            None if wanted.option == "Attach" => return Err(disk_not_found(&wanted.id)),
            None => make(engine, tx, ctx, row, &wanted, now_ms).await?,
        };
        let key = disk.id.key();
        let claimed = tx.claim(&claim_scope(&row.id), &key, &disk.id).await;
        claimed.map_err(db)?;
        show_disk(row, &disk);
    }
    Ok(())
}

/// A disk that stays may be larger than it was.
async fn keep(tx: &mut Tx, wanted: &MachineDisk, mut disk: Resource) -> Result<Resource> {
    let held = disk::size_bytes(&disk);
    let (Some(gib), Some(held)) = (wanted.size_gib, held) else {
        return Ok(disk);
    };
    if gib < held.div_ceil(GIB) {
        return Err(Error::invalid_parameter(
            "diskSizeGB",
            "Disks or snapshot cannot be resized down.",
        ));
    }
    if gib > held.div_ceil(GIB) {
        disk::set_size(&mut disk, gib * GIB);
        tx.update(&mut disk).await.map_err(db)?;
    }
    Ok(disk)
}

fn check_attachable(row: &Resource, disk: Resource) -> Result<Resource> {
    if !disk
        .id
        .subscription()
        .eq_ignore_ascii_case(row.id.subscription())
    {
        return Err(Error::bad_request(format!(
            "The disk '{}' is in another subscription than VM '{}'.",
            disk.id,
            row.id.name()
        )));
    }
    if disk.location != row.location {
        return Err(Error::bad_request(format!(
            "The disk '{}' is in region '{}' and cannot be attached to VM '{}' in region '{}'.",
            disk.id,
            disk.location,
            row.id.name(),
            row.location
        )));
    }
    let is_there = matches!(
        disk.state,
        ProvisioningState::Succeeded | ProvisioningState::Updating
    );
    if is_there {
        return Ok(disk);
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The disk '{}' is in provisioning state '{}' and cannot be attached.",
            disk.id.name(),
            disk.state.as_str()
        ),
    ))
}

/// Records a new disk; the machine's worker gives it its content.
async fn make(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    machine: &Resource,
    wanted: &MachineDisk,
    now_ms: i64,
) -> Result<Resource> {
    let body = body_of(machine, wanted);
    let unique = unique_id(wanted.id.name());
    let mut fresh = || unique.unwrap_or_else(Uuid::new_v4);
    let mut context = PutContext {
        regions: engine.regions(),
        now_ms,
        api_version: "2023-04-02",
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    let mut disk = domain::plan::plan_put(Kind::Disk, &mut context, &wanted.id, &body, None)?;
    if let Some(version) = machine.internal.get("imageVersion") {
        disk.internal
            .insert("imageVersion".to_owned(), version.clone());
    }
    if matches!(wanted.option.as_str(), "Copy" | "Restore") {
        rules::take_copy_source(tx, &mut disk).await?;
    }
    disk::attach(&mut disk, machine, Power::of(machine).is_allocated())?;
    disk::note_owner(&mut disk, now_ms)?;
    rules::reserve_quota(tx, &disk).await?;
    engine.reserve_bytes(tx, &disk).await?;
    disk_encryption_set::hold_sets(tx, engine.regions(), &disk, None).await?;
    engine
        .audit_row(tx, ctx, "Microsoft.Compute/disks/write", None, &disk)
        .await?;
    tx.insert(&disk).await.map_err(db)?;
    Ok(disk)
}

/// The service names a machine's disks by their unique ids.
fn unique_id(name: &str) -> Option<Uuid> {
    let tail = name.rsplit('_').next()?;
    Uuid::parse_str(tail).ok().filter(|_| tail.len() == 32)
}

/// Returns the body that would make the disk alone.
fn body_of(machine: &Resource, wanted: &MachineDisk) -> Value {
    let mut properties = json!({ "creationData": creation_of(machine, wanted) });
    if let Some(gib) = wanted.size_gib {
        properties["diskSizeGB"] = json!(gib);
    }
    if let Some(set) = &wanted.encryption_set {
        properties["encryption"] = json!({ "diskEncryptionSetId": set });
    }
    if wanted.lun.is_none() {
        let os = machine.properties.get("storageProfile");
        if let Some(os) = os.and_then(|p| p.pointer("/osDisk/osType")) {
            properties["osType"] = os.clone();
        }
        let inside = |name: &str| machine.internal.get(name).cloned();
        if let Some(generation) = inside("generation") {
            properties["hyperVGeneration"] = generation;
        }
        if let Some(architecture) = inside("architecture") {
            properties["supportedCapabilities"] = json!({ "architecture": architecture });
        }
        if inside("security").is_some_and(|security| security == "TrustedLaunch") {
            properties["securityProfile"] = json!({ "securityType": "TrustedLaunch" });
        }
    }
    let mut body = json!({ "location": machine.location, "properties": properties });
    if let Some(tags) = &machine.tags {
        body["tags"] = json!(tags);
    }
    if let Some(storage) = &wanted.storage {
        body["sku"] = json!({ "name": storage });
    }
    if let Some(zones) = machine.top.get("zones") {
        body["zones"] = zones.clone();
    }
    body
}

fn creation_of(machine: &Resource, wanted: &MachineDisk) -> Value {
    match wanted.option.as_str() {
        "FromImage" => {
            let reference = machine.properties.get("storageProfile");
            let reference = reference.and_then(|p| p.get("imageReference"));
            let mut named = json!({});
            for form in ["id", "sharedGalleryImageId", "communityGalleryImageId"] {
                if let Some(id) = reference.and_then(|r| r.get(form)) {
                    named[form] = id.clone();
                }
            }
            let version = machine.internal.get("imageVersion");
            let platform = reference.and_then(PlatformImage::of_reference);
            // The version that was chosen is named, whatever the machine said.
            if let (Some(image), Some(version)) = (&platform, version) {
                let number = version.as_str().and_then(|id| id.rsplit('/').next());
                let image = image.with_version(number.unwrap_or_default());
                named["id"] = json!(image.id(machine.id.subscription(), &machine.location));
            } else if let (Some(_), Some(version)) = (named.get("id"), version) {
                named["id"] = version.clone();
            }
            if let Some(lun) = wanted.lun {
                named["lun"] = json!(lun);
            }
            let member = match version.is_some() && platform.is_none() {
                true => "galleryImageReference",
                false => "imageReference",
            };
            json!({ "createOption": "FromImage", member: named })
        }
        option @ ("Copy" | "Restore") => {
            json!({ "createOption": option, "sourceResourceId": wanted.source })
        }
        _ => json!({ "createOption": "Empty" }),
    }
}

/// Returns the scope in which a machine's disks are claimed.
pub(crate) fn claim_scope(machine: &ResourceId) -> String {
    format!("machine:{}", machine.key())
}

/// Returns the disks that a machine has, whether or not it still names them.
pub(crate) async fn held_disks(
    read: &mut catalog::Read,
    machine: &Resource,
) -> Result<Vec<Resource>> {
    let scope = claim_scope(&machine.id);
    let mut held = Vec::new();
    for key in read.claimants(&scope, DISKS_MAX).await.map_err(db)? {
        let disk = read.load(&ResourceId::parse(&key)?).await.map_err(db)?;
        held.extend(disk.filter(|disk| is_held_by(disk, machine)));
    }
    Ok(held)
}

/// 404 for a disk that is to be attached.
pub(crate) fn disk_not_found(id: &ResourceId) -> Error {
    Error::not_found("NotFound", format!("Disk {} is not found.", id.name()))
}

/// 409 for a disk that is there already. Source: the service's `ConflictingUserInput`.
fn already_there(id: &ResourceId) -> Error {
    Error::conflict(
        "ConflictingUserInput",
        format!(
            "Disk {} already exists in resource group {}. Only CreateOption.Attach is supported.",
            id.name(),
            id.resource_group().to_uppercase()
        ),
    )
}
