//! The ARM face: one way in for every route.
//!
//! In order: path, route, token, api-version, body within its limit, handler, headers. The same
//! order for all, so no route can forget a step.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use bytes::Bytes;
use domain::{Error, ErrorKind, Result};
use engine::{Caller, Ctx};
use percent_encoding::percent_decode_str;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use uuid::Uuid;

use crate::auxiliary;
use crate::limits::Remaining;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Found;
use crate::state::ApiState;

/// The largest body of an ARM request, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// The longest an ARM request may take before the client hears that it took too long.
const REQUEST_SECONDS_MAX: u64 = 60;
/// The longest path and query, in bytes.
const URI_BYTES_MAX: usize = 16 << 10;

/// Ids of one request, answered as headers.
struct Ids {
    request: Uuid,
    correlation: Uuid,
    client: Option<HeaderValue>,
    /// What the caller has left of its rate limit.
    remaining: OnceLock<Remaining>,
}

/// Serves every path that no other face owns.
pub(crate) async fn serve(
    State(state): State<ApiState>,
    request: axum::extract::Request,
) -> Response<Body> {
    let ids = Ids::of(request.headers());
    let started = std::time::Instant::now();
    let metrics = state.engine.metrics().clone();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let limit = Duration::from_secs(REQUEST_SECONDS_MAX);
    let outcome = match tokio::time::timeout(limit, handle(state, request, &ids)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(
            ErrorKind::Unavailable,
            "RequestTimeout",
            "The request took too long and was given up; what it had recorded goes on. Read the resource before you repeat it.",
        )),
    };
    let is_head = method == Method::HEAD;
    let response = match outcome {
        Ok(reply) => respond(reply, &ids, is_head),
        Err(error) => respond(error_reply(&error), &ids, is_head),
    };
    metrics.count_request(
        engine::metrics::Plane::Arm,
        method.as_str(),
        response.status().as_u16(),
        started.elapsed(),
    );
    tracing::info!(
        http.method = %method, http.path = %path, http.status = response.status().as_u16(),
        duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        request.id = %ids.request, correlation.id = %ids.correlation, "served"
    );
    response
}

async fn handle(state: ApiState, request: axum::extract::Request, ids: &Ids) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > URI_BYTES_MAX {
        return Err(Error::bad_request("The URL is too long."));
    }
    let path = clean_path(parts.uri.path())?;
    let caller = match authenticate(&state, &parts.headers).await {
        Ok(caller) => caller,
        Err(error) => {
            let base = base_url(&parts.headers, &parts.uri);
            return turned_away(&state, &path, &base, &error).await;
        }
    };
    let taken = state.limiter.take(
        &caller.object_id,
        &parts.method,
        &path,
        state.engine.now_ms(),
    );
    match taken {
        Ok(Some(remaining)) => drop(ids.remaining.set(remaining)),
        Ok(None) => {}
        Err(refusal) => return Ok(refusal),
    }
    let auxiliary = auxiliary::callers(&state.engine, &parts.headers).await?;
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let query = parse_query(&raw_query)?;
    let (handler, type_name, params) = match state.routes.find(&parts.method, &path) {
        Found::Route(route, params) => (route.handler, route.type_name, params),
        Found::OtherMethod => return Err(wrong_method(&parts.method)),
        Found::Nothing => return Err(no_route(&path)),
    };
    let mut sent = query.iter().filter(|(name, _)| name == "api-version");
    let sent = sent.next().map(|(_, value)| value.as_str());
    let api_version = arm::versions::check(type_name, sent)?;
    let body = read_body(body).await?;
    let ctx = Ctx {
        caller,
        auxiliary,
        api_version: api_version.to_string(),
        base_url: base_url(&parts.headers, &parts.uri),
        correlation_id: ids.correlation,
        client: client_of(&parts.extensions),
    };
    let asked = Asked {
        action: action(type_name, &parts.method, &path),
        is_read: matches!(parts.method, Method::GET | Method::HEAD),
        path: path.clone(),
        ctx: ctx.clone(),
    };
    let outcome = handler(Request {
        engine: state.engine.clone(),
        ctx,
        path,
        params,
        query,
        body,
        raw_query,
    })
    .await;
    if let Err(error) = &outcome
        && asked.is_worth_recording(error)
    {
        state
            .engine
            .audit_refusal(&asked.ctx, &asked.action, &asked.path, error)
            .await;
    }
    outcome
}

/// Returns the address that a request came from, as the connection says; headers are not asked.
pub(crate) fn client_of(extensions: &Extensions) -> String {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0.ip().to_canonical().to_string())
        .unwrap_or_default()
}

/// What was asked, for the audit.
struct Asked {
    action: String,
    is_read: bool,
    path: String,
    ctx: Ctx,
}

impl Asked {
    /// Every refused write, and every read that the caller has no right to.
    fn is_worth_recording(&self, error: &Error) -> bool {
        match error.kind {
            ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::Overtaken => false,
            ErrorKind::Forbidden => true,
            _ => !self.is_read,
        }
    }
}

/// Returns the action that a request asks for, as roles name it.
fn action(type_name: &str, method: &Method, path: &str) -> String {
    let verb = match *method {
        Method::GET | Method::HEAD => "read".to_owned(),
        Method::DELETE => "delete".to_owned(),
        Method::POST => {
            let last = path.rsplit('/').next().unwrap_or_default();
            format!("{last}/action")
        }
        _ => "write".to_owned(),
    };
    // Actions on groups name them as the subscription's.
    let type_name = match type_name {
        "Microsoft.Resources/resourceGroups" => "Microsoft.Resources/subscriptions/resourceGroups",
        other => other,
    };
    format!("{type_name}/{verb}")
}

