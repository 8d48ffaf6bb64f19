//! What this host has for running machines.

use std::path::{Path, PathBuf};

use crate::accelerator::{Accelerator, Choice, choose};
use crate::cgroup::Cgroups;
use crate::directory::Directory;
use crate::error::VmError;
use crate::firmware::{self, FirmwareFiles};
use crate::sandbox::Programs;
use crate::spec::{Firmware, Spec};
use crate::users::{Runners, Users};

/// How long the emulator may take to say its version.
const VERSION: std::time::Duration = std::time::Duration::from_secs(10);
/// Where the kernel says which ports need privileges.
const LOW_PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// What may be chosen.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// KVM or TCG.
    pub accelerator: Choice,
    /// The processor that guests see, as QEMU names it: `host` on KVM, `max` on TCG without it.
    pub cpu: Option<String>,
    /// Whom guests run as when this process is root.
    pub users: Users,
    /// A control group (cgroup v2) that was handed over, below which each machine has its own, with
    /// limits. Without it the limits of a process are all there are.
    pub cgroup: Option<PathBuf>,
}

/// A host that can run machines.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) programs: Programs,
    pub(crate) runners: Runners,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) cpu: Option<String>,
    accelerator: Accelerator,
    version: String,
    low_ports: u16,
}

impl Host {
    /// Looks for the programs and tries KVM, which takes a blink.
    ///
    /// [`VmError::Missing`] names the package of what is not there.
    pub async fn find(settings: Settings) -> Result<Self, VmError> {
        let programs = Programs::find()?;
        let runners = Runners::find(settings.users)?;
        let cgroups = settings.cgroup.as_deref().map(Cgroups::open).transpose()?;
        if let Some(cpu) = &settings.cpu
            && !cpu.chars().all(|c| c.is_ascii_graphic())
        {
            return Err(VmError::Invalid(format!("{cpu:?} is no processor model")));
        }
        let version = version(&programs).await?;
        let accelerator = choose(settings.accelerator, &programs, runners.any()).await?;
        let low_ports = std::fs::read_to_string(LOW_PORTS).ok();
        Ok(Self {
            programs,
            runners,
            cgroups,
            cpu: settings.cpu,
            accelerator,
            version,
            low_ports: low_ports
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(1024),
        })
    }

    /// Returns what runs the guests' code here.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Returns the emulator's version, `7.2.22`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Says whether this host has what a machine needs, before anything is made.
    pub fn check(&self, spec: &Spec) -> Result<(), VmError> {
        spec.check()?;
        self.firmware(spec.firmware)?;
        if spec.has_tpm && self.programs.swtpm.is_none() {
            return Err(VmError::Missing {
                what: "swtpm",
                package: "swtpm",
            });
        }
        if self.is_unprivileged() && spec.nics.iter().any(|nic| !nic.is_restricted) {
            // User-mode networking leads to this host's loopback too, where this process's own user
            // may be trusted.
            return Err(VmError::Invalid(
                "guests may reach networks only when they run as another user than the server: \
                 run it as root, or let guests reach nothing"
                    .to_owned(),
            ));
        }
        if self.is_unprivileged() && spec.needs_low_ports(self.low_ports) {
            return Err(VmError::Invalid(format!(
                "ports below {} can be forwarded by root alone: run as root, or lower {LOW_PORTS}",
                self.low_ports
            )));
        }
        Ok(())
    }

    pub(crate) fn firmware(&self, firmware: Firmware) -> Result<Option<FirmwareFiles>, VmError> {
        firmware::find(firmware)
    }

    /// Names the directory of a machine on this host; nothing is made.
    pub fn directory(&self, path: &Path) -> Directory {
        self.runners.directory(path)
    }

    /// Makes the directory of a machine unless it is there, and decides whom its emulator runs as.
    pub fn claim(&self, path: &Path) -> std::io::Result<Directory> {
        self.runners.claim(path)
    }

    /// Whether guests run as this process's own user.
    fn is_unprivileged(&self) -> bool {
        matches!(self.runners, Runners::Ourselves)
    }
}

/// Asks the emulator for its version.
#[expect(
    clippy::disallowed_methods,
    reason = "home of the emulator's processes"
)]
async fn version(programs: &Programs) -> Result<String, VmError> {
    let asked = tokio::process::Command::new(&programs.qemu)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = tokio::time::timeout(VERSION, asked)
        .await
        .map_err(|_| VmError::Slow {
            what: "the emulator's saying its version",
            seconds: VERSION.as_secs(),
        })?
        .map_err(VmError::io("running the emulator"))?;
    let text = String::from_utf8_lossy(&said.stdout);
    Ok(version_in(&text).unwrap_or("of unknown version").to_owned())
}

fn version_in(text: &str) -> Option<&str> {
    let (_, behind) = text.split_once("version ")?;
    behind.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_is_read_whoever_built_it() {
        for (text, version) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright",
                Some("7.2.22"),
            ),
            ("QEMU emulator version 10.1.0\n", Some("10.1.0")),
            ("", None),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }
}
