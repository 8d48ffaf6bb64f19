//! Whether machines can be made of a model: asked when the model is written, in the same transaction.
//!
//! The answer is that of the rules of machines, disks and interfaces themselves: one machine of the model is planned
//! and thrown away.

use catalog::Tx;
use domain::network::{invalid_reference, links};
use domain::plan::PutContext;
use domain::scale_set::{self as rules, Card, Member};
use domain::virtual_machine::{add_image_disks, check_cap, take_boot};
use domain::{Kind, Resource, ResourceId, Result};
use serde_json::Value;
use uuid::Uuid;

use super::members;
use crate::error::catalog as db;
use crate::machine::boot::boot_facts;
use crate::{Ctx, Engine, rules as kinds};

/// Checks a set that is written: its model, and whether there is room for its machines.
pub(crate) async fn check_set(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    set: &mut Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    if set.kind != Kind::ScaleSet {
        return Ok(());
    }
    check_model(engine, tx, ctx, set, stored).await?;
    check_room(engine, tx, set, stored).await
}

/// Refuses more machines than the subscription has room for: all of them, before any is made.
///
/// What others take meanwhile is found out when a machine is recorded.
async fn check_room(
    engine: &Engine,
    tx: &mut Tx,
    set: &Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    let wanted = rules::capacity(set);
    if stored.is_some_and(|stored| wanted <= rules::capacity(stored)) {
        return Ok(());
    }
    let living = members::living(tx, &set.id).await?.len();
    let more = i64::try_from(wanted.saturating_sub(living)).unwrap_or(i64::MAX);
    let (disks, bytes) = rules::machine_needs(set);
    let machines = match rules::is_flexible(set) {
        true => Kind::VirtualMachine,
        false => Kind::ScaleSetMachine,
    };
    kinds::check_quota(tx, set, (machines, more)).await?;
    kinds::check_quota(tx, set, (Kind::Disk, more.saturating_mul(disks))).await?;
    engine.check_room(tx, set, more.saturating_mul(bytes)).await
}

/// Checks a set's model that is new or was changed, and takes over what the image says.
async fn check_model(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    set: &mut Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    if set.kind == Kind::ScaleSet
        && stored.is_some_and(|stored| rules::capacity(set) < rules::capacity(stored))
    {
        let living = members::living(tx, &set.id).await?;
        rules::check_scale_in(set, &living)?;
    }
    let is_same = stored.is_some_and(|stored| rules::model_of(stored) == rules::model_of(set));
    let has_model = set.properties.contains_key("virtualMachineProfile");
    if is_same || !has_model {
        return Ok(());
    }
    engine.driver()?;
    let member = rules::next_member(&mut set.clone(), Uuid::new_v4());
    let mut machine = plan_machine(engine, ctx, set, &member)?;
    check_cap(&machine, engine.machine_cap())?;
    let facts = boot_facts(engine, tx, ctx, &mut machine).await?;
    if let Some(stored) = stored {
        rules::check_image_change(set, stored, &facts)?;
    }
    add_image_disks(&mut machine, &facts.data, Uuid::new_v4)?;
    take_boot(&mut machine, &facts)?;
    for card in rules::card_bodies(set, &member) {
        for (id, body) in &card.addresses {
            plan_row(engine, ctx, (id, body), None)?;
        }
        let row = plan_row(engine, ctx, (&card.id, &card.body), None)?;
        check_links(tx, &row, &card, set).await?;
    }
    rules::take_prototype(set, &machine, &facts);
    Ok(())
}

/// Refuses an interface whose subnet, group or pool is not there; its own addresses are made with it.
async fn check_links(tx: &mut Tx, row: &Resource, card: &Card, set: &Resource) -> Result<()> {
    let is_made = |id: &ResourceId| card.addresses.iter().any(|(made, _)| made == id);
    for link in links::links(row) {
        if is_made(&link.target) {
            continue;
        }
        let target = tx.load(&link.target).await.map_err(db)?;
        let target = target.ok_or_else(|| invalid_reference(&link.target.to_string(), &set.id))?;
        links::check(&target, &link, row)?;
    }
    Ok(())
}

/// Plans a machine of a set, as its own PUT would.
pub(super) fn plan_machine(
    engine: &Engine,
    ctx: &Ctx,
    set: &Resource,
    member: &Member,
) -> Result<Resource> {
    let body = rules::machine_body(set, member);
    let mut machine = plan_row(engine, ctx, (&member.id, &body), None)?;
    rules::set_model(&mut machine, rules::model_of(set));
    machine
        .internal
        .insert("number".to_owned(), member.number.into());
    Ok(machine)
}

/// Plans a row by the rules of its kind.
pub(super) fn plan_row(
    engine: &Engine,
    ctx: &Ctx,
    (id, body): (&ResourceId, &Value),
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut fresh = Uuid::new_v4;
    let mut context = PutContext {
        regions: engine.regions(),
        now_ms: engine.now_ms(),
        api_version: &ctx.api_version,
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    let kind = id.kind().unwrap_or(Kind::VirtualMachine);
    domain::plan::plan_put(kind, &mut context, id, body, stored)
}
