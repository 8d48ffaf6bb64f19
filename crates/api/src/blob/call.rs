//! One request of the blob plane, taken apart and checked.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::resource::Document;
use domain::{Error, ErrorKind, Result};
use engine::Engine;
use engine::blob::failure::{invalid_header, invalid_query, unsupported};
use engine::blob::{BlobPath, Conditions, PutBlob, Upload};
use futures::StreamExt as _;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::reply::{BlobReply, parse_date};
use crate::limits::{BlobLimiter, Served};
use crate::state::ApiState;

/// The longest path and query, in bytes.
const URI_BYTES_MAX: usize = 8 << 10;
/// Names and values of metadata together, in bytes.
const METADATA_BYTES_MAX: usize = 8 << 10;
const METADATA: &str = "x-ms-meta-";
/// Headers that ask for what is not there: ignoring them would break a promise.
const REFUSED: [&str; 9] = [
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-tags",
    "x-ms-structured-body",
    "x-ms-immutability-policy-until-date",
    "x-ms-legal-hold",
    "x-ms-range-get-content-crc64",
    "x-ms-lease-id",
];
/// Headers of a blob's content, as they are answered; sent with `x-ms-blob-` before.
pub(super) const CONTENT_HEADERS: [&str; 6] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
    "content-md5",
];

/// A request.
pub(super) struct Call {
    pub engine: Engine,
    limiter: BlobLimiter,
    pub method: Method,
    pub headers: HeaderMap,
    /// The path as sent.
    pub raw_path: String,
    /// Decoded options, in the order sent.
    pub query: Vec<(String, String)>,
    pub account: String,
    pub container: Option<String>,
    pub blob: Option<String>,
    pub base_url: String,
    /// The address that the request came from.
    pub client: String,
    /// The id that is answered.
    pub request_id: Uuid,
}

