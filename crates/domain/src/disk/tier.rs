//! Performance tiers by size, as the service documents them for managed disks.

use serde_json::{Value, json};

use super::member;
use super::size::{GIB, size_bytes};
use crate::plan::text;
use crate::resource::Document;
use crate::{Error, Kind, Resource, Result};

/// IOPS and MB/s.
type Speed = [u64; 2];

/// Largest size in GiB, number of the tier, IOPS and MB/s of Premium, of Standard SSD, of Standard HDD.
const TIERS: [(u64, u32, Speed, Speed, Speed); 14] = [
    (4, 1, [120, 25], [500, 100], [500, 60]),
    (8, 2, [120, 25], [500, 100], [500, 60]),
    (16, 3, [120, 25], [500, 100], [500, 60]),
    (32, 4, [120, 25], [500, 100], [500, 60]),
    (64, 6, [240, 50], [500, 100], [500, 60]),
    (128, 10, [500, 100], [500, 100], [500, 60]),
    (256, 15, [1100, 125], [500, 100], [500, 60]),
    (512, 20, [2300, 150], [500, 100], [500, 60]),
    (1024, 30, [5000, 200], [500, 100], [500, 60]),
    (2048, 40, [7500, 250], [500, 100], [500, 60]),
    (4096, 50, [7500, 250], [500, 100], [500, 60]),
    (8192, 60, [16_000, 500], [2000, 400], [1300, 300]),
    (16_384, 70, [18_000, 750], [4000, 600], [2000, 500]),
    (32_767, 80, [20_000, 900], [6000, 750], [2000, 500]),
];

/// Tiers that only disks beyond 4 TiB may have.
const LARGE_TIER: u32 = 60;
/// The largest disk, in GiB, that has the other tiers.
const SMALL_GIB_MAX: u64 = 4096;

/// Plans a tier above the one that the size means: premium disks may have it.
pub(super) fn plan(row: &mut Resource, sent: &Document, stored: Option<&Resource>) -> Result<()> {
    let target = member(row.kind, "tier");
    let Some(asked) = text(sent, "tier").filter(|tier| !tier.is_empty()) else {
        return Ok(());
    };
    let held = stored.and_then(|s| text(&s.properties, "tier"));
    if held.is_some_and(|held| held.eq_ignore_ascii_case(asked)) {
        return Ok(());
    }
    if !is_premium(row) {
        return Err(Error::invalid_parameter(
            target,
            format!(
                "The performance tier '{asked}' can only be set on disks of the types Premium_LRS and Premium_ZRS."
            ),
        ));
    }
    let known: Vec<String> = TIERS.iter().map(|tier| format!("P{}", tier.1)).collect();
    let Some(at) = known.iter().position(|t| t.eq_ignore_ascii_case(asked)) else {
        return Err(Error::invalid_parameter(
            target,
            format!(
                "The value '{asked}' of parameter 'tier' is invalid. The allowed values are: {}.",
                known.join(", ")
            ),
        ));
    };
    if let Some(bytes) = size_bytes(row) {
        let gib = bytes.div_ceil(GIB).max(1);
        let least = TIERS.iter().position(|tier| gib <= tier.0).unwrap_or(0);
        let is_too_high = gib <= SMALL_GIB_MAX && TIERS[at].1 >= LARGE_TIER;
        if at < least || is_too_high {
            return Err(Error::invalid_parameter(
                target,
                format!(
                    "The performance tier '{asked}' is not possible for a disk of {gib} GiB. Choose one from '{}' to '{}'.",
                    known[least],
                    if gib <= SMALL_GIB_MAX { "P50" } else { "P80" }
                ),
            ));
        }
    }
    row.properties.insert("tier".to_owned(), json!(known[at]));
    Ok(())
}

fn sku(row: &Resource) -> &str {
    let sku = row.top.get("sku").and_then(|s| s.get("name"));
    sku.and_then(Value::as_str).unwrap_or_default()
}

fn is_premium(row: &Resource) -> bool {
    sku(row).split('_').next() == Some("Premium")
}

/// Sets what a size means for a disk's sku; disks that are sold by their numbers keep those.
///
/// A tier above the size's own stays until the size has grown to it.
pub(super) fn set_performance(row: &mut Resource, gib: u64) {
    if row.kind != Kind::Disk {
        return;
    }
    let Some(least) = TIERS.iter().position(|tier| gib <= tier.0) else {
        return;
    };
    let held = text(&row.properties, "tier");
    let held = TIERS
        .iter()
        .position(|tier| held.is_some_and(|held| held == format!("P{}", tier.1)));
    let own = TIERS[held.map_or(least, |held| held.max(least))];
    let ([iops, mbps], tier) = match sku(row).split('_').next() {
        Some("Premium") => (own.2, Some(format!("P{}", own.1))),
        Some("StandardSSD") => (TIERS[least].3, None),
        Some("Standard") => (TIERS[least].4, None),
        _ => {
            row.properties.shift_remove("tier");
            return;
        }
    };
    row.properties
        .insert("diskIOPSReadWrite".to_owned(), json!(iops));
    row.properties
        .insert("diskMBpsReadWrite".to_owned(), json!(mbps));
    match tier {
        Some(tier) => row.properties.insert("tier".to_owned(), json!(tier)),
        None => row.properties.shift_remove("tier"),
    };
}
