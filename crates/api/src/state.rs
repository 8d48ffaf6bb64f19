//! What every handler shares.

use std::sync::Arc;

use engine::Engine;

use crate::routes::Routes;

/// Shared by all handlers; clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    /// The gallery.
    pub engine: Engine,
    /// The ARM routes.
    pub(crate) routes: Arc<Routes>,
}

impl ApiState {
    /// Returns the state of a server over `engine`.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            routes: Arc::new(Routes::new()),
        }
    }
}
