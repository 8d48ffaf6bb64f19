//! Automatic upgrades: sets that want it follow the newest version of their image.

use catalog::ListFilter;
use domain::scale_set as rules;
use domain::{Kind, ProvisioningState, Resource, Result};
use uuid::Uuid;

use super::members;
use crate::error::catalog as db;
use crate::resources::{PAGE_ITEMS_MAX, action};
use crate::{Caller, Ctx, Engine};

/// Who acts when nobody asked, as the audit names it.
const NAME: &str = "automatic OS upgrade";
/// One node at a time looks at sets that follow their image.
const LEASE: &str = "care:upgrades";

impl Engine {
    /// Begins the upgrade of every set that follows its image and has machines of an older version; returns how many.
    pub async fn upgrade_followers(&self) -> Result<usize> {
        let sets = self.followers().await?;
        if sets.is_empty() {
            return Ok(0);
        }
        let work = self.follow_all(&sets);
        Ok(self.with_lease(LEASE, work).await?.unwrap_or(0))
    }

    async fn follow_all(&self, sets: &[Resource]) -> Result<usize> {
        let mut begun = 0;
        for set in sets {
            match self.follow(set).await {
                Ok(true) => begun += 1,
                Ok(false) => {}
                // One that cannot be upgraded now holds up no other.
                Err(error) => {
                    tracing::warn!(resource.id = %set.id, %error, "a scale set does not follow its image");
                }
            }
        }
        Ok(begun)
    }

    async fn followers(&self) -> Result<Vec<Resource>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut found = Vec::new();
        for subscription in read.list_subscriptions(None).await.map_err(db)? {
            let filter = ListFilter {
                subscription: subscription.id,
                kind: Some(Kind::ScaleSet),
                ..ListFilter::default()
            };
            let mut after = None;
            loop {
                let page = read.list(&filter, after.as_deref(), PAGE_ITEMS_MAX).await;
                let page = page.map_err(db)?;
                found.extend(page.items.into_iter().filter(|set| {
                    rules::automatic_os_upgrade(set) && set.state == ProvisioningState::Succeeded
                }));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn follow(&self, set: &Resource) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let newest = self.newest_version(&mut read, set).await?;
        let Some(newest) = newest.map(|id| id.to_string()) else {
            return Ok(false);
        };
        let living = members::living(&mut read, &set.id).await?;
        drop(read);
        let version = |row: &Resource| row.internal.get("imageVersion").cloned();
        let is_behind = living
            .iter()
            .any(|m| rules::is_of_model(m) && version(m) != Some(newest.as_str().into()));
        // What was begun for this version and did not end well is not begun again and again.
        let was_begun = version(set) == Some(newest.as_str().into())
            && rules::Progress::of(set).is_some_and(|p| p.code == rules::RollingCode::Faulted);
        if !is_behind || was_begun {
            return Ok(false);
        }
        let ctx = self.own_ctx();
        let right = action(&set.id, "osRollingUpgrade/action");
        self.begin_os_upgrade(&ctx, &set.id, &right).await?;
        Ok(true)
    }

    fn own_ctx(&self) -> Ctx {
        Ctx {
            caller: Caller {
                object_id: String::new(),
                tenant: String::new(),
                app_id: String::new(),
                name: NAME.to_owned(),
                groups: Vec::new(),
            },
            auxiliary: Vec::new(),
            api_version: String::new(),
            base_url: String::new(),
            client: String::new(),
            correlation_id: Uuid::new_v4(),
        }
    }
}
