//! Which machines are in a set: each holds a claim in the set's scope, so a set finds them however many there are.

use catalog::{Read, Tx};
use domain::scale_set as rules;
use domain::{Kind, ProvisioningState, Resource, ResourceId, Result};

use crate::error::catalog as db;

/// Machines of one set at most, and those that are going.
const MEMBERS_MAX: usize = 4_000;

/// Returns the scope in which a set's machines are claimed.
pub(super) fn scope(set: &ResourceId) -> String {
    format!("scaleset:{}", set.key())
}

/// Returns the machines of a set, those that are going included, by number and name.
pub(super) async fn members(read: &mut Read, set: &ResourceId) -> Result<Vec<Resource>> {
    let mut found = Vec::new();
    let keys = read.claimants(&scope(set), MEMBERS_MAX).await;
    for key in keys.map_err(db)? {
        let machine = read.load(&ResourceId::parse(&key)?).await.map_err(db)?;
        found.extend(machine);
    }
    found.sort_by_key(|machine| (rules::number_of(machine), machine.id.key()));
    Ok(found)
}

/// Returns the machines of a set that are not going.
pub(super) async fn living(read: &mut Read, set: &ResourceId) -> Result<Vec<Resource>> {
    let mut found = members(read, set).await?;
    found.retain(|machine| machine.state != ProvisioningState::Deleting);
    Ok(found)
}

/// Puts a machine into a set, in the transaction that records it.
pub(super) async fn claim(tx: &mut Tx, set: &ResourceId, machine: &ResourceId) -> Result<()> {
    let claimed = tx.claim(&scope(set), &machine.key(), machine).await;
    claimed.map_err(db)
}

/// A new machine of a user's own joins the set that it names, which then wants one more.
pub(crate) async fn join(tx: &mut Tx, machine: &Resource) -> Result<()> {
    if !machine.properties.contains_key("virtualMachineScaleSet") {
        return Ok(());
    }
    let id = rules::set_of(machine);
    let set = match &id {
        Some(id) => tx.load(id).await.map_err(db)?,
        None => None,
    };
    let set = set.filter(|set| set.state != ProvisioningState::Deleting);
    rules::check_joined(machine, set.as_ref())?;
    if let Some(mut set) = set {
        let wanted = rules::capacity(&set) + 1;
        rules::set_capacity(&mut set, wanted);
        tx.update(&mut set).await.map_err(db)?;
        claim(tx, &set.id, &machine.id).await?;
    }
    Ok(())
}

/// A machine that somebody deletes leaves its set, which then wants one less.
pub(crate) async fn leave(tx: &mut Tx, machine: &Resource) -> Result<()> {
    if !machine.kind.is_machine() || machine.state == ProvisioningState::Deleting {
        return Ok(());
    }
    let Some(id) = rules::set_of(machine) else {
        return Ok(());
    };
    let set = tx.load(&id).await.map_err(db)?;
    if let Some(mut set) = set.filter(|set| set.kind == Kind::ScaleSet) {
        let wanted = rules::capacity(&set).saturating_sub(1);
        rules::set_capacity(&mut set, wanted);
        tx.update(&mut set).await.map_err(db)?;
    }
    Ok(())
}
