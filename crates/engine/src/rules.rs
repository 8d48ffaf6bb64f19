//! Where kinds differ: the one table from a kind to its rules in `domain`.

use catalog::{Read, Tx};
use domain::image_version::PutKind;
use domain::plan::PutContext;
use domain::shared_image::SharedImageId;
use domain::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::allowed_images::Way;
use crate::error::catalog as db;
use crate::image_choice::{self, Chosen, For, Named};
use crate::resources::Verb;
use crate::{Ctx, Engine, allowed_images, disk_encryption_set, machine, managed_image, scale_set};

/// The most nested ids that a refused delete names.
const NESTED_SHOWN_MAX: usize = 5;
/// Where a version remembers which version of others it is made from.
const SOURCE_VERSION: &str = "sourceVersion";

/// A decided write.
pub(crate) struct Planned {
    /// The row to store.
    pub resource: Resource,
    /// Whether the row says all: no worker has anything to do.
    pub is_synchronous: bool,
    /// Whether a soft-deleted version comes back.
    pub is_restored: bool,
}

/// A write to decide.
pub(crate) struct Wanted<'a> {
    /// What is written.
    pub id: &'a ResourceId,
    /// What was sent.
    pub body: &'a Value,
    /// The row as it stands.
    pub stored: Option<&'a Resource>,
    /// Which write is meant.
    pub verb: Verb,
    /// When it was asked: dates in the row are the start of its operation.
    pub now_ms: i64,
}

/// Decides a write by the rules of its kind.
pub(crate) async fn plan(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    wanted: &Wanted<'_>,
) -> Result<Planned> {
    let Wanted {
        id,
        body,
        stored,
        verb,
        now_ms,
    } = *wanted;
    let parent = match id
        .parent()
        .filter(|p| p.kind() != Some(Kind::ResourceGroup))
    {
        Some(parent) => tx.load(&parent).await.map_err(db)?,
        None => None,
    };
    let gallery = match (&parent, id.kind()) {
        (Some(definition), Some(kind)) if kind.is_version() => {
            let gallery = definition.id.parent().ok_or_else(Error::internal)?;
            tx.load(&gallery).await.map_err(db)?
        }
        _ => None,
    };
    if id.kind() == Some(Kind::ImageVersion) && stored.is_none() {
        let hidden = tx.load_deleted(id).await.map_err(db)?;
        if let Some(hidden) = hidden {
            return restore(now_ms, id, body, hidden, gallery.as_ref());
        }
    }
    let mut fresh = Uuid::new_v4;
    let mut context = PutContext {
        regions: engine.regions(),
        now_ms,
        api_version: &ctx.api_version,
        fresh: &mut fresh,
        parent: parent.as_ref(),
        gallery: gallery.as_ref(),
    };
    let kind = id.kind().ok_or_else(Error::internal)?;
    let was_private = stored.is_some_and(|s| domain::gallery::permissions(s) == "Private");
    let mut resource = match verb {
        Verb::Put => domain::plan::plan_put(kind, &mut context, id, body, stored)?,
        Verb::Patch => {
            let stored = stored.ok_or_else(Error::internal)?;
            domain::plan::plan_patch(kind, &mut context, id, body, stored)?
        }
    };
    if kind == Kind::Gallery && was_private {
        check_opened(tx, &resource).await?;
    }
    if kind == Kind::DiskEncryptionSet {
        domain::disk_encryption_set::set_tenant(&mut resource, &ctx.caller.tenant.to_string());
    }
    let is_synchronous = matches!(
        kind,
        Kind::ResourceGroup | Kind::StorageAccount | Kind::GalleryApplication
    );
    Ok(Planned {
        resource,
        is_synchronous,
        is_restored: false,
    })
}

/// A gallery that others are to see must hold only what they may; soft-deleted versions come back, so they count.
async fn check_opened(tx: &mut Tx, gallery: &Resource) -> Result<()> {
    if domain::gallery::permissions(gallery) == "Private" {
        return Ok(());
    }
    for id in tx
        .children(&gallery.id, usize::MAX, true)
        .await
        .map_err(db)?
    {
        let child = match tx.load(&id).await.map_err(db)? {
            Some(child) => Some(child),
            None => tx.load_deleted(&id).await.map_err(db)?,
        };
        if let Some(child) = child {
            domain::gallery_kind::check_content(gallery, &child)?;
        }
    }
    Ok(())
}

