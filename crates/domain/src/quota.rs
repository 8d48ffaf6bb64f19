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
/// Applications, scripts or profiles per subscription and region.
pub const ARTIFACTS_MAX: i64 = 200;
/// Versions of them per subscription and region.
pub const ARTIFACT_VERSIONS_MAX: i64 = 10_000;
/// Resources of each kind of network per subscription and region.
pub const NETWORKS_MAX: i64 = 1_000;
/// Network interfaces per subscription and region.
pub const NETWORK_INTERFACES_MAX: i64 = 24_000;
/// Machines per subscription and region.
pub const VIRTUAL_MACHINES_MAX: i64 = 25_000;
/// Scale sets per subscription and region.
pub const SCALE_SETS_MAX: i64 = 2_500;
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
        Kind::NetworkInterface | Kind::ScaleSetInterface => NETWORK_INTERFACES_MAX,
        Kind::GalleryApplication | Kind::GalleryScript | Kind::AccessProfile => ARTIFACTS_MAX,
        Kind::GalleryApplicationVersion
        | Kind::GalleryScriptVersion
        | Kind::AccessProfileVersion => ARTIFACT_VERSIONS_MAX,
        Kind::VirtualNetwork
        | Kind::PublicIpAddress
        | Kind::ScaleSetAddress
        | Kind::NetworkSecurityGroup
        | Kind::LoadBalancer => NETWORKS_MAX,
        Kind::VirtualMachine | Kind::ScaleSetMachine => VIRTUAL_MACHINES_MAX,
        Kind::ScaleSet => SCALE_SETS_MAX,
    })
}

/// Refuses `more` resources where there are `held` of `limit`.
pub fn check(kind: Kind, location: &str, held: i64, more: i64, limit: i64) -> Result<()> {
    if held.saturating_add(more) <= limit {
        return Ok(());
    }
    let why = match held < limit {
        true => format!("and {more} more are over the maximum of {limit}"),
        false => format!("which is the maximum of {limit}"),
    };
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The subscription has {held} resources of type '{}' in location '{location}', {why}. Delete what is not needed, \
             then try again.",
            kind.type_name()
        ),
    ))
}

/// Refuses `more` bytes for a subscription that holds `held` of `limit`; no limit refuses nothing.
///
/// The text is the service's for a quota that would be exceeded (`QuotaExceeded`), with what to do.
pub fn check_bytes(location: &str, held: i64, more: i64, limit: Option<i64>) -> Result<()> {
    let needed = held.saturating_add(more);
    let Some(limit) = limit.filter(|limit| needed > *limit) else {
        return Ok(());
    };
    Err(Error::conflict(
        "QuotaExceeded",
        format!(
            "Operation could not be completed as it results in exceeding approved StorageBytes quota. Additional details - \
             Deployment Model: Resource Manager, Location: {location}, Current Limit: {limit}, Current Usage: {held}, \
             Additional Required: {more}, (Minimum) New Limit Required: {needed}. Delete what is not needed, or ask the \
             operator of this gallery for a higher limit (vitrine subscription quota)."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_fits_and_the_next_does_not() {
        for (held, more, limit, fits) in [
            (0, 10, Some(10), true),
            (5, 5, Some(10), true),
            (5, 6, Some(10), false),
            (10, 1, Some(10), false),
            (i64::MAX, i64::MAX, None, true),
            (i64::MAX, 1, Some(i64::MAX - 1), false),
        ] {
            let checked = check_bytes("eastus", held, more, limit);
            assert_eq!(checked.is_ok(), fits, "{held} + {more} of {limit:?}");
        }
        let refused = check_bytes("eastus", 5, 6, Some(10)).unwrap_err();
        assert_eq!(refused.code, "QuotaExceeded");
        assert!(
            refused
                .message
                .contains("(Minimum) New Limit Required: 11.")
        );
    }
}
