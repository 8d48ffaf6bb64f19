//! What happens to a machine when nobody asks for anything: its guest shuts down, its emulator
//! dies, its console floods.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::process::Child;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{End, Intent, Reason, Shared, Status};
use crate::cgroup;
use crate::command::{AGENT_PORT, AGENT_SOCKET, QMP_SOCKET, TPM_SOCKET};
use crate::directory::{Directory, Record, remove};
use crate::error::Kind;
use crate::process::{Identity, Process, in_directory};
use crate::qmp::Event;
use crate::serial;

/// How often the console's log is looked at.
const TRIM: Duration = Duration::from_secs(1);
/// How long events of an emulator that has ended may be on their way.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// How long an emulator whose guest is off may take to quit.
const QUIT: Duration = Duration::from_secs(10);
/// How long processes beside the emulator may take to follow it.
const FOLLOW: Duration = Duration::from_secs(2);
/// What is kept of the emulator's own words.
const SAID_BYTES_MAX: u64 = 2048;

/// The emulator's log.
pub(crate) const EMULATOR_LOG: &str = "qemu.log";

/// How the end of the process is learnt.
pub(super) enum Keeper {
    /// It is this process's child: its exit status is known.
    Child(Child),
    /// It was started by another server.
    Adopted,
}

impl Keeper {
    async fn ended(&mut self, process: &Process) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.wait().await.ok(),
            Self::Adopted => {
                if let Err(error) = process.ended().await {
                    tracing::error!(%error, pid = process.pid, "cannot wait for a process");
                }
                None
            }
        }
    }
}

/// Watches until the process has ended; `shutdown` says that its guest had shut down before.
pub(super) async fn watch(
    shared: Arc<Shared>,
    mut keeper: Keeper,
    mut events: Receiver<Event>,
    shutdown: bool,
) {
    let mut seen = None;
    if shutdown {
        let_go(&shared, &mut seen, Reason::GuestShutdown).await;
    }
    // Asks the guest's agent who it is; one question at a time, which ends with this watch.
    let mut asking = JoinSet::new();
    asking.spawn(meet(shared.clone()));
    let mut is_open = true;
    let mut tick = tokio::time::interval(TRIM);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let exit = loop {
        tokio::select! {
            exit = keeper.ended(&shared.process) => break exit,
            event = events.recv(), if is_open => match event {
                Ok(Event::Port { device, .. }) if device == AGENT_PORT => {
                    shared.guest.forget();
                    asking.abort_all();
                    asking.spawn(meet(shared.clone()));
                }
                Ok(event) => see(&shared, &mut seen, &event).await,
                Err(RecvError::Lagged(_)) => look(&shared, &mut seen).await,
                Err(RecvError::Closed) => is_open = false,
            },
            Some(_) = asking.join_next() => {}
            _ = tick.tick() => trim(&shared.directory).await,
        }
    };
    asking.shutdown().await;
    let rest = async {
        while is_open {
            match events.recv().await {
                Ok(Event::Shutdown { by_guest, .. }) => note(&mut seen, by_guest),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => is_open = false,
            }
        }
    };
    if tokio::time::timeout(LAST_EVENTS, rest).await.is_err() {
        tracing::warn!(pid = shared.process.pid, "a monitor outlives its process");
    }
    finish(&shared, exit, seen).await;
}

/// Learns who the guest's agent is, when there is one.
async fn meet(shared: Arc<Shared>) {
    if let Err(error) = shared.meet_agent().await
        && error.kind() != Kind::NoAgent
    {
        tracing::debug!(pid = shared.process.pid, "the agent in a guest: {error}");
    }
}

fn note(seen: &mut Option<Reason>, by_guest: bool) {
    let reason = if by_guest {
        Reason::GuestShutdown
    } else {
        Reason::Terminated
    };
    seen.get_or_insert(reason);
}

async fn see(shared: &Shared, seen: &mut Option<Reason>, event: &Event) {
    if let Event::Shutdown { by_guest, reason } = event {
        tracing::info!(
            pid = shared.process.pid,
            reason,
            "machine shuts down: {reason}"
        );
        if *by_guest {
            let_go(shared, seen, Reason::GuestShutdown).await;
        } else {
            note(seen, false);
        }
    }
}