fn restore(
    now_ms: i64,
    id: &ResourceId,
    body: &Value,
    hidden: Resource,
    gallery: Option<&Resource>,
) -> Result<Planned> {
    match domain::image_version::put_kind(body) {
        PutKind::Restore => {
            let mut resource = domain::image_version::plan_restore(now_ms, body, &hidden, gallery)?;
            resource.deleted_ms = None;
            resource.state = ProvisioningState::Updating;
            Ok(Planned {
                resource,
                is_synchronous: false,
                is_restored: true,
            })
        }
        PutKind::Write => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The image version '{}' is soft-deleted. Restore it (PUT with properties.restore true), or wait until it is removed for good.",
                id.name()
            ),
        )),
    }
}

/// Checks what a new row refers to, in the same transaction; what exists keeps its content without its sources.
pub(crate) async fn check_links(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
) -> Result<()> {
    match row.kind {
        Kind::ImageVersion => check_version_sources(engine, tx, ctx, row).await,
        Kind::Disk => {
            choose_image(engine, tx, ctx, row).await?;
            take_copy_source(tx, row).await
        }
        Kind::Snapshot => take_copy_source(tx, row).await,
        Kind::ManagedImage => managed_image::check_sources(tx, row).await,
        Kind::VirtualMachine => {
            scale_set::join(tx, row).await?;
            engine.driver()?;
            domain::virtual_machine::check_cap(row, engine.machine_cap())?;
            machine::boot::choose_boot(engine, tx, ctx, row).await
        }
        _ => Ok(()),
    }
}

async fn check_version_sources(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
) -> Result<()> {
    let subscription = row.id.subscription().to_owned();
    for source in domain::image_version::source_ids(row) {
        let found = tx.load(&source).await.map_err(db)?;
        let found = found.ok_or_else(|| domain::image_version::source_not_found(&source))?;
        domain::image_version::check_source(row, &found)?;
        if found.kind == Kind::ImageVersion {
            let shown = source.to_string();
            let objection =
                allowed_images::check(tx, &subscription, &found.id, Way::Id, &shown).await?;
            allowed_images::record(engine, tx, ctx, row, objection).await?;
        }
    }
    let Some(id) = domain::image_version::image_of_others(row) else {
        return Ok(());
    };
    let chosen = source_of_others(engine, tx, row, &id).await?;
    row.internal.insert(
        SOURCE_VERSION.to_owned(),
        Value::String(chosen.version.id.to_string()),
    );
    allowed_images::record(engine, tx, ctx, row, chosen.objection).await
}

/// Returns the version of others that a version is made from: the one that was chosen first, while it may be used.
pub(crate) async fn source_of_others(
    engine: &Engine,
    read: &mut Read,
    row: &Resource,
    id: &SharedImageId,
) -> Result<Chosen> {
    let mut named = Named::OfOthers(id.clone());
    if let Some(pinned) = row.internal.get(SOURCE_VERSION).and_then(Value::as_str) {
        named = named.pinned(&ResourceId::parse(pinned)?);
    }
    let who = For {
        subscription: row.id.subscription(),
        region: &row.location,
    };
    let chosen = match image_choice::choose(engine, read, &named, who).await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Err(domain::image_version::shared_source_not_found(
                &id.to_string(),
            ));
        }
        other => other?,
    };
    domain::image_version::check_image_of_others(row, &chosen.version, &id.to_string())?;
    Ok(chosen)
}

/// What is copied must be there; its words go over to the copy.
pub(crate) async fn take_copy_source(tx: &mut Tx, row: &mut Resource) -> Result<()> {
    let Some(id) = domain::disk::copy_source(row) else {
        return Ok(());
    };
    let source = tx.load(&id).await.map_err(db)?;
    let source = source.ok_or_else(|| crate::creation::source_not_found(&id))?;
    domain::disk::check_copy_source(row, &source)?;
    domain::disk::take_source(row, &source);
    Ok(())
}

/// A disk from an image needs the image complete in its region: said at once, not by the worker.
///
/// The version that `latest` means is decided here and kept, so a later version does not change it.
async fn choose_image(engine: &Engine, tx: &mut Tx, ctx: &Ctx, row: &mut Resource) -> Result<()> {
    let Some(reference) = domain::disk::version_reference(row) else {
        return Ok(());
    };
    let slot = crate::creation::image_slot(reference);
    let named = Named::read(reference)?;
    let who = For {
        subscription: row.id.subscription(),
        region: &row.location,
    };
    let chosen = image_choice::choose(engine, tx, &named, who).await?;
    if !chosen.replicas.iter().any(|r| r.slot == slot) {
        return Err(crate::creation::no_such_lun());
    }
    if let Some(definition) = chosen.version.id.parent() {
        let definition = tx.load(&definition).await.map_err(db)?;
        let definition = definition.ok_or_else(Error::internal)?;
        domain::image::check_disk_type(&definition, row, &named.to_string())?;
    }
    allowed_images::record(engine, tx, ctx, row, chosen.objection).await?;
    let version = Value::String(chosen.version.id.to_string());
    row.internal.insert("imageVersion".to_owned(), version);
    Ok(())
}

