//! Polling operations, and the loop of workers that makes them true.
//!
//! Work advances whether or not anyone polls. A worker claims by lease, renews it while it works
//! and writes only while it holds it; a worker that died is overtaken when its lease is over, or when
//! its node starts again.

use std::time::Duration;

use domain::operation::{Family, Operation, OperationState, Work};
use domain::{Error, ErrorKind, Kind, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::catalog as db;
use crate::resources::action;
use crate::{Ctx, Engine};

/// How long a claim holds without being renewed.
pub(crate) const LEASE_MS: i64 = 30_000;
/// How often a working worker renews its lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often an idle worker looks for work that nobody rang for (a dead worker's, another node's).
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often work is begun again after a passing failure, with doubling pauses.
pub(crate) const ATTEMPTS_MAX: i64 = 5;
/// How long a request waits for work whose client knows no polling.
const WAIT_LIMIT: Duration = Duration::from_secs(45);
/// Pause between two looks at it.
const WAIT_EVERY: Duration = Duration::from_millis(10);
/// Pause after the first passing failure.
const RETRY_MS: i64 = 500;

/// How one run of an operation ended.
pub(crate) enum Outcome {
    /// The worker recorded success itself, together with the resource.
    Recorded,
    /// The lease was lost or the operation was overtaken: another run goes on.
    Lost,
    /// It waits for other operations: to be looked at again, with this step, after so many milliseconds.
    Waiting(Value, i64),
}

impl Engine {
    /// Returns an operation of a subscription for polling.
    ///
    /// Who may ask for the work may ask how far it is, so roles at a group or a resource are enough;
    /// readers see all work but what answers with a URL that opens a disk, or with what a command in a guest said.
    pub async fn operation(&self, ctx: &Ctx, subscription: &str, id: Uuid) -> Result<Operation> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.load_operation(id).await.map_err(db)?;
        drop(read);
        let is_here = |op: &Operation| {
            let held = op.resource.subscription();
            held.eq_ignore_ascii_case(subscription)
        };
        if let Some(mut operation) = found.filter(is_here) {
            if operation.state == OperationState::Canceled {
                operation.error.get_or_insert_with(preempted);
            }
            let part = operation.step.get("part").and_then(Value::as_str);
            let scope = part.map_or_else(|| operation.resource.to_string(), str::to_owned);
            for action in poll_actions(&operation) {
                if self.authorize(ctx, &action, &scope).await.is_ok() {
                    self.show_access_url(&mut operation);
                    self.show_command_output(&mut operation)?;
                    return Ok(operation);
                }
            }
        }
        // Says the same whether or not there is such an operation.
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, "Microsoft.Compute/locations/operations/read", &scope)
            .await?;
        Err(Error::not_found(
            "NotFound",
            format!("The operation '{id}' was not found."),
        ))
    }

    /// Waits until an operation is over and returns it, for kinds whose clients know no polling.
    pub async fn finished(&self, id: Uuid) -> Result<Operation> {
        let deadline = tokio::time::Instant::now() + WAIT_LIMIT;
        loop {
            let mut read = self.catalog().read().await.map_err(db)?;
            let found = read.load_operation(id).await.map_err(db)?;
            drop(read);
            match found {
                Some(operation) if operation.state != OperationState::InProgress => {
                    return Ok(operation);
                }
                Some(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(WAIT_EVERY).await
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "OperationPending",
                        "The work was accepted and goes on, but it is not over yet. Read the resource in a moment.",
                    ));
                }
            }
        }
    }

    /// Runs `count` workers until `stop` is cancelled; each finishes its step before it leaves.
    pub async fn run_workers(&self, count: usize, stop: CancellationToken) {
        let mut workers = JoinSet::new();
        for number in 0..count {
            let (engine, stop) = (self.clone(), stop.clone());
            let name = self.worker_name(number);
            workers.spawn(async move { engine.worker_loop(&name, stop).await });
        }
        let (engine, stop) = (self.clone(), stop.clone());
        let name = self.worker_name("deployments");
        workers.spawn(async move { engine.conduct(&name, stop).await });
        while workers.join_next().await.is_some() {}
    }

    async fn worker_loop(&self, name: &str, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.work_once(name, &stop).await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = self.rung() => {}
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "worker cannot reach the catalog");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
            }
        }
    }

    /// Claims and runs one operation; false when none is runnable.
    pub async fn work_once(&self, name: &str, stop: &CancellationToken) -> Result<bool> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let claimed = tx
            .claim_operation(name, self.now_ms(), LEASE_MS)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        let Some(operation) = claimed else {
            return Ok(false);
        };
        // More may wait: wake a colleague before the long part.
        self.ring();
        self.run_claimed(&operation, stop).await?;
        Ok(true)
    }

    pub(crate) async fn run_claimed(
        &self,
        operation: &Operation,
        stop: &CancellationToken,
    ) -> Result<()> {
        let cancel = stop.child_token();
        let renewing = self.renew(operation, &cancel);
        let running = self.run(operation, &cancel);
        let outcome = tokio::select! {
            outcome = running => outcome,
            () = renewing => Ok(Outcome::Lost),
        };
        cancel.cancel();
        match outcome {
            Ok(Outcome::Recorded) => {
                // Who waits for it looks now.
                self.ring();
                Ok(())
            }
            Ok(Outcome::Lost) => Ok(()),
            Ok(Outcome::Waiting(step, pause_ms)) => {
                let mut aside = operation.clone();
                aside.step = step;
                self.put_aside(&aside, self.now_ms() + pause_ms).await
            }
            Err(error) if stop.is_cancelled() => {
                tracing::info!(operation.id = %operation.id, %error, "operation paused by shutdown");
                self.retry(operation, self.now_ms(), &error).await
            }
            Err(error) if is_passing(&error) && operation.attempts < ATTEMPTS_MAX => {
                let pause = RETRY_MS << operation.attempts.clamp(0, 10);
                self.retry(operation, self.now_ms() + pause, &error).await
            }
            Err(error) => self.give_up(operation, error).await,
        }
    }

    /// Returns when the lease is lost.
    async fn renew(&self, operation: &Operation, cancel: &CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return std::future::pending().await,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            let Ok(mut tx) = self.catalog().write().await else {
                continue;
            };
            match tx.renew_lease(operation, self.now_ms() + LEASE_MS).await {
                Ok(true) => drop(tx.commit().await),
                Ok(false) => return,
                Err(_) => {}
            }
        }
    }

    async fn run(&self, operation: &Operation, cancel: &CancellationToken) -> Result<Outcome> {
        if operation.work == Work::Deploy {
            return Box::pin(self.deploy(operation, cancel)).await;
        }
        let kind = operation.resource.kind().ok_or_else(Error::internal)?;
        match (kind, operation.work) {
            (
                Kind::ImageVersion | Kind::GalleryApplicationVersion | Kind::GalleryScriptVersion,
                Work::Put,
            ) => self.publish(operation, cancel).await,
            (Kind::Disk, Work::Put) => self.make_disk(operation).await,
            (Kind::Snapshot, Work::Put) => self.make_snapshot(operation).await,
            (Kind::ManagedImage, Work::Put) => self.make_managed_image(operation).await,
            (Kind::ScaleSet, _) => Box::pin(self.run_scale_set(operation)).await,
            (
                Kind::VirtualMachine | Kind::ScaleSetMachine,
                Work::Put | Work::Reapply | Work::Reimage,
            ) => self.make_machine(operation).await,
            (
                Kind::VirtualMachine | Kind::ScaleSetMachine,
                Work::Start | Work::PowerOff | Work::Deallocate | Work::Restart | Work::Redeploy,
            ) => self.power_machine(operation).await,
            (Kind::VirtualMachine | Kind::ScaleSetMachine, Work::RunCommand) => {
                self.run_in_guest(operation).await
            }
            (Kind::ResourceGroup, Work::Delete) => self.delete_group(operation, cancel).await,
            (_, Work::Delete) => self.delete_one(operation).await,
            (Kind::Disk | Kind::Snapshot, Work::BeginAccess) => {
                self.begin_access_work(operation).await
            }
            (Kind::Disk | Kind::Snapshot, Work::EndAccess) => self.end_access_work(operation).await,
            (_, Work::Put | Work::Share) => self.settle(operation).await,
            _ => Err(Error::internal()),
        }
    }

    /// Finishes a write whose row is all there is to it.
    async fn settle(&self, operation: &Operation) -> Result<Outcome> {
        self.succeed(operation, None, |_| {}).await
    }

    /// Records success: the row and the operation in one transaction.
    pub(crate) async fn succeed(
        &self,
        operation: &Operation,
        output: Option<Value>,
        change: impl FnOnce(&mut domain::Resource) + Send,
    ) -> Result<Outcome> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(mut row) = tx.load(&operation.resource).await.map_err(db)? else {
            return Ok(Outcome::Lost);
        };
        let done = tx
            .finish(
                operation,
                OperationState::Succeeded,
                None,
                output,
                self.now_ms(),
            )
            .await
            .map_err(db)?;
        if !done {
            return Ok(Outcome::Lost);
        }
        change(&mut row);
        // A later write that waits keeps the row at work.
        if tx
            .open_operation_of(&operation.resource)
            .await
            .map_err(db)?
            .is_none()
        {
            row.state = domain::ProvisioningState::Succeeded;
        }
        tx.update(&mut row).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        tracing::info!(resource.id = %operation.resource, operation.id = %operation.id, "{:?} done", operation.work);
        Ok(Outcome::Recorded)
    }

    async fn retry(&self, operation: &Operation, run_at_ms: i64, error: &Error) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if tx
            .retry_at(operation, run_at_ms, Some(error))
            .await
            .map_err(db)?
        {
            tx.commit().await.map_err(db)?;
        }
        Ok(())
    }

    async fn put_aside(&self, operation: &Operation, run_at_ms: i64) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        if tx.put_aside(operation, run_at_ms).await.map_err(db)? {
            tx.commit().await.map_err(db)?;
        }
        Ok(())
    }

    async fn give_up(&self, operation: &Operation, error: Error) -> Result<()> {
        tracing::warn!(resource.id = %operation.resource, operation.id = %operation.id, %error, "operation failed");
        let mut tx = self.catalog().write().await.map_err(db)?;
        let ended = tx
            .finish(
                operation,
                OperationState::Failed,
                Some(&error),
                None,
                self.now_ms(),
            )
            .await
            .map_err(db)?;
        if !ended {
            return Ok(());
        }
        let waiting = tx.open_operation_of(&operation.resource).await;
        // A later write that waits keeps the row at work; what a command does is not the machine's state.
        if waiting.map_err(db)?.is_none()
            && operation.work != Work::RunCommand
            && let Some(mut row) = tx.load(&operation.resource).await.map_err(db)?
        {
            row.state = domain::ProvisioningState::Failed;
            tx.update(&mut row).await.map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }
}

