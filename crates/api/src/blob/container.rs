//! Containers and the list of their blobs.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::{Error, Result};
use engine::blob::failure::unsupported;
use engine::blob::{Blob, BlobContainer, BlobKind, ListItem, Session};

use super::call::{Call, text};
use super::reply::{BlobReply, date};
use super::service::{close_list, includes, list_options, open_list, stored, write_metadata};
use super::xml::Xml;

/// The longest ACL document, in bytes.
const ACL_BYTES_MAX: usize = 16 << 10;

/// PUT ?restype=container.
pub(super) async fn create(call: &Call, session: &Session) -> Result<BlobReply> {
    check_private(call)?;
    let made = call
        .engine
        .create_container(session, call.container(), call.metadata()?)
        .await?;
    Ok(BlobReply::empty(StatusCode::CREATED).changed(&made.etag, made.modified_ms))
}

fn check_private(call: &Call) -> Result<()> {
    match call.header("x-ms-blob-public-access")? {
        None => Ok(()),
        Some(_) => Err(Error::conflict(
            "PublicAccessNotPermitted",
            "Public access is not permitted on this storage account; give readers a SAS or a role.",
        )),
    }
}

/// GET or HEAD ?restype=container, with or without comp=metadata.
pub(super) async fn show(call: &Call, session: &Session) -> Result<BlobReply> {
    let container = call.engine.container(session, call.container()).await?;
    Ok(described(&container).metadata(&container.metadata))
}

fn described(container: &BlobContainer) -> BlobReply {
    BlobReply::empty(StatusCode::OK)
        .changed(&container.etag, container.modified_ms)
        .header("x-ms-lease-status", "unlocked")
        .header("x-ms-lease-state", "available")
        .header("x-ms-has-immutability-policy", "false")
        .header("x-ms-has-legal-hold", "false")
}

/// PUT ?restype=container&comp=metadata.
pub(super) async fn set_metadata(call: &Call, session: &Session) -> Result<BlobReply> {
    let (metadata, conditions) = (Some(call.metadata()?), call.conditions()?);
    let changed = call
        .engine
        .set_container_metadata(session, call.container(), metadata, &conditions)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK).changed(&changed.etag, changed.modified_ms))
}

/// GET or HEAD ?restype=container&comp=acl: nobody is let in without a proof.
pub(super) async fn acl(call: &Call, session: &Session) -> Result<BlobReply> {
    let container = call.engine.container(session, call.container()).await?;
    if call.method == Method::HEAD {
        return Ok(described(&container));
    }
    let mut xml = Xml::new();
    xml.text("SignedIdentifiers", "");
    Ok(BlobReply::xml(xml).changed(&container.etag, container.modified_ms))
}

/// PUT ?restype=container&comp=acl: only "private, no stored policies" can be set.
pub(super) async fn set_acl(call: &Call, body: Body, session: &Session) -> Result<BlobReply> {
    check_private(call)?;
    let body = text(body, ACL_BYTES_MAX).await?;
    if body.contains("<SignedIdentifier>") {
        return Err(unsupported("A stored access policy"));
    }
    let conditions = call.conditions()?;
    let changed = call
        .engine
        .set_container_metadata(session, call.container(), None, &conditions)
        .await?;
    Ok(BlobReply::empty(StatusCode::OK).changed(&changed.etag, changed.modified_ms))
}

/// DELETE ?restype=container.
pub(super) async fn delete(call: &Call, session: &Session) -> Result<BlobReply> {
    call.engine
        .delete_container(session, call.container(), &call.conditions()?)
        .await?;
    Ok(BlobReply::empty(StatusCode::ACCEPTED))
}

/// GET ?restype=container&comp=list.
pub(super) async fn list(call: &Call, session: &Session) -> Result<BlobReply> {
    let listing = call
        .engine
        .list_blobs(session, call.container(), &list_options(call)?)
        .await?;
    let mut xml = open_list(call, Some(call.container()));
    xml.open("Blobs");
    for item in &listing.items {
        match item {
            ListItem::Blob(blob) => write_blob(&mut xml, blob, includes(call, "metadata")),
            ListItem::Prefix(prefix) => {
                xml.open("BlobPrefix");
                xml.text("Name", prefix);
                xml.close("BlobPrefix");
            }
        }
    }
    xml.close("Blobs");
    Ok(close_list(xml, listing.next.as_deref()))
}

fn write_blob(xml: &mut Xml, blob: &Blob, with_metadata: bool) {
    xml.open("Blob");
    xml.text("Name", &blob.name);
    xml.open("Properties");
    xml.text("Creation-Time", &date(blob.created_ms));
    xml.text("Last-Modified", &date(blob.modified_ms));
    xml.text("Etag", blob.etag.trim_matches('"'));
    xml.text("Content-Length", &blob.size_bytes.to_string());
    let content_type = Some(stored(&blob.headers, "content-type")).filter(|t| !t.is_empty());
    xml.text(
        "Content-Type",
        content_type.unwrap_or("application/octet-stream"),
    );
    for (element, name) in [
        ("Content-Encoding", "content-encoding"),
        ("Content-Language", "content-language"),
        ("Content-MD5", "content-md5"),
        ("Cache-Control", "cache-control"),
        ("Content-Disposition", "content-disposition"),
    ] {
        xml.text(element, stored(&blob.headers, name));
    }
    if blob.kind == BlobKind::Page {
        xml.text("x-ms-blob-sequence-number", &blob.sequence.to_string());
    }
    xml.text("BlobType", blob.kind.as_str());
    xml.text("LeaseStatus", "unlocked");
    xml.text("LeaseState", "available");
    xml.text("ServerEncrypted", "false");
    xml.close("Properties");
    if with_metadata {
        write_metadata(xml, &blob.metadata);
    }
    xml.close("Blob");
}
