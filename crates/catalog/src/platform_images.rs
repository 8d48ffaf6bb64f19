//! What the operator offers in the marketplace: an image definition under a publisher, an offer and a SKU.

use domain::ResourceId;
use domain::platform_image::PlatformSku;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

/// An offered image definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedImage {
    /// How consumers name it.
    pub sku: PlatformSku,
    /// The definition that is offered.
    pub definition: ResourceId,
    /// One word for it in `az`.
    pub alias: Option<String>,
    /// Milliseconds since the epoch, UTC.
    pub offered_ms: i64,
}

impl Read {
    /// Returns what is offered under a publisher, an offer and a SKU, whatever their case.
    pub async fn offered_image(&mut self, sku: &PlatformSku) -> Result<Option<OfferedImage>> {
        let row = sqlx::query("SELECT * FROM platform_images WHERE sku_key = $1")
            .bind(sku.key())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(offered).transpose()
    }

    /// Returns everything that is offered, by publisher, offer and SKU.
    pub async fn list_offered_images(&mut self) -> Result<Vec<OfferedImage>> {
        let rows = sqlx::query("SELECT * FROM platform_images ORDER BY sku_key")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(offered).collect()
    }
}

impl Tx {
    /// Offers a definition, in place of what was offered under the same names.
    pub async fn put_offered_image(&mut self, image: &OfferedImage) -> Result<()> {
        const SQL: &str = "INSERT INTO platform_images (sku_key, publisher, offer, sku, definition_key, definition, alias, offered_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (sku_key) DO UPDATE SET publisher = excluded.publisher, \
             offer = excluded.offer, sku = excluded.sku, definition_key = excluded.definition_key, \
             definition = excluded.definition, alias = excluded.alias, offered_ms = excluded.offered_ms";
        sqlx::query(SQL)
            .bind(image.sku.key())
            .bind(image.sku.publisher.clone())
            .bind(image.sku.offer.clone())
            .bind(image.sku.sku.clone())
            .bind(image.definition.key())
            .bind(image.definition.to_string())
            .bind(image.alias.clone())
            .bind(image.offered_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Withdraws what is offered under a publisher, an offer and a SKU; whether anything was.
    pub async fn delete_offered_image(&mut self, sku: &PlatformSku) -> Result<bool> {
        let done = sqlx::query("DELETE FROM platform_images WHERE sku_key = $1")
            .bind(sku.key())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Withdraws a definition from everywhere that it is offered.
    pub async fn delete_offers_of(&mut self, definition: &ResourceId) -> Result<()> {
        sqlx::query("DELETE FROM platform_images WHERE definition_key = $1")
            .bind(definition.key())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn offered(row: &AnyRow) -> Result<OfferedImage> {
    let definition: String = row.try_get("definition")?;
    let definition = ResourceId::parse(&definition).map_err(|error| CatalogError::Corrupt {
        table: "platform_images",
        key: definition.clone(),
        reason: error.to_string(),
    })?;
    Ok(OfferedImage {
        sku: PlatformSku {
            publisher: row.try_get("publisher")?,
            offer: row.try_get("offer")?,
            sku: row.try_get("sku")?,
        },
        definition,
        alias: row.try_get("alias")?,
        offered_ms: row.try_get("offered_ms")?,
    })
}
