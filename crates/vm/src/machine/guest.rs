//! What the agent in the guest does for us: one conversation at a time, over a connection of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::{Machine, Shared, Status};
use crate::agent::{Agent, GuestCommand, GuestExit};
use crate::command::AGENT_SOCKET;
use crate::error::VmError;

/// What is known of a guest's agent.
pub(super) struct Guest {
    /// Whose turn it is: the port has one place.
    turn: tokio::sync::Mutex<()>,
    /// Tells our conversations apart; it begins anywhere, for an earlier server may have left answers behind.
    number: AtomicU32,
    /// Its version, once it has told it.
    version: Mutex<Option<String>>,
    since: Instant,
}

impl Guest {
    pub(super) fn new() -> Self {
        let (seed, ..) = uuid::Uuid::new_v4().as_fields();
        Self {
            turn: tokio::sync::Mutex::new(()),
            number: AtomicU32::new(seed),
            version: Mutex::new(None),
            since: Instant::now(),
        }
    }

    /// Whoever opens the port next may be another.
    pub(super) fn forget(&self) {
        self.note(None);
    }

    fn note(&self, version: Option<String>) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }
}

impl Shared {
    /// Asks the agent for its version and keeps it.
    pub(super) async fn meet_agent(&self) -> Result<(), VmError> {
        let (_turn, mut agent) = self.call_agent().await?;
        let version = agent.version().await?;
        self.guest.note(Some(version));
        Ok(())
    }

    /// Begins a conversation with the agent when it is our turn.
    ///
    /// [`VmError::NoAgent`] when nobody has opened its port, or nobody answers.
    async fn call_agent(&self) -> Result<(MutexGuard<'_, ()>, Agent<UnixStream>), VmError> {
        let turn = self.guest.turn.lock().await;
        match self.reach_agent().await {
            Ok(agent) => Ok((turn, agent)),
            Err(error) => {
                tracing::debug!(pid = self.process.pid, "the agent in a guest: {error}");
                // Whatever it was: nothing was asked of it yet.
                Err(VmError::NoAgent)
            }
        }
    }

    async fn reach_agent(&self) -> Result<Agent<UnixStream>, VmError> {
        if !self.has_agent().await? {
            return Err(VmError::NoAgent);
        }
        let stream = self.directory.connect(AGENT_SOCKET, self.process.pid);
        let number = self.guest.number.fetch_add(1, Ordering::Relaxed);
        Agent::open(stream.await?, number).await
    }

    /// Whether somebody in the guest has opened the port. A machine of an earlier release has none.
    async fn has_agent(&self) -> Result<bool, VmError> {
        let devices = self.qmp.run("query-chardev", json!({})).await?;
        let mut devices = devices.as_array().into_iter().flatten();
        let port = devices.find(|device| device["label"] == "agent");
        Ok(port.is_some_and(|port| port["frontend-open"] == true))
    }
}

impl Machine {
    /// Returns the version of the agent in the guest, if one has said it; asks nobody.
    pub fn agent(&self) -> Option<String> {
        let known = &self.inner.shared.guest.version;
        known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how long it has been watched by this process: its guest may be coming up.
    pub fn watched_for(&self) -> Duration {
        self.inner.shared.guest.since.elapsed()
    }

    /// Has the agent in the guest start a command; returns the command's number.
    ///
    /// [`VmError::NoAgent`] and [`VmError::AgentRefused`]: nothing was started. [`VmError::Unclear`]: nobody knows.
    pub async fn exec(&self, command: &GuestCommand) -> Result<i64, VmError> {
        self.is_running()?;
        let (_turn, mut agent) = self.inner.shared.call_agent().await?;
        agent.exec(command).await
    }

    /// Returns how a command in the guest ended, once; none while it runs.
    ///
    /// [`VmError::AgentRefused`]: the agent does not know it, or not any more.
    pub async fn exec_exit(&self, number: i64) -> Result<Option<GuestExit>, VmError> {
        self.is_running()?;
        let (_turn, mut agent) = self.inner.shared.call_agent().await?;
        agent.exit(number).await
    }

    fn is_running(&self) -> Result<(), VmError> {
        match self.status() {
            Status::Running => Ok(()),
            Status::Ended(_) => Err(VmError::NotRunning),
        }
    }
}
