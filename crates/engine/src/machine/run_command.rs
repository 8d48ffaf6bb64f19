//! A command in a machine's guest: accepted, handed to the agent there, looked at until it is over.
//!
//! It is handed over at most once: that it is about to be stands in the operation before, so after a
//! crash in between it ends as not known, and never runs twice. While it runs it is put aside and looked at
//! again, by whichever worker and whichever process of the server. Script and output are sealed wherever they are kept.

use std::time::Duration;

use domain::lock::Deed as Change;
use domain::operation::{Operation, OperationState, Work};
use domain::virtual_machine::{
    CommandFailure, CommandId, NotOffered, RUN_MS_MAX, RunCommand, command_in_progress,
};
use domain::{Error, ProvisioningState, Resource, ResourceId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::driver::{Driver, Told};
use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::operations::Outcome;
use crate::resources::{Accepted, action, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

/// Stands in the catalog for a result that is sealed.
const SEALED: &str = "sealed";
/// Pause between two looks at a command.
const LOOK_MS: i64 = 1000;
/// Looks right after it was handed over, for those that end at once, and the pause between them.
const FIRST_LOOKS: u32 = 5;
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// How long an agent may be silent: it may be starting anew, or its guest be busy.
const SILENT_MS_MAX: i64 = 30_000;

/// How far a command is: the operation's step.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    command: String,
    phase: Phase,
    /// Script and parameters, until the agent has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    /// Since when nobody has answered, ms UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silent_since_ms: Option<i64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Phase {
    /// Not handed over.
    Asked,
    /// It is being handed over, or was when the server ended.
    Handing,
    /// It runs under this number.
    #[serde(rename_all = "camelCase")]
    Running { number: i64, since_ms: i64 },
}

impl Step {
    fn of(operation: &Operation) -> Result<(Self, CommandId)> {
        let step: Self =
            serde_json::from_value(operation.step.clone()).map_err(|_| Error::internal())?;
        let id = CommandId::find(&step.command)?;
        Ok((step, id))
    }

    fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|_| Error::internal())
    }

    fn waiting(&self) -> Result<Outcome> {
        Ok(Outcome::Waiting(self.to_value()?, LOOK_MS))
    }
}

