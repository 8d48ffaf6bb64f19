//! The driver that runs guests: QEMU on this node, its disks served over NBD from their layers.
//!
//! ```text
//! Driver ──▶ Qemu ──▶ vm::Machine ──process──▶ QEMU ──▶ guest
//!               └───▶ NbdServer   ◀──nbd.sock────┘
//! ```
//!
//! A machine has a server of its own, on a socket in its own directory: a guest that breaks out of
//! QEMU finds no other machine's disks there. When this process ends, guests wait for their disks;
//! the next one serves them again under the same names ([`Qemu::adopt`]).

mod disks;
mod guest;
mod translate;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blocks::Trouble;
use blocks::nbd::{NbdOptions, NbdServer};
use domain::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;
use vm::{Adopted, End, Host, Machine, Reason, Status, VmError};

use self::disks::Served;
use super::driver::{Seen, Stop};
use super::settings::MachineSettings;
use super::spec::{DiskSlot, DiskSpec, MachineSpec};

/// How long a guest may take to shut down when it is asked to.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// QEMU on this node.
pub struct Qemu {
    /// Where each machine has its directory, named by its id.
    root: PathBuf,
    settings: vm::Settings,
    has_egress: bool,
    /// Looked for when the first machine starts: finding out what KVM is worth takes a moment.
    host: OnceCell<Host>,
    running: Mutex<HashMap<Uuid, Arc<Running>>>,
    /// Machines that should run and had ended when they were to be taken over, and why.
    gone: Mutex<HashMap<Uuid, Option<String>>>,
}

/// A machine that this process has started or adopted.
struct Running {
    machine: Machine,
    served: Served,
}

