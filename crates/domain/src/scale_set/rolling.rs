//! A rolling upgrade: how far it is, and when it stops.

use serde_json::{Value, json};

use super::policy::Rolling;
use crate::plan::moment;
use crate::{Error, Resource, Result};

const PROGRESS: &str = "rollingUpgrade";

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
        let held = set.internal.get(PROGRESS)?;
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
        let held = json!({
            "code": self.code.as_str(),
            "started": self.started_ms,
            "acted": self.acted_ms,
            "well": self.well,
            "unwell": self.unwell,
            "underWay": self.under_way,
            "pending": self.pending,
        });
        set.internal.insert(PROGRESS.to_owned(), held);
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
            "type": "Microsoft.Compute/virtualMachineScaleSets/rollingUpgrades",
            "location": set.location,
            "properties": {
                "policy": policy,
                "runningStatus": {
                    "code": self.code.as_str(),
                    "startTime": moment(self.started_ms)?,
                    "lastAction": last,
                    "lastActionTime": moment(self.acted_ms)?,
                },
                "progress": {
                    "successfulInstanceCount": self.well,
                    "failedInstanceCount": self.unwell,
                    "inProgressInstanceCount": self.under_way,
                    "pendingInstanceCount": self.pending,
                },
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
