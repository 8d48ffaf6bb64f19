//! KVM or TCG: a device file says little, so a firmware is run for a blink.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::error::VmError;
use crate::sandbox::{Allowance, Programs, User, wrap};

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// The emulator's translator: anywhere, and many times slower.
    Tcg,
}

impl Accelerator {
    /// Returns the name as QEMU and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// What a configuration may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// KVM where it comes up in time, else TCG.
    #[default]
    Auto,
    /// KVM, or an error.
    Kvm,
    /// TCG.
    Tcg,
}

/// What `SeaBIOS` says when it is through: everything it does has run once.
const THROUGH: &[u8] = b"No bootable device";
/// What it may say before.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// KVM has always so long, and this many times as long as TCG took just before on the same host.
const KVM_LEAST: Duration = Duration::from_millis(500);
const KVM_RATIO: u32 = 4;
/// TCG has so long; a host where it takes longer is busy or broken, and says nothing about KVM.
const TCG_MOST: Duration = Duration::from_secs(10);

/// Decides what machines run on.
///
/// Nested or emulated KVM may open, create machines and yet be slower than TCG by magnitudes: only
/// a run of code tells.
pub(crate) async fn choose(
    choice: Choice,
    programs: &Programs,
    user: Option<User>,
) -> Result<Accelerator, VmError> {
    if choice == Choice::Tcg {
        return Ok(Accelerator::Tcg);
    }
    match (probe(programs, user).await, choice) {
        (Ok(()), _) => Ok(Accelerator::Kvm),
        (Err(reason), Choice::Kvm) => Err(VmError::NoKvm { reason }),
        (Err(reason), _) => {
            tracing::info!(reason, "machines run on TCG: {reason}");
            Ok(Accelerator::Tcg)
        }
    }
}

async fn probe(programs: &Programs, user: Option<User>) -> Result<(), String> {
    if !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".to_owned());
    }
    let run = |accelerator, limit| run_firmware(programs, user, accelerator, limit);
    let tcg = run(Accelerator::Tcg, TCG_MOST)
        .await
        .map_err(|error| format!("the emulator does not run a firmware at all: {error}"))?;
    let limit = KVM_LEAST.max(tcg * KVM_RATIO);
    run(Accelerator::Kvm, limit)
        .await
        .map(drop)
        .map_err(|error| format!("a firmware does not come up on KVM: {error}"))
}

/// Runs the firmware of an empty machine; returns how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "home of the emulator's processes"
)]
async fn run_firmware(
    programs: &Programs,
    user: Option<User>,
    accelerator: Accelerator,
    limit: Duration,
) -> io::Result<Duration> {
    let arguments = [
        "-nodefaults",
        "-no-user-config",
        "-machine",
        "q35,graphics=off",
        "-accel",
        accelerator.name(),
        "-m",
        "64",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-display",
        "none",
        "-chardev",
        "stdio,id=debug",
        "-device",
        "isa-debugcon,iobase=0x402,chardev=debug",
    ]
    .map(str::to_owned);
    let allowance = Allowance {
        user,
        memory_mib: 64,
        has_low_ports: false,
        has_kvm: accelerator == Accelerator::Kvm,
    };
    let command = wrap(programs, allowance, &programs.qemu, &arguments);
    let begin = Instant::now();
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no pipe"))?;
    let mut output = output.take(OUTPUT_BYTES_MAX);
    let through = async {
        let mut said = Vec::new();
        while !said.windows(THROUGH.len()).any(|part| part == THROUGH) {
            if output.read_buf(&mut said).await? == 0 {
                return Err(io::Error::other("the emulator refuses"));
            }
        }
        Ok(())
    };
    let done = tokio::time::timeout(limit, through).await;
    child.kill().await?;
    match done {
        Ok(done) => done.map(|()| begin.elapsed()),
        Err(_) => Err(io::Error::other(format!(
            "not within {} ms",
            limit.as_millis()
        ))),
    }
}