/// Decodes a path and collapses empty segments; `az lock` sends double slashes.
pub(crate) fn clean_path(raw: &str) -> Result<String> {
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Error::bad_request("The path is not valid UTF-8."))?;
    let mut clean = String::with_capacity(decoded.len());
    for segment in decoded.split('/').filter(|s| !s.is_empty()) {
        if segment == "." || segment == ".." || segment.chars().any(char::is_control) {
            return Err(Error::bad_request(
                "The path holds a segment that is not allowed.",
            ));
        }
        clean.push('/');
        clean.push_str(segment);
    }
    Ok(clean)
}

pub(crate) fn parse_query(raw: &str) -> Result<Vec<(String, String)>> {
    let mut options = Vec::new();
    for pair in raw.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| Error::bad_request("The query is not valid UTF-8."))
        };
        let name = decode(name)?.to_ascii_lowercase();
        options.push((name.trim_start_matches('$').to_owned(), decode(value)?));
    }
    Ok(options)
}

pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        })
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthenticated,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        })
}

pub(crate) async fn read_body(body: Body) -> Result<Bytes> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| {
            Error::new(
                ErrorKind::TooLarge,
                "RequestContentTooLarge",
                format!(
                    "The request content size exceeds the maximum size of {BODY_BYTES_MAX} bytes."
                ),
            )
        })
}

/// Returns `https://host:port` as the client wrote it.
pub(crate) fn base_url(headers: &HeaderMap, uri: &axum::http::Uri) -> String {
    let host = uri
        .authority()
        .map(|a| a.as_str().to_owned())
        .or_else(|| {
            headers
                .get(header::HOST)
                .and_then(|h| h.to_str().ok())
                .map(str::to_owned)
        })
        .unwrap_or_else(|| "localhost".to_owned());
    format!("https://{host}")
}

fn no_route(path: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    Error::not_found(
        "InvalidResourceType",
        format!(
            "The resource type could not be found for the path '{shown}'. docs/support.md lists what this server serves."
        ),
    )
}

fn wrong_method(method: &Method) -> Error {
    Error::new(
        ErrorKind::MethodNotAllowed,
        "HttpMethodNotSupported",
        format!("The http method {method} is not supported for this resource."),
    )
}

async fn authenticate(state: &ApiState, headers: &HeaderMap) -> Result<Caller> {
    state.engine.authenticate(bearer(headers)?).await
}

/// Answers who shows no usable token; a path below a subscription is answered with where its
/// callers sign in, which clients that know no tenant ask this way.
async fn turned_away(state: &ApiState, path: &str, base: &str, error: &Error) -> Result<Reply> {
    let mut segments = path.split('/').skip(1);
    let named = match segments.next() {
        Some(first) if first.eq_ignore_ascii_case("subscriptions") => segments.next(),
        _ => None,
    };
    let tenant = match named {
        Some(subscription) => state.engine.sign_in_tenant(subscription).await?,
        None => None,
    };
    let Some(tenant) = tenant.filter(|_| error.kind == ErrorKind::Unauthenticated) else {
        return Ok(error_reply(error));
    };
    let place = format!("authorization_uri=\"{base}/{tenant}\", ");
    let reply = Reply::json(crate::error::status(error.kind), arm::error::body(error));
    Ok(reply.header("www-authenticate", challenge(&place, error)))
}

fn challenge(place: &str, error: &Error) -> String {
    format!(
        "Bearer {place}error=\"invalid_token\", error_description=\"{}\"",
        error.code
    )
}

fn error_reply(error: &Error) -> Reply {
    let reply = Reply::json(crate::error::status(error.kind), arm::error::body(error));
    match error.kind {
        ErrorKind::Unauthenticated => reply.header("www-authenticate", challenge("", error)),
        ErrorKind::TooManyRequests | ErrorKind::Unavailable => reply.header("retry-after", "2"),
        // Said by the gateway, before any provider was asked.
        ErrorKind::NotFound if error.code == "ResourceNotFound" => {
            reply.header("x-ms-failure-cause", "gateway")
        }
        _ => reply,
    }
}

fn respond(reply: Reply, ids: &Ids, is_head: bool) -> Response<Body> {
    let mut response = Response::new(match (&reply.body, is_head) {
        (Some(body), false) => Body::from(body.to_string()),
        _ => Body::empty(),
    });
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    if reply.body.is_some() && !is_head {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    ids.write(headers);
    response
}

impl Ids {
    fn of(headers: &HeaderMap) -> Self {
        let correlation = headers
            .get("x-ms-correlation-request-id")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| Uuid::parse_str(value).ok());
        let request = Uuid::new_v4();
        Self {
            request,
            correlation: correlation.unwrap_or(request),
            client: headers
                .get("x-ms-client-request-id")
                .filter(|v| v.len() <= 128)
                .cloned(),
            remaining: OnceLock::new(),
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let id = |value: &Uuid| HeaderValue::from_str(&value.to_string()).ok();
        let routing = HeaderValue::from_str(&format!("VITRINE:{}", self.request)).ok();
        let all = [
            ("x-ms-request-id", id(&self.request)),
            ("x-ms-correlation-request-id", id(&self.correlation)),
            ("x-ms-routing-request-id", routing),
            ("x-ms-client-request-id", self.client.clone()),
            (
                "strict-transport-security",
                Some(HeaderValue::from_static(
                    "max-age=31536000; includeSubDomains",
                )),
            ),
            (
                "x-content-type-options",
                Some(HeaderValue::from_static("nosniff")),
            ),
            ("cache-control", Some(HeaderValue::from_static("no-cache"))),
        ];
        if let Some(remaining) = self.remaining.get() {
            let name = HeaderName::from_static(remaining.name);
            headers.insert(name, HeaderValue::from(remaining.left));
        }
        for (name, value) in all {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
