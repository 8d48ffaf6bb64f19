//! What this process counts, as Prometheus reads it.
//!
//! Labels come from fixed lists and from the configured regions alone: no name, id, address or path
//! of anybody is ever a label, so the number of series is bounded whatever is asked of the server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Result;
use serde_json::Value;

use crate::error::catalog as db;
use crate::{Ctx, Engine};

const PLANES: [&str; 2] = ["arm", "blob"];
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "other"];
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];
/// Upper ends of the histogram of durations, in milliseconds.
const ENDS_MS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];
/// How long the stores may take to say what they hold.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// Which face of the server a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// The resource manager.
    Arm = 0,
    /// Blobs and disks.
    Blob = 1,
}

/// The counters of one process; clones share them.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Default)]
struct Counters {
    requests: [[[AtomicU64; CLASSES.len()]; METHODS.len()]; PLANES.len()],
    durations: [[AtomicU64; ENDS_MS.len() + 1]; PLANES.len()],
    duration_us: [AtomicU64; PLANES.len()],
    download_bytes: AtomicU64,
    replication_bytes: AtomicU64,
}

/// A gauge of a store: name, help, how to read it.
type Gauge = (&'static str, &'static str, fn(&blocks::Stat) -> u64);

impl Metrics {
    /// Counts a request that was answered.
    pub fn count_request(&self, plane: Plane, method: &str, status: u16, took: Duration) {
        let method = METHODS.iter().position(|m| *m == method);
        let class = match status {
            200..=299 => 0,
            300..=399 => 1,
            400..=499 => 2,
            500..=599 => 3,
            _ => 4,
        };
        let plane = plane as usize;
        let counts = &self.0.requests[plane][method.unwrap_or(METHODS.len() - 1)];
        counts[class].fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = ENDS_MS.iter().position(|end| millis <= *end);
        self.0.durations[plane][bucket.unwrap_or(ENDS_MS.len())].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.duration_us[plane].fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn add_download(&self, bytes: u64) {
        self.0.download_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_replication(&self, bytes: u64) {
        self.0.replication_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn write(&self, out: &mut Text) {
        out.family("vitrine_requests_total", "counter", "Requests answered");
        for (plane, methods) in PLANES.iter().zip(&self.0.requests) {
            for (method, classes) in METHODS.iter().zip(methods) {
                for (class, count) in CLASSES.iter().zip(classes) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = [("plane", *plane), ("method", *method), ("status", *class)];
                        out.sample("vitrine_requests_total", &labels, count);
                    }
                }
            }
        }
        self.write_durations(out);
        for (name, help, value) in [
            (
                "vitrine_download_bytes_total",
                "Bytes of disks and blobs sent to clients",
                &self.0.download_bytes,
            ),
            (
                "vitrine_replication_bytes_total",
                "Stored bytes copied between regions",
                &self.0.replication_bytes,
            ),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], value.load(Ordering::Relaxed));
        }
    }

    fn write_durations(&self, out: &mut Text) {
        const NAME: &str = "vitrine_request_duration_seconds";
        out.family(NAME, "histogram", "How long requests took");
        for (at, plane) in PLANES.iter().enumerate() {
            let mut so_far = 0;
            for (bucket, count) in self.0.durations[at].iter().enumerate() {
                so_far += count.load(Ordering::Relaxed);
                let end = ENDS_MS.get(bucket).map(|ms| seconds(*ms, 1000));
                let end = end.unwrap_or_else(|| "+Inf".to_owned());
                let labels = [("plane", *plane), ("le", end.as_str())];
                out.sample("vitrine_request_duration_seconds_bucket", &labels, so_far);
            }
            let labels = [("plane", *plane)];
            let total = seconds(self.0.duration_us[at].load(Ordering::Relaxed), 1_000_000);
            out.sample("vitrine_request_duration_seconds_sum", &labels, total);
            out.sample("vitrine_request_duration_seconds_count", &labels, so_far);
        }
    }
}

impl Engine {
    /// Returns the metrics, for those who may read what is stored.
    pub async fn metrics_for(&self, ctx: &Ctx) -> Result<String> {
        self.authorize_operator(ctx).await?;
        self.metrics_text().await
    }

    /// Returns the metrics in the text format of Prometheus.
    pub async fn metrics_text(&self) -> Result<String> {
        let mut out = Text::default();
        self.metrics().write(&mut out);
        let mut read = self.catalog().read().await.map_err(db)?;
        let counts = read.counts().await.map_err(db)?;
        let open = read.count_open_operations().await.map_err(db)?;
        let runs = read.care_runs().await.map_err(db)?;
        drop(read);
        out.family("vitrine_resources", "gauge", "Resources by type");
        for (kind, count) in counts {
            out.sample("vitrine_resources", &[("type", kind.type_name())], count);
        }
        out.family(
            "vitrine_operations_open",
            "gauge",
            "Operations that are not over",
        );
        out.sample("vitrine_operations_open", &[], open);
        self.write_stores(&mut out).await;
        write_runs(&mut out, &runs);
        Ok(out.0)
    }

