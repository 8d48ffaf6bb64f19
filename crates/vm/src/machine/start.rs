//! From a description to a process.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::guest::Guest;
use super::watch::{EMULATOR_LOG, Keeper, leave, said, tidy, watch};
use super::{Inner, Machine, Shared, Status};
use crate::accelerator::Accelerator;
use crate::cgroup;
use crate::command::{AGENT_SOCKET, QMP_SOCKET, SEED, Surroundings, VARIABLES, arguments};
use crate::directory::{Directory, Record, remove};
use crate::error::VmError;
use crate::firmware::FirmwareFiles;
use crate::host::Host;
use crate::process::{Identity, Process, in_directory};
use crate::qmp::Qmp;
use crate::sandbox::{Allowance, wrap};
use crate::serial;
use crate::spec::Spec;
use crate::tpm;

/// How long an emulator may take until it answers.
const START: Duration = Duration::from_secs(30);

impl Host {
    /// Starts a machine in `dir`, which is made; its disks' servers must listen already.
    ///
    /// `seed` is a provisioning disc. Firmware variables and the TPM's state of an earlier start in
    /// the same directory are kept, so is the console's log. When this fails no process is left.
    pub async fn start(
        &self,
        spec: Spec,
        dir: &Path,
        seed: Option<Vec<u8>>,
    ) -> Result<Machine, VmError> {
        self.check(&spec)?;
        end_strays(&self.directory(dir)).await?;
        let directory = self
            .claim(dir)
            .map_err(VmError::io("giving the machine's directory to a user"))?;
        let firmware = self.firmware(spec.firmware)?;
        let has_seed = seed.is_some();
        prepare(directory.clone(), firmware.clone(), seed).await?;
        let cgroup = self.cgroups.as_ref().map(|all| all.path(spec.id));
        let mut record = Record {
            spec,
            accelerator: self.accelerator(),
            emulator: None,
            end: None,
            cgroup,
        };
        // Before anything is made that has to be found again.
        write(&directory, &record)?;
        let command = self.command(&directory, &record.spec, firmware.as_ref(), has_seed);
        let started = self.begin(&directory, &mut record, &command).await;
        match started {
            Ok((child, process, qmp)) => {
                let keeper = Keeper::Child(child);
                Ok(Machine::watched(
                    directory, record, process, qmp, keeper, false,
                ))
            }
            Err(error) => {
                tidy(&directory).await;
                leave(&record);
                Err(error)
            }
        }
    }

    /// Makes the control group and starts the TPM, then the emulator.
    async fn begin(
        &self,
        directory: &Directory,
        record: &mut Record,
        command: &[OsString],
    ) -> Result<(Child, Process, Qmp), VmError> {
        if let Some(cgroups) = &self.cgroups {
            let made = cgroups.make(&record.spec);
            made.map_err(VmError::io("making the machine's control group"))?;
        }
        let tpm = match record.spec.has_tpm {
            true => Some(tpm::start(self, directory, record.cgroup.as_deref()).await?),
            false => None,
        };
        let started = self.run(directory, record, command).await;
        // The TPM's process leaves with its only client, and is reaped by the runtime.
        drop(tpm);
        started
    }

    fn command(
        &self,
        directory: &Directory,
        spec: &Spec,
        firmware: Option<&FirmwareFiles>,
        has_seed: bool,
    ) -> Vec<OsString> {
        let around = Surroundings {
            accelerator: self.accelerator(),
            cpu: self.cpu.as_deref(),
            firmware,
            has_seed,
        };
        let allowance = Allowance {
            user: directory.user(),
            memory_mib: spec.memory_mib,
            // Also when no such port is forwarded yet: that may change while it runs.
            has_low_ports: !spec.nics.is_empty(),
            has_kvm: self.accelerator() == Accelerator::Kvm,
        };
        wrap(
            &self.programs,
            allowance,
            &self.programs.qemu,
            &arguments(spec, &around),
        )
    }

    /// Starts the emulator and waits until it answers; ends it when it does not.
    async fn run(
        &self,
        directory: &Directory,
        record: &mut Record,
        command: &[OsString],
    ) -> Result<(Child, Process, Qmp), VmError> {
        let mut child = spawn(directory, command, EMULATOR_LOG, record.cgroup.as_deref())?;
        let answered = async {
            let identity = child
                .id()
                .and_then(Identity::of)
                .ok_or_else(|| VmError::Start {
                    how: "at once".to_owned(),
                    said: said(directory),
                })?;
            record.emulator = Some(identity.clone());
            write(directory, record)?;
            let process = identity.open().ok_or(VmError::NotRunning);
            let qmp = answer(directory, &mut child, identity.pid).await?;
            Ok((process?, qmp))
        };
        match tokio::time::timeout(START, answered).await {
            Ok(Ok((process, qmp))) => Ok((child, process, qmp)),
            failed => {
                // It has ended already, or it will: nobody is waiting for it.
                let _ = child.kill().await;
                Err(match failed {
                    Ok(Err(error)) => error,
                    Ok(Ok(_)) | Err(_) => VmError::Slow {
                        what: "the emulator's start",
                        seconds: START.as_secs(),
                    },
                })
            }
        }
    }
}

