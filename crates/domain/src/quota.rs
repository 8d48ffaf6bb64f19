//! Limits per subscription and region. Source: `API.md` 12.

use crate::{Error, Kind, Result};

/// Galleries per subscription and region.
pub const GALLERIES_MAX: i64 = 100;
/// Image definitions per subscription and region.
pub const IMAGES_MAX: i64 = 1_000;
/// Image versions per subscription and region.
pub const IMAGE_VERSIONS_MAX: i64 = 10_000;
/// Storage accounts per subscription and region.
pub const STORAGE_ACCOUNTS_MAX: i64 = 250;
/// Disks per subscription and region.
pub const DISKS_MAX: i64 = 50_000;
/// Snapshots per subscription and region.
pub const SNAPSHOTS_MAX: i64 = 75_000;
/// Managed images per subscription and region.
pub const MANAGED_IMAGES_MAX: i64 = 50_000;
/// Disk encryption sets per subscription and region.
pub const DISK_ENCRYPTION_SETS_MAX: i64 = 5_000;
/// Machines per subscription and region.
pub const VIRTUAL_MACHINES_MAX: i64 = 25_000;
/// Resource groups per subscription.
pub const RESOURCE_GROUPS_MAX: i64 = 980;

/// Returns the most resources of a kind that a subscription has in a region.
pub const fn limit(kind: Kind) -> Option<i64> {
    Some(match kind {
        Kind::ResourceGroup => RESOURCE_GROUPS_MAX,
        Kind::Gallery => GALLERIES_MAX,
        Kind::Image => IMAGES_MAX,
        Kind::ImageVersion => IMAGE_VERSIONS_MAX,
        Kind::Disk => DISKS_MAX,
        Kind::Snapshot => SNAPSHOTS_MAX,
        Kind::ManagedImage => MANAGED_IMAGES_MAX,
        Kind::DiskEncryptionSet => DISK_ENCRYPTION_SETS_MAX,
        Kind::StorageAccount => STORAGE_ACCOUNTS_MAX,
        Kind::VirtualMachine => VIRTUAL_MACHINES_MAX,
    })
}

/// Refuses one more than the limit.
pub fn check(kind: Kind, location: &str, held: i64, limit: i64) -> Result<()> {
    if held < limit {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The subscription has {held} resources of type '{}' in location '{location}', which is the maximum of {limit}. \
             Delete what is not needed, then try again.",
            kind.type_name()
        ),
    ))
}
