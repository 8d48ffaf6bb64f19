//! The worker of sets: looks, records what is missing, and is put aside until that is over.

use catalog::Tx;
use domain::operation::{Operation, OperationState, Work};
use domain::scale_set::{self as rules, Mode};
use domain::virtual_machine::Power;
use domain::{Error, ProvisioningState, Resource, ResourceId, Result};

use super::members;
use super::step::Step;
use crate::deletion::check_lease;
use crate::error::catalog as db;
use crate::operations::Outcome;
use crate::{Ctx, Engine};

/// Machines that are recorded in one look.
pub(super) const AT_ONCE: usize = 20;
/// Between two looks at work that nobody rang for.
const LOOK_MS: i64 = 200;

/// A look at a set: the operation's own step, changed as machines are recorded.
pub(super) struct Look<'a> {
    pub engine: &'a Engine,
    pub operation: Operation,
    pub step: Step,
    pub ctx: Ctx,
}

/// What one look came to.
pub(super) enum Found {
    /// Nothing is left to do.
    Done,
    /// Work was recorded, or is to be after so many milliseconds.
    More(i64),
}

impl Engine {
    /// Goes on with the work of a set.
    pub(crate) async fn run_scale_set(&self, operation: &Operation) -> Result<Outcome> {
        let step = Step::read(&operation.step)?;
        let ctx = step.ctx()?;
        let mut look = Look {
            engine: self,
            operation: operation.clone(),
            step,
            ctx,
        };
        look.take_ended().await?;
        if !look.step.running.is_empty() {
            return Ok(look.aside(LOOK_MS));
        }
        let Some(set) = self.load_row(&operation.resource).await? else {
            return self.finish_gone(operation).await;
        };
        if operation.work == Work::Delete {
            return look.delete(&set).await;
        }
        let is_rolling = rules::mode(&set) == Mode::Rolling && !look.step.done.is_empty();
        let found = match (look.step.failed, operation.work) {
            // Whether a machine that failed stops a rolling upgrade is said by its policy.
            (_, Work::Put) if is_rolling => look.roll(&set).await,
            // Machines that failed are not made again and again: the operation says so and ends.
            (Some(_), Work::Put | Work::UpdateInstances | Work::Reimage) => Ok(Found::Done),
            (_, Work::Put) => look.converge(&set).await,
            (_, Work::UpdateInstances | Work::Reimage) => look.update_chosen(&set).await,
            (_, Work::Upgrade) => look.roll(&set).await,
            _ => Ok(Found::Done),
        };
        match found {
            Ok(Found::More(pause_ms)) => Ok(look.aside(pause_ms)),
            // What was recorded before something was refused is waited for; then it is refused again.
            Err(_) if !look.step.running.is_empty() => Ok(look.aside(LOOK_MS)),
            Err(error) => Err(error),
            Ok(Found::Done) => match look.step.failed {
                Some(failed) => Err(look.error_of(failed).await?),
                None => self.succeed(operation, None, |_| {}).await,
            },
        }
    }
}