/// Why an operation was canceled: clients show nothing of a status without an error.
fn preempted() -> Error {
    Error::conflict(
        "OperationPreempted",
        "Operation execution has been preempted by a more recent operation.",
    )
}

/// Returns the actions any of which lets a caller poll an operation.
fn poll_actions(operation: &Operation) -> Vec<String> {
    if let Some(asked) = operation.step.get("action").and_then(Value::as_str) {
        return vec![asked.to_owned(), action(&operation.resource, "read")];
    }
    let on = |verb: &str| action(&operation.resource, verb);
    match operation.work {
        Work::Put => vec![on("write"), on("read")],
        Work::Delete => vec![on("delete"), on("read")],
        Work::BeginAccess => vec![on("beginGetAccess/action")],
        Work::EndAccess => vec![on("endGetAccess/action"), on("read")],
        Work::RunCommand => vec![on("runCommand/action")],
        Work::Share => vec![on("share/action"), on("read")],
        // The answer of what-if shows resources.
        Work::Deploy if operation.family == Family::Group => vec![on("whatIf/action")],
        Work::Deploy => vec![on("write"), on("read")],
        work => {
            let verb = domain::virtual_machine::verb(work);
            vec![on(&format!("{verb}/action")), on("read")]
        }
    }
}

/// Whether the same work may succeed a moment later without anyone changing anything.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Overtaken)
}
