//! What operators ask of a running gallery: what is stored, what is done for it, what is counted.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::{Error, ErrorKind, Result};
use engine::Ctx;
use uuid::Uuid;

use crate::face::bearer;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::ApiState;

/// Headers by which a proxy says that somebody else asks.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// GET /providers/Vitrine.Gallery/stat: what is stored, by region; with `detail=owners` also by resource.
pub(crate) async fn stat(request: Request) -> Result<Reply> {
    let owners = request
        .option("detail")
        .is_some_and(|detail| detail.eq_ignore_ascii_case("owners"));
    let stat = request.engine.stat(&request.ctx, owners).await?;
    serde_json::to_value(stat)
        .map(Reply::ok)
        .map_err(|_| Error::internal())
}

/// GET /providers/Vitrine.Gallery/schedule: periodic work, when it was done, what it found.
pub(crate) async fn schedule(request: Request) -> Result<Reply> {
    let schedule = request.engine.schedule(&request.ctx).await?;
    serde_json::to_value(schedule)
        .map(Reply::ok)
        .map_err(|_| Error::internal())
}

/// GET /metrics: to this machine, or to who may read what is stored.
pub(crate) async fn metrics(
    State(state): State<ApiState>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
) -> Response {
    let address = peer.map(|peer| peer.0.0.ip().to_canonical());
    let is_proxied = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let is_local = address.is_some_and(|address| address.is_loopback()) && !is_proxied;
    let text = match is_local && !headers.contains_key(header::AUTHORIZATION) {
        true => state.engine.metrics_text().await,
        false => authorized(&state, &headers).await,
    };
    match text {
        Ok(text) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) if error.kind == ErrorKind::Unauthenticated => {
            let told = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, told, "a token is needed\n").into_response()
        }
        Err(error) => (
            crate::error::status(error.kind),
            "not allowed, or not now\n",
        )
            .into_response(),
    }
}

async fn authorized(state: &ApiState, headers: &HeaderMap) -> Result<String> {
    let caller = state.engine.authenticate(bearer(headers)?).await?;
    let ctx = Ctx {
        caller,
        auxiliary: Vec::new(),
        api_version: String::new(),
        base_url: String::new(),
        client: String::new(),
        correlation_id: Uuid::new_v4(),
    };
    state.engine.metrics_for(&ctx).await
}
