//! Where the content of a region lies: a directory of this server, or an object store.
//!
//! ```toml
//! [regions.westus2]
//! store = "s3://bucket/prefix"             # or az://container/prefix
//! endpoint = "https://s3.example.com"      # for what is not AWS or Azure
//! location = "eu-central-1"                # the region that S3 requests are signed for
//! account = "name"                         # the storage account of az://
//! credentials = "/etc/vitrine/westus2"     # NAME=VALUE lines; "instance"; or the environment
//! ```
//!
//! Credentials are in a file, in the environment or given by the machine, never here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use engine::Location;
use serde::Deserialize;

/// Says that the machine's own identity is asked for credentials.
const INSTANCE: &str = "instance";
/// Options of which one says who asks, by kind of store.
const S3_IDENTITIES: [&str; 5] = [
    "aws_access_key_id",
    "aws_web_identity_token_file",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
    "aws_skip_signature",
];
const AZURE_IDENTITIES: [&str; 8] = [
    "azure_storage_account_key",
    "azure_storage_access_key",
    "azure_storage_sas_token",
    "azure_storage_sas_key",
    "azure_storage_token",
    "azure_storage_client_secret",
    "azure_client_secret",
    "azure_federated_token_file",
];
/// Parts of the names of what belongs into the file of credentials.
const SECRET_NAMES: [&str; 5] = ["key", "secret", "token", "sas", "password"];

/// What the configuration says of a region's store; nothing means a directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionSection {
    store: Option<String>,
    endpoint: Option<String>,
    location: Option<String>,
    account: Option<String>,
    credentials: Option<String>,
    /// Options of the `object_store` crate, for what has no member of its own.
    options: BTreeMap<String, String>,
}

/// What a verb says of a region's store.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// Object store: a bucket of S3 or a container of Azure Blob, and a prefix in it
    #[arg(long, value_name = "s3://BUCKET/PREFIX|az://CONTAINER/PREFIX")]
    store: Option<String>,
    /// URL of the object store, for what is not AWS or Azure
    #[arg(long, requires = "store")]
    endpoint: Option<String>,
    /// Region that S3 requests are signed for
    #[arg(long, requires = "store")]
    location: Option<String>,
    /// Storage account of az://
    #[arg(long, requires = "store")]
    account: Option<String>,
    /// File of NAME=VALUE lines, or "instance"; the environment of the server when left out
    #[arg(long, requires = "store")]
    credentials: Option<String>,
}

impl StoreArgs {
    /// Returns what the configuration would say.
    pub fn section(&self) -> anyhow::Result<RegionSection> {
        let credentials = match self.credentials.as_deref() {
            None => None,
            Some(INSTANCE) => Some(INSTANCE.to_owned()),
            Some(file) => Some(std::path::absolute(file)?.display().to_string()),
        };
        Ok(RegionSection {
            store: self.store.clone(),
            endpoint: self.endpoint.clone(),
            location: self.location.clone(),
            account: self.account.clone(),
            credentials,
            options: BTreeMap::new(),
        })
    }
}

impl RegionSection {
    /// Returns the location, or `directory` when no object store is named.
    pub fn open(&self, directory: PathBuf) -> anyhow::Result<Location> {
        let Some(url) = &self.store else {
            let rest = [
                &self.endpoint,
                &self.location,
                &self.account,
                &self.credentials,
            ];
            ensure!(
                rest.iter().all(|said| said.is_none()) && self.options.is_empty(),
                "store is missing: s3://bucket/prefix or az://container/prefix"
            );
            return Ok(Location::Directory(directory));
        };
        ensure!(
            !url.contains(['?', '@']),
            "store is a bucket and a prefix; credentials are not part of it"
        );
        let mut options = Vec::new();
        for (name, value) in &self.options {
            let name = name.to_ascii_lowercase();
            ensure!(
                !SECRET_NAMES.iter().any(|part| name.contains(part)),
                "options.{name} is a secret: put it into the file that credentials names"
            );
            options.push((name, value.clone()));
        }
        let prefix = match url.split_once("://") {
            Some(("s3", _)) => "aws",
            Some(("az", _)) => "azure_storage",
            _ => {
                bail!("store '{url}' is not known: use s3://bucket/prefix or az://container/prefix")
            }
        };
        if let Some(endpoint) = &self.endpoint {
            ensure!(
                !endpoint.contains(['?', '@']),
                "endpoint is a URL without credentials"
            );
            options.push((format!("{prefix}_endpoint"), endpoint.clone()));
            if endpoint.starts_with("http://") {
                options.push(("allow_http".to_owned(), "true".to_owned()));
            }
        }
        if let Some(location) = &self.location {
            ensure!(prefix == "aws", "location is for s3:// only");
            options.push(("aws_region".to_owned(), location.clone()));
        }
        if let Some(account) = &self.account {
            ensure!(prefix != "aws", "account is for az:// only");
            options.push(("azure_storage_account_name".to_owned(), account.clone()));
        }
        self.identify(prefix == "aws", &mut options)?;
        Ok(Location::Remote {
            url: url.clone(),
            options,
        })
    }

