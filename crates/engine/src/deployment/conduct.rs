//! The conductor: claims deployments and runs them, many at a time.
//!
//! A deployment mostly waits for the work of its resources, so it has its own loop: it never takes a
//! worker away from what it waits for. A run that was stopped is begun again: steps that are done
//! are left out, everything else is put again.

use std::sync::atomic::AtomicUsize;

use catalog::Deployment;
use domain::operation::{Operation, OperationState};
use domain::{Error, Result};
use serde_json::{Value, json};
use template::{Bound, Expanded, Mode, Planned, Request};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::crew::{Crew, Ended, Level};
use super::lookup::Door;
use super::prepare::{Prepared, check_place};
use super::view;
use crate::deletion::check_lease;
use crate::error::catalog as db;
use crate::operations::{ATTEMPTS_MAX, LEASE_MS, LOOK_EVERY, Outcome, is_passing};
use crate::publish::interrupted;
use crate::{Ctx, Engine};

/// Deployments that one node runs at a time.
const RUNNING_MAX: usize = 64;

/// A nested deployment that is ready to run.
pub(super) struct Inner {
    pub bound: Bound,
    pub expanded: Expanded,
    pub request: Request,
}

impl Engine {
    /// Runs deployments until `stop` is cancelled.
    pub(crate) async fn conduct(&self, name: &str, stop: CancellationToken) {
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            let claimed = match running.len() < RUNNING_MAX {
                true => self.claim_deployment(name).await,
                false => Ok(None),
            };
            match claimed {
                Ok(Some(operation)) => {
                    let (engine, stop) = (self.clone(), stop.clone());
                    running.spawn(async move {
                        let done = Box::pin(engine.run_claimed(&operation, &stop)).await;
                        if let Err(error) = done {
                            tracing::warn!(%error, "a deployment cannot reach the catalog");
                        }
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "deployments cannot reach the catalog"),
            }
            tokio::select! {
                () = self.conductor_rung() => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn claim_deployment(&self, name: &str) -> Result<Option<Operation>> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let claimed = tx
            .claim_deployment(name, self.now_ms(), LEASE_MS)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(claimed)
    }

    /// Makes a deployment true, and records how it ended.
    pub(crate) async fn deploy(
        &self,
        operation: &Operation,
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let held = read
            .load_deployment(&operation.resource)
            .await
            .map_err(db)?;
        drop(read);
        let Some(held) = held else {
            return self.finish_gone(operation).await;
        };
        match self.run_deployment(operation, cancel, &held).await {
            Ok(outcome) => Ok(outcome),
            Err(error) if cancel.is_cancelled() => Err(error),
            Err(error) if is_passing(&error) && operation.attempts < ATTEMPTS_MAX => Err(error),
            Err(error) => {
                self.end(operation, held, Err(failed(operation, vec![error])))
                    .await
            }
        }
    }

    async fn run_deployment(
        &self,
        operation: &Operation,
        cancel: &CancellationToken,
        held: &Deployment,
    ) -> Result<Outcome> {
        let mut held = held.clone();
        let ctx = Ctx::recorded(&held.content)?;
        let prepared = self.restore(&ctx, &held).await?;
        "Running".clone_into(&mut held.state);
        self.record(operation, &held).await?;
        let crew = Crew {
            engine: self,
            operation,
            cancel,
            ctx,
            now_ms: prepared.now_ms,
            seed: prepared.seed,
            resources: AtomicUsize::new(0),
        };
        let level = Level {
            id: prepared.id.clone(),
            bound: prepared.bound.clone(),
            expanded: prepared.expanded.clone(),
        };
        let ended = match crew.level(&level).await? {
            Ended::Well(outputs, made) if prepared.request.mode == Mode::Complete => {
                let faults = crew.delete_others(&prepared.id, &made).await?;
                match faults.is_empty() {
                    true => Ended::Well(outputs, made),
                    false => Ended::Badly(faults),
                }
            }
            ended => ended,
        };
        let ended = match ended {
            Ended::Well(outputs, _) => Ok((outputs, made_ids(&prepared))),
            Ended::Badly(faults) => Err(failed(operation, faults)),
        };
        self.end(operation, held, ended).await
    }

    async fn record(&self, operation: &Operation, deployment: &Deployment) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        tx.put_deployment(deployment).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Records the end of a deployment with its operation; its secrets go.
    async fn end(
        &self,
        operation: &Operation,
        mut held: Deployment,
        ended: std::result::Result<(Value, Value), Error>,
    ) -> Result<Outcome> {
        let now_ms = self.now_ms();
        let error = ended.as_ref().err().cloned();
        write_end(&mut held, ended, now_ms, operation.started_ms);
        held.secrets = None;
        let state = match &error {
            None => OperationState::Succeeded,
            Some(_) => OperationState::Failed,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        let finished = tx
            .finish(operation, state, error.as_ref(), None, now_ms)
            .await
            .map_err(db)?;
        if !finished {
            return Ok(Outcome::Lost);
        }
        tx.put_deployment(&held).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        match error {
            None => {
                tracing::info!(resource.id = %held.id, operation.id = %operation.id, "deployed")
            }
            Some(error) => {
                tracing::warn!(resource.id = %held.id, operation.id = %operation.id, %error, "deployment failed")
            }
        }
        Ok(Outcome::Recorded)
    }
}

impl Crew<'_> {
    /// Runs a nested deployment as part of the outer one; returns what it made.
    pub(super) async fn nested(&self, planned: &Planned, inner: Inner) -> Result<Vec<String>> {
        let Door::Deployment(id) = Door::of(planned)? else {
            return Err(Error::internal());
        };
        let (right, scope) = Door::Deployment(id.clone()).right();
        self.engine.authorize(&self.ctx, &right, &scope).await?;
        let started_ms = self.engine.now_ms();
        let location = self.engine.location_of(&id, &inner.request)?;
        let prepared = Prepared {
            id: id.clone(),
            location: location.unwrap_or_default(),
            request: inner.request,
            bound: inner.bound.into(),
            expanded: inner.expanded.into(),
            now_ms: self.now_ms,
            seed: self.seed,
        };
        let shown = view::begun(
            &prepared,
            self.ctx.correlation_id,
            started_ms,
            self.engine.regions(),
        );
        let mut held = Deployment {
            id: id.clone(),
            state: "Running".to_owned(),
            tags: None,
            shown,
            content: json!({ "template": prepared.request.template, "run": self.operation.id.to_string() }),
            secrets: None,
            changed_ms: started_ms,
        };
        self.begin_nested(&prepared, &held).await?;
        let level = Level {
            id,
            bound: prepared.bound.clone(),
            expanded: prepared.expanded.clone(),
        };
        let ended = self.level(&level).await?;
        let now_ms = self.engine.now_ms();
        let (ended, result) = match ended {
            Ended::Well(outputs, made) => (Ok((outputs, made_ids(&prepared))), Ok(made)),
            Ended::Badly(faults) => {
                let error = deployment_failed(&held.id.to_string(), faults);
                (Err(error.clone()), Err(error))
            }
        };
        write_end(&mut held, ended, now_ms, started_ms);
        self.engine.record(self.operation, &held).await?;
        result
    }

    /// A deployment of that name may be there: of an earlier run of this one, or over.
    async fn begin_nested(&self, prepared: &Prepared, held: &Deployment) -> Result<()> {
        let engine = self.engine;
        let mut tx = engine.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(self.operation)).await?;
        let stored = tx.load_deployment(&held.id).await.map_err(db)?;
        check_place(stored.as_ref(), &held.id, &prepared.location)?;
        let is_ours = |stored: &Deployment| stored.content.get("run") == held.content.get("run");
        if let Some(stored) = &stored
            && tx.open_operation_of(&held.id).await.map_err(db)?.is_some()
        {
            super::check_idle(stored, "edit or replace")?;
        }
        // Steps of another run say nothing about this one.
        if !stored.as_ref().is_some_and(is_ours) {
            tx.delete_deployment_steps(&held.id).await.map_err(db)?;
        }
        tx.put_deployment(held).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        if self.cancel.is_cancelled() {
            return Err(interrupted());
        }
        Ok(())
    }
}

fn made_ids(prepared: &Prepared) -> Value {
    let mut ids: Vec<&str> = prepared.wanted().map(|p| p.id.as_str()).collect();
    ids.sort_by_key(|id| id.to_ascii_lowercase());
    view::ids(ids.into_iter())
}

fn write_end(
    held: &mut Deployment,
    ended: std::result::Result<(Value, Value), Error>,
    now_ms: i64,
    started_ms: i64,
) {
    let says_outputs = held.content.pointer("/template/outputs").is_some();
    let mut put = |name: &str, value: Value| {
        held.shown.insert(name.to_owned(), value);
    };
    put("timestamp", arm::time::format_zulu(now_ms).into());
    put("duration", template::date::span(now_ms - started_ms).into());
    let state = match ended {
        Ok((outputs, resources)) => {
            // Shown where the template says that there are some, be it none. Source: recorded.
            if says_outputs {
                put("outputs", outputs);
            }
            put("outputResources", resources);
            "Succeeded"
        }
        Err(error) => {
            put("error", arm::error::deployment_detail(&error));
            "Failed"
        }
    };
    state.clone_into(&mut held.state);
    held.changed_ms = now_ms;
}

fn failed(operation: &Operation, faults: Vec<Error>) -> Error {
    deployment_failed(&operation.resource.to_string(), faults)
}

fn deployment_failed(id: &str, faults: Vec<Error>) -> Error {
    Error::conflict(
        "DeploymentFailed",
        "At least one resource deployment operation failed. Please list deployment operations for details. Please see \
         https://aka.ms/arm-deployment-operations for usage details.",
    )
    .at(id)
    .because(faults)
}
