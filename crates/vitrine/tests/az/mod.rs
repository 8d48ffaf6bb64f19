//! Runs the real Azure CLI with a configuration directory of its own.

#![expect(clippy::disallowed_methods, reason = "runs the real client")]
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "not every binary leaves something unused"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::{Gallery, Options};

/// The Azure CLI, signed in to a gallery.
pub struct Az<'a> {
    server: &'a Gallery,
    config: PathBuf,
    env: Vec<(String, String)>,
}

impl<'a> Az<'a> {
    /// Pastes the lines that `vitrine env az` prints into a shell.
    pub fn connect(server: &'a Gallery) -> Self {
        let az = Self::new(server, "az");
        let printed = server.vitrine(&["env", "az"]);
        assert!(printed.status.success(), "{printed:?}");
        az.shell(&String::from_utf8_lossy(&printed.stdout));
        az
    }

    /// Returns a CLI of its own that may sign in as this machine's managed identity.
    pub fn with_identity(&self) -> Self {
        let mut az = Self::new(self.server, "az-identity");
        let endpoint = self.server.endpoint();
        let secret = self.server.credential("identitySecret");
        az.env.push((
            "IDENTITY_ENDPOINT".to_owned(),
            format!("{endpoint}/msi/token"),
        ));
        az.env.push(("IDENTITY_HEADER".to_owned(), secret));
        az.shell(&format!("az cloud register -n Vitrine --endpoint-resource-manager {endpoint}\naz cloud set -n Vitrine"));
        az
    }

    /// Returns a CLI of its own, signed in as a service principal of a tenant.
    pub fn as_program(&self, client_id: &str, secret: &str, tenant: &str) -> Self {
        let az = Self::new(self.server, client_id);
        let endpoint = self.server.endpoint();
        az.shell(&format!("az cloud register -n Vitrine --endpoint-resource-manager {endpoint}\naz cloud set -n Vitrine"));
        let login = ["login", "--service-principal", "--allow-no-subscriptions"];
        let who = ["-u", client_id, "-p", secret, "-t", tenant];
        az.json(&[&login[..], &who].concat());
        az
    }

    fn new(server: &'a Gallery, name: &str) -> Self {
        let config = server.scratch().join(name);
        let env = [
            ("AZURE_CONFIG_DIR", text(&config)),
            ("AZURE_CORE_INSTANCE_DISCOVERY", "false".to_owned()),
            ("AZURE_CORE_COLLECT_TELEMETRY", "no".to_owned()),
            ("AZURE_CORE_ONLY_SHOW_ERRORS", "1".to_owned()),
            ("AZURE_CORE_NO_COLOR", "1".to_owned()),
            ("REQUESTS_CA_BUNDLE", text(&server.ca())),
            ("HOME", text(&config)),
        ];
        let env = env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            server,
            config,
            env,
        }
    }

    /// Runs az; panics unless it ends well. Returns what it prints, null when that is nothing.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "az {}: {}\n{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr),
            self.server.log_text()
        );
        if printed.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&printed).unwrap_or_else(|_| Value::String(printed.trim().to_owned()))
    }

    /// Runs az; panics if it ends well. Returns what it says on stderr.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            !output.status.success(),
            "az {} ended well: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command
            .args(args)
            .args(["-o", "json"])
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        command.output().expect("az runs")
    }

    /// Runs a line of shell in which `az` is the real one; returns its stdout.
    pub fn shell(&self, line: &str) -> String {
        let az = binary();
        let directory = az.parent().expect("az lies in a directory");
        let path = format!(
            "{}:{}",
            directory.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new("sh");
        command
            .args(["-ec", line])
            .envs(self.env.iter().cloned())
            .env("PATH", path)
            .stdin(Stdio::null());
        let output = command.output().expect("sh runs");
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            self.config.exists(),
            "az keeps its state in {}",
            self.config.display()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Starts a gallery from a test that is not async.
pub fn start(options: Options) -> Gallery {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(Gallery::start(options))
}

fn binary() -> PathBuf {
    path_from("VITRINE_TEST_AZ")
}

/// Returns the directory of the tiny guest: `tiny.vmlinux`, `tiny.initrd`, `tiny.raw`.
pub fn tiny() -> PathBuf {
    path_from("VITRINE_TEST_TINY")
}

fn path_from(variable: &str) -> PathBuf {
    let set = std::env::var_os(variable);
    PathBuf::from(
        set.unwrap_or_else(|| {
            panic!("{variable} is not set: run this test with 'cargo xtask test'")
        }),
    )
}

/// Runs a program that must end well.
pub fn run(program: &str, args: &[&str]) {
    output(program, args);
}

/// Runs a program that must end well; returns its stdout.
pub fn output(program: &str, args: &[&str]) -> String {
    let done = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Returns the SHA-256 of a file.
pub fn sha256(file: &Path) -> String {
    output("sha256sum", &[&text(file)])
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Boots a disk with the tiny guest's kernel and waits for its ready line.
pub fn boots(raw: &Path) {
    let tiny = tiny();
    let drive = format!(
        "if=none,id=d0,format=raw,snapshot=on,file={}",
        raw.display()
    );
    let said = output(
        "timeout",
        &[
            "120",
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-machine",
            "q35",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-kernel",
            &text(&tiny.join("tiny.vmlinux")),
            "-initrd",
            &text(&tiny.join("tiny.initrd")),
            "-append",
            "console=ttyS0,115200 quiet",
            "-drive",
            &drive,
            "-device",
            "virtio-blk-pci,drive=d0",
        ],
    );
    assert!(said.contains("TINY-READY"), "{said}");
}

/// Returns a text member of an answer.
pub fn member<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// Returns the length of a list.
pub fn count(value: &Value) -> usize {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
        .len()
}

/// Returns a path as text.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}
