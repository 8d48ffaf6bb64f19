//! Blocks: staged, committed, listed.

use axum::body::Body;
use axum::http::StatusCode;
use domain::Result;
use engine::blob::Session;
use engine::blob::failure::invalid_query;
use md5::{Digest as _, Md5};

use super::blobs::{created, echoed};
use super::call::{Call, text};
use super::reply::BlobReply;
use super::xml::{Xml, block_list};

/// The longest block list, in bytes: 50,000 ids of 88 characters with their elements.
const LIST_BYTES_MAX: usize = 8 << 20;

/// PUT ?comp=block&blockid=….
pub(super) async fn put(call: &Call, body: Body, session: &Session) -> Result<BlobReply> {
    if call.header("x-ms-copy-source")?.is_some() {
        return Err(call.engine.refuse_copy());
    }
    let path = call.path()?;
    let id = call
        .option("blockid")
        .ok_or_else(|| invalid_query("blockid"))?
        .to_owned();
    let upload = call.upload(body)?;
    call.engine.stage_block(session, &path, &id, upload).await?;
    Ok(echoed(call, BlobReply::empty(StatusCode::CREATED))
        .header("x-ms-request-server-encrypted", "false"))
}

/// PUT ?comp=blocklist.
pub(super) async fn commit(call: &Call, body: Body, session: &Session) -> Result<BlobReply> {
    let path = call.path()?;
    let mut put = call.put_blob()?;
    // These describe the list, not the blob.
    put.headers = call.content_headers()?;
    let sum = call.header("content-md5")?.map(str::to_owned);
    let text = text(body, LIST_BYTES_MAX).await?;
    if let Some(sum) = sum {
        use base64::Engine as _;
        let found = base64::engine::general_purpose::STANDARD.encode(Md5::digest(text.as_bytes()));
        if found != sum {
            return Err(engine::blob::failure::digest_mismatch("Md5Mismatch"));
        }
    }
    let list = block_list(&text)?;
    let blob = call
        .engine
        .commit_blocks(session, &path, &list, &put)
        .await?;
    Ok(created(call, &blob))
}

/// GET ?comp=blocklist.
pub(super) async fn list(call: &Call, session: &Session) -> Result<BlobReply> {
    let which = call
        .option("blocklisttype")
        .unwrap_or("committed")
        .to_ascii_lowercase();
    let (with_committed, with_uncommitted) = match which.as_str() {
        "committed" => (true, false),
        "uncommitted" => (false, true),
        "all" => (true, true),
        _ => return Err(invalid_query("blocklisttype")),
    };
    let found = call
        .engine
        .block_list(session, &call.path()?, &call.conditions()?)
        .await?;
    let mut xml = Xml::new();
    xml.open("BlockList");
    for (is_asked, element, blocks) in [
        (with_committed, "CommittedBlocks", &found.committed),
        (with_uncommitted, "UncommittedBlocks", &found.uncommitted),
    ] {
        if !is_asked {
            continue;
        }
        xml.open(element);
        for (id, length) in blocks {
            xml.open("Block");
            xml.text("Name", id);
            xml.text("Size", &length.to_string());
            xml.close("Block");
        }
        xml.close(element);
    }
    xml.close("BlockList");
    let reply = BlobReply::xml(xml);
    Ok(match &found.blob {
        Some(blob) => reply
            .changed(&blob.etag, blob.modified_ms)
            .header("x-ms-blob-content-length", blob.size_bytes.to_string()),
        None => reply.header("x-ms-blob-content-length", "0"),
    })
}
