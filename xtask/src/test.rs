//! `cargo xtask test`: check, install, build, run.

use std::ffi::OsString;
use std::path::Path;

use anyhow::ensure;
use clap::Args;

use crate::command::{capture, cargo, find, run as run_command};
use crate::group::{Gap, Group, without};
use crate::postgres::Server;
use crate::stage::stage;
use crate::{agent_guest, arch, debian, debian_guest, fuzzer, node, objects, python, tiny};

/// Where everything that the tests need is kept.
const HOME: &str = "target/test-env";

/// How much of it.
#[derive(Args)]
pub struct Options {
    /// Install nothing; leave out real clients, guests and PostgreSQL
    #[arg(long)]
    quick: bool,
    /// Run the long campaigns too
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Run only tests whose name contains this (can be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave out the checks of architecture, format and clippy
    #[arg(long)]
    unchecked: bool,
    /// Check and run only this crate (can be repeated)
    #[arg(long, short, value_name = "CRATE")]
    package: Vec<String>,
}

/// What lints of the product do not ask of tests.
const ALLOWED_IN_TESTS: [&str; 3] = ["unwrap_used", "too_many_lines", "disallowed_methods"];

impl Options {
    /// Returns cargo's arguments for the crates that are meant.
    fn crates(&self) -> Vec<String> {
        if self.package.is_empty() {
            return vec!["--workspace".to_owned()];
        }
        let name = |package: &String| format!("--package={package}");
        self.package.iter().map(name).collect()
    }
}

/// What the tests are handed: variables, and what there is not.
#[derive(Default)]
struct Environment {
    variables: Vec<(&'static str, OsString)>,
    gaps: Vec<Gap>,
    /// Held for its end: the server stops with the environment.
    postgres: Option<Server>,
    /// The same.
    objects: Option<objects::Servers>,
}

/// Runs every stage; the runner's own summary is the last that is printed when all is well.
pub fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if !options.unchecked {
        check(root, options)?;
    }
    let environment = if options.quick {
        quick_environment()
    } else {
        stage("install", || Ok(environment(&root.join(HOME))))?
    };
    for gap in &environment.gaps {
        eprintln!("{}", gap.line());
    }
    stage("build", || build(options))?;
    if options.package.is_empty() && has_doc_tests(&root.join("crates"))? {
        stage("documentation tests", || {
            run_command(cargo().args(["test", "--quiet", "--doc", "--workspace"]))
        })?;
    }
    let outcome = nextest(options, &environment);
    let gaps = environment.gaps;
    outcome?;
    ensure!(
        gaps.is_empty() || options.quick,
        "all that ran passed, but not everything ran:\n{}",
        gaps.iter().map(Gap::line).collect::<Vec<_>>().join("\n")
    );
    Ok(())
}

/// Checks what needs no environment.
fn check(root: &Path, options: &Options) -> anyhow::Result<()> {
    stage("architecture", || arch::check(root))?;
    stage("format", || {
        let mut format = cargo();
        format.args(["fmt", "--check"]);
        if options.package.is_empty() {
            format.arg("--all");
        } else {
            format.args(options.crates());
        }
        run_command(&mut format)
    })?;
    stage("clippy", || {
        run_command(
            cargo()
                .args(["clippy", "--quiet"])
                .args(options.crates())
                .args(["--", "-D", "warnings"]),
        )?;
        // Tests may unwrap, start programs and tasks, and a story that one tells may be long.
        run_command(
            cargo()
                .args(["clippy", "--quiet", "--all-targets"])
                .args(options.crates())
                .args(["--", "-D", "warnings"])
                .args(ALLOWED_IN_TESTS.map(|lint| format!("-Aclippy::{lint}"))),
        )
    })
}

/// Installs everything and starts what has to run.
fn environment(home: &Path) -> Environment {
    let mut environment = Environment {
        gaps: debian::install(),
        ..Environment::default()
    };
    if let Err(error) = std::fs::create_dir_all(home) {
        let why = format!("{}: {error}", home.display());
        for group in Group::ALL {
            environment.note(group, HOME, &why);
        }
        return environment;
    }
    if let Some(dir) = environment.have(Group::Python, "Azure CLI", || python::ensure(home)) {
        environment.set("VITRINE_TEST_PYTHON", dir.join("bin/python"));
        environment.set("VITRINE_TEST_AZ", dir.join("bin/az"));
    }
    if let Some(dir) = environment.have(Group::Node, "Azure SDK", || node::ensure(home)) {
        environment.set("VITRINE_TEST_NODE_MODULES", dir);
    }
    let built = || fuzzer::ensure(home);
    if let Some(dir) = environment.have(Group::Fuzzer, "fuzzing client of libnbd", built) {
        environment.set("VITRINE_TEST_LIBNBD_FUZZING", dir);
    }
    if let Some(dir) = environment.have(Group::Guest, "tiny guest", || tiny::ensure(home)) {
        environment.set("VITRINE_TEST_TINY", dir);
    }
    let agent = || agent_guest::ensure(home);
    if let Some(dir) = environment.have(Group::Guest, "guest with an agent", agent) {
        environment.set("VITRINE_TEST_AGENT", dir);
    }
    if let Some(dir) =
        environment.have(Group::Debian, "Debian guest", || debian_guest::ensure(home))
    {
        environment.set("VITRINE_TEST_DEBIAN", dir);
    }
    if let Some(server) = environment.have(Group::Postgres, "PostgreSQL", || Server::start(home)) {
        environment.set("VITRINE_TEST_POSTGRES", server.url());
        environment.postgres = Some(server);
    }
    let started = || objects::Servers::start(home);
    if let Some(servers) = environment.have(Group::Objects, "object stores", started) {
        environment.set("VITRINE_TEST_S3", servers.s3());
        environment.set("VITRINE_TEST_AZURE_BLOBS", servers.azure());
        environment.objects = Some(servers);
    }
    environment
}

/// Installs nothing: what needs more than is there is left out, and said.
fn quick_environment() -> Environment {
    let mut environment = Environment::default();
    for group in Group::ALL {
        if group == Group::DiskTools {
            continue;
        }
        environment.note(group, "the environment of these tests", "--quick");
    }
    if ["qemu-img", "nbdinfo"]
        .iter()
        .any(|name| find(name).is_none())
    {
        environment.note(Group::DiskTools, "qemu-utils or libnbd-bin", "--quick");
    }
    environment
}

impl Environment {
    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    fn note(&mut self, group: Group, what: &str, why: &str) {
        self.gaps.push(Gap {
            what: what.to_owned(),
            why: why.to_owned(),
            group,
        });
    }

