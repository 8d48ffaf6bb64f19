//! Mode `Complete`: what the template does not name goes, children before parents.

use catalog::ListFilter;
use domain::{Error, ErrorKind, Kind, Resource, ResourceId, Result};

use super::crew::Crew;
use crate::error::catalog as db;
use crate::{DeleteOptions, Engine};

/// Rows read in one go.
const PAGE_ITEMS: usize = 200;

/// Whether a row is one of the named ids, holds one of them, or belongs to one as a disk to its machine.
pub(super) fn is_named<'a>(row: &Resource, mut named: impl Iterator<Item = &'a str>) -> bool {
    let own = row.id.key();
    let below = format!("{own}/");
    let manager = row.top.get("managedBy").and_then(serde_json::Value::as_str);
    let manager = manager.map(str::to_ascii_lowercase);
    named.any(|id| {
        let id = id.to_ascii_lowercase();
        id == own || id.starts_with(&below) || Some(&id) == manager.as_ref()
    })
}

impl Engine {
    /// Returns the resources of a deployment's group, children before parents.
    pub(super) async fn rows_of_group(&self, id: &ResourceId) -> Result<Vec<Resource>> {
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
        for row in self.engine.rows_of_group(deployment).await? {
            if is_named(&row, named.iter().map(String::as_str)) {
                continue;
            }
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
