//! What is asked of a set's machines: power, deletion, the model, a new system.

use catalog::Tx;
use domain::operation::{Operation, Work};
use domain::scale_set::{self as rules, Progress, RollingCode, SetNotOffered};
use domain::virtual_machine::verb;
use domain::{Error, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::Value;

use super::members;
use super::step::Step;
use super::upgrade::is_made;
use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::image_choice::{self, For, Named};
use crate::machine::action::PowerAsked;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

/// An action on machines of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAction {
    /// Power: start, stop, deallocate, restart, redeploy.
    Power(Work),
    /// `delete`: the machines go, and fewer are wanted.
    Delete,
    /// `manualupgrade`: the machines get the model.
    Update,
    /// `reimage` and `reimageall`: the machines get a new system disk.
    Reimage,
}

impl SetAction {
    const fn work(self) -> Work {
        match self {
            Self::Power(work) => work,
            Self::Delete => Work::DeleteInstances,
            Self::Update => Work::UpdateInstances,
            Self::Reimage => Work::Reimage,
        }
    }
}

impl Engine {
    /// Accepts an action on the machines that `body.instanceIds` names, or on all.
    pub async fn scale_set_action(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        asked: SetAction,
        (body, skip_shutdown): (&Value, bool),
    ) -> Result<Accepted> {
        let work = asked.work();
        let right = action(id, &format!("{}/action", verb(work)));
        self.authorize(ctx, &right, &id.to_string()).await?;
        let mut down = Vec::new();
        if let SetAction::Power(Work::PowerOff) = asked {
            let mut read = self.catalog().read().await.map_err(db)?;
            let living = members::living(&mut read, id).await?;
            drop(read);
            for machine in living {
                if self.settled(&machine.id).await? {
                    down.push(machine.id.key());
                }
            }
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        let mut set = load_set(&mut tx, id).await?;
        let before = audit::of_row(&set);
        let living = members::living(&mut tx, id).await?;
        if asked == SetAction::Delete && body.get("instanceIds").is_none_or(Value::is_null) {
            return Err(Error::required("instanceIds"));
        }
        let (mut chosen, is_named) = rules::check_instances(body, &living)?;
        if !is_named {
            let kept = living.iter().filter(|m| rules::is_kept_from_actions(m));
            let kept: Vec<&ResourceId> = kept.map(|machine| &machine.id).collect();
            chosen.retain(|id| !kept.contains(&id));
        }
        let mut step = Step::of(ctx);
        step.action = Some(right.clone());
        for machine in &chosen {
            let is_down = down.contains(&machine.key());
            let begun = match asked {
                SetAction::Power(work) => {
                    let power = PowerAsked {
                        work,
                        skip_shutdown,
                        is_down,
                    };
                    self.power_member(&mut tx, ctx, machine, (power, is_named))
                        .await?
                }
                SetAction::Delete => self.drop_member(&mut tx, ctx, machine).await?,
                SetAction::Update | SetAction::Reimage => None,
            };
            step.running.extend(begun.map(|operation| operation.id));
        }
        if asked == SetAction::Delete {
            let wanted = rules::capacity(&set).saturating_sub(chosen.len());
            rules::set_capacity(&mut set, wanted);
        }
        if let SetAction::Update | SetAction::Reimage = asked {
            self.driver()?;
            step.chosen = Some(chosen.iter().map(ResourceId::key).collect());
        }
        self.accept_work(tx, ctx, set, (work, step, &right, before))
            .await
    }

    /// Records work on a set, beside what was recorded for its machines.
    async fn accept_work(
        &self,
        mut tx: Tx,
        ctx: &Ctx,
        mut set: Resource,
        (work, step, right, before): (Work, Step, &str, String),
    ) -> Result<Accepted> {
        set.state = ProvisioningState::Updating;
        let deed = Deed {
            action: right,
            scope: &set.id.to_string(),
            before,
            after: audit::of_row(&set),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut set).await.map_err(db)?;
        let operation = new_operation(set.kind, work, &set, self.now_ms(), step.to_value());
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Accepted {
            resource: set,
            operation: Some(operation),
            is_created: false,
        })
    }

    /// Records what is asked of one machine; of all machines, those that it does not fit are left out.
    async fn power_member(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        id: &ResourceId,
        (asked, is_named): (PowerAsked, bool),
    ) -> Result<Option<Operation>> {
        let machine = tx.load(id).await.map_err(db)?;
        let mut machine = machine.ok_or_else(|| not_found(id))?;
        if !is_named
            && (!is_made(&machine)
                || domain::virtual_machine::check_action(&machine, asked.work).is_err())
        {
            return Ok(None);
        }
        self.record_power(tx, ctx, &mut machine, asked)
            .await
            .map(Some)
    }

