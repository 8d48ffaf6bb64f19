//! Answers to the invitations of galleries that are shared directly. Source: `API.md` 1, since 2025-12-03.
//!
//! Who is invited sees a gallery at once, as with older api-versions; a rejection closes it for the
//! subscription or the tenant until it is accepted again, or the owner ends the sharing and begins anew.

use catalog::{Read, ShareAnswer};
use domain::shared_image::{Door, Invitee, name_behind};
use domain::{ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};

use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::shared::missing;
use crate::{Ctx, Engine};

/// Which invitation is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Who was invited.
    pub invited: Invited,
    /// The region, in any spelling; an answer counts in all regions.
    pub location: String,
    /// The subscription that owns the gallery.
    pub owner: String,
    /// The gallery's name, or its unique name.
    pub gallery: String,
}

/// Who was invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invited {
    /// A subscription.
    Subscription(String),
    /// The tenant of the caller.
    Tenant,
}

impl Engine {
    /// Accepts or rejects the invitation of a gallery; the same answer twice is fine.
    pub async fn answer_invite(&self, ctx: &Ctx, invite: &Invite, is_accepted: bool) -> Result<()> {
        let (scope, invitee) = match &invite.invited {
            Invited::Subscription(id) => {
                (format!("/subscriptions/{id}"), Invitee::Subscription(id))
            }
            Invited::Tenant => ("/".to_owned(), Invitee::Tenant(&ctx.caller.tenant)),
        };
        let verb = if is_accepted { "accept" } else { "reject" };
        let action = format!("Microsoft.Compute/locations/sharedGalleries/{verb}/action");
        self.authorize(ctx, &action, &scope).await?;
        let region = self.regions().find(&invite.location);
        let refused = || missing(&invite.gallery, &invite.location);
        region.ok_or_else(refused)?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let gallery = invited_by(&mut tx, invite, invitee).await?;
        let gallery = gallery.ok_or_else(refused)?;
        let answers = tx.share_answers(&gallery.id.key()).await.map_err(db)?;
        let before = answers.iter().find(|held| held.invitee == invitee.key());
        let said = |is_accepted: bool| {
            let verb = if is_accepted { "accept" } else { "reject" };
            digest(&format!("{} {verb}", invitee.key()))
        };
        let deed = Deed {
            action: &action,
            // The owner's subscription and group are not the consumer's to know.
            scope: &scope,
            before: before
                .map(|held| said(held.is_accepted))
                .unwrap_or_default(),
            after: said(is_accepted),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.put_share_answer(&ShareAnswer {
            gallery: gallery.id.key(),
            invitee: invitee.key(),
            is_accepted,
            answered_by: ctx.caller.object_id.clone(),
            answered_ms: self.now_ms(),
        })
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Returns in which regions consumers see a gallery. Source: `API.md` 3.1.
    pub async fn sharing_status(&self, gallery: &Resource) -> Result<Value> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let open = read.open_operation_of(&gallery.id).await.map_err(db)?;
        let state = match (gallery.state, open) {
            (ProvisioningState::Failed, _) => "Failed",
            (_, Some(_)) => "InProgress",
            (_, None) => "Succeeded",
        };
        let mut summary = Vec::new();
        for region in self.regions().iter() {
            if self.has_versions(&mut read, gallery, &region.name).await? {
                summary.push(json!({ "region": region.display_name, "state": state }));
            }
        }
        Ok(json!({ "aggregatedState": state, "summary": summary }))
    }
}

/// Returns the gallery of an owner's subscription that an invitee was invited to.
async fn invited_by(
    read: &mut Read,
    invite: &Invite,
    invitee: Invitee<'_>,
) -> Result<Option<Resource>> {
    let all = read.list_galleries().await.map_err(db)?;
    let is_meant = |row: &Resource| {
        let unique = name_behind(Door::Shared, row).unwrap_or_default();
        row.state != ProvisioningState::Deleting
            && row.id.subscription().eq_ignore_ascii_case(&invite.owner)
            && [row.id.name(), unique]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&invite.gallery))
    };
    Ok(all
        .into_iter()
        .find(|row| is_meant(row) && invitee.is_invited(row)))
}

/// Forgets the answers of those whom a gallery is not shared with any more: a new invitation is a new question.
pub(crate) async fn forget_uninvited(tx: &mut catalog::Tx, gallery: &Resource) -> Result<()> {
    let key = gallery.id.key();
    for answer in tx.share_answers(&key).await.map_err(db)? {
        let is_invited = match answer.invitee.split_once('/') {
            Some(("subscriptions", id)) => Invitee::Subscription(id).is_invited(gallery),
            Some(("tenants", id)) => Invitee::Tenant(id).is_invited(gallery),
            _ => false,
        };
        if !is_invited {
            tx.delete_share_answers(&key, Some(&answer.invitee))
                .await
                .map_err(db)?;
        }
    }
    Ok(())
}

/// Forgets all answers to a gallery's invitations.
pub(crate) async fn forget_all(tx: &mut catalog::Tx, gallery: &ResourceId) -> Result<()> {
    tx.delete_share_answers(&gallery.key(), None)
        .await
        .map_err(db)
}
