//! What a subscription lets be made from whose images: the list itself, and the asking of it.
//!
//! The rights are of `Microsoft.Authorization`, not of this product's namespace: who may not change
//! roles may not change this list either, so a contributor cannot allow itself an image.

use catalog::{Read, Tx};
use domain::allowed_images::{AllowedImages, Mode, Origin, refusal};
use domain::confusable::Worth;
use domain::shared_image::Door;
use domain::{Error, Resource, ResourceId, Result};
use serde_json::Value;

use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::{Ctx, Engine, publisher};

const READ: &str = "Microsoft.Authorization/allowedImages/read";
const WRITE: &str = "Microsoft.Authorization/allowedImages/write";
const DELETE: &str = "Microsoft.Authorization/allowedImages/delete";
/// What the activity log calls a use that a watching list would refuse.
const WATCHED: &str = "Microsoft.Authorization/allowedImages/audit/action";

/// How a caller came to an image.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// By the id of a version or definition.
    Id,
    /// By a door of its gallery, which has a name there.
    Door(Door, &'a str),
    /// By the publisher under whom the operator offers it.
    Marketplace(&'a str),
}

impl Engine {
    /// Returns a subscription's list; where it never said, the one that allows everything.
    pub async fn allowed_images(&self, ctx: &Ctx, subscription: &str) -> Result<AllowedImages> {
        self.authorize(ctx, READ, &scope(subscription)).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let rules = read.allowed_images(subscription).await.map_err(db)?;
        Ok(rules.unwrap_or_default())
    }

    /// Replaces a subscription's list.
    pub async fn put_allowed_images(
        &self,
        ctx: &Ctx,
        subscription: &str,
        body: &Value,
    ) -> Result<AllowedImages> {
        let scope = scope(subscription);
        self.authorize(ctx, WRITE, &scope).await?;
        let rules = AllowedImages::read(body)?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let before = tx.allowed_images(subscription).await.map_err(db)?;
        tx.put_allowed_images(subscription, &rules, self.now_ms())
            .await
            .map_err(db)?;
        let deed = Deed {
            action: WRITE,
            scope: &scope,
            before: before.as_ref().map(of_rules).unwrap_or_default(),
            after: of_rules(&rules),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        Ok(rules)
    }

    /// Removes a subscription's list: everything is allowed again. Returns whether there was one.
    pub async fn delete_allowed_images(&self, ctx: &Ctx, subscription: &str) -> Result<bool> {
        let scope = scope(subscription);
        self.authorize(ctx, DELETE, &scope).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(before) = tx.allowed_images(subscription).await.map_err(db)? else {
            return Ok(false);
        };
        tx.delete_allowed_images(subscription).await.map_err(db)?;
        let deed = Deed {
            action: DELETE,
            scope: &scope,
            before: of_rules(&before),
            after: String::new(),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        Ok(true)
    }
}

/// Refuses a version that the subscription does not allow; returns the refusal where its list only watches.
pub(crate) async fn check(
    read: &mut Read,
    subscription: &str,
    version: &ResourceId,
    way: Way<'_>,
    shown: &str,
) -> Result<Option<Error>> {
    let rules = read.allowed_images(subscription).await.map_err(db)?;
    let Some(rules) = rules.filter(|rules| rules.mode != Mode::Disabled) else {
        return Ok(None);
    };
    let gallery = version.parent().and_then(|definition| definition.parent());
    let gallery = gallery.ok_or_else(Error::internal)?;
    let worth = match read.load(&gallery).await.map_err(db)? {
        Some(row) => publisher::worth(read, &row).await?,
        None => Worth::Plain,
    };
    let origin = Origin {
        gallery: &gallery,
        door: match way {
            Way::Door(door, name) => Some((door, name)),
            _ => None,
        },
        publisher: match (way, &worth) {
            (Way::Marketplace(name), _) => Some(name),
            (_, Worth::Verified(name)) => Some(name),
            _ => None,
        },
    };
    if rules.allows(subscription, origin) {
        return Ok(None);
    }
    let error = refusal(shown, subscription);
    match rules.mode {
        Mode::Enforce => Err(error),
        _ => Ok(Some(error)),
    }
}

/// Tells the activity log of a use that a watching list would have refused.
pub(crate) async fn record(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &Resource,
    objection: Option<Error>,
) -> Result<()> {
    let Some(objection) = objection else {
        return Ok(());
    };
    tracing::warn!(resource.id = %row.id, reason = %objection.message, "an image that is not allowed was used");
    let deed = Deed {
        action: WATCHED,
        scope: &row.id.to_string(),
        before: String::new(),
        after: digest(&objection.message),
    };
    engine.audit(tx, ctx, deed).await
}

fn scope(subscription: &str) -> String {
    format!("/subscriptions/{subscription}")
}

fn of_rules(rules: &AllowedImages) -> String {
    digest(&serde_json::to_string(rules).unwrap_or_default())
}
