//! The data directory: where everything of one server lies.
//!
//! ```text
//! DIR/ca.pem            the CA to trust          DIR/catalog.db      metadata (SQLite)
//! DIR/credentials.json  endpoint and secret      DIR/regions/R/      blocks of region R
//! DIR/endpoint          https://host:port        DIR/local/R/        index cache and writable layers
//! ```

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Config;
use anyhow::Context as _;
use engine::{Clock, Engine, MachineSettings, RegionSettings, Settings};

/// Regions of a first start.
pub const REGIONS_DEFAULT: &str = "eastus,westus2,westeurope";

/// A data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl From<&PathBuf> for DataDir {
    fn from(path: &PathBuf) -> Self {
        Self(path.clone())
    }
}

impl DataDir {
    /// Creates the directory for its owner alone, if it is not there.
    pub fn create(&self) -> anyhow::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("cannot create {}", self.0.display()))
    }

    /// Returns a path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl DataDir {
    /// Opens the gallery in this directory with the regions of its first start.
    pub async fn open_engine(&self) -> anyhow::Result<Engine> {
        let regions = fs::read_to_string(self.join("regions.txt")).with_context(|| {
            format!(
                "no gallery at {}: start one with 'vitrine up'",
                self.0.display()
            )
        })?;
        let config = Config::of(self)?;
        self.open_engine_with(&regions, None, MachineSettings::default(), &config)
            .await
    }

    /// Opens the gallery; `regions` is a comma-separated list of short names.
    pub async fn open_engine_with(
        &self,
        regions: &str,
        database: Option<&str>,
        machines: MachineSettings,
        config: &Config,
    ) -> anyhow::Result<Engine> {
        self.create()?;
        let mut settings = Settings {
            data: self.0.clone(),
            database: match database {
                Some(url) => url.to_owned(),
                None => format!("sqlite:{}?mode=rwc", self.join("catalog.db").display()),
            },
            regions: Vec::new(),
            machines,
        };
        let regions = with_configured(regions, config);
        for name in names_in(&regions) {
            let region = domain::region::known(name);
            let section = config.region(&region.name);
            let store = section
                .open(self.region_directory(&region.name))
                .with_context(|| format!("the store of the region {}", region.name))?;
            settings.regions.push(RegionSettings { region, store });
        }
        anyhow::ensure!(
            !settings.regions.is_empty(),
            "at least one region is needed"
        );
        fs::write(self.join("regions.txt"), regions)?;
        Ok(Engine::open(settings, Clock::System).await?)
    }
}

impl DataDir {
    /// Returns where a region's content lies unless it has an object store.
    pub fn region_directory(&self, name: &str) -> PathBuf {
        self.join("regions").join(name)
    }
}

/// Returns the names in a list that is separated by commas.
pub fn names_in(regions: &str) -> impl Iterator<Item = &str> {
    let names = regions.split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

/// Returns a list of regions with those that only the configuration names.
fn with_configured(regions: &str, config: &Config) -> String {
    let listed: Vec<String> = names_in(regions).map(domain::region::normalise).collect();
    let mut all: Vec<&str> = names_in(regions).collect();
    all.extend(
        config
            .region_names()
            .filter(|name| !listed.iter().any(|listed| listed == name)),
    );
    all.join(",")
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}
