//! A machine's directory: what the server writes, and what the emulator may write.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::accelerator::Accelerator;
use crate::error::VmError;
use crate::machine::End;
use crate::process::Identity;
use crate::sandbox::User;
use crate::spec::Spec;

const RECORD: &str = "machine.json";
pub(crate) const RUN: &str = "run";

/// What is known about a machine beyond its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub spec: Spec,
    pub accelerator: Accelerator,
    /// None between the first write and the start.
    pub emulator: Option<Identity>,
    /// How it ended, once somebody has seen it.
    pub end: Option<End>,
    /// Its control group, where machines have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
}

/// The directory of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
    /// Who owns `run`; nobody else when this process has no privileges.
    user: Option<User>,
}

/// A directory under a name short enough for the address of a socket.
///
/// Such an address has at most 108 bytes, a data directory may have more.
#[derive(Debug)]
pub struct Reach(OwnedFd);

impl Reach {
    /// Opens a directory; it must not be a link.
    fn to(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(open(dir, flags, Mode::empty())?))
    }

    /// Returns the path of something in it, for this process and as long as this value lives.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

impl Directory {
    /// Names a machine's directory; nothing is made or read.
    pub(crate) fn new(path: &Path, user: Option<User>) -> Self {
        Self {
            path: path.to_owned(),
            user,
        }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whom the emulator runs as; none when that is this process's own user.
    pub(crate) fn user(&self) -> Option<User> {
        self.user
    }

    /// Returns the emulator's working directory.
    pub fn run(&self) -> PathBuf {
        self.path.join(RUN)
    }

    /// Makes it, and what is above, unless it is there.
    pub fn ensure(&self) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        self.ensure_owned_dir(RUN)
    }

    /// Makes a directory that is the emulator's, `name` relative to this one.
    pub(crate) fn ensure_owned_dir(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !path.symlink_metadata()?.is_dir() {
                    return Err(error);
                }
            }
            made => made?,
        }
        self.own(&path)
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        match self.user {
            Some(user) => lchown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    /// Puts a file into `run` in place of one that may be there.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.run().join(name);
        remove(&path)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        self.own(&path)
    }

    /// Opens a file of `run` that the emulator may have put there: no link is followed.
    pub(crate) fn open_untrusted(&self, name: &str, is_written: bool) -> io::Result<std::fs::File> {
        let run = open(
            self.run(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let access = if is_written {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        // Not blocking: a pipe must not hold whoever opens it.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = std::fs::File::from(openat(&run, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "this is no file",
            ));
        }
        Ok(file)
    }

    /// Returns at most the last `bytes_max` bytes of a file of `run`; none when there is none.
    pub(crate) fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut file = match self.open_untrusted(name, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Opens the emulator's working directory under a name short enough for sockets.
    pub fn reach(&self) -> io::Result<Reach> {
        Reach::to(&self.run())
    }

    /// Gives a file or socket of `run` to the emulator's user: now it can be opened.
    pub fn give(&self, name: &str) -> io::Result<()> {
        self.own(&self.run().join(name))
    }

    /// Connects to a socket in `run`, and refuses what another process than `pid` listens on.
    pub(crate) async fn connect(
        &self,
        name: &'static str,
        pid: u32,
    ) -> Result<UnixStream, VmError> {
        let failed = |source| VmError::Io {
            what: "connecting to the emulator",
            source,
        };
        let reach = self.reach().map_err(failed)?;
        let stream = UnixStream::connect(reach.path(name))
            .await
            .map_err(failed)?;
        let peer = stream.peer_cred().map_err(failed)?;
        if peer.pid().and_then(|pid| u32::try_from(pid).ok()) != Some(pid) {
            return Err(VmError::Stranger { what: name });
        }
        Ok(stream)
    }

    /// Reads what is known; none when there is no machine here.
    pub(crate) fn read_record(&self) -> io::Result<Option<Record>> {
        match std::fs::read(self.path.join(RECORD)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        }
    }

    /// Replaces what is known, durably and at once.
    pub(crate) fn write_record(&self, record: &Record) -> io::Result<()> {
        let next = self.path.join("machine.json.next");
        let mut file = std::fs::File::create(&next)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        std::fs::rename(&next, self.path.join(RECORD))
    }

    /// Removes everything, with the machine's firmware variables and TPM.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Removes a file or link that may not be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::UnixListener;

    use super::Directory;

    #[test]
    fn what_an_emulator_puts_in_place_of_its_log_is_not_followed() {
        let home = tempfile::tempdir().expect("a directory");
        let secret = home.path().join("secret");
        std::fs::write(&secret, "secret").expect("written");
        let directory = Directory::new(&home.path().join("vm"), None);
        directory.ensure().expect("made");

        symlink(&secret, directory.run().join("serial.log")).expect("linked");
        assert!(directory.tail("serial.log", 10).is_err());
        std::fs::create_dir(directory.run().join("qemu.log")).expect("made");
        assert!(directory.tail("qemu.log", 10).is_err());
        directory.put("serial.log", b"0123456789").expect("put");
        assert_eq!(std::fs::read(&secret).expect("there"), b"secret");
        assert_eq!(directory.tail("serial.log", 4).expect("read"), b"6789");
        assert_eq!(directory.tail("none.log", 4).expect("read"), b"");

        symlink(home.path(), directory.path().join("tpm")).expect("linked");
        assert!(directory.ensure_owned_dir("tpm").is_err());
    }

    #[tokio::test]
    async fn a_socket_is_reached_whatever_the_length_of_its_path() {
        let home = tempfile::tempdir().expect("a directory");
        let long = home.path().join("d".repeat(200)).join("vm");
        let directory = Directory::new(&long, None);
        directory.ensure().expect("made");
        let reach = directory.reach().expect("open");
        let listener = UnixListener::bind(reach.path("nbd.sock")).expect("listening");
        directory.give("nbd.sock").expect("given");
        let me = std::process::id();
        directory.connect("nbd.sock", me).await.expect("connected");
        listener.accept().await.expect("accepted");
        let refused = directory.connect("nbd.sock", me + 1).await;
        assert!(refused.is_err(), "another process listens");
    }
}