    /// Makes something unless its packages are missing; what fails becomes a gap.
    fn have<T>(
        &mut self,
        group: Group,
        what: &str,
        make: impl FnOnce() -> anyhow::Result<T>,
    ) -> Option<T> {
        if self.gaps.iter().any(|gap| gap.group == group) {
            return None;
        }
        match make() {
            Ok(made) => Some(made),
            Err(error) => {
                self.note(group, what, &format!("{error:#}"));
                None
            }
        }
    }
}

fn build(options: &Options) -> anyhow::Result<()> {
    if capture(cargo().args(["nextest", "--version"])).is_err() {
        run_command(cargo().args(["install", "--quiet", "--locked", "cargo-nextest"]))?;
    }
    run_command(
        cargo()
            .args(["nextest", "run", "--no-run", "--cargo-quiet"])
            .args(options.crates()),
    )
}

fn nextest(options: &Options, environment: &Environment) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["nextest", "run", "--cargo-quiet"]);
    command.args(options.crates());
    command.args(["--profile", if options.long { "long" } else { "full" }]);
    let left_out: Vec<Group> = environment.gaps.iter().map(|gap| gap.group).collect();
    if let Some(filter) = without(&left_out) {
        command.args(["-E", &filter]);
    }
    command.args(&options.only);
    for (name, value) in &environment.variables {
        command.env(name, value);
    }
    if options.long {
        command.env("VITRINE_TEST_LONG", "1");
    }
    run_command(&mut command)
}

/// Whether any source below `dir` has an example in its documentation.
fn has_doc_tests(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let has = if path.is_dir() {
            has_doc_tests(&path)?
        } else if path.extension().is_some_and(|e| e == "rs") {
            std::fs::read_to_string(&path)?
                .lines()
                .map(str::trim_start)
                .any(|line| line.starts_with("/// ```") || line.starts_with("//! ```"))
        } else {
            false
        };
        if has {
            return Ok(true);
        }
    }
    Ok(false)
}
