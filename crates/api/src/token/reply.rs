//! Answers of the token service, and errors in the form that OAuth clients read.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use engine::identity::SignInError;
use serde_json::{Value, json};
use uuid::Uuid;

/// Ids and time of one request.
pub(super) struct Context {
    /// Names this request in the log.
    pub trace: Uuid,
    correlation: Uuid,
    now_ms: i64,
}

impl Context {
    /// Reads the client's id from its header or the query.
    pub fn of(request: &Request, now_ms: i64) -> Self {
        let trace = Uuid::new_v4();
        let header = request
            .headers()
            .get("client-request-id")
            .and_then(|value| value.to_str().ok());
        let query = request.uri().query().unwrap_or_default();
        let query = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("client-request-id="));
        let correlation = header
            .or(query)
            .and_then(|text| Uuid::parse_str(text).ok())
            .unwrap_or(trace);
        Self {
            trace,
            correlation,
            now_ms,
        }
    }

    /// Returns 200 with a body that nobody may keep.
    pub fn ok(&self, body: &Value) -> Response<Body> {
        self.json(StatusCode::OK, body)
    }

    /// Returns the refusal of a sign-in.
    pub fn refuse(&self, error: &SignInError) -> Response<Body> {
        let timestamp = arm::time::format_zulu(self.now_ms);
        // `2026-11-24 23:00:00Z`, as the service writes it.
        let timestamp = format!(
            "{}Z",
            timestamp.get(..19).unwrap_or_default().replace('T', " ")
        );
        let mut response = self.json(
            status(error),
            &json!({
                "error": error.error(),
                "error_description": format!(
                    "{} Trace ID: {} Correlation ID: {} Timestamp: {timestamp}",
                    error.description(), self.trace, self.correlation
                ),
                "error_codes": [error.code()],
                "timestamp": timestamp,
                "trace_id": self.trace.to_string(),
                "correlation_id": self.correlation.to_string(),
            }),
        );
        let headers = response.headers_mut();
        match error {
            SignInError::Locked => {
                drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60")))
            }
            SignInError::Unavailable => {
                drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2")))
            }
            _ if status(error) == StatusCode::UNAUTHORIZED => {
                drop(headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"vitrine\""),
                ));
            }
            _ => {}
        }
        response
    }

    fn json(&self, status: StatusCode, body: &Value) -> Response<Body> {
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        for (name, value) in [
            ("x-ms-request-id", self.trace),
            ("client-request-id", self.correlation),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        protect(&mut response);
        response
    }
}

/// Adds the headers that keep an answer out of caches and frames.
pub(super) fn protect(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-store, no-cache"),
        ("pragma", "no-cache"),
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}

/// Returns the status of a refusal.
pub(super) fn status(error: &SignInError) -> StatusCode {
    match error {
        SignInError::Locked => StatusCode::TOO_MANY_REQUESTS,
        SignInError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        SignInError::NotLocal(_) => StatusCode::FORBIDDEN,
        SignInError::UnknownIdentity => StatusCode::NOT_FOUND,
        _ if error.error() == "invalid_client" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    }
}
