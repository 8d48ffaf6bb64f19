//! The blob face: `/blob/{account}/{container}/{blob}` and `{account}.blob.…` hosts.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::state::ApiState;

/// Returns the path-style routes.
pub fn router() -> Router<ApiState> {
    Router::new()
}

/// Sends requests for `{account}.blob.…` hosts to the blob face.
pub async fn by_host(State(_state): State<ApiState>, request: Request, next: Next) -> Response {
    next.run(request).await
}