    /// Adds the credentials of the file, and says so when there are none at all.
    fn identify(&self, is_s3: bool, options: &mut Vec<(String, String)>) -> anyhow::Result<()> {
        match self.credentials.as_deref() {
            Some(INSTANCE) => return Ok(()),
            Some(file) => options.extend(read_credentials(Path::new(file))?),
            None => {}
        }
        let (identities, names): (&[&str], _) = if is_s3 {
            (
                &S3_IDENTITIES,
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        } else {
            (
                &AZURE_IDENTITIES,
                "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
            )
        };
        let is_said = identities.iter().any(|identity| {
            options.iter().any(|(name, _)| name == identity)
                || std::env::var_os(identity.to_ascii_uppercase()).is_some()
        });
        ensure!(
            is_said,
            "no credentials: put {names} into a file that credentials names, or into the environment; credentials = \
             \"instance\" asks the machine that the server runs on"
        );
        Ok(())
    }

    /// Returns where the content lies, for people.
    pub fn shown(&self) -> &str {
        self.store.as_deref().unwrap_or("directory")
    }

    /// Returns the table of the configuration file; empty for a directory.
    pub fn to_table(&self, region: &str) -> String {
        let Some(store) = &self.store else {
            return String::new();
        };
        let mut out = format!("[regions.{region}]\n");
        let members = [
            ("store", Some(store)),
            ("endpoint", self.endpoint.as_ref()),
            ("location", self.location.as_ref()),
            ("account", self.account.as_ref()),
            ("credentials", self.credentials.as_ref()),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                let value = toml::Value::String(value.clone());
                out.push_str(&format!("{name} = {value}\n"));
            }
        }
        out
    }
}

/// Reads NAME=VALUE lines; an error never repeats what is in them.
fn read_credentials(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let shown = path.display();
    let cannot = || format!("the credentials {shown} cannot be read");
    let mode = std::fs::metadata(path)
        .with_context(cannot)?
        .permissions()
        .mode();
    ensure!(
        mode & 0o007 == 0,
        "the credentials {shown} can be read by everybody: chmod 600 them"
    );
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    let mut out = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {number} of the credentials {shown} is not NAME=VALUE");
        };
        let value = value.trim();
        let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        out.push((name.trim().to_ascii_lowercase(), value.to_owned()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> RegionSection {
        toml::from_str(text).unwrap()
    }

    fn open(text: &str) -> anyhow::Result<Location> {
        section(text).open(PathBuf::from("/d"))
    }

    fn credentials(dir: &Path, text: &str, mode: u32) -> String {
        let file = dir.join(format!("credentials-{mode:o}"));
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    }

    #[test]
    fn what_the_file_says_becomes_options_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let lines =
            "# of the bucket\nexport AWS_ACCESS_KEY_ID='id'\n\nAWS_SECRET_ACCESS_KEY=\"canary=\"\n";
        let file = credentials(dir.path(), lines, 0o600);
        let said = format!(
            "store = 's3://b/p'\nendpoint = 'http://127.0.0.1:1'\nlocation = 'here'\ncredentials = '{file}'"
        );
        let Location::Remote { url, options } = open(&said).unwrap() else {
            panic!("not a directory");
        };
        assert_eq!(url, "s3://b/p");
        let options: Vec<_> = options
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            options,
            [
                ("aws_endpoint", "http://127.0.0.1:1"),
                ("allow_http", "true"),
                ("aws_region", "here"),
                ("aws_access_key_id", "id"),
                ("aws_secret_access_key", "canary="),
            ]
        );
        let table = section(&said).to_table("eastus");
        assert!(!table.contains("canary"), "{table}");
        let again: BTreeMap<String, BTreeMap<String, RegionSection>> =
            toml::from_str(&table).unwrap();
        assert_eq!(again["regions"]["eastus"].to_table("eastus"), table);
        assert!(matches!(open("").unwrap(), Location::Directory(_)));
        assert!(open("store = 's3://b'\ncredentials = 'instance'").is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let (open_file, bad) = (
            credentials(dir.path(), "AWS_ACCESS_KEY_ID=canary", 0o644),
            credentials(dir.path(), "canary", 0o600),
        );
        for (text, says) in [
            ("endpoint = 'http://h'".to_owned(), "store is missing"),
            ("store = 'gs://b'".to_owned(), "use s3://bucket"),
            ("store = 's3://b'".to_owned(), "no credentials"),
            ("store = 's3://u:canary@b'".to_owned(), "not part of it"),
            (
                "store = 'az://c'\nendpoint = 'https://h/?sig=canary'".to_owned(),
                "without credentials",
            ),
            (
                "store = 'az://c'\nlocation = 'x'\ncredentials = 'instance'".to_owned(),
                "for s3://",
            ),
            (
                "store = 's3://c'\naccount = 'x'\ncredentials = 'instance'".to_owned(),
                "for az://",
            ),
            (
                "store = 's3://b'\noptions = { aws_secret_access_key = 'canary' }".to_owned(),
                "is a secret",
            ),
            (
                format!("store = 's3://b'\ncredentials = '{open_file}'"),
                "by everybody",
            ),
            (
                format!("store = 's3://b'\ncredentials = '{bad}'"),
                "line 1 of",
            ),
            (
                "store = 's3://b'\ncredentials = '/no/such/file'".to_owned(),
                "cannot be read",
            ),
        ] {
            let refused = format!("{:#}", open(&text).err().unwrap());
            assert!(refused.contains(says), "{text}: {refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
