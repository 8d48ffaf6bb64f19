//! What the operator does with the marketplace. There is no route for this: the names of publishers are worth
//! something because not everybody can take one.

use catalog::{OfferedImage, Read};
use domain::confusable::skeleton;
use domain::platform_image::{PlatformSku, check_alias, check_definition};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};

use crate::Engine;
use crate::error::catalog as db;
use crate::identity::Change;

const WRITE: &str = "Vitrine.Gallery/platformImages/write";
const DELETE: &str = "Vitrine.Gallery/platformImages/delete";

impl Engine {
    /// Offers an image definition to every subscription, under a publisher, an offer and a SKU.
    pub async fn offer_image(
        &self,
        definition: &ResourceId,
        sku: PlatformSku,
        alias: Option<String>,
    ) -> Result<OfferedImage> {
        if let Some(alias) = &alias {
            check_alias(alias)?;
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        let row = match definition.kind() {
            Some(Kind::Image) => tx.load(definition).await.map_err(db)?,
            _ => None,
        };
        let row = row.filter(|row| row.state != ProvisioningState::Deleting);
        let row = row.ok_or_else(|| {
            Error::not_found(
                "ResourceNotFound",
                format!("'{definition}' is not an image definition of this installation."),
            )
        })?;
        check_definition(&row)?;
        check_publisher(&mut tx, &row, &sku).await?;
        let all = tx.list_offered_images().await.map_err(db)?;
        check_free(&all, &row, &sku, alias.as_deref())?;
        let held = all.iter().find(|held| held.sku.key() == sku.key());
        let image = OfferedImage {
            sku,
            definition: row.id.clone(),
            alias,
            offered_ms: self.now_ms(),
        };
        self.audit_offer(&mut tx, WRITE, held, Some(&image)).await?;
        tx.put_offered_image(&image).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(image)
    }

    /// Withdraws what is offered under a publisher, an offer and a SKU; what was made of it stays.
    pub async fn withdraw_image(&self, sku: &PlatformSku) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let held = tx.offered_image(sku).await.map_err(db)?;
        let held = held.ok_or_else(|| {
            Error::not_found("OfferNotFound", format!("Nothing is offered as '{sku}'."))
        })?;
        self.audit_offer(&mut tx, DELETE, Some(&held), None).await?;
        tx.delete_offered_image(sku).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Returns everything that is offered.
    pub async fn offered_images(&self) -> Result<Vec<OfferedImage>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        read.list_offered_images().await.map_err(db)
    }

    /// Returns what `az` is told before anybody signs in: what has an alias, whether its system is Windows, its architecture.
    pub async fn image_aliases(&self) -> Result<Vec<AliasedImage>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut out = Vec::new();
        for image in read.list_offered_images().await.map_err(db)? {
            let Some(alias) = image.alias else {
                continue;
            };
            let Some(row) = read.load(&image.definition).await.map_err(db)? else {
                continue;
            };
            let says = |name: &str| {
                let text = row.properties.get(name).and_then(|value| value.as_str());
                text.map(str::to_owned)
            };
            out.push(AliasedImage {
                alias,
                sku: image.sku,
                os_type: says("osType").unwrap_or_else(|| "Linux".to_owned()),
                architecture: says("architecture").unwrap_or_else(|| "x64".to_owned()),
            });
        }
        Ok(out)
    }

    async fn audit_offer(
        &self,
        tx: &mut catalog::Tx,
        action: &str,
        before: Option<&OfferedImage>,
        after: Option<&OfferedImage>,
    ) -> Result<()> {
        let Some(one) = after.or(before) else {
            return Ok(());
        };
        let subscription = one.definition.subscription();
        let owner = tx.load_subscription(subscription).await.map_err(db)?;
        let tenant = owner.map(|s| s.tenant).unwrap_or_default();
        let change = Change::offer(&tenant, before, after);
        self.audit_operator(tx, action, change).await
    }
}

/// Refuses the name of a verified publisher for the images of somebody else.
async fn check_publisher(read: &mut Read, definition: &Resource, sku: &PlatformSku) -> Result<()> {
    for publisher in read.list_verified_publishers().await.map_err(db)? {
        let is_own = publisher
            .subscription
            .eq_ignore_ascii_case(definition.id.subscription());
        if !is_own && skeleton(&publisher.name) == skeleton(&sku.publisher) {
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "The publisher '{}' looks like '{}', which subscription '{}' is verified as; the image is of another \
                     subscription.",
                    sku.publisher, publisher.name, publisher.subscription
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses names that mean another definition, and an alias that means another offer.
fn check_free(
    all: &[OfferedImage],
    definition: &Resource,
    sku: &PlatformSku,
    alias: Option<&str>,
) -> Result<()> {
    for other in all {
        if other.sku.key() == sku.key() {
            if other.definition.key() == definition.id.key() {
                continue;
            }
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "'{sku}' is '{}' already. Withdraw it first: what is offered under a name does not change on the way.",
                    other.definition
                ),
            ));
        }
        let both = other.alias.as_deref().zip(alias);
        if both.is_some_and(|(held, asked)| held.eq_ignore_ascii_case(asked)) {
            return Err(Error::conflict(
                "Conflict",
                format!("The alias of '{}' is the same.", other.sku),
            ));
        }
    }
    Ok(())
}

/// An offered image with one word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasedImage {
    /// The word.
    pub alias: String,
    /// What it stands for.
    pub sku: PlatformSku,
    /// `Windows` or `Linux`.
    pub os_type: String,
    /// `x64` or `Arm64`.
    pub architecture: String,
}
