//! Groups: several principals that share roles. A group may be a member of another.

use catalog::{Principal, PrincipalKind};
use domain::{Error, Result};

use super::operator::Change;
use crate::Engine;
use crate::error::catalog as db;

/// The most direct members of a group.
const MEMBERS_MAX: usize = 10_000;

impl Engine {
    /// Makes a principal a member of a group of the same tenant; again changes nothing.
    pub async fn add_member(&self, group: &str, member: &str) -> Result<(Principal, Principal)> {
        let (group, member) = self.group_and_member(group, member).await?;
        if group.tenant != member.tenant || group.object_id == member.object_id {
            return Err(Error::bad_request(format!(
                "'{}' cannot be a member of '{}': members are other principals of the same tenant.",
                member.name, group.name
            )));
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        if tx.members_of(&group.object_id).await.map_err(db)?.len() >= MEMBERS_MAX {
            return Err(Error::conflict(
                "Conflict",
                format!("A group has at most {MEMBERS_MAX} members."),
            ));
        }
        tx.add_member(&group.object_id, &member.object_id)
            .await
            .map_err(db)?;
        let change = Change::member(&group, &member, true);
        self.audit_operator(&mut tx, "Vitrine.Gallery/principals/members/write", change)
            .await?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        Ok((group, member))
    }

    /// Ends a membership.
    pub async fn remove_member(&self, group: &str, member: &str) -> Result<(Principal, Principal)> {
        let (group, member) = self.group_and_member(group, member).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let was_there = tx
            .remove_member(&group.object_id, &member.object_id)
            .await
            .map_err(db)?;
        let change = Change::member(&group, &member, false);
        if was_there {
            self.audit_operator(&mut tx, "Vitrine.Gallery/principals/members/delete", change)
                .await?;
        }
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        if was_there {
            return Ok((group, member));
        }
        Err(Error::not_found(
            "MemberNotFound",
            format!("'{}' is not a member of '{}'.", member.name, group.name),
        ))
    }

    /// Returns the direct members of a group.
    pub async fn members(&self, group: &str) -> Result<Vec<Principal>> {
        let group = self.find_group(group).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut members = Vec::new();
        for id in read.members_of(&group.object_id).await.map_err(db)? {
            members.extend(read.load_principal(&id).await.map_err(db)?);
        }
        Ok(members)
    }

    async fn group_and_member(&self, group: &str, member: &str) -> Result<(Principal, Principal)> {
        Ok((
            self.find_group(group).await?,
            self.find_principal(member).await?,
        ))
    }

    async fn find_group(&self, named: &str) -> Result<Principal> {
        let found = self.find_principal(named).await?;
        if found.kind == PrincipalKind::Group {
            return Ok(found);
        }
        Err(Error::bad_request(format!("'{named}' is not a group.")))
    }
}
