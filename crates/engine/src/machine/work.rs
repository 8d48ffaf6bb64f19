//! The worker of machines: disks get their content, the driver is told, disks that are not named any more are let go.
//!
//! Every step looks at what is there first, so a run after a crash goes on where the last one stopped.

use catalog::{Content, Tx};
use domain::disk::{self, is_held_by};
use domain::operation::{Operation, Work};
use domain::virtual_machine::{self as rules, Power, disks, show_disk};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};

use super::driver::Stop;
use super::hold::{claim_scope, held_disks};
use super::spec::DiskSlot;
use crate::Engine;
use crate::deletion::check_lease;
use crate::disk_content::grow;
use crate::error::catalog as db;
use crate::operations::Outcome;

/// The member of an operation's step, where a scale set gives its machine a model, that says whether a machine which
/// stands still is left so.
pub(crate) const KEEPS_POWER: &str = "keepsPower";

impl Engine {
    /// Makes a machine what its row says.
    ///
    /// A reimage, asked of the machine or of its scale set, gives it a new system disk and starts it.
    pub(crate) async fn make_machine(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let driver = self.driver()?;
        let id = super::machine_id(&row)?;
        let is_anew = operation.work == Work::Reimage;
        let before = Power::of(&row);
        let power = match before {
            Power::Created => Power::Running,
            // A new model leaves alone what stands still; a reimage that was asked for ends with a start.
            before if operation.step.get(KEEPS_POWER) == Some(&Value::Bool(true)) => before,
            before => rules::after(operation.work, before),
        };
        if is_anew {
            // Nothing of the system that was is kept, firmware variables included.
            driver.remove(id).await?;
        }
        for gone in self.unnamed_disks(&row).await? {
            if let Some(slot) = super::slot_of(&gone).filter(|_| !is_anew) {
                driver.detach(id, slot).await?;
            }
            if self.goes(operation, &row, &gone, is_anew).await? {
                Box::pin(self.remove(&gone, Some(operation))).await?;
            } else {
                self.let_go(operation, &gone).await?;
            }
        }
        let mut held = self.fill_disks(operation, &row).await?;
        if power == Power::Running {
            if !before.is_allocated() {
                held = self.reserve_disks(operation, &row, true).await?;
            }
            let spec = self.machine_spec(&row, &held).await?;
            let now = row.properties.get("hardwareProfile");
            let was = row.internal.get("startedAs");
            if before != power || is_anew {
                driver.start(&spec).await?;
            } else if now != was {
                driver.stop(id, Stop::Shutdown).await?;
                driver.start(&spec).await?;
            } else {
                for disk in spec.disks.iter().skip(1) {
                    driver.attach(id, disk).await?;
                }
                driver.forward(&spec).await?;
            }
        }
        self.succeed(operation, None, |row| {
            for disk in &held {
                show_disk(row, disk);
            }
            power.set(row);
            note_start(row);
        })
        .await
    }

    /// Whether a disk that a machine does not name any more goes; else it stays without the machine.
    ///
    /// The old system disk of a reimage goes where the machine's disk would go with it (`deleteOption`). What
    /// was held and never made is nothing to keep.
    async fn goes(
        &self,
        operation: &Operation,
        row: &Resource,
        disk: &Resource,
        is_anew: bool,
    ) -> Result<bool> {
        // What the model of a set names no more is the set's: nobody else names it. What is taken from one machine
        // by itself may be anybody's disk. Only a set says how it is with the power.
        let by_set = operation.step.get(KEEPS_POWER).is_some();
        let is_of_set = row.kind == Kind::ScaleSetMachine && by_set;
        if is_of_set || self.content_of(disk).await?.is_none() {
            return Ok(true);
        }
        let is_system = super::slot_of(disk) == Some(DiskSlot::Os);
        let mut named = disks(row).into_iter();
        Ok(is_anew
            && is_system
            && named.any(|named| named.lun.is_none() && named.is_deleted_with_machine))
    }

    /// Does what was asked of a machine's power.
    pub(crate) async fn power_machine(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        rules::check_action(&row, operation.work)?;
        let driver = self.driver()?;
        let id = super::machine_id(&row)?;
        let skips = operation.step.get("skipShutdown") == Some(&Value::Bool(true));
        let how = if skips {
            Stop::PowerOff
        } else {
            Stop::Shutdown
        };
        match operation.work {
            Work::PowerOff => driver.stop(id, how).await?,
            Work::Deallocate => {
                driver.stop(id, Stop::Shutdown).await?;
                self.reserve_disks(operation, &row, false).await?;
            }
            work => {
                let held = self.reserve_disks(operation, &row, true).await?;
                let spec = self.machine_spec(&row, &held).await?;
                match work {
                    Work::Restart => driver.restart(&spec).await?,
                    Work::Redeploy => {
                        driver.stop(id, Stop::Shutdown).await?;
                        driver.start(&spec).await?;
                    }
                    _ => driver.start(&spec).await?,
                }
            }
        }
        let work = operation.work;
        self.succeed(operation, None, |row| {
            rules::after(work, Power::of(row)).set(row);
            note_start(row);
        })
        .await
    }

