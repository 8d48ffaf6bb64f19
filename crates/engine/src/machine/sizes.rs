//! Lists of sizes, as this node offers them.

use domain::virtual_machine::{Cap, SIZES, Size};
use domain::{ResourceId, Result};
use serde_json::Value;

use crate::resources::{action, not_found};
use crate::{Ctx, Engine};

impl Engine {
    /// Returns what this node gives one machine at most.
    pub(crate) fn machine_cap(&self) -> Cap {
        let settings = self.machine_settings();
        Cap {
            cpus_max: settings.cpus_max,
            memory_mib_max: settings.memory_mib_max,
        }
    }

    /// Returns the sizes of a region.
    pub async fn list_sizes(&self, ctx: &Ctx, subscription: &str) -> Result<Vec<Value>> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, "Microsoft.Compute/locations/vmSizes/read", &scope)
            .await?;
        Ok(self.offered().map(Size::shown).collect())
    }

    /// Returns the sizes that a machine can have.
    pub async fn list_machine_sizes(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<Value>> {
        let action = action(id, "vmSizes/read");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let row = self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        let inside = |name: &str| row.internal.get(name).and_then(Value::as_str);
        let fits = |size: &&Size| {
            inside("generation").is_none_or(|g| size.family.generations.contains(&g))
                && inside("architecture").is_none_or(|a| size.family.architecture == a)
        };
        Ok(self.offered().filter(fits).map(Size::shown).collect())
    }

    /// Returns the skus of every region: one item for a size and region.
    pub async fn list_skus(&self, ctx: &Ctx, subscription: &str) -> Result<Vec<Value>> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, "Microsoft.Compute/skus/read", &scope)
            .await?;
        let mut skus = Vec::new();
        for region in self.regions().iter() {
            skus.extend(
                self.offered()
                    .map(|size| size.shown_sku(&region.name, region.has_zones)),
            );
        }
        Ok(skus)
    }

    fn offered(&self) -> impl Iterator<Item = &'static Size> {
        let cap = self.machine_cap();
        SIZES.iter().filter(move |size| size.fits(cap))
    }
}
