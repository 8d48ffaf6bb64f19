//! Block blobs: blocks staged in layers of their own, then put in order into one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blocks::{Layer, LayerId};
use catalog::{Blob, BlobKind, CommittedBlock, StagedBlock};
use domain::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::failure::{blob_not_found, invalid_block_list, invalid_query, too_large, wrong_kind};
use super::object::MadeFrom;
use super::reserve::Reservation;
use super::session::{BLOB_READ, BLOB_WRITE};
use super::{BlobPath, Conditions, PutBlob, Session, Upload, View, bytes, signed};
use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};

/// The longest block, in bytes.
const BLOCK_BYTES_MAX: u64 = 4000 << 20;
/// The most blocks of a blob.
const BLOCKS_MAX: usize = 50_000;
/// The most staged blocks of a blob.
const STAGED_BLOCKS_MAX: i64 = 100_000;
/// The most staged bytes of a blob.
const STAGED_BYTES_MAX: i64 = 8 << 40;
/// The longest decoded block id, in bytes.
const BLOCK_ID_BYTES_MAX: usize = 64;

/// Where a block of a list is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockChoice {
    /// In the blob as it is.
    Committed,
    /// Among the staged ones.
    Uncommitted,
    /// Among the staged ones, then in the blob.
    Latest,
}

/// The blocks of a blob: id and length.
#[derive(Clone, Debug, Default)]
pub struct BlockList {
    /// The blob's row, once it has one.
    pub blob: Option<Blob>,
    /// In the order of the blob.
    pub committed: Vec<CommittedBlock>,
    /// Oldest first.
    pub uncommitted: Vec<CommittedBlock>,
}

/// A block found: where its bytes are.
struct Piece {
    id: String,
    layer: Uuid,
    offset: u64,
    length: u64,
}

impl Engine {
    /// Stages a block; durable when it returns.
    pub async fn stage_block(
        &self,
        session: &Session,
        path: &BlobPath,
        block_id: &str,
        body: Upload,
    ) -> Result<()> {
        self.allow(session, &BLOB_WRITE, Some(path.container()), Some(path))
            .await?;
        check_block_id(block_id)?;
        if body.length > BLOCK_BYTES_MAX {
            return Err(too_large(BLOCK_BYTES_MAX));
        }
        if self
            .find_blob(session, path)
            .await?
            .is_some_and(|blob| blob.kind != BlobKind::Block)
        {
            return Err(wrong_kind());
        }
        let (length, layer) = (body.length, LayerId::from(Uuid::new_v4()));
        let freed = self.check_staged(session, path, block_id, length).await?;
        let held = self
            .reserve_upload(session, path, layer, length, freed)
            .await?;
        let staged = self
            .stage(session, path, block_id, (layer, body), held.as_ref())
            .await;
        self.end_reservation(held, staged).await
    }

    async fn stage(
        &self,
        session: &Session,
        path: &BlobPath,
        block_id: &str,
        (layer, body): (LayerId, Upload),
        held: Option<&Reservation>,
    ) -> Result<()> {
        let length = body.length;
        let _filled = self.store_upload(session, layer, body, held).await?;
        let block = StagedBlock {
            account: session.key(),
            container: path.container().to_owned(),
            blob: path.name().to_owned(),
            block_id: block_id.to_owned(),
            layer: layer.into(),
            offset: 0,
            length: signed(length)?,
            created_ms: self.now_ms(),
        };
        let recorded = self.record_staged(session, &block).await;
        let garbage = recorded
            .as_ref()
            .map_or(Some(block.layer), |replaced| *replaced);
        if let Some(garbage) = garbage {
            // A list that is being committed may still read the block that was replaced.
            let held = self.enter_blob(session, path);
            self.drop_unused(session.region(), &held, &[garbage]).await;
        }
        recorded.map(|_| ())
    }

