//! Scale sets: how many machines of one model there are, kept true by a worker.
//!
//! A set's row is desired state. Its worker ([`work`]) never runs a machine itself: it records machines
//! ([`grow`]), changes of them ([`upgrade`]) and their deletion, each with an operation of the machine's own, and is
//! put aside until those are over; any worker goes on. What a set waits for stands in its operation's [`Step`], written
//! in the transaction that records it, so a crash forgets and repeats nothing.

mod action;
mod grow;
mod members;
mod model;
mod schedule;
mod step;
mod upgrade;
mod view;
mod work;

pub use action::SetAction;
pub(crate) use members::{join, leave};
pub(crate) use model::check_set;
pub(crate) use step::Step;
