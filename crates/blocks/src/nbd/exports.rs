//! What NBD asks of a disk, answered by readers and layers.
//!
//! What is in memory is answered at once and without a copy; everything else goes to a thread that
//! may block.

use std::time::Instant;

use bytes::Bytes;
use disk::nbd::{Answer, EXTENTS_MAX, Export, ExportError, Piece};
use disk::{DiskError, Extent};

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Kind, Result};
use crate::layer::Layer;
use crate::layer::trouble::Doing;
use crate::parts;
use crate::reader::{self, Reader};
use crate::store::blocking;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Zeroes that are written at once where space is to stay reserved.
const ZEROES_BYTES: u64 = 1 << 20;

/// Turns an error into what a client is told; the rest is for the log.
fn answer(doing: &'static str, error: BlocksError) -> ExportError {
    let told = answer_of(&error);
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "NBD {doing} failed"
    );
    told
}

fn answer_of(error: &BlocksError) -> ExportError {
    match error {
        BlocksError::Source(DiskError::OutOfBounds { .. }) => ExportError::Invalid,
        BlocksError::Closed { .. } => ExportError::Stopping,
        other => match other.kind() {
            Kind::Full => ExportError::NoSpace,
            Kind::Invalid => ExportError::Invalid,
            _ => ExportError::Io,
        },
    }
}

/// Lists runs until `length` is covered or enough of them are there.
fn extents(
    offset: u64,
    length: u32,
    mut at: impl FnMut(u64) -> Result<Extent>,
) -> std::result::Result<Vec<Extent>, ExportError> {
    let end = offset + u64::from(length);
    let (mut runs, mut next) = (Vec::<Extent>::new(), offset);
    while next < end {
        let extent = at(next).map_err(|error| answer("block status", error))?;
        next = extent.offset + extent.length;
        let count = runs.len();
        match runs.last_mut() {
            Some(last) if last.kind == extent.kind => last.length += extent.length,
            _ if count == EXTENTS_MAX => break,
            _ => runs.push(extent),
        }
    }
    Ok(runs)
}

impl Reader {
    /// Returns a range if all its frames are in memory.
    fn pieces_at_hand(&self, offset: u64, length: u32) -> Result<Option<Vec<Piece>>> {
        let (cache, mut out) = (&self.store.0.cache, Vec::new());
        let length = u64::from(length);
        let is_whole = reader::pieces(&self.manifest, offset, length, &mut out, |id| {
            Ok(cache.peek(id))
        })?;
        Ok(is_whole.then_some(out))
    }

    fn pieces_now(&self, offset: u64, length: u32) -> Result<Vec<Piece>> {
        let (store, length) = (&self.store.0, u64::from(length));
        reader::check_range(offset, length, self.size_bytes())?;
        store.bring(&parts::frames(&self.manifest, offset, length));
        let mut out = Vec::new();
        reader::pieces(&self.manifest, offset, length, &mut out, |id| {
            store.frame(id).map(Some)
        })?;
        Ok(out)
    }
}

impl Export for Reader {
    fn size_bytes(&self) -> u64 {
        Self::size_bytes(self)
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        Box::pin(async move {
            let store = &self.store.0;
            self.ahead
                .note(store, &self.manifest, offset, u64::from(length));
            match self.pieces_at_hand(offset, length) {
                Ok(Some(pieces)) => return Ok(pieces),
                Ok(None) => {}
                Err(error) => return Err(answer("read", error)),
            }
            let reader = self.clone();
            let read = blocking(move || reader.pieces_now(offset, length)).await;
            read.map_err(|error| answer("read", error))
        })
    }

