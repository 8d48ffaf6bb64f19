//! The blob plane: containers, page blobs, block blobs, and URLs that read or write disks.
//!
//! A blob is a layer in the store of its account's region and a row in the catalog. What is
//! answered is durable: bytes are flushed before the answer. The order of a write is bytes, row,
//! flush: after a crash a blob may have a new etag over old bytes, never an old etag over new
//! ones that a client was shown. Removing goes the other way: rows first, then layers; a layer
//! that a crash or a reader leaves behind is found by the sweep.

pub(crate) mod audit;
mod block;
mod conditions;
mod container;
mod crc64;
pub mod failure;
mod grant;
pub(crate) mod locks;
mod names;
mod object;
mod page;
mod reserve;
mod session;
mod upload;
mod uri;
mod view;

use blocks::LayerId;
use catalog::{Container, Read};
use domain::operation::Operation;
use domain::{Error, ErrorKind, Resource, ResourceId, Result};
use uuid::Uuid;

use self::locks::{BlobLocks, BlobUse};

pub use block::{BlockChoice, BlockList};
pub use catalog::{Blob, BlobKind, Container as BlobContainer};
pub use conditions::Conditions;
pub use container::{ListItem, ListOptions, Listing};
pub use grant::{DiskAccess, GRANT_ACCOUNT};
pub use names::{BlobPath, check_container};
pub use object::PutBlob;
pub use page::{PAGE_BYTES_MAX, SequenceChange};
pub(crate) use reserve::Abandoned;
pub(crate) use session::BLOB_READ_ACTION;
pub use session::{Level, SasRights, Session};
pub use upload::Upload;
pub use view::{PageRange, View};

use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};

/// Containers looked at in one go.
const CONTAINERS_PAGE_ITEMS: usize = 100;
/// How long a block waits for the list that commits it.
const STAGED_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Blocks forgotten in one round.
const STALE_BLOCKS_MAX: usize = 1000;

/// A blob that a version or disk is made from.
pub(crate) struct OpenedBlob {
    /// The region of its account.
    pub region: String,
    /// The layer that holds its bytes.
    pub layer: LayerId,
    /// Its length.
    pub size_bytes: u64,
    /// Keeps the layer from being removed.
    _held: BlobUse,
}

