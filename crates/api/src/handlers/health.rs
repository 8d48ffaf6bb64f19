//! Whether the server can do its work.

use axum::extract::State;
use axum::http::StatusCode;

use crate::state::ApiState;

/// GET /readyz: 200 when the catalog answers.
pub(crate) async fn ready(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match state.engine.check_catalog().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the metadata store does not answer\n",
        ),
    }
}
