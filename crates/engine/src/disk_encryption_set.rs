//! Disk encryption sets: who uses them. They are named and checked; nothing is encrypted with their keys.

use catalog::Tx;
use domain::disk_encryption_set::{check_use, in_use, not_found, uses};
use domain::{Regions, Resource, ResourceId, Result};

use crate::error::catalog as db;
use crate::resources::action;
use crate::{Ctx, Engine};

/// The most resources that a list of a set's users holds.
const USERS_MAX: usize = 1000;

impl Engine {
    /// Returns the ids of what is encrypted with a set.
    pub async fn associated_resources(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<String>> {
        self.authorize(ctx, &action(id, "read"), &id.to_string())
            .await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        if read.load(id).await.map_err(db)?.is_none() {
            return Err(crate::resources::not_found(id));
        }
        let users = read.claimants(&scope(id), USERS_MAX).await.map_err(db)?;
        let mut shown = Vec::new();
        for user in users {
            // Claims hold lower-case keys; people see the name as it was given.
            let row = read.load(&ResourceId::parse(&user)?).await.map_err(db)?;
            shown.push(row.map_or(user, |row| row.id.to_string()));
        }
        Ok(shown)
    }
}

/// Checks the sets that a row names anew and holds them; lets go of those it names no more.
pub(crate) async fn hold_sets(
    tx: &mut Tx,
    regions: &Regions,
    row: &Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    let now = uses(row, regions);
    let before = stored.map(|s| uses(s, regions)).unwrap_or_default();
    for used in now.iter().filter(|used| !before.contains(used)) {
        let set = tx.load(&used.set).await.map_err(db)?;
        check_use(row, used, &set.ok_or_else(|| not_found(used))?)?;
        let claimed = tx.claim(&scope(&used.set), &row.id.key(), &row.id).await;
        claimed.map_err(db)?;
    }
    for gone in before
        .iter()
        .filter(|b| !now.iter().any(|n| n.set == b.set))
    {
        tx.unclaim(&scope(&gone.set), &row.id).await.map_err(db)?;
    }
    Ok(())
}

/// Refuses to delete a set that something is encrypted with.
pub(crate) async fn check_unused(tx: &mut Tx, row: &Resource) -> Result<()> {
    let users = tx.claimants(&scope(&row.id), 1).await.map_err(db)?;
    users.first().map_or(Ok(()), |user| Err(in_use(row, user)))
}

fn scope(set: &ResourceId) -> String {
    format!("key:{}", set.key())
}
