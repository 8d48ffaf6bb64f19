//! Machines: rows, disks and power, over a driver that runs guests.
//!
//! A machine's row says what is wanted; its disks are rows of their own, made and attached in the
//! transaction that accepts the machine ([`hold`]). The worker ([`work`]) gives disks their content
//! and tells the [`driver`]. Which image is meant is decided once, when the machine is accepted ([`boot`]).

pub(crate) mod action;
mod adopt;
mod attach;
pub(crate) mod boot;
pub(crate) mod capture;
pub(crate) mod cards;
mod console;
pub mod driver;
pub(crate) mod hold;
mod qemu;
pub(crate) mod reimage;
pub(crate) mod run_command;
pub mod settings;
pub mod simulated;
mod sizes;
pub mod spec;
mod specify;
pub(crate) mod work;

use domain::{Error, Resource, Result};
use serde_json::Value;
use uuid::Uuid;

use self::spec::DiskSlot;

/// Returns `vmId`.
pub(crate) fn machine_id(row: &Resource) -> Result<Uuid> {
    let id = row.properties.get("vmId").and_then(Value::as_str);
    id.and_then(|id| Uuid::parse_str(id).ok())
        .ok_or_else(Error::internal)
}

/// Returns where a disk's machine finds it, as the disk's own row says.
fn slot_of(disk: &Resource) -> Option<DiskSlot> {
    let slot = disk.internal.get("slot").and_then(Value::as_str)?;
    match slot.strip_prefix("lun:") {
        Some(lun) => lun.parse().ok().map(DiskSlot::Lun),
        None => Some(DiskSlot::Os),
    }
}
