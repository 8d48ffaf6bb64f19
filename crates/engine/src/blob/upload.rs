//! A body on its way in: read in pieces, summed, never whole in memory unless it is small.

use std::time::Duration;

use blocks::Layer;
use bytes::Bytes;
use domain::{Error, ErrorKind, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use md5::{Digest as _, Md5};

use super::crc64::Crc64;
use super::failure::{digest_mismatch, too_large};
use super::reserve::Reservation;
use crate::error::blocks as store_error;

/// Bytes that are gathered before they are written.
const PIECE_BYTES: usize = 4 << 20;
/// How long a client may send nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A body with its announced length and sums.
pub struct Upload {
    /// `Content-Length`.
    pub length: u64,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// `x-ms-content-crc64`.
    pub crc64: Option<[u8; 8]>,
    /// The bytes.
    pub body: BoxStream<'static, Result<Bytes>>,
}

struct Sums {
    md5: Option<Md5>,
    crc64: Option<Crc64>,
}

impl Upload {
    /// Returns an upload without bytes.
    pub fn empty() -> Self {
        Self {
            length: 0,
            md5: None,
            crc64: None,
            body: futures::stream::empty().boxed(),
        }
    }

    /// Reads a small body whole and checks its sums.
    pub(super) async fn collect(mut self, bytes_max: u64) -> Result<Bytes> {
        if self.length > bytes_max {
            return Err(too_large(bytes_max));
        }
        let mut sums = self.sums();
        let mut all = Vec::with_capacity(usize::try_from(self.length).unwrap_or_default());
        while let Some(piece) = self.next(all.len() as u64).await? {
            all.extend_from_slice(&piece);
        }
        self.check_length(all.len() as u64)?;
        if self.md5.is_none() && self.crc64.is_none() {
            return Ok(Bytes::from(all));
        }
        let (all, sums) = work(move || {
            sums.add(&all);
            (all, sums)
        })
        .await?;
        sums.check(&self)?;
        Ok(Bytes::from(all))
    }

    /// Writes the body to the start of a layer and checks its sums; durable when it returns.
    pub(super) async fn store(
        mut self,
        layer: &Layer,
        reservation: Option<&Reservation>,
    ) -> Result<()> {
        let mut sums = self.sums();
        let mut written = 0_u64;
        let mut piece = Vec::new();
        loop {
            let next = self.next(written + piece.len() as u64).await?;
            if let Some(reservation) = reservation {
                reservation.renew().await?;
            }
            let is_last = next.is_none();
            piece.extend_from_slice(&next.unwrap_or_default());
            if piece.len() >= PIECE_BYTES || (is_last && !piece.is_empty()) {
                let length = piece.len() as u64;
                if piece.iter().any(|byte| *byte != 0) {
                    layer.write_at(written, &piece).await.map_err(store_error)?;
                }
                (piece, sums) = work(move || {
                    sums.add(&piece);
                    piece.clear();
                    (piece, sums)
                })
                .await?;
                written += length;
            }
            if is_last {
                break;
            }
        }
        self.check_length(written)?;
        sums.check(&self)?;
        layer.flush().await.map_err(store_error)
    }

    fn sums(&self) -> Sums {
        Sums {
            md5: self.md5.map(|_| Md5::new()),
            crc64: self.crc64.map(|_| Crc64::new()),
        }
    }

    async fn next(&mut self, received: u64) -> Result<Option<Bytes>> {
        let next = tokio::time::timeout(IDLE_LIMIT, self.body.next())
            .await
            .map_err(|_| {
                Error::new(
                    ErrorKind::Invalid,
                    "RequestTimeout",
                    "The client sent nothing for a minute; nothing was stored.",
                )
            })?;
        match next.transpose()? {
            Some(piece) if received + piece.len() as u64 > self.length => Err(wrong_length()),
            other => Ok(other),
        }
    }

    fn check_length(&self, received: u64) -> Result<()> {
        if received == self.length {
            Ok(())
        } else {
            Err(wrong_length())
        }
    }
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(crc64) = &mut self.crc64 {
            crc64.update(bytes);
        }
    }

    fn check(self, upload: &Upload) -> Result<()> {
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        if md5 != upload.md5 {
            return Err(digest_mismatch("Md5Mismatch"));
        }
        if self.crc64.map(Crc64::value) != upload.crc64 {
            return Err(digest_mismatch("Crc64Mismatch"));
        }
        Ok(())
    }
}

/// Runs what takes the processor longer than a millisecond beside the runtime.
async fn work<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(run).await.map_err(|error| {
        tracing::error!(%error, "a worker thread failed");
        Error::internal()
    })
}

fn wrong_length() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidInput",
        "The body does not have the length that Content-Length announces.",
    )
}
