//! The blob face: `/blob/{account}/{container}/{blob}` and `{account}.blob.…` hosts.
//!
//! In order: path, headers, proof (key, SAS, token or a disk's URL), then one handler per verb.
//! Answers and errors are those of the blob service: XML, `x-ms-error-code`, no JSON.

mod auth;
mod blobs;
mod block;
mod call;
mod container;
mod disk;
mod page;
mod reply;
mod sas;
mod service;
mod shared_key;
mod xml;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::any;
use domain::{Error, ErrorKind, Result};
use engine::blob::{GRANT_ACCOUNT, Session};
use engine::metrics::Plane;

use self::call::Call;
use self::reply::{BlobReply, Ids};
use crate::state::ApiState;

/// Returns the path-style routes.
pub fn router() -> Router<ApiState> {
    Router::new().route("/blob/{*rest}", any(by_path))
}

/// Sends requests for `{account}.blob.…` hosts to the blob face.
pub async fn by_host(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    match host_account(&request) {
        Some(account) => {
            let below = request.uri().path().trim_start_matches('/').to_owned();
            serve(state, request, account, below).await
        }
        None => next.run(request).await,
    }
}

async fn by_path(State(state): State<ApiState>, request: Request) -> Response {
    let below = request
        .uri()
        .path()
        .strip_prefix("/blob/")
        .unwrap_or_default();
    let (account, below) = below.split_once('/').unwrap_or((below, ""));
    let (account, below) = (account.to_owned(), below.to_owned());
    serve(state, request, account, below).await
}

/// Returns the account that a host names: `{account}.blob.…`.
fn host_account(request: &Request) -> Option<String> {
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST)?.to_str().ok()?,
    };
    let mut labels = host.split('.');
    let (account, blob) = (labels.next()?, labels.next()?);
    let account = account.to_ascii_lowercase();
    let is_ours =
        blob.eq_ignore_ascii_case("blob") && domain::storage_account::check_name(&account).is_ok();
    is_ours.then_some(account)
}

async fn serve(
    state: ApiState,
    request: Request,
    account: String,
    below: String,
) -> Response<Body> {
    let ids = Ids::of(request.headers());
    let started = std::time::Instant::now();
    let metrics = state.engine.metrics().clone();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let outcome = match Call::read(state, request, &account, &below, ids.request) {
        Ok((call, body)) => dispatch(call, body).await,
        Err(error) => Err(error),
    };
    let reply = outcome.unwrap_or_else(|error| BlobReply::error(&error));
    let response = reply.into_response(&ids, method == Method::HEAD);
    metrics.count_request(
        Plane::Blob,
        method.as_str(),
        response.status().as_u16(),
        started.elapsed(),
    );
    tracing::info!(
        http.method = %method, http.path = %path, http.status = response.status().as_u16(),
        duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        request.id = %ids.request, "served blob request"
    );
    response
}

async fn dispatch(call: Call, body: Body) -> Result<BlobReply> {
    call.check_headers()?;
    if call.account == GRANT_ACCOUNT {
        return disk::serve(call, body).await;
    }
    let session = auth::authenticate(&call).await?;
    let caller = call.secret_name().unwrap_or_else(|| session.caller_name());
    match call.admit(&caller, session.account_name()) {
        Ok(served) => {
            let body = served.paced(body);
            Ok(answer(call, body, session).await?.until_sent(served))
        }
        Err(refusal) => Ok(refusal),
    }
}

async fn answer(call: Call, body: Body, session: Session) -> Result<BlobReply> {
    let comp = call.option("comp").unwrap_or_default().to_owned();
    let restype = call.option("restype").unwrap_or_default().to_owned();
    let method = call.method.clone();
    if restype == "account" {
        return service::account_info(&call, &session).await;
    }
    let level = (call.container.is_some(), call.blob.is_some());
    match (level, &method, restype.as_str(), comp.as_str()) {
        ((false, _), &Method::GET, "", "list") => service::list(&call, &session).await,
        ((false, _), &Method::GET, "service", "properties") => {
            service::properties(&call, &session).await
        }
        ((true, false), &Method::PUT, "container", "") => container::create(&call, &session).await,
        ((true, false), &Method::PUT, "container", "metadata") => {
            container::set_metadata(&call, &session).await
        }
        ((true, false), &Method::PUT, "container", "acl") => {
            container::set_acl(&call, body, &session).await
        }
        ((true, false), &Method::GET, "container", "list") => {
            container::list(&call, &session).await
        }
        ((true, false), &Method::GET | &Method::HEAD, "container", "acl") => {
            container::acl(&call, &session).await
        }
        ((true, false), &Method::GET | &Method::HEAD, "container", "" | "metadata") => {
            container::show(&call, &session).await
        }
        ((true, false), &Method::DELETE, "container", "") => {
            container::delete(&call, &session).await
        }
        ((true, true), &Method::GET, "", "") => blobs::get(&call, &session).await,
        ((true, true), &Method::HEAD, "", "") => blobs::head(&call, &session).await,
        ((true, true), &Method::GET | &Method::HEAD, "", "metadata") => {
            blobs::metadata(&call, &session).await
        }
        ((true, true), &Method::DELETE, "", "") => blobs::delete(&call, &session).await,
        ((true, true), &Method::PUT, "", "") => blobs::put(&call, body, &session).await,
        ((true, true), &Method::PUT, "", "metadata") => blobs::set_metadata(&call, &session).await,
        ((true, true), &Method::PUT, "", "properties") => {
            blobs::set_properties(&call, &session).await
        }
        ((true, true), &Method::PUT, "", "page") => page::put(&call, body, &session).await,
        ((true, true), &Method::GET, "", "pagelist") => page::list(&call, &session).await,
        ((true, true), &Method::PUT, "", "block") => block::put(&call, body, &session).await,
        ((true, true), &Method::PUT, "", "blocklist") => block::commit(&call, body, &session).await,
        ((true, true), &Method::GET, "", "blocklist") => block::list(&call, &session).await,
        _ => Err(not_offered(&method, &restype, &comp)),
    }
}

fn not_offered(method: &Method, restype: &str, comp: &str) -> Error {
    let shown = |text: &str| {
        text.chars()
            .filter(char::is_ascii_graphic)
            .take(40)
            .collect::<String>()
    };
    if matches!(
        comp,
        "lease"
            | "snapshot"
            | "tier"
            | "tags"
            | "copy"
            | "appendblock"
            | "undelete"
            | "query"
            | "batch"
    ) {
        return engine::blob::failure::unsupported(&format!("The operation comp={comp}"));
    }
    Error::new(
        ErrorKind::Invalid,
        "InvalidUri",
        format!(
            "The requested URI does not represent any resource on the server: {method} with restype='{}' and comp='{}'.",
            shown(restype),
            shown(comp)
        ),
    )
}
