//! The disks of a machine as the source of an image.

use catalog::Read;
use domain::virtual_machine::{CapturedFrom, disks};
use domain::{Resource, Result};

use super::hold::disk_not_found;
use crate::error::catalog as db;

/// Returns a machine's disks with their numbers, the system disk first.
pub(crate) async fn disks_of(
    read: &mut Read,
    machine: &Resource,
) -> Result<Vec<(Option<i64>, Resource)>> {
    let mut held = Vec::new();
    for named in disks(machine) {
        let disk = read.load(&named.id).await.map_err(db)?;
        let disk = disk.filter(|disk| domain::disk::is_held_by(disk, machine));
        held.push((named.lun, disk.ok_or_else(|| disk_not_found(&named.id))?));
    }
    Ok(held)
}

/// Returns the same as the rules read it.
pub(crate) fn as_sources(held: &[(Option<i64>, Resource)]) -> Vec<CapturedFrom<'_>> {
    held.iter()
        .map(|(lun, disk)| CapturedFrom { lun: *lun, disk })
        .collect()
}