/// Asks what events would have said.
async fn look(shared: &Shared, seen: &mut Option<Reason>) {
    if let Ok(state) = shared.qmp.run("query-status", json!({})).await
        && state["status"] == "shutdown"
    {
        let_go(shared, seen, Reason::GuestShutdown).await;
    }
}

/// Lets an emulator go whose guest has shut down: first the reason is written down, so that a
/// server that dies here does not forget it.
async fn let_go(shared: &Shared, seen: &mut Option<Reason>, reason: Reason) {
    seen.get_or_insert(reason);
    let end = end(shared, None, *seen);
    write_end(shared, end).await;
    let quit = tokio::time::timeout(QUIT, shared.qmp.run("quit", json!({}))).await;
    let is_gone = match quit {
        Ok(Ok(_)) => tokio::time::timeout(QUIT, shared.process.ended())
            .await
            .is_ok(),
        Ok(Err(_)) | Err(_) => false,
    };
    if !is_gone && let Err(error) = shared.process.kill() {
        tracing::error!(%error, pid = shared.process.pid, "cannot kill an emulator");
    }
}

fn end(shared: &Shared, exit: Option<ExitStatus>, seen: Option<Reason>) -> End {
    let reason = match (shared.intent(), seen, exit) {
        (Some(Intent::Stop), ..) => Reason::Stopped,
        (Some(Intent::PowerOff), Some(Reason::GuestShutdown), _) => Reason::PoweredOff,
        (_, Some(reason), _) => reason,
        (_, None, Some(exit)) => Reason::of(exit),
        // An orderly end is announced.
        (_, None, None) => Reason::Died,
    };
    End {
        reason,
        said: said(&shared.directory),
    }
}

/// Returns the last words of the emulator, safe to show.
pub(super) fn said(directory: &Directory) -> String {
    let bytes = directory
        .tail(EMULATOR_LOG, SAID_BYTES_MAX)
        .unwrap_or_default();
    serial::printable(&bytes).trim().to_owned()
}

async fn write_end(shared: &Shared, end: End) {
    let mut record = shared.record.lock().await;
    record.end = Some(end);
    if let Err(error) = shared.directory.write_record(&record) {
        tracing::error!(%error, "cannot write down how a machine ended");
    }
}

async fn finish(shared: &Shared, exit: Option<ExitStatus>, seen: Option<Reason>) {
    let end = end(shared, exit, seen);
    trim(&shared.directory).await;
    tidy(&shared.directory).await;
    leave(&*shared.record.lock().await);
    write_end(shared, end.clone()).await;
    tracing::info!(pid = shared.process.pid, "machine ended: {end}");
    shared.status.send_replace(Status::Ended(end));
}

/// Ends what still runs beside an emulator that has ended, and removes its sockets.
pub(crate) async fn tidy(directory: &Directory) {
    let run = directory.run();
    let others = in_directory(&run);
    for process in others.iter().filter_map(Identity::open) {
        if tokio::time::timeout(FOLLOW, process.ended()).await.is_err()
            && let Err(error) = process.kill()
        {
            tracing::error!(%error, pid = process.pid, "cannot kill a process of a machine");
        }
    }
    for socket in [QMP_SOCKET, AGENT_SOCKET, TPM_SOCKET] {
        if let Err(error) = remove(&run.join(socket)) {
            tracing::warn!(%error, "cannot remove a machine's socket");
        }
    }
}

/// Removes the control group of a machine that has ended.
pub(crate) fn leave(record: &Record) {
    if let Some(cgroup) = &record.cgroup
        && let Err(error) = cgroup::remove(cgroup, record.spec.id)
    {
        tracing::warn!(%error, "cannot remove a machine's control group");
    }
}

async fn trim(directory: &Directory) {
    let directory = directory.clone();
    let trimmed = tokio::task::spawn_blocking(move || serial::trim(&directory)).await;
    if let Ok(Err(error)) = trimmed {
        tracing::warn!(%error, "cannot trim a serial log");
    }
}
