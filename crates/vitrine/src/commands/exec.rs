//! `vitrine exec`: runs a program that knows only the public cloud, and lets it find this gallery.
//!
//! The program gets a proxy (`stand_in`), a file of CAs to trust and the gallery's credentials by
//! its environment; nothing of the machine is changed, and all of it ends with the program.

#![expect(
    clippy::disallowed_methods,
    reason = "it runs the program that it is asked to run and waits for it"
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::ServerName;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::credentials::Credentials;
use crate::output::Ended;
use crate::stand_in::{self, StandIn};
use crate::tls;

/// What to run, against which gallery.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
    /// The program and what it is told
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Runs the verb; the program's exit code is its own.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let data = std::path::absolute(&args.data)?;
    let credentials = Credentials::load(&data.join("credentials.json"))?;
    let (ca, inward) = tls::short_lived(&stand_in::NAMES)?;
    let trusted = Trusted::write(&data, &ca)?;
    let (listener, address) = StandIn::bind().await?;
    let stand_in = stand_in_for(&data, &credentials, inward)?;
    let (name, rest) = args.program.split_first().context("no program")?;
    let mut command = Command::new(name);
    command
        .args(rest)
        .envs(environment(&credentials, address, &trusted.path))
        .kill_on_drop(true);
    // From here on a signal is the program's to answer.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", name.display()))?;
    let mut serving = std::pin::pin!(stand_in.serve(listener));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            served = &mut serving => served.context("the stand-in ended")?,
            // A terminal sends it to the program, too.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => terminate_child(&child)?,
        }
    };
    drop(trusted);
    ended(status)
}

fn ended(status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    // As shells say it.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Err(Ended(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)).into())
}

fn terminate_child(child: &Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    Ok(())
}

fn stand_in_for(
    data: &Path,
    credentials: &Credentials,
    inward: rustls::ServerConfig,
) -> anyhow::Result<StandIn> {
    let gallery = credentials.endpoint.trim_start_matches("https://");
    let (host, _) = gallery
        .rsplit_once(':')
        .context("the endpoint has no port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(StandIn {
        gallery: gallery.to_owned(),
        gallery_name: ServerName::try_from(host.to_owned())?,
        outward: Arc::new(tls::client_config(data)?).into(),
        inward: Arc::new(inward).into(),
    })
}

/// Returns what the program is told: by which names Go, Python and Node ask for it.
fn environment(
    credentials: &Credentials,
    proxy: SocketAddr,
    trusted: &Path,
) -> Vec<(&'static str, OsString)> {
    let proxy = format!("http://{proxy}");
    let mut variables: Vec<(&str, OsString)> = Vec::new();
    for name in ["HTTPS_PROXY", "https_proxy"] {
        variables.push((name, proxy.clone().into()));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name, "localhost,.localhost,127.0.0.1,::1".into()));
    }
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        variables.push((name, trusted.into()));
    }
    let c = credentials;
    for (arm, sdk, value) in [
        (
            "ARM_SUBSCRIPTION_ID",
            "AZURE_SUBSCRIPTION_ID",
            &c.subscription_id,
        ),
        ("ARM_TENANT_ID", "AZURE_TENANT_ID", &c.tenant_id),
        ("ARM_CLIENT_ID", "AZURE_CLIENT_ID", &c.client_id),
        ("ARM_CLIENT_SECRET", "AZURE_CLIENT_SECRET", &c.client_secret),
    ] {
        variables.extend([(arm, value.into()), (sdk, value.into())]);
    }
    variables
}

/// The file of CAs that the program trusts; it goes when this is dropped.
struct Trusted {
    path: PathBuf,
}

impl Trusted {
    /// Writes the gallery's CA, for what it serves under its own names, and another.
    fn write(data: &Path, other: &str) -> anyhow::Result<Self> {
        let own = std::fs::read_to_string(data.join("ca.pem"))
            .context("the gallery's ca.pem cannot be read")?;
        let name = format!("vitrine-exec-{}.pem", uuid::Uuid::new_v4());
        let trusted = Self {
            path: std::env::temp_dir().join(name),
        };
        crate::data_dir::write_private(&trusted.path, (own + other).as_bytes())?;
        Ok(trusted)
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("{} is left: {error}", self.path.display());
        }
    }
}
