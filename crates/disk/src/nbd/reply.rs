//! Replies on their way out: small ones are copied together, big ones are sent from where they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::export::{ExportError, Piece};
use super::protocol::{
    ALLOCATION_ID, CHUNK_MAGIC, Request, SIMPLE_REPLY_MAGIC, chunk, command, flag,
};
use crate::bytes::index;

/// Pieces up to this length are copied: cheaper than a vector of their own.
const COPY_BYTES_MAX: usize = 16 << 10;
const SLICES_MAX: usize = 64;
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What a request gave.
pub(super) enum Body {
    Done,
    Data(Vec<Piece>),
    /// Lengths and flags of `base:allocation`.
    Status(Vec<(u32, u32)>),
}

/// A request and what became of it.
pub(super) struct Reply {
    pub(super) request: Request,
    pub(super) result: Result<Body, ExportError>,
}

/// Replies that wait to be written.
#[derive(Default)]
pub(super) struct Output {
    /// Small parts in order; they go before nothing that is in the queue.
    staging: BytesMut,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Something was written that may lie in a buffer of the stream.
    is_dirty: bool,
}

impl Output {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.queued_bytes + self.staging.len()
    }

    /// Whether there is something to do for [`Self::step`].
    pub(super) fn has_work(&self) -> bool {
        self.len() > 0 || self.is_dirty
    }

    /// Writes once or flushes. Nothing is lost when the future is dropped.
    pub(super) async fn step<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> io::Result<()> {
        self.close_staging();
        if self.queue.is_empty() {
            stream.flush().await?;
            self.is_dirty = false;
            return Ok(());
        }
        self.is_dirty = true;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.queue.len().min(SLICES_MAX);
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
        }
        let mut written = stream.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.queued_bytes -= written;
        while written > 0 {
            let Some(first) = self.queue.front_mut() else {
                break;
            };
            let taken = written.min(first.len());
            first.advance(taken);
            written -= taken;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        Ok(())
    }

    fn close_staging(&mut self) {
        if !self.staging.is_empty() {
            let bytes = self.staging.split().freeze();
            self.queued_bytes += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    fn bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.staging.extend_from_slice(&bytes);
        } else {
            self.close_staging();
            self.queued_bytes += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Data(bytes) => self.bytes(bytes),
            Piece::Zero(length) => {
                let mut left = index(length);
                while left > 0 {
                    let take = left.min(ZEROES.len());
                    self.bytes(Bytes::from_static(&ZEROES[..take]));
                    left -= take;
                }
            }
        }
    }

    /// Puts a reply behind all others.
    pub(super) fn push(&mut self, reply: Reply, is_structured: bool) {
        let Reply { request, result } = reply;
        let in_chunks =
            is_structured && matches!(request.command, command::READ | command::BLOCK_STATUS);
        match result {
            Err(error) if in_chunks => {
                self.chunk(&request, chunk::ERROR, true, 6);
                self.staging.put_u32(error.number());
                self.staging.put_u16(0);
            }
            Err(error) => self.simple(&request, error.number()),
            Ok(Body::Done) => self.simple(&request, 0),
            Ok(Body::Data(pieces)) if !in_chunks => {
                self.simple(&request, 0);
                pieces.into_iter().for_each(|piece| self.piece(piece));
            }
            Ok(Body::Data(pieces)) if request.flags & flag::DF != 0 => {
                self.data_chunk(&request, request.offset, request.length, pieces, true);
            }
            Ok(Body::Data(pieces)) => self.chunks(&request, pieces),
            Ok(Body::Status(runs)) => {
                let length = u32::try_from(4 + runs.len() * 8).unwrap_or(u32::MAX);
                self.chunk(&request, chunk::BLOCK_STATUS, true, length);
                self.staging.put_u32(ALLOCATION_ID);
                for (length, flags) in runs {
                    self.staging.put_u32(length);
                    self.staging.put_u32(flags);
                }
            }
        }
    }

    fn simple(&mut self, request: &Request, error: u32) {
        self.staging.put_u32(SIMPLE_REPLY_MAGIC);
        self.staging.put_u32(error);
        self.staging.put_u64(request.cookie);
    }

    fn chunk(&mut self, request: &Request, kind: u16, is_last: bool, length: u32) {
        self.staging.put_u32(CHUNK_MAGIC);
        self.staging.put_u16(if is_last { chunk::DONE } else { 0 });
        self.staging.put_u16(kind);
        self.staging.put_u64(request.cookie);
        self.staging.put_u32(length);
    }

    fn data_chunk(
        &mut self,
        request: &Request,
        offset: u64,
        length: u32,
        pieces: Vec<Piece>,
        is_last: bool,
    ) {
        self.chunk(request, chunk::OFFSET_DATA, is_last, length + 8);
        self.staging.put_u64(offset);
        pieces.into_iter().for_each(|piece| self.piece(piece));
    }

    /// One chunk a run of data, one a run of zeroes; their lengths add up to the request's.
    fn chunks(&mut self, request: &Request, pieces: Vec<Piece>) {
        let mut at = request.offset;
        let mut pieces = pieces.into_iter().filter(|p| p.length() > 0).peekable();
        if pieces.peek().is_none() {
            self.chunk(request, chunk::NONE, true, 0);
        }
        while let Some(first) = pieces.next() {
            let is_data = matches!(first, Piece::Data(_));
            let mut length = first.length();
            let mut run = vec![first];
            while let Some(next) = pieces.next_if(|p| matches!(p, Piece::Data(_)) == is_data) {
                length += next.length();
                run.push(next);
            }
            let is_last = pieces.peek().is_none();
            let short = u32::try_from(length).unwrap_or(u32::MAX);
            if is_data {
                self.data_chunk(request, at, short, run, is_last);
            } else {
                self.chunk(request, chunk::OFFSET_HOLE, is_last, 12);
                self.staging.put_u64(at);
                self.staging.put_u32(short);
            }
            at += length;
        }
    }
}
