//! Resources: the rows of everything that has an id.

use domain::resource::Document;
use domain::{Kind, ProvisioningState, Resource, ResourceId};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;

use crate::error::{CatalogError, Result, exists};
use crate::store::{Read, Tx};

const TABLE: &str = "resources";

/// What a list covers.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// The subscription.
    pub subscription: String,
    /// Only this resource group.
    pub group: Option<String>,
    /// Only direct children of this resource.
    pub parent: Option<ResourceId>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Soft-deleted rows instead of living ones.
    pub deleted: bool,
    /// Only this region.
    pub location: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last.
    pub next: Option<String>,
}

impl Read {
    /// Returns a living resource.
    pub async fn load(&mut self, id: &ResourceId) -> Result<Option<Resource>> {
        self.load_by_key(
            &id.key(),
            "SELECT * FROM resources WHERE key = $1 AND deleted_ms IS NULL",
        )
        .await
    }

    /// Returns a soft-deleted resource.
    pub async fn load_deleted(&mut self, id: &ResourceId) -> Result<Option<Resource>> {
        self.load_by_key(
            &id.key(),
            "SELECT * FROM resources WHERE key = $1 AND deleted_ms IS NOT NULL",
        )
        .await
    }

    async fn load_by_key(&mut self, key: &str, sql: &'static str) -> Result<Option<Resource>> {
        let row = sqlx::query(sql)
            .bind(key)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns a page: versions in numeric order, everything else by lower-case name, then by id.
    pub async fn list(
        &mut self,
        filter: &ListFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Resource>> {
        let (sql, binds) = list_sql(filter, after, limit);
        // The text is made of constants; every value is bound.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for bind in binds {
            query = query.bind(bind);
        }
        let rows = query.fetch_all(self.connection()).await?;
        let mut items = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items
                .last()
                .map(|last| format!("{}\n{}", sort_key(last), last.id.key()))
                .unwrap_or_default()
        });
        Ok(Page { items, next })
    }

    /// Returns a page of a definition's versions from the highest number down; `before` is where the last page ended.
    pub async fn versions_descending(
        &mut self,
        definition: &ResourceId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Resource>> {
        // '~' follows every digit and period that a sort key holds.
        let rows = sqlx::query(
            "SELECT * FROM resources WHERE parent = $1 AND kind = $2 AND sort_key < $3 AND deleted_ms IS NULL \
             ORDER BY sort_key DESC LIMIT $4",
        )
        .bind(definition.key())
        .bind(Kind::ImageVersion.type_name())
        .bind(before.unwrap_or("~"))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        let items = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        let is_full = items.len() == limit;
        let next = items.last().filter(|_| is_full).map(sort_key);
        Ok(Page { items, next })
    }

    /// Returns the ids of rows below a resource, at any depth.
    pub async fn children(
        &mut self,
        id: &ResourceId,
        limit: usize,
        with_deleted: bool,
    ) -> Result<Vec<ResourceId>> {
        let sql = if with_deleted {
            "SELECT id FROM resources WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3"
        } else {
            "SELECT id FROM resources WHERE key > $1 AND key < $2 AND deleted_ms IS NULL ORDER BY key LIMIT $3"
        };
        let key = id.key();
        let rows = sqlx::query(sql)
            .bind(format!("{key}/"))
            .bind(format!("{key}0")) // '0' follows '/' in every collation used for keys
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        rows.iter()
            .map(|row| {
                let text: String = row.try_get("id")?;
                ResourceId::parse(&text).map_err(|e| corrupt(&text, e.to_string()))
            })
            .collect()
    }

    /// Returns the galleries of everybody that have a sharing profile, by key.
    pub async fn list_galleries(&mut self) -> Result<Vec<Resource>> {
        const SQL: &str = "SELECT * FROM resources WHERE kind = 'Microsoft.Compute/galleries' AND deleted_ms IS NULL \
             AND properties LIKE '%\"sharingProfile\"%' ORDER BY key";
        let rows = sqlx::query(SQL).fetch_all(self.connection()).await?;
        rows.iter().map(from_row).collect()
    }

    /// Returns how many rows of a kind a subscription has, soft-deleted included.
    pub async fn count(
        &mut self,
        subscription: &str,
        location: Option<&str>,
        kind: Kind,
    ) -> Result<i64> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM resources WHERE subscription = $1 AND kind = $2 AND ($3 = '' OR location = $3)",
        )
        .bind(subscription.to_ascii_lowercase())
        .bind(kind.type_name())
        .bind(location.unwrap_or_default())
        .fetch_one(self.connection())
        .await?;
        Ok(row.try_get("n")?)
    }

    /// Returns how many rows there are of each kind.
    pub async fn counts(&mut self) -> Result<BTreeMap<Kind, i64>> {
        let rows = sqlx::query("SELECT kind, COUNT(*) AS n FROM resources GROUP BY kind")
            .fetch_all(self.connection())
            .await?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let name: String = row.try_get("kind")?;
            let kind =
                Kind::from_type(&name).ok_or_else(|| corrupt(&name, "unknown kind".to_owned()))?;
            counts.insert(kind, row.try_get("n")?);
        }
        Ok(counts)
    }
}

