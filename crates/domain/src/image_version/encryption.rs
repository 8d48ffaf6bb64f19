//! Encryption of a version's copies. Source: `API.md` 5.3.

use serde_json::Value;

use super::profile::TARGET;
use crate::disk_encryption_set::Use;
use crate::plan::word;
use crate::resource::Document;
use crate::{Error, Regions, Resource, ResourceId, Result};

const CONFIDENTIAL: [&str; 5] = [
    "EncryptedVMGuestStateOnlyWithPmk",
    "EncryptedWithPmk",
    "EncryptedWithCmk",
    "NonPersistedTPM",
    "DataDiskEncryptedWithCmk",
];

/// A disk of a version that a region encrypts with a key of the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Disk {
    Os,
    Data(i64),
}

/// Checks what the disk encryption sets of all target regions say of each other; whether they exist is not known here.
pub(super) fn check(row: &Resource, sent: &Document, regions: &[Value]) -> Result<()> {
    let known_luns = luns_sent(sent);
    let mut all: Vec<(&str, Vec<(Disk, &str)>)> = Vec::new();
    for region in regions {
        let name = region
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let sets = match region.get("encryption") {
            Some(encryption) => check_region(row, name, encryption, known_luns.as_deref())?,
            None => Vec::new(),
        };
        all.push((name, sets));
    }
    check_all_or_none(&all)
}

/// Returns the sets that a version's target regions name.
pub fn encryption_sets(row: &Resource, regions: &Regions) -> Vec<Use> {
    let profile = row.properties.get("publishingProfile");
    let targets = profile.and_then(|p| p.get("targetRegions"));
    let mut uses = Vec::new();
    for target in targets.and_then(Value::as_array).into_iter().flatten() {
        let name = target.get("name").and_then(Value::as_str);
        let region = regions.short(name.unwrap_or_default());
        let Some(encryption) = target.get("encryption") else {
            continue;
        };
        for (disk, id) in sets_of(encryption) {
            if let Ok(set) = ResourceId::parse(id) {
                uses.push(Use {
                    set,
                    target: target_of(&disk),
                    region: region.clone(),
                });
            }
        }
    }
    uses
}

/// Returns the sets that a region's copies are encrypted with: the number of a data disk, none for the system disk.
pub fn sets_in(row: &Resource, region: &str, regions: &Regions) -> Vec<(Option<i64>, String)> {
    let profile = row.properties.get("publishingProfile");
    let targets = profile.and_then(|p| p.get("targetRegions"));
    let mut targets = targets.and_then(Value::as_array).into_iter().flatten();
    let here = targets.find(|target| {
        let name = target.get("name").and_then(Value::as_str);
        regions.short(name.unwrap_or_default()) == region
    });
    let sets = here
        .and_then(|target| target.get("encryption"))
        .map(sets_of);
    let numbered = |(disk, id): (Disk, &str)| match disk {
        Disk::Os => (None, id.to_owned()),
        Disk::Data(lun) => (Some(lun), id.to_owned()),
    };
    sets.into_iter().flatten().map(numbered).collect()
}

/// Returns the disks that a region encrypts with a key of the customer, and the ids of their sets.
fn sets_of(encryption: &Value) -> Vec<(Disk, &str)> {
    let os = encryption.get("osDiskImage");
    let secure = os.and_then(|os| os.pointer("/securityProfile/secureVMDiskEncryptionSetId"));
    let ids = [os.and_then(|os| os.get("diskEncryptionSetId")), secure];
    let mut sets: Vec<(Disk, &str)> = texts(&ids).map(|id| (Disk::Os, id)).collect();
    let data = encryption.get("dataDiskImages").and_then(Value::as_array);
    for disk in data.into_iter().flatten() {
        if let Some(lun) = disk.get("lun").and_then(Value::as_i64) {
            let ids = [disk.get("diskEncryptionSetId")];
            sets.extend(texts(&ids).map(|id| (Disk::Data(lun), id)));
        }
    }
    sets
}

/// Whether a key of the customer encrypts any copy of a version.
pub(super) fn has_sets(row: &Resource) -> bool {
    let profile = row.properties.get("publishingProfile");
    let targets = profile.and_then(|p| p.get("targetRegions"));
    let mut targets = targets.and_then(Value::as_array).into_iter().flatten();
    targets.any(|t| t.get("encryption").is_some_and(|e| !sets_of(e).is_empty()))
}

