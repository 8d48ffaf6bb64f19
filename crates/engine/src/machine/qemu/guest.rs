//! What the agent in a guest is asked for.

use std::time::Duration;

use uuid::Uuid;
use vm::{GuestExit, Kind, Script, Shell, VmError};

use super::{Qemu, Running};
use crate::machine::driver::Told;

/// How long a guest may take to start its agent, after its machine was started or taken over.
const COMING_UP: Duration = Duration::from_secs(180);

impl Qemu {
    pub(in crate::machine) async fn run_script(&self, id: Uuid, script: &Script) -> Told<i64> {
        match self.alive(id).await {
            Some(running) => running.told(running.machine.exec(&script.command()).await),
            None => Told::NoGuest,
        }
    }

    pub(in crate::machine) async fn script_exit(
        &self,
        id: Uuid,
        number: i64,
    ) -> Told<Option<GuestExit>> {
        match self.alive(id).await {
            Some(running) => running.told(running.machine.exec_exit(number).await),
            None => Told::NoGuest,
        }
    }

    pub(in crate::machine) async fn end_script(&self, id: Uuid, shell: Shell, number: i64) {
        if let Some(running) = self.alive(id).await
            && let Err(error) = running.machine.exec(&shell.kill(number)).await
        {
            tracing::warn!(machine.id = %id, "a command in a guest cannot be ended: {error}");
        }
    }

    pub(in crate::machine) async fn agent(&self, id: Uuid) -> Option<String> {
        self.alive(id).await?.machine.agent()
    }
}

impl Running {
    fn told<T>(&self, answer: Result<T, VmError>) -> Told<T> {
        let error = match answer {
            Ok(said) => return Told::Said(said),
            Err(error) => error,
        };
        tracing::debug!(pid = self.machine.pid(), "the agent in a guest: {error}");
        match (error.kind(), error) {
            (Kind::NotRunning, _) => Told::NoGuest,
            (Kind::NoAgent, _) => Told::NoAgent {
                is_coming_up: self.machine.watched_for() < COMING_UP,
            },
            (_, VmError::AgentRefused { reason, .. }) => Told::Refused(reason),
            _ => Told::Unclear,
        }
    }
}
