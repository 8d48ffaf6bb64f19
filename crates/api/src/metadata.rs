//! What clients read before they sign in: `/metadata/endpoints`, OpenID discovery, JWKS.

use axum::Router;

use crate::state::ApiState;

/// Returns the routes.
pub fn router() -> Router<ApiState> {
    Router::new()
}