    /// Refuses a block that is one too many; returns the bytes of the one that it replaces.
    async fn check_staged(
        &self,
        session: &Session,
        path: &BlobPath,
        block_id: &str,
        length: u64,
    ) -> Result<i64> {
        let (account, container, name) = (session.key(), path.container(), path.name());
        let mut read = self.catalog().read().await.map_err(db)?;
        let totals = read.staged_totals(&account, container, name).await;
        let (count, held) = totals.map_err(db)?;
        let same = read.staged_block(&account, container, name, block_id).await;
        let replaced = same.map_err(db)?.map_or(0, |block| block.length);
        if count >= STAGED_BLOCKS_MAX || held.saturating_add(signed(length)?) > STAGED_BYTES_MAX {
            return Err(Error::conflict(
                "BlockCountExceedsLimit",
                "The uncommitted blocks of the blob exceed the limit; commit a block list or delete the blob.",
            ));
        }
        Ok(replaced)
    }

    /// Records a staged block; returns the layer of the one it replaced.
    async fn record_staged(&self, session: &Session, block: &StagedBlock) -> Result<Option<Uuid>> {
        let (account, container, blob) = (&block.account, &block.container, &block.blob);
        let mut tx = self.catalog().write().await.map_err(db)?;
        if tx
            .load_container(account, container)
            .await
            .map_err(db)?
            .is_none()
        {
            return Err(super::failure::container_not_found());
        }
        let replaced = tx
            .staged_block(account, container, blob, &block.block_id)
            .await
            .map_err(db)?;
        tx.put_staged_block(block).await.map_err(db)?;
        self.audit_content(&mut tx, session, container, blob)
            .await?;
        let before = replaced.as_ref().map_or(0, |block| block.length);
        tx.end_upload(block.layer).await.map_err(db)?;
        self.change_blob_bytes(&mut tx, account, before, block.length)
            .await?;
        tx.commit().await.map_err(db)?;
        Ok(replaced.map(|block| block.layer))
    }

