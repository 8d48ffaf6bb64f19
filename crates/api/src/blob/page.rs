//! Pages: written, cleared, listed.

use axum::body::Body;
use axum::http::StatusCode;
use domain::{Error, ErrorKind, Result};
use engine::blob::failure::{invalid_header, invalid_query, unsupported};
use engine::blob::{Session, View};

use super::blobs::{echoed, missing_header};
use super::call::Call;
use super::reply::BlobReply;
use super::xml::Xml;

/// The most page ranges of one answer.
const RANGES_MAX: usize = 100_000;

/// What a Put Page asks.
pub(super) enum PageWrite {
    /// The body's bytes from `start` on.
    Update { start: u64 },
    /// Zeroes.
    Clear { start: u64, length: u64 },
}

/// Reads the headers of a Put Page.
pub(super) fn page_write(call: &Call) -> Result<PageWrite> {
    if call.header("x-ms-copy-source")?.is_some() {
        return Err(call.engine.refuse_copy());
    }
    let range = call.range()?.ok_or_else(|| missing_header("Range"))?;
    let (start, Some(last)) = range else {
        return Err(invalid_header("Range"));
    };
    let length = last - start + 1;
    match call
        .header("x-ms-page-write")?
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("update") if call.length()? != length => Err(invalid_header("Content-Length")),
        Some("update") => Ok(PageWrite::Update { start }),
        Some("clear") if call.number::<u64>("content-length")?.unwrap_or_default() != 0 => {
            Err(invalid_header("Content-Length"))
        }
        Some("clear") => Ok(PageWrite::Clear { start, length }),
        Some(_) => Err(invalid_header("x-ms-page-write")),
        None => Err(missing_header("x-ms-page-write")),
    }
}

/// PUT ?comp=page.
pub(super) async fn put(call: &Call, body: Body, session: &Session) -> Result<BlobReply> {
    let (path, conditions) = (call.path()?, call.conditions()?);
    let blob = match page_write(call)? {
        PageWrite::Update { start } => {
            let upload = call.upload(body)?;
            call.engine
                .write_pages(session, &path, start, upload, &conditions)
                .await?
        }
        PageWrite::Clear { start, length } => {
            call.engine
                .clear_pages(session, &path, start, length, &conditions)
                .await?
        }
    };
    Ok(echoed(call, BlobReply::empty(StatusCode::CREATED))
        .changed(&blob.etag, blob.modified_ms)
        .header("x-ms-blob-sequence-number", blob.sequence.to_string())
        .header("x-ms-request-server-encrypted", "false"))
}

/// GET ?comp=pagelist.
pub(super) async fn list(call: &Call, session: &Session) -> Result<BlobReply> {
    let (blob, view) = call
        .engine
        .open_blob(session, &call.path()?, &call.conditions()?)
        .await?;
    if blob.kind != engine::blob::BlobKind::Page {
        return Err(engine::blob::failure::wrong_kind());
    }
    Ok(ranges(call, &view)
        .await?
        .changed(&blob.etag, blob.modified_ms))
}

/// Answers with the written pages of a view.
pub(super) async fn ranges(call: &Call, view: &View) -> Result<BlobReply> {
    if call.option("prevsnapshot").is_some() || call.header("x-ms-previous-snapshot-url")?.is_some()
    {
        return Err(unsupported("A blob's snapshot"));
    }
    let size = view.size_bytes();
    let (mut start, end) = match call.range()? {
        None => (0, size),
        Some((first, _)) if first >= size && size > 0 => {
            return Err(engine::blob::failure::invalid_range());
        }
        Some((first, last)) => (
            first,
            last.map_or(size, |last| last.saturating_add(1).min(size)),
        ),
    };
    if let Some(marker) = call.option("marker").filter(|marker| !marker.is_empty()) {
        start = start.max(marker.parse().map_err(|_| invalid_query("marker"))?);
    }
    let limit = match call.option("maxresults") {
        None => RANGES_MAX,
        Some(text) => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "OutOfRangeQueryParameterValue",
                "maxresults must be a positive number.",
            )
        })?,
    };
    let (ranges, next) = view.pages(start, end, limit.min(RANGES_MAX))?;
    let mut xml = Xml::new();
    xml.open("PageList");
    for range in ranges {
        xml.open("PageRange");
        xml.text("Start", &range.start.to_string());
        xml.text("End", &range.end.to_string());
        xml.close("PageRange");
    }
    if let Some(next) = next {
        xml.text("NextMarker", &next.to_string());
    }
    xml.close("PageList");
    Ok(BlobReply::xml(xml).header("x-ms-blob-content-length", size.to_string()))
}
