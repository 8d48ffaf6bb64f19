//! Who makes the resources of a template: in order, and at once what does not wait for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::operation::{Operation, OperationState};
use domain::{Error, ErrorKind, ResourceId, Result};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use template::{Bound, Expanded, Fault, Known, NestedFault, Planned};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lookup::{Door, check_body};
use super::preflight::check_total;
use super::prepare::{blocking, check_group, group_value, wanted};
use super::steps::step_id;
use crate::error::catalog as db;
use crate::operations::is_passing;
use crate::publish::interrupted;
use crate::{Ctx, Engine};

/// Resources of one template that are made at a time.
const AT_ONCE: usize = 20;
/// States that one resource may ask for.
const NEEDS_MAX: usize = 400;
/// How often a write that was overtaken is sent again.
const WRITES_MAX: u32 = 6;
/// Pause after the first one.
const WRITE_PAUSE: Duration = Duration::from_millis(50);
/// First and longest pause between two looks at the work of a resource.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// One run of a deployment.
pub(super) struct Crew<'a> {
    pub engine: &'a Engine,
    pub operation: &'a Operation,
    pub cancel: &'a CancellationToken,
    /// Who asked: everything is done with their rights.
    pub ctx: Ctx,
    pub now_ms: i64,
    pub seed: Uuid,
    /// Resources of all templates so far.
    pub resources: AtomicUsize,
}

/// A template at work: the deployment's own, or a nested one.
#[derive(Clone)]
pub(super) struct Level {
    pub id: ResourceId,
    pub bound: Arc<Bound>,
    pub expanded: Arc<Expanded>,
}

/// What came of a template.
pub(super) enum Ended {
    /// Everything is there; the outputs, and the ids of all that was made.
    Well(Value, Vec<String>),
    /// Something could not be made.
    Badly(Vec<Error>),
}

/// Ids that a resource made, or why it was not made.
type Made = std::result::Result<Vec<String>, Error>;

