//! Tenants and subscriptions that a caller sees.

use catalog::{Subscription, Tenant};
use domain::{Error, Result};

use crate::error::catalog as db;
use crate::{Ctx, Engine};

impl Engine {
    /// Returns the caller's tenant.
    pub async fn tenants_of(&self, ctx: &Ctx) -> Result<Vec<Tenant>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        Ok(read
            .load_tenant(&ctx.caller.tenant)
            .await
            .map_err(db)?
            .into_iter()
            .collect())
    }

    /// Returns the subscriptions in which the caller holds any role.
    pub async fn subscriptions_of(&self, ctx: &Ctx) -> Result<Vec<Subscription>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let all = read
            .list_subscriptions(Some(&ctx.caller.tenant))
            .await
            .map_err(db)?;
        drop(read);
        let standings = self.standings_of(&ctx.caller).await?;
        Ok(all
            .into_iter()
            .filter(|s| {
                let scope = format!("/subscriptions/{}", s.id).to_ascii_lowercase();
                let mut roles = standings.iter().map(|standing| &standing.roles);
                roles.any(|roles| roles.touches(&scope))
            })
            .collect())
    }

    /// Returns a subscription that the caller may see.
    pub async fn subscription(&self, ctx: &Ctx, id: &str) -> Result<Subscription> {
        let seen = self.subscriptions_of(ctx).await?;
        seen.into_iter()
            .find(|s| s.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| {
                Error::not_found(
                    "SubscriptionNotFound",
                    format!("The subscription '{id}' could not be found."),
                )
            })
    }

    /// Fails when the catalog does not answer.
    pub async fn check_catalog(&self) -> Result<()> {
        let mut read = self.catalog().read().await.map_err(db)?;
        read.setting("store-key").await.map_err(db)?;
        Ok(())
    }
}
