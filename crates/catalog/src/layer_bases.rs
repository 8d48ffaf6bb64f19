//! What writable layers stand on: roots of every sweep that only the node of a layer could tell otherwise.
//!
//! A row is there before its layer is made, and goes with the content of its owner. A layer that was
//! begun twice may have two rows: both bases are kept.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

/// A layer, and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBase {
    /// The layer.
    pub layer: Uuid,
    /// The manifest's id in hex; none for a layer over nothing.
    pub base: Option<String>,
}

impl Read {
    /// Returns the layers of a region whose bases are known, in order.
    pub async fn layer_bases(&mut self, region: &str) -> Result<Vec<LayerBase>> {
        let rows = sqlx::query(
            "SELECT layer, base FROM layer_bases WHERE region = $1 ORDER BY layer, base",
        )
        .bind(region)
        .fetch_all(self.connection())
        .await?;
        let read = |row: &AnyRow| {
            let base: String = row.try_get("base")?;
            Ok(LayerBase {
                layer: layer(row)?,
                base: Some(base).filter(|base| !base.is_empty()),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Returns the layers that a region's resources refer to and whose bases are not known.
    pub async fn layers_without_base(&mut self, region: &str) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT content_id AS layer FROM replicas WHERE region = $1 AND content_kind = 'layer' \
             AND content_id NOT IN (SELECT layer FROM layer_bases WHERE region = $1) ORDER BY content_id",
        )
        .bind(region)
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(layer).collect()
    }
}

fn layer(row: &AnyRow) -> Result<Uuid> {
    let id: String = row.try_get("layer")?;
    Uuid::parse_str(&id).map_err(|error| CatalogError::Corrupt {
        table: "layer_bases",
        key: id,
        reason: error.to_string(),
    })
}

impl Tx {
    /// Keeps what a layer of an owner is about to stand on.
    pub async fn put_layer_base(
        &mut self,
        owner: &str,
        region: &str,
        known: &LayerBase,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO layer_bases (layer, base, owner, region) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (layer, base) DO NOTHING",
        )
        .bind(known.layer.to_string())
        .bind(known.base.clone().unwrap_or_default())
        .bind(owner)
        .bind(region)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps what a layer stands on that was made before that was kept, if it still belongs to anybody.
    pub async fn adopt_layer_base(&mut self, region: &str, known: &LayerBase) -> Result<bool> {
        let layer = known.layer.to_string();
        let owner = sqlx::query(
            "SELECT owner FROM replicas WHERE region = $1 AND content_kind = 'layer' AND content_id = $2",
        )
        .bind(region)
        .bind(layer)
        .fetch_optional(self.connection())
        .await?;
        let Some(owner) = owner else {
            return Ok(false);
        };
        let owner: String = owner.try_get("owner")?;
        self.put_layer_base(&owner, region, known).await?;
        Ok(true)
    }

    /// Forgets what an owner's layers stood on, in all regions or in one.
    pub async fn drop_layer_bases(&mut self, owner: &str, region: Option<&str>) -> Result<()> {
        sqlx::query("DELETE FROM layer_bases WHERE owner = $1 AND ($2 = '' OR region = $2)")
            .bind(owner)
            .bind(region.unwrap_or_default())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
