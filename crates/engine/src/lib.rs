//! What the product does: use cases and workers.
//!
//! A use case reads in this order: authorize, load, decide (call `domain`), record (one
//! transaction), ring the bell. Workers take no input: they claim an operation, read desired and
//! actual state, do one idempotent step, checkpoint, repeat; after a crash, running again is the
//! only recovery path.

pub mod access;
mod allowed_images;
mod audit;
pub mod blob;
pub mod care;
pub mod clock;
pub mod context;
mod creation;
mod deletion;
mod deployment;
mod directory;
mod disk;
mod disk_access;
mod disk_content;
mod disk_encryption_set;
mod error;
pub mod identity;
mod image_choice;
mod invite;
mod lock;
pub mod machine;
pub mod maintenance;
mod managed_image;
pub mod metering;
pub mod metrics;
mod moving;
mod network;
mod node;
mod operations;
mod platform_image;
pub mod publish;
mod publisher;
mod quota;
mod refusals;
mod region_store;
mod resources;
mod role_assignment;
mod role_definition;
mod rules;
mod scale_set;
mod seal;
pub mod settings;
mod shared;
mod sharing;
mod snapshot;
mod state;
mod storage_account;
mod subscription;
mod tags;
mod vhd_source;

pub use audit::{ActivityFilter, AuditReport};
pub use blocks::{ContentHasher, LEAF_BYTES, Location};
pub use catalog::{ListFilter, OfferedImage, VerifiedPublisher};
pub use clock::Clock;
pub use context::{Caller, Ctx, ExternalGroup};
pub use deployment::AcceptedDeployment;
pub use invite::{Invite, Invited};
pub use machine::settings::{Accelerator, DriverChoice, GuestUsers, MachineSettings};
pub use platform_image::{AliasedImage, Listing, SeenNames, SeenSku, SeenVersion, Shelf};
pub use publisher::{FlaggedGallery, Publishers};
pub use quota::ByteQuota;
pub use refusals::KINDS_MAX as REFUSAL_KINDS_MAX;
pub use region_store::MovedStore;
pub use resources::{Accepted, DeleteOptions, PAGE_ITEMS_MAX};
pub use role_assignment::{AssignmentFilter, PutAssignment};
pub use role_definition::{DefinitionFilter, RoleView};
pub use scale_set::SetAction;
pub use settings::{RegionSettings, Settings};
pub use shared::{Place, SeenGallery};
pub use state::Engine;
pub use storage_account::storage_account_view;
pub use tags::TagChange;
