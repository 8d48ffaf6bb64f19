//! Template deployments: what was asked, how far it is, and its steps.
//!
//! A deployment is no resource: nothing refers to it, it lies in no region and has no children. Its
//! work is an operation like any other; who writes here while it runs holds that operation's lease.

use domain::ResourceId;
use domain::resource::Document;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{CatalogError, Result};
use crate::store::{Read, Tx};

/// A deployment as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its id, in the case of creation.
    pub id: ResourceId,
    /// `Accepted`, `Running`, `Succeeded`, `Failed` or `Canceled`.
    pub state: String,
    /// Its tags.
    pub tags: Option<Document>,
    /// Its properties as responses show them, without the state; at a subscription with its `location`.
    pub shown: Document,
    /// The template and what else a worker needs; lists leave it null.
    pub content: Value,
    /// Sealed values of secure parameters; none when there are none or it is over.
    pub secrets: Option<String>,
    /// Milliseconds since the epoch, UTC, of the last write.
    pub changed_ms: i64,
}

impl Read {
    /// Returns a deployment.
    pub async fn load_deployment(&mut self, id: &ResourceId) -> Result<Option<Deployment>> {
        let row = sqlx::query("SELECT * FROM deployments WHERE deployment_key = $1")
            .bind(id.key())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns the deployments of a group, or of a subscription's own, without their templates, newest first, at most
    /// `limit`.
    pub async fn list_deployments(
        &mut self,
        group: &ResourceId,
        limit: usize,
    ) -> Result<Vec<Deployment>> {
        const SQL: &str = "SELECT id, state, tags, shown, 'null' AS content, secrets, changed_ms FROM deployments \
             WHERE group_key = $1 ORDER BY changed_ms DESC, deployment_key LIMIT $2";
        let rows = sqlx::query(SQL)
            .bind(group.key())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Returns the steps of a deployment in the order in which they were begun.
    pub async fn deployment_steps(&mut self, id: &ResourceId) -> Result<Vec<Value>> {
        let rows = sqlx::query(
            "SELECT shown FROM deployment_steps WHERE deployment_key = $1 ORDER BY sequence, step",
        )
        .bind(id.key())
        .fetch_all(self.connection())
        .await?;
        let read = |row: &AnyRow| json(&id.key(), &row.try_get::<String, _>("shown")?);
        rows.iter().map(read).collect()
    }
}

impl Tx {
    /// Stores a deployment in place of what is there.
    pub async fn put_deployment(&mut self, deployment: &Deployment) -> Result<()> {
        const SQL: &str = "INSERT INTO deployments (deployment_key, group_key, id, state, tags, shown, content, secrets, \
             changed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (deployment_key) DO UPDATE SET \
             id = excluded.id, state = excluded.state, tags = excluded.tags, shown = excluded.shown, \
             content = excluded.content, secrets = excluded.secrets, changed_ms = excluded.changed_ms";
        let shown = Value::Object(deployment.shown.clone());
        sqlx::query(SQL)
            .bind(deployment.id.key())
            .bind(deployment.id.group_id().key())
            .bind(deployment.id.to_string())
            .bind(deployment.state.clone())
            .bind(
                deployment
                    .tags
                    .clone()
                    .map(|tags| Value::Object(tags).to_string()),
            )
            .bind(shown.to_string())
            .bind(deployment.content.to_string())
            .bind(deployment.secrets.clone())
            .bind(deployment.changed_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Stores how far a step is; its place in the order is that of its first write.
    pub async fn put_deployment_step(
        &mut self,
        id: &ResourceId,
        step: &str,
        shown: &Value,
    ) -> Result<()> {
        const SQL: &str = "INSERT INTO deployment_steps (deployment_key, step, sequence, shown) VALUES ($1, $2, \
             (SELECT COALESCE(MAX(sequence), 0) + 1 FROM deployment_steps WHERE deployment_key = $1), $3) \
             ON CONFLICT (deployment_key, step) DO UPDATE SET shown = excluded.shown";
        sqlx::query(SQL)
            .bind(id.key())
            .bind(step)
            .bind(shown.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets the steps of a deployment.
    pub async fn delete_deployment_steps(&mut self, id: &ResourceId) -> Result<()> {
        sqlx::query("DELETE FROM deployment_steps WHERE deployment_key = $1")
            .bind(id.key())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets a deployment and its steps.
    pub async fn delete_deployment(&mut self, id: &ResourceId) -> Result<()> {
        self.delete_deployment_steps(id).await?;
        sqlx::query("DELETE FROM deployments WHERE deployment_key = $1")
            .bind(id.key())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn from_row(row: &AnyRow) -> Result<Deployment> {
    let id: String = row.try_get("id")?;
    let corrupt = |reason: String| CatalogError::Corrupt {
        table: "deployments",
        key: id.clone(),
        reason,
    };
    let document = |value: Value| match value {
        Value::Object(members) => Ok(members),
        other => Err(corrupt(format!("not an object: {other}"))),
    };
    let tags: Option<String> = row.try_get("tags")?;
    let shown: String = row.try_get("shown")?;
    let content: String = row.try_get("content")?;
    Ok(Deployment {
        id: ResourceId::parse(&id).map_err(|error| corrupt(error.to_string()))?,
        state: row.try_get("state")?,
        tags: tags.map(|text| document(json(&id, &text)?)).transpose()?,
        shown: document(json(&id, &shown)?)?,
        content: json(&id, &content)?,
        secrets: row.try_get("secrets")?,
        changed_ms: row.try_get("changed_ms")?,
    })
}

fn json(key: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| CatalogError::Corrupt {
        table: "deployments",
        key: key.to_owned(),
        reason: error.to_string(),
    })
}
