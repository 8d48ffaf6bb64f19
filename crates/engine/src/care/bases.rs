//! What writable layers stand on, as the catalog knows it: what a sweep by any node must keep.
//!
//! Layers lie with their node, and what they stand on lies in a store that other nodes may sweep:
//!
//! ```text
//! base in the catalog ─► layer made ─► layer in the row ─► …used… ─► row and base go at once ─► layer removed
//! ```
//!
//! A layer never stands on what the catalog does not know, wherever this is cut off. A base never
//! changes: a freeze makes a manifest, a resize only more of the disk.

use std::collections::BTreeSet;

use blocks::{LayerId, ManifestId, Store};
use catalog::LayerBase;
use domain::operation::Operation;
use domain::{Error, Resource, Result};
use uuid::Uuid;

use crate::Engine;
use crate::deletion::check_lease;
use crate::error::{blocks as store_error, catalog as db};

impl Engine {
    /// Keeps what a layer is about to stand on; refused without the lease or the row that it goes with.
    pub(crate) async fn keep_base(
        &self,
        operation: &Operation,
        row: &Resource,
        layer: LayerId,
        base: Option<ManifestId>,
    ) -> Result<()> {
        let known = known(layer, base);
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        if tx.load(&row.id).await.map_err(db)?.is_none() {
            return Err(crate::publish::interrupted());
        }
        tx.put_layer_base(&row.id.key(), &row.location, &known)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Forgets what the layer of a row stood on, after it is gone.
    pub(crate) async fn forget_bases(&self, row: &Resource) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.drop_layer_bases(&row.id.key(), Some(&row.location))
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Tells the catalog what layers of this node stand on that are older than the catalog's knowledge.
    pub(crate) async fn tell_bases(&self) -> Result<()> {
        for (region, store) in self.stores() {
            let unknown = self.unknown_layers(region).await?;
            if unknown.is_empty() {
                continue;
            }
            let Ok(here) = store.layers().await else {
                continue;
            };
            for id in here.into_iter().filter(|id| unknown.contains(id)) {
                // One that cannot be read stays unknown: nothing it may stand on is swept by others.
                let Ok(base) = store.layer_base(id).await else {
                    continue;
                };
                let mut tx = self.catalog().write().await.map_err(db)?;
                tx.adopt_layer_base(region, &known(id, base))
                    .await
                    .map_err(db)?;
                tx.commit().await.map_err(db)?;
            }
        }
        Ok(())
    }

    /// Refuses to sweep an object store while layers of other nodes stand on what the catalog does not know.
    pub(crate) async fn check_bases_are_known(&self, region: &str, store: &Store) -> Result<()> {
        if !self.is_shared(region) {
            return Ok(());
        }
        let here = store.layers().await.map_err(store_error)?;
        let mut unknown = self.unknown_layers(region).await?;
        unknown.retain(|id| !here.contains(id));
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(
            "StoreShared",
            format!(
                "What {} writable disks of the region '{region}' on other nodes stand on is not known yet. A sweep could take \
                 that, so it is put off until their nodes have been started once, or the disks are deleted.",
                unknown.len()
            ),
        ))
    }

    /// Returns every manifest of a region that must be kept: what the catalog refers to, and what layers
    /// of any node stand on.
    pub(crate) async fn needed_manifests(&self, region: &str) -> Result<BTreeSet<ManifestId>> {
        // Bases first: a layer that becomes a manifest meanwhile is in one of the two.
        let mut read = self.catalog().read().await.map_err(db)?;
        let bases = read.layer_bases(region).await.map_err(db)?;
        drop(read);
        let mut needed = self.live_manifests(region).await?;
        for base in bases.into_iter().filter_map(|known| known.base) {
            // What cannot be read may be what must be kept: nothing is removed then.
            let id = base.parse::<ManifestId>().map_err(|_| {
                tracing::error!(
                    manifest.id = base,
                    "the catalog holds a base that cannot be read"
                );
                Error::internal()
            })?;
            needed.insert(id);
        }
        Ok(needed)
    }

    /// Returns the disks' layers of a region of which the catalog does not know what they stand on.
    async fn unknown_layers(&self, region: &str) -> Result<BTreeSet<LayerId>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let layers = read.layers_without_base(region).await.map_err(db)?;
        Ok(layers.into_iter().map(LayerId::from).collect())
    }
}

fn known(layer: LayerId, base: Option<ManifestId>) -> LayerBase {
    LayerBase {
        layer: Uuid::from(layer),
        base: base.map(|id| id.to_string()),
    }
}
