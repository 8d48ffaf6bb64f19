//! What a new machine boots from: found, checked and written into its row, in the transaction of the request.

use catalog::Tx;
use domain::image_version::sets_in;
use domain::virtual_machine::{BootFacts, add_image_disks, disks, take_boot};
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::error::catalog as db;
use crate::image_choice::{self, Chosen, For, Named};
use crate::publish::captured;
use crate::{Ctx, Engine, allowed_images, managed_image};

/// Chooses the image or disk of a new machine; what `latest` means is decided here and kept.
pub(crate) async fn choose_boot(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
) -> Result<()> {
    let facts = boot_facts(engine, tx, ctx, row).await?;
    add_image_disks(row, &facts.data, Uuid::new_v4)?;
    take_boot(row, &facts)
}

/// Finds out what a new machine would boot from.
pub(crate) async fn boot_facts(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
) -> Result<BootFacts> {
    let reference = row.properties.get("storageProfile");
    let reference = reference.and_then(|p| p.get("imageReference")).cloned();
    match &reference {
        None => attached_disk(tx, row).await,
        Some(reference) => facts_of_image(engine, tx, ctx, row, reference).await,
    }
}

async fn attached_disk(tx: &mut Tx, row: &Resource) -> Result<BootFacts> {
    let all = disks(row);
    let os = all.first().ok_or_else(Error::internal)?;
    let disk = tx.load(&os.id).await.map_err(db)?;
    let disk = disk.ok_or_else(|| super::hold::disk_not_found(&os.id))?;
    Ok(BootFacts::of_disk(&disk))
}

/// Finds the image that a reference names, and returns what is known of it.
pub(super) async fn facts_of_image(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &mut Resource,
    reference: &Value,
) -> Result<BootFacts> {
    let named = Named::read(reference)?;
    if let Named::Own(id) = &named
        && id.kind() == Some(Kind::ManagedImage)
    {
        return of_managed_image(tx, row, id).await;
    }
    let subscription = row.id.subscription().to_owned();
    let who = For {
        subscription: &subscription,
        region: &row.location,
    };
    let mut chosen = image_choice::choose(engine, tx, &named, who).await?;
    let objection = chosen.objection.take();
    allowed_images::record(engine, tx, ctx, row, objection).await?;
    let mut facts = of_version(engine, tx, row, chosen).await?;
    facts.shown = named.to_string();
    Ok(facts)
}

async fn of_version(
    engine: &Engine,
    tx: &mut Tx,
    row: &mut Resource,
    chosen: Chosen,
) -> Result<BootFacts> {
    let definition = chosen.version.id.parent().ok_or_else(Error::internal)?;
    let definition = tx.load(&definition).await.map_err(db)?;
    let definition = definition.ok_or_else(Error::internal)?;
    let version = chosen.version.id.to_string();
    row.internal
        .insert("imageVersion".to_owned(), Value::String(version));
    let mut facts = BootFacts::of_definition(&definition);
    facts.exact_version = Some(chosen.version.id.name().to_owned());
    facts.sets = sets_in(&chosen.version, &row.location, engine.regions());
    // Nobody is given the set of another subscription.
    facts.sets.retain(|(_, set)| {
        let set = ResourceId::parse(set);
        set.is_ok_and(|set| {
            set.subscription()
                .eq_ignore_ascii_case(row.id.subscription())
        })
    });
    // A replica counts the bytes that its region lacked, not the size of the disk.
    let disks = captured(&chosen.version)?;
    take_sizes(
        &mut facts,
        disks.iter().map(|d| (d.slot.as_str(), d.size_bytes)),
    );
    Ok(facts)
}

async fn of_managed_image(tx: &mut Tx, row: &Resource, id: &ResourceId) -> Result<BootFacts> {
    let image = tx.load(id).await.map_err(db)?;
    let image = image.filter(|image| image.location == row.location);
    let image = image.ok_or_else(|| {
        Error::not_found(
            "NotFound",
            format!(
                "The Image '{id}' cannot be found in '{}' region.",
                row.location
            ),
        )
        .at("imageReference")
    })?;
    let replicas = managed_image::ready_disks(tx, &image).await?;
    let mut facts = BootFacts::of_managed_image(&image);
    let sizes = replicas.iter().map(|replica| {
        let bytes = u64::try_from(replica.bytes_total).unwrap_or(0);
        (replica.slot.as_str(), bytes)
    });
    take_sizes(&mut facts, sizes);
    Ok(facts)
}

fn take_sizes<'a>(facts: &mut BootFacts, disks: impl Iterator<Item = (&'a str, u64)>) {
    for (slot, bytes) in disks {
        match slot.strip_prefix("lun:").map(str::parse) {
            Some(Ok(lun)) => facts.data.push((lun, bytes)),
            _ => facts.os_bytes = bytes,
        }
    }
    facts.data.sort_unstable();
}