    async fn write_stores(&self, out: &mut Text) {
        let mut stats = Vec::new();
        for region in self.regions().iter() {
            let open = self.stores().find(|(name, _)| *name == region.name);
            let stat = match open {
                Some((_, store)) => tokio::time::timeout(STORE_LIMIT, store.stat()).await.ok(),
                // It could not be opened yet.
                None => None,
            };
            stats.push((region.name.as_str(), stat.and_then(|stat| stat.ok())));
        }
        out.family(
            "vitrine_store_up",
            "gauge",
            "Whether the region's store answers",
        );
        for (region, stat) in &stats {
            let labels = [("region", *region)];
            out.sample("vitrine_store_up", &labels, u8::from(stat.is_some()));
        }
        let gauges: [Gauge; 4] = [
            ("vitrine_store_bytes", "Bytes of packs", |s| s.stored_bytes),
            ("vitrine_store_packs", "Packs", |s| s.packs),
            ("vitrine_store_manifests", "Immutable disks", |s| {
                s.manifests
            }),
            (
                "vitrine_store_layers",
                "Writable disks and blobs of this node",
                |s| s.layers,
            ),
        ];
        for (name, help, value) in gauges {
            out.family(name, "gauge", help);
            for (region, stat) in &stats {
                if let Some(stat) = stat {
                    out.sample(name, &[("region", *region)], value(stat));
                }
            }
        }
    }
}

/// Writes what the schedule found: times in seconds since the epoch, so that an alert can compare them.
fn write_runs(out: &mut Text, runs: &[catalog::CareRun]) {
    const DONE: &str = "vitrine_care_last_run_timestamp_seconds";
    const FAILED: &str = "vitrine_care_failed";
    const FOUND: &str = "vitrine_care_findings";
    const OLDEST: &str = "vitrine_scrub_oldest_verified_timestamp_seconds";
    const UNVERIFIED: &str = "vitrine_scrub_unverified_bytes";
    let number = |run: &catalog::CareRun, name: &str| run.result.get(name).and_then(Value::as_i64);
    let labels =
        |run: &catalog::CareRun| [("task", run.task.clone()), ("region", run.region.clone())];
    out.family(DONE, "gauge", "When a task of the schedule ran last");
    for run in runs {
        out.owned(DONE, &labels(run), run.ended_ms / 1000);
    }
    out.family(
        FAILED,
        "gauge",
        "Whether the last run of a task did not come to its end",
    );
    for run in runs {
        out.owned(FAILED, &labels(run), u8::from(run.error.is_some()));
    }
    out.family(
        FOUND,
        "gauge",
        "What the last run of a task found and could not heal",
    );
    for run in runs {
        if let Some(found) = run.result.get("findings").and_then(Value::as_array) {
            out.owned(FOUND, &labels(run), found.len());
        }
    }
    let scrubs = || runs.iter().filter(|run| run.task == "scrub");
    out.family(
        OLDEST,
        "gauge",
        "When the bytes were checked whose check is longest ago; missing while some never were",
    );
    for run in scrubs() {
        if let Some(oldest) = number(run, "oldestVerifiedMs") {
            out.sample(OLDEST, &[("region", run.region.as_str())], oldest / 1000);
        }
    }
    out.family(
        UNVERIFIED,
        "gauge",
        "Stored bytes that no scrub has checked",
    );
    for run in scrubs() {
        if let Some(bytes) = number(run, "unverifiedBytes") {
            out.sample(UNVERIFIED, &[("region", run.region.as_str())], bytes);
        }
    }
}

/// The text format: `# HELP`, `# TYPE`, samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let shown: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let shown = match shown.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", shown.join(",")),
        };
        let _ = writeln!(self.0, "{name}{shown} {value}");
    }

    fn owned(&mut self, name: &str, labels: &[(&str, String)], value: impl std::fmt::Display) {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(l, v)| (*l, v.as_str())).collect();
        self.sample(name, &labels, value);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Returns `count` parts of `parts` in a second as decimal seconds.
fn seconds(count: u64, parts: u64) -> String {
    let digits = parts.ilog10() as usize;
    let text = format!("{}.{:0digits$}", count / parts, count % parts);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_the_series_are_few_and_hold_nobodys_words() {
        let metrics = Metrics::default();
        for number in 0..1000_u16 {
            let method = format!("M{number}");
            let took = Duration::from_millis(u64::from(number) * 100);
            metrics.count_request(Plane::Arm, &method, number, took);
            metrics.count_request(Plane::Blob, "GET", 200, took);
        }
        let mut out = Text::default();
        metrics.write(&mut out);
        assert!(out.0.lines().count() < 60, "{}", out.0);
        assert!(!out.0.contains("M1"), "{}", out.0);
        let get = "vitrine_requests_total{plane=\"blob\",method=\"GET\",status=\"2xx\"} 1000\n";
        assert!(out.0.contains(get), "{}", out.0);
        let all = "vitrine_request_duration_seconds_bucket{plane=\"blob\",le=\"+Inf\"} 1000\n";
        assert!(out.0.contains(all), "{}", out.0);
        let half = "vitrine_request_duration_seconds_bucket{plane=\"blob\",le=\"0.5\"} 6\n";
        assert!(out.0.contains(half), "{}", out.0);
    }

    #[test]
    fn labels_are_escaped_and_seconds_are_decimal() {
        let mut out = Text::default();
        out.sample("n", &[("region", "a\"b\\c\nd")], 1);
        assert_eq!(out.0, "n{region=\"a\\\"b\\\\c\\nd\"} 1\n");
        let all: Vec<String> = [(5, 1000), (2500, 1000), (0, 1000), (1, 1_000_000)]
            .map(|(count, parts)| seconds(count, parts))
            .into();
        assert_eq!(all, ["0.005", "2.5", "0", "0.000001"]);
    }
}
