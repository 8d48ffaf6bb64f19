//! The tiny machine with QEMU's guest agent in it: agent and libraries out of Debian's packages, unpacked and never installed.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::{stamp, tiny};

const SCRIPT: &str = "tests/tiny/make-agent.sh";
/// The agent and what it links to.
const PACKAGES: [&str; 7] = [
    "qemu-guest-agent",
    "libc6",
    "libglib2.0-0",
    "libnuma1",
    "libpcre2-8-0",
    "libudev1",
    "liburing2",
];
/// A port for the agent to open; nobody is at its other end.
const PORT: [&str; 6] = [
    "-chardev",
    "null,id=agent",
    "-device",
    "virtio-serial-pci,id=agent-bus",
    "-device",
    "virtserialport,bus=agent-bus.0,chardev=agent,name=org.qemu.guest_agent.0",
];

/// Builds the guest out of the tiny one unless it is there; returns its directory.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let tiny = tiny::ensure(home)?;
    let dir = home.join("agent");
    let stamp = stamp::of(&[&[SCRIPT], tiny::INPUTS.as_slice()].concat())?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("guest with an agent: all there");
        return Ok(dir);
    }
    eprintln!("guest with an agent: building with {SCRIPT}");
    let unpacked = tiny::unpack(&dir, &PACKAGES)?;
    tiny::build(SCRIPT, &[&dir, &unpacked, &tiny])?;
    std::fs::remove_dir_all(&unpacked)?;
    let console = tiny::boot_machine(&dir, &PORT)?;
    ensure!(
        console.contains("TINY-AGENT") && !console.contains("qemu-ga:"),
        "the agent does not start: {console}"
    );
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}
