//! `vitrine serve`: the server alone.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::data_dir::{DataDir, REGIONS_DEFAULT};
use crate::server::ServerLimits;
use crate::{server, tls};

/// How the server runs.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of everything this server keeps
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub listen: String,
    /// Regions, short names separated by commas; kept from the first start
    #[arg(long)]
    pub regions: Option<String>,
    /// Database instead of the one in the data directory: postgres://…
    #[arg(long, env = "VITRINE_DATABASE")]
    pub database: Option<String>,
    /// Configuration file; DIR/vitrine.toml when it is there and none is named
    #[arg(long, env = "VITRINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Loopback addresses that public IP addresses come from, such as 127.44.0.0/16; kept from the last start that said it
    #[arg(long, env = "VITRINE_PUBLIC_ADDRESSES")]
    pub public_addresses: Option<String>,
    /// What runs machines: auto, qemu, or simulated (states without a guest)
    #[arg(long, env = "VITRINE_MACHINES", default_value = "auto")]
    pub machines: engine::DriverChoice,
    /// What runs the guests' code: auto (KVM where it comes up in time), kvm, or tcg
    #[arg(long, env = "VITRINE_ACCELERATOR", default_value = "auto", value_parser = accelerator)]
    pub accelerator: engine::Accelerator,
    /// Let guests reach the networks of this host
    #[arg(long, env = "VITRINE_GUEST_EGRESS")]
    pub guest_egress: bool,
    /// Whom guests run as when the server is root: auto (each a user of its own), FIRST-LAST (out of this range of ids), or shared
    #[arg(long, env = "VITRINE_GUEST_USERS", default_value = "auto", value_parser = guest_users)]
    pub guest_users: engine::GuestUsers,
    /// Directory of a control group (cgroup v2) handed over to the server, below which each guest gets its own with limits
    #[arg(long, env = "VITRINE_GUEST_CGROUP")]
    pub guest_cgroup: Option<PathBuf>,
}

/// A prepared server: everything but serving.
pub struct Prepared {
    data: DataDir,
    engine: engine::Engine,
    listener: std::net::TcpListener,
    limits: ServerLimits,
    /// `https://localhost:port`.
    pub endpoint: String,
    /// Whether this start made the gallery.
    pub is_first_start: bool,
}

/// Initialises an empty directory, opens everything, binds the port.
pub async fn prepare(args: &Args) -> anyhow::Result<Prepared> {
    let data = DataDir::from(&args.data);
    data.create()?;
    let config = Config::load(&data, args.config.as_deref())?;
    let kept = std::fs::read_to_string(data.join("regions.txt")).ok();
    let regions = args
        .regions
        .clone()
        .or(kept)
        .unwrap_or_else(|| REGIONS_DEFAULT.to_owned());
    let (listener, address) = server::bind(&args.listen).await?;
    let endpoint = endpoint_of(address);
    tls::ensure(data.path())?;
    let machines = engine::MachineSettings {
        driver: args.machines,
        accelerator: args.accelerator,
        has_egress: args.guest_egress,
        guest_users: args.guest_users,
        guest_cgroup: args.guest_cgroup.clone(),
        ..engine::MachineSettings::default()
    };
    let engine = data
        .open_engine_with(&regions, args.database.as_deref(), machines, &config)
        .await?;
    engine.take_over().await?;
    config.trust_providers(&engine)?;
    if let Some(range) = &args.public_addresses {
        engine.set_public_addresses(range).await?;
    }
    let is_first_start = bootstrap(&data, &engine, &endpoint).await?;
    std::fs::write(data.join("endpoint"), format!("{endpoint}\n"))?;
    Ok(Prepared {
        data,
        engine,
        listener,
        limits: config.limits(),
        endpoint,
        is_first_start,
    })
}

impl Prepared {
    /// Serves until stopped.
    pub async fn serve(self, ready: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let endpoint = self.endpoint.clone();
        server::serve(&self.data, self.engine, self.listener, self.limits, || {
            ready(&endpoint)
        })
        .await
    }
}

/// Runs the verb.
pub async fn run(args: Args) -> anyhow::Result<()> {
    start_log();
    let prepared = prepare(&args).await?;
    prepared
        .serve(|endpoint| {
            println!("listening on {endpoint}");
            Ok(())
        })
        .await
}

/// Logs to stderr; `VITRINE_LOG` chooses what, as in `info,engine=debug`.
pub fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("VITRINE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn endpoint_of(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("https://{host}:{}", address.port())
}

/// Makes the first tenant, subscription and principal, and tells the client where we are now.
async fn bootstrap(
    data: &DataDir,
    engine: &engine::Engine,
    endpoint: &str,
) -> anyhow::Result<bool> {
    let path = data.join("credentials.json");
    if let Some(first) = engine
        .bootstrap(&engine::identity::BootstrapOptions::default())
        .await?
    {
        let credentials = Credentials {
            endpoint: endpoint.to_owned(),
            tenant_id: first.tenant_id,
            subscription_id: first.subscription_id,
            client_id: first.client_id,
            client_secret: first.client_secret,
            identity_secret: Some(first.identity_secret),
        };
        credentials.save(&path)?;
        return Ok(true);
    }
    if path.exists() {
        let mut credentials = Credentials::load(&path)?;
        if credentials.endpoint != endpoint {
            endpoint.clone_into(&mut credentials.endpoint);
            credentials.save(&path)?;
        }
    }
    Ok(false)
}

fn guest_users(text: &str) -> Result<engine::GuestUsers, String> {
    text.parse::<engine::GuestUsers>()
        .map_err(|error| error.to_string())
}

fn accelerator(text: &str) -> Result<engine::Accelerator, String> {
    match text {
        "auto" => Ok(engine::Accelerator::Auto),
        "kvm" => Ok(engine::Accelerator::Kvm),
        "tcg" => Ok(engine::Accelerator::Tcg),
        _ => Err("use auto, kvm or tcg".to_owned()),
    }
}