    /// Lets the disks of a machine that goes go with it, or stay without it.
    pub(crate) async fn empty_machine(
        &self,
        row: &Resource,
        operation: Option<&Operation>,
    ) -> Result<()> {
        if let (Ok(driver), Ok(id)) = (self.driver(), super::machine_id(row)) {
            driver.remove(id).await?;
        }
        self.release_cards(row, operation).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let held = held_disks(&mut read, row).await?;
        drop(read);
        let named = disks(row);
        for disk in held {
            let goes = named
                .iter()
                .any(|d| d.id.key() == disk.id.key() && d.is_deleted_with_machine);
            if goes || self.content_of(&disk).await?.is_none() {
                Box::pin(self.remove(&disk, operation)).await?;
            } else {
                let mut tx = self.catalog().write().await.map_err(db)?;
                check_lease(&mut tx, operation).await?;
                free(&mut tx, &row.id, &disk.id, self.now_ms()).await?;
                tx.commit().await.map_err(db)?;
            }
        }
        Ok(())
    }

    pub(super) async fn unnamed_disks(&self, row: &Resource) -> Result<Vec<Resource>> {
        let named: Vec<String> = disks(row).iter().map(|disk| disk.id.key()).collect();
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut held = held_disks(&mut read, row).await?;
        held.retain(|disk| !named.contains(&disk.id.key()));
        Ok(held)
    }

    pub(super) async fn let_go(&self, operation: &Operation, disk: &Resource) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        free(&mut tx, &operation.resource, &disk.id, self.now_ms()).await?;
        tx.commit().await.map_err(db)
    }

    /// Gives every disk of a machine its content and returns the disks, the system disk first.
    pub(super) async fn fill_disks(
        &self,
        operation: &Operation,
        row: &Resource,
    ) -> Result<Vec<Resource>> {
        let mut held = Vec::new();
        for wanted in disks(row) {
            let disk = self.load_row(&wanted.id).await?;
            let disk = disk.filter(|disk| is_held_by(disk, row));
            let disk = disk.ok_or_else(|| super::hold::disk_not_found(&wanted.id))?;
            held.push(self.fill_disk(operation, disk, wanted.lun).await?);
        }
        Ok(held)
    }

    async fn fill_disk(
        &self,
        operation: &Operation,
        disk: Resource,
        lun: Option<i64>,
    ) -> Result<Resource> {
        let wanted = disk::size_bytes(&disk);
        let (size, definition) = if self.content_of(&disk).await?.is_some() {
            let layer = self.disk_layer(&disk).await?;
            let size = wanted.unwrap_or(layer.size_bytes()).max(layer.size_bytes());
            grow(&layer, size).await?;
            (size, None)
        } else {
            let start = self.start_of(&disk).await?;
            let size = start.size_bytes;
            let (id, _) = self
                .ensure_layer(operation, &disk, start.base, size)
                .await?;
            let content = Content::Layer(id.into());
            if !self.record_content(operation, &disk, content, size).await? {
                return Err(crate::publish::interrupted());
            }
            (size, start.definition)
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        let mut disk = tx
            .load(&disk.id)
            .await
            .map_err(db)?
            .ok_or_else(Error::internal)?;
        if disk::size_bytes(&disk).is_none() {
            disk::set_size(&mut disk, size);
        }
        if let Some(definition) = &definition {
            disk::inherit(&mut disk, definition);
        }
        disk.internal
            .insert("slot".to_owned(), json!(rules::slot(lun)));
        if tx.open_operation_of(&disk.id).await.map_err(db)?.is_none() {
            disk.state = ProvisioningState::Succeeded;
        }
        tx.update(&mut disk).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(disk)
    }

    /// Records whether the machine's disks have a place, and returns them, the system disk first.
    pub(super) async fn reserve_disks(
        &self,
        operation: &Operation,
        row: &Resource,
        is_allocated: bool,
    ) -> Result<Vec<Resource>> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        let mut held = Vec::new();
        for wanted in disks(row) {
            let disk = tx.load(&wanted.id).await.map_err(db)?;
            let disk = disk.filter(|disk| is_held_by(disk, row));
            let mut disk = disk.ok_or_else(|| super::hold::disk_not_found(&wanted.id))?;
            if is_allocated {
                disk::attach(&mut disk, row, true)?;
            } else {
                disk::reserve(&mut disk, false);
            }
            tx.update(&mut disk).await.map_err(db)?;
            held.push(disk);
        }
        tx.commit().await.map_err(db)?;
        Ok(held)
    }
}

pub(super) fn note_start(row: &mut Resource) {
    if Power::of(row) == Power::Running
        && let Some(profile) = row.properties.get("hardwareProfile")
    {
        row.internal.insert("startedAs".to_owned(), profile.clone());
    }
}

/// Takes a disk from a machine.
async fn free(tx: &mut Tx, machine: &ResourceId, disk: &ResourceId, now_ms: i64) -> Result<()> {
    tx.unclaim(&claim_scope(machine), disk).await.map_err(db)?;
    if let Some(mut disk) = tx.load(disk).await.map_err(db)? {
        disk::detach(&mut disk);
        disk::note_owner(&mut disk, now_ms)?;
        disk.internal.shift_remove("slot");
        tx.update(&mut disk).await.map_err(db)?;
    }
    Ok(())
}
