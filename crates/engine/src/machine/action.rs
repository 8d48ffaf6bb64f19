//! What is asked of a machine: power, generalizing, its instance view and its serial log.

use blocks::Trouble;
use catalog::Tx;
use domain::operation::{Operation, Work};
use domain::virtual_machine::{self as rules, NotOffered, Observed, Power};
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};

use super::driver::Seen;
use super::spec::DiskSlot;
use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

/// What is asked of a machine's power.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PowerAsked {
    /// What to do.
    pub work: Work,
    /// Whether the guest is not asked first.
    pub skip_shutdown: bool,
    /// Whether the driver sees that it stands still.
    pub is_down: bool,
}

const DISK_WRITE: &str = "Microsoft.Compute/disks/write";
const CARD_JOIN: &str = "Microsoft.Network/networkInterfaces/join/action";

impl Engine {
    /// Accepts an action on a machine's power.
    pub async fn power_action(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        work: Work,
        skip_shutdown: bool,
    ) -> Result<Accepted> {
        let action = action(id, &format!("{}/action", rules::verb(work)));
        self.authorize(ctx, &action, &id.to_string()).await?;
        let seen = self.settled(id).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let row = tx.load(id).await.map_err(db)?;
        let mut row = row.ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(row.kind, id.name(), "Update"));
        }
        let asked = PowerAsked {
            work,
            skip_shutdown,
            is_down: seen,
        };
        let operation = self.record_power(&mut tx, ctx, &mut row, asked).await?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource: row,
            operation: Some(operation),
            is_created: false,
        })
    }

    /// Records what is asked of a machine's power, unless its state forbids it.
    pub(crate) async fn record_power(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        row: &mut Resource,
        asked: PowerAsked,
    ) -> Result<Operation> {
        let before = audit::of_row(row);
        let work = asked.work;
        if asked.is_down && Power::of(row) == Power::Running && work == Work::PowerOff {
            Power::Stopped.set(row);
        }
        rules::check_action(row, work)?;
        self.driver()?;
        row.state = ProvisioningState::Updating;
        let deed = Deed {
            action: &action(&row.id, &format!("{}/action", rules::verb(work))),
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(row),
        };
        self.audit(tx, ctx, deed).await?;
        tx.update(row).await.map_err(db)?;
        let step = json!({ "skipShutdown": asked.skip_shutdown });
        let operation = new_operation(row.kind, work, row, self.now_ms(), step);
        tx.insert_operation(&operation).await.map_err(db)?;
        Ok(operation)
    }

    /// Marks a machine that stands still as generalized.
    pub async fn generalize(&self, ctx: &Ctx, id: &ResourceId) -> Result<()> {
        let action = action(id, "generalize/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let is_down = self.settled(id).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let row = tx.load(id).await.map_err(db)?;
        let mut row = row.ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(row.kind, id.name(), "Update"));
        }
        if tx.open_operation_of(id).await.map_err(db)?.is_some() {
            return Err(Error::conflict(
                "OperationNotAllowed",
                format!(
                    "Operation 'generalize' is not allowed on VM '{}' since another operation on it is in progress. Wait for \
                     its end.",
                    id.name()
                ),
            ));
        }
        let before = audit::of_row(&row);
        if is_down && Power::of(&row) == Power::Running {
            Power::Stopped.set(&mut row);
        }
        rules::generalize(&mut row)?;
        row.changed_ms = self.now_ms();
        let deed = Deed {
            action: &action,
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut row).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Returns why something that the service offers elsewhere cannot be done to a machine.
    pub async fn refuse_action(&self, ctx: &Ctx, id: &ResourceId, asked: NotOffered) -> Error {
        let action = action(id, asked.action());
        if let Err(error) = self.authorize(ctx, &action, &id.to_string()).await {
            return error;
        }
        match self.load_row(id).await {
            Err(error) => error,
            Ok(None) => not_found(id),
            Ok(Some(row)) => asked.refusal(row.id.name()),
        }
    }

    /// Checks that a machine is there whose parts, of which it has none, the caller may read.
    pub async fn read_no_parts(&self, ctx: &Ctx, id: &ResourceId, part: &str) -> Result<()> {
        self.has_no_parts(ctx, id, &format!("{part}/read")).await
    }

    /// The same for a part that is to be deleted.
    pub async fn delete_no_part(&self, ctx: &Ctx, id: &ResourceId, part: &str) -> Result<()> {
        self.has_no_parts(ctx, id, &format!("{part}/delete")).await
    }

    async fn has_no_parts(&self, ctx: &Ctx, id: &ResourceId, verb: &str) -> Result<()> {
        let action = action(id, verb);
        self.authorize(ctx, &action, &id.to_string()).await?;
        self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        Ok(())
    }

    /// Whether the driver sees that a machine which should run stands still.
    pub(crate) async fn settled(&self, id: &ResourceId) -> Result<bool> {
        let Some(row) = self.load_row(id).await? else {
            return Ok(false);
        };
        Ok(matches!(self.see(&row).await, Seen::Stopped { .. }))
    }

    /// Returns what the driver sees of a machine that its row says is running.
    pub(crate) async fn see(&self, row: &Resource) -> Seen {
        let (Ok(driver), Ok(id)) = (self.driver(), super::machine_id(row)) else {
            return Seen::AsRecorded;
        };
        if Power::of(row) != Power::Running {
            return Seen::AsRecorded;
        }
        driver.observe(id).await.unwrap_or_else(|error| {
            tracing::warn!(machine.id = %id, %error, "a machine cannot be observed");
            Seen::AsRecorded
        })
    }

    /// Returns the disks of a machine to which requests fail now, by their slots, and why.
    async fn troubles(&self, row: &Resource) -> Vec<(String, String)> {
        let (Ok(driver), Ok(id)) = (self.driver(), super::machine_id(row)) else {
            return Vec::new();
        };
        let slot = |slot| match slot {
            DiskSlot::Os => rules::slot(None),
            DiskSlot::Lun(lun) => rules::slot(Some(i64::from(lun))),
        };
        let found = driver.troubles(id).await;
        let told = found.into_iter().map(|(at, why)| (slot(at), why_of(why)));
        told.collect()
    }

    /// Returns the instance view of a machine that the caller has read.
    pub async fn instance_view(&self, row: &Resource) -> Result<Value> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let open = read.open_operation_of(&row.id).await.map_err(db)?;
        drop(read);
        let seen = self.see(row).await;
        let observed = Observed {
            work: open.map(|operation| operation.work),
            is_down: matches!(seen, Seen::Stopped { .. }),
            reason: match seen {
                Seen::Stopped { reason } => reason,
                _ => None,
            },
            agent: match super::machine_id(row) {
                Ok(id) => self.agent_of(id).await,
                Err(_) => None,
            },
            driver: self.driver().map_or_else(|e| e.message, |d| d.describe()),
            troubles: self.troubles(row).await,
        };
        rules::instance_view(row, &observed)
    }

    /// Returns a machine's row and instance view, for `GET …/instanceView`.
    pub async fn get_instance_view(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        let action = action(id, "instanceView/read");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let row = self.load_row(id).await?;
        self.instance_view(&row.ok_or_else(|| not_found(id))?).await
    }

    /// Refuses a machine whose disks the caller may not write.
    ///
    /// Who attaches a disk can write it; who makes a machine makes disks in its group.
    pub(crate) async fn authorize_machine(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &Value,
    ) -> Result<()> {
        if id.kind() != Some(Kind::VirtualMachine) {
            return Ok(());
        }
        let profile = body.pointer("/properties/storageProfile");
        let os = profile.and_then(|p| p.get("osDisk"));
        let data = profile.and_then(|p| p.get("dataDisks"));
        let data = data.and_then(Value::as_array).into_iter().flatten();
        let mut makes = profile.is_some() && os.is_none();
        for disk in os.into_iter().chain(data) {
            let named = disk.pointer("/managedDisk/id").and_then(Value::as_str);
            match named.filter(|id| !id.is_empty()).map(ResourceId::parse) {
                None => makes = true,
                Some(Ok(disk)) => self.authorize(ctx, DISK_WRITE, &disk.to_string()).await?,
                Some(Err(_)) => {}
            }
        }
        let cards = body.pointer("/properties/networkProfile/networkInterfaces");
        for card in cards.and_then(Value::as_array).into_iter().flatten() {
            let named = card.get("id").and_then(Value::as_str).unwrap_or_default();
            if let Ok(card) = ResourceId::parse(named) {
                self.authorize(ctx, CARD_JOIN, &card.to_string()).await?;
            }
        }
        if makes {
            let group = id.group_id().to_string();
            self.authorize(ctx, DISK_WRITE, &group).await?;
        }
        Ok(())
    }
}

fn why_of(trouble: Trouble) -> String {
    let text = match trouble {
        Trouble::Full => {
            "Writes of the guest fail: no space is left where the server keeps this disk. Free some or add storage; \
             half a minute after the last failure this is over."
        }
        Trouble::Writes => {
            "Writes of the guest fail: the server cannot write this disk. Its log says why; start the machine anew when \
             that is mended."
        }
        Trouble::Reads => {
            "Reads of the guest fail: the server cannot read this disk. Its log says why."
        }
    };
    text.to_owned()
}
