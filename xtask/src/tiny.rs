//! The tiny guest, twice: a kernel, an initrd and a 16 MiB disk that boot to a ready line in a second,
//! and a 64 MiB disk that a whole machine boots from, by BIOS or UEFI.
//!
//! Kernel and busybox come out of Debian's packages, unpacked and never installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::command::{capture, program, run};
use crate::stamp;

const SCRIPT: &str = "tests/tiny/make-tiny.sh";
const EXTRACT: &str = "tests/tiny/extract_vmlinux.py";
/// What both are made of.
const PARTS: &str = "tests/tiny/parts.sh";
const MACHINE: &str = "tests/tiny/make-machine.sh";
/// Writes the boot code of BIOS machines.
pub const EMBED: &str = "tests/tiny/embed_bios.py";
/// Everything that they are made from.
pub const INPUTS: [&str; 5] = [SCRIPT, EXTRACT, MACHINE, EMBED, PARTS];
/// Depends on the newest kernel of the release.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// Builds the guest unless it is there; returns its directory.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("tiny");
    let stamp = stamp::of(&INPUTS)?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("tiny guest: all there");
        return Ok(dir);
    }
    eprintln!("tiny guest: building with {SCRIPT}");
    ensure!(cfg!(target_arch = "x86_64"), "the guest is for x86_64");
    let unpacked = unpack(&dir, &[BUSYBOX])?;
    for script in [SCRIPT, MACHINE] {
        build(script, &[&dir, &unpacked])?;
    }
    std::fs::remove_dir_all(&unpacked)?;
    boot_kernel(&dir)?;
    boot_machine(&dir, &[])?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}

/// Makes a directory anew and unpacks the kernel and these packages below it; returns where.
pub fn unpack(dir: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let unpacked = dir.join("unpacked");
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(&unpacked)?;
    let kernel = kernel_package()?;
    capture(
        program("apt-get")
            .args(["download", "-q", &kernel])
            .args(packages)
            .current_dir(dir),
    )?;
    for entry in std::fs::read_dir(dir)? {
        let package = entry?.path();
        if package.extension().is_some_and(|e| e == "deb") {
            run(program("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
            std::fs::remove_file(&package)?;
        }
    }
    Ok(unpacked)
}

/// Runs a script that builds a guest.
pub fn build(script: &str, directories: &[&Path]) -> anyhow::Result<()> {
    run(program("sh").arg(script).args(directories))
}

/// Boots the guest once: what does not come up here would fail every test that uses it.
///
/// Without KVM on purpose: it is not everywhere, and where it is it need not be faster.
fn boot_kernel(dir: &Path) -> anyhow::Result<()> {
    boot(
        dir,
        &[
            "-kernel",
            "tiny.vmlinux",
            "-initrd",
            "tiny.initrd",
            "-append",
            "console=ttyS0 quiet panic=-1",
            "-drive",
            "file=tiny.raw,format=raw,if=virtio,readonly=on",
        ],
    )
    .map(drop)
}

/// Boots the whole machine once, with `more` of it, and returns what it says; its disk is not written.
pub fn boot_machine(dir: &Path, more: &[&str]) -> anyhow::Result<String> {
    const DISC: &str = "off.iso";
    // A provisioning disc that ends the machine: nobody presses its power button here.
    let disc = dir.join("disc");
    std::fs::create_dir_all(&disc)?;
    std::fs::write(disc.join("user-data"), "then=poweroff\n")?;
    std::fs::write(disc.join("meta-data"), "local-hostname: tiny\n")?;
    run(program("genisoimage")
        .args(["-quiet", "-V", "cidata", "-J", "-r", "-o", DISC, "disc"])
        .current_dir(dir))?;
    let disks = [
        "-drive",
        "file=machine.raw,format=raw,if=virtio,snapshot=on",
        "-drive",
        "file=off.iso,format=raw,if=virtio,readonly=on",
    ];
    let booted = boot(dir, &[&disks, more].concat());
    std::fs::remove_dir_all(&disc)?;
    std::fs::remove_file(dir.join(DISC))?;
    booted
}

fn boot(dir: &Path, machine: &[&str]) -> anyhow::Result<String> {
    const LIMIT: &str = "180";
    let console = capture(
        program("timeout")
            .args([LIMIT, "qemu-system-x86_64", "-accel", "tcg", "-m", "256"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .args(machine)
            .current_dir(dir),
    )?;
    ensure!(
        console.contains("TINY-READY tiny 1.0.0"),
        "the guest does not come up: {console}"
    );
    Ok(console)
}

/// Returns the package that holds the kernel itself.
fn kernel_package() -> anyhow::Result<String> {
    let depends = || capture(program("apt-cache").args(["depends", KERNEL]));
    let name = |text: String| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|package| package.starts_with("linux-image-"))
            .map(str::to_owned)
    };
    name(depends()?).with_context(|| format!("apt knows no kernel of {KERNEL}: run apt-get update"))
}
