//! Which driver runs machines, and how much of this node they may take.

use std::path::{Path, PathBuf};

use domain::{Error, ErrorKind, Result};

pub use vm::Choice as Accelerator;
pub use vm::Users as GuestUsers;

use super::driver::Driver;
use super::qemu::Qemu;
use super::simulated::Simulated;

/// Which driver runs machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// QEMU when it is on the PATH; else creating a machine says what to install.
    #[default]
    Auto,
    /// QEMU.
    Qemu,
    /// No processes: states only.
    Simulated,
}

/// How machines run on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSettings {
    /// Which driver.
    pub driver: DriverChoice,
    /// Processors that one machine gets at most, whatever its size says.
    pub cpus_max: u32,
    /// Memory that one machine gets at most, in MiB, whatever its size says.
    pub memory_mib_max: u64,
    /// What runs the guests' code: `auto` takes KVM where it comes up in time.
    pub accelerator: Accelerator,
    /// Whether guests reach the networks of this node. Off: a guest reaches nothing.
    pub has_egress: bool,
    /// Whom guests run as when this process is root.
    pub guest_users: GuestUsers,
    /// A control group that was handed over, below which each guest has its own.
    pub guest_cgroup: Option<PathBuf>,
}

impl Default for MachineSettings {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Auto,
            cpus_max: 16,
            memory_mib_max: 64 << 10,
            accelerator: Accelerator::Auto,
            has_egress: false,
            guest_users: GuestUsers::Auto,
            guest_cgroup: None,
        }
    }
}

impl std::str::FromStr for DriverChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "qemu" => Ok(Self::Qemu),
            "simulated" => Ok(Self::Simulated),
            _ => Err(Error::bad_request(format!(
                "The machine driver '{text}' is unknown. Use auto, qemu or simulated."
            ))),
        }
    }
}

/// Returns the driver that the settings ask for; none when it cannot run here.
///
/// Machines of QEMU live below `directory`, which is made when the first one is.
pub(crate) fn driver(settings: &MachineSettings, directory: &Path) -> Option<Driver> {
    match settings.driver {
        DriverChoice::Simulated => Some(Driver::Simulated(Simulated)),
        DriverChoice::Auto | DriverChoice::Qemu => {
            Qemu::new(directory.to_owned(), settings).map(|qemu| Driver::Qemu(Box::new(qemu)))
        }
    }
}

/// Why no machine can be made on this node, and what to do.
pub(crate) fn no_driver() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "OperationNotAllowed",
        "This server cannot run machines: QEMU was not found. Install the Debian packages qemu-system-x86, ovmf and \
         swtpm and start the server again, or start it with '--machines simulated' to keep machines as states without \
         a guest.",
    )
}
