//! The words of ARM: what bodies look like on the wire, per api-version.
//!
//! Pure and synchronous. Turns requests into checked documents and stored resources into responses;
//! decides nothing about resources (that is `domain`) and knows no HTTP (that is `api`).

pub mod activity;
pub mod authorization;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod filter;
pub mod network;
pub mod operation;
mod order;
pub mod paging;
pub mod platform_image;
pub mod provider;
pub mod resource_graph;
pub mod schema;
pub mod shared_gallery;
pub mod subscription;
pub mod time;
pub mod versions;
