//! The programs in front of an emulator: what it must not do even when its guest has taken it over.
//!
//! Session of its own, limits, another user, no new privileges, then QEMU with its own system call
//! filter. All of it with the system's small programs (`coreutils`, `util-linux`), so that this
//! process never runs code between fork and exec.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::VmError;

/// Largest file an emulator may write. A write beyond it fails; nothing is killed.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;
/// Open files of an emulator: sockets of its disks and of its user-mode network.
const FILES_MAX: u32 = 4096;
/// Address space beyond the guest's memory: code, translated code, stacks, buffers.
const OVERHEAD_MIB: u64 = 6 << 10;

/// An unprivileged user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl User {
    /// Returns the first of `names` that this host has; root is never returned.
    pub fn find(names: &[&str]) -> Option<Self> {
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        names.iter().find_map(|name| Self::in_passwd(&passwd, name))
    }

    fn in_passwd(passwd: &str, name: &str) -> Option<Self> {
        let mut fields = passwd
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Self { uid, gid })
    }
}

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// `swtpm`, where it is installed.
    pub swtpm: Option<PathBuf>,
    /// `env` of coreutils.
    pub env: PathBuf,
    /// `setsid` of util-linux.
    pub setsid: PathBuf,
    /// `prlimit` of util-linux.
    pub prlimit: PathBuf,
    /// `setpriv` of util-linux.
    pub setpriv: PathBuf,
}

impl Programs {
    /// Finds them in `PATH` and where Debian keeps them.
    pub fn find() -> Result<Self, VmError> {
        let required = |what, package| program(what).ok_or(VmError::Missing { what, package });
        Ok(Self {
            qemu: required("qemu-system-x86_64", "qemu-system-x86")?,
            swtpm: program("swtpm"),
            env: required("env", "coreutils")?,
            setsid: required("setsid", "util-linux")?,
            prlimit: required("prlimit", "util-linux")?,
            setpriv: required("setpriv", "util-linux")?,
        })
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

/// What an emulator gets beyond nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Whom to become; nobody else when this process has no privileges to begin with.
    pub user: Option<User>,
    /// The guest's memory.
    pub memory_mib: u32,
    /// Whether it listens on ports that belong to root.
    pub has_low_ports: bool,
    /// Whether it uses KVM.
    pub has_kvm: bool,
}

/// Returns the group that may use KVM, where it is a group of its own.
fn kvm_group() -> Option<u32> {
    let device = std::fs::metadata("/dev/kvm").ok()?;
    (device.mode() & 0o060 == 0o060 && device.gid() != 0).then_some(device.gid())
}

/// Returns the whole command: the programs in front, then `program` with its arguments.
pub(crate) fn wrap(
    programs: &Programs,
    allowance: Allowance,
    program: &Path,
    arguments: &[String],
) -> Vec<OsString> {
    let address_space = (u64::from(allowance.memory_mib) + OVERHEAD_MIB) << 20;
    let mut words: Vec<OsString> = vec![
        programs.setsid.clone().into(),
        programs.env.clone().into(),
        // A write beyond the limit of files is an error, not the end.
        "--ignore-signal=XFSZ".into(),
        programs.prlimit.clone().into(),
        "--core=0".into(),
        format!("--fsize={FILE_BYTES_MAX}").into(),
        format!("--nofile={FILES_MAX}").into(),
        format!("--as={address_space}").into(),
        programs.setpriv.clone().into(),
    ];
    if let Some(user) = allowance.user {
        let capabilities = if allowance.has_low_ports {
            "-all,+net_bind_service"
        } else {
            "-all"
        };
        words.extend([
            format!("--reuid={}", user.uid).into(),
            format!("--regid={}", user.gid).into(),
            match kvm_group().filter(|_| allowance.has_kvm) {
                Some(group) => format!("--groups={group}").into(),
                None => "--clear-groups".into(),
            },
            format!("--bounding-set={capabilities}").into(),
            format!("--inh-caps={capabilities}").into(),
            format!("--ambient-caps={capabilities}").into(),
        ]);
    }
    words.extend(["--no-new-privs".into(), program.into()]);
    words.extend(arguments.iter().map(OsString::from));
    words
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn a_user_is_found_by_name_and_never_root() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\nodd:x::\n";
        let nobody = User {
            uid: 65534,
            gid: 65533,
        };
        for (name, found) in [
            ("nobody", Some(nobody)),
            ("root", None),
            ("odd", None),
            ("x", None),
        ] {
            assert_eq!(User::in_passwd(passwd, name), found, "{name}");
        }
    }
}
