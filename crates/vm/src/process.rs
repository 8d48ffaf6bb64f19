//! Processes that may be somebody else's children: found again by pid and start time, signalled
//! through a descriptor that cannot come to mean another process.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process of this host, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub pid: u32,
    /// When it started, in clock ticks since the host did.
    started: u64,
    /// Which start of the host that was.
    boot: String,
}

impl Identity {
    /// Returns who `pid` is now; none when it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self {
            pid,
            started: started(&stat)?,
            boot: boot.trim().to_owned(),
        })
    }

    /// Opens the process; none when it has ended, also when its number means another one now.
    pub(crate) fn open(&self) -> Option<Process> {
        let number = i32::try_from(self.pid).ok()?;
        let descriptor = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
        // After opening: from here on the descriptor means the process that was looked at.
        (Self::of(self.pid)?.eq(self)).then(|| Process {
            pid: self.pid,
            descriptor,
        })
    }
}

/// Reads the start time of a process that has not ended from its line of `/proc`.
fn started(stat: &str) -> Option<u64> {
    // The name stands in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// An open process.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// Kills it; one that has ended already is fine.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Waits until it has ended, whosever child it is.
    #[expect(
        deprecated,
        reason = "unsound for types that lie about their descriptor, which OwnedFd does not; the successor is an unsafe function"
    )]
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let descriptor = self.descriptor.try_clone()?;
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        descriptor.readable().await?.retain_ready();
        Ok(())
    }
}

/// Returns the processes whose working directory is `dir`: a machine's, whoever started them.
pub(crate) fn in_directory(dir: &Path) -> Vec<Identity> {
    let Ok(dir) = dir.canonicalize() else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir)
        })
        .filter_map(Identity::of)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Identity, started};

    #[test]
    fn the_start_is_read_behind_any_name() {
        let line = |name: &str, state: &str| {
            format!("7 ({name}) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 98")
        };
        for (name, state, read) in [
            ("qemu", "S", Some(4711)),
            (") R 1 2 (", "R", Some(4711)),
            ("qemu", "Z", None),
            ("qemu", "X", None),
        ] {
            assert_eq!(started(&line(name, state)), read, "{name} {state}");
        }
        assert_eq!(started("7 (qemu) S 1"), None);
    }

    #[test]
    fn a_number_that_means_another_process_now_is_not_opened() {
        let me = Identity::of(std::process::id()).expect("this process runs");
        assert!(me.open().is_some());
        for other in [
            Identity {
                started: me.started - 1,
                ..me.clone()
            },
            Identity {
                boot: "another".to_owned(),
                ..me.clone()
            },
            Identity {
                pid: u32::MAX,
                ..me.clone()
            },
        ] {
            assert!(other.open().is_none(), "{other:?}");
        }
    }
}
