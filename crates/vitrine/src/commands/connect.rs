//! `vitrine env`: the lines that point a client at this gallery. Source: `WIRE.md` 1.

use std::path::{Path, PathBuf};

use crate::credentials::Credentials;

/// The name under which az knows the gallery.
const CLOUD: &str = "Vitrine";

/// Which client, which shell.
#[derive(clap::Args)]
pub struct Args {
    /// The client to connect
    #[arg(value_enum)]
    client: Tool,
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
    /// The shell that will read the lines: sh or fish
    #[arg(long, default_value = "sh")]
    shell: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Tool {
    /// The Azure CLI
    Az,
    /// Terraform with azurerm
    Terraform,
    /// Packer with the azure plugin
    Packer,
    /// Azure SDKs (Python, JavaScript, …)
    Sdk,
}

/// Runs the verb.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let data = std::path::absolute(&args.data)?;
    let lines = match args.client {
        Tool::Az => az_lines(&data, &args.shell)?,
        Tool::Terraform => terraform_lines(&data, &args.shell)?,
        Tool::Packer => packer_lines(&data, &args.shell)?,
        Tool::Sdk => sdk_lines(&data, &args.shell)?,
    };
    print!("{lines}");
    Ok(())
}

/// Returns the four lines for az.
pub fn az_lines(data: &Path, shell: &str) -> anyhow::Result<String> {
    let c = Credentials::load(&data.join("credentials.json"))?;
    let exports = exports(
        shell,
        &[
            (
                "REQUESTS_CA_BUNDLE",
                data.join("ca.pem").display().to_string(),
            ),
            ("AZURE_CORE_INSTANCE_DISCOVERY", "false".to_owned()),
            ("AZURE_CORE_COLLECT_TELEMETRY", "no".to_owned()),
        ],
    )?
    .trim_end()
    .replace('\n', "; ");
    Ok(format!(
        "{exports}\n\
         az cloud register -n {CLOUD} --endpoint-resource-manager {endpoint} 2>/dev/null || az cloud update -n {CLOUD} --endpoint-resource-manager {endpoint}\n\
         az cloud set -n {CLOUD}\n\
         az login --service-principal -u {client} --password={secret} --tenant {tenant}\n",
        endpoint = c.endpoint,
        client = c.client_id,
        secret = quote(&c.client_secret),
        tenant = c.tenant_id,
    ))
}

fn terraform_lines(data: &Path, shell: &str) -> anyhow::Result<String> {
    let c = Credentials::load(&data.join("credentials.json"))?;
    let host = c.endpoint.trim_start_matches("https://").to_owned();
    exports(
        shell,
        &[
            ("SSL_CERT_FILE", data.join("ca.pem").display().to_string()),
            ("ARM_METADATA_HOSTNAME", host),
            ("ARM_SUBSCRIPTION_ID", c.subscription_id),
            ("ARM_TENANT_ID", c.tenant_id),
            ("ARM_CLIENT_ID", c.client_id),
            ("ARM_CLIENT_SECRET", c.client_secret),
            ("ARM_RESOURCE_PROVIDER_REGISTRATIONS", "none".to_owned()),
        ],
    )
}

fn packer_lines(data: &Path, shell: &str) -> anyhow::Result<String> {
    let c = Credentials::load(&data.join("credentials.json"))?;
    let exports = exports(
        shell,
        &[
            ("SSL_CERT_FILE", data.join("ca.pem").display().to_string()),
            // The plugin wants a URL where azurerm wants a host.
            ("ARM_METADATA_URL", c.endpoint),
            ("ARM_SUBSCRIPTION_ID", c.subscription_id),
            ("ARM_TENANT_ID", c.tenant_id),
            ("ARM_CLIENT_ID", c.client_id),
            ("ARM_CLIENT_SECRET", c.client_secret),
        ],
    )?;
    Ok(format!(
        "{exports}# Packer before 1.7 knows the public cloud alone: vitrine exec -- packer build …\n"
    ))
}

fn sdk_lines(data: &Path, shell: &str) -> anyhow::Result<String> {
    let c = Credentials::load(&data.join("credentials.json"))?;
    let ca = data.join("ca.pem").display().to_string();
    exports(
        shell,
        &[
            ("REQUESTS_CA_BUNDLE", ca.clone()),
            ("NODE_EXTRA_CA_CERTS", ca.clone()),
            ("SSL_CERT_FILE", ca),
            ("AZURE_AUTHORITY_HOST", c.endpoint.clone()),
            ("AZURE_RESOURCE_MANAGER", c.endpoint),
            ("AZURE_SUBSCRIPTION_ID", c.subscription_id),
            ("AZURE_TENANT_ID", c.tenant_id),
            ("AZURE_CLIENT_ID", c.client_id),
            ("AZURE_CLIENT_SECRET", c.client_secret),
        ],
    )
}

fn exports(shell: &str, variables: &[(&str, String)]) -> anyhow::Result<String> {
    let mut out = String::new();
    for (name, value) in variables {
        let value = quote(value);
        match shell {
            "sh" | "bash" | "zsh" => out.push_str(&format!("export {name}={value}\n")),
            "fish" => out.push_str(&format!("set -gx {name} {value}\n")),
            other => anyhow::bail!("the shell '{other}' is not known: use sh or fish"),
        }
    }
    Ok(out)
}

/// Quotes for a shell where it is needed.
fn quote(text: &str) -> String {
    let is_plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./:~@%+=,".contains(c));
    if is_plain && !text.is_empty() {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
