//! What runs machines, and what the engine asks of it.
//!
//! A driver knows nothing of rows, roles or operations. Every call is idempotent: the engine's
//! workers call again after a crash. Calls for one machine never overlap (they run under the
//! machine's operation lease); calls for different machines do. What a call needs beyond an id
//! stands in the [`MachineSpec`]. A driver's errors are texts for people; passing trouble is
//! `ErrorKind::Unavailable` (the worker tries again with pauses), everything else ends the operation.
//!
//! Stopped and deallocated are the same to a driver: no process. The difference is the row's.

use blocks::Trouble;
use domain::Result;
use uuid::Uuid;

use super::qemu::Qemu;
use super::simulated::Simulated;
use super::spec::{DiskSlot, DiskSpec, MachineSpec};

/// What runs machines.
#[derive(Debug)]
pub enum Driver {
    /// Runs guests on this node.
    Qemu(Box<Qemu>),
    /// Keeps states without a process.
    Simulated(Simulated),
}

/// How a machine is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ask the guest, wait for it for a while, then cut the power.
    Shutdown,
    /// Cut the power; what the guest flushed stays.
    PowerOff,
}

/// What a driver sees of a machine now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The driver keeps no state of its own, or not on this node: the row says all there is.
    AsRecorded,
    /// The guest runs.
    Running,
    /// There is no guest; why, when nobody asked for it (`The guest shut down.`, `QEMU ended: …`).
    Stopped {
        /// A sentence for people, none when it was asked for.
        reason: Option<String>,
    },
}

/// What came of asking the agent in a guest for something.
pub enum Told<T> {
    /// Its answer.
    Said(T),
    /// No guest runs here.
    NoGuest,
    /// Nobody in the guest answers: nothing was done.
    NoAgent {
        /// Whether the guest may still be starting its agent.
        is_coming_up: bool,
    },
    /// It refused, in its own words made safe to show.
    Refused(String),
    /// It broke off: whether anything was done is not known.
    Unclear,
}

impl Driver {
    /// Makes the machine run; nothing to do when it runs already.
    pub async fn start(&self, spec: &MachineSpec) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.start(spec).await,
            Self::Simulated(driver) => driver.start(spec).await,
        }
    }

    /// Takes over a machine that should be running, after a restart of the server: serves its disks
    /// again and returns what it found. Never starts a guest that is not there.
    pub async fn adopt(&self, spec: &MachineSpec) -> Result<Seen> {
        match self {
            Self::Qemu(driver) => driver.adopt(spec).await,
            Self::Simulated(_) => {
                let _ = spec;
                Ok(Seen::AsRecorded)
            }
        }
    }

    /// Makes the machine stand still; nothing to do when it does.
    pub async fn stop(&self, id: Uuid, how: Stop) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.stop(id, how).await,
            Self::Simulated(driver) => driver.stop(id, how).await,
        }
    }

    /// Boots a running machine again (asks the guest first); starts one that stands still.
    pub async fn restart(&self, spec: &MachineSpec) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.restart(spec).await,
            Self::Simulated(driver) => driver.start(spec).await,
        }
    }

    /// Plugs a data disk into a running machine; nothing to do when it is there, or nothing runs.
    pub async fn attach(&self, id: Uuid, disk: &DiskSpec) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.attach(id, disk).await,
            Self::Simulated(_) => {
                let _ = (id, disk);
                Ok(())
            }
        }
    }

    /// Unplugs a data disk from a running machine and lets go of its layer, flushed.
    pub async fn detach(&self, id: Uuid, slot: DiskSlot) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.detach(id, slot).await,
            Self::Simulated(_) => {
                let _ = (id, slot);
                Ok(())
            }
        }
    }

    /// Replaces the forwarded ports of a running machine by those of its cards.
    pub async fn forward(&self, spec: &MachineSpec) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.forward(spec).await,
            Self::Simulated(_) => {
                let _ = spec;
                Ok(())
            }
        }
    }

    /// Stops the machine and removes all that the driver has of it, its directory included.
    pub async fn remove(&self, id: Uuid) -> Result<()> {
        match self {
            Self::Qemu(driver) => driver.remove(id).await,
            Self::Simulated(driver) => driver.stop(id, Stop::PowerOff).await,
        }
    }

    /// Returns what the driver sees of a machine; cheap, asked by every instance view.
    pub async fn observe(&self, id: Uuid) -> Result<Seen> {
        match self {
            Self::Qemu(driver) => driver.observe(id).await,
            Self::Simulated(_) => {
                let _ = id;
                Ok(Seen::AsRecorded)
            }
        }
    }

    /// Returns why requests of the guest to its disks fail now; cheap, asked by every instance view.
    pub async fn troubles(&self, id: Uuid) -> Vec<(DiskSlot, Trouble)> {
        match self {
            Self::Qemu(driver) => driver.troubles(id).await,
            Self::Simulated(_) => {
                let _ = id;
                Vec::new()
            }
        }
    }

    /// Has the agent in the guest start a script; returns the number under which it runs.
    ///
    /// Not idempotent: every call that is answered starts it once more. It may overlap other calls for the
    /// machine, as the two below may.
    pub async fn run_script(&self, id: Uuid, script: &vm::Script) -> Told<i64> {
        match self {
            Self::Qemu(driver) => driver.run_script(id, script).await,
            Self::Simulated(_) => Told::NoGuest,
        }
    }

    /// Returns how a script ended, once; none while it runs.
    pub async fn script_exit(&self, id: Uuid, number: i64) -> Told<Option<vm::GuestExit>> {
        match self {
            Self::Qemu(driver) => driver.script_exit(id, number).await,
            Self::Simulated(_) => Told::NoGuest,
        }
    }

    /// Has a script killed, if the guest still does what it is told.
    pub async fn end_script(&self, id: Uuid, shell: vm::Shell, number: i64) {
        if let Self::Qemu(driver) = self {
            driver.end_script(id, shell, number).await;
        }
    }

    /// Returns the version of the agent in the guest, if one has said it; cheap, asked by every instance view.
    pub async fn agent(&self, id: Uuid) -> Option<String> {
        match self {
            Self::Qemu(driver) => driver.agent(id).await,
            Self::Simulated(_) => None,
        }
    }

    /// Returns the last bytes that the guest wrote to its serial port, as it wrote them, at most
    /// `bytes_max`; survives stops and restarts of the machine. The engine makes them safe to show.
    pub async fn console(&self, id: Uuid, bytes_max: usize) -> Result<Vec<u8>> {
        match self {
            Self::Qemu(driver) => driver.console(id, bytes_max).await,
            Self::Simulated(driver) => driver.console(id, bytes_max).await,
        }
    }

    /// Returns the driver's name and how it runs guests, as instance views show it: `QEMU 7.2.9 with TCG`.
    pub fn describe(&self) -> String {
        match self {
            Self::Qemu(driver) => driver.describe(),
            Self::Simulated(driver) => driver.describe(),
        }
    }
}
