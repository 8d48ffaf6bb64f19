//! What page blobs and block blobs share: put, read, metadata, removal.

use blocks::LayerId;
use catalog::{Blob, BlobKind, CommittedBlock};
use domain::resource::Document;
use domain::{Error, Result};
use uuid::Uuid;

use super::failure::{blob_exists, blob_not_found, container_not_found, too_large, unsupported};
use super::locks::BlobUse;
use super::reserve::Reservation;
use super::session::{BLOB_CREATE, BLOB_DELETE, BLOB_READ, BLOB_WRITE};
use super::{BlobPath, Conditions, Session, Upload, View, blob_key, bytes, fresh_etag, signed};
use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};

/// The longest body of one Put Blob, in bytes.
const PUT_BYTES_MAX: u64 = 5000 << 20;
/// The longest page blob, in bytes.
const PAGE_BLOB_BYTES_MAX: u64 = 8 << 40;
/// How often a write that lost against another one is decided anew.
const ATTEMPTS_MAX: usize = 16;

/// What a put brings beside the bytes.
#[derive(Clone, Debug, Default)]
pub struct PutBlob {
    /// Content type and the like, by header name.
    pub headers: Document,
    /// `x-ms-meta-*`.
    pub metadata: Document,
    /// What must hold.
    pub conditions: Conditions,
    /// `x-ms-blob-sequence-number`.
    pub sequence: i64,
}

/// Where the bytes of a new blob come from.
pub(super) enum MadeFrom {
    /// Nowhere: it is a page blob.
    Nothing,
    /// One body.
    Body,
    /// A list of blocks, copied into a layer of its own.
    Joined(Vec<CommittedBlock>),
    /// The one block of a list: its staged layer is the blob's.
    Staged(Vec<CommittedBlock>),
}

impl MadeFrom {
    fn blocks(&self) -> &[CommittedBlock] {
        match self {
            Self::Nothing | Self::Body => &[],
            Self::Joined(blocks) | Self::Staged(blocks) => blocks,
        }
    }
}

impl Engine {
    /// Marks a blob as used; held until what is done with it is done.
    pub(super) fn enter_blob(&self, session: &Session, path: &BlobPath) -> BlobUse {
        let key = blob_key(&session.key(), path.container(), path.name());
        self.blob_locks().enter(key)
    }