enum Ready {
    Body(Value),
    Nested(Box<super::conduct::Inner>),
    After(usize),
    Wrong(Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

struct Board {
    states: Vec<State>,
    needs: Vec<Vec<usize>>,
}

impl Board {
    fn new(expanded: &Expanded, done: &[String]) -> Self {
        let state = |planned: &Planned| {
            // A nested deployment is gone through again: its own steps know what is done.
            let is_over =
                !planned.is_deployment() && done.contains(&step_id("Create", &planned.id));
            match planned.is_wanted && !planned.is_existing && !is_over {
                true => State::Waiting,
                false => State::Done,
            }
        };
        Self {
            states: expanded.resources.iter().map(state).collect(),
            needs: expanded
                .resources
                .iter()
                .map(|p| p.depends_on.clone())
                .collect(),
        }
    }

    fn is(&self, at: usize, state: State) -> bool {
        self.states.get(at) == Some(&state)
    }

    fn set(&mut self, at: usize, state: State) {
        if let Some(slot) = self.states.get_mut(at) {
            *slot = state;
        }
    }

    /// Returns the next resource that waits for nothing.
    fn next(&self) -> Option<usize> {
        let is_free = |at: &usize| {
            let needs = self.needs.get(*at);
            self.is(*at, State::Waiting)
                && needs
                    .into_iter()
                    .flatten()
                    .all(|need| self.is(*need, State::Done))
        };
        (0..self.states.len()).find(is_free)
    }
}

impl Crew<'_> {
    /// Makes everything that a template names.
    pub(super) fn level<'b>(&'b self, level: &'b Level) -> BoxFuture<'b, Result<Ended>> {
        Box::pin(async move {
            let mut known = Arc::new(Known::default());
            let count = level.expanded.resources.len();
            let before = self.resources.fetch_add(count, Ordering::Relaxed);
            if let Err(error) = check_total(before + count) {
                return Ok(Ended::Badly(vec![error]));
            }
            let mut board = Board::new(&level.expanded, &self.done_steps(level).await?);
            let mut running: FuturesUnordered<BoxFuture<'b, Result<(usize, Made)>>> =
                FuturesUnordered::new();
            let (mut faults, mut made) = (Vec::new(), Vec::new());
            loop {
                while running.len() < AT_ONCE
                    && let Some(at) = board.next()
                {
                    board.set(at, State::Running);
                    match self.ready(level, at, &mut known, &board).await? {
                        Ready::Body(body) => running.push(Box::pin(self.make(level, at, body))),
                        Ready::Nested(inner) => {
                            running.push(Box::pin(self.make_nested(level, at, inner)))
                        }
                        Ready::After(other) => {
                            board.set(at, State::Waiting);
                            if let Some(needs) = board.needs.get_mut(at) {
                                needs.push(other);
                            }
                        }
                        Ready::Wrong(error) => {
                            let planned = planned(level, at)?;
                            self.end_step(level, planned, 0, Some(&error)).await?;
                            board.set(at, State::Failed);
                            faults.push(error);
                        }
                    }
                }
                let Some(done) = running.next().await else {
                    break;
                };
                let (at, result) = done?;
                board.set(
                    at,
                    if result.is_ok() {
                        State::Done
                    } else {
                        State::Failed
                    },
                );
                match result {
                    Ok(ids) => made.extend(ids),
                    Err(error) => faults.push(error),
                }
            }
            if faults.is_empty() && board.states.contains(&State::Waiting) {
                faults.push(template_error(
                    "Circular dependency detected between the resources of the template",
                ));
            }
            if !faults.is_empty() {
                return Ok(Ended::Badly(faults));
            }
            made.extend(wanted(&level.expanded).map(|planned| planned.id.clone()));
            match self.outputs(level, &mut known).await? {
                Ok(outputs) => Ok(Ended::Well(outputs, made)),
                Err(error) => Ok(Ended::Badly(vec![error])),
            }
        })
    }

    /// Evaluates what a resource is made of; what it asks for is looked up as the caller.
    async fn ready(
        &self,
        level: &Level,
        at: usize,
        known: &mut Arc<Known>,
        board: &Board,
    ) -> Result<Ready> {
        let planned = planned(level, at)?;
        let group = match planned.is_deployment() {
            true => {
                let id = ResourceId::parse(&planned.id)?;
                let row = self.engine.load_row(&id.group_id()).await?;
                if let Err(error) = check_group(row.as_ref(), &id) {
                    return Ok(Ready::Wrong(error));
                }
                row.as_ref().map(group_value).unwrap_or_default()
            }
            false => Value::Null,
        };
        for _ in 0..NEEDS_MAX {
            let (bound, expanded, one) =
                (level.bound.clone(), level.expanded.clone(), planned.clone());
            let (seen, group, moment) =
                (Arc::clone(known), group.clone(), (self.now_ms, self.seed));
            let evaluated = blocking(move || {
                if !one.is_deployment() {
                    return Ok(bound
                        .body(&expanded, &one, &seen)
                        .map(Ready::Body)
                        .map_err(NestedFault::from));
                }
                let nested = bound.nested(&expanded, &one, &seen, (group, moment.0, moment.1));
                Ok(nested.and_then(|(bound, request)| {
                    let expanded = bound.expand()?;
                    Ok(Ready::Nested(Box::new(super::conduct::Inner {
                        bound,
                        expanded,
                        request,
                    })))
                }))
            });
            let need = match evaluated.await? {
                Ok(ready) => return Ok(ready),
                Err(NestedFault::Error(error)) => return Ok(Ready::Wrong(error)),
                Err(NestedFault::Fault(Fault::Needs(need))) => need,
                Err(NestedFault::Fault(fault)) => {
                    return Ok(Ready::Wrong(fault.into_expression_error(&planned.part())));
                }
            };
            let other = level.expanded.find(&need.id).filter(|other| *other != at);
            if let Some(other) = other
                && !board.is(other, State::Done)
            {
                return Ok(Ready::After(other));
            }
            let version = other.and_then(|other| level.expanded.resources.get(other));
            let version = version.map(|other| other.api_version.as_str());
            match self.engine.look_up_state(&self.ctx, &need, version).await {
                Ok(answer) => Arc::make_mut(known).insert(need, answer),
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => return Ok(Ready::Wrong(error)),
            }
        }
        Ok(Ready::Wrong(template_error(
            "The resource refers to too many others",
        )))
    }

    async fn outputs(
        &self,
        level: &Level,
        known: &mut Arc<Known>,
    ) -> Result<std::result::Result<Value, Error>> {
        for _ in 0..NEEDS_MAX {
            let (bound, expanded, seen) = (
                level.bound.clone(),
                level.expanded.clone(),
                Arc::clone(known),
            );
            let need = match blocking(move || Ok(bound.outputs(&expanded, &seen))).await? {
                Ok(outputs) => return Ok(Ok(outputs)),
                Err(Fault::Needs(need)) => need,
                Err(fault) => {
                    return Ok(Err(Error::new(
                        ErrorKind::Invalid,
                        "DeploymentOutputEvaluationFailed",
                        format!(
                            "Unable to evaluate template outputs. '{}'",
                            fault.sentence()
                        ),
                    )));
                }
            };
            let version = level
                .expanded
                .find(&need.id)
                .and_then(|at| level.expanded.resources.get(at));
            let version = version.map(|other| other.api_version.as_str());
            match self.engine.look_up_state(&self.ctx, &need, version).await {
                Ok(answer) => Arc::make_mut(known).insert(need, answer),
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err(template_error(
            "The outputs refer to too many resources",
        )))
    }

    async fn make(&self, level: &Level, at: usize, body: Value) -> Result<(usize, Made)> {
        let planned = planned(level, at)?;
        let started_ms = self.engine.now_ms();
        self.begin_step(level, planned).await?;
        let result = match self.put(planned, &body).await {
            Err(error) if is_passing(&error) => return Err(error),
            other => other,
        };
        let took_ms = self.engine.now_ms() - started_ms;
        self.end_step(level, planned, took_ms, result.as_ref().err())
            .await?;
        Ok((at, result.map(|()| Vec::new())))
    }

    async fn make_nested(
        &self,
        level: &Level,
        at: usize,
        inner: Box<super::conduct::Inner>,
    ) -> Result<(usize, Made)> {
        let planned = planned(level, at)?;
        let started_ms = self.engine.now_ms();
        self.begin_step(level, planned).await?;
        let result = match self.nested(planned, *inner).await {
            Err(error) if is_passing(&error) => return Err(error),
            other => other,
        };
        let took_ms = self.engine.now_ms() - started_ms;
        self.end_step(level, planned, took_ms, result.as_ref().err())
            .await?;
        Ok((at, result))
    }

    /// Sends a resource through its door and waits until it is made.
    async fn put(&self, planned: &Planned, body: &Value) -> Result<()> {
        let door = Door::of(planned)?;
        let body = check_body(&door, planned, body)?;
        let ctx = Ctx {
            api_version: planned.api_version.clone(),
            ..self.ctx.clone()
        };
        let mut tries = 0;
        loop {
            match self.send(&ctx, &door, &body).await {
                Ok(None) => return Ok(()),
                Ok(Some(operation)) => {
                    let id = ResourceId::parse(&planned.id)?;
                    return self.finished(operation.id, &id).await;
                }
                Err(error) if is_passing(&error) && tries < WRITES_MAX => {
                    self.pause(WRITE_PAUSE * 2_u32.pow(tries)).await?;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a body through its door, as a request of the caller would; returns what to wait for.
    async fn send(&self, ctx: &Ctx, door: &Door, body: &Value) -> Result<Option<Operation>> {
        let engine = self.engine;
        match door {
            Door::Resource(id, _) => Ok(engine.put(ctx, id, body).await?.operation),
            Door::Part(part) => Ok(engine.put_part(ctx, part, body).await?.operation),
            Door::RoleAssignment { scope, name } => {
                engine.put_role_assignment(ctx, scope, name, body).await?;
                Ok(None)
            }
            Door::RoleDefinition { scope, name } => {
                engine.put_role_definition(ctx, scope, name, body).await?;
                Ok(None)
            }
            Door::Lock { scope, name } => {
                engine.put_lock(ctx, scope, name, body).await?;
                Ok(None)
            }
            Door::Deployment(_) => Err(Error::internal()),
        }
    }

    /// Waits until the work on a resource is over.
    pub(super) async fn finished(&self, operation: Uuid, id: &ResourceId) -> Result<()> {
        let mut pause = LOOKS.0;
        loop {
            let mut read = self.engine.catalog().read().await.map_err(db)?;
            let found = read.load_operation(operation).await.map_err(db)?;
            drop(read);
            // What is not remembered any more was over long ago.
            let Some(found) = found else {
                return Ok(());
            };
            match found.state {
                OperationState::Succeeded => return Ok(()),
                OperationState::InProgress => self.pause(pause).await?,
                OperationState::Failed | OperationState::Canceled => {
                    return Err(failed_work(id, &found));
                }
            }
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancel.cancelled() => Err(interrupted()),
        }
    }
}

fn planned(level: &Level, at: usize) -> Result<&Planned> {
    level.expanded.resources.get(at).ok_or_else(Error::internal)
}

/// A resource was accepted and then not made.
fn failed_work(id: &ResourceId, operation: &Operation) -> Error {
    let state = arm::operation::state_word(operation.state);
    let reason = operation.error.clone().unwrap_or_else(|| {
        Error::conflict(
            "OperationPreempted",
            "Operation execution has been preempted by a more recent operation.",
        )
    });
    Error::conflict(
        "ResourceDeploymentFailure",
        format!(
            "The resource write operation failed to complete successfully, because it reached terminal provisioning state '{state}'."
        ),
    )
    .at(id.to_string())
    .because(vec![reason])
}

fn template_error(sentence: &str) -> Error {
    Fault::wrong(sentence).into_validation_error()
}
