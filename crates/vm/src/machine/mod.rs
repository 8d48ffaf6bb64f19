//! A running machine: started or adopted, watched, ended.

mod adopt;
mod disks;
mod guest;
mod ports;
mod start;
mod watch;

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch::{Receiver, Sender};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use adopt::Adopted;
pub(crate) use start::spawn;
pub(crate) use watch::leave;

use crate::accelerator::Accelerator;
use crate::directory::{Directory, Record};
use crate::error::VmError;
use crate::process::Process;
use crate::qmp::Qmp;
use crate::spec::{Disk, Spec};

/// How often the power button is pressed.
const PRESS: Duration = Duration::from_secs(5);
/// How long an emulator may take to quit before it is killed.
const QUIT: Duration = Duration::from_secs(5);
/// How long the system may take to end a process that was killed.
const KILL: Duration = Duration::from_secs(30);

/// Whether a machine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its process runs.
    Running,
    /// Its process has ended.
    Ended(End),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// The last lines that the emulator said, safe to show; empty when it said nothing.
    pub said: String,
}

/// Why a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The guest shut itself down.
    GuestShutdown,
    /// The guest shut down because it was asked to.
    PoweredOff,
    /// It was stopped from here without asking the guest.
    Stopped,
    /// Somebody else ended the emulator in an orderly way.
    Terminated,
    /// A signal killed the emulator.
    Killed {
        /// Its number.
        signal: i32,
    },
    /// The emulator gave up.
    Failed {
        /// Its exit code.
        code: i32,
    },
    /// It ended without a word, watched by a server that had not started it and cannot learn more.
    Died,
    /// It ended while nobody watched.
    Unknown,
}

impl Reason {
    fn of(exit: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        match (exit.signal(), exit.code()) {
            (Some(signal), _) => Self::Killed { signal },
            (None, Some(0)) => Self::Terminated,
            (None, code) => Self::Failed {
                code: code.unwrap_or(-1),
            },
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason {
            Reason::GuestShutdown => f.write_str("the guest shut itself down")?,
            Reason::PoweredOff => f.write_str("the guest shut down when asked to")?,
            Reason::Stopped => f.write_str("the machine was stopped")?,
            Reason::Terminated => f.write_str("the emulator was ended from outside")?,
            Reason::Killed { signal } => write!(f, "the emulator was killed by signal {signal}")?,
            Reason::Failed { code } => write!(f, "the emulator failed with code {code}")?,
            Reason::Died => f.write_str("the emulator was killed or crashed")?,
            Reason::Unknown => f.write_str("the emulator ended while nobody watched it")?,
        }
        let is_asked = matches!(
            self.reason,
            Reason::GuestShutdown | Reason::PoweredOff | Reason::Stopped
        );
        match self.said.lines().last() {
            Some(line) if !is_asked => write!(f, ": {line}"),
            _ => Ok(()),
        }
    }
}

/// What was asked of a machine: it decides what its end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    PowerOff,
    Stop,
}

/// A machine whose process runs, or ran a moment ago.
///
/// Dropping the last copy leaves the process alone: adopt it again.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Watches the process; ends with this value.
    _watcher: JoinSet<()>,
}

/// What the handle and the watcher share.
struct Shared {
    directory: Directory,
    record: tokio::sync::Mutex<Record>,
    process: Process,
    qmp: Qmp,
    intent: Mutex<Option<Intent>>,
    status: Sender<Status>,
    guest: guest::Guest,
}

impl Shared {
    fn intend(&self, intent: Intent) {
        *self.intent.lock().unwrap_or_else(PoisonError::into_inner) = Some(intent);
    }

    fn intent(&self) -> Option<Intent> {
        *self.intent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    /// Returns whether it runs.
    pub fn status(&self) -> Status {
        self.inner.shared.status.borrow().clone()
    }

    /// Returns a receiver that sees every change of [`Machine::status`].
    pub fn watch(&self) -> Receiver<Status> {
        self.inner.shared.status.subscribe()
    }

    /// Returns its emulator's process id.
    pub fn pid(&self) -> u32 {
        self.inner.shared.process.pid
    }

    /// Returns its directory.
    pub fn directory(&self) -> &Directory {
        &self.inner.shared.directory
    }

    /// Returns its id.
    pub async fn id(&self) -> Uuid {
        self.inner.shared.record.lock().await.spec.id
    }

    /// Returns what it is made of now, disks that were attached since included.
    pub async fn spec(&self) -> Spec {
        self.inner.shared.record.lock().await.spec.clone()
    }

    /// Returns its disks as they are now.
    pub async fn disks(&self) -> Vec<Disk> {
        self.inner.shared.record.lock().await.spec.disks.clone()
    }

    /// Returns what runs the guest's code.
    pub async fn accelerator(&self) -> Accelerator {
        self.inner.shared.record.lock().await.accelerator
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> End {
        let mut status = self.watch();
        let ended = status.wait_for(|status| matches!(status, Status::Ended(_)));
        match ended.await.map(|status| status.clone()) {
            Ok(Status::Ended(end)) => end,
            // The sender lives as long as this handle.
            Ok(Status::Running) | Err(_) => End {
                reason: Reason::Unknown,
                said: String::new(),
            },
        }
    }

    /// Presses the power button, and stops the machine when the guest has not obeyed in time.
    ///
    /// A guest that is still coming up does not hear it: it is pressed again and again.
    pub async fn power_off(&self, limit: Duration) -> Result<End, VmError> {
        if let Status::Ended(end) = self.status() {
            return Ok(end);
        }
        let shared = &self.inner.shared;
        shared.intend(Intent::PowerOff);
        let pressing = async {
            while shared.qmp.run("system_powerdown", json!({})).await.is_ok() {
                tokio::time::sleep(PRESS).await;
            }
            // It has ended, or does not answer: the limit decides.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = self.ended() => return Ok(end),
            () = pressing => {}
            () = tokio::time::sleep(limit) => {}
        }
        self.stop().await
    }

    /// Ends the machine at once, as pulling the plug does; what was written before is written.
    pub async fn stop(&self) -> Result<End, VmError> {
        if let Status::Ended(end) = self.status() {
            return Ok(end);
        }
        let shared = &self.inner.shared;
        shared.intend(Intent::Stop);
        let quit = async {
            // Refused or not: the process's end decides.
            let _ = shared.qmp.run("quit", json!({})).await;
            self.ended().await
        };
        if let Ok(end) = tokio::time::timeout(QUIT, quit).await {
            return Ok(end);
        }
        // An emulator that waits for a server that is away does not quit.
        shared
            .process
            .kill()
            .map_err(VmError::io("killing the emulator"))?;
        tokio::time::timeout(KILL, self.ended())
            .await
            .map_err(|_| VmError::Slow {
                what: "the end of the emulator's process",
                seconds: KILL.as_secs(),
            })
    }

    /// Resets the machine, as its button does.
    pub async fn reset(&self) -> Result<(), VmError> {
        self.inner
            .shared
            .qmp
            .run("system_reset", json!({}))
            .await
            .map(drop)
    }
}