impl std::fmt::Debug for Qemu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qemu")
            .field("root", &self.root)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Qemu {
    /// Makes a driver whose machines live below `root`; none when QEMU is not installed.
    pub(super) fn new(root: PathBuf, settings: &MachineSettings) -> Option<Self> {
        vm::Programs::find().ok()?;
        Some(Self {
            root,
            settings: vm::Settings {
                accelerator: settings.accelerator,
                cpu: None,
                users: settings.guest_users,
                cgroup: settings.guest_cgroup.clone(),
            },
            has_egress: settings.has_egress,
            host: OnceCell::new(),
            running: Mutex::default(),
            gone: Mutex::default(),
        })
    }

    async fn host(&self) -> Result<&Host> {
        let find = || async { Host::find(self.settings.clone()).await.map_err(failed) };
        self.host.get_or_try_init(find).await
    }

    /// Returns a machine of this process that has not ended.
    async fn alive(&self, id: Uuid) -> Option<Arc<Running>> {
        let running = self.running.lock().await.get(&id).cloned()?;
        (running.machine.status() == Status::Running).then_some(running)
    }

    async fn keep(&self, id: Uuid, machine: Machine, served: Served) {
        let running = Arc::new(Running { machine, served });
        self.gone.lock().await.remove(&id);
        self.running.lock().await.insert(id, running);
    }

    pub(super) async fn start(&self, spec: &MachineSpec) -> Result<()> {
        if self.alive(spec.id).await.is_some() {
            return Ok(());
        }
        // Started by a server that did not live to say so.
        if let Seen::Running = self.adopt(spec).await? {
            return Ok(());
        }
        let host = self.host().await?;
        let described = translate::machine(spec, self.has_egress)?;
        host.check(&described).map_err(failed)?;
        let seed = translate::seed(spec)?;
        let served = self.serve(host, spec).await?;
        let machine = host.start(described, &spec.directory, seed).await;
        match machine {
            Ok(machine) => {
                tracing::info!(machine.id = %spec.id, pid = machine.pid(), "started machine {}", spec.name);
                self.keep(spec.id, machine, served).await;
                Ok(())
            }
            Err(error) => {
                served.stop().await;
                Err(failed(error))
            }
        }
    }

    pub(super) async fn adopt(&self, spec: &MachineSpec) -> Result<Seen> {
        if self.alive(spec.id).await.is_some() {
            return Ok(Seen::Running);
        }
        self.forget(spec.id).await;
        if !spec.directory.join("machine.json").exists() {
            return Ok(self.is_gone(spec.id, None).await);
        }
        let host = self.host().await?;
        // Before anything is asked of it: a guest that waits for its disk answers nothing.
        let served = self.serve(host, spec).await?;
        match host.adopt(&spec.directory).await {
            Ok(Adopted::Running(machine)) => {
                tracing::info!(machine.id = %spec.id, pid = machine.pid(), "took over machine {}", spec.name);
                self.keep(spec.id, machine, served).await;
                Ok(Seen::Running)
            }
            Ok(Adopted::Ended(end)) => {
                served.stop().await;
                Ok(self.is_gone(spec.id, unasked(&end)).await)
            }
            Ok(Adopted::Absent) => {
                served.stop().await;
                Ok(self.is_gone(spec.id, None).await)
            }
            Err(error) => {
                served.stop().await;
                Err(failed(error))
            }
        }
    }

    async fn is_gone(&self, id: Uuid, reason: Option<String>) -> Seen {
        self.gone.lock().await.insert(id, reason.clone());
        Seen::Stopped { reason }
    }

    /// Lets go of a machine that has ended: its server, and the layers that it held.
    async fn forget(&self, id: Uuid) {
        let gone = self.running.lock().await.remove(&id);
        if let Some(gone) = gone.and_then(Arc::into_inner) {
            gone.served.stop().await;
        }
    }

    pub(super) async fn stop(&self, id: Uuid, how: Stop) -> Result<()> {
        self.gone.lock().await.remove(&id);
        let known = self.running.lock().await.get(&id).cloned();
        let machine = match known {
            Some(running) => running.machine.clone(),
            None => {
                let directory = self.root.join(id.to_string());
                if !directory.join("machine.json").exists() {
                    return Ok(());
                }
                let host = self.host().await?;
                match host.adopt(&directory).await {
                    Ok(Adopted::Running(machine)) => machine,
                    Ok(Adopted::Ended(_) | Adopted::Absent) => return Ok(()),
                    // It waits for disks that nobody serves, and hears nothing.
                    Err(error) if error.kind() == vm::Kind::Slow => {
                        return vm::end(&directory).await.map_err(failed);
                    }
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        let end = match how {
            Stop::Shutdown => machine.power_off(SHUTDOWN).await,
            Stop::PowerOff => machine.stop().await,
        };
        let end = end.map_err(failed)?;
        tracing::info!(machine.id = %id, "stopped a machine: {end}");
        self.forget(id).await;
        Ok(())
    }

    pub(super) async fn restart(&self, spec: &MachineSpec) -> Result<()> {
        self.stop(spec.id, Stop::Shutdown).await?;
        self.start(spec).await
    }

    pub(super) async fn attach(&self, id: Uuid, disk: &DiskSpec) -> Result<()> {
        let Some(running) = self.alive(id).await else {
            return Ok(());
        };
        running.served.add(disk).map_err(not_served)?;
        let described = translate::disk(disk)?;
        running.machine.attach(described).await.map_err(failed)
    }

    pub(super) async fn detach(&self, id: Uuid, slot: DiskSlot) -> Result<()> {
        let Some(running) = self.alive(id).await else {
            return Ok(());
        };
        let vm::Place::Lun(lun) = translate::place(slot)? else {
            return Err(Error::conflict(
                "OperationNotAllowed",
                "The disk that a machine boots from cannot be detached while it runs. Deallocate the machine.",
            ));
        };
        running.machine.detach(lun).await.map_err(failed)?;
        running.served.remove(slot).await
    }

    pub(super) async fn forward(&self, spec: &MachineSpec) -> Result<()> {
        let Some(running) = self.alive(spec.id).await else {
            return Ok(());
        };
        let described = translate::machine(spec, self.has_egress)?;
        let ports = described.nics.into_iter().map(|nic| nic.forwards);
        let done = running.machine.forward(ports.collect()).await;
        done.map_err(failed)
    }

    pub(super) async fn remove(&self, id: Uuid) -> Result<()> {
        // One that nobody has taken over is not asked: its disks are not served, it would not answer.
        if self.running.lock().await.contains_key(&id) {
            self.stop(id, Stop::PowerOff).await?;
        }
        self.gone.lock().await.remove(&id);
        vm::clean(&self.root.join(id.to_string()))
            .await
            .map_err(failed)
    }

    pub(super) async fn observe(&self, id: Uuid) -> Result<Seen> {
        let known = self.running.lock().await.get(&id).cloned();
        Ok(match known.map(|running| running.machine.status()) {
            Some(Status::Running) => Seen::Running,
            Some(Status::Ended(end)) => Seen::Stopped {
                reason: unasked(&end),
            },
            None => match self.gone.lock().await.get(&id).cloned() {
                Some(reason) => Seen::Stopped { reason },
                None => Seen::AsRecorded,
            },
        })
    }

    pub(super) async fn troubles(&self, id: Uuid) -> Vec<(DiskSlot, Trouble)> {
        match self.running.lock().await.get(&id) {
            Some(running) => running.served.troubles(),
            None => Vec::new(),
        }
    }

    pub(super) async fn console(&self, id: Uuid, bytes_max: usize) -> Result<Vec<u8>> {
        let directory = self.root.join(id.to_string());
        let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        let read = tokio::task::spawn_blocking(move || vm::serial::read(&directory, bytes_max));
        match read.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Ok(Err(error)) => {
                tracing::error!(machine.id = %id, %error, "a serial log cannot be read");
                Err(Error::internal())
            }
            Err(_) => Err(Error::internal()),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self.host.get() {
            Some(host) => format!(
                "QEMU {} with {}",
                host.version(),
                host.accelerator().name().to_ascii_uppercase()
            ),
            None => "QEMU".to_owned(),
        }
    }

    /// Serves a machine's disks on the socket in its directory.
    async fn serve(&self, host: &Host, spec: &MachineSpec) -> Result<Served> {
        let serve = async {
            let directory = host.claim(&spec.directory)?;
            let reach = directory.reach()?;
            let server =
                NbdServer::listen(&reach.path(disks::SOCKET), NbdOptions::default()).await?;
            directory.give(disks::SOCKET)?;
            let served = Served::new(server, reach);
            for disk in &spec.disks {
                served.add(disk)?;
            }
            Ok(served)
        };
        serve.await.map_err(not_served)
    }
}

/// Returns what to say of an end that nobody asked for.
fn unasked(end: &End) -> Option<String> {
    match end.reason {
        Reason::PoweredOff | Reason::Stopped => None,
        _ => {
            let mut text = end.to_string();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            Some(format!("{text}."))
        }
    }
}

/// Turns what went wrong into what a person can do about it; the cause is logged here.
fn failed(error: VmError) -> Error {
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "a machine's emulator: {error}"
    );
    match error.kind() {
        vm::Kind::Slow => Error::new(
            ErrorKind::Unavailable,
            "VMStartTimedOut",
            format!("The machine did not answer in time: {error}."),
        ),
        vm::Kind::Failed if matches!(error, VmError::Io { .. }) => Error::new(
            ErrorKind::Unavailable,
            "InternalExecutionError",
            "The machine's process cannot be reached now.",
        ),
        _ => Error::conflict(
            "OperationNotAllowed",
            format!("This server cannot run the machine: {error}."),
        ),
    }
}

fn not_served(error: std::io::Error) -> Error {
    tracing::error!(%error, "a machine's disks cannot be served");
    Error::new(
        ErrorKind::Unavailable,
        "InternalExecutionError",
        "The machine's disks cannot be served now.",
    )
}
