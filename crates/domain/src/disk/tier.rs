//! Performance tiers by size, as the service documents them for managed disks.

use serde_json::{Value, json};

use crate::Resource;

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

/// Sets what a size means for a disk's sku; disks that are sold by their numbers keep those.
pub(super) fn set_performance(row: &mut Resource, gib: u64) {
    let sku = row
        .top
        .get("sku")
        .and_then(|s| s.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some((_, number, premium, ssd, hdd)) = TIERS.iter().find(|tier| gib <= tier.0) else {
        return;
    };
    let ([iops, mbps], tier) = match sku.split('_').next() {
        Some("Premium") => (premium, Some(format!("P{number}"))),
        Some("StandardSSD") => (ssd, None),
        Some("Standard") => (hdd, None),
        _ => return,
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
