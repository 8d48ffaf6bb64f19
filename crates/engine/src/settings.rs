//! What an engine is opened with.

use std::path::PathBuf;

use blocks::Location;
use domain::Region;

use crate::machine::settings::MachineSettings;

/// One region: its name and where its content is.
pub struct RegionSettings {
    /// Name, display name, zones.
    pub region: Region,
    /// The object store or directory of its blocks.
    pub store: Location,
}

/// What an engine is opened with.
pub struct Settings {
    /// The directory of this node: index caches, writable layers.
    pub data: PathBuf,
    /// `sqlite:/path?mode=rwc` or `postgres://…`.
    pub database: String,
    /// At least one region; the first is the default.
    pub regions: Vec<RegionSettings>,
    /// How machines run on this node.
    pub machines: MachineSettings,
}
