//! Sizes of disks and snapshots: they only grow. Source: `API.md` 3.7, 12.

use serde_json::{Value, json};

use super::access::DiskState;
use super::{member, tier};
use crate::resource::Document;
use crate::{Error, Resource, Result};

/// The largest disk: 32 TiB less one GiB. Source: `API.md` 12.
pub(super) const SIZE_GIB_MAX: u64 = 32_767;
pub(super) const GIB: u64 = 1 << 30;
/// Bytes of a VHD footer, part of what is uploaded.
pub(super) const FOOTER_BYTES: u64 = 512;

/// Plans `diskSizeGB` and what follows from it.
pub(super) fn plan(row: &mut Resource, sent: &Document) -> Result<()> {
    let target = member(row.kind, "diskSizeGB");
    let upload = row
        .properties
        .get("creationData")
        .and_then(|c| c.get("uploadSizeBytes"))
        .and_then(Value::as_u64);
    let Some(gib) = sent.get("diskSizeGB").and_then(Value::as_i64) else {
        if let Some(bytes) = upload.filter(|_| !row.properties.contains_key("diskSizeBytes")) {
            set_size(row, bytes - FOOTER_BYTES);
        }
        return Ok(());
    };
    let gib = u64::try_from(gib).ok().filter(|gib| (1..=SIZE_GIB_MAX).contains(gib)).ok_or_else(|| {
        Error::invalid_parameter(
            target.as_str(),
            format!("The value {gib} of parameter diskSizeGB is out of range. The value must be between 1 and {SIZE_GIB_MAX}, inclusive."),
        )
    })?;
    if let Some(bytes) = upload.filter(|_| !row.properties.contains_key("diskSizeBytes")) {
        set_size(row, bytes - FOOTER_BYTES);
    }
    match size_bytes(row) {
        Some(held) if gib > held.div_ceil(GIB) && is_waiting(row) => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The {} {} waits for its content. Its size follows from uploadSizeBytes until the upload ends.",
                row.kind.wire_name(),
                row.id.name()
            ),
        )
        .at(target.as_str())),
        Some(held) if gib < held.div_ceil(GIB) => Err(Error::invalid_parameter(
            target.as_str(),
            "Disks or snapshot cannot be resized down.",
        )),
        // The same size in GiB leaves an odd number of bytes alone.
        Some(held) if gib == held.div_ceil(GIB) => Ok(()),
        Some(_) if DiskState::of(row) == DiskState::Attached => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The disk {} is attached to VM {}. Resizing a disk of an Azure Virtual Machine is allowed only when the VM is \
                 deallocated.",
                row.id.name(),
                super::holder(row).unwrap_or_default()
            ),
        )
        .at(target.as_str())),
        _ => {
            set_size(row, gib * GIB);
            Ok(())
        }
    }
}

fn is_waiting(row: &Resource) -> bool {
    matches!(
        DiskState::of(row),
        DiskState::ReadyToUpload | DiskState::ActiveUpload
    )
}

/// Returns the size in bytes, if it is known yet.
pub fn size_bytes(row: &Resource) -> Option<u64> {
    row.properties.get("diskSizeBytes").and_then(Value::as_u64)
}

/// Sets the size and what follows from it.
pub fn set_size(row: &mut Resource, bytes: u64) {
    let gib = bytes.div_ceil(GIB).max(1);
    row.properties.insert("diskSizeGB".to_owned(), json!(gib));
    row.properties
        .insert("diskSizeBytes".to_owned(), json!(bytes));
    tier::set_performance(row, gib);
}
