//! URLs of `beginGetAccess`: one disk as a fixed VHD, read or written like a page blob.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::Result;
use engine::blob::DiskAccess;
use engine::blob::failure::{authentication_failed, not_permitted};

use super::blobs::{content, echoed};
use super::call::Call;
use super::page::{PageWrite, page_write, ranges};
use super::reply::{BlobReply, date};

/// Serves one request on a disk's URL.
pub(super) async fn serve(call: Call, body: Body) -> Result<BlobReply> {
    if call.headers.contains_key("authorization") {
        return Err(authentication_failed(
            "A disk's URL carries its own proof; send no Authorization header.",
        ));
    }
    let secret = call
        .option("sig")
        .ok_or_else(|| authentication_failed("The URL carries no signature (sig)."))?;
    let access = call
        .engine
        .open_disk_access(call.container(), secret)
        .await?
        .seen_from(&call.client);
    let caller = call.secret_name().unwrap_or_default();
    match call.admit(&caller, &access.resource().id.key()) {
        Ok(served) => {
            let body = served.paced(body);
            Ok(answer(call, body, access).await?.until_sent(served))
        }
        Err(refusal) => Ok(refusal),
    }
}

async fn answer(call: Call, body: Body, access: DiskAccess) -> Result<BlobReply> {
    let comp = call.option("comp").unwrap_or_default().to_owned();
    match (&call.method, comp.as_str()) {
        (&Method::GET, "") => {
            check(&call, &access)?;
            let reply = described(&access);
            let counted = call.engine.download_of(access.resource());
            content(&call, access.into_view(), reply, counted).await
        }
        (&Method::HEAD, "") => {
            check(&call, &access)?;
            Ok(described(&access).header("content-length", access.size_bytes().to_string()))
        }
        (&Method::GET | &Method::HEAD, "metadata") => {
            check(&call, &access)?;
            Ok(BlobReply::empty(StatusCode::OK).changed(&access.etag(), access.modified_ms()))
        }
        (&Method::GET, "pagelist") => {
            check(&call, &access)?;
            Ok(ranges(&call, access.view())
                .await?
                .changed(&access.etag(), access.modified_ms()))
        }
        (&Method::PUT, "page") => put(&call, body, access).await,
        _ => Err(not_permitted("AuthorizationPermissionMismatch")),
    }
}

fn check(call: &Call, access: &DiskAccess) -> Result<()> {
    call.conditions()?
        .check_read(&access.etag(), access.modified_ms())
}

fn described(access: &DiskAccess) -> BlobReply {
    BlobReply::empty(StatusCode::OK)
        .changed(&access.etag(), access.modified_ms())
        .header("x-ms-creation-time", date(access.created_ms()))
        .header("x-ms-blob-type", "PageBlob")
        .header("x-ms-blob-sequence-number", "0")
        .header("x-ms-lease-status", "unlocked")
        .header("x-ms-lease-state", "available")
        .header("x-ms-server-encrypted", "false")
        .header("accept-ranges", "bytes")
        .header("content-type", "application/octet-stream")
}

async fn put(call: &Call, body: Body, access: DiskAccess) -> Result<BlobReply> {
    call.conditions()?
        .check_read(&access.etag(), access.modified_ms())
        .map_err(|_| engine::blob::failure::condition_not_met())?;
    match page_write(call)? {
        PageWrite::Update { start } => {
            let upload = call.upload(body)?;
            call.engine.write_disk_pages(&access, start, upload).await?;
        }
        PageWrite::Clear { start, length } => {
            call.engine.clear_disk_pages(&access, start, length).await?
        }
    }
    Ok(echoed(call, BlobReply::empty(StatusCode::CREATED))
        .changed(&access.etag(), access.modified_ms())
        .header("x-ms-blob-sequence-number", "0")
        .header("x-ms-request-server-encrypted", "false"))
}
