//! The HTTP faces: ARM, tokens, blobs, health.
//!
//! A handler extracts, calls one engine function, converts. No SQL, no authorization, no business
//! here. Every ARM route stands in one table ([`routes`]), so a test can walk them all.

mod auxiliary;
pub mod blob;
mod error;
mod face;
pub mod graph;
mod handlers;
mod limits;
pub mod metadata;
mod reply;
mod request;
pub mod routes;
pub mod state;
pub mod token;

use axum::Router;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

pub use limits::{BlobLimits, Limits};
pub use state::ApiState;

/// Returns the whole server as one service.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(handlers::health::ready))
        .route("/metrics", get(handlers::care::metrics))
        .route(
            "/boot-diagnostics/{machine}/serialconsole.log",
            get(handlers::virtual_machine::console),
        )
        .merge(metadata::router())
        .merge(token::router())
        .merge(graph::router())
        .merge(blob::router())
        .fallback(face::serve)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            blob::by_host,
        ))
        .layer(CatchPanicLayer::new())
        .with_state(state)
}
