//! A rolling upgrade: how far it is, and when it stops.

use serde_json::{Value, json};

use super::policy::Rolling;
use crate::plan::moment;
use crate::{Error, Resource, Result};

const PROGRESS: &str = "rollingUpgrade";
const TYPE: &str = "Microsoft.Compute/virtualMachineScaleSets/rollingUpgrades";
const HISTORY: &str = "osUpgrades";
/// Upgrades to a newer version that a set remembers.
const HISTORY_MAX: usize = 50;

/// Where a rolling upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollingCode {
    /// It goes on.
    RollingForward,
    /// It was stopped by somebody.
    Cancelled,
    /// All machines have the model.
    Completed,
    /// Too many machines were unwell.
    Faulted,
}

impl RollingCode {
    const ALL: [Self; 4] = [
        Self::RollingForward,
        Self::Cancelled,
        Self::Completed,
        Self::Faulted,
    ];

    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RollingForward => "RollingForward",
            Self::Cancelled => "Cancelled",
            Self::Completed => "Completed",
            Self::Faulted => "Faulted",
        }
    }
}

/// The last rolling upgrade of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub code: RollingCode,
    /// When it began, ms UTC.
    pub started_ms: i64,
    /// When it last did something, ms UTC.
    pub acted_ms: i64,
    /// Machines that were upgraded and are well.
    pub well: usize,
    /// Machines that were upgraded and are not.
    pub unwell: usize,
    /// Machines that are being upgraded.
    pub under_way: usize,
    /// Machines that are to come.
    pub pending: usize,
}

impl Progress {
    /// Returns the last rolling upgrade of a set.
    pub fn of(set: &Resource) -> Option<Self> {
        Self::read(set.internal.get(PROGRESS)?)
    }

    fn read(held: &Value) -> Option<Self> {
        let code = held.get("code")?.as_str()?;
        let number = |name: &str| held.get(name).and_then(Value::as_i64).unwrap_or(0);
        let count = |name: &str| usize::try_from(number(name)).unwrap_or(0);
        Some(Self {
            code: RollingCode::ALL
                .into_iter()
                .find(|known| known.as_str() == code)?,
            started_ms: number("started"),
            acted_ms: number("acted"),
            well: count("well"),
            unwell: count("unwell"),
            under_way: count("underWay"),
            pending: count("pending"),
        })
    }

    /// Records it.
    pub fn set(&self, set: &mut Resource) {
        set.internal.insert(PROGRESS.to_owned(), self.kept());
    }

    fn kept(&self) -> Value {
        json!({
            "code": self.code.as_str(),
            "started": self.started_ms,
            "acted": self.acted_ms,
            "well": self.well,
            "unwell": self.unwell,
            "underWay": self.under_way,
            "pending": self.pending,
        })
    }

    /// Writes the upgrade into the set's history: changes what is there of it, or adds it when `by` says who began
    /// it. The oldest ones are forgotten.
    pub fn remember(&self, set: &mut Resource, by: Option<&str>) {
        let profile = set.properties.get("virtualMachineProfile");
        let image = profile.and_then(|p| p.pointer("/storageProfile/imageReference"));
        let image = image.cloned().unwrap_or_default();
        let history = set.internal.entry(HISTORY).or_insert_with(|| json!([]));
        let Some(history) = history.as_array_mut() else {
            return;
        };
        let started = json!(self.started_ms);
        let held = history
            .iter_mut()
            .find(|held| held.get("started") == Some(&started));
        match (held.and_then(Value::as_object_mut), by) {
            (Some(held), _) => {
                if let Value::Object(kept) = self.kept() {
                    held.extend(kept);
                }
            }
            (None, Some(by)) => {
                let mut new = self.kept();
                (new["by"], new["image"]) = (json!(by), image);
                history.push(new);
            }
            (None, None) => {}
        }
        let surplus = history.len().saturating_sub(HISTORY_MAX);
        history.drain(..surplus);
    }

