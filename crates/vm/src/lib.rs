//! Virtual machines as QEMU processes: firmware, command line, QMP, sandbox, provisioning discs.
//!
//! ```text
//! DIR/               the server's: machine.json (what runs, as which process), serial.1
//! DIR/run/           the emulator's working directory, owned by its user:
//!                    qmp.sock, agent.sock, tpm.sock, serial.log, qemu.log, nvram.fd, seed.iso, tpm/
//! ```
//!
//! A machine is a process in a session of its own: it outlives this process and is adopted by the
//! next one, which knows it by pid, start time and the socket it listens on. Disks are raw over
//! NBD, always, with a reconnect time in which the server may be away. Nothing a guest writes is
//! parsed here but the bounded answers of an agent in it; what is in `run/` is opened without following links.
//!
//! It knows nothing of galleries, and it does not restart what ended: the caller decides.

mod accelerator;
mod agent;
mod cgroup;
mod command;
mod directory;
mod error;
mod firmware;
mod host;
mod leftovers;
mod machine;
mod process;
mod qmp;
mod sandbox;
mod script;
pub mod seed;
pub mod serial;
mod spec;
mod tpm;
mod users;

pub use accelerator::{Accelerator, Choice};
pub use agent::{GuestCommand, GuestExit, OUTPUT_BYTES_MAX};
pub use directory::{Directory, Reach};
pub use error::{Kind, VmError};
pub use firmware::FirmwareFiles;
pub use host::{Host, Settings};
pub use leftovers::{Leftover, clean, end, leftovers};
pub use machine::{Adopted, End, Machine, Reason, Status};
pub use sandbox::{Programs, User};
pub use script::{Script, Shell};
pub use spec::{Disk, Firmware, Forward, Network, Nic, Place, Protocol, Spec};
pub use users::{UserRange, Users};