/// Who removes a container.
enum Remover<'a> {
    /// A worker, while its operation holds its lease.
    Worker(Option<&'a Operation>),
    /// Somebody on the blob plane.
    Session(&'a Session),
}

/// Returns the account in the URL of a blob of this gallery; `None` for any other text.
pub(crate) fn account_in(text: &str) -> Option<String> {
    uri::parse(text).map(|at| at.account)
}

/// Returns the length of the blob behind a URL of this gallery, if there is one.
pub(crate) async fn size_by_uri(read: &mut Read, uri: &str) -> Result<Option<i64>> {
    let Some(at) = uri::parse(uri) else {
        return Ok(None);
    };
    let account = read.claimed("storage-account", &at.account).await;
    let Some(account) = account.map_err(db)? else {
        return Ok(None);
    };
    let blob = read.load_blob(&account, &at.container, &at.blob).await;
    Ok(blob.map_err(db)?.map(|blob| blob.size_bytes))
}

impl Engine {
    /// Returns the blob behind a URL of this gallery; `account` must be its account when given.
    ///
    /// Nothing is fetched: a URL of another server names no blob.
    pub(crate) async fn open_blob_by_uri(
        &self,
        uri: &str,
        account: Option<&ResourceId>,
    ) -> Result<OpenedBlob> {
        let shown: String = uri
            .split('?')
            .next()
            .unwrap_or_default()
            .chars()
            .take(300)
            .collect();
        let missing = |what: &str| {
            Error::new(
                ErrorKind::NotFound,
                "NotFound",
                format!(
                    "Source was not found: {shown}. {what} Upload the VHD to a storage account of this server and use that blob's URL."
                ),
            )
        };
        let Some(at) = uri::parse(uri) else {
            return Err(missing("It is not the https URL of a blob of this server."));
        };
        let row = match self.load_account(&at.account).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Err(missing("There is no storage account of that name."));
            }
            other => other?,
        };
        if account.is_some_and(|id| *id != row.id) {
            return Err(Error::bad_request(format!(
                "The source blob {shown} does not belong to the storage account that storageAccountId names. Give the id of the account '{}'.",
                row.id.name()
            )));
        }
        let held = self
            .blob_locks()
            .enter(blob_key(&row.id.key(), &at.container, &at.blob));
        let mut read = self.catalog().read().await.map_err(db)?;
        let blob = read
            .load_blob(&row.id.key(), &at.container, &at.blob)
            .await
            .map_err(db)?;
        let blob = blob.ok_or_else(|| missing("The container or blob does not exist."))?;
        Ok(OpenedBlob {
            region: blob.region.clone(),
            layer: blob.layer.into(),
            size_bytes: bytes(blob.size_bytes)?,
            _held: held,
        })
    }

    /// Removes every container and blob of an account, while `operation` holds its lease.
    pub(crate) async fn empty_storage_account(
        &self,
        account: &Resource,
        operation: Option<&Operation>,
    ) -> Result<()> {
        loop {
            let mut read = self.catalog().read().await.map_err(db)?;
            let page = read
                .list_containers(&account.id.key(), "", None, CONTAINERS_PAGE_ITEMS)
                .await
                .map_err(db)?;
            drop(read);
            if page.items.is_empty() {
                return Ok(());
            }
            for container in page.items {
                self.remove_container(&account.location, &container, Remover::Worker(operation))
                    .await?;
            }
        }
    }

    /// Forgets blocks that no list committed for a week.
    pub(crate) async fn forget_stale_blocks(&self) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let before = self.now_ms() - STAGED_KEPT_MS;
        // Their layers are without an owner from now on: the sweep removes them.
        for block in tx
            .stale_blocks(before, STALE_BLOCKS_MAX)
            .await
            .map_err(db)?
        {
            if tx.delete_staged_block(&block).await.map_err(db)? {
                self.change_blob_bytes(&mut tx, &block.account, block.length, 0)
                    .await?;
            }
        }
        tx.commit().await.map_err(db)
    }

    async fn remove_container(
        &self,
        region: &str,
        container: &Container,
        by: Remover<'_>,
    ) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        match by {
            Remover::Worker(operation) => {
                crate::deletion::check_lease(&mut tx, operation).await?;
            }
            Remover::Session(session) => {
                let states = [container.etag.as_str(), ""];
                let action = session::CONTAINER_DELETE.action();
                self.audit_container(&mut tx, session, action, &container.name, states)
                    .await?;
            }
        }
        let (account, name) = (&container.account, &container.name);
        let held = tx.container_bytes(account, name).await.map_err(db)?;
        let layers = tx.delete_container(container).await.map_err(db)?;
        self.change_blob_bytes(&mut tx, account, held, 0).await?;
        tx.commit().await.map_err(db)?;
        for (name, layer) in layers {
            let key = blob_key(&container.account, &container.name, &name);
            let held = self.blob_locks().enter(key);
            self.drop_unused(region, &held, &[layer]).await;
        }
        Ok(())
    }

    /// Removes layers that nothing refers to any more, unless somebody else still reads the blob.
    async fn drop_unused(&self, region: &str, held: &BlobUse, layers: &[Uuid]) {
        if !BlobLocks::is_shared(held) {
            self.drop_layers(region, layers).await;
        }
    }

    /// Removes layers that nothing refers to any more; what fails is left to the sweep.
    async fn drop_layers(&self, region: &str, layers: &[Uuid]) {
        let store = match self.store(region).await {
            Ok(store) => store,
            Err(error) => {
                tracing::warn!(%error, "layers of removed blobs are left to the sweep");
                return;
            }
        };
        for layer in layers {
            if let Err(error) = store
                .delete_layer((*layer).into())
                .await
                .map_err(store_error)
            {
                tracing::warn!(%error, layer.id = %layer, "a removed blob's layer is left to the sweep");
            }
        }
    }
}

/// Returns the name by which a blob in use is known.
fn blob_key(account: &str, container: &str, name: &str) -> String {
    format!("{account}\n{container}\n{name}")
}

/// Returns an etag that was never used before, as it stands on the wire.
fn fresh_etag() -> String {
    format!("\"0x{:016X}\"", Uuid::new_v4().as_u64_pair().0)
}

/// Returns a size of the catalog as one of a layer.
fn bytes(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| Error::internal())
}

/// Returns a size of a layer as one of the catalog.
fn signed(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::internal())
}