impl Call {
    /// Takes a request apart; `below` is the path below the account.
    pub fn read(
        state: ApiState,
        request: Request,
        account: &str,
        below: &str,
        request_id: Uuid,
    ) -> Result<(Self, Body)> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        if parts.uri.path().len() + query.len() > URI_BYTES_MAX {
            return Err(Error::bad_request("The URL is too long."));
        }
        let (container, blob) = match below.split_once('/') {
            Some((container, blob)) => (container, blob),
            None => (below, ""),
        };
        let named = |raw: &str| decode(raw).map(|text| Some(text).filter(|text| !text.is_empty()));
        let call = Self {
            engine: state.engine,
            limiter: state.blob_limiter,
            client: crate::face::client_of(&parts.extensions),
            request_id,
            base_url: crate::face::base_url(&parts.headers, &parts.uri),
            raw_path: parts.uri.path().to_owned(),
            query: parse_query(query)?,
            account: decode(account)?,
            container: named(container)?,
            blob: named(blob)?,
            method: parts.method,
            headers: parts.headers,
        };
        Ok((call, body))
    }

    /// Lets the request of a caller that is known by now in; who sends too many hears when to come again.
    pub fn admit(&self, caller: &str, account: &str) -> std::result::Result<Served, BlobReply> {
        let admitted = self.limiter.admit(caller, account, self.engine.now_ms());
        admitted.map_err(|busy| {
            let error = Error::new(ErrorKind::Unavailable, "ServerBusy", busy.message);
            let mut reply = BlobReply::error(&error);
            reply.set("retry-after", busy.seconds.to_string());
            reply
        })
    }

    /// Returns what the secret in the URL is known by: nothing keeps the secret itself.
    pub fn secret_name(&self) -> Option<String> {
        let digest = Sha256::digest(self.option("sig")?.as_bytes());
        Some(format!("url:{}", STANDARD.encode(digest)))
    }

    /// Refuses headers that are doubled or ask for what is not there.
    pub fn check_headers(&self) -> Result<()> {
        for name in self.headers.keys() {
            let is_single = name.as_str().starts_with("x-ms-")
                || matches!(
                    name.as_str(),
                    "authorization" | "content-length" | "range" | "host" | "content-md5"
                );
            if is_single && self.headers.get_all(name).iter().nth(1).is_some() {
                return Err(invalid_header(name.as_str()));
            }
        }
        if let Some(name) = REFUSED
            .into_iter()
            .find(|name| self.headers.contains_key(*name))
        {
            return Err(unsupported(&format!("The header {name}")));
        }
        if self
            .option("snapshot")
            .or(self.option("versionid"))
            .is_some()
        {
            return Err(unsupported("A blob's snapshot or version"));
        }
        match self.header("x-ms-version")? {
            Some(version) if !is_version(version) => Err(invalid_header("x-ms-version")),
            _ => Ok(()),
        }
    }

    /// Returns a header.
    pub fn header(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.headers.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| invalid_header(name))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Returns a header that holds a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.header(name)?
            .map(|text| text.parse().map_err(|_| invalid_header(name)))
            .transpose()
    }

    /// Returns a query option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the container's name.
    pub fn container(&self) -> &str {
        self.container.as_deref().unwrap_or_default()
    }

    /// Returns the blob that the path names.
    pub fn path(&self) -> Result<BlobPath> {
        BlobPath::new(self.container(), self.blob.as_deref().unwrap_or_default())
    }

    /// Returns the conditional headers.
    pub fn conditions(&self) -> Result<Conditions> {
        let text = |name: HeaderName| self.header(name.as_str()).map(|v| v.map(str::to_owned));
        let time = |name: HeaderName| -> Result<Option<i64>> {
            let sent = self.header(name.as_str())?;
            sent.map(|v| parse_date(v).ok_or_else(|| invalid_header(name.as_str())))
                .transpose()
        };
        Ok(Conditions {
            if_match: text(header::IF_MATCH)?,
            if_none_match: text(header::IF_NONE_MATCH)?,
            if_modified_since: time(header::IF_MODIFIED_SINCE)?.map(|ms| ms.div_euclid(1000)),
            if_unmodified_since: time(header::IF_UNMODIFIED_SINCE)?.map(|ms| ms.div_euclid(1000)),
            if_sequence_le: self.number("x-ms-if-sequence-number-le")?,
            if_sequence_lt: self.number("x-ms-if-sequence-number-lt")?,
            if_sequence_eq: self.number("x-ms-if-sequence-number-eq")?,
        })
    }

    /// Returns `x-ms-meta-*`.
    pub fn metadata(&self) -> Result<Document> {
        let mut metadata = Document::new();
        let mut bytes = 0;
        for (name, value) in &self.headers {
            let Some(key) = name.as_str().strip_prefix(METADATA) else {
                continue;
            };
            let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let value = value.to_str().ok().filter(|_| is_name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    "InvalidMetadata",
                    "The metadata specified is invalid. It has characters that are not permitted.",
                )
            })?;
            bytes += key.len() + value.len();
            metadata.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        if bytes > METADATA_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                "MetadataTooLarge",
                format!(
                    "The size of the specified metadata exceeds the maximum size permitted, {METADATA_BYTES_MAX} bytes."
                ),
            ));
        }
        Ok(metadata)
    }

    /// Returns the `x-ms-blob-content-*` headers under their plain names.
    pub fn content_headers(&self) -> Result<Document> {
        let mut headers = Document::new();
        for name in CONTENT_HEADERS {
            if let Some(value) = self.header(&format!("x-ms-blob-{name}"))? {
                headers.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        }
        Ok(headers)
    }

    /// Returns what a put brings beside its bytes.
    pub fn put_blob(&self) -> Result<PutBlob> {
        let mut headers = self.content_headers()?;
        for name in [
            "content-type",
            "content-encoding",
            "content-language",
            "cache-control",
            "content-md5",
        ] {
            if let (false, Some(value)) = (headers.contains_key(name), self.header(name)?) {
                headers.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        }
        Ok(PutBlob {
            headers,
            metadata: self.metadata()?,
            conditions: self.conditions()?,
            sequence: self
                .number("x-ms-blob-sequence-number")?
                .unwrap_or_default(),
        })
    }

    /// Returns the announced length of the body.
    pub fn length(&self) -> Result<u64> {
        self.number("content-length")?.ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "MissingContentLengthHeader",
                "Content-Length HTTP header was not specified.",
            )
        })
    }

    /// Returns a body as a stream with its announced sums.
    pub fn upload(&self, body: Body) -> Result<Upload> {
        let stream = body.into_data_stream().map(|piece| {
            piece.map_err(|error| {
                tracing::debug!(%error, "a client went away");
                Error::new(
                    ErrorKind::Invalid,
                    "RequestBodyIncomplete",
                    "The body ended before it was whole; nothing was stored.",
                )
            })
        });
        Ok(Upload {
            length: self.length()?,
            md5: self.digest("content-md5")?,
            crc64: self.digest("x-ms-content-crc64")?,
            body: stream.boxed(),
        })
    }

    fn digest<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>> {
        let Some(text) = self.header(name)? else {
            return Ok(None);
        };
        let bytes = STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Some).ok_or_else(|| {
            let code = if name == "content-md5" {
                "InvalidMd5"
            } else {
                "InvalidHeaderValue"
            };
            Error::new(
                ErrorKind::Invalid,
                code,
                format!("The value of the header {name} is not a checksum in base64."),
            )
        })
    }

    /// Returns `x-ms-range` or `Range`: the first byte and, when given, the last.
    pub fn range(&self) -> Result<Option<(u64, Option<u64>)>> {
        let sent = match self.header("x-ms-range")? {
            Some(range) => Some(range),
            None => self.header("range")?,
        };
        let Some(range) = sent.and_then(|text| text.trim().strip_prefix("bytes=")) else {
            return Ok(None);
        };
        let wrong = || invalid_header("Range");
        let (first, last) = range.split_once('-').ok_or_else(wrong)?;
        let number = |text: &str| -> Result<u64> {
            let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).ok_or_else(wrong)
        };
        let first = number(first)?;
        let last = if last.is_empty() {
            None
        } else {
            Some(number(last)?)
        };
        if last.is_some_and(|last| last < first) {
            return Err(wrong());
        }
        Ok(Some((first, last)))
    }
}

fn is_version(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| {
            if at == 4 || at == 7 {
                b == b'-'
            } else {
                b.is_ascii_digit()
            }
        })
}

fn decode(raw: &str) -> Result<String> {
    percent_decode_str(raw)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                "InvalidUri",
                "The URL is not valid UTF-8.",
            )
        })
}

/// Decodes options; `+` stands for itself, as clients sign it, and no option may come twice.
fn parse_query(raw: &str) -> Result<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if options
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(&name))
        {
            return Err(invalid_query("an option is given twice"));
        }
        options.push((name, value));
    }
    Ok(options)
}

/// Returns a whole body, when it is small text.
pub(super) async fn text(body: Body, bytes_max: usize) -> Result<String> {
    let bytes = axum::body::to_bytes(body, bytes_max)
        .await
        .map_err(|_| engine::blob::failure::too_large(bytes_max as u64))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| super::xml::invalid())
}
