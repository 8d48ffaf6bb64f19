//! A PostgreSQL of our own for one run.
//!
//! The cluster is made anew, listens on 127.0.0.1 only, asks for a random password, and keeps
//! nothing (`fsync = off`). A small shell stands over the server and waits for the end of its
//! standard input, which only this process holds open: however the run ends – done, failed,
//! interrupted, killed – the pipe closes, and the shell stops that server by its id.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::command::{capture, is_root, program};

/// The user of Debian's package: the server does not run as root.
const UNPRIVILEGED: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(50);
/// Names must come out in byte order whatever the cluster's collation: this one sorts as people do.
const INITDB: [&str; 7] = [
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=icu",
    "--icu-locale=en-US",
    "--auth=scram-sha-256",
    "--username=vitrine",
    "--no-sync",
];
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=400",
    "shared_buffers=64MB",
    "logging_collector=off",
];
/// Starts the server (`$@`), waits until nobody holds standard input open, stops it.
pub const KEEPER: &str =
    r#"trap "" INT HUP; "$@" & server=$!; cat >/dev/null; kill -INT $server; wait $server"#;

/// A server that stops when this is dropped.
pub struct Server {
    keeper: Child,
    dir: PathBuf,
    url: String,
}

/// Returns where the programs of the newest server lie.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let bin = path.join("bin");
            (version >= 15 && bin.join("initdb").is_file()).then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
}

impl Server {
    /// Makes a cluster below `home` and starts it.
    pub fn start(home: &Path) -> anyhow::Result<Self> {
        let bin = programs().context("PostgreSQL 15 or newer is not installed")?;
        let dir = cluster_dir(home)?;
        let started = Self::start_in(&bin, &dir);
        if started.is_err() {
            remove(&dir);
        }
        started
    }

    fn start_in(bin: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (data, secret, log) = (dir.join("data"), dir.join("secret"), dir.join("log"));
        let password = password()?;
        let mut file = std::fs::File::create(&secret)?;
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        file.write_all(password.as_bytes())?;
        own(&[dir, &secret])?;
        capture(
            unprivileged(bin.join("initdb"))
                .args(INITDB)
                .arg("--pwfile")
                .arg(&secret)
                .arg("-D")
                .arg(&data),
        )?;
        let port = free_port()?;
        let output = std::fs::File::create(&log)?;
        let mut keeper = unprivileged("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(bin.join("postgres"));
        keeper.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for setting in SETTINGS {
            keeper.args(["-c", setting]);
        }
        let keeper = keeper
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start PostgreSQL")?;
        let mut server = Self {
            keeper,
            dir: dir.to_owned(),
            url: format!("postgres://vitrine:{password}@127.0.0.1:{port}/postgres"),
        };
        server.wait_until_ready(bin, port, &log)?;
        Ok(server)
    }

    /// Returns where it listens, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn wait_until_ready(&mut self, bin: &Path, port: u16, log: &Path) -> anyhow::Result<()> {
        let limit = Instant::now() + START_LIMIT;
        let port = port.to_string();
        while Instant::now() < limit {
            let mut ask = program(bin.join("pg_isready"));
            if capture(ask.args(["-q", "-h", "127.0.0.1", "-p", &port])).is_ok() {
                return Ok(());
            }
            std::thread::sleep(START_POLL);
        }
        let log = std::fs::read_to_string(log).unwrap_or_default();
        bail!("PostgreSQL does not answer after {START_LIMIT:?}: {log}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing to do about a keeper that cannot be waited for: it ends by itself.
        let _ = self.keeper.wait();
        remove(&self.dir);
    }
}

/// Returns a fresh directory that the server's user can reach, named after this process.
fn cluster_dir(home: &Path) -> anyhow::Result<PathBuf> {
    let base = home.join("postgres");
    std::fs::create_dir_all(&base)?;
    for entry in std::fs::read_dir(&base)? {
        let old = entry?;
        if !Path::new("/proc").join(old.file_name()).exists() {
            remove(&old.path());
        }
    }
    let name = std::process::id().to_string();
    let is_reachable = capture(unprivileged("test").arg("-x").arg(&base)).is_ok();
    let dir = if is_reachable {
        base.join(name)
    } else {
        std::env::temp_dir().join(format!("vitrine-postgres-{name}"))
    };
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
    Ok(dir)
}

fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir)
        && dir.exists()
    {
        eprintln!("cannot remove {}: {error}", dir.display());
    }
}

/// Returns a command that does not run as root.
fn unprivileged(name: impl AsRef<std::ffi::OsStr>) -> Command {
    if is_root() {
        let mut command = program("runuser");
        command.args(["-u", UNPRIVILEGED, "--"]).arg(name);
        command
    } else {
        program(name)
    }
}

/// Gives files to the server's user.
fn own(paths: &[&Path]) -> anyhow::Result<()> {
    if is_root() {
        capture(program("chown").arg(UNPRIVILEGED).args(paths))?;
    }
    Ok(())
}

/// Returns a port of this machine that nobody listens on.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Returns 128 random bits in hex.
fn password() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.trim().replace('-', ""))
}
