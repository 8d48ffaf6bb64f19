//! Metadata in SQLite or PostgreSQL: the only SQL of the house.
//!
//! One text of every statement serves both databases; what differs lives in [`dialect`]. Writes go
//! through [`Tx`], one transaction from [`Catalog::write`] to [`Tx::commit`]. There is one writer at a
//! time on both databases, so a transaction that reads, decides and then writes decides right and
//! never fails half-way. What was committed survives a power cut (`synchronous = FULL`).

mod access;
mod audit;
mod blob_writes;
mod care;
mod claims;
mod deployments;
mod dialect;
mod digests;
mod error;
mod identity;
mod layer_bases;
mod leases;
mod operations;
mod platform_images;
mod replicas;
mod resources;
mod settings;
mod sign_in;
mod storage;
mod store;
mod trust;
mod uploads;
mod usage;

pub use audit::AuditFilter;
pub use blob_writes::CommittedBlock;
pub use care::CareRun;
pub use deployments::Deployment;
pub use digests::ContentDigest;
pub use domain::role_assignment::RoleAssignment;
pub use error::{CatalogError, Kind};
pub use identity::{Principal, PrincipalKind, SigningKey, Subscription, Tenant};
pub use layer_bases::LayerBase;
pub use platform_images::OfferedImage;
pub use replicas::{Content, Replica, ReplicaState};
pub use resources::{ListFilter, Page};
pub use sign_in::{DeviceCode, PrincipalKey, RefreshToken};
pub use storage::{Blob, BlobKind, Container, Grant, StagedBlock};
pub use store::{Catalog, Read, Tx};
pub use trust::{ExternalSubject, ShareAnswer, VerifiedPublisher};
pub use uploads::HeldUpload;
pub use usage::{EgressUsage, StorageUsage};
