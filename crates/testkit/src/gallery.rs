//! The real server as a child process.

#![expect(
    clippy::disallowed_methods,
    reason = "it starts the real binary and ends it by its id"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::Arm;

/// How a gallery is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `vitrine` binary: `env!("CARGO_BIN_EXE_vitrine")` in an integration test of the binary.
    pub binary: PathBuf,
    /// Regions, short names separated by commas.
    pub regions: String,
    /// Database URL instead of the one in the data directory.
    pub database: Option<String>,
    /// Environment of the server.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// Returns the usual options.
    pub fn new(binary: &str) -> Self {
        Self {
            binary: binary.into(),
            regions: "eastus,westus2,westeurope".to_owned(),
            database: None,
            // Machines are states without guests unless a test asks for guests.
            env: vec![("VITRINE_MACHINES".to_owned(), "simulated".to_owned())],
        }
    }

    /// Sets a variable in the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// A running server and its directory.
pub struct Gallery {
    options: Options,
    directory: TempDir,
    child: Option<Child>,
    endpoint: String,
    listen: String,
}

impl Gallery {
    /// Starts a gallery in a new directory on a free port.
    pub async fn start(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut gallery = Self {
            options,
            directory,
            child: None,
            endpoint: String::new(),
            listen: "127.0.0.1:0".to_owned(),
        };
        gallery.resume().await;
        gallery
    }

    /// Starts the server again on the same directory and port.
    pub async fn resume(&mut self) {
        let mut command = Command::new(&self.options.binary);
        command
            .args([
                "serve",
                "--listen",
                &self.listen,
                "--regions",
                &self.options.regions,
            ])
            .arg("--data")
            .arg(self.data())
            .envs(self.options.env.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.log())
                    .expect("the log can be opened"),
            );
        if let Some(database) = &self.options.database {
            command.args(["--database", database]);
        }
        let mut child = command.spawn().expect("the server can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (line, reader) = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            let read = reader.read_line(&mut line);
            (read.map(|_| line), reader)
        })
        .await
        .expect("the reader ends");
        let line = line.expect("the server's stdout can be read");
        let Some(endpoint) = line.trim().strip_prefix("listening on ") else {
            panic!("the server did not start: {line:?}\n{}", self.log_text());
        };
        // Keep the pipe open: the server may print again.
        std::thread::spawn(move || {
            let mut reader = reader;
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        });
        endpoint.clone_into(&mut self.endpoint);
        let port = endpoint.rsplit(':').next().unwrap_or_default();
        self.listen = format!("127.0.0.1:{port}");
        self.child = Some(child);
    }

    /// Ends the server at once, as a power cut would end its process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server is ours to kill");
            child.wait().expect("the server ends");
        }
    }

    /// Asks the server to stop and waits until it has; returns whether it ended well.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return false;
        };
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).expect("the server is ours to stop");
        child.wait().expect("the server ends").success()
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns `https://localhost:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns a directory for files of the test.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the CA to trust.
    pub fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// Returns a member of `credentials.json`.
    pub fn credential(&self, name: &str) -> String {
        let read = || -> anyhow::Result<String> {
            let text = std::fs::read_to_string(self.data().join("credentials.json"))?;
            let all: Value = serde_json::from_str(&text)?;
            Ok(all[name].as_str().context("no such credential")?.to_owned())
        };
        read().unwrap_or_else(|error| panic!("credentials.json, {name}: {error:#}"))
    }

    /// Returns `/subscriptions/{id}` of the first subscription.
    pub fn subscription(&self) -> String {
        format!("/subscriptions/{}", self.credential("subscriptionId"))
    }

    /// Signs in as the first service principal.
    pub async fn arm(&self) -> Arm {
        Arm::login(self)
            .await
            .unwrap_or_else(|error| panic!("login: {error:#}\n{}", self.log_text()))
    }

    /// Runs a verb of the binary against this gallery.
    pub fn vitrine(&self, args: &[&str]) -> std::process::Output {
        Command::new(&self.options.binary)
            .args(args)
            .env("VITRINE_DATA", self.data())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs")
    }

    /// Returns what the server has logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// Returns the ids of the processes of each machine that has a directory.
    pub fn guests(&self) -> Vec<Vec<u32>> {
        let found = vm::leftovers(&self.data().join("machines"));
        let machines = found.expect("the machines' directory can be listed");
        machines
            .into_iter()
            .map(|machine| machine.processes)
            .collect()
    }

    /// Kills the guests that outlive their server.
    fn end_guests(&self) {
        let left = vm::leftovers(&self.data().join("machines")).unwrap_or_default();
        let pids = left.iter().flat_map(|machine| &machine.processes);
        for pid in pids.filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // It may have ended in the meantime.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Gallery {
    fn drop(&mut self) {
        self.kill();
        self.end_guests();
        if std::thread::panicking() {
            eprintln!("--- server log ---\n{}", self.log_text());
        }
    }
}
