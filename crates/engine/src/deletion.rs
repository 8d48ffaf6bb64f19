//! Deleting: one resource, or a group with everything in it in the right order.
//!
//! Rows go first, in one transaction with their claims and replicas: from then on nothing refers
//! to the content. Layers are dropped after; one that a crash leaves behind is found by the sweep.

use catalog::{CatalogError, Content, ListFilter, Tx};
use domain::operation::{Operation, OperationState};
use domain::{Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::error::{blocks as store_error, catalog as db, is_stale};
use crate::operations::Outcome;
use crate::{Engine, network, rules};

/// Rows looked at in one go while a group is emptied.
const GROUP_PAGE_ITEMS: usize = 100;

impl Engine {
    /// Deletes the operation's resource, or hides it where its gallery keeps deleted versions.
    pub(crate) async fn delete_one(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return self.finish_gone(operation).await;
        };
        let bypass = operation
            .step
            .get("bypassSoftDelete")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if row.kind == Kind::ImageVersion && !bypass && self.keeps_deleted(&row.id).await? {
            return self.soft_delete(operation, row).await;
        }
        self.remove(&row, Some(operation)).await?;
        self.finish_gone(operation).await
    }

    async fn keeps_deleted(&self, version: &ResourceId) -> Result<bool> {
        let Some(gallery) = version.parent().and_then(|d| d.parent()) else {
            return Ok(false);
        };
        let gallery = self.load_row(&gallery).await?;
        Ok(gallery.is_some_and(|g| domain::gallery::soft_delete_policy(&g).is_enabled))
    }

    async fn soft_delete(&self, operation: &Operation, mut row: Resource) -> Result<Outcome> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx
            .finish(
                operation,
                OperationState::Succeeded,
                None,
                None,
                self.now_ms(),
            )
            .await
            .map_err(db)?
        {
            return Ok(Outcome::Lost);
        }
        row.deleted_ms = Some(self.now_ms());
        row.state = ProvisioningState::Succeeded;
        tx.update(&mut row).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(Outcome::Recorded)
    }

    pub(crate) async fn finish_gone(&self, operation: &Operation) -> Result<Outcome> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx
            .finish(
                operation,
                OperationState::Succeeded,
                None,
                None,
                self.now_ms(),
            )
            .await
            .map_err(db)?
        {
            return Ok(Outcome::Lost);
        }
        tx.commit().await.map_err(db)?;
        tracing::info!(resource.id = %operation.resource, "deleted");
        Ok(Outcome::Recorded)
    }

    /// Removes a row with its claims, replicas and grants, then its layers.
    ///
    /// Only the row that was read goes, and only while `operation` holds its lease: what was made
    /// under the same name since is another resource.
    pub(crate) async fn remove(&self, row: &Resource, operation: Option<&Operation>) -> Result<()> {
        if row.kind == Kind::ResourceGroup {
            self.delete_deployments_of(&row.id, operation).await?;
        }
        if row.kind == Kind::StorageAccount {
            self.empty_storage_account(row, operation).await?;
        }
        if row.kind.is_machine() {
            self.empty_machine(row, operation).await?;
        }
        if row.kind == Kind::ScaleSet {
            self.empty_scale_set(row, operation).await?;
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, operation).await?;
        check_emptied(&mut tx, row).await?;
        tx.update(&mut row.clone()).await.map_err(db)?;
        network::release_links(&mut tx, row).await?;
        if operation.is_none_or(|operation| operation.resource != row.id) {
            let now_ms = self.now_ms();
            tx.cancel_operations_of(&row.id, now_ms).await.map_err(db)?;
        }
        // Hidden versions go with the definition that is removed for good.
        for hidden in tx.children(&row.id, usize::MAX, true).await.map_err(db)? {
            tx.delete_replicas(&hidden.key(), None).await.map_err(db)?;
            tx.delete_access_at(&hidden.key()).await.map_err(db)?;
            tx.free_bytes(&hidden.key()).await.map_err(db)?;
            tx.release(&hidden).await.map_err(db)?;
            tx.delete(&hidden).await.map_err(db)?;
        }
        let replicas = tx.replicas(&row.id.key()).await.map_err(db)?;
        tx.delete_replicas(&row.id.key(), None).await.map_err(db)?;
        tx.delete_grants_of(&row.id).await.map_err(db)?;
        tx.release(&row.id).await.map_err(db)?;
        tx.delete_access_at(&row.id.key()).await.map_err(db)?;
        if row.kind == Kind::Gallery {
            crate::invite::forget_all(&mut tx, &row.id).await?;
        }
        if row.kind == Kind::Image {
            tx.delete_offers_of(&row.id).await.map_err(db)?;
        }
        tx.free_bytes(&row.id.key()).await.map_err(db)?;
        tx.delete(&row.id).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.forget_principals();
        for replica in replicas {
            if let Content::Layer(layer) = &replica.content {
                let store = self.store(&replica.region).await?;
                store
                    .delete_layer((*layer).into())
                    .await
                    .map_err(store_error)?;
            }
        }
        Ok(())
    }

    /// Empties a group, children before parents, then removes it.
    pub(crate) async fn delete_group(
        &self,
        operation: &Operation,
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        let group = &operation.resource;
        for kind in Kind::ALL
            .into_iter()
            .rev()
            .filter(|k| *k != Kind::ResourceGroup)
        {
            for is_deleted in [false, true] {
                self.delete_kind(operation, kind, is_deleted, cancel)
                    .await?;
            }
        }
        if let Some(row) = self.load_row(group).await? {
            self.remove(&row, Some(operation)).await?;
        }
        self.finish_gone(operation).await
    }

    async fn delete_kind(
        &self,
        operation: &Operation,
        kind: Kind,
        deleted: bool,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let group = &operation.resource;
        let filter = ListFilter {
            subscription: group.subscription().to_owned(),
            group: Some(group.resource_group().to_owned()),
            kind: Some(kind),
            deleted,
            ..ListFilter::default()
        };
        loop {
            if cancel.is_cancelled() {
                return Err(crate::publish::interrupted());
            }
            let mut read = self.catalog().read().await.map_err(db)?;
            let page = read
                .list(&filter, None, GROUP_PAGE_ITEMS)
                .await
                .map_err(db)?;
            drop(read);
            if page.items.is_empty() {
                return Ok(());
            }
            for row in page.items {
                rules::check_protected(&row, self.now_ms())?;
                match self.remove(&row, Some(operation)).await {
                    // A worker wrote the row since the page was read: read it again.
                    Err(error) if is_stale(&error) => break,
                    removed => removed?,
                }
            }
        }
    }
}

/// Refuses to go on without the lease of the operation that asked for it.
pub(crate) async fn check_lease(tx: &mut Tx, operation: Option<&Operation>) -> Result<()> {
    match operation {
        Some(operation) if !tx.checkpoint(operation).await.map_err(db)? => {
            Err(crate::publish::interrupted())
        }
        _ => Ok(()),
    }
}

/// Refuses to remove a storage account in which a container was made since it was emptied.
async fn check_emptied(tx: &mut Tx, row: &Resource) -> Result<()> {
    if row.kind != Kind::StorageAccount {
        return Ok(());
    }
    let left = tx.list_containers(&row.id.key(), "", None, 1).await;
    if left.map_err(db)?.items.is_empty() {
        return Ok(());
    }
    Err(db(CatalogError::Stale { key: row.id.key() }))
}
