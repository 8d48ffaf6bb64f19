//! An ARM request after the face has read it.

use bytes::Bytes;
use domain::{Error, Kind, ResourceId, Result};
use engine::{Ctx, Engine};
use serde_json::Value;

/// One authenticated request with its route's parameters.
pub(crate) struct Request {
    /// The gallery.
    pub engine: Engine,
    /// Who asks, with which api-version.
    pub ctx: Ctx,
    /// The path with single slashes, as the client wrote its case.
    pub path: String,
    /// `{name}` segments of the route, in order.
    pub params: Vec<(&'static str, String)>,
    /// Decoded query options, names in lower case without a leading `$`.
    pub query: Vec<(String, String)>,
    /// The raw body.
    pub body: Bytes,
    /// The query as it came, for links to the next page.
    pub raw_query: String,
}

impl Request {
    /// Returns a parameter of the route.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// Returns a query option by its lower-case name without `$`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether `$expand` names `what`, whatever the case.
    pub fn expands(&self, what: &str) -> bool {
        self.option("expand").is_some_and(|list| {
            list.split(',')
                .any(|item| item.trim().eq_ignore_ascii_case(what))
        })
    }

    /// Returns the id in the path, cut before a trailing verb such as `/listKeys`.
    pub fn id(&self) -> Result<ResourceId> {
        ResourceId::parse(&self.path)
    }

    /// Returns the id in the path without its last segment.
    pub fn id_before_verb(&self) -> Result<ResourceId> {
        let cut = self.path.rfind('/').unwrap_or(0);
        ResourceId::parse(&self.path[..cut])
    }

    /// Returns the body checked against the kind's table at the request's api-version.
    pub fn checked_body(&self, kind: Kind) -> Result<Value> {
        arm::schema::check_request_bytes(kind, &self.ctx.api_version, &self.body)
    }

    /// Returns the body as JSON, null when it is none: for verbs that ask for rights before they read.
    pub fn lenient_body(&self) -> Value {
        self.json_body().unwrap_or_default()
    }

    /// Returns the body as JSON without a table, `{}` when empty; a member that comes twice means two things and is refused.
    pub fn json_body(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        arm::schema::check_syntax(&self.body)?;
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(
                domain::ErrorKind::Invalid,
                "InvalidRequestContent",
                format!(
                    "The request content was invalid and could not be deserialized: '{error}'."
                ),
            )
        })
    }
}
