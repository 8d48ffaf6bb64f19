//! Requests: checked first, then given to the export.

use std::sync::Arc;

use bytes::Bytes;

use super::export::{Export, ExportError, Piece};
use super::negotiate::Session;
use super::protocol::{HOLE_AND_ZERO, Request, command, flag};
use super::reply::{Body, Reply};
use super::{EXTENTS_MAX, REQUEST_BYTES_MAX};
use crate::source::{Extent, ExtentKind};

/// Says what is wrong with a request before the export sees it.
pub(super) fn check(request: &Request, session: &Session) -> Result<(), ExportError> {
    let export = session.export.as_ref();
    let allowed = match request.command {
        command::READ if session.is_structured => flag::FUA | flag::DF,
        command::WRITE_ZEROES => flag::FUA | flag::NO_HOLE | flag::FAST_ZERO,
        command::BLOCK_STATUS if session.has_allocation => flag::FUA | flag::REQ_ONE,
        command::READ | command::WRITE | command::TRIM | command::CACHE | command::FLUSH => {
            flag::FUA
        }
        _ => return Err(ExportError::Invalid),
    };
    if request.flags & !allowed != 0 {
        return Err(ExportError::Invalid);
    }
    if request.command == command::FLUSH {
        let is_plain = request.offset == 0 && request.length == 0;
        return is_plain.then_some(()).ok_or(ExportError::Invalid);
    }
    let changes = matches!(
        request.command,
        command::WRITE | command::WRITE_ZEROES | command::TRIM
    );
    if changes && export.is_read_only() {
        return Err(ExportError::ReadOnly);
    }
    if request.length == 0 {
        return Err(ExportError::Invalid);
    }
    let end = request.offset.checked_add(u64::from(request.length));
    if end.is_none_or(|end| end > export.size_bytes()) {
        return Err(match request.command {
            command::WRITE | command::WRITE_ZEROES => ExportError::NoSpace,
            _ => ExportError::Invalid,
        });
    }
    if request.command == command::READ && request.length > REQUEST_BYTES_MAX {
        return Err(match request.flags & flag::DF {
            0 => ExportError::Invalid,
            _ => ExportError::TooLarge,
        });
    }
    Ok(())
}

/// Does what a checked request asks for.
pub(super) async fn execute(export: Arc<dyn Export>, request: Request, payload: Bytes) -> Reply {
    let result = run(export.as_ref(), &request, payload).await;
    Reply { request, result }
}

async fn run(export: &dyn Export, request: &Request, payload: Bytes) -> Result<Body, ExportError> {
    let Request { offset, length, .. } = *request;
    match request.command {
        command::READ => {
            let pieces = export.read(offset, length).await?;
            let total = pieces
                .iter()
                .try_fold(0_u64, |sum, piece| sum.checked_add(piece.length()));
            match total {
                Some(total) if total == u64::from(length) => Ok(Body::Data(pieces)),
                _ => Err(ExportError::Io),
            }
        }
        command::BLOCK_STATUS => {
            let extents = export.extents(offset, length).await?;
            let is_one = request.flags & flag::REQ_ONE != 0;
            runs(&extents, offset, length, is_one).map(Body::Status)
        }
        command::CACHE => export.cache(offset, length).await.map(|()| Body::Done),
        command::FLUSH => export.flush().await.map(|()| Body::Done),
        _ => {
            change(export, request, payload).await?;
            if request.flags & flag::FUA != 0 {
                export.flush().await?;
            }
            Ok(Body::Done)
        }
    }
}

async fn change(export: &dyn Export, request: &Request, payload: Bytes) -> Result<(), ExportError> {
    let Request { offset, length, .. } = *request;
    match request.command {
        command::WRITE => export.write(offset, payload).await,
        command::TRIM => export.trim(offset, length).await,
        command::WRITE_ZEROES => {
            let keep_allocated = request.flags & flag::NO_HOLE != 0;
            if keep_allocated && request.flags & flag::FAST_ZERO != 0 {
                return Err(ExportError::Unsupported);
            }
            export.write_zeroes(offset, length, keep_allocated).await
        }
        _ => Err(ExportError::Invalid),
    }
}

/// Turns extents into lengths and flags: joined, clipped, not too many.
fn runs(
    extents: &[Extent],
    offset: u64,
    length: u32,
    is_one: bool,
) -> Result<Vec<(u32, u32)>, ExportError> {
    let end = offset + u64::from(length);
    let (mut runs, mut at): (Vec<(u32, u32)>, u64) = (Vec::new(), offset);
    for extent in extents {
        if extent.offset > at {
            return Err(ExportError::Io);
        }
        let next = extent.offset.saturating_add(extent.length).min(end);
        if next <= at {
            continue;
        }
        let length = u32::try_from(next - at).map_err(|_| ExportError::Io)?;
        at = next;
        let flags = match extent.kind {
            ExtentKind::Data => 0,
            ExtentKind::Zero => HOLE_AND_ZERO,
        };
        let count = runs.len();
        match runs.last_mut() {
            Some((run, known)) if *known == flags => *run += length,
            Some(_) if is_one || count == EXTENTS_MAX => break,
            _ => runs.push((length, flags)),
        }
    }
    match runs.is_empty() {
        true => Err(ExportError::Io),
        false => Ok(runs),
    }
}

/// Bytes that a request or its reply holds in memory.
pub(super) fn weight(request: &Request) -> usize {
    match request.command {
        command::READ | command::WRITE => usize::try_from(request.length).unwrap_or(usize::MAX),
        _ => 0,
    }
}

/// Bytes that pieces hold; zeroes hold none.
pub(super) fn held(pieces: &[Piece]) -> usize {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Data(bytes) => bytes.len(),
            Piece::Zero(_) => 0,
        })
        .sum()
}