/// The numbers of the data disks, where the request says them itself.
fn luns_sent(sent: &Document) -> Option<Vec<i64>> {
    let profile = sent.get("storageProfile")?;
    if profile.get("source").is_some() {
        return None;
    }
    let disks = profile.get("dataDiskImages").and_then(Value::as_array);
    let luns = disks.into_iter().flatten();
    Some(
        luns.filter_map(|d| d.get("lun").and_then(Value::as_i64))
            .collect(),
    )
}

fn check_region<'a>(
    row: &Resource,
    region: &str,
    encryption: &'a Value,
    known_luns: Option<&[i64]>,
) -> Result<Vec<(Disk, &'a str)>> {
    if let Some(os) = encryption.get("osDiskImage") {
        let kind = os.pointer("/securityProfile/confidentialVMEncryptionType");
        if let Some(kind) = kind.and_then(Value::as_str) {
            word(
                kind,
                &CONFIDENTIAL,
                &format!(
                    "{TARGET}.targetRegions.encryption.osDiskImage.securityProfile.confidentialVMEncryptionType"
                ),
            )?;
        }
    }
    let disks = encryption.get("dataDiskImages").and_then(Value::as_array);
    let mut luns = Vec::new();
    for disk in disks.into_iter().flatten() {
        let target = format!("{TARGET}.targetRegions.encryption.dataDiskImages");
        let lun = disk
            .get("lun")
            .and_then(Value::as_i64)
            .ok_or_else(|| Error::required(format!("{target}.lun")))?;
        if luns.contains(&lun) {
            return Err(Error::invalid_parameter(
                target,
                format!(
                    "Duplicate luns '{lun}' were specified in target region '{region}' encryption.dataDiskImages."
                ),
            ));
        }
        luns.push(lun);
        if let Some(known) = known_luns.filter(|known| !known.contains(&lun)) {
            let known: Vec<String> = known.iter().map(i64::to_string).collect();
            return Err(Error::invalid_parameter(
                target,
                format!(
                    "An invalid lun [{lun}] was specified in encryption.dataDiskImages. The lun must be one of the following values ['{}'].",
                    known.join(",")
                ),
            ));
        }
    }
    let sets = sets_of(encryption);
    for (disk, id) in &sets {
        check_id(row, id, target_of(disk))?;
    }
    Ok(sets)
}

fn texts<'a>(values: &[Option<&'a Value>]) -> impl Iterator<Item = &'a str> {
    let texts: Vec<&str> = values
        .iter()
        .flatten()
        .filter_map(|v| v.as_str())
        .filter(|t| !t.is_empty())
        .collect();
    texts.into_iter()
}

fn target_of(disk: &Disk) -> String {
    let of = match disk {
        Disk::Os => "osDiskImage",
        Disk::Data(_) => "dataDiskImages",
    };
    format!(
        "galleryArtifactVersion.properties.publishingProfile.targetRegions.encryption.{of}.diskEncryptionSetId"
    )
}

fn check_id(row: &Resource, id: &str, target: String) -> Result<()> {
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
    if parts[2].eq_ignore_ascii_case(subscription) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        target,
        format!(
            "The disk encryption set '{id}' must be in the same subscription '{subscription}' as the gallery resource."
        ),
    ))
}

/// What one region encrypts with a key, every region does.
fn check_all_or_none(all: &[(&str, Vec<(Disk, &str)>)]) -> Result<()> {
    for (with, sets) in all {
        for (disk, id) in sets {
            let lacks = |sets: &Vec<(Disk, &str)>| !sets.iter().any(|(other, _)| other == disk);
            let Some((without, _)) = all.iter().find(|(_, sets)| lacks(sets)) else {
                continue;
            };
            let shown = match disk {
                Disk::Os => "osDiskImage.diskEncryptionSetId".to_owned(),
                Disk::Data(lun) => format!("LUN {lun}"),
            };
            return Err(Error::invalid_parameter(
                target_of(disk),
                format!(
                    "A disk encryption set is required for disk '{shown}' in target region '{without}' since disk encryption \
                     set '{id}' is used for the corresponding disk in region '{with}'"
                ),
            ));
        }
    }
    Ok(())
}
