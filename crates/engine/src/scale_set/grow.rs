//! New machines of a set, and machines that go: recorded one by one, each with its own operation.

use catalog::Tx;
use domain::network::network_interface::own_addresses;
use domain::operation::{Operation, Work};
use domain::scale_set::{self as rules, Member};
use domain::virtual_machine::check_cap;
use domain::{ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::members;
use super::model::{plan_machine, plan_row};
use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::machine::{boot, cards, hold};
use crate::resources::{action, check_parents, new_operation};
use crate::{Ctx, Engine, disk_encryption_set, network, rules as kinds};

impl Engine {
    /// Records a new machine of a set with its interfaces and disks; its worker makes it.
    pub(super) async fn grow_set(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        set: &mut Resource,
    ) -> Result<Operation> {
        let member = rules::next_member(set, Uuid::new_v4());
        check_parents(tx, &member.id).await?;
        tx.update(set).await.map_err(db)?;
        let mut clear = set.clone();
        self.unseal_secrets(&mut clear)?;
        let mut machine = plan_machine(self, ctx, &clear, &member)?;
        check_cap(&machine, self.machine_cap())?;
        boot::choose_boot(self, tx, ctx, &mut machine).await?;
        kinds::reserve_quota(tx, &machine).await?;
        self.hold_cards_of_model(tx, ctx, &clear, &member).await?;
        machine.changed_ms = self.now_ms();
        self.hold_member(tx, ctx, &mut machine, None).await?;
        let deed = action(&machine.id, "write");
        self.audit_row(tx, ctx, &deed, None, &machine).await?;
        tx.insert(&machine).await.map_err(db)?;
        members::claim(tx, &set.id, &machine.id).await?;
        self.begin(tx, &machine, Work::Put).await
    }

    /// Takes what a machine names, as a write of it by itself would.
    pub(super) async fn hold_member(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        machine: &mut Resource,
        stored: Option<&Resource>,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        hold::hold_disks(self, tx, ctx, machine, now_ms).await?;
        cards::hold_cards(self, tx, ctx, machine, stored).await?;
        self.seal_secrets(machine)?;
        disk_encryption_set::hold_sets(tx, self.regions(), machine, stored).await
    }

    /// Makes the interfaces of a machine what the model says.
    pub(super) async fn hold_cards_of_model(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        set: &Resource,
        member: &Member,
    ) -> Result<()> {
        for card in rules::card_bodies(set, member) {
            for (id, body) in &card.addresses {
                self.hold_row_of_model(tx, ctx, id, body).await?;
            }
            self.hold_row_of_model(tx, ctx, &card.id, &card.body)
                .await?;
        }
        Ok(())
    }

    /// Makes an interface or an address what the model says; addresses that an interface has no more go.
    async fn hold_row_of_model(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        id: &ResourceId,
        body: &Value,
    ) -> Result<()> {
        let stored = tx.load(id).await.map_err(db)?;
        let mut row = plan_row(self, ctx, (id, body), stored.as_ref())?;
        if stored.is_none() {
            kinds::reserve_quota(tx, &row).await?;
        }
        network::give_address(tx, &mut row).await?;
        network::hold_links(tx, &mut row, stored.as_ref()).await?;
        row.state = ProvisioningState::Succeeded;
        row.changed_ms = self.now_ms();
        let deed = action(id, "write");
        self.audit_row(tx, ctx, &deed, stored.as_ref(), &row)
            .await?;
        let Some(stored) = stored else {
            return tx.insert(&row).await.map_err(db);
        };
        tx.update(&mut row).await.map_err(db)?;
        let kept = own_addresses(&row);
        for gone in own_addresses(&stored) {
            if !kept.contains(&gone) {
                self.drop_address(tx, ctx, &gone).await?;
            }
        }
        Ok(())
    }

    async fn drop_address(&self, tx: &mut Tx, ctx: &Ctx, id: &ResourceId) -> Result<()> {
        let Some(row) = tx.load(id).await.map_err(db)? else {
            return Ok(());
        };
        let deed = Deed {
            action: &action(id, "delete"),
            scope: &id.to_string(),
            before: audit::of_row(&row),
            after: String::new(),
        };
        self.audit(tx, ctx, deed).await?;
        tx.release(id).await.map_err(db)?;
        tx.delete_access_at(&id.key()).await.map_err(db)?;
        tx.delete(id).await.map_err(db)?;
        Ok(())
    }

    /// Records work on a machine.
    pub(super) async fn begin(
        &self,
        tx: &mut Tx,
        machine: &Resource,
        work: Work,
    ) -> Result<Operation> {
        let step = json!({ "bypassSoftDelete": true });
        self.begin_with(tx, machine, work, step).await
    }

    /// The same with a step of its own.
    pub(super) async fn begin_with(
        &self,
        tx: &mut Tx,
        machine: &Resource,
        work: Work,
        step: Value,
    ) -> Result<Operation> {
        let operation = new_operation(machine.kind, work, machine, self.now_ms(), step);
        tx.insert_operation(&operation).await.map_err(db)?;
        Ok(operation)
    }

    /// Records the deletion of a machine of a set; one that is going already is only waited for.
    pub(super) async fn drop_member(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        id: &ResourceId,
    ) -> Result<Option<Operation>> {
        let Some(mut machine) = tx.load(id).await.map_err(db)? else {
            return Ok(None);
        };
        if machine.state == ProvisioningState::Deleting
            && let Some(open) = tx.open_operation_of(id).await.map_err(db)?
            && open.work == Work::Delete
        {
            return Ok(Some(open));
        }
        let cancelled = tx.cancel_operations_of(id, self.now_ms()).await;
        cancelled.map_err(db)?;
        let deed = Deed {
            action: &action(id, "delete"),
            scope: &id.to_string(),
            before: audit::of_row(&machine),
            after: String::new(),
        };
        self.audit(tx, ctx, deed).await?;
        machine.state = ProvisioningState::Deleting;
        tx.update(&mut machine).await.map_err(db)?;
        self.begin(tx, &machine, Work::Delete).await.map(Some)
    }

    /// Removes every machine of a set that goes with its group.
    pub(crate) async fn empty_scale_set(
        &self,
        set: &Resource,
        operation: Option<&Operation>,
    ) -> Result<()> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let left = members::members(&mut read, &set.id).await?;
        drop(read);
        for machine in left {
            Box::pin(self.remove(&machine, operation)).await?;
        }
        Ok(())
    }
}