impl Look<'_> {
    fn aside(&self, pause_ms: i64) -> Outcome {
        self.engine.ring();
        Outcome::Waiting(self.step.to_value(), pause_ms)
    }

    /// Forgets operations that are over, and remembers the first that failed.
    async fn take_ended(&mut self) -> Result<()> {
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        let mut running = Vec::new();
        for id in std::mem::take(&mut self.step.running) {
            let found = read.load_operation(id).await.map_err(db)?;
            match found.map(|found| found.state) {
                Some(OperationState::InProgress) => running.push(id),
                Some(OperationState::Failed) => {
                    self.step.failed.get_or_insert(id);
                }
                // What was overtaken is somebody else's now; what is not remembered was over long ago.
                _ => {}
            }
        }
        self.step.running = running;
        Ok(())
    }

    async fn error_of(&self, failed: uuid::Uuid) -> Result<Error> {
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        let found = read.load_operation(failed).await.map_err(db)?;
        Ok(found
            .and_then(|found| found.error)
            .unwrap_or_else(Error::internal))
    }

    /// Begins a transaction in which work on machines is recorded, and the step that will wait for it.
    pub(super) async fn open(&self) -> Result<(Tx, Step)> {
        let mut tx = self.engine.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(&self.operation)).await?;
        Ok((tx, self.step.clone()))
    }

    /// Commits what was recorded together with its step.
    pub(super) async fn close(&mut self, mut tx: Tx, step: Step) -> Result<()> {
        let mut operation = self.operation.clone();
        operation.step = step.to_value();
        check_lease(&mut tx, Some(&operation)).await?;
        tx.commit().await.map_err(db)?;
        (self.operation, self.step) = (operation, step);
        self.engine.ring();
        Ok(())
    }

    /// Makes as many machines as are wanted, heals what failed before, then brings all of them up to date.
    async fn converge(&mut self, set: &Resource) -> Result<Found> {
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        let living = members::living(&mut read, &set.id).await?;
        drop(read);
        if !self.step.has_begun {
            self.heal(&living).await?;
            if !self.step.running.is_empty() {
                return Ok(Found::More(LOOK_MS));
            }
        }
        let wanted = rules::capacity(set);
        if living.len() < wanted {
            for _ in 0..(wanted - living.len()).min(AT_ONCE) {
                self.add(&set.id).await?;
            }
            return Ok(Found::More(LOOK_MS));
        }
        if living.len() > wanted {
            let surplus = rules::surplus(set, &living, (living.len() - wanted).min(AT_ONCE));
            for id in &surplus {
                self.drop_one(id).await?;
            }
            // Those that are left are protected: they stay.
            if !surplus.is_empty() {
                return Ok(Found::More(LOOK_MS));
            }
        }
        match rules::mode(set) {
            Mode::Manual => Ok(Found::Done),
            Mode::Automatic => self.update_outdated(set, living).await,
            Mode::Rolling => self.roll(set).await,
        }
    }

    /// Begins again what was never made: its last operation failed.
    async fn heal(&mut self, living: &[Resource]) -> Result<()> {
        let failed = living
            .iter()
            .filter(|m| m.state == ProvisioningState::Failed && Power::of(m) == Power::Created);
        let (mut tx, mut step) = self.open().await?;
        step.has_begun = true;
        for machine in failed {
            let found = tx.load(&machine.id).await.map_err(db)?;
            if let Some(mut machine) = found {
                machine.state = ProvisioningState::Updating;
                tx.update(&mut machine).await.map_err(db)?;
                let operation = self.engine.begin(&mut tx, &machine, Work::Put).await?;
                step.running.push(operation.id);
            }
        }
        self.close(tx, step).await
    }

    async fn add(&mut self, set: &ResourceId) -> Result<()> {
        let (mut tx, mut step) = self.open().await?;
        let Some(mut set) = tx.load(set).await.map_err(db)? else {
            return Ok(());
        };
        if set.state == ProvisioningState::Deleting {
            return Ok(());
        }
        let operation = self.engine.grow_set(&mut tx, &self.ctx, &mut set);
        step.running.push(operation.await?.id);
        self.close(tx, step).await
    }

    async fn drop_one(&mut self, machine: &ResourceId) -> Result<()> {
        let (mut tx, mut step) = self.open().await?;
        let operation = self.engine.drop_member(&mut tx, &self.ctx, machine);
        step.running.extend(operation.await?.map(|begun| begun.id));
        self.close(tx, step).await
    }

    /// Deletes every machine, then the set.
    async fn delete(mut self, set: &Resource) -> Result<Outcome> {
        if let Some(failed) = self.step.failed {
            return Err(self.error_of(failed).await?);
        }
        let mut read = self.engine.catalog().read().await.map_err(db)?;
        let left = members::members(&mut read, &set.id).await?;
        drop(read);
        if left.is_empty() {
            let operation = &self.operation;
            self.engine.remove(set, Some(operation)).await?;
            return self.engine.finish_gone(operation).await;
        }
        for machine in left.iter().take(AT_ONCE) {
            self.drop_one(&machine.id).await?;
        }
        Ok(self.aside(LOOK_MS))
    }
}
