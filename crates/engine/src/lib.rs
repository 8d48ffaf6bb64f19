//! What the product does: use cases and workers.
//!
//! A use case reads in this order: authorize, load, decide (call `domain`), record (one
//! transaction), ring the bell. Workers take no input: they claim an operation, read desired and
//! actual state, do one idempotent step, checkpoint, repeat; after a crash, running again is the
//! only recovery path.

pub mod clock;
pub mod context;
mod error;
pub mod settings;
mod state;

pub use clock::Clock;
pub use context::{Caller, Ctx};
pub use settings::{RegionSettings, Settings};
pub use state::Engine;
