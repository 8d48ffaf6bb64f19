//! Templates: what `Microsoft.Resources/deployments` is given to read.
//!
//! Pure: a text goes in, resources with evaluated members come out, or an error in the service's
//! words. What only a running gallery knows (`reference`, `listKeys`) is asked for by
//! [`Fault::Needs`]: the caller looks it up, adds it to [`Known`] and evaluates again. Time and fresh
//! ids come in as arguments, so evaluating twice gives the same.
//!
//! Everything has a limit ([`limits`]): texts, depth, loops, and what one evaluation may build.

pub mod date;
mod evaluate;
mod expand;
pub mod expression;
mod fault;
mod functions;
pub mod jsonc;
pub mod limits;
mod model;
mod order;
mod parameters;
mod request;
mod scope;
mod syntax;
mod unfold;
mod unique;

pub use expand::{Bound, NestedFault};
pub use fault::{Fault, Need};
pub use model::Template;
pub use order::{Expanded, Planned};

pub use request::{Mode, Request};
pub use scope::{Known, Place, Scope};
pub use unique::unique_string;
