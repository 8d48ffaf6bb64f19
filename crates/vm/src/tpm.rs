//! The software TPM of a machine: a process beside the emulator that ends with it.

use std::path::Path;
use std::time::Duration;

use tokio::process::Child;

use crate::command::TPM_SOCKET;
use crate::directory::{Directory, remove};
use crate::error::VmError;
use crate::host::Host;
use crate::machine::spawn;
use crate::sandbox::{Allowance, wrap};

/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);
const LOG: &str = "tpm.log";

/// Starts it; it is ready when this returns.
pub(crate) async fn start(
    host: &Host,
    directory: &Directory,
    cgroup: Option<&Path>,
) -> Result<Child, VmError> {
    let program = host.programs.swtpm.as_ref().ok_or(VmError::Missing {
        what: "swtpm",
        package: "swtpm",
    })?;
    directory
        .ensure_owned_dir("run/tpm")
        .map_err(VmError::io("making the TPM's directory"))?;
    let socket = directory.run().join(TPM_SOCKET);
    remove(&socket).map_err(VmError::io("removing the TPM's socket"))?;
    let arguments = [
        "socket",
        "--tpm2",
        "--tpmstate",
        "dir=tpm,mode=0600",
        "--ctrl",
        &format!("type=unixio,path={TPM_SOCKET},mode=0600"),
        "--flags",
        "startup-clear",
        "--terminate",
    ]
    .map(str::to_owned);
    let allowance = Allowance {
        user: directory.user(),
        memory_mib: 0,
        has_low_ports: false,
        has_kvm: false,
    };
    let command = wrap(&host.programs, allowance, program, &arguments);
    let mut child = spawn(directory, &command, LOG, cgroup)?;
    let listening = async {
        while !socket.exists() {
            if let Ok(Some(status)) = child.try_wait() {
                let said = directory.tail(LOG, 4096).unwrap_or_default();
                return Err(VmError::Start {
                    how: format!("swtpm, {status}"),
                    said: crate::serial::printable(&said).trim().to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(START, listening).await {
        Ok(Ok(())) => Ok(child),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            // It would stay for ever: nobody connects to it.
            let _ = child.start_kill();
            Err(VmError::Slow {
                what: "the software TPM's start",
                seconds: START.as_secs(),
            })
        }
    }
}
