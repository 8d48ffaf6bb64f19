//! From a bearer token to a caller, thousands of times a second.
//!
//! The signature of a token is checked once and remembered by the token's SHA-256; its times, its
//! class and the standing of its principal are checked with every request.
//!
//! A standing is as large as the roles of its principal are many, so it is read once and kept while
//! nobody's rights changed: the catalog counts every change in the transaction that makes it
//! (`access_generation`), and each node asks for that number, which is one small read whatever anybody
//! holds, when the answer it has is older than [`PRINCIPAL_FRESH_MS`]. What this node changed itself
//! counts at once.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use catalog::{Principal, Read, Subscription};
use domain::Result;
use sha2::{Digest as _, Sha256};

use super::audience::AudienceClass;
use super::held_roles::HeldRoles;
use super::tokens::{Claims, TOKEN_BYTES_MAX, invalid_token, unauthenticated};
use super::{PRINCIPAL_FRESH_MS, is_fresh, lock, remember};
use crate::error::catalog as db;
use crate::{Caller, Engine};

/// A principal with its roles, as read at one moment.
pub(crate) struct Standing {
    read_ms: i64,
    /// The number that the catalog's rights had before this was read.
    rights: i64,
    /// The principal, without its secret.
    pub principal: Principal,
    /// Its roles, those of its groups among them.
    pub roles: HeldRoles,
}

/// How long a standing is kept at most while nobody's rights change: a release before the number was counted
/// may share the catalog while nodes are renewed one after the other.
const STANDING_KEPT_MS: i64 = 60_000;
/// Groups that one principal is in, through other groups too.
const GROUPS_MAX: usize = 1000;

impl Engine {
    /// Returns who a bearer token of this gallery's own audience speaks for.
    pub async fn authenticate(&self, token: &str) -> Result<Caller> {
        self.authenticate_for(token, AudienceClass::Arm).await
    }

    /// Returns who a bearer token for storage speaks for.
    pub async fn authenticate_storage(&self, token: &str) -> Result<Caller> {
        self.authenticate_for(token, AudienceClass::Storage).await
    }

