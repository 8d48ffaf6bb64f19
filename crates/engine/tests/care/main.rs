//! The laws of care: what is measured, done on a schedule, metered, limited.

#[path = "../common/world.rs"]
#[expect(dead_code, reason = "other tests need more of the world")]
mod world;

mod digests;
mod layer_bases;
mod measure;
mod metering;
mod schedule;
mod secrets;
mod shared_stores;
