//! The words and rules of a gallery.
//!
//! Pure: no I/O, no clock, no randomness, no async. Times and fresh ids come in as arguments,
//! decisions go out as values or as an [`Error`] that a person can act on. Every other crate may
//! import this one; this one imports none of them.

pub mod allowed_images;
pub mod artifact;
pub mod audit;
pub mod confusable;
pub mod directory;
pub mod disk;
pub mod disk_encryption_set;
pub mod error;
pub mod features;
pub mod gallery;
pub mod gallery_kind;
pub mod image;
pub mod image_version;
pub mod kind;
pub mod latest;
pub mod linked;
pub mod lock;
pub mod managed_image;
pub mod network;
pub mod operation;
pub mod outbound;
pub mod plan;
pub mod platform_image;
pub mod quota;
pub mod rate;
pub mod region;
pub mod resource;
pub mod resource_group;
pub mod resource_id;
pub mod role;
pub mod role_assignment;
pub mod role_definition;
pub mod scale_set;
pub mod scope;
pub mod shared_image;
pub mod sharing;
pub mod snapshot;
pub mod storage_account;
pub mod virtual_machine;

pub use error::{Error, ErrorKind, Result};
pub use kind::Kind;
pub use region::{Region, Regions};
pub use resource::{ProvisioningState, Resource};
pub use resource_id::ResourceId;
