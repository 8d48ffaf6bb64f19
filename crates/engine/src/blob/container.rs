//! Containers: made, shown, listed, removed.

use catalog::{Blob, Container, Tx};
use domain::resource::Document;
use domain::{Error, ProvisioningState, Result};

use super::failure::{condition_not_met, container_not_found};
use super::session::{
    BLOBS_LIST, CONTAINER_CREATE, CONTAINER_DELETE, CONTAINER_READ, CONTAINER_WRITE,
    CONTAINERS_LIST, SERVICE_READ,
};
use super::{Conditions, Remover, Session, check_container, fresh_etag};
use crate::Engine;
use crate::error::catalog as db;

/// Comes after every name that begins with the text before it.
const LAST_CHAR: char = '\u{10FFFF}';
/// Rows read in one go while a list is cut at delimiters.
const PAGE_ROWS: usize = 1000;

/// What a list asks.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only names that begin so.
    pub prefix: String,
    /// Names are cut after it, and what is cut alike is shown once.
    pub delimiter: Option<String>,
    /// Where the last answer ended.
    pub marker: Option<String>,
    /// The most items.
    pub limit: usize,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum ListItem {
    /// A blob.
    Blob(Box<Blob>),
    /// What several names begin with.
    Prefix(String),
}

/// An answer to a list.
pub struct Listing<T> {
    /// The lines, in byte order of their names.
    pub items: Vec<T>,
    /// Where the next answer begins.
    pub next: Option<String>,
}

impl Engine {
    /// Refuses who may not see the account's blob service.
    pub async fn see_blob_service(&self, session: &Session) -> Result<()> {
        self.allow(session, &SERVICE_READ, None, None).await
    }

    /// Lists an account's containers.
    pub async fn list_containers(
        &self,
        session: &Session,
        options: &ListOptions,
    ) -> Result<Listing<Container>> {
        self.allow(session, &CONTAINERS_LIST, None, None).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let page = read
            .list_containers(
                &session.key(),
                &options.prefix,
                options.marker.as_deref(),
                options.limit,
            )
            .await
            .map_err(db)?;
        Ok(Listing {
            items: page.items,
            next: page.next,
        })
    }

    /// Makes a container.
    pub async fn create_container(
        &self,
        session: &Session,
        name: &str,
        metadata: Document,
    ) -> Result<Container> {
        self.allow(session, &CONTAINER_CREATE, Some(name), None)
            .await?;
        check_container(name)?;
        let container = Container {
            account: session.key(),
            name: name.to_owned(),
            etag: fresh_etag(),
            modified_ms: self.now_ms(),
            metadata,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_account(&mut tx, session).await?;
        tx.insert_container(&container)
            .await
            .map_err(|error| match error.kind() {
                catalog::Kind::Exists => Error::conflict(
                    "ContainerAlreadyExists",
                    "The specified container already exists.",
                ),
                _ => db(error),
            })?;
        let states = ["", container.etag.as_str()];
        self.audit_container(&mut tx, session, CONTAINER_CREATE.action(), name, states)
            .await?;
        tx.commit().await.map_err(db)?;
        Ok(container)
    }

    /// Returns a container.
    pub async fn container(&self, session: &Session, name: &str) -> Result<Container> {
        self.allow(session, &CONTAINER_READ, Some(name), None)
            .await?;
        self.load_container(session, name).await
    }

    pub(super) async fn load_container(&self, session: &Session, name: &str) -> Result<Container> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read
            .load_container(&session.key(), name)
            .await
            .map_err(db)?;
        found.ok_or_else(container_not_found)
    }

    /// Replaces a container's metadata; `None` only gives it a new etag.
    pub async fn set_container_metadata(
        &self,
        session: &Session,
        name: &str,
        metadata: Option<Document>,
        conditions: &Conditions,
    ) -> Result<Container> {
        self.allow(session, &CONTAINER_WRITE, Some(name), None)
            .await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx.load_container(&session.key(), name).await.map_err(db)?;
        let mut container = found.ok_or_else(container_not_found)?;
        conditions
            .check_read(&container.etag, container.modified_ms)
            .map_err(|_| condition_not_met())?;
        if let Some(metadata) = metadata {
            container.metadata = metadata;
        }
        let before = std::mem::replace(&mut container.etag, fresh_etag());
        container.modified_ms = self.now_ms();
        tx.put_container(&container).await.map_err(db)?;
        let states = [before.as_str(), container.etag.as_str()];
        self.audit_container(&mut tx, session, CONTAINER_WRITE.action(), name, states)
            .await?;
        tx.commit().await.map_err(db)?;
        Ok(container)
    }

