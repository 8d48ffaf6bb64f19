//! Encryption of a version's copies. Source: `API.md` 5.3.

use serde_json::Value;

use super::profile::TARGET;
use crate::{Error, Resource, Result};

/// Checks the disk encryption sets of all target regions.
///
/// No kind of resource holds disk encryption sets yet, so none is ever found: a version that asks
/// for one is refused and never stored without it.
pub(super) fn check(row: &Resource, regions: &[Value]) -> Result<()> {
    for region in regions {
        let Some(encryption) = region.get("encryption") else {
            continue;
        };
        if let Some(id) = encryption
            .pointer("/osDiskImage/diskEncryptionSetId")
            .and_then(Value::as_str)
        {
            check_set(row, id, "osDiskImage")?;
        }
        let disks = encryption
            .get("dataDiskImages")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let luns: Vec<i64> = disks
            .iter()
            .filter_map(|d| d.get("lun").and_then(Value::as_i64))
            .collect();
        if let Some(twice) = luns
            .iter()
            .enumerate()
            .find(|(at, lun)| luns[..*at].contains(lun))
        {
            let name = region
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(Error::invalid_parameter(
                format!("{TARGET}.targetRegions.encryption.dataDiskImages"),
                format!(
                    "Duplicate luns '{}' were specified in target region '{name}' encryption.dataDiskImages.",
                    twice.1
                ),
            ));
        }
        for disk in disks {
            if let Some(id) = disk.get("diskEncryptionSetId").and_then(Value::as_str) {
                check_set(row, id, "dataDiskImages")?;
            }
        }
    }
    Ok(())
}

fn check_set(row: &Resource, id: &str, of: &str) -> Result<()> {
    let target = format!(
        "galleryArtifactVersion.properties.publishingProfile.targetRegions.encryption.{of}.diskEncryptionSetId"
    );
    let parts: Vec<&str> = id.split('/').collect();
    let is_set = parts.len() == 9
        && parts[1].eq_ignore_ascii_case("subscriptions")
        && parts[3].eq_ignore_ascii_case("resourceGroups")
        && parts[6].eq_ignore_ascii_case("Microsoft.Compute")
        && parts[7].eq_ignore_ascii_case("diskEncryptionSets");
    if !is_set {
        return Err(Error::invalid_parameter(
            target.clone(),
            format!("The value of parameter {target} is invalid."),
        ));
    }
    let subscription = row.id.subscription();
    if !parts[2].eq_ignore_ascii_case(subscription) {
        return Err(Error::invalid_parameter(
            target,
            format!(
                "The disk encryption set '{id}' must be in the same subscription '{subscription}' as the gallery resource."
            ),
        ));
    }
    Err(Error::not_found(
        "NotFound",
        format!("The disk encryption set {id} was not found."),
    )
    .at(target))
}
