//! Debian packages: what is missing is installed, what is there is left alone.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::command::{capture, find, is_root, program};
use crate::group::{Gap, Group};

/// How long apt waits for another apt.
const LOCK_WAIT: &str = "DPkg::Lock::Timeout=300";
/// The oldest Node that the SDK runs on.
const NODE_MAJOR_MIN: u32 = 18;

/// What a group of tests needs from Debian.
struct Need {
    packages: &'static [&'static str],
    group: Group,
    is_there: fn() -> bool,
}

/// Which package is needed for which tests. What `tiny` only unpacks is not here.
const NEEDS: &[Need] = &[
    Need {
        packages: &["qemu-utils"],
        group: Group::DiskTools,
        is_there: || has(&["qemu-img", "qemu-nbd", "qemu-io"]),
    },
    Need {
        packages: &["libnbd-bin"],
        group: Group::DiskTools,
        is_there: || has(&["nbdinfo", "nbdcopy"]),
    },
    Need {
        packages: &["libnbd-dev"],
        group: Group::Fuzzer,
        is_there: || Path::new("/usr/include/libnbd.h").exists(),
    },
    Need {
        packages: &["gcc", "libc6-dev"],
        group: Group::Fuzzer,
        is_there: || has(&["cc"]),
    },
    Need {
        packages: &["qemu-system-x86"],
        group: Group::Guest,
        is_there: || has(&["qemu-system-x86_64"]),
    },
    Need {
        packages: &["cpio"],
        group: Group::Guest,
        is_there: || has(&["cpio"]),
    },
    Need {
        packages: &["e2fsprogs"],
        group: Group::Guest,
        is_there: || has(&["mke2fs"]),
    },
    Need {
        packages: &["lz4", "xz-utils", "zstd", "python3-minimal"],
        group: Group::Guest,
        is_there: || has(&["lz4", "xz", "zstd", "python3"]),
    },
    Need {
        packages: &["grub-common", "grub-pc-bin", "grub-efi-amd64-bin"],
        group: Group::Guest,
        is_there: || {
            let parts = ["i386-pc/boot.img", "x86_64-efi/linux.mod"];
            let grub = Path::new("/usr/lib/grub");
            has(&["grub-mkimage"]) && parts.iter().all(|part| grub.join(part).exists())
        },
    },
    Need {
        packages: &["fdisk", "mtools"],
        group: Group::Guest,
        is_there: || has(&["sfdisk", "mformat"]),
    },
    Need {
        packages: &["genisoimage"],
        group: Group::Guest,
        is_there: || has(&["genisoimage"]),
    },
    Need {
        packages: &["ovmf", "swtpm"],
        group: Group::Guest,
        is_there: || has(&["swtpm"]) && Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd").exists(),
    },
    Need {
        packages: &["mmdebstrap"],
        group: Group::Debian,
        is_there: || has(&["mmdebstrap"]),
    },
    Need {
        packages: &["openssh-client"],
        group: Group::Debian,
        is_there: || has(&["ssh", "ssh-keygen"]),
    },
    Need {
        packages: &["packer"],
        group: Group::Packer,
        is_there: || has(&["packer"]),
    },
    Need {
        packages: &["python3", "python3-venv"],
        group: Group::Python,
        is_there: || crate::python::interpreter().is_some(),
    },
    Need {
        packages: &["nodejs", "npm"],
        group: Group::Node,
        is_there: || has(&["npm"]) && node_major() >= Some(NODE_MAJOR_MIN),
    },
    Need {
        packages: &["nodejs", "npm", "python3", "python3-venv"],
        group: Group::Objects,
        is_there: || has(&["npm"]) && crate::python::interpreter().is_some(),
    },
    Need {
        packages: &["postgresql"],
        group: Group::Postgres,
        is_there: || crate::postgres::programs().is_some(),
    },
];

/// Installs what is missing; returns what could not be.
pub fn install() -> Vec<Gap> {
    let missing = || NEEDS.iter().filter(|need| !(need.is_there)());
    let packages: Vec<&str> = missing().flat_map(|need| need.packages).copied().collect();
    if packages.is_empty() {
        eprintln!("Debian packages: all there");
        return Vec::new();
    }
    eprintln!("Debian packages: installing {}", packages.join(" "));
    let whole = update().and_then(|()| apt_install(&packages));
    if whole.is_ok() {
        return missing()
            .map(|need| gap(need, "installed, and yet not usable".to_owned()))
            .collect();
    }
    // One that cannot be had must not take the others with it.
    missing()
        .filter_map(|need| {
            apt_install(need.packages)
                .err()
                .map(|error| gap(need, format!("{error:#}")))
        })
        .collect()
}

fn gap(need: &Need, why: String) -> Gap {
    Gap {
        what: need.packages.join(" "),
        why,
        group: need.group,
    }
}

/// Whether `apt-get` may be run at all.
fn apt(arguments: &[&str]) -> anyhow::Result<String> {
    if find("apt-get").is_none() {
        bail!("this is no Debian: install it by hand");
    }
    let mut command = if is_root() {
        program("env")
    } else if find("sudo").is_some() {
        let mut sudo = program("sudo");
        sudo.args(["-n", "env"]);
        sudo
    } else {
        bail!("neither root nor sudo: install it by hand");
    };
    capture(
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", LOCK_WAIT])
            .args(arguments),
    )
}

fn update() -> anyhow::Result<()> {
    apt(&["update", "-qq"]).map(drop)
}

fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    // Nothing that is there may go: what then cannot be had is a gap.
    const INSTALL: [&str; 4] = ["install", "-y", "--no-install-recommends", "--no-remove"];
    let plain: Vec<&str> = INSTALL.iter().chain(packages).copied().collect();
    let Err(error) = apt(&plain) else {
        return Ok(());
    };
    if !packages.contains(&"qemu-system-x86") {
        return Err(error);
    }
    // The emulator refuses to stand beside tools of another release (backports): make them one.
    let version = candidate("qemu-system-x86")?;
    let pins: Vec<String> = packages
        .iter()
        .filter(|package| !package.starts_with("qemu-"))
        .map(|package| (*package).to_owned())
        .chain(["qemu-utils", "qemu-system-x86"].map(|package| format!("{package}={version}")))
        .collect();
    eprintln!("Debian packages: bringing qemu-utils and qemu-system-x86 to {version}");
    let pinned: Vec<&str> = INSTALL
        .iter()
        .copied()
        .chain(["--allow-downgrades"])
        .chain(pins.iter().map(String::as_str))
        .collect();
    apt(&pinned).map(drop)
}

/// Returns the version that apt would install.
fn candidate(package: &str) -> anyhow::Result<String> {
    let policy = capture(program("apt-cache").args(["policy", package]))?;
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no {package}"))
}

fn has(programs: &[&str]) -> bool {
    programs.iter().all(|name| find(name).is_some())
}

/// Returns the major version of `node`.
fn node_major() -> Option<u32> {
    let text = capture(program("node").arg("--version")).ok()?;
    text.trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::NEEDS;
    use crate::group::Group;

    #[test]
    fn every_group_of_tests_has_its_packages() {
        for group in Group::ALL {
            assert!(NEEDS.iter().any(|need| need.group == group), "{group:?}");
        }
    }
}