    /// Makes the blob of blocks in the order of `list`.
    pub async fn commit_blocks(
        &self,
        session: &Session,
        path: &BlobPath,
        list: &[(BlockChoice, String)],
        put: &PutBlob,
    ) -> Result<Blob> {
        let stored = self.check_put(session, path, put).await?;
        if list.len() > BLOCKS_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                "BlockListTooLong",
                format!("The block list may not contain more than {BLOCKS_MAX} blocks."),
            ));
        }
        let held = self.enter_blob(session, path);
        let pieces = self.find_blocks(session, path, list).await?;
        let size = pieces.iter().map(|piece| piece.length).sum();
        let blocks = pieces
            .iter()
            .map(|piece| Ok((piece.id.clone(), signed(piece.length)?)))
            .collect::<Result<Vec<CommittedBlock>>>()?;
        // One whole staged block is the blob already.
        if let [only] = pieces.as_slice()
            && self.is_staged(session, path, only).await?
        {
            self.check_blob_room(session, path, stored.as_ref(), size)
                .await?;
            let (kind, layer) = (BlobKind::Block, LayerId::from(only.layer));
            let blob = self.fresh_blob(session, path, put, kind, size, layer)?;
            drop(held);
            let from = MadeFrom::Staged(blocks);
            return self.record_new(session, path, put, blob, from).await;
        }
        let layer = LayerId::from(Uuid::new_v4());
        let freed = self.freed_by(session, path, stored.as_ref()).await?;
        let reserved = self
            .reserve_upload(session, path, layer, size, freed)
            .await?;
        let made = async {
            self.join_blocks(session, &pieces, (layer, size), reserved.as_ref())
                .await?;
            drop(held);
            let blob = self.fresh_blob(session, path, put, BlobKind::Block, size, layer)?;
            let from = MadeFrom::Joined(blocks);
            self.record_new(session, path, put, blob, from).await
        };
        let made = made.await;
        self.end_reservation(reserved, made).await
    }

    async fn is_staged(&self, session: &Session, path: &BlobPath, piece: &Piece) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let staged = read
            .staged_block(&session.key(), path.container(), path.name(), &piece.id)
            .await
            .map_err(db)?;
        Ok(staged.is_some_and(|block| block.layer == piece.layer))
    }

    async fn find_blocks(
        &self,
        session: &Session,
        path: &BlobPath,
        list: &[(BlockChoice, String)],
    ) -> Result<Vec<Piece>> {
        let (account, container, name) = (session.key(), path.container(), path.name());
        let mut read = self.catalog().read().await.map_err(db)?;
        let blob = read
            .load_blob(&account, container, name)
            .await
            .map_err(db)?;
        let staged = read
            .staged_blocks(&account, container, name)
            .await
            .map_err(db)?;
        let committed = read
            .block_list(&account, container, name)
            .await
            .map_err(db)?;
        drop(read);
        if blob
            .as_ref()
            .is_some_and(|blob| blob.kind != BlobKind::Block)
        {
            return Err(wrong_kind());
        }
        let mut fresh = std::collections::BTreeMap::new();
        for block in staged {
            fresh.insert(
                block.block_id,
                (block.layer, bytes(block.offset)?, bytes(block.length)?),
            );
        }
        let mut old = std::collections::BTreeMap::new();
        let mut offset = 0;
        for (id, length) in committed {
            let (Some(blob), length) = (&blob, bytes(length)?) else {
                break;
            };
            old.insert(id, (blob.layer, offset, length));
            offset += length;
        }
        list.iter()
            .map(|(choice, id)| {
                let found = match choice {
                    BlockChoice::Committed => old.get(id),
                    BlockChoice::Uncommitted => fresh.get(id),
                    BlockChoice::Latest => fresh.get(id).or_else(|| old.get(id)),
                };
                let (layer, offset, length) = *found.ok_or_else(invalid_block_list)?;
                Ok(Piece {
                    id: id.clone(),
                    layer,
                    offset,
                    length,
                })
            })
            .collect()
    }

    /// Copies blocks into one new layer, hole by hole and piece by piece.
    async fn join_blocks(
        &self,
        session: &Session,
        pieces: &[Piece],
        (id, size): (LayerId, u64),
        reserved: Option<&Reservation>,
    ) -> Result<()> {
        let store = self.store(session.region()).await?;
        let target = store
            .create_layer(id, None, size)
            .await
            .map_err(store_error)?;
        let mut at = 0;
        for piece in pieces {
            let copied = match store
                .open_layer(piece.layer.into())
                .await
                .map_err(store_error)
            {
                Ok(source) => copy(source, piece, &target, at, reserved).await,
                Err(error) => Err(error),
            };
            if let Err(error) = copied {
                self.drop_layers(session.region(), &[id.into()]).await;
                return Err(error);
            }
            at += piece.length;
        }
        target.flush().await.map_err(store_error)
    }

    /// Returns a blob's blocks.
    pub async fn block_list(
        &self,
        session: &Session,
        path: &BlobPath,
        conditions: &Conditions,
    ) -> Result<BlockList> {
        self.allow(session, &BLOB_READ, Some(path.container()), Some(path))
            .await?;
        let blob = self.find_blob(session, path).await?;
        let (account, container, name) = (session.key(), path.container(), path.name());
        let mut read = self.catalog().read().await.map_err(db)?;
        let staged = read
            .staged_blocks(&account, container, name)
            .await
            .map_err(db)?;
        let committed = read
            .block_list(&account, container, name)
            .await
            .map_err(db)?;
        match &blob {
            None if staged.is_empty() => return Err(blob_not_found()),
            Some(blob) if blob.kind != BlobKind::Block => return Err(wrong_kind()),
            Some(blob) => conditions.check_read(&blob.etag, blob.modified_ms)?,
            None => {}
        }
        let uncommitted = staged
            .into_iter()
            .map(|block| (block.block_id, block.length))
            .collect();
        Ok(BlockList {
            blob,
            committed,
            uncommitted,
        })
    }
}

async fn copy(
    source: Layer,
    piece: &Piece,
    target: &Layer,
    at: u64,
    reserved: Option<&Reservation>,
) -> Result<()> {
    let end = piece.offset + piece.length;
    let view = View::of_layer(source, end);
    let mut from = piece.offset;
    while from < end {
        if let Some(reserved) = reserved {
            reserved.renew().await?;
        }
        let (is_zero, run_end) = view.run_at(from)?;
        if is_zero {
            from = run_end;
            continue;
        }
        let part = view.piece(from, end).await?;
        target
            .write_at(at + (from - piece.offset), &part)
            .await
            .map_err(store_error)?;
        from += part.len() as u64;
    }
    Ok(())
}

fn check_block_id(id: &str) -> Result<()> {
    let length = STANDARD
        .decode(id)
        .map_err(|_| invalid_query("blockid"))?
        .len();
    if (1..=BLOCK_ID_BYTES_MAX).contains(&length) {
        Ok(())
    } else {
        Err(invalid_query("blockid"))
    }
}
