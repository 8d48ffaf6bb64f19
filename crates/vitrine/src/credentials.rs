//! `credentials.json`: how a client on this machine reaches the gallery.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What `credentials.json` holds; mode 0600.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// `https://localhost:8443`.
    pub endpoint: String,
    /// The first tenant.
    pub tenant_id: String,
    /// The first subscription.
    pub subscription_id: String,
    /// The first service principal's application id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What local programs show to the identity endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_secret: Option<String>,
}

impl Credentials {
    /// Reads the file.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "no gallery at {}: start one with 'vitrine up'",
                path.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} cannot be read", path.display()))
    }

    /// Writes the file for its owner alone, whole or not at all.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        crate::data_dir::write_private(path, serde_json::to_string_pretty(self)?.as_bytes())
    }
}
