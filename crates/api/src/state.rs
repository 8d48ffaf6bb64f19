//! What every handler shares.

use std::sync::Arc;

use engine::Engine;

use crate::limits::{BlobLimiter, Limiter, Limits};
use crate::routes::Routes;

/// Shared by all handlers; clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    /// The gallery.
    pub engine: Engine,
    /// The ARM routes.
    pub(crate) routes: Arc<Routes>,
    /// What everybody has left of the rate limits.
    pub(crate) limiter: Limiter,
    /// The same on the blob face.
    pub(crate) blob_limiter: BlobLimiter,
}

impl ApiState {
    /// Returns the state of a server over `engine`, with the usual limits.
    pub fn new(engine: Engine) -> Self {
        Self::with_limits(engine, Limits::default())
    }

    /// Returns the state of a server over `engine`, with limits of its own.
    pub fn with_limits(engine: Engine, limits: Limits) -> Self {
        Self {
            engine,
            routes: Arc::new(Routes::new()),
            limiter: Limiter::new(limits),
            blob_limiter: BlobLimiter::new(limits.blobs),
        }
    }
}