    pub(super) async fn find_blob(
        &self,
        session: &Session,
        path: &BlobPath,
    ) -> Result<Option<Blob>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read
            .load_blob(&session.key(), path.container(), path.name())
            .await
            .map_err(db)?;
        if found.is_none()
            && read
                .load_container(&session.key(), path.container())
                .await
                .map_err(db)?
                .is_none()
        {
            return Err(container_not_found());
        }
        Ok(found)
    }

    /// Returns a blob's row.
    pub async fn blob(
        &self,
        session: &Session,
        path: &BlobPath,
        conditions: &Conditions,
    ) -> Result<Blob> {
        self.allow(session, &BLOB_READ, Some(path.container()), Some(path))
            .await?;
        let blob = self
            .find_blob(session, path)
            .await?
            .ok_or_else(blob_not_found)?;
        conditions.check_read(&blob.etag, blob.modified_ms)?;
        Ok(blob)
    }

    /// Opens a blob for reading.
    pub async fn open_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        conditions: &Conditions,
    ) -> Result<(Blob, View)> {
        let held = self.enter_blob(session, path);
        let blob = self.blob(session, path, conditions).await?;
        let store = self.store(&blob.region).await?;
        let layer = store
            .open_layer(blob.layer.into())
            .await
            .map_err(store_error)?;
        let size = bytes(blob.size_bytes)?;
        Ok((blob, View::of_blob(layer, size, held)))
    }

    /// Makes an empty page blob, in place of what is there.
    pub async fn put_page_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        put: &PutBlob,
        size: u64,
    ) -> Result<Blob> {
        let stored = self.check_put(session, path, put).await?;
        if size > PAGE_BLOB_BYTES_MAX {
            return Err(too_large(PAGE_BLOB_BYTES_MAX));
        }
        if !size.is_multiple_of(512) {
            return Err(super::failure::invalid_header("x-ms-blob-content-length"));
        }
        self.check_blob_room(session, path, stored.as_ref(), size)
            .await?;
        let layer = LayerId::from(Uuid::new_v4());
        let store = self.store(session.region()).await?;
        store
            .create_layer(layer, None, size)
            .await
            .map_err(store_error)?;
        let blob = self.fresh_blob(session, path, put, BlobKind::Page, size, layer)?;
        self.record_new(session, path, put, blob, MadeFrom::Nothing)
            .await
    }

    /// Stores a block blob whole, in place of what is there.
    pub async fn put_block_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        put: &PutBlob,
        body: Upload,
    ) -> Result<Blob> {
        let stored = self.check_put(session, path, put).await?;
        if body.length > PUT_BYTES_MAX {
            return Err(too_large(PUT_BYTES_MAX));
        }
        let (size, layer) = (body.length, LayerId::from(Uuid::new_v4()));
        let freed = self.freed_by(session, path, stored.as_ref()).await?;
        let held = self
            .reserve_upload(session, path, layer, size, freed)
            .await?;
        let made = async {
            let _filled = self
                .store_upload(session, layer, body, held.as_ref())
                .await?;
            let blob = self.fresh_blob(session, path, put, BlobKind::Block, size, layer)?;
            self.record_new(session, path, put, blob, MadeFrom::Body)
                .await
        };
        let made = made.await;
        self.end_reservation(held, made).await
    }

    /// Writes a body into a layer of its own; durable when it returns.
    ///
    /// No sweep takes the layer until what is returned beside it is dropped: by then a row owns it.
    pub(super) async fn store_upload(
        &self,
        session: &Session,
        id: LayerId,
        body: Upload,
        held: Option<&Reservation>,
    ) -> Result<BlobUse> {
        let filled = self.blob_locks().fill(id);
        let store = self.store(session.region()).await?;
        let layer = store
            .create_layer(id, None, body.length)
            .await
            .map_err(store_error)?;
        if let Err(error) = body.store(&layer, held).await {
            self.drop_layers(session.region(), &[id.into()]).await;
            return Err(error);
        }
        Ok(filled)
    }

    /// Decides a put before its bytes are taken in; returns what it would replace.
    pub(super) async fn check_put(
        &self,
        session: &Session,
        path: &BlobPath,
        put: &PutBlob,
    ) -> Result<Option<Blob>> {
        self.allow(session, &BLOB_CREATE, Some(path.container()), Some(path))
            .await?;
        let stored = self.find_blob(session, path).await?;
        self.decide_put(session, put, stored.as_ref())?;
        Ok(stored)
    }

    /// Refuses a blob that the quota has no room for before its bytes are taken in; they are reserved with its row.
    pub(super) async fn check_blob_room(
        &self,
        session: &Session,
        path: &BlobPath,
        stored: Option<&Blob>,
        size: u64,
    ) -> Result<()> {
        let freed = self.freed_by(session, path, stored).await?;
        self.check_blob_bytes(&session.key(), signed(size)? - freed)
            .await
    }

    /// Returns the bytes that go when a blob is written anew: the blob's, and those of its staged blocks.
    pub(super) async fn freed_by(
        &self,
        session: &Session,
        path: &BlobPath,
        stored: Option<&Blob>,
    ) -> Result<i64> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let account = session.key();
        let totals = read.staged_totals(&account, path.container(), path.name());
        let (_, staged) = totals.await.map_err(db)?;
        Ok(staged + stored.map_or(0, |blob| blob.size_bytes))
    }

    fn decide_put(&self, session: &Session, put: &PutBlob, stored: Option<&Blob>) -> Result<()> {
        put.conditions.check_put(stored)?;
        if stored.is_some() && !session.may_overwrite() {
            return Err(blob_exists());
        }
        Ok(())
    }

    pub(super) fn fresh_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        put: &PutBlob,
        kind: BlobKind,
        size: u64,
        layer: LayerId,
    ) -> Result<Blob> {
        let now_ms = self.now_ms();
        Ok(Blob {
            account: session.key(),
            container: path.container().to_owned(),
            name: path.name().to_owned(),
            kind,
            size_bytes: signed(size)?,
            etag: fresh_etag(),
            created_ms: now_ms,
            modified_ms: now_ms,
            metadata: put.metadata.clone(),
            headers: put.headers.clone(),
            layer: layer.into(),
            region: session.region().to_owned(),
            sequence: put.sequence,
        })
    }

    /// Records a new blob, then removes what it replaced; on failure its layer goes.
    pub(super) async fn record_new(
        &self,
        session: &Session,
        path: &BlobPath,
        put: &PutBlob,
        blob: Blob,
        from: MadeFrom,
    ) -> Result<Blob> {
        let held = self.enter_blob(session, path);
        match self.try_record(session, put, &blob, &from).await {
            Ok(mut replaced) => {
                replaced.retain(|layer| *layer != blob.layer);
                self.drop_unused(session.region(), &held, &replaced).await;
                Ok(blob)
            }
            Err(error) => {
                if !matches!(from, MadeFrom::Staged(_)) {
                    self.drop_layers(session.region(), &[blob.layer]).await;
                }
                Err(error)
            }
        }
    }

    async fn try_record(
        &self,
        session: &Session,
        put: &PutBlob,
        blob: &Blob,
        from: &MadeFrom,
    ) -> Result<Vec<Uuid>> {
        let (account, container, name) = (&blob.account, &blob.container, &blob.name);
        for _ in 0..ATTEMPTS_MAX {
            let mut tx = self.catalog().write().await.map_err(db)?;
            if tx
                .load_container(account, container)
                .await
                .map_err(db)?
                .is_none()
            {
                return Err(container_not_found());
            }
            let stored = tx.load_blob(account, container, name).await.map_err(db)?;
            self.decide_put(session, put, stored.as_ref())?;
            let is_won = match &stored {
                None => tx.create_blob(blob).await.map_err(db)?,
                Some(old) => tx.replace_blob(blob, &old.etag).await.map_err(db)?,
            };
            if !is_won {
                continue;
            }
            let action = BLOB_WRITE.action();
            self.audit_blob(&mut tx, session, action, stored.as_ref(), Some(blob))
                .await?;
            let mut freed = stored.as_ref().map_or(0, |old| old.size_bytes);
            let old = stored.map(|old| old.layer);
            let mut replaced: Vec<Uuid> = old.into_iter().collect();
            tx.put_block_list(blob, from.blocks()).await.map_err(db)?;
            if !matches!(from, MadeFrom::Nothing) {
                let staged = tx
                    .staged_blocks(account, container, name)
                    .await
                    .map_err(db)?;
                freed += staged.iter().map(|block| block.length).sum::<i64>();
                replaced.extend(staged.into_iter().map(|block| block.layer));
                tx.delete_staged_blocks(account, container, name)
                    .await
                    .map_err(db)?;
            }
            // A staged layer that another list took, or dropped, meanwhile is not this one's any more.
            if matches!(from, MadeFrom::Staged(_)) && !replaced.contains(&blob.layer) {
                return Err(busy());
            }
            // What was reserved for it is its own from here on.
            tx.end_upload(blob.layer).await.map_err(db)?;
            self.change_blob_bytes(&mut tx, account, freed, blob.size_bytes)
                .await?;
            tx.commit().await.map_err(db)?;
            return Ok(replaced);
        }
        Err(busy())
    }

    /// Replaces a blob's metadata.
    pub async fn set_blob_metadata(
        &self,
        session: &Session,
        path: &BlobPath,
        metadata: Document,
        conditions: &Conditions,
    ) -> Result<Blob> {
        self.change_blob(session, path, conditions, |blob| {
            blob.metadata = metadata.clone();
            Ok(())
        })
        .await
    }

    /// Changes a blob's row; its bytes stay.
    pub(super) async fn change_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        conditions: &Conditions,
        change: impl Fn(&mut Blob) -> Result<()> + Send,
    ) -> Result<Blob> {
        self.allow(session, &BLOB_WRITE, Some(path.container()), Some(path))
            .await?;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.find_blob(session, path).await?;
            let mut blob = conditions.check_existing(found)?;
            let before = blob.clone();
            let etag = std::mem::replace(&mut blob.etag, fresh_etag());
            blob.modified_ms = self.now_ms();
            change(&mut blob)?;
            let mut tx = self.catalog().write().await.map_err(db)?;
            if tx.replace_blob(&blob, &etag).await.map_err(db)? {
                let action = BLOB_WRITE.action();
                self.audit_blob(&mut tx, session, action, Some(&before), Some(&blob))
                    .await?;
                let (old, new) = (before.size_bytes, blob.size_bytes);
                self.change_blob_bytes(&mut tx, &blob.account, old, new)
                    .await?;
                tx.commit().await.map_err(db)?;
                return Ok(blob);
            }
        }
        Err(busy())
    }

    /// Removes a blob.
    pub async fn delete_blob(
        &self,
        session: &Session,
        path: &BlobPath,
        conditions: &Conditions,
    ) -> Result<()> {
        self.allow(session, &BLOB_DELETE, Some(path.container()), Some(path))
            .await?;
        let held = self.enter_blob(session, path);
        for _ in 0..ATTEMPTS_MAX {
            let found = self.find_blob(session, path).await?;
            let blob = conditions.check_existing(found)?;
            let mut tx = self.catalog().write().await.map_err(db)?;
            if tx.delete_blob(&blob, &blob.etag).await.map_err(db)? {
                let action = BLOB_DELETE.action();
                self.audit_blob(&mut tx, session, action, Some(&blob), None)
                    .await?;
                self.change_blob_bytes(&mut tx, &blob.account, blob.size_bytes, 0)
                    .await?;
                tx.commit().await.map_err(db)?;
                self.drop_unused(&blob.region, &held, &[blob.layer]).await;
                return Ok(());
            }
        }
        Err(busy())
    }

    /// Answers what asks for a copy on the server.
    pub fn refuse_copy(&self) -> Error {
        unsupported("Copying a blob on the server (x-ms-copy-source)")
    }
}

/// 503: others kept winning.
pub(super) fn busy() -> Error {
    Error::new(
        domain::ErrorKind::Unavailable,
        "ServerBusy",
        "Other requests kept changing the blob; nothing was changed. Try again in a moment.",
    )
}