impl Machine {
    /// Begins to watch a process.
    pub(super) fn watched(
        directory: Directory,
        record: Record,
        process: Process,
        qmp: Qmp,
        keeper: Keeper,
        is_shut_down: bool,
    ) -> Self {
        let events = qmp.events();
        let shared = Arc::new(Shared {
            directory,
            record: tokio::sync::Mutex::new(record),
            process,
            qmp,
            intent: Mutex::new(None),
            status: tokio::sync::watch::channel(Status::Running).0,
            guest: Guest::new(),
        });
        let mut watcher = JoinSet::new();
        watcher.spawn(watch(shared.clone(), keeper, events, is_shut_down));
        Self {
            inner: Arc::new(Inner {
                shared,
                _watcher: watcher,
            }),
        }
    }
}

/// Refuses a second start, and ends what a server that died in the middle of one has left.
async fn end_strays(directory: &Directory) -> Result<(), VmError> {
    let record = directory
        .read_record()
        .map_err(VmError::io("reading the machine's record"))?;
    if let Some(process) = record
        .and_then(|record| record.emulator)
        .and_then(|identity| identity.open())
    {
        return Err(VmError::Running { pid: process.pid });
    }
    for process in in_directory(&directory.run())
        .iter()
        .filter_map(Identity::open)
    {
        process
            .kill()
            .map_err(VmError::io("killing a process without a record"))?;
    }
    tidy(directory).await;
    Ok(())
}

async fn prepare(
    directory: Directory,
    firmware: Option<FirmwareFiles>,
    seed: Option<Vec<u8>>,
) -> Result<(), VmError> {
    let prepare = move || {
        directory.ensure()?;
        serial::ensure(&directory)?;
        let run = directory.run();
        for socket in [QMP_SOCKET, AGENT_SOCKET] {
            remove(&run.join(socket))?;
        }
        match seed {
            Some(disc) => directory.put(SEED, &disc)?,
            None => remove(&run.join(SEED))?,
        }
        match firmware {
            Some(files) if run.join(VARIABLES).symlink_metadata().is_err() => {
                directory.put(VARIABLES, &std::fs::read(&files.variables)?)
            }
            _ => Ok(()),
        }
    };
    tokio::task::spawn_blocking(prepare)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(VmError::io("preparing the machine's directory"))
}

fn write(directory: &Directory, record: &Record) -> Result<(), VmError> {
    directory
        .write_record(record)
        .map_err(VmError::io("writing the machine's record"))
}

/// Starts a program in the machine's `run` directory; what it says goes to `log` there.
#[expect(
    clippy::disallowed_methods,
    reason = "home of the emulator's processes"
)]
pub(crate) fn spawn(
    directory: &Directory,
    command: &[OsString],
    log: &str,
    cgroup: Option<&Path>,
) -> Result<Child, VmError> {
    let said = directory
        .put(log, b"")
        .and_then(|()| directory.open_untrusted(log, true))
        .map_err(VmError::io("making the emulator's log"))?;
    let also = said
        .try_clone()
        .map_err(VmError::io("making the emulator's log"))?;
    // Not the leader of a group: `setsid` would fork, and the child would be another process.
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .current_dir(directory.run())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(also)
        .kill_on_drop(false)
        .spawn()
        .map_err(VmError::io("starting the emulator"))?;
    if let (Some(cgroup), Some(pid)) = (cgroup, child.id())
        && let Err(error) = cgroup::add(cgroup, pid)
    {
        // Without its limits it does not run.
        let _ = child.start_kill();
        return Err(VmError::Io {
            what: "limiting the emulator",
            source: error,
        });
    }
    Ok(child)
}

/// Waits until the emulator answers on its monitor, or has ended.
async fn answer(directory: &Directory, child: &mut Child, pid: u32) -> Result<Qmp, VmError> {
    loop {
        let asked = async {
            let stream = directory.connect(QMP_SOCKET, pid).await?;
            Qmp::open(stream).await
        };
        match asked.await {
            // It is not listening yet, or it listens and fails a moment later.
            Err(VmError::Io { .. } | VmError::Protocol(_) | VmError::NotRunning) => {}
            done => return done,
        }
        let exit = child
            .try_wait()
            .map_err(VmError::io("waiting for the emulator"))?;
        if let Some(exit) = exit {
            return Err(VmError::Start {
                how: exit.to_string(),
                said: said(directory),
            });
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