    fn write(&self, _offset: u64, _data: Bytes) -> Answer<'_, ()> {
        refuse()
    }

    fn write_zeroes(&self, _offset: u64, _length: u32, _keep_allocated: bool) -> Answer<'_, ()> {
        refuse()
    }

    fn trim(&self, _offset: u64, _length: u32) -> Answer<'_, ()> {
        refuse()
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>> {
        let runs = extents(offset, length, |at| self.extent_at(at));
        Box::pin(std::future::ready(runs))
    }

    fn cache(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        Box::pin(async move {
            let reader = self.clone();
            let brought = blocking(move || {
                let frames = parts::frames(&reader.manifest, offset, u64::from(length));
                reader.store.0.bring(&frames);
                Ok(())
            });
            brought.await.map_err(|error| answer("cache", error))
        })
    }
}

fn refuse<'a>() -> Answer<'a, ()> {
    Box::pin(std::future::ready(Err(ExportError::ReadOnly)))
}

impl Layer {
    /// Turns what came out into what the client is told; trouble is logged when it begins.
    fn told<T>(
        &self,
        what: &'static str,
        doing: Doing,
        done: Result<T>,
    ) -> std::result::Result<T, ExportError> {
        done.map_err(|error| {
            if self.shared.troubles.failed(doing, &error, Instant::now()) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(layer.id = %self.shared.id, error, "NBD {what} failed");
            }
            answer_of(&error)
        })
    }
}

impl Export for Layer {
    fn size_bytes(&self) -> u64 {
        Self::size_bytes(self)
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        Box::pin(async move {
            self.read_ahead(offset, u64::from(length));
            match self.shared.pieces_at_hand(offset, length) {
                Ok(Some(pieces)) => return Ok(pieces),
                Ok(None) => {}
                Err(error) => return self.told("read", Doing::Read, Err(error)),
            }
            let shared = self.shared.clone();
            let read = blocking(move || shared.pieces_now(offset, length)).await;
            self.told("read", Doing::Read, read)
        })
    }

    fn write(&self, offset: u64, data: Bytes) -> Answer<'_, ()> {
        Box::pin(async move {
            let written = self.change(move |shared| shared.write(offset, &data)).await;
            self.told("write", Doing::Write, written)
        })
    }

    fn write_zeroes(&self, offset: u64, length: u32, keep_allocated: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let length = u64::from(length);
            let zeroed = self.change(move |shared| {
                if !keep_allocated {
                    return shared.zero(offset, length);
                }
                let zeroes = vec![0_u8; usize::try_from(length.min(ZEROES_BYTES)).unwrap_or(0)];
                (0..length).step_by(zeroes.len().max(1)).try_for_each(|at| {
                    let left = usize::try_from(length - at).unwrap_or(usize::MAX);
                    shared.write(offset + at, &zeroes[..left.min(zeroes.len())])
                })
            });
            self.told("write zeroes", Doing::Write, zeroed.await)
        })
    }

    fn trim(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        Box::pin(async move {
            // Only whole blocks hold space of their own.
            let from = offset.next_multiple_of(BLOCK);
            let to = (offset + u64::from(length)) / BLOCK * BLOCK;
            if from >= to {
                return Ok(());
            }
            let trimmed = self
                .change(move |shared| shared.zero(from, to - from))
                .await;
            self.told("trim", Doing::Write, trimmed)
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let flushed = Self::flush(self).await;
            self.told("flush", Doing::Write, flushed)
        })
    }

    fn extents(&self, offset: u64, length: u32) -> Answer<'_, Vec<Extent>> {
        Box::pin(async move {
            let layer = self.clone();
            // A writer may hold the map while it waits for the storage.
            let listed = blocking(move || Ok(extents(offset, length, |at| layer.extent_at(at))));
            match listed.await {
                Ok(runs) => runs,
                Err(error) => Err(answer("block status", error)),
            }
        })
    }

    fn cache(&self, offset: u64, length: u32) -> Answer<'_, ()> {
        Box::pin(async move {
            let shared = self.shared.clone();
            let brought = blocking(move || {
                shared.bring(offset, u64::from(length));
                Ok(())
            });
            brought.await.map_err(|error| answer("cache", error))
        })
    }
}
