//! The laws of the engine when things go wrong or happen at once.

#[path = "../common/world.rs"]
mod world;

mod crash;
mod overtaken;
mod soft_delete;
