//! Bytes of uploads under way: held of the quota from before the first byte comes until a row says whose they are.
//!
//! ```text
//! reserve ── bytes come, renewed ──┬─ recorded: the row's transaction ends the reservation
//!                                  ├─ failed or given up: ended, then the layer goes
//!                                  └─ node killed: over after its lease; the sweep takes the layer
//! ```
//!
//! Only subscriptions with a limit reserve. Who replaces a blob may count on the room of what goes, but
//! only one at a time: of two uploads to one blob each has its bytes on the disk. A reservation is ended
//! before its layer is removed, in a transaction of its own: a layer whose row was recorded in the last
//! moment is then nobody's to remove.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blocks::LayerId;
use catalog::HeldUpload;
use domain::Result;
use domain::scope::subscription_in;
use uuid::Uuid;

use super::{BlobPath, Session, blob_key, signed};
use crate::Engine;
use crate::error::catalog as db;

/// How long a reservation counts after it was made or renewed: longer than a client may say nothing.
const LEASE_MS: i64 = 3 * 60 * 1000;
/// How old a reservation gets before it is renewed.
const RENEW_MS: i64 = 60 * 1000;

/// Uploads of this node that ended without being recorded: region and layer.
#[derive(Default)]
pub(crate) struct Abandoned(Mutex<Vec<(String, Uuid)>>);

impl Abandoned {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Uuid)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an upload holds; to be ended with [`Engine::end_reservation`].
pub(super) struct Reservation {
    engine: Engine,
    region: String,
    layer: Uuid,
    renewed_ms: AtomicI64,
    is_over: bool,
}

impl Reservation {
    /// Keeps the reservation while bytes come.
    pub async fn renew(&self) -> Result<()> {
        let now_ms = self.engine.now_ms();
        if now_ms - self.renewed_ms.load(Ordering::Relaxed) < RENEW_MS {
            return Ok(());
        }
        let mut tx = self.engine.catalog().write().await.map_err(db)?;
        tx.renew_upload(self.layer, now_ms + LEASE_MS)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.renewed_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The request was given up somewhere: what it left is removed by the next one, or the next round.
        let left = self.engine.abandoned();
        left.lock().push((self.region.clone(), self.layer));
    }
}

impl Engine {
    /// Reserves the bytes of an upload into `layer`, which gives back `freed` bytes when it is recorded, or
    /// refuses; none where there is no limit.
    pub(super) async fn reserve_upload(
        &self,
        session: &Session,
        path: &BlobPath,
        layer: LayerId,
        size: u64,
        freed: i64,
    ) -> Result<Option<Reservation>> {
        let account = session.key();
        let Some(subscription) = subscription_in(&account).map(str::to_ascii_lowercase) else {
            return Ok(None);
        };
        if !self.has_byte_limit(&subscription).await? {
            return Ok(None);
        }
        self.remove_abandoned().await?;
        let (id, size, now_ms) = (Uuid::from(layer), signed(size)?, self.now_ms());
        let blob = blob_key(&account, path.container(), path.name());
        let mut tx = self.catalog().write().await.map_err(db)?;
        let lent = tx.lent_bytes(&blob, now_ms).await.map_err(db)?;
        let lent_bytes = (freed - lent).clamp(0, size);
        let upload = HeldUpload {
            id,
            subscription,
            blob,
            bytes: size - lent_bytes,
            lent_bytes,
            until_ms: now_ms + LEASE_MS,
        };
        self.check_more_bytes(&mut tx, &account, upload.bytes)
            .await?;
        tx.begin_upload(&upload).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(Some(Reservation {
            engine: self.clone(),
            region: session.region().to_owned(),
            layer: id,
            renewed_ms: AtomicI64::new(now_ms),
            is_over: false,
        }))
    }

    /// Ends a reservation by what came of its upload: recording has ended it, a failure gives it back.
    pub(super) async fn end_reservation<T>(
        &self,
        reservation: Option<Reservation>,
        outcome: Result<T>,
    ) -> Result<T> {
        if let Some(mut held) = reservation {
            match &outcome {
                Ok(_) => held.is_over = true,
                Err(_) => {
                    drop(held);
                    if let Err(error) = self.remove_abandoned().await {
                        tracing::warn!(%error, "what an upload held is given back when its lease is over");
                    }
                }
            }
        }
        outcome
    }

    /// Gives back what uploads of this node hold that ended without being recorded, and removes their layers.
    pub(crate) async fn remove_abandoned(&self) -> Result<()> {
        let left = std::mem::take(&mut *self.abandoned().lock());
        if left.is_empty() {
            return Ok(());
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        let mut unrecorded = Vec::new();
        for (region, layer) in left {
            if tx.end_upload(layer).await.map_err(db)? {
                unrecorded.push((region, layer));
            }
        }
        tx.commit().await.map_err(db)?;
        for (region, layer) in unrecorded {
            self.drop_layers(&region, &[layer]).await;
        }
        Ok(())
    }
}
