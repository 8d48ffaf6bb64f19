//! A changed model for machines that are there: asked for, all at once, or batch after batch.

use catalog::Tx;
use domain::operation::{Operation, Work};
use domain::resource::Document;
use domain::scale_set::{self as rules, Member, Progress, RollingCode};
use domain::virtual_machine::{Power, secrets, set_secrets};
use domain::{Error, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};

use super::members;
use super::model::plan_machine;
use super::work::{AT_ONCE, Found, Look};
use crate::error::catalog as db;
use crate::machine::boot;
use crate::machine::driver::Seen;
use crate::machine::work::KEEPS_POWER;
use crate::resources::action;
use crate::{Ctx, Engine};

const PROFILE: &str = "storageProfile";
/// Between two looks at machines that are being changed.
const LOOK_MS: i64 = 200;
/// Between two looks at how the machines of a batch are, before the next one begins.
const WATCH_MS: i64 = 1000;

impl Engine {
    /// Gives a machine the model of its set and, where its image is another one or it is asked for, a new system disk.
    async fn give_model(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        set: &Resource,
        (stored, is_anew): (&Resource, bool),
    ) -> Result<Operation> {
        let (mut clear, mut before) = (set.clone(), stored.clone());
        self.unseal_secrets(&mut clear)?;
        self.unseal_secrets(&mut before)?;
        let member = Member::of(&before);
        let mut machine = plan_machine(self, ctx, &clear, &member)?;
        boot::choose_boot(self, tx, ctx, &mut machine).await?;
        let keeps_system = !is_anew && has_same_system(&before, &machine);
        keep(&mut machine, &before, keeps_system);
        rules::keep_own(&mut machine, &before);
        self.hold_cards_of_model(tx, ctx, &clear, &member).await?;
        machine.changed_ms = self.now_ms();
        machine.state = ProvisioningState::Updating;
        self.hold_member(tx, ctx, &mut machine, Some(&before))
            .await?;
        let deed = action(&machine.id, "write");
        self.audit_row(tx, ctx, &deed, Some(&before), &machine)
            .await?;
        tx.update(&mut machine).await.map_err(db)?;
        let work = if keeps_system {
            Work::Put
        } else {
            Work::Reimage
        };
        let step = json!({ KEEPS_POWER: !is_anew });
        self.begin_with(tx, &machine, work, step).await
    }

    /// Whether a machine is as it should be: not failed, and its guest runs unless it was stopped.
    async fn is_well(&self, machine: &Resource) -> bool {
        machine.state != ProvisioningState::Failed
            && !matches!(self.see(machine).await, Seen::Stopped { .. })
    }
}

/// Whether two machines boot the same version from the same kind of disk.
fn has_same_system(before: &Resource, now: &Resource) -> bool {
    let of = |row: &Resource, pointer: &str| {
        let profile = row.properties.get(PROFILE);
        profile.and_then(|p| p.pointer(pointer)).cloned()
    };
    let is_same = |pointer: &str| of(before, pointer) == of(now, pointer);
    before.internal.get("imageVersion") == now.internal.get("imageVersion")
        && is_same("/imageReference")
        && is_same("/osDisk/managedDisk/diskEncryptionSet")
}

