//! Disks that come and go while the guest runs.
//!
//! Both ways are idempotent: a server that died in the middle asks again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{Machine, Shared};
use crate::command::{device, device_name, node_name, nodes};
use crate::error::VmError;
use crate::qmp::Event;
use crate::spec::{Disk, Place};

/// How long a guest may take to give a disk up.
const UNPLUG: Duration = Duration::from_secs(30);

impl Machine {
    /// Attaches a data disk; its server must listen already.
    ///
    /// The same disk at the same place again is fine; another one is [`VmError::LunInUse`].
    pub async fn attach(&self, disk: Disk) -> Result<(), VmError> {
        disk.check()?;
        let Place::Lun(lun) = disk.place else {
            return Err(VmError::Invalid(
                "the disk a machine starts from cannot be attached while it runs".to_owned(),
            ));
        };
        let shared = &self.inner.shared;
        // Held to the end: attaching and detaching take turns.
        let mut record = shared.record.lock().await;
        let known = record
            .spec
            .disks
            .iter()
            .find(|known| known.place == disk.place);
        if known.is_some_and(|known| *known != disk) {
            return Err(VmError::LunInUse { lun });
        }
        if known.is_none() || !is_plugged(shared, disk.place).await? {
            remove(shared, disk.place).await?;
            if let Err(error) = add(shared, &disk).await {
                if let Err(more) = remove(shared, disk.place).await {
                    tracing::warn!(%more, "cannot take back what was added of a disk");
                }
                return Err(error);
            }
        }
        record.spec.disks.retain(|known| known.place != disk.place);
        record.spec.disks.push(disk);
        shared
            .directory
            .write_record(&record)
            .map_err(VmError::io("writing the machine's record"))
    }

    /// Detaches a data disk and waits until its server has no client any more; one that is not
    /// attached is fine.
    pub async fn detach(&self, lun: u8) -> Result<(), VmError> {
        let place = Place::Lun(lun);
        let shared = &self.inner.shared;
        let mut record = shared.record.lock().await;
        remove(shared, place).await?;
        record.spec.disks.retain(|known| known.place != place);
        shared
            .directory
            .write_record(&record)
            .map_err(VmError::io("writing the machine's record"))
    }
}

async fn is_plugged(shared: &Shared, place: Place) -> Result<bool, VmError> {
    let blocks = shared.qmp.run("query-block", json!({})).await?;
    let name = device_name(place);
    // The emulator shows a device by its id, or by its path in older releases.
    let is_it = |block: &Value| {
        block["qdev"]
            .as_str()
            .is_some_and(|shown| shown.split('/').any(|part| part == name))
    };
    Ok(blocks.as_array().is_some_and(|all| all.iter().any(is_it)))
}

async fn add(shared: &Shared, disk: &Disk) -> Result<(), VmError> {
    for node in nodes(disk) {
        shared.qmp.run("blockdev-add", node).await?;
    }
    shared.qmp.run("device_add", device(disk)).await.map(drop)
}

/// Removes a device and its nodes as far as they are there.
async fn remove(shared: &Shared, place: Place) -> Result<(), VmError> {
    unplug(shared, place).await?;
    let name = node_name(place);
    for node in [name.clone(), format!("{name}-nbd")] {
        match shared
            .qmp
            .run("blockdev-del", json!({"node-name": node}))
            .await
        {
            Err(error) if error.is_absent() => {}
            done => done.map(drop)?,
        }
    }
    Ok(())
}

async fn unplug(shared: &Shared, place: Place) -> Result<(), VmError> {
    let name = device_name(place);
    let mut events = shared.qmp.events();
    match shared.qmp.run("device_del", json!({"id": name})).await {
        Err(error) if error.is_absent() => return Ok(()),
        done => done.map(drop)?,
    }
    let gone = async {
        loop {
            match events.recv().await {
                Ok(Event::DeviceDeleted { device }) if device == name => return Ok(()),
                Ok(Event::UnplugRefused { device }) if device == name => {
                    return Err(VmError::Refused {
                        command: "device_del",
                        class: "Guest".to_owned(),
                        reason: "the guest does not give the disk up".to_owned(),
                    });
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) if !is_plugged(shared, place).await? => return Ok(()),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(VmError::NotRunning),
            }
        }
    };
    tokio::time::timeout(UNPLUG, gone)
        .await
        .map_err(|_| VmError::Slow {
            what: "the guest's giving up a disk",
            seconds: UNPLUG.as_secs(),
        })?
}