impl Tx {
    /// Stores a new resource.
    pub async fn insert(&mut self, resource: &Resource) -> Result<()> {
        const SQL: &str = "INSERT INTO resources (key, id, kind, subscription, resource_group, parent, location, sort_key, \
             tags, top, properties, internal, state, created_ms, changed_ms, deleted_ms, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
        let key = resource.id.key();
        sqlx::query(SQL)
            .bind(key.clone())
            .bind(resource.id.to_string())
            .bind(resource.kind.type_name())
            .bind(resource.id.subscription().to_ascii_lowercase())
            .bind(resource.id.resource_group().to_ascii_lowercase())
            .bind(parent_key(&resource.id))
            .bind(resource.location.clone())
            .bind(sort_key(resource))
            .bind(tags_text(resource))
            .bind(text(&resource.top))
            .bind(text(&resource.properties))
            .bind(text(&resource.internal))
            .bind(resource.state.as_str())
            .bind(resource.created_ms)
            .bind(resource.changed_ms)
            .bind(resource.deleted_ms)
            .bind(resource.revision)
            .execute(self.connection())
            .await
            .map_err(exists(TABLE, &key))?;
        Ok(())
    }

    /// Replaces a resource at the revision that was read; the revision goes up by one.
    pub async fn update(&mut self, resource: &mut Resource) -> Result<()> {
        const SQL: &str = "UPDATE resources SET tags = $1, top = $2, properties = $3, internal = $4, state = $5, \
             changed_ms = $6, deleted_ms = $7, revision = $8 WHERE key = $9 AND revision = $10";
        let key = resource.id.key();
        let done = sqlx::query(SQL)
            .bind(tags_text(resource))
            .bind(text(&resource.top))
            .bind(text(&resource.properties))
            .bind(text(&resource.internal))
            .bind(resource.state.as_str())
            .bind(resource.changed_ms)
            .bind(resource.deleted_ms)
            .bind(resource.revision + 1)
            .bind(key.clone())
            .bind(resource.revision)
            .execute(self.connection())
            .await?;
        if done.rows_affected() != 1 {
            return Err(CatalogError::Stale { key });
        }
        resource.revision += 1;
        Ok(())
    }

    /// Removes a row; whether it was there.
    pub async fn delete(&mut self, id: &ResourceId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM resources WHERE key = $1")
            .bind(id.key())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn list_sql(filter: &ListFilter, after: Option<&str>, limit: usize) -> (String, Vec<String>) {
    let mut binds = vec![filter.subscription.to_ascii_lowercase()];
    let mut sql = String::from("SELECT * FROM resources WHERE subscription = $1");
    let mut add = |condition: &str, value: String| {
        binds.push(value);
        sql.push_str(&condition.replace('?', &format!("${}", binds.len())));
    };
    if let Some(group) = &filter.group {
        add(" AND resource_group = ?", group.to_ascii_lowercase());
    }
    if let Some(parent) = &filter.parent {
        add(" AND parent = ?", parent.key());
    }
    if let Some(kind) = filter.kind {
        add(" AND kind = ?", kind.type_name().to_owned());
    }
    if let Some(location) = &filter.location {
        add(" AND location = ?", location.clone());
    }
    if let Some((sort, key)) = after.and_then(|token| token.split_once('\n')) {
        add(" AND (sort_key > ?", sort.to_owned());
        add(" OR (sort_key = ?", sort.to_owned());
        add(" AND key > ?))", key.to_owned());
    }
    sql.push_str(if filter.deleted {
        " AND deleted_ms IS NOT NULL"
    } else {
        " AND deleted_ms IS NULL"
    });
    sql.push_str(&format!(
        " ORDER BY sort_key, key LIMIT {}",
        limit.saturating_add(1)
    ));
    (sql, binds)
}

/// Versions sort by number, everything else by name.
fn sort_key(resource: &Resource) -> String {
    let name = resource.id.name().to_ascii_lowercase();
    if !resource.kind.is_version() {
        return name;
    }
    name.split('.')
        .map(|part| format!("{part:0>10}"))
        .collect::<Vec<_>>()
        .join(".")
}

fn parent_key(id: &ResourceId) -> String {
    id.parent().map(|parent| parent.key()).unwrap_or_default()
}

fn tags_text(resource: &Resource) -> Option<String> {
    resource.tags.as_ref().map(text)
}

fn text(document: &Document) -> String {
    Value::Object(document.clone()).to_string()
}

fn from_row(row: &AnyRow) -> Result<Resource> {
    let id_text: String = row.try_get("id")?;
    let id = ResourceId::parse(&id_text).map_err(|e| corrupt(&id_text, e.to_string()))?;
    let kind: String = row.try_get("kind")?;
    let state: String = row.try_get("state")?;
    let document = |column: &str| -> Result<Document> {
        let text: String = row.try_get(column)?;
        serde_json::from_str(&text).map_err(|e| corrupt(&id_text, format!("{column}: {e}")))
    };
    let tags: Option<String> = row.try_get("tags")?;
    let tags = tags
        .map(|text| {
            serde_json::from_str(&text).map_err(|e| corrupt(&id_text, format!("tags: {e}")))
        })
        .transpose()?;
    Ok(Resource {
        kind: Kind::from_type(&kind)
            .ok_or_else(|| corrupt(&id_text, format!("unknown kind {kind}")))?,
        location: row.try_get("location")?,
        tags,
        top: document("top")?,
        properties: document("properties")?,
        internal: document("internal")?,
        state: ProvisioningState::parse(&state)
            .ok_or_else(|| corrupt(&id_text, format!("unknown state {state}")))?,
        created_ms: row.try_get("created_ms")?,
        changed_ms: row.try_get("changed_ms")?,
        deleted_ms: row.try_get("deleted_ms")?,
        revision: row.try_get("revision")?,
        id,
    })
}

fn corrupt(key: &str, reason: String) -> CatalogError {
    CatalogError::Corrupt {
        table: TABLE,
        key: key.to_owned(),
        reason,
    }
}
