//! Object stores of our own for one run: an S3 server (moto) and an Azure Blob server (Azurite).
//!
//! Both listen on 127.0.0.1, keep everything in memory, and end with this process, however it ends:
//! see `postgres`.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::command::{capture, program, run};
use crate::postgres::{KEEPER, free_port};
use crate::{python, stamp};

const FILES: [&str; 4] = [
    "clients/objects/requirements.txt",
    "clients/objects/constraints.txt",
    "clients/objects/package.json",
    "clients/objects/package-lock.json",
];
const MAKE: &str = "clients/objects/make.py";
const AZURITE: &str = "node_modules/azurite/dist/src/blob/main.js";
/// The account and key that every emulator of Azure Storage has: they are no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const START_LIMIT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(50);

/// Servers that stop when this is dropped.
pub struct Servers {
    s3: Server,
    azure: Server,
}

struct Server {
    keeper: Child,
    port: u16,
}

impl Servers {
    /// Installs what is not there and starts both, each with an empty container.
    pub fn start(home: &Path) -> anyhow::Result<Self> {
        let dir = ensure(home)?;
        let python = dir.join("python/bin/python");
        let s3 = Server::start(&dir.join("s3.log"), |port| {
            let mut moto = program(dir.join("python/bin/moto_server"));
            moto.args(["-H", "127.0.0.1", "-p", port]);
            moto
        })?;
        make(&python, &["s3", &s3.port.to_string()])?;
        let azure = Server::start(&dir.join("azure.log"), |port| {
            let mut azurite = program("node");
            azurite.arg(dir.join(AZURITE)).args([
                "--inMemoryPersistence",
                "--disableTelemetry",
                "--skipApiVersionCheck",
                "--silent",
                "--blobHost",
                "127.0.0.1",
                "--blobPort",
                port,
            ]);
            azurite
        })?;
        make(&python, &["azure", &azure.port.to_string(), ACCOUNT, KEY])?;
        Ok(Self { s3, azure })
    }

    /// Returns the S3 server: a URL, then options of the `object_store` crate, in words.
    pub fn s3(&self) -> String {
        format!(
            "s3://vitrine aws_endpoint=http://127.0.0.1:{} aws_allow_http=true aws_region=us-east-1 \
             aws_access_key_id=test aws_secret_access_key=test",
            self.s3.port
        )
    }

    /// Returns the Azure Blob server in the same way.
    pub fn azure(&self) -> String {
        format!(
            "az://vitrine azure_storage_endpoint=http://127.0.0.1:{}/{ACCOUNT} azure_allow_http=true \
             azure_storage_account_name={ACCOUNT} azure_storage_account_key={KEY}",
            self.azure.port
        )
    }
}

impl Server {
    fn start(log: &Path, command: impl FnOnce(&str) -> Command) -> anyhow::Result<Self> {
        let port = free_port()?;
        let server = command(&port.to_string());
        let output = std::fs::File::create(log)?;
        let mut keeper = program("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(server.get_program())
            .args(server.get_args());
        let keeper = keeper
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start an object store")?;
        let server = Self { keeper, port };
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() >= limit {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("an object store does not answer after {START_LIMIT:?}: {log}");
            }
            std::thread::sleep(START_POLL);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing to do about a keeper that cannot be waited for: it ends by itself.
        let _ = self.keeper.wait();
    }
}

/// Makes the container in a server.
fn make(python: &Path, args: &[&str]) -> anyhow::Result<()> {
    capture(program(python).arg(MAKE).args(args)).map(drop)
}

/// Installs both servers unless they are there; returns their directory.
fn ensure(home: &Path) -> anyhow::Result<PathBuf> {
    let dir = home.join("objects");
    let stamp = stamp::of(&FILES)?;
    if stamp::is_at(&dir, &stamp) {
        eprintln!("object stores: all there");
        return Ok(dir);
    }
    eprintln!("object stores: installing clients/objects");
    std::fs::create_dir_all(&dir)?;
    for file in &FILES[2..] {
        let name = Path::new(file).file_name().unwrap_or_default();
        std::fs::copy(file, dir.join(name))?;
    }
    let quiet = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    run(program("npm").arg("ci").args(quiet).current_dir(&dir))?;
    let interpreter = python::interpreter().context("there is no Python 3.10 with venv")?;
    let environment = dir.join("python");
    run(program(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    run(program(environment.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .args(["-r", FILES[0], "-c", FILES[1]]))?;
    stamp::put(&dir, &stamp)?;
    Ok(dir)
}
