//! The directory: principals of the caller's own tenant, as clients look them up before they assign roles.
//!
//! Whoever is signed in may look: names of colleagues are no secret in a tenant, names of others are.

use catalog::{Principal, PrincipalKind};
use domain::Result;

use crate::error::catalog as db;
use crate::{Caller, Engine};

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Everything of these kinds.
    All,
    /// By object id.
    Id(String),
    /// By the name of a user, whatever its case.
    UserName(String),
    /// By display name, whatever its case.
    DisplayName(String),
    /// By the start of a display name, whatever its case.
    StartsWith(String),
    /// By application id or by object id of a program.
    ServiceName(String),
}

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
        Lookup::ServiceName(id) => principal.app_id.eq_ignore_ascii_case(id),
    }
}
