//! The tiny guest: a kernel, an initrd and a 16 MiB disk that boot to a ready line in a second; and
//! a disk that boots by itself, by BIOS or UEFI, to the same line.
//!
//! Kernel, busybox and GRUB come out of Debian's packages, unpacked and never installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::command::{capture, program, run};
use crate::stamp;

const SCRIPT: &str = "tests/tiny/make-tiny.sh";
const EXTRACT: &str = "tests/tiny/extract_vmlinux.py";
const DISK_SCRIPT: &str = "tests/tiny/make-disk.sh";
const JOIN: &str = "tests/tiny/join_disk.py";
/// Depends on the newest kernel of the release.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";
/// The loader in both shapes, and the program that puts it together.
const GRUB: [&str; 3] = ["grub-pc-bin", "grub-efi-amd64-bin", "grub-common"];

/// Builds the guest unless it is there; returns its directory.
pub fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("tiny");
    let stamp = stamp::of(&[SCRIPT, EXTRACT, DISK_SCRIPT, JOIN])?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("tiny guest: all there");
        return Ok(dir);
    }
    eprintln!("tiny guest: building with {SCRIPT}");
    ensure!(cfg!(target_arch = "x86_64"), "the guest is for x86_64");
    let unpacked = dir.join("unpacked");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&unpacked)?;
    let kernel = kernel_package()?;
    capture(
        program("apt-get")
            .args(["download", "-q", &kernel, BUSYBOX])
            .args(GRUB)
            .current_dir(&dir),
    )?;
    for entry in std::fs::read_dir(&dir)? {
        let package = entry?.path();
        if package.extension().is_some_and(|e| e == "deb") {
            run(program("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
            std::fs::remove_file(&package)?;
        }
    }
    for script in [SCRIPT, DISK_SCRIPT] {
        run(program("sh").arg(script).arg(&dir).arg(&unpacked))?;
    }
    std::fs::remove_dir_all(&unpacked)?;
    boot(&dir)?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}

/// Boots the guest once: what does not come up here would fail every test that uses it.
///
/// Without KVM on purpose: it is not everywhere, and where it is it need not be faster.
fn boot(dir: &Path) -> anyhow::Result<()> {
    const LIMIT: &str = "180";
    let console = capture(
        program("timeout")
            .args([LIMIT, "qemu-system-x86_64", "-accel", "tcg", "-m", "256"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-kernel", "tiny.vmlinux", "-initrd", "tiny.initrd"])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .args(["-drive", "file=tiny.raw,format=raw,if=virtio,readonly=on"])
            .current_dir(dir),
    )?;
    ensure!(
        console.contains("TINY-READY tiny 1.0.0"),
        "the guest does not come up: {console}"
    );
    Ok(())
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