    /// Begins a rolling upgrade to the newest version of the set's image (`osRollingUpgrade`).
    pub async fn start_os_upgrade(&self, ctx: &Ctx, id: &ResourceId) -> Result<Accepted> {
        let right = action(id, "osRollingUpgrade/action");
        self.authorize(ctx, &right, &id.to_string()).await?;
        self.begin_os_upgrade(ctx, id, &right).await
    }

    /// Records a rolling upgrade to what the set's image means now.
    pub(super) async fn begin_os_upgrade(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        right: &str,
    ) -> Result<Accepted> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let mut set = load_set(&mut tx, id).await?;
        let before = audit::of_row(&set);
        self.driver()?;
        if tx.open_operation_of(id).await.map_err(db)?.is_some() {
            return Err(Error::conflict(
                "OperationNotAllowed",
                format!(
                    "A rolling upgrade of the scale set '{}' cannot begin while another operation on it is in progress. Wait for \
                     its end.",
                    id.name()
                ),
            ));
        }
        if let Some(version) = self.newest_version(&mut tx, &set).await? {
            note_version(&mut set, &version);
        }
        let mut step = Step::of(ctx);
        step.action = Some(right.to_owned());
        self.accept_work(tx, ctx, set, (Work::Upgrade, step, right, before))
            .await
    }

    /// Returns the version that a set's image means now; none for a managed image.
    pub(super) async fn newest_version(
        &self,
        read: &mut catalog::Read,
        set: &Resource,
    ) -> Result<Option<ResourceId>> {
        let profile = set.properties.get("virtualMachineProfile");
        let reference = profile.and_then(|p| p.pointer("/storageProfile/imageReference"));
        let Some(reference) = reference else {
            return Ok(None);
        };
        let named = Named::read(reference)?;
        if let Named::Own(id) = &named
            && id.kind() == Some(Kind::ManagedImage)
        {
            return Ok(None);
        }
        let who = For {
            subscription: set.id.subscription(),
            region: &set.location,
        };
        let chosen = image_choice::choose(self, read, &named, who).await?;
        Ok(Some(chosen.version.id))
    }

    /// Returns why something that the service offers elsewhere cannot be done to a set, or to a machine of it.
    pub async fn refuse_set_action(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        asked: SetNotOffered,
    ) -> Error {
        let verb = format!("{}/action", asked.verb());
        let found = match id.kind() {
            Some(Kind::ScaleSetMachine) => self.find_instance(ctx, id, &verb).await.map(drop),
            _ => self.find_set(ctx, id, &verb).await.map(drop),
        };
        match found {
            Ok(()) => asked.refusal(id.name()),
            Err(error) => error,
        }
    }

    /// Stops the rolling upgrade of a set after the batch that is under way.
    pub async fn cancel_upgrade(&self, ctx: &Ctx, id: &ResourceId) -> Result<()> {
        let right = action(id, "rollingUpgrades/action");
        self.authorize(ctx, &right, &id.to_string()).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let mut set = load_set(&mut tx, id).await?;
        let before = audit::of_row(&set);
        let under_way = Progress::of(&set).filter(|p| p.code == RollingCode::RollingForward);
        let Some(mut progress) = under_way else {
            return Err(Error::conflict(
                "OperationNotAllowed",
                format!(
                    "There is no rolling upgrade of the scale set '{}' to cancel.",
                    id.name()
                ),
            ));
        };
        progress.code = RollingCode::Cancelled;
        progress.acted_ms = self.now_ms();
        progress.set(&mut set);
        progress.remember(&mut set, None);
        let deed = Deed {
            action: &right,
            scope: &id.to_string(),
            before,
            after: audit::of_row(&set),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut set).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }
}

/// Records which version a set's image means.
fn note_version(set: &mut Resource, version: &ResourceId) {
    set.internal
        .insert("imageVersion".to_owned(), version.to_string().into());
    let profile = set.properties.get_mut("virtualMachineProfile");
    let reference = profile.and_then(|p| p.pointer_mut("/storageProfile/imageReference"));
    if let Some(reference) = reference.and_then(Value::as_object_mut) {
        reference.insert("exactVersion".to_owned(), version.name().into());
    }
}

async fn load_set(tx: &mut Tx, id: &ResourceId) -> Result<Resource> {
    lock::check(tx, domain::lock::Deed::Write, &id.to_string()).await?;
    let set = tx.load(id).await.map_err(db)?;
    let set = set.ok_or_else(|| not_found(id))?;
    if set.state == ProvisioningState::Deleting {
        return Err(marked_for_deletion(set.kind, id.name(), "Update"));
    }
    Ok(set)
}
