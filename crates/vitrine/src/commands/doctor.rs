//! `vitrine doctor`: what this machine has, and whether the gallery answers.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::Client;
use crate::output::{self, Format};

/// Which gallery.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// One thing that was looked at.
struct Check {
    name: &'static str,
    is_good: bool,
    says: String,
}

/// Runs the verb: prints every check, fails when one that the gallery needs is not good.
pub async fn run(args: Args, format: Format) -> anyhow::Result<()> {
    let checks = [
        directory(&args.data),
        credentials(&args.data),
        server(&args.data).await,
        space(&args.data),
        program(
            "qemu-img",
            "converts images for comparison (Debian: qemu-utils)",
        ),
        program(
            "qemu-system-x86_64",
            "boots machines (Debian: qemu-system-x86)",
        ),
        program("az", "the Azure CLI"),
    ];
    let shown: Vec<Value> = checks
        .iter()
        .map(|c| json!({ "check": c.name, "good": c.is_good, "says": c.says }))
        .collect();
    output::print(format, &Value::Array(shown))?;
    let needed = &checks[..4];
    match needed.iter().find(|check| !check.is_good) {
        None => Ok(()),
        Some(bad) => anyhow::bail!("{}: {}", bad.name, bad.says),
    }
}

fn directory(data: &PathBuf) -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let (is_good, says) = match std::fs::metadata(data) {
        Err(error) => (
            false,
            format!(
                "{}: {error}; start a gallery with 'vitrine up'",
                data.display()
            ),
        ),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => (
            false,
            format!("{} can be read by others: chmod 700 it", data.display()),
        ),
        Ok(_) => (true, data.display().to_string()),
    };
    Check {
        name: "directory",
        is_good,
        says,
    }
}

fn credentials(data: &std::path::Path) -> Check {
    let read = crate::credentials::Credentials::load(&data.join("credentials.json"));
    let (is_good, says) = match read {
        Ok(credentials) => (true, credentials.endpoint),
        Err(error) => (false, format!("{error:#}")),
    };
    Check {
        name: "credentials",
        is_good,
        says,
    }
}

async fn server(data: &std::path::Path) -> Check {
    let (is_good, says) = match Client::login(data).await {
        Ok(client) => (
            true,
            format!("{} answers and accepts the credentials", client.endpoint()),
        ),
        Err(error) => (false, format!("{error:#}")),
    };
    Check {
        name: "server",
        is_good,
        says,
    }
}

/// The least free space that a gallery is started with, in bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;

fn space(data: &std::path::Path) -> Check {
    let (is_good, says) = match rustix::fs::statvfs(data) {
        Err(error) => (false, error.to_string()),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            (free >= FREE_BYTES_MIN, format!("{} MiB free", free >> 20))
        }
    };
    Check {
        name: "space",
        is_good,
        says,
    }
}

fn program(name: &'static str, what_for: &str) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    match found {
        Some(file) => Check {
            name,
            is_good: true,
            says: file.display().to_string(),
        },
        None => Check {
            name,
            is_good: false,
            says: format!("not on PATH; {what_for}"),
        },
    }
}
