//! Answers of the blob plane: headers that all share, blobs' headers, errors as XML.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use domain::resource::Document;
use domain::{Error, ErrorKind};
use engine::blob::{Blob, BlobKind};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::call::CONTENT_HEADERS;
use super::xml::Xml;
use crate::limits::Served;

/// The service's version that is answered when none was sent.
const VERSION: &str = "2026-04-06";

/// Ids and version of one request, answered as headers.
pub(super) struct Ids {
    pub request: Uuid,
    client: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl Ids {
    pub fn of(headers: &HeaderMap) -> Self {
        let short =
            |name: &str, bytes: usize| headers.get(name).filter(|v| v.len() <= bytes).cloned();
        Self {
            request: Uuid::new_v4(),
            client: short("x-ms-client-request-id", 1024),
            version: short("x-ms-version", 10),
        }
    }
}

/// An answer.
pub(super) struct BlobReply {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Body,
}

impl BlobReply {
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::empty(),
        }
    }

    pub fn xml(xml: Xml) -> Self {
        Self::empty(StatusCode::OK)
            .header("content-type", "application/xml")
            .body(Body::from(xml.finish()))
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Keeps the request's place until its last byte is sent, or nobody wants it any more.
    #[must_use]
    pub fn until_sent(mut self, served: Served) -> Self {
        // What is not announced is small and at hand: it is sent with its length, which a wrapped body does not tell.
        if self
            .headers
            .iter()
            .any(|(name, _)| name == "content-length")
        {
            let body = served.paced(self.body).map_frame(move |frame| {
                let _until_then = &served;
                frame
            });
            self.body = Body::new(body);
        }
        self
    }

    /// Adds etag and time of the last change.
    #[must_use]
    pub fn changed(self, etag: &str, modified_ms: i64) -> Self {
        self.header("etag", etag)
            .header("last-modified", date(modified_ms))
    }

    /// Adds metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: &Document) -> Self {
        for (name, value) in metadata {
            if let Value::String(value) = value {
                self.headers
                    .push((format!("x-ms-meta-{name}"), value.clone()));
            }
        }
        self
    }

    /// Adds what clients read of a blob.
    #[must_use]
    pub fn blob(mut self, blob: &Blob) -> Self {
        self = self
            .changed(&blob.etag, blob.modified_ms)
            .header("x-ms-creation-time", date(blob.created_ms))
            .header("x-ms-blob-type", blob.kind.as_str())
            .header("x-ms-lease-status", "unlocked")
            .header("x-ms-lease-state", "available")
            .header("x-ms-server-encrypted", "false")
            .header("accept-ranges", "bytes")
            .metadata(&blob.metadata);
        if blob.kind == BlobKind::Page {
            self = self.header("x-ms-blob-sequence-number", blob.sequence.to_string());
        }
        for name in CONTENT_HEADERS {
            let stored = blob.headers.get(name).and_then(Value::as_str);
            match (name, stored) {
                (_, Some(value)) => self.headers.push((name.to_owned(), value.to_owned())),
                ("content-type", None) => {
                    self.headers
                        .push((name.to_owned(), "application/octet-stream".to_owned()));
                }
                _ => {}
            }
        }
        self
    }

    /// Replaces the status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Removes a header and returns its value.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.headers.iter().position(|(n, _)| n == name)?;
        Some(self.headers.remove(at).1)
    }

    /// Replaces a header.
    pub fn set(&mut self, name: &str, value: String) {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value));
    }

    /// Returns an error in the service's form.
    pub fn error(error: &Error) -> Self {
        if error.code == "NotModified" {
            return Self::empty(StatusCode::NOT_MODIFIED)
                .header("x-ms-error-code", "ConditionNotMet");
        }
        let status = match error.code.as_ref() {
            "InvalidRange" => StatusCode::RANGE_NOT_SATISFIABLE,
            "MissingContentLengthHeader" => StatusCode::LENGTH_REQUIRED,
            _ => crate::error::status(error.kind),
        };
        let mut xml = Xml::new();
        xml.open("Error");
        xml.text("Code", &error.code);
        xml.text("Message", &error.message);
        xml.close("Error");
        let mut reply = Self::xml(xml).header("x-ms-error-code", error.code.to_string());
        reply.status = status;
        if matches!(
            error.kind,
            ErrorKind::Unavailable | ErrorKind::TooManyRequests
        ) {
            reply = reply.header("retry-after", "2");
        }
        if let (ErrorKind::Unauthenticated, Some(challenge)) = (error.kind, &error.target) {
            reply = reply.header("www-authenticate", challenge.clone());
        }
        reply
    }

    pub fn into_response(self, ids: &Ids, is_head: bool) -> Response<Body> {
        let is_bare = is_head || self.status == StatusCode::NOT_MODIFIED;
        let mut response = Response::new(if is_bare { Body::empty() } else { self.body });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::from_str(&value))
            {
                headers.append(name, value);
            }
        }
        if let Ok(id) = HeaderValue::from_str(&ids.request.to_string()) {
            headers.insert("x-ms-request-id", id);
        }
        if let Some(client) = &ids.client {
            headers.insert("x-ms-client-request-id", client.clone());
        }
        headers.insert(
            "x-ms-version",
            ids.version
                .clone()
                .unwrap_or(HeaderValue::from_static(VERSION)),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        // A page that somebody stored must not run as one of this server.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        );
        headers.insert(header::SERVER, HeaderValue::from_static("Vitrine-Blob"));
        response
    }
}

/// Returns a time as HTTP writes it.
pub(super) fn date(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

/// Reads a time as HTTP writes it, in milliseconds since the epoch, UTC.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser
        .parse_timestamp(text)
        .ok()
        .map(Timestamp::as_millisecond)
}