/// Takes the names that must be unique beyond the id.
pub(crate) async fn claim_names(tx: &mut Tx, row: &Resource) -> Result<()> {
    for claim in domain::plan::claims(row) {
        if let Err(error) = tx.claim(&claim.scope, &claim.key, &row.id).await {
            return Err(match error.kind() {
                catalog::Kind::Taken => claim.taken,
                _ => db(error),
            });
        }
    }
    Ok(())
}

/// Refuses a create that would go over the subscription's limit; counted in the same transaction.
pub(crate) async fn reserve_quota(tx: &mut Tx, row: &Resource) -> Result<()> {
    check_quota(tx, row, (row.kind, 1)).await
}

/// Refuses so many more resources of a kind where a row lies.
pub(crate) async fn check_quota(
    tx: &mut Tx,
    row: &Resource,
    (kind, more): (Kind, i64),
) -> Result<()> {
    let Some(limit) = domain::quota::limit(kind) else {
        return Ok(());
    };
    // Groups are counted in the whole subscription, everything else by region.
    let location = Some(row.location.as_str()).filter(|_| kind != Kind::ResourceGroup);
    let held = tx.count(row.id.subscription(), location, kind).await;
    domain::quota::check(kind, &row.location, held.map_err(db)?, more, limit)
}

/// Checks that a row may be deleted: no children, not protected.
pub(crate) async fn check_delete(tx: &mut Tx, row: &Resource, now_ms: i64) -> Result<()> {
    check_protected(row, now_ms)?;
    domain::plan::check_delete(row)?;
    check_pins(tx, row).await?;
    if row.kind == Kind::DiskEncryptionSet {
        disk_encryption_set::check_unused(tx, row).await?;
    }
    if matches!(row.kind, Kind::ScaleSet | Kind::ScaleSetMachine) {
        // What is below goes with it.
        return Ok(());
    }
    let mut nested = tx
        .children(&row.id, NESTED_SHOWN_MAX, false)
        .await
        .map_err(db)?;
    if nested.is_empty() && row.kind == Kind::Image {
        let gallery = row.id.parent().ok_or_else(Error::internal)?;
        let keeps = tx.load(&gallery).await.map_err(db)?;
        if keeps.is_some_and(|g| domain::gallery::soft_delete_policy(&g).is_enabled) {
            nested = tx
                .children(&row.id, NESTED_SHOWN_MAX, true)
                .await
                .map_err(db)?;
        }
    }
    if nested.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = nested
        .iter()
        .map(|id| format!("{}/{}", id.type_name(), id.name()))
        .collect();
    Err(Error::conflict(
        "CannotDeleteResource",
        format!(
            "Cannot delete resource while nested resources exist. Some existing nested resource IDs include: '{}'. \
             Please delete all nested resources before deleting this resource.",
            shown.join(", ")
        ),
    ))
}

/// Returns the scope in which shallow versions pin a source.
pub(crate) fn pin_scope(source: &ResourceId) -> String {
    format!("pin:{}", source.key())
}

/// Refuses to delete what a shallow version was made from. Source: `API.md` 6.
async fn check_pins(tx: &mut Tx, row: &Resource) -> Result<()> {
    let held = tx.claimants(&pin_scope(&row.id), 1).await.map_err(db)?;
    let Some(version) = held.first() else {
        return Ok(());
    };
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The resource '{}' is the source of the shallow image version '{version}'. Delete that version first, or publish \
             it with replication mode 'Full'.",
            row.id.name()
        ),
    ))
}

/// Refuses the deletion of a version that is protected until its end of life, and of a network in use from
/// elsewhere: a group's own users go before it.
pub(crate) fn check_protected(row: &Resource, now_ms: i64) -> Result<()> {
    if row.kind == Kind::ImageVersion {
        domain::image_version::check_delete(row, now_ms)?;
    }
    if row.kind.is_network() {
        domain::network::check_delete(row)?;
    }
    Ok(())
}
