//! Locks: written here, asked by every write and delete in the same transaction.

use catalog::Read;
use domain::lock::{Deed, Lock, plan_put};
use domain::{Error, Result};
use serde_json::Value;

use crate::error::catalog as db;
use crate::role_assignment::existing_scope;
use crate::{Ctx, Engine, audit};

const READ: &str = "Microsoft.Authorization/locks/read";
const WRITE: &str = "Microsoft.Authorization/locks/write";
const DELETE: &str = "Microsoft.Authorization/locks/delete";

impl Engine {
    /// Returns the locks at a scope and above it, and those below it when asked.
    pub async fn list_locks(&self, ctx: &Ctx, scope: &str, with_below: bool) -> Result<Vec<Lock>> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        read.locks_around(&scope, with_below).await.map_err(db)
    }

    /// Returns a lock.
    pub async fn lock(&self, ctx: &Ctx, scope: &str, name: &str) -> Result<Lock> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, READ, &scope).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.load_lock(&scope, name).await.map_err(db)?;
        found.ok_or_else(|| {
            Error::not_found(
                "LockNotFound",
                format!("The lock '{name}' could not be found."),
            )
        })
    }

    /// Makes or changes a lock; whether it is new.
    pub async fn put_lock(
        &self,
        ctx: &Ctx,
        scope: &str,
        name: &str,
        body: &Value,
    ) -> Result<(Lock, bool)> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, WRITE, &scope).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let scope = existing_scope(&mut tx, &scope).await?;
        let stored = tx.load_lock(&scope, name).await.map_err(db)?;
        let lock = plan_put(&scope, name, body, self.now_ms(), stored.as_ref())?;
        tx.put_lock(&lock).await.map_err(db)?;
        let done = audit::Deed {
            action: WRITE,
            scope: &id_at(&lock.shown_scope, &lock.name),
            before: stored.as_ref().map(said).unwrap_or_default(),
            after: said(&lock),
        };
        self.audit(&mut tx, ctx, done).await?;
        tx.commit().await.map_err(db)?;
        Ok((lock, stored.is_none()))
    }

    /// Removes a lock; whether it was there.
    pub async fn delete_lock(&self, ctx: &Ctx, scope: &str, name: &str) -> Result<bool> {
        let scope = domain::scope::clean(scope)?;
        self.authorize(ctx, DELETE, &scope).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let stored = tx.load_lock(&scope, name).await.map_err(db)?;
        let was_there = tx.delete_lock(&scope, name).await.map_err(db)?;
        if let Some(lock) = &stored {
            let done = audit::Deed {
                action: DELETE,
                scope: &id_at(&lock.shown_scope, &lock.name),
                before: said(lock),
                after: String::new(),
            };
            self.audit(&mut tx, ctx, done).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(was_there)
    }
}

/// Returns the digest of a lock for the audit.
fn said(lock: &Lock) -> String {
    audit::digest(&format!("{lock:?}"))
}

fn id_at(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/locks/{name}")
}

/// Refuses a deed that a lock forbids; in the transaction of the deed.
pub(crate) async fn check(read: &mut Read, deed: Deed, scope: &str) -> Result<()> {
    let locks = read
        .locks_around(scope, deed == Deed::Delete)
        .await
        .map_err(db)?;
    domain::lock::check(deed, scope, &locks)
}
