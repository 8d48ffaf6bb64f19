//! The laws of the engine when things go wrong or happen at once.

#[path = "../common/world.rs"]
mod world;

mod crash;
mod deletion;
mod operations;
mod overtaken;
mod quotas;
mod regions;
mod soft_delete;
mod sources;
