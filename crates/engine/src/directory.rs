//! The directory: principals of the caller's own tenant, as clients look them up before they assign roles.
//!
//! Whoever is signed in may look: names of colleagues are no secret in a tenant, names of others are.

use catalog::{Principal, PrincipalKind};
use domain::Result;
use domain::directory::Lookup;

use crate::error::catalog as db;
use crate::{Caller, Engine};

impl Engine {
    /// Returns principals of the caller's tenant.
    pub async fn look_up(
        &self,
        caller: &Caller,
        kinds: &[PrincipalKind],
        lookup: &Lookup,
    ) -> Result<Vec<Principal>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut all = read
            .list_principals(Some(&caller.tenant))
            .await
            .map_err(db)?;
        all.retain(|p| kinds.contains(&p.kind) && matches(p, lookup));
        for principal in &mut all {
            principal.secret_hash = None;
        }
        Ok(all)
    }

    /// Returns the direct members of a group of the caller's tenant; `None` when there is no such group.
    pub async fn look_up_members(
        &self,
        caller: &Caller,
        group: &str,
    ) -> Result<Option<Vec<Principal>>> {
        let group = self.look_up_ids(caller, &[group.to_owned()]).await?;
        let Some(group) = group.first().filter(|p| p.kind == PrincipalKind::Group) else {
            return Ok(None);
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        let members = read.members_of(&group.object_id).await.map_err(db)?;
        drop(read);
        self.look_up_ids(caller, &members).await.map(Some)
    }

    /// Returns the principals of the caller's tenant with these ids, in their order.
    pub async fn look_up_ids(&self, caller: &Caller, ids: &[String]) -> Result<Vec<Principal>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut found = Vec::new();
        for id in ids {
            let principal = read
                .load_principal(&id.to_ascii_lowercase())
                .await
                .map_err(db)?;
            found.extend(
                principal
                    .filter(|p| p.tenant == caller.tenant)
                    .map(|p| Principal {
                        secret_hash: None,
                        ..p
                    }),
            );
        }
        Ok(found)
    }
}

fn matches(principal: &Principal, lookup: &Lookup) -> bool {
    match lookup {
        Lookup::All => true,
        Lookup::Id(id) => principal.object_id.eq_ignore_ascii_case(id),
        Lookup::UserName(name) => {
            principal.kind == PrincipalKind::User && principal.name == name.to_lowercase()
        }
        Lookup::DisplayName(name) => principal.name.to_lowercase() == name.to_lowercase(),
        Lookup::StartsWith(name) => principal
            .name
            .to_lowercase()
            .starts_with(&name.to_lowercase()),
        Lookup::ServiceName(id) => {
            !principal.app_id.is_empty() && principal.app_id.eq_ignore_ascii_case(id)
        }
    }
}
