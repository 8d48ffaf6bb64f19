//! What each task of the schedule does in one region.

use blocks::{CondenseLimits, ScrubLimits, Store};
use catalog::CareRun;
use domain::Result;
use serde_json::{Value, json};

use super::schedule::{Done, MINUTE_MS};
use super::{CareSettings, Finding, finding, found};
use crate::Engine;
use crate::error::{blocks as store_error, catalog as db};

const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const MIB: u64 = 1 << 20;
/// The row of the last heal of a region.
const HEAL: &str = "heal";
/// How long after a heal that left something the next one may begin.
const HEAL_EVERY_MS: i64 = 6 * HOUR_MS;
/// Measurements written in one transaction.
const WRITTEN_AT_ONCE_MAX: usize = 200;
/// Findings that a run keeps.
const FINDINGS_MAX: usize = 100;

/// What a heal did.
#[derive(Default)]
struct Healed {
    frames: u64,
    manifests: u64,
    packs: u64,
    left: Vec<Finding>,
}

impl Engine {
    pub(super) async fn sweep_task(
        &self,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<Done> {
        let grace_ms = settings.sweep_grace_minutes * MINUTE_MS;
        let swept = self.sweep_region(region, store, grace_ms).await?;
        Ok(Done {
            result: json!({ "manifests": swept.manifests, "packs": swept.packs, "freedBytes": swept.freed_bytes }),
            due_ms: self.now_ms() + settings.sweep_every_minutes * MINUTE_MS,
        })
    }

    /// Reads a piece of what was not read for longest. The pace is kept by when the next piece is due.
    pub(super) async fn scrub_task(
        &self,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<Done> {
        let now_ms = self.now_ms();
        let nothing = ScrubLimits {
            bytes_max: 0,
            ..ScrubLimits::default()
        };
        let known = store.scrub_some(nothing, now_ms).await;
        let known = known.map_err(store_error)?;
        let every_ms = settings.scrub_every_days * DAY_MS;
        let fresh_ms = known
            .oldest_verified_ms
            .map_or(now_ms + HOUR_MS, |oldest| oldest + every_ms);
        if known.unverified_bytes == 0 && known.faults.is_empty() && fresh_ms > now_ms {
            let shown = json!({ "bytes": 0, "unverifiedBytes": 0, "oldestVerifiedMs": known.oldest_verified_ms, "findings": [] });
            // What is published meanwhile waits for its first check no longer than that.
            let due_ms = fresh_ms.min(now_ms + HOUR_MS);
            return Ok(Done {
                result: shown,
                due_ms,
            });
        }
        let piece = ScrubLimits {
            bytes_max: mib(settings.scrub_mib_at_once),
            ..ScrubLimits::default()
        };
        let scrubbed = store.scrub_some(piece, now_ms).await.map_err(store_error)?;
        let faults: Vec<Finding> = scrubbed
            .faults
            .into_iter()
            .map(|fault| found(region, fault))
            .collect();
        let result = json!({
            "bytes": scrubbed.bytes,
            "unverifiedBytes": scrubbed.unverified_bytes,
            "oldestVerifiedMs": scrubbed.oldest_verified_ms,
        });
        let result = self.heal_findings(region, store, faults, result).await?;
        let pause_ms = scrubbed.bytes.saturating_mul(1000) / mib(settings.scrub_mib_per_second);
        Ok(Done {
            result,
            due_ms: self.now_ms() + i64::try_from(pause_ms).unwrap_or(HOUR_MS).max(1000),
        })
    }

    /// Compresses once more what stays, a pack or a few. The pace is kept by when the next run is due.
    pub(super) async fn condense_task(
        &self,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<Done> {
        let per_second = settings.condense_mib_per_second;
        if per_second == 0 {
            return Ok(Done {
                result: json!({ "isOff": true }),
                due_ms: self.now_ms() + HOUR_MS,
            });
        }
        let limits = CondenseLimits {
            age_min_ms: settings.condense_after_hours * HOUR_MS,
            bytes_max: mib(settings.condense_mib_at_once),
            ..CondenseLimits::default()
        };
        let done = self.condense_region(region, store, limits).await?;
        let pause_ms = match done.bytes_waiting {
            0 => HOUR_MS,
            _ => i64::try_from(done.bytes_tried.saturating_mul(1000) / mib(per_second))
                .unwrap_or(HOUR_MS),
        };
        Ok(Done {
            result: json!({
                "packs": done.packs,
                "bytesBefore": done.bytes_before,
                "bytesAfter": done.bytes_after,
                "savedBytes": done.saved_bytes(),
                "waitingBytes": done.bytes_waiting,
            }),
            due_ms: self.now_ms() + pause_ms.max(MINUTE_MS),
        })
    }

    pub(super) async fn check_task(
        &self,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<Done> {
        let complete = self.complete_manifests(region).await?;
        let live = self.live_layers(region).await?;
        let faults = self.check_region(region, &complete, &live).await?;
        let waiting = self.unreferenced_in(region, store).await?.len();
        let result = json!({ "manifests": complete.len(), "unreferenced": waiting });
        Ok(Done {
            result: self.heal_findings(region, store, faults, result).await?,
            due_ms: self.now_ms() + settings.check_every_hours * HOUR_MS,
        })
    }

    pub(super) async fn meter_task(
        &self,
        region: &str,
        store: &Store,
        settings: &CareSettings,
    ) -> Result<Done> {
        let mut measured = self.measure_region(region, store).await?;
        measured.extend(self.measure_accounts(region, store).await?);
        for some in measured.chunks(WRITTEN_AT_ONCE_MAX) {
            let mut tx = self.catalog().write().await.map_err(db)?;
            for usage in some {
                tx.put_storage_usage(usage).await.map_err(db)?;
            }
            tx.commit().await.map_err(db)?;
        }
        let logical: i64 = measured.iter().map(|usage| usage.logical_bytes).sum();
        Ok(Done {
            result: json!({ "resources": measured.len(), "logicalBytes": logical }),
            due_ms: self.now_ms() + settings.meter_every_minutes * MINUTE_MS,
        })
    }

    /// Heals what was found, if anything, and adds to `result` what was healed and what is left.
    async fn heal_findings(
        &self,
        region: &str,
        store: &Store,
        faults: Vec<Finding>,
        mut result: Value,
    ) -> Result<Value> {
        let mut left = Vec::new();
        if !faults.is_empty() {
            for fault in &faults {
                tracing::error!(
                    region,
                    what = fault.what,
                    reason = fault.reason,
                    "stored content is not as it should be"
                );
            }
            left = match self.is_heal_due(region).await? {
                true => {
                    let healed = self.heal(region, store).await?;
                    result["healed"] = json!({ "frames": healed.frames, "manifests": healed.manifests, "packs": healed.packs });
                    self.put_off_heal(region, &healed.left).await?;
                    healed.left
                }
                false => faults,
            };
        }
        left.truncate(FINDINGS_MAX);
        result["findings"] = json!(left);
        Ok(result)
    }

    /// A heal reads the whole store: one that could not heal everything is not tried again at once.
    async fn is_heal_due(&self, region: &str) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let last = read.care_run(HEAL, region).await.map_err(db)?;
        Ok(last.is_none_or(|last| last.due_ms <= self.now_ms()))
    }

    async fn put_off_heal(&self, region: &str, left: &[Finding]) -> Result<()> {
        let pause_ms = match left.is_empty() {
            true => 0,
            false => HEAL_EVERY_MS,
        };
        let run = CareRun {
            task: HEAL.to_owned(),
            region: region.to_owned(),
            ended_ms: self.now_ms(),
            due_ms: self.now_ms() + pause_ms,
            result: json!({ "left": left.len() }),
            error: None,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_care_run(&run).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Brings from other regions what is damaged or missing in one.
    async fn heal(&self, region: &str, store: &Store) -> Result<Healed> {
        let mut healed = Healed::default();
        let others = || self.stores().filter(|(name, _)| *name != region);
        for (name, other) in others() {
            let repaired = match store.repair(other).await {
                Ok(repaired) => repaired,
                Err(error) => {
                    tracing::warn!(region, from = name, %error, "no repair from region {name}");
                    continue;
                }
            };
            healed.frames += repaired.frames;
            healed.manifests += repaired.manifests;
            healed.packs += repaired.packs;
            if repaired.left.is_empty() {
                break;
            }
        }
        for id in self.complete_manifests(region).await? {
            let Ok(id) = id.parse::<blocks::ManifestId>() else {
                continue;
            };
            if store.has_manifest(id).await.map_err(store_error)? {
                continue;
            }
            for (_, other) in others() {
                let progress = blocks::Progress::default();
                if matches!(other.has_manifest(id).await, Ok(true))
                    && store.copy_from(other, id, &progress).await.is_ok()
                {
                    healed.manifests += 1;
                    break;
                }
            }
        }
        let complete = self.complete_manifests(region).await?;
        let live = self.live_layers(region).await?;
        healed.left = self.check_region(region, &complete, &live).await?;
        let whole = store.scrub().await.map_err(store_error)?;
        let damaged = whole.faults.into_iter().map(|fault| found(region, fault));
        for fault in damaged {
            if !healed.left.contains(&fault) {
                healed.left.push(fault);
            }
        }
        if healed.left.is_empty() {
            tracing::info!(
                region,
                frames = healed.frames,
                manifests = healed.manifests,
                "healed region {region}"
            );
        }
        Ok(healed)
    }

    /// Returns what a region's store holds that no row refers to: it goes after its grace.
    pub(super) async fn unreferenced_in(
        &self,
        region: &str,
        store: &Store,
    ) -> Result<Vec<Finding>> {
        let live = self.needed_manifests(region).await?;
        let there = store.manifests().await.map_err(store_error)?;
        let reason = "no resource refers to it; the first sweep after its grace removes it";
        Ok(there
            .difference(&live)
            .map(|id| finding(region, format!("manifest {id}"), reason.to_owned()))
            .collect())
    }
}

fn mib(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(1).max(1) * MIB
}