    /// Returns what `osUpgradeHistory` lists, the newest first.
    pub fn history(set: &Resource) -> Result<Vec<Value>> {
        let held = set.internal.get(HISTORY).and_then(Value::as_array);
        let mut out = Vec::new();
        for (held, progress) in held
            .into_iter()
            .flatten()
            .rev()
            .filter_map(|held| Some((held, Self::read(held)?)))
        {
            let mut status = json!({
                "code": progress.code.as_str(),
                "startTime": moment(progress.started_ms)?,
            });
            if progress.code != RollingCode::RollingForward {
                status["endTime"] = moment(progress.acted_ms)?;
            }
            out.push(json!({
                "properties": {
                    "runningStatus": status,
                    "progress": progress.counts(),
                    "startedBy": held.get("by"),
                    "targetImageReference": held.get("image"),
                    "rollbackInfo": {
                        "successfullyRolledbackInstanceCount": 0,
                        "failedRolledbackInstanceCount": 0,
                    },
                },
                "type": TYPE,
                "location": set.location,
            }));
        }
        Ok(out)
    }

    fn counts(&self) -> Value {
        json!({
            "successfulInstanceCount": self.well,
            "failedInstanceCount": self.unwell,
            "inProgressInstanceCount": self.under_way,
            "pendingInstanceCount": self.pending,
        })
    }

    /// Returns what `rollingUpgrades/latest` shows.
    pub fn shown(&self, set: &Resource) -> Result<Value> {
        let policy = set.properties.get("upgradePolicy");
        let policy = policy.and_then(|p| p.get("rollingUpgradePolicy"));
        let last = match self.code {
            RollingCode::Cancelled => "Cancel",
            _ => "Start",
        };
        Ok(json!({
            "id": format!("{}/rollingUpgrades/latest", set.id),
            "name": "latest",
            "type": TYPE,
            "location": set.location,
            "properties": {
                "policy": policy,
                "runningStatus": {
                    "code": self.code.as_str(),
                    "startTime": moment(self.started_ms)?,
                    "lastAction": last,
                    "lastActionTime": moment(self.acted_ms)?,
                },
                "progress": self.counts(),
            },
        }))
    }
}

impl Rolling {
    /// Returns how many machines one batch has: at least one.
    pub fn batch(&self, all: usize) -> usize {
        let all = u64::try_from(all).unwrap_or(u64::MAX);
        let batch = (all * self.batch_percent / 100).max(1);
        usize::try_from(batch).unwrap_or(usize::MAX)
    }

    /// Refuses to go on while too many machines of the set are unwell.
    pub fn check(&self, all: usize, unhealthy: usize, has_begun: bool) -> Result<()> {
        if !is_over(unhealthy, all, self.unhealthy_percent) {
            return Ok(());
        }
        let (code, when) = match has_begun {
            false => (
                "MaxUnhealthyInstancePercentExceededBeforeRollingUpgrade",
                "before rolling upgrade",
            ),
            true => (
                "MaxUnhealthyInstancePercentExceededInRollingUpgrade",
                "during rolling upgrade",
            ),
        };
        Err(Error::conflict(
            code,
            format!(
                "Rolling Upgrade failed after exceeding the MaxUnhealthyInstancePercent value defined in the \
                 RollingUpgradePolicy. {unhealthy} of {all} instances are in an unhealthy state {when} - more than the \
                 threshold of {}% configured in the RollingUpgradePolicy. For details on rolling upgrades, use \
                 http://aka.ms/AzureVMSSRollingUpgrade",
                self.unhealthy_percent
            ),
        ))
    }

    /// Refuses to go on when too many machines are unwell after they were upgraded.
    pub fn check_upgraded(&self, upgraded: usize, unhealthy: usize) -> Result<()> {
        if !is_over(unhealthy, upgraded, self.unhealthy_upgraded_percent) {
            return Ok(());
        }
        Err(Error::conflict(
            "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade",
            format!(
                "Rolling Upgrade failed after exceeding the MaxUnhealthyUpgradedInstancePercent value defined in the \
                 RollingUpgradePolicy. {unhealthy} of {upgraded} instances are in an unhealthy state after being upgraded - more \
                 than the threshold of {}% configured in the RollingUpgradePolicy. The most impactful error is: Instance found \
                 to be unhealthy or unreachable. For details on rolling upgrades, use http://aka.ms/AzureVMSSRollingUpgrade",
                self.unhealthy_upgraded_percent
            ),
        ))
    }
}

fn is_over(part: usize, all: usize, percent: u64) -> bool {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    part > 0 && wide(part).saturating_mul(100) > wide(all).saturating_mul(percent)
}
