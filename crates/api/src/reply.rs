//! What a handler answers, before headers that all answers share.

use axum::http::StatusCode;
use domain::operation::{Family, Operation};
use serde_json::Value;

/// An answer: status, headers of its own, JSON or nothing.
pub(crate) struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers of this answer alone.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Option<Value>,
}

impl Reply {
    /// Returns 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// Returns a status with a body.
    pub fn json(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Some(body),
        }
    }

    /// Returns a status without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the poll URL; clients sleep 30 s without `Retry-After`.
    #[must_use]
    pub fn polled(self, base_url: &str, api_version: &str, operation: &Operation) -> Self {
        let urls = arm::operation::poll_urls(base_url, operation, api_version);
        let mut reply = self.header("retry-after", "1");
        if operation.family == Family::Compute {
            reply = reply.header("azure-asyncnotification", "Enabled");
        }
        match urls.status {
            Some(status) => reply.header("azure-asyncoperation", status),
            None => reply,
        }
    }

    /// Adds the URL of the result.
    #[must_use]
    pub fn located(self, base_url: &str, api_version: &str, operation: &Operation) -> Self {
        let urls = arm::operation::poll_urls(base_url, operation, api_version);
        self.header("location", urls.result)
    }
}
