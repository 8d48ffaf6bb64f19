//! What page blobs and block blobs share: put, get, head, metadata, properties, delete.

use axum::body::Body;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{Error, ErrorKind, Result};
use engine::blob::failure::{invalid_header, invalid_range, unsupported};
use engine::blob::{Blob, SequenceChange, Session, View};
use engine::metering::Download;
use md5::{Digest as _, Md5};
use serde_json::Value;

use super::call::Call;
use super::reply::BlobReply;

/// The longest range whose sum is sent along, in bytes.
const SUMMED_BYTES_MAX: u64 = 4 << 20;
/// Options of a SAS that replace headers of the answer.
const OVERRIDES: [(&str, &str); 5] = [
    ("rscc", "cache-control"),
    ("rscd", "content-disposition"),
    ("rsce", "content-encoding"),
    ("rscl", "content-language"),
    ("rsct", "content-type"),
];

/// PUT: a blob in place of what is there.
pub(super) async fn put(call: &Call, body: Body, session: &Session) -> Result<BlobReply> {
    if call.header("x-ms-copy-source")?.is_some() {
        return Err(call.engine.refuse_copy());
    }
    let path = call.path()?;
    let mut put = call.put_blob()?;
    let blob = match call.header("x-ms-blob-type")? {
        Some("PageBlob") => {
            let size = call.number("x-ms-blob-content-length")?;
            let size = size.ok_or_else(|| missing_header("x-ms-blob-content-length"))?;
            if call.length()? != 0 {
                return Err(invalid_header("Content-Length"));
            }
            call.engine
                .put_page_blob(session, &path, &put, size)
                .await?
        }
        Some("BlockBlob") => {
            if let Some(sum) = call.header("content-md5")? {
                put.headers
                    .entry("content-md5")
                    .or_insert_with(|| Value::String(sum.to_owned()));
            }
            let upload = call.upload(body)?;
            call.engine
                .put_block_blob(session, &path, &put, upload)
                .await?
        }
        Some("AppendBlob") => return Err(unsupported("An append blob")),
        Some(_) => return Err(invalid_header("x-ms-blob-type")),
        None => return Err(missing_header("x-ms-blob-type")),
    };
    Ok(created(call, &blob))
}

/// Returns 201 with what was verified of the body.
pub(super) fn created(call: &Call, blob: &Blob) -> BlobReply {
    echoed(call, BlobReply::empty(StatusCode::CREATED))
        .changed(&blob.etag, blob.modified_ms)
        .header("x-ms-request-server-encrypted", "false")
}

/// Repeats the sums that the body was checked against.
pub(super) fn echoed(call: &Call, mut reply: BlobReply) -> BlobReply {
    for name in ["content-md5", "x-ms-content-crc64"] {
        if let Ok(Some(sum)) = call.header(name) {
            reply = reply.header(name, sum);
        }
    }
    reply
}

pub(super) fn missing_header(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "MissingRequiredHeader",
        format!("An HTTP header that's mandatory for this request is not specified: {name}."),
    )
}

/// GET: the bytes, or a range of them.
pub(super) async fn get(call: &Call, session: &Session) -> Result<BlobReply> {
    let (blob, view) = call
        .engine
        .open_blob(session, &call.path()?, &call.conditions()?)
        .await?;
    let mut reply = BlobReply::empty(StatusCode::OK).blob(&blob);
    for (option, header) in OVERRIDES {
        if let Some(value) = call.option(option) {
            reply.set(header, value.to_owned());
        }
    }
    let counted = call.engine.download_of(session.account());
    content(call, view, reply, counted).await
}

