//! The configuration file: limits, the way out, other token services, object stores.
//!
//! ```toml
//! [limits]
//! reads = { burst = 60000, per_second = 20000 }
//! connections_max = 4096
//!
//! [outbound]
//! allow = ["https://login.example.com"]   # public origins that this server may call
//! inside = ["https://id.corp.example"]    # origins with private addresses
//!
//! [[openid]]
//! issuer = "https://login.example.com/tenant/v2.0"
//! audiences = ["api://vitrine"]
//! jwks_uri = "https://login.example.com/tenant/keys"
//!
//! [regions.westus2]                       # an object store instead of a directory, see `stores`
//! store = "s3://bucket/prefix"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use domain::outbound::Allowed;
use domain::rate::Pace;
use engine::Engine;
use engine::identity::Provider;
use serde::Deserialize;

use crate::connections::ConnectionLimits;
use crate::data_dir::{DataDir, write_private};
use crate::outbound::Outbound;
use crate::server::ServerLimits;
use crate::stores::RegionSection;

const FILE: &str = "vitrine.toml";

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    limits: LimitsSection,
    outbound: OutboundSection,
    openid: Vec<ProviderSection>,
    regions: BTreeMap<String, RegionSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsSection {
    reads: Option<PaceSection>,
    writes: Option<PaceSection>,
    deletes: Option<PaceSection>,
    blob_requests: Option<PaceSection>,
    blob_account_requests: Option<PaceSection>,
    blob_mib: Option<PaceSection>,
    blob_account_mib: Option<PaceSection>,
    blob_at_once_max: Option<u32>,
    blob_account_at_once_max: Option<u32>,
    connections_max: Option<usize>,
    connections_per_address_max: Option<usize>,
    header_seconds: Option<u64>,
    header_bytes_max: Option<usize>,
    streams_max: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaceSection {
    burst: u32,
    per_second: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OutboundSection {
    allow: Vec<String>,
    inside: Vec<String>,
    authorities: Vec<std::path::PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderSection {
    issuer: String,
    audiences: Vec<String>,
    jwks_uri: String,
    #[serde(default)]
    subject_claim: Option<String>,
    #[serde(default)]
    groups_claim: Option<String>,
    #[serde(default)]
    algorithms: Option<Vec<String>>,
}

impl Config {
    /// Reads the file that was named, or the one in the data directory; none says nothing.
    pub fn load(data: &DataDir, named: Option<&Path>) -> anyhow::Result<Self> {
        let usual = data.join(FILE);
        let path = match named {
            Some(path) => path,
            None if usual.exists() => &usual,
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("the configuration {} is wrong", path.display()))
    }

    /// Reads the file that the environment names, or the one in the data directory.
    pub fn of(data: &DataDir) -> anyhow::Result<Self> {
        let named = std::env::var_os("VITRINE_CONFIG").map(PathBuf::from);
        Self::load(data, named.as_deref())
    }

    /// Returns the regions that the file names, by short name.
    pub fn region_names(&self) -> impl Iterator<Item = &str> {
        self.regions.keys().map(String::as_str)
    }

    /// Returns what the file says of a region's store.
    pub fn region(&self, name: &str) -> RegionSection {
        self.regions.get(name).cloned().unwrap_or_default()
    }

    /// Writes what is said of a region's store into the file of the data directory; all else stays.
    pub fn set_region(data: &DataDir, name: &str, section: &RegionSection) -> anyhow::Result<()> {
        ensure!(
            std::env::var_os("VITRINE_CONFIG").is_none(),
            "the configuration is in the file that VITRINE_CONFIG names: write [regions.{name}] there"
        );
        let path = data.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        let text = with_table(&text, &format!("regions.{name}"), &section.to_table(name));
        Self::parse(&text).with_context(|| {
            format!(
                "[regions.{name}] of {} cannot be replaced: write it by hand",
                path.display()
            )
        })?;
        write_private(&path, text.as_bytes())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        for name in config.regions.keys() {
            ensure!(
                *name == domain::region::normalise(name),
                "regions.{name}: use the short name, as in westus2"
            );
        }
        let limits = config.limits().connections;
        ensure!(
            limits.connections_max > 0
                && limits.per_address_max > 0
                && limits.streams_max > 0
                && !limits.header_limit.is_zero(),
            "limits of connections must be greater than 0"
        );
        let blobs = config.limits().rates.blobs;
        ensure!(
            blobs.caller_at_once_max > 0 && blobs.account_at_once_max > 0,
            "limits of requests at once must be greater than 0"
        );
        // Hyper works with no less than this.
        ensure!(
            limits.header_bytes_max >= 8192,
            "limits.header_bytes_max must be at least 8192"
        );
        for pace in [
            config.limits.reads,
            config.limits.writes,
            config.limits.deletes,
            config.limits.blob_requests,
            config.limits.blob_account_requests,
        ] {
            if pace.is_some_and(|pace| pace.per_second > 0 && pace.burst == 0) {
                bail!("a burst of 0 lets no request pass; per_second = 0 means no limit");
            }
        }
        Ok(config)
    }

    /// Returns the limits, the usual ones where the file says nothing.
    pub fn limits(&self) -> ServerLimits {
        let section = &self.limits;
        let usual = ServerLimits::default();
        let pace = |said: Option<PaceSection>, usual: Pace| {
            said.map_or(usual, |said| Pace {
                burst: said.burst,
                per_second: said.per_second,
            })
        };
        let (connections, blobs) = (usual.connections, usual.rates.blobs);
        ServerLimits {
            rates: api::Limits {
                reads: pace(section.reads, usual.rates.reads),
                writes: pace(section.writes, usual.rates.writes),
                deletes: pace(section.deletes, usual.rates.deletes),
                blobs: api::BlobLimits {
                    caller: pace(section.blob_requests, blobs.caller),
                    account: pace(section.blob_account_requests, blobs.account),
                    caller_mib: pace(section.blob_mib, blobs.caller_mib),
                    account_mib: pace(section.blob_account_mib, blobs.account_mib),
                    caller_at_once_max: section
                        .blob_at_once_max
                        .unwrap_or(blobs.caller_at_once_max),
                    account_at_once_max: section
                        .blob_account_at_once_max
                        .unwrap_or(blobs.account_at_once_max),
                },
            },
            connections: ConnectionLimits {
                connections_max: section
                    .connections_max
                    .unwrap_or(connections.connections_max),
                per_address_max: section
                    .connections_per_address_max
                    .unwrap_or(connections.per_address_max),
                header_limit: section
                    .header_seconds
                    .map_or(connections.header_limit, Duration::from_secs),
                header_bytes_max: section
                    .header_bytes_max
                    .unwrap_or(connections.header_bytes_max),
                streams_max: section.streams_max.unwrap_or(connections.streams_max),
            },
        }
    }

    /// Lets the engine accept the tokens of the services in the file.
    pub fn trust_providers(&self, engine: &Engine) -> anyhow::Result<()> {
        if self.openid.is_empty() {
            return Ok(());
        }
        let outbound = self.outbound()?;
        let mut providers = Vec::new();
        for section in &self.openid {
            outbound
                .check(&section.jwks_uri)
                .with_context(|| format!("openid '{}': jwks_uri", section.issuer))?;
            let provider = Provider::new(
                &section.issuer,
                &section.audiences,
                &section.jwks_uri,
                section.subject_claim.as_deref(),
                section.algorithms.as_deref(),
            )?;
            providers.push(provider.with_groups(section.groups_claim.as_deref())?);
        }
        let fetch = move |url: String| {
            let outbound = outbound.clone();
            let fetched = async move {
                let document = outbound.fetch(&url).await;
                document.map_err(|error| format!("{error:#}"))
            };
            Box::pin(fetched) as engine::identity::Fetched
        };
        engine.trust_providers(providers, Arc::new(fetch))?;
        Ok(())
    }

    fn outbound(&self) -> anyhow::Result<Outbound> {
        let allowed = Allowed::new(&self.outbound.allow, &self.outbound.inside)
            .context("an origin in outbound cannot be read")?;
        let authorities = self.outbound.authorities.iter().map(|path| {
            std::fs::read(path)
                .with_context(|| format!("the authority {} cannot be read", path.display()))
        });
        Ok(Outbound::new(
            allowed,
            authorities.collect::<anyhow::Result<_>>()?,
        ))
    }
}

/// Returns a configuration with one table replaced, added at the end, or taken out.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (mut kept, mut is_in_it) = (String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with('[') {
            let header = line.trim().trim_start_matches('[');
            let header = header.split(']').next().unwrap_or_default().trim();
            is_in_it = header == name || header.starts_with(&format!("{name}."));
        }
        if !is_in_it {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let kept = kept.trim_end();
    match (kept.is_empty(), table.is_empty()) {
        (_, true) => format!("{kept}\n"),
        (true, false) => table.to_owned(),
        (false, false) => format!("{kept}\n\n{table}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_is_replaced_and_all_else_stays() {
        let text = "# mine\n[limits]\nheader_seconds = 3 # [regions.a]\n\n[regions.a]\nstore = 's3://x'\n\n[regions.ab]\nstore = 's3://y'\n";
        let table = "[regions.a]\nstore = \"az://z\"\n";
        let replaced = with_table(text, "regions.a", table);
        assert!(replaced.starts_with("# mine\n[limits]\nheader_seconds = 3 # [regions.a]\n"));
        assert!(replaced.contains("[regions.ab]\nstore = 's3://y'\n"));
        assert!(
            replaced.ends_with(table) && !replaced.contains("s3://x"),
            "{replaced}"
        );
        Config::parse(&replaced).unwrap();
        assert_eq!(with_table(&replaced, "regions.a", table), replaced);
        let without = with_table(&replaced, "regions.a", "");
        assert!(!without.contains("[regions.a]\nstore"), "{without}");
        assert_eq!(with_table("", "regions.a", table), table);
    }

    #[test]
    fn what_the_file_does_not_say_is_as_usual() {
        let config =
            Config::parse("[limits]\nreads = { burst = 2, per_second = 1 }\nheader_seconds = 3\nblob_at_once_max = 7\nblob_mib = { burst = 0, per_second = 9 }")
                .unwrap();
        let (limits, usual) = (config.limits(), ServerLimits::default());
        assert_eq!(
            limits.rates.reads,
            Pace {
                burst: 2,
                per_second: 1
            }
        );
        assert_eq!(limits.rates.writes, usual.rates.writes);
        let (blobs, usual_blobs) = (limits.rates.blobs, usual.rates.blobs);
        assert_eq!(blobs.caller_at_once_max, 7);
        assert_eq!(blobs.account_at_once_max, usual_blobs.account_at_once_max);
        assert_eq!(blobs.caller, usual_blobs.caller);
        assert_eq!(blobs.caller_mib.per_second, 9);
        assert_eq!(blobs.account_mib, usual_blobs.account_mib);
        assert_eq!(limits.connections.header_limit, Duration::from_secs(3));
        assert_eq!(
            limits.connections.connections_max,
            usual.connections.connections_max
        );
        assert_eq!(Config::parse("").unwrap().limits(), usual);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "[limit]",
            "[limits]\nread = 1",
            "[limits]\nreads = { burst = 0, per_second = 1 }",
            "[limits]\nreads = { burst = 1 }",
            "[limits]\nconnections_max = 0",
            "[limits]\nblob_requests = { burst = 0, per_second = 1 }",
            "[limits]\nblob_at_once_max = 0",
            "[limits]\nheader_seconds = 0",
            "[limits]\nheader_bytes_max = 100",
            "[[openid]]\nissuer = 'x'",
            "[outbound]\nallowed = []",
            "[regions.'West US 2']\nstore = 's3://b'",
            "[regions.westus2]\nsecret = 'x'",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