    /// Removes a container with its blobs.
    pub async fn delete_container(
        &self,
        session: &Session,
        name: &str,
        conditions: &Conditions,
    ) -> Result<()> {
        self.allow(session, &CONTAINER_DELETE, Some(name), None)
            .await?;
        let container = self.load_container(session, name).await?;
        conditions
            .check_read(&container.etag, container.modified_ms)
            .map_err(|_| condition_not_met())?;
        self.remove_container(session.region(), &container, Remover::Session(session))
            .await
    }

    /// Lists a container's blobs.
    pub async fn list_blobs(
        &self,
        session: &Session,
        container: &str,
        options: &ListOptions,
    ) -> Result<Listing<ListItem>> {
        self.allow(session, &BLOBS_LIST, Some(container), None)
            .await?;
        self.load_container(session, container).await?;
        let mut items: Vec<ListItem> = Vec::new();
        let mut after = options
            .marker
            .as_deref()
            .map(|marker| skip_past(marker, options));
        let mut read = self.catalog().read().await.map_err(db)?;
        loop {
            let rows = PAGE_ROWS.min(options.limit + 1);
            let page = read
                .list_blobs(
                    &session.key(),
                    container,
                    &options.prefix,
                    after.as_deref(),
                    rows,
                )
                .await
                .map_err(db)?;
            let mut skipped = None;
            for blob in page.items {
                if skipped
                    .as_deref()
                    .is_some_and(|prefix: &str| blob.name.starts_with(prefix))
                {
                    continue;
                }
                if items.len() == options.limit {
                    return Ok(Listing {
                        next: items.last().map(|item| item.marker()),
                        items,
                    });
                }
                match cut(&blob.name, options) {
                    Some(prefix) => {
                        items.push(ListItem::Prefix(prefix.clone()));
                        skipped = Some(prefix);
                    }
                    None => items.push(ListItem::Blob(Box::new(blob))),
                }
            }
            let Some(next) = page.next else {
                return Ok(Listing { items, next: None });
            };
            after = Some(skipped.map_or(next, |prefix| format!("{prefix}{LAST_CHAR}")));
        }
    }
}

impl ListItem {
    fn marker(&self) -> String {
        match self {
            Self::Blob(blob) => blob.name.clone(),
            Self::Prefix(prefix) => prefix.clone(),
        }
    }
}

/// Returns what a name is shown as when the delimiter cuts it.
fn cut(name: &str, options: &ListOptions) -> Option<String> {
    let delimiter = options.delimiter.as_deref().filter(|d| !d.is_empty())?;
    let rest = name.strip_prefix(options.prefix.as_str())?;
    let at = rest.find(delimiter)?;
    Some(name[..options.prefix.len() + at + delimiter.len()].to_owned())
}

/// Returns the name after which a list goes on: behind everything that a shown prefix stands for.
fn skip_past(marker: &str, options: &ListOptions) -> String {
    match cut(marker, options) {
        Some(prefix) if prefix == marker => format!("{prefix}{LAST_CHAR}"),
        _ => marker.to_owned(),
    }
}

/// Refuses a new container in an account that goes or is gone: the next of its name would inherit it.
async fn check_account(tx: &mut Tx, session: &Session) -> Result<()> {
    let account = &session.account.id;
    for id in [account.clone(), account.group_id()] {
        let row = tx.load(&id).await.map_err(db)?;
        if row.is_none_or(|row| row.state == ProvisioningState::Deleting) {
            return Err(Error::not_found(
                "ResourceNotFound",
                "The storage account is being deleted or is not there any more.",
            ));
        }
    }
    Ok(())
}
