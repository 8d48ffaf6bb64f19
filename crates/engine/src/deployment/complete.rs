//! Mode `Complete`: what the template does not name goes, children before parents.

use std::collections::BTreeSet;

use catalog::ListFilter;
use domain::network::network_interface;
use domain::{Error, ErrorKind, Kind, Resource, ResourceId, Result, scale_set};
use serde_json::Value;

use super::crew::Crew;
use crate::error::catalog as db;
use crate::{DeleteOptions, Engine};

/// Rows read in one go.
const PAGE_ITEMS: usize = 200;

/// The ids that a template names, and machines that are in its scale sets by their own names.
struct Named(BTreeSet<String>);

impl Named {
    fn of(named: &[String], rows: &[Resource]) -> Self {
        let mut ids: BTreeSet<String> = named.iter().map(|id| id.to_ascii_lowercase()).collect();
        let members = rows.iter().filter(|row| {
            let set = scale_set::set_of(row);
            set.is_some_and(|set| ids.contains(&set.key()))
        });
        let members: Vec<String> = members.map(|row| row.id.key()).collect();
        ids.extend(members);
        Self(ids)
    }

    /// Whether an id is one of them, or lies below one of them.
    fn covers(&self, id: &str) -> bool {
        let id = id.to_ascii_lowercase();
        let mut above = id.match_indices('/').map(|(at, _)| &id[..at]);
        self.0.contains(&id) || above.any(|above| self.0.contains(above))
    }

    /// Whether a row is named, holds something named, or belongs to it: a disk to its machine, a machine to its
    /// set, an interface to such a machine.
    fn keeps(&self, row: &Resource) -> bool {
        let own = row.id.key();
        let below = format!("{own}/");
        let manager = row.top.get("managedBy").and_then(Value::as_str);
        let machine = match row.kind {
            Kind::NetworkInterface => network_interface::machine(row),
            _ => None,
        };
        self.0.contains(&own)
            || self.0.iter().any(|id| id.starts_with(&below))
            || manager.is_some_and(|manager| self.covers(manager))
            || machine.is_some_and(|machine| self.covers(machine))
    }
}

impl Engine {
    /// Returns the resources of a deployment's group that its template does not name, children before parents; a
    /// deployment of a subscription has no group.
    pub(super) async fn unnamed_rows(
        &self,
        deployment: &ResourceId,
        named: &[String],
    ) -> Result<Vec<Resource>> {
        if deployment.is_at_subscription() {
            return Ok(Vec::new());
        }
        let mut rows = self.rows_of_group(deployment).await?;
        let named = Named::of(named, &rows);
        rows.retain(|row| !named.keeps(row));
        Ok(rows)
    }

    async fn rows_of_group(&self, id: &ResourceId) -> Result<Vec<Resource>> {
        let mut out = Vec::new();
        let kinds = Kind::ALL
            .into_iter()
            .rev()
            .filter(|kind| *kind != Kind::ResourceGroup && !kind.is_of_scale_set());
        let mut read = self.catalog().read().await.map_err(db)?;
        for kind in kinds {
            let filter = ListFilter {
                subscription: id.subscription().to_owned(),
                group: Some(id.resource_group().to_owned()),
                kind: Some(kind),
                ..ListFilter::default()
            };
            let mut after: Option<String> = None;
            loop {
                let page = read
                    .list(&filter, after.as_deref(), PAGE_ITEMS)
                    .await
                    .map_err(db)?;
                out.extend(page.items);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(out)
    }
}

impl Crew<'_> {
    /// Deletes what is not named, as the caller; what could not be deleted is returned.
    pub(super) async fn delete_others(
        &self,
        deployment: &ResourceId,
        named: &[String],
    ) -> Result<Vec<Error>> {
        let mut faults = Vec::new();
        for row in self.engine.unnamed_rows(deployment, named).await? {
            self.begin_deletion(deployment, &row.id).await?;
            let gone = self.delete_one(&row.id).await;
            let gone = match gone {
                Err(error) if crate::operations::is_passing(&error) => return Err(error),
                other => other,
            };
            self.end_deletion(deployment, &row.id, gone.as_ref().err())
                .await?;
            faults.extend(gone.err());
        }
        Ok(faults)
    }

    async fn delete_one(&self, id: &ResourceId) -> Result<()> {
        let options = DeleteOptions::default();
        let accepted = match self.engine.delete(&self.ctx, id, options).await {
            Err(error) if error.kind == ErrorKind::NotFound => None,
            other => other?,
        };
        match accepted.and_then(|accepted| accepted.operation) {
            Some(operation) => self.finished(operation.id, id).await,
            None => Ok(()),
        }
    }
}
