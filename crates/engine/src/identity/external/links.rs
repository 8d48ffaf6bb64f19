//! Whom the subjects and groups of other token services stand for.
//!
//! The operator links a name there with a principal here. A name that is linked with a group is the name of a
//! group: it counts in the claim of groups and nowhere else, so nobody signs in as a group. Who is not linked
//! himself comes in by his groups, under an id that follows from issuer and subject, and has their roles alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{ExternalSubject, Principal, PrincipalKind};
use domain::{Error, Result};
use sha2::{Digest as _, Sha256};

use super::{SUBJECT_BYTES_MAX, Verified};
use crate::error::catalog as db;
use crate::identity::operator::Change;
use crate::identity::tokens::unauthenticated;
use crate::identity::{PRINCIPAL_FRESH_MS, is_fresh, lock, remember};
use crate::{Caller, Engine, ExternalGroup};

const LINK: &str = "Vitrine.Gallery/principals/subjects/write";
const UNLINK: &str = "Vitrine.Gallery/principals/subjects/delete";

impl Engine {
    /// Lets a subject of another token service stand for a principal, or a group there for a group here.
    pub async fn link_subject(
        &self,
        principal: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<ExternalSubject> {
        let found = self.find_principal(principal).await?;
        let is_sized = |text: &str| (1..=SUBJECT_BYTES_MAX).contains(&text.len());
        if !is_sized(issuer) || !is_sized(subject) {
            return Err(Error::bad_request(format!(
                "Issuer and subject have 1 to {SUBJECT_BYTES_MAX} bytes."
            )));
        }
        let link = ExternalSubject {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            principal: found.object_id,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.put_external_subject(&link).await.map_err(db)? {
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "The subject '{subject}' of '{issuer}' stands for another principal. Unlink it there first."
                ),
            ));
        }
        let change = Change::subject(&link, &found.tenant, true);
        self.audit_operator(&mut tx, LINK, change).await?;
        tx.commit().await.map_err(db)?;
        self.forget_links();
        Ok(link)
    }

    /// Ends what a subject of another token service stands for.
    pub async fn unlink_subject(&self, issuer: &str, subject: &str) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let link = tx.external_subject(issuer, subject).await.map_err(db)?;
        let was_there = link.is_some();
        if let Some(link) = link {
            tx.delete_external_subject(issuer, subject)
                .await
                .map_err(db)?;
            let of = tx.load_principal(&link.principal).await.map_err(db)?;
            let tenant = of.map(|principal| principal.tenant).unwrap_or_default();
            let change = Change::subject(&link, &tenant, false);
            self.audit_operator(&mut tx, UNLINK, change).await?;
        }
        tx.commit().await.map_err(db)?;
        self.forget_links();
        if was_there {
            return Ok(());
        }
        Err(Error::not_found(
            "SubjectNotFound",
            format!("The subject '{subject}' of '{issuer}' stands for nobody here."),
        ))
    }

    /// Returns the subjects that stand for a principal.
    pub async fn subjects_of(&self, principal: &str) -> Result<Vec<ExternalSubject>> {
        let found = self.find_principal(principal).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        read.external_subjects_of(&found.object_id)
            .await
            .map_err(db)
    }

    fn forget_links(&self) {
        lock(&self.identity().external.subjects).clear();
        lock(&self.identity().external.groups).clear();
    }

    /// Returns whom the claims of a token speak for.
    pub(super) async fn caller_of(&self, verified: &Verified) -> Result<Caller> {
        let groups = self.linked_groups(verified).await?;
        let linked = match self.subject_of(&verified.issuer, &verified.subject).await? {
            Some(principal) => self.standing(&principal).await?,
            None => None,
        };
        let linked = linked.filter(|linked| linked.principal.kind != PrincipalKind::Group);
        match linked {
            Some(linked) if linked.principal.enabled => Ok(Caller {
                groups,
                ..caller(&linked.principal)
            }),
            Some(_) => Err(nobody(verified)),
            None => self.guest(verified, groups).await,
        }
    }

    /// Returns somebody who is known here by groups alone; those of the tenant of the first count.
    async fn guest(&self, verified: &Verified, groups: Vec<ExternalGroup>) -> Result<Caller> {
        for group in &groups {
            let Some(id) = self.linked_group(group).await? else {
                continue;
            };
            let standing = self.standing(&id).await?;
            if let Some(standing) = standing.filter(|standing| standing.principal.enabled) {
                return Ok(Caller {
                    object_id: guest_id(&verified.issuer, &verified.subject),
                    tenant: standing.principal.tenant.clone(),
                    app_id: String::new(),
                    name: verified.subject.clone(),
                    groups,
                });
            }
        }
        Err(nobody(verified))
    }

    /// Returns the groups of a token that stand for groups here.
    async fn linked_groups(&self, verified: &Verified) -> Result<Vec<ExternalGroup>> {
        if verified.groups.is_empty() {
            return Ok(Vec::new());
        }
        let links = self.group_links(&verified.issuer).await?;
        let linked = verified
            .groups
            .iter()
            .filter(|name| links.contains_key(*name));
        Ok(linked
            .map(|name| ExternalGroup {
                issuer: verified.issuer.clone(),
                name: name.clone(),
            })
            .collect())
    }

    /// Returns the group here that a group of another token service stands for; not older than a second.
    pub(in crate::identity) async fn linked_group(
        &self,
        group: &ExternalGroup,
    ) -> Result<Option<String>> {
        let links = self.group_links(&group.issuer).await?;
        Ok(links.get(&group.name).cloned())
    }

    async fn group_links(&self, issuer: &str) -> Result<Arc<BTreeMap<String, String>>> {
        let groups = &self.identity().external.groups;
        let now_ms = self.now_ms();
        let known = lock(groups).get(issuer).cloned();
        if let Some((read_ms, links)) = known
            && is_fresh(read_ms, now_ms, PRINCIPAL_FRESH_MS)
        {
            return Ok(links);
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.external_groups(issuer).await.map_err(db)?;
        let links = found.into_iter().map(|link| (link.subject, link.principal));
        let links = Arc::new(links.collect::<BTreeMap<_, _>>());
        remember(groups, issuer.to_owned(), (now_ms, links.clone()));
        Ok(links)
    }

    /// Returns the principal that a subject stands for; not older than a second.
    async fn subject_of(&self, issuer: &str, subject: &str) -> Result<Option<String>> {
        let subjects = &self.identity().external.subjects;
        let key = (issuer.to_owned(), subject.to_owned());
        let now_ms = self.now_ms();
        let known = lock(subjects).get(&key).cloned();
        if let Some((read_ms, principal)) = known
            && is_fresh(read_ms, now_ms, PRINCIPAL_FRESH_MS)
        {
            return Ok(principal);
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.external_subject(issuer, subject).await.map_err(db)?;
        let principal = found.map(|found| found.principal);
        remember(subjects, key, (now_ms, principal.clone()));
        Ok(principal)
    }
}

/// Returns a principal as the caller of a request; it came with no client of ours.
fn caller(principal: &Principal) -> Caller {
    let is_named = principal.app_id.is_empty();
    Caller {
        object_id: principal.object_id.clone(),
        tenant: principal.tenant.clone(),
        app_id: principal.app_id.clone(),
        name: match is_named {
            true => principal.name.clone(),
            false => principal.app_id.clone(),
        },
        groups: Vec::new(),
    }
}

/// Returns the object id of somebody who has no principal here: the same every time, and nobody else's.
fn guest_id(issuer: &str, subject: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(format!("{issuer}\n{subject}")).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

fn nobody(verified: &Verified) -> Error {
    let groups = match verified.lacks_groups {
        true => " The provider left its groups out of the token, so they did not count.",
        false => "",
    };
    unauthenticated(
        "AuthenticationFailed",
        format!(
            "Authentication failed. The subject of the token stands for no account here, or for one that is disabled. \
             The operator links it, or one of its groups, with 'vitrine principal link'.{groups}"
        ),
    )
}
