//! The account's blob service: its containers, its properties.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Result;
use domain::resource::Document;
use engine::blob::failure::invalid_query;
use engine::blob::{ListOptions, Session};
use serde_json::Value;

use super::call::Call;
use super::reply::{BlobReply, date};
use super::xml::{Xml, escape};

/// The most lines of one list.
const ITEMS_MAX: usize = 5000;

/// Returns what a list asks.
pub(super) fn list_options(call: &Call) -> Result<ListOptions> {
    let limit = match call.option("maxresults") {
        None => ITEMS_MAX,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| invalid_query("maxresults"))?,
    };
    let marker = match call.option("marker").filter(|marker| !marker.is_empty()) {
        None => None,
        Some(marker) => {
            let bytes = URL_SAFE_NO_PAD
                .decode(marker)
                .map_err(|_| invalid_query("marker"))?;
            Some(String::from_utf8(bytes).map_err(|_| invalid_query("marker"))?)
        }
    };
    Ok(ListOptions {
        prefix: call.option("prefix").unwrap_or_default().to_owned(),
        delimiter: call.option("delimiter").map(str::to_owned),
        marker,
        limit: limit.min(ITEMS_MAX),
    })
}

/// Whether `include` names `what`.
pub(super) fn includes(call: &Call, what: &str) -> bool {
    call.option("include")
        .is_some_and(|list| list.split(',').any(|item| item.trim() == what))
}

/// Opens the answer to a list and repeats what was asked.
pub(super) fn open_list(call: &Call, container: Option<&str>) -> Xml {
    let endpoint = format!("{}/blob/{}/", call.base_url, call.account);
    let named = container
        .map(|name| format!(" ContainerName=\"{}\"", escape(name)))
        .unwrap_or_default();
    let mut xml = Xml::new();
    xml.open(&format!(
        "EnumerationResults ServiceEndpoint=\"{}\"{named}",
        escape(&endpoint)
    ));
    for (element, option) in [
        ("Prefix", "prefix"),
        ("Marker", "marker"),
        ("MaxResults", "maxresults"),
        ("Delimiter", "delimiter"),
    ] {
        if let Some(value) = call.option(option).filter(|value| !value.is_empty()) {
            xml.text(element, value);
        }
    }
    xml
}

/// Closes the answer to a list.
pub(super) fn close_list(mut xml: Xml, next: Option<&str>) -> BlobReply {
    xml.text(
        "NextMarker",
        &next
            .map(|name| URL_SAFE_NO_PAD.encode(name))
            .unwrap_or_default(),
    );
    xml.close("EnumerationResults");
    BlobReply::xml(xml)
}

/// Writes metadata as elements.
pub(super) fn write_metadata(xml: &mut Xml, metadata: &Document) {
    xml.open("Metadata");
    for (name, value) in metadata {
        xml.text(name, value.as_str().unwrap_or_default());
    }
    xml.close("Metadata");
}

/// GET /?comp=list.
pub(super) async fn list(call: &Call, session: &Session) -> Result<BlobReply> {
    let listing = call
        .engine
        .list_containers(session, &list_options(call)?)
        .await?;
    let mut xml = open_list(call, None);
    xml.open("Containers");
    for container in &listing.items {
        xml.open("Container");
        xml.text("Name", &container.name);
        xml.open("Properties");
        xml.text("Last-Modified", &date(container.modified_ms));
        xml.text("Etag", &container.etag);
        xml.text("LeaseStatus", "unlocked");
        xml.text("LeaseState", "available");
        xml.text("HasImmutabilityPolicy", "false");
        xml.text("HasLegalHold", "false");
        xml.close("Properties");
        if includes(call, "metadata") {
            write_metadata(&mut xml, &container.metadata);
        }
        xml.close("Container");
    }
    xml.close("Containers");
    Ok(close_list(xml, listing.next.as_deref()))
}

/// GET /?restype=service&comp=properties.
pub(super) async fn properties(call: &Call, session: &Session) -> Result<BlobReply> {
    call.engine.see_blob_service(session).await?;
    let mut xml = Xml::new();
    xml.open("StorageServiceProperties");
    xml.open("Logging");
    xml.text("Version", "1.0");
    for name in ["Delete", "Read", "Write"] {
        xml.text(name, "false");
    }
    disabled(&mut xml, "RetentionPolicy");
    xml.close("Logging");
    for name in ["HourMetrics", "MinuteMetrics"] {
        xml.open(name);
        xml.text("Version", "1.0");
        xml.text("Enabled", "false");
        disabled(&mut xml, "RetentionPolicy");
        xml.close(name);
    }
    xml.text("Cors", "");
    disabled(&mut xml, "DeleteRetentionPolicy");
    disabled(&mut xml, "StaticWebsite");
    xml.close("StorageServiceProperties");
    Ok(BlobReply::xml(xml))
}

fn disabled(xml: &mut Xml, name: &str) {
    xml.open(name);
    xml.text("Enabled", "false");
    xml.close(name);
}

/// GET or HEAD …?restype=account&comp=properties.
pub(super) async fn account_info(call: &Call, session: &Session) -> Result<BlobReply> {
    if call.option("comp") != Some("properties") {
        return Err(invalid_query("comp"));
    }
    call.engine.see_blob_service(session).await?;
    let (sku, kind) = session.account_info();
    Ok(BlobReply::empty(StatusCode::OK)
        .header("x-ms-sku-name", sku)
        .header("x-ms-account-kind", kind)
        .header("x-ms-is-hns-enabled", "false"))
}

/// Returns a stored content header.
pub(super) fn stored<'a>(headers: &'a Document, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