    /// Returns who a bearer token of a class speaks for.
    pub async fn authenticate_for(&self, token: &str, class: AudienceClass) -> Result<Caller> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid_token());
        }
        // Other services make tokens for the resource manager alone.
        if class == AudienceClass::Arm && self.is_external(token) {
            return self.external_caller(token).await;
        }
        let claims = self.claims_of(token).await?;
        self.check_claims(&claims, class).await?;
        let standing = self
            .standing(&claims.oid)
            .await?
            .filter(|standing| standing.principal.enabled)
            .ok_or_else(|| unauthenticated("AuthenticationFailed", "Authentication failed. The account of the token is disabled or does not exist."))?;
        if standing.principal.tenant != claims.tid {
            return Err(unauthenticated(
                "InvalidAuthenticationTokenTenant",
                "The access token is not of the tenant of its account.",
            ));
        }
        Ok(Caller {
            object_id: claims.oid.clone(),
            tenant: claims.tid.clone(),
            app_id: claims.appid.clone(),
            name: claims.upn.clone().unwrap_or_else(|| claims.appid.clone()),
            groups: Vec::new(),
        })
    }

    async fn claims_of(&self, token: &str) -> Result<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // Asked first, so that a key that is gone takes its tokens with it.
        self.keyring().await?;
        let known = lock(&self.identity().tokens).get(&digest).cloned();
        if let Some(claims) = known {
            return Ok(claims);
        }
        let claims = Arc::new(self.verify_signature(token).await?);
        remember(&self.identity().tokens, digest, claims.clone());
        Ok(claims)
    }

    /// Returns the number that everybody's rights had at most [`PRINCIPAL_FRESH_MS`] ago.
    async fn rights(&self) -> Result<i64> {
        let (identity, now_ms) = (self.identity(), self.now_ms());
        let known = *lock(&identity.rights);
        if let Some((read_ms, rights)) = known
            && is_fresh(read_ms, now_ms, PRINCIPAL_FRESH_MS)
        {
            return Ok(rights);
        }
        let generation = identity.generation.load(Ordering::SeqCst);
        let mut read = self.catalog().read().await.map_err(db)?;
        let rights = read.access_generation().await.map_err(db)?;
        if generation == identity.generation.load(Ordering::SeqCst) {
            *lock(&identity.rights) = Some((now_ms, rights));
        }
        Ok(rights)
    }

    /// Returns a principal with its roles, as they were at most [`PRINCIPAL_FRESH_MS`] ago.
    pub(crate) async fn standing(&self, object_id: &str) -> Result<Option<Arc<Standing>>> {
        let identity = self.identity();
        let now_ms = self.now_ms();
        // Asked before anything is read: what changes meanwhile makes the number another one.
        let rights = self.rights().await?;
        let known = lock(&identity.standings).get(object_id).cloned();
        if let Some(known) = known.filter(|known| {
            known.rights == rights && is_fresh(known.read_ms, now_ms, STANDING_KEPT_MS)
        }) {
            return Ok(Some(known));
        }
        let generation = identity.generation.load(Ordering::SeqCst);
        let mut read = self.catalog().read().await.map_err(db)?;
        let Some(principal) = read.load_principal(object_id).await.map_err(db)? else {
            lock(&identity.standings).remove(object_id);
            return Ok(None);
        };
        let ids = with_groups(&mut read, object_id).await?;
        let roles = roles_of(&mut read, &principal.tenant, &ids).await?;
        drop(read);
        let standing = Arc::new(Standing {
            read_ms: now_ms,
            rights,
            principal: Principal {
                secret_hash: None,
                ..principal
            },
            roles,
        });
        // What was read before somebody forgot must not outlive it.
        if generation == identity.generation.load(Ordering::SeqCst) {
            remember(&identity.standings, object_id.to_owned(), standing.clone());
        }
        Ok(Some(standing))
    }

    /// Returns the standings whose roles a caller has: its own, and those of the groups that another token
    /// service says it is in. Work that goes on for somebody ends with his access: none of one who is disabled.
    pub(crate) async fn standings_of(&self, caller: &Caller) -> Result<Vec<Arc<Standing>>> {
        let own = self.standing(&caller.object_id).await?;
        if own.as_ref().is_some_and(|own| !own.principal.enabled) {
            return Ok(Vec::new());
        }
        let mut all: Vec<_> = own.into_iter().collect();
        for group in &caller.groups {
            let Some(id) = self.linked_group(group).await? else {
                continue;
            };
            let standing = self.standing(&id).await?;
            all.extend(standing.filter(|group| {
                group.principal.enabled && group.principal.tenant == caller.tenant
            }));
        }
        Ok(all)
    }

    /// Forgets what this node knows about a principal, after its row or its roles changed.
    pub(crate) fn forget_principal(&self, object_id: &str) {
        self.forget_rights();
        lock(&self.identity().standings).remove(object_id);
    }

    /// Forgets all standings, after a role or a group changed that many may have.
    pub(crate) fn forget_principals(&self) {
        self.forget_rights();
        lock(&self.identity().standings).clear();
    }

    fn forget_rights(&self) {
        self.identity().generation.fetch_add(1, Ordering::SeqCst);
        *lock(&self.identity().rights) = None;
    }

    /// Returns a subscription; not older than [`PRINCIPAL_FRESH_MS`].
    pub(crate) async fn known_subscription(&self, id: &str) -> Result<Option<Subscription>> {
        let identity = self.identity();
        let now_ms = self.now_ms();
        let key = id.to_ascii_lowercase();
        let known = lock(&identity.subscriptions).get(&key).cloned();
        if let Some((_, known)) =
            known.filter(|(read_ms, _)| is_fresh(*read_ms, now_ms, PRINCIPAL_FRESH_MS))
        {
            return Ok(Some(known));
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.load_subscription(&key).await.map_err(db)?;
        drop(read);
        match &found {
            Some(found) => remember(&identity.subscriptions, key, (now_ms, found.clone())),
            None => drop(lock(&identity.subscriptions).remove(&key)),
        }
        Ok(found)
    }

    /// Forgets what this node knows about a subscription.
    pub(super) fn forget_subscription(&self, id: &str) {
        lock(&self.identity().subscriptions).remove(&id.to_ascii_lowercase());
    }
}

