//! How often a gallery cares for itself.

use domain::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::error::catalog as db;

/// The setting of the catalog that holds what differs from the defaults.
const SETTING: &str = "care";
/// The most that any number here may be.
const VALUE_MAX: i64 = 1_000_000;

/// How often a gallery cares for itself; a member that is not set keeps its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CareSettings {
    /// Minutes between sweeps of a region.
    pub sweep_every_minutes: i64,
    /// Minutes that content stays after the last reference to it.
    pub sweep_grace_minutes: i64,
    /// Days in which every stored byte is read once.
    pub scrub_every_days: i64,
    /// MiB that a scrub reads in a second, on average.
    pub scrub_mib_per_second: i64,
    /// MiB that a scrub reads at a time.
    pub scrub_mib_at_once: i64,
    /// Hours after which a pack that stays is compressed once more.
    pub condense_after_hours: i64,
    /// MiB of packs that are compressed once more in a second, on average; 0 is never.
    pub condense_mib_per_second: i64,
    /// MiB of packs after which such a run ends.
    pub condense_mib_at_once: i64,
    /// Hours between comparisons of catalog and stores.
    pub check_every_hours: i64,
    /// Minutes between measurements of what is stored.
    pub meter_every_minutes: i64,
}

impl Default for CareSettings {
    fn default() -> Self {
        Self {
            sweep_every_minutes: 10,
            sweep_grace_minutes: 60,
            scrub_every_days: 7,
            scrub_mib_per_second: 16,
            scrub_mib_at_once: 256,
            condense_after_hours: 24,
            condense_mib_per_second: 2,
            condense_mib_at_once: 64,
            check_every_hours: 6,
            meter_every_minutes: 60,
        }
    }
}

impl CareSettings {
    fn check(&self) -> Result<()> {
        let all = [
            self.sweep_every_minutes,
            self.sweep_grace_minutes,
            self.scrub_every_days,
            self.scrub_mib_per_second,
            self.scrub_mib_at_once,
            self.condense_after_hours,
            self.condense_mib_at_once,
            self.check_every_hours,
            self.meter_every_minutes,
        ];
        let may_be_0 = self.condense_mib_per_second;
        if all.iter().all(|value| (1..=VALUE_MAX).contains(value))
            && (0..=VALUE_MAX).contains(&may_be_0)
        {
            return Ok(());
        }
        Err(Error::bad_request(format!(
            "Every setting of the schedule is a whole number from 1 to {VALUE_MAX}; 'condenseMibPerSecond' may be 0 too."
        )))
    }
}

impl Engine {
    /// Returns how often the gallery cares for itself.
    pub async fn care_settings(&self) -> Result<CareSettings> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let kept = read.setting(SETTING).await.map_err(db)?;
        let Some(kept) = kept else {
            return Ok(CareSettings::default());
        };
        // Settings of a later release must not stop the care of an earlier one.
        Ok(serde_json::from_str(&kept).unwrap_or_else(|error| {
            tracing::warn!(%error, "the schedule's settings cannot be read; the defaults are used");
            CareSettings::default()
        }))
    }

    /// Changes how often the gallery cares for itself; every node follows within seconds.
    pub async fn set_care_settings(&self, settings: &CareSettings) -> Result<()> {
        settings.check()?;
        let text = serde_json::to_string(settings).map_err(|_| Error::internal())?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting(SETTING, &text).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }
}