/// Answers with the bytes that the range asks for; the headers stay as they are.
pub(super) async fn content(
    call: &Call,
    view: View,
    mut reply: BlobReply,
    counted: Download,
) -> Result<BlobReply> {
    let size = view.size_bytes();
    let Some((first, last)) = call.range()? else {
        return Ok(reply
            .header("content-length", size.to_string())
            .body(stream(view, 0, size, counted)));
    };
    if first >= size {
        return Ok(
            BlobReply::error(&invalid_range()).header("content-range", format!("bytes */{size}"))
        );
    }
    let end = last.map_or(size, |last| last.saturating_add(1).min(size));
    reply = reply
        .status(StatusCode::PARTIAL_CONTENT)
        .header("content-length", (end - first).to_string())
        .header("content-range", format!("bytes {first}-{}/{size}", end - 1));
    // The sum of the whole blob is not that of the range.
    if let Some(whole) = reply.take("content-md5") {
        reply = reply.header("x-ms-blob-content-md5", whole);
    }
    if call.header("x-ms-range-get-content-md5")? != Some("true") {
        return Ok(reply.body(stream(view, first, end, counted)));
    }
    if end - first > SUMMED_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Invalid,
            "OutOfRangeInput",
            format!(
                "A range with x-ms-range-get-content-md5 may have at most {SUMMED_BYTES_MAX} bytes."
            ),
        ));
    }
    let mut all = Vec::new();
    while first + (all.len() as u64) < end {
        all.extend_from_slice(&view.piece(first + all.len() as u64, end).await?);
    }
    let sum = STANDARD.encode(Md5::digest(&all));
    counted.sent(all.len() as u64);
    Ok(reply.header("content-md5", sum).body(Body::from(all)))
}

/// Returns a body that reads and counts as the client takes it.
fn stream(view: View, first: u64, end: u64, counted: Download) -> Body {
    let begin = (view, first, counted);
    let pieces = futures::stream::unfold(begin, move |(view, at, counted)| async move {
        if at >= end {
            return None;
        }
        let piece: std::result::Result<Bytes, std::io::Error> =
            view.piece(at, end).await.map_err(std::io::Error::other);
        let next = piece.as_ref().map_or(end, |bytes| at + bytes.len() as u64);
        if piece.is_ok() {
            counted.sent(next - at);
        }
        Some((piece, (view, next, counted)))
    });
    Body::from_stream(pieces)
}

/// HEAD.
pub(super) async fn head(call: &Call, session: &Session) -> Result<BlobReply> {
    let blob = call
        .engine
        .blob(session, &call.path()?, &call.conditions()?)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK)
        .blob(&blob)
        .header("content-length", blob.size_bytes.to_string()))
}

/// GET or HEAD ?comp=metadata.
pub(super) async fn metadata(call: &Call, session: &Session) -> Result<BlobReply> {
    let blob = call
        .engine
        .blob(session, &call.path()?, &call.conditions()?)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK)
        .changed(&blob.etag, blob.modified_ms)
        .metadata(&blob.metadata))
}

/// PUT ?comp=metadata.
pub(super) async fn set_metadata(call: &Call, session: &Session) -> Result<BlobReply> {
    let (path, metadata, conditions) = (call.path()?, call.metadata()?, call.conditions()?);
    let blob = call
        .engine
        .set_blob_metadata(session, &path, metadata, &conditions)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK)
        .changed(&blob.etag, blob.modified_ms)
        .header("x-ms-request-server-encrypted", "false"))
}

/// PUT ?comp=properties.
pub(super) async fn set_properties(call: &Call, session: &Session) -> Result<BlobReply> {
    let size: Option<u64> = call.number("x-ms-blob-content-length")?;
    let number: Option<i64> = call.number("x-ms-blob-sequence-number")?;
    let needed = || number.ok_or_else(|| missing_header("x-ms-blob-sequence-number"));
    let sequence = match call.header("x-ms-sequence-number-action")? {
        None => None,
        Some("max") => Some(SequenceChange::Max(needed()?)),
        Some("update") => Some(SequenceChange::Update(needed()?)),
        Some("increment") => Some(SequenceChange::Increment),
        Some(_) => return Err(invalid_header("x-ms-sequence-number-action")),
    };
    let sent = call.content_headers()?;
    // A resize or a new sequence number alone keeps the content headers; anything else sets them all.
    let keeps = sent.is_empty() && (size.is_some() || sequence.is_some());
    let headers = if keeps { None } else { Some(sent) };
    let (path, conditions) = (call.path()?, call.conditions()?);
    let blob = call
        .engine
        .set_blob_properties(session, &path, headers, size, sequence, &conditions)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK)
        .changed(&blob.etag, blob.modified_ms)
        .header("x-ms-blob-sequence-number", blob.sequence.to_string()))
}

/// DELETE.
pub(super) async fn delete(call: &Call, session: &Session) -> Result<BlobReply> {
    if call.header("x-ms-delete-snapshots")? == Some("only") {
        return Err(unsupported("A blob's snapshot"));
    }
    call.engine
        .delete_blob(session, &call.path()?, &call.conditions()?)
        .await?;
    Ok(BlobReply::empty(StatusCode::ACCEPTED).header("x-ms-delete-type-permanent", "true"))
}