/// What stays of a machine that gets a model: who it is, whether it runs, its data disks, perhaps its system.
fn keep(machine: &mut Resource, before: &Resource, keeps_system: bool) {
    (machine.created_ms, machine.revision) = (before.created_ms, before.revision);
    for name in ["vmId", "timeCreated"] {
        if let Some(value) = before.properties.get(name) {
            machine.properties.insert(name.to_owned(), value.clone());
        }
    }
    for name in ["power", "startedAs"] {
        if let Some(value) = before.internal.get(name) {
            machine.internal.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(managed) = before.top.get("managedBy") {
        machine.top.insert("managedBy".to_owned(), managed.clone());
    }
    let held = before.properties.get(PROFILE).cloned().unwrap_or_default();
    if let Some(profile) = machine
        .properties
        .get_mut(PROFILE)
        .and_then(Value::as_object_mut)
    {
        if keeps_system && let Some(os) = held.get("osDisk") {
            let asked = profile.get("osDisk").cloned().unwrap_or_default();
            profile.insert("osDisk".to_owned(), kept_disk(os, &asked));
        }
        let known = held.get("dataDisks").and_then(Value::as_array);
        let data = profile.get_mut("dataDisks").and_then(Value::as_array_mut);
        for disk in data.into_iter().flatten() {
            let mut known = known.into_iter().flatten();
            if let Some(known) = known.find(|known| known.get("lun") == disk.get("lun")) {
                *disk = kept_disk(known, disk);
            }
        }
    }
    if keeps_system {
        // What the guest was told once stays told.
        match before.properties.get("osProfile") {
            Some(told) => machine
                .properties
                .insert("osProfile".to_owned(), told.clone()),
            None => machine.properties.shift_remove("osProfile"),
        };
        if let Some(kept) = secrets(before).cloned() {
            set_secrets(machine, kept);
        }
    }
}

/// A disk that stays keeps its name and content; how it is cached and how large it is may change.
fn kept_disk(held: &Value, asked: &Value) -> Value {
    let mut out: Document = held.as_object().cloned().unwrap_or_default();
    for name in ["caching", "diskSizeGB", "writeAcceleratorEnabled"] {
        if let Some(value) = asked.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

impl Look<'_> {
    async fn living(&self, set: &Resource) -> Result<Vec<Resource>> {
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        members::living(&mut read, &set.id).await
    }

    /// Gives machines the model, each in a transaction of its own.
    async fn give(&mut self, machines: &[ResourceId], is_anew: bool) -> Result<()> {
        for id in machines {
            let (mut tx, mut step) = self.open().await?;
            step.done.push(id.key());
            let set = tx.load(&self.operation.resource).await.map_err(db)?;
            let machine = tx.load(id).await.map_err(db)?;
            let machine = machine.filter(|m| m.state != ProvisioningState::Deleting);
            if let (Some(set), Some(machine)) = (set, machine) {
                let given = self
                    .engine
                    .give_model(&mut tx, &self.ctx, &set, (&machine, is_anew));
                step.running.push(given.await?.id);
            }
            self.close(tx, step).await?;
        }
        Ok(())
    }

    /// Gives the model to the machines that were named.
    pub(super) async fn update_chosen(&mut self, set: &Resource) -> Result<Found> {
        let is_anew = self.operation.work == Work::Reimage;
        let living = self.living(set).await?;
        let is_chosen = |machine: &&Resource| {
            let key = machine.id.key();
            let is_named = self.step.chosen.as_ref().is_none_or(|c| c.contains(&key));
            is_named
                && rules::is_of_model(machine)
                && !self.step.done.contains(&key)
                && (is_anew || rules::model_of(machine) != rules::model_of(set))
        };
        let next: Vec<ResourceId> = living
            .iter()
            .filter(is_chosen)
            .take(AT_ONCE)
            .map(|machine| machine.id.clone())
            .collect();
        if next.is_empty() {
            return Ok(Found::Done);
        }
        self.give(&next, is_anew).await?;
        Ok(Found::More(LOOK_MS))
    }

    /// Gives the model to all machines that have an older one.
    pub(super) async fn update_outdated(
        &mut self,
        set: &Resource,
        living: Vec<Resource>,
    ) -> Result<Found> {
        let next: Vec<ResourceId> = living
            .iter()
            .filter(|m| takes_model(m) && rules::model_of(m) != rules::model_of(set))
            .filter(|machine| !self.step.done.contains(&machine.id.key()))
            .take(AT_ONCE)
            .map(|machine| machine.id.clone())
            .collect();
        if next.is_empty() {
            return Ok(Found::Done);
        }
        self.give(&next, false).await?;
        Ok(Found::More(LOOK_MS))
    }

    /// Whether a machine has what the set would make now: its model and the version that its image means.
    fn is_current(&self, set: &Resource, machine: &Resource) -> bool {
        let is_latest = self.operation.work != Work::Upgrade
            || machine.internal.get("imageVersion") == set.internal.get("imageVersion");
        is_latest && rules::model_of(machine) == rules::model_of(set)
    }

    /// Goes on with a rolling upgrade: judges the batch that ended, then begins the next one.
    pub(super) async fn roll(&mut self, set: &Resource) -> Result<Found> {
        let policy = rules::rolling(set);
        let mut living = self.living(set).await?;
        living.retain(takes_model);
        let (mut unhealthy, mut unwell) = (Vec::new(), 0);
        for machine in &living {
            if !self.engine.is_well(machine).await {
                unhealthy.push(machine.id.key());
                unwell += usize::from(self.step.done.contains(&machine.id.key()));
            }
        }
        let has_begun = !self.step.done.is_empty();
        let left = |look: &Self, machine: &Resource| {
            !look.is_current(set, machine) && !look.step.done.contains(&machine.id.key())
        };
        let all = living.len();
        rules::oldest_model_first(&mut living);
        living.retain(|machine| left(self, machine));
        if living.is_empty() && !has_begun {
            return Ok(Found::Done);
        }
        let upgraded = self.step.done.len();
        let mut progress = Progress::of(set).filter(|_| has_begun).unwrap_or(Progress {
            code: RollingCode::RollingForward,
            started_ms: self.engine.now_ms(),
            acted_ms: 0,
            well: 0,
            unwell: 0,
            under_way: 0,
            pending: 0,
        });
        (progress.well, progress.unwell) = (upgraded.saturating_sub(unwell), unwell);
        (progress.under_way, progress.pending) = (0, living.len());
        if progress.code == RollingCode::Cancelled {
            return Ok(Found::Done);
        }
        let verdict = policy
            .check(all, unhealthy.len(), has_begun)
            .and_then(|()| policy.check_upgraded(upgraded, unwell));
        // A failed machine is one that is unwell: the policy says how many there may be.
        self.step.failed = None;
        if let Err(error) = verdict {
            progress.code = RollingCode::Faulted;
            self.note(progress).await?;
            return Err(error);
        }
        if living.is_empty() {
            progress.code = RollingCode::Completed;
            self.note(progress).await?;
            return Ok(Found::Done);
        }
        let pause_ms = progress.acted_ms + policy.pause_ms - self.engine.now_ms();
        if has_begun && pause_ms > 0 {
            return Ok(Found::More(pause_ms.min(WATCH_MS)));
        }
        if policy.unhealthy_first {
            living.sort_by_key(|machine| !unhealthy.contains(&machine.id.key()));
        }
        living.truncate(policy.batch(all));
        let batch: Vec<ResourceId> = living.iter().map(|m| m.id.clone()).collect();
        progress.under_way = batch.len();
        progress.pending -= batch.len();
        self.note(progress).await?;
        self.give(&batch, false).await?;
        Ok(Found::More(LOOK_MS))
    }

    /// Records how far the upgrade is, in the set's row.
    async fn note(&mut self, mut progress: Progress) -> Result<()> {
        progress.acted_ms = self.engine.now_ms();
        let (mut tx, step) = self.open().await?;
        let set = tx.load(&self.operation.resource).await.map_err(db)?;
        let mut set = set.ok_or_else(Error::internal)?;
        progress.set(&mut set);
        if self.operation.work == Work::Upgrade {
            // The schedule asks as nobody.
            let by = match self.ctx.caller.object_id.is_empty() {
                true => "Platform",
                false => "User",
            };
            progress.remember(&mut set, Some(by));
        }
        tx.update(&mut set).await.map_err(db)?;
        self.close(tx, step).await
    }
}

/// Whether a machine gets the model of its set without being named.
fn takes_model(machine: &Resource) -> bool {
    rules::is_of_model(machine) && !rules::is_kept_from_actions(machine)
}

/// Whether a machine never ran: nothing of it can be upgraded.
pub(super) fn is_made(machine: &Resource) -> bool {
    Power::of(machine) != Power::Created
}
