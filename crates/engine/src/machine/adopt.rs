//! After a restart of the server: machines that should run are served again.

use catalog::ListFilter;
use domain::virtual_machine::Power;
use domain::{Kind, ProvisioningState, Resource, Result};

use super::driver::Seen;
use super::spec::{Controller, DiskSlot, DiskSpec};
use crate::disk_content::layer_id;
use crate::error::catalog as db;
use crate::resources::PAGE_ITEMS_MAX;
use crate::{Engine, machine};

impl Engine {
    /// Takes over every machine that should be running on this node; to be called before workers run.
    ///
    /// One that is gone is not started: its guest may have shut itself down. What cannot be taken over
    /// is logged and holds up nothing.
    pub async fn adopt_machines(&self) {
        if self.driver().is_err() {
            return;
        }
        match self.running_machines().await {
            Ok(rows) => {
                for row in rows {
                    match self.adopt_machine(&row).await {
                        Ok(seen) => {
                            tracing::info!(resource.id = %row.id, ?seen, "took over a machine");
                        }
                        Err(error) => {
                            tracing::warn!(resource.id = %row.id, %error, "a machine cannot be taken over");
                        }
                    }
                }
            }
            Err(error) => tracing::error!(%error, "the machines to take over cannot be listed"),
        }
    }

    async fn adopt_machine(&self, row: &Resource) -> Result<Seen> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let held = machine::capture::disks_of(&mut read, row).await?;
        drop(read);
        let held: Vec<Resource> = held.into_iter().map(|(_, disk)| disk).collect();
        let mut spec = self.machine_spec(row, &held).await?;
        // A disk that is being let go is served until the emulator has let it go: else it waits for it, and hears nothing.
        for gone in self.unnamed_disks(row).await? {
            let Some(slot) = super::slot_of(&gone).filter(|slot| *slot != DiskSlot::Os) else {
                continue;
            };
            spec.disks.retain(|disk| disk.slot != slot);
            spec.disks.push(DiskSpec {
                slot,
                layer: self.disk_layer(&gone).await?,
                id: layer_id(&gone)?,
                controller: Controller::Scsi,
                is_read_only: false,
            });
        }
        self.driver()?.adopt(&spec).await
    }

    async fn running_machines(&self) -> Result<Vec<Resource>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut running = Vec::new();
        for subscription in read.list_subscriptions(None).await.map_err(db)? {
            for kind in [Kind::VirtualMachine, Kind::ScaleSetMachine] {
                let filter = ListFilter {
                    subscription: subscription.id.clone(),
                    kind: Some(kind),
                    ..ListFilter::default()
                };
                let mut after = None;
                loop {
                    let page = read.list(&filter, after.as_deref(), PAGE_ITEMS_MAX).await;
                    let page = page.map_err(db)?;
                    running.extend(page.items.into_iter().filter(|row| {
                        Power::of(row) == Power::Running && row.state != ProvisioningState::Deleting
                    }));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(running)
    }
}