impl Engine {
    /// Accepts a command for a machine's guest.
    pub async fn run_command(&self, ctx: &Ctx, id: &ResourceId, body: &Value) -> Result<Accepted> {
        let action = action(id, "runCommand/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        if let Driver::Simulated(_) = self.driver()? {
            return Err(NotOffered::RunCommand.refusal(id.name()));
        }
        let asked = RunCommand::parse(body)?;
        let is_down = self.settled(id).await?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        lock::check(&mut tx, Change::Write, &id.to_string()).await?;
        let row = tx.load(id).await.map_err(db)?;
        let row = row.ok_or_else(|| not_found(id))?;
        if row.state == ProvisioningState::Deleting {
            return Err(marked_for_deletion(row.kind, id.name(), "Update"));
        }
        asked.check(&row, is_down)?;
        if tx.open_command_of(id).await.map_err(db)?.is_some() {
            return Err(command_in_progress());
        }
        let deed = Deed {
            action: &action,
            scope: &row.id.to_string(),
            before: audit::of_row(&row),
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        let step = Step {
            command: asked.id.as_str().to_owned(),
            phase: Phase::Asked,
            sealed: Some(self.seal(&row.id, &asked.to_secrets())?),
            silent_since_ms: None,
        };
        let step = step.to_value()?;
        let operation = new_operation(row.kind, Work::RunCommand, &row, self.now_ms(), step);
        self.accept(tx, row, operation).await
    }

    /// Returns the commands that a region's machines can run.
    pub async fn run_commands(&self, ctx: &Ctx, subscription: &str) -> Result<Vec<Value>> {
        self.authorize_run_commands(ctx, subscription).await?;
        Ok(CommandId::ALL.into_iter().map(CommandId::summary).collect())
    }

    /// Returns one of them, with what it runs when no script is sent.
    pub async fn run_command_document(
        &self,
        ctx: &Ctx,
        subscription: &str,
        id: &str,
    ) -> Result<Value> {
        self.authorize_run_commands(ctx, subscription).await?;
        Ok(CommandId::find(id)?.document())
    }

    async fn authorize_run_commands(&self, ctx: &Ctx, subscription: &str) -> Result<()> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, "Microsoft.Compute/locations/runCommands/read", &scope)
            .await
    }

    /// Hands a command to the guest, or looks at the one that it has.
    pub(crate) async fn run_in_guest(&self, operation: &Operation) -> Result<Outcome> {
        let Some(row) = self.load_row(&operation.resource).await? else {
            return Ok(Outcome::Lost);
        };
        let (step, id) = Step::of(operation)?;
        match step.phase {
            Phase::Asked => self.hand_command_over(operation, &row, step, id).await,
            Phase::Handing => {
                self.fail_command(operation, id, CommandFailure::Unclear)
                    .await
            }
            Phase::Running { number, since_ms } => {
                self.look_at_command(operation, &row, step, (number, since_ms))
                    .await
            }
        }
    }

    async fn hand_command_over(
        &self,
        operation: &Operation,
        row: &Resource,
        mut step: Step,
        id: CommandId,
    ) -> Result<Outcome> {
        let sealed = step.sealed.as_deref().ok_or_else(Error::internal)?;
        let secrets = self.unseal(&row.id, sealed)?;
        let asked = RunCommand::from_secrets(id, &secrets).ok_or_else(Error::internal)?;
        if let Err(error) = asked.check(row, false) {
            return self.end_command(operation, id, Err(error)).await;
        }
        let script = vm::Script {
            shell: shell(id),
            text: asked.script,
            parameters: asked.parameters,
        };
        step.phase = Phase::Handing;
        if !self.note_command(operation, &step).await? {
            return Ok(Outcome::Lost);
        }
        let driver = self.driver()?;
        let machine = super::machine_id(row)?;
        match driver.run_script(machine, &script).await {
            Told::Said(number) => {
                step.sealed = None;
                step.silent_since_ms = None;
                step.phase = Phase::Running {
                    number,
                    since_ms: self.now_ms(),
                };
                if !self.note_command(operation, &step).await? {
                    return Ok(Outcome::Lost);
                }
                tracing::info!(resource.id = %row.id, operation.id = %operation.id, number, "a command runs in a guest");
                self.look_at_new_command(operation, row, step, number).await
            }
            Told::NoGuest => {
                self.fail_command(operation, id, CommandFailure::Stopped)
                    .await
            }
            Told::NoAgent { is_coming_up } => {
                step.phase = Phase::Asked;
                let silent = self.silent_ms(&mut step);
                if is_coming_up || silent < SILENT_MS_MAX {
                    return step.waiting();
                }
                self.fail_command(operation, id, CommandFailure::NoAgent)
                    .await
            }
            Told::Refused(words) => {
                self.fail_command(operation, id, CommandFailure::Refused(words))
                    .await
            }
            Told::Unclear => {
                self.fail_command(operation, id, CommandFailure::Unclear)
                    .await
            }
        }
    }

    /// Looks a few times at a command that was just handed over: most end at once.
    async fn look_at_new_command(
        &self,
        operation: &Operation,
        row: &Resource,
        step: Step,
        number: i64,
    ) -> Result<Outcome> {
        let since_ms = self.now_ms();
        let mut found = self
            .look_at_command(operation, row, step, (number, since_ms))
            .await?;
        for _ in 0..FIRST_LOOKS {
            let Outcome::Waiting(step, _) = found else {
                break;
            };
            tokio::time::sleep(FIRST_LOOK).await;
            let step = serde_json::from_value(step).map_err(|_| Error::internal())?;
            found = self
                .look_at_command(operation, row, step, (number, since_ms))
                .await?;
        }
        Ok(found)
    }

    async fn look_at_command(
        &self,
        operation: &Operation,
        row: &Resource,
        mut step: Step,
        (number, since_ms): (i64, i64),
    ) -> Result<Outcome> {
        let id = CommandId::find(&step.command)?;
        let driver = self.driver()?;
        let machine = super::machine_id(row)?;
        match driver.script_exit(machine, number).await {
            Told::Said(Some(exit)) => {
                tracing::info!(resource.id = %row.id, operation.id = %operation.id, code = ?exit.code, "a command in a guest ended");
                let answer = id.answer(&exit.out, &exit.err);
                self.end_command(operation, id, Ok(answer)).await
            }
            Told::Said(None) if self.now_ms() - since_ms < RUN_MS_MAX => {
                step.silent_since_ms = None;
                step.waiting()
            }
            Told::Said(None) => {
                driver.end_script(machine, shell(id), number).await;
                self.fail_command(operation, id, CommandFailure::TimedOut)
                    .await
            }
            Told::NoGuest => {
                self.fail_command(operation, id, CommandFailure::Stopped)
                    .await
            }
            Told::Refused(_) => {
                self.fail_command(operation, id, CommandFailure::Forgotten)
                    .await
            }
            Told::NoAgent { .. } | Told::Unclear => {
                if self.silent_ms(&mut step) < SILENT_MS_MAX {
                    return step.waiting();
                }
                self.fail_command(operation, id, CommandFailure::Silent)
                    .await
            }
        }
    }

    /// Returns for how long nobody has answered, and notes since when.
    fn silent_ms(&self, step: &mut Step) -> i64 {
        let now_ms = self.now_ms();
        now_ms - *step.silent_since_ms.get_or_insert(now_ms)
    }

    /// Writes the step down; false when the lease is lost.
    async fn note_command(&self, operation: &Operation, step: &Step) -> Result<bool> {
        let mut noted = operation.clone();
        noted.step = step.to_value()?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let is_held = tx.checkpoint(&noted).await.map_err(db)?;
        if is_held {
            tx.commit().await.map_err(db)?;
        }
        Ok(is_held)
    }

    async fn fail_command(
        &self,
        operation: &Operation,
        id: CommandId,
        why: CommandFailure,
    ) -> Result<Outcome> {
        let error = why.error(id, operation.resource.name());
        self.end_command(operation, id, Err(error)).await
    }

    /// Ends the operation; the machine's row is as it was, and no script is kept.
    async fn end_command(
        &self,
        operation: &Operation,
        id: CommandId,
        answer: Result<Value>,
    ) -> Result<Outcome> {
        let mut last = operation.clone();
        last.step = json!({ "command": id.as_str() });
        let (state, error, output) = match answer {
            Ok(Value::Object(answer)) => {
                let sealed = self.seal(&operation.resource, &answer)?;
                (
                    OperationState::Succeeded,
                    None,
                    Some(json!({ SEALED: sealed })),
                )
            }
            Ok(_) => return Err(Error::internal()),
            Err(error) if error.code == "OperationPreempted" => {
                (OperationState::Canceled, Some(error), None)
            }
            Err(error) => (OperationState::Failed, Some(error), None),
        };
        if let Some(error) = &error {
            tracing::warn!(resource.id = %operation.resource, operation.id = %operation.id, %error, "a command in a guest failed");
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        let is_held = tx.checkpoint(&last).await.map_err(db)?
            && tx
                .finish(&last, state, error.as_ref(), output, self.now_ms())
                .await
                .map_err(db)?;
        if !is_held {
            return Ok(Outcome::Lost);
        }
        tx.commit().await.map_err(db)?;
        Ok(Outcome::Recorded)
    }

    /// Opens the result of a command for whom it is shown to.
    pub(crate) fn show_command_output(&self, operation: &mut Operation) -> Result<()> {
        let sealed = operation
            .output
            .as_ref()
            .and_then(|output| output.get(SEALED));
        if operation.work == Work::RunCommand
            && let Some(sealed) = sealed.and_then(Value::as_str)
        {
            let opened = self.unseal(&operation.resource, sealed)?;
            operation.output = Some(Value::Object(opened));
        }
        Ok(())
    }

    /// Returns the version of the agent in a machine's guest, if one has said it.
    pub(super) async fn agent_of(&self, machine: Uuid) -> Option<String> {
        self.driver().ok()?.agent(machine).await
    }
}

const fn shell(id: CommandId) -> vm::Shell {
    match id {
        CommandId::Shell => vm::Shell::Posix,
        CommandId::PowerShell => vm::Shell::PowerShell,
    }
}
