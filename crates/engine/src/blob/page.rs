//! Page blobs: pages written and cleared, size and sequence number.

use bytes::Bytes;
use catalog::{Blob, BlobKind};
use domain::resource::Document;
use domain::{Error, Result};

use super::failure::{blob_not_found, invalid_page_range, too_large, wrong_kind};
use super::object::busy;
use super::session::BLOB_WRITE;
use super::view::check_pages;
use super::{BlobPath, Conditions, Session, Upload, bytes, fresh_etag, signed};
use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};

/// The most bytes of one Put Page.
pub const PAGE_BYTES_MAX: u64 = 4 << 20;
/// The longest page blob, in bytes.
const PAGE_BLOB_BYTES_MAX: u64 = 8 << 40;

/// What happens to a page blob's sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceChange {
    /// The larger of the two.
    Max(i64),
    /// The one sent.
    Update(i64),
    /// One more.
    Increment,
}

impl Engine {
    /// Writes pages; durable when it returns.
    pub async fn write_pages(
        &self,
        session: &Session,
        path: &BlobPath,
        start: u64,
        body: Upload,
        conditions: &Conditions,
    ) -> Result<Blob> {
        self.allow(session, &BLOB_WRITE, Some(path.container()), Some(path))
            .await?;
        let length = body.length;
        if length > PAGE_BYTES_MAX {
            return Err(too_large(PAGE_BYTES_MAX));
        }
        let found = self.find_blob(session, path).await?;
        check_target(&conditions.check_existing(found)?, start, length)?;
        let pages = body.collect(PAGE_BYTES_MAX).await?;
        self.change_pages(session, path, start, length, Some(pages), conditions)
            .await
    }

    /// Clears pages; durable when it returns.
    pub async fn clear_pages(
        &self,
        session: &Session,
        path: &BlobPath,
        start: u64,
        length: u64,
        conditions: &Conditions,
    ) -> Result<Blob> {
        self.allow(session, &BLOB_WRITE, Some(path.container()), Some(path))
            .await?;
        self.change_pages(session, path, start, length, None, conditions)
            .await
    }

    /// Bytes, row, flush. Writes with conditions wait until they are alone, others only for those.
    async fn change_pages(
        &self,
        session: &Session,
        path: &BlobPath,
        start: u64,
        length: u64,
        pages: Option<Bytes>,
        conditions: &Conditions,
    ) -> Result<Blob> {
        let lock = self.enter_blob(session, path);
        let (mut shared, mut alone) = (None, None);
        if conditions.is_empty() {
            shared = Some(lock.read().await);
        } else {
            alone = Some(lock.write().await);
        }
        let found = self.find_blob(session, path).await?;
        let mut blob = conditions.check_existing(found)?;
        check_target(&blob, start, length)?;
        let store = self.store(&blob.region).await?;
        let layer = store
            .open_layer(blob.layer.into())
            .await
            .map_err(store_error)?;
        put_pages(&layer, start, length, pages.as_deref()).await?;
        blob.etag = fresh_etag();
        blob.modified_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.touch_blob(&blob).await.map_err(db)? {
            return Err(blob_not_found());
        }
        self.audit_content(&mut tx, session, path.container(), path.name())
            .await?;
        tx.commit().await.map_err(db)?;
        layer.flush().await.map_err(store_error)?;
        drop((shared.take(), alone.take()));
        Ok(blob)
    }

    /// Sets a blob's headers, and a page blob's size and sequence number.
    pub async fn set_blob_properties(
        &self,
        session: &Session,
        path: &BlobPath,
        headers: Option<Document>,
        size: Option<u64>,
        sequence: Option<SequenceChange>,
        conditions: &Conditions,
    ) -> Result<Blob> {
        self.allow(session, &BLOB_WRITE, Some(path.container()), Some(path))
            .await?;
        let lock = self.enter_blob(session, path);
        let _alone = lock.write().await;
        let found = self.find_blob(session, path).await?;
        let blob = conditions.check_existing(found)?;
        if (size.is_some() || sequence.is_some()) && blob.kind != BlobKind::Page {
            return Err(wrong_kind());
        }
        if let Some(size) = size {
            self.check_size(size)?;
            let more = signed(size)? - blob.size_bytes;
            self.check_blob_bytes(&blob.account, more).await?;
            self.grow(&blob, size).await?;
        }
        let changed = self
            .change_blob(session, path, conditions, |blob| {
                if let Some(headers) = &headers {
                    blob.headers.clone_from(headers);
                }
                if let Some(size) = size {
                    blob.size_bytes = signed(size)?;
                }
                blob.sequence = next_sequence(blob.sequence, sequence)?;
                Ok(())
            })
            .await?;
        if changed.layer != blob.layer {
            return Err(busy());
        }
        if let Some(size) = size {
            let store = self.store(&blob.region).await?;
            let layer = store
                .open_layer(blob.layer.into())
                .await
                .map_err(store_error)?;
            if layer.size_bytes() > size {
                layer.resize(size).await.map_err(store_error)?;
                layer.flush().await.map_err(store_error)?;
            }
        }
        Ok(changed)
    }

    fn check_size(&self, size: u64) -> Result<()> {
        if size > PAGE_BLOB_BYTES_MAX {
            return Err(too_large(PAGE_BLOB_BYTES_MAX));
        }
        if size.is_multiple_of(512) {
            Ok(())
        } else {
            Err(super::failure::invalid_header("x-ms-blob-content-length"))
        }
    }

    /// Makes the layer at least `size` long, before the row says so; what is added is zero.
    async fn grow(&self, blob: &Blob, size: u64) -> Result<()> {
        let old = bytes(blob.size_bytes)?;
        let store = self.store(&blob.region).await?;
        let layer = store
            .open_layer(blob.layer.into())
            .await
            .map_err(store_error)?;
        if layer.size_bytes() > old {
            // A cut that a crash kept from reaching the layer.
            layer.resize(old).await.map_err(store_error)?;
        }
        if size > old {
            layer.resize(size).await.map_err(store_error)?;
        }
        layer.flush().await.map_err(store_error)
    }
}

fn check_target(blob: &Blob, start: u64, length: u64) -> Result<()> {
    if blob.kind != BlobKind::Page {
        return Err(wrong_kind());
    }
    check_pages(start, length, bytes(blob.size_bytes)?)
}

/// Writes or clears pages of a layer; what is zero takes no space.
pub(super) async fn put_pages(
    layer: &blocks::Layer,
    start: u64,
    length: u64,
    pages: Option<&[u8]>,
) -> Result<()> {
    let written = match pages {
        Some(pages) if pages.len() as u64 != length => return Err(invalid_page_range()),
        Some(pages) if pages.iter().any(|byte| *byte != 0) => layer.write_at(start, pages).await,
        _ => layer.write_zeroes(start, length).await,
    };
    written.map_err(store_error)
}

fn next_sequence(now: i64, change: Option<SequenceChange>) -> Result<i64> {
    let next = match change {
        None => now,
        Some(SequenceChange::Max(sent)) => now.max(sent),
        Some(SequenceChange::Update(sent)) => sent,
        Some(SequenceChange::Increment) => now.checked_add(1).ok_or_else(|| {
            Error::conflict(
                "SequenceNumberIncrementTooLarge",
                "The sequence number cannot be incremented any more.",
            )
        })?,
    };
    if next < 0 {
        Err(super::failure::invalid_header("x-ms-blob-sequence-number"))
    } else {
        Ok(next)
    }
}