/// Returns a principal's own id and those of the groups it is in, through other groups too.
pub(crate) async fn with_groups(read: &mut Read, object_id: &str) -> Result<Vec<String>> {
    let mut ids = vec![object_id.to_owned()];
    let mut next = 0;
    while let Some(member) = ids.get(next).cloned() {
        for group in read.groups_of(&member).await.map_err(db)? {
            if !ids.contains(&group) && ids.len() <= GROUPS_MAX {
                ids.push(group);
            }
        }
        next += 1;
    }
    Ok(ids)
}

async fn roles_of(read: &mut Read, tenant: &str, ids: &[String]) -> Result<HeldRoles> {
    let mut roles = HeldRoles::default();
    for id in ids {
        for assignment in read.assignments_of(id).await.map_err(db)? {
            let role = match domain::role::find_by_id(&assignment.role_definition) {
                Some(known) => Some(Cow::Borrowed(known)),
                None => read
                    .load_role_definition(tenant, &assignment.role_definition)
                    .await
                    .map_err(db)?
                    .map(|custom| Cow::Owned(custom.role)),
            };
            if let Some(role) = role {
                roles.add(&assignment.scope, role);
            }
        }
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, DriverChoice, MachineSettings, RegionSettings, Settings};

    async fn node(dir: &std::path::Path, clock: &Clock) -> Engine {
        let settings = Settings {
            data: dir.to_owned(),
            database: format!("sqlite:{}?mode=rwc", dir.join("catalog.db").display()),
            regions: vec![RegionSettings {
                region: domain::region::known("eastus"),
                store: crate::Location::Directory(dir.join("eastus")),
            }],
            machines: MachineSettings {
                driver: DriverChoice::Simulated,
                ..MachineSettings::default()
            },
        };
        Engine::open(settings, clock.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn roles_are_read_again_when_somebodys_rights_changed_and_once_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_800_000_000_000);
        let (here, there) = (
            node(dir.path(), &clock).await,
            node(dir.path(), &clock).await,
        );
        let first = here.bootstrap(&Default::default()).await.unwrap().unwrap();
        let id = here
            .find_principal(&first.client_id)
            .await
            .unwrap()
            .object_id;
        let standing = async || here.standing(&id).await.unwrap().unwrap();
        let mut last = standing().await;
        let mut is_kept = async |after_ms: i64| {
            clock.advance_ms(after_ms);
            let now = standing().await;
            let is_same = Arc::ptr_eq(&last, &now);
            last = now;
            is_same
        };
        // Second after second, nothing changes: nothing is read again.
        for _ in 0..20 {
            assert!(is_kept(PRINCIPAL_FRESH_MS).await);
        }
        let group = super::super::NewPrincipal {
            kind: super::super::PrincipalKind::Group,
            name: "builders".to_owned(),
            tenant: None,
            secret: None,
        };
        // Whatever changes on another node is seen within a second, and then kept again.
        there.create_principal(group).await.unwrap();
        assert!(!is_kept(PRINCIPAL_FRESH_MS).await);
        assert!(is_kept(PRINCIPAL_FRESH_MS).await);
        there
            .add_member("builders", &first.client_id)
            .await
            .unwrap();
        assert!(!is_kept(PRINCIPAL_FRESH_MS).await);
        there.grant_role("builders", "Reader", "/").await.unwrap();
        assert!(!is_kept(PRINCIPAL_FRESH_MS).await);
        there.revoke_role("builders", "Reader", "/").await.unwrap();
        assert!(!is_kept(PRINCIPAL_FRESH_MS).await);
        // On this node it counts at once.
        here.grant_role("builders", "Reader", "/").await.unwrap();
        assert!(!is_kept(0).await);
        assert!(is_kept(0).await);
        // A number that nothing moved is not believed for ever.
        assert!(is_kept(PRINCIPAL_FRESH_MS).await);
        assert!(!is_kept(STANDING_KEPT_MS).await);
    }
}
