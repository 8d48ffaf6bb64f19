//! The laws of the engine when things go wrong or happen at once.

#[path = "../common/world.rs"]
mod world;

mod artifacts;
mod crash;
mod deletion;
mod machines;
mod network;
mod operations;
mod overtaken;
mod quotas;
mod regions;
mod scale_sets;
mod snapshots;
mod soft_delete;
mod sources;
