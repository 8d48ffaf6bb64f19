//! The token service.

use axum::Router;

use crate::state::ApiState;

/// Returns the routes.
pub fn router() -> Router<ApiState> {
    Router::new()
}
