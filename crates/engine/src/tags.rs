//! The tags API: one change to the tags of any resource.

use std::collections::BTreeMap;

use catalog::ListFilter;
use domain::resource::Document;
use domain::{Error, Resource, ResourceId, Result};
use serde_json::Value;

use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::resources::{PAGE_ITEMS_MAX, not_found};
use crate::{Ctx, Engine};

/// The most tags that a resource holds.
const TAGS_MAX: usize = 50;

/// A change to the tags of a resource.
pub enum TagChange {
    /// These tags are added or overwritten.
    Merge(Document),
    /// These tags are all there are.
    Replace(Document),
    /// These tags go where name and value agree.
    Delete(Document),
}

/// The tag names in use, each with its values and their counts.
pub type TagNames = BTreeMap<String, BTreeMap<String, u64>>;

impl Engine {
    /// Changes the tags of a resource.
    pub async fn change_tags(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        change: TagChange,
    ) -> Result<Resource> {
        let scope = id.to_string();
        self.authorize(ctx, "Microsoft.Resources/tags/write", &scope)
            .await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &scope).await?;
        let mut row = tx
            .load(id)
            .await
            .map_err(db)?
            .ok_or_else(|| not_found(id))?;
        let before = audit::of_row(&row);
        let tags = apply(row.tags.take().unwrap_or_default(), change);
        if tags.len() > TAGS_MAX {
            return Err(Error::bad_request(format!(
                "A resource can have at most {TAGS_MAX} tags."
            )));
        }
        row.tags = Some(tags);
        let deed = Deed {
            action: "Microsoft.Resources/tags/write",
            scope: &scope,
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        row.changed_ms = self.now_ms();
        tx.update(&mut row).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(row)
    }

    /// Returns the tag names in use in a subscription.
    pub async fn tag_names(&self, ctx: &Ctx, subscription: &str) -> Result<TagNames> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(
            ctx,
            "Microsoft.Resources/subscriptions/tagNames/read",
            &scope,
        )
        .await?;
        let filter = ListFilter {
            subscription: subscription.to_owned(),
            ..ListFilter::default()
        };
        let mut names = TagNames::new();
        let mut after = None;
        let mut read = self.catalog().read().await.map_err(db)?;
        loop {
            let page = read
                .list(&filter, after.as_deref(), PAGE_ITEMS_MAX)
                .await
                .map_err(db)?;
            for (name, value) in page
                .items
                .iter()
                .filter_map(|row| row.tags.as_ref())
                .flatten()
            {
                let value = value.as_str().unwrap_or_default().to_owned();
                *names
                    .entry(name.clone())
                    .or_default()
                    .entry(value)
                    .or_default() += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(names);
            }
        }
    }
}

fn apply(mut tags: Document, change: TagChange) -> Document {
    match change {
        TagChange::Replace(all) => all,
        TagChange::Merge(more) => {
            for (name, value) in more {
                remove(&mut tags, &name, None);
                tags.insert(name, value);
            }
            tags
        }
        TagChange::Delete(gone) => {
            for (name, value) in &gone {
                remove(&mut tags, name, Some(value));
            }
            tags
        }
    }
}

/// Removes a tag by name, whatever its case, if its value is `value` or none is given.
fn remove(tags: &mut Document, name: &str, value: Option<&Value>) {
    let found = tags
        .iter()
        .find(|(n, v)| n.eq_ignore_ascii_case(name) && value.is_none_or(|wanted| wanted == *v))
        .map(|(n, _)| n.clone());
    if let Some(found) = found {
        tags.shift_remove(&found);
    }
}
