//! `upgradePolicy`: how machines get a changed model.

use serde_json::{Value, json};

use super::PROFILE;
use crate::plan::{canonical, is_nothing, text};
use crate::resource::Document;
use crate::{Error, Resource, Result};

const POLICY: &str = "upgradePolicy";

/// When machines get a changed model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When somebody asks for it.
    Manual,
    /// All at once.
    Automatic,
    /// Batch after batch, as long as enough machines are well.
    Rolling,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Manual, Self::Automatic, Self::Rolling];

    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "Manual",
            Self::Automatic => "Automatic",
            Self::Rolling => "Rolling",
        }
    }
}

/// How a rolling upgrade goes on; percentages are of all machines of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Machines of one batch.
    pub batch_percent: u64,
    /// Machines that may be unwell at any time.
    pub unhealthy_percent: u64,
    /// Machines that may be unwell after they were upgraded.
    pub unhealthy_upgraded_percent: u64,
    /// Between two batches, in milliseconds.
    pub pause_ms: i64,
    /// Whether machines that are unwell come first.
    pub unhealthy_first: bool,
}

/// Plans the policy: words, defaults and ranges.
pub(super) fn plan(row: &mut Resource) -> Result<()> {
    let is_flexible = super::is_flexible(row);
    let has_profile = row.properties.contains_key(PROFILE);
    let held = row.properties.get(POLICY).filter(|p| !is_nothing(p));
    let mut policy = match held.and_then(Value::as_object) {
        Some(policy) => policy.clone(),
        None if is_flexible => Document::new(),
        None if has_profile => return Err(Error::required(POLICY)),
        None => return Ok(()),
    };
    let modes = Mode::ALL.map(Mode::as_str);
    canonical(&mut policy, "mode", &modes, "upgradePolicy.mode")?;
    match text(&policy, "mode") {
        Some(_) => {}
        None if is_flexible => {
            policy.insert("mode".to_owned(), json!("Manual"));
        }
        None => return Err(Error::required("upgradePolicy.mode")),
    }
    let is_rolling = text(&policy, "mode") == Some("Rolling");
    let has_rolling = policy
        .get("rollingUpgradePolicy")
        .is_some_and(|p| !is_nothing(p));
    if is_rolling || has_rolling {
        let rolling = policy
            .entry("rollingUpgradePolicy")
            .or_insert_with(|| json!({}));
        if let Some(rolling) = rolling.as_object_mut() {
            plan_rolling(rolling)?;
        }
    }
    row.properties
        .insert(POLICY.to_owned(), Value::Object(policy));
    if is_rolling && !has_health(row) {
        return Err(Error::bad_request(
            "Rolling Upgrade mode is not supported for this Virtual Machine Scale Set because a health probe or health \
             extension was not provided.",
        ));
    }
    Ok(())
}

fn plan_rolling(rolling: &mut Document) -> Result<()> {
    for (name, least) in [
        ("maxBatchInstancePercent", 5),
        ("maxUnhealthyInstancePercent", 5),
        ("maxUnhealthyUpgradedInstancePercent", 0),
    ] {
        let percent = rolling.entry(name).or_insert_with(|| json!(20));
        if !percent.as_u64().is_some_and(|p| (least..=100).contains(&p)) {
            return Err(Error::invalid_parameter(
                format!("rollingUpgradePolicy.{name}"),
                format!(
                    "The value {percent} of parameter rollingUpgradePolicy.{name} is out of range. The value must be between \
                     {least} and 100, inclusive."
                ),
            ));
        }
    }
    let pause = rolling
        .entry("pauseTimeBetweenBatches")
        .or_insert_with(|| json!("PT0S"));
    if pause.as_str().and_then(milliseconds).is_none() {
        return Err(Error::invalid_parameter(
            "rollingUpgradePolicy.pauseTimeBetweenBatches",
            format!(
                "The value {pause} of parameter rollingUpgradePolicy.pauseTimeBetweenBatches is invalid. It must be a duration \
                 of at most one hour such as 'PT30S'."
            ),
        ));
    }
    Ok(())
}

/// Whether something says how a machine is.
fn has_health(row: &Resource) -> bool {
    let profile = row.properties.get(PROFILE);
    let probe = profile.and_then(|p| p.pointer("/networkProfile/healthProbe/id"));
    let extensions = profile.and_then(|p| p.pointer("/extensionProfile/extensions"));
    let extensions = extensions.and_then(Value::as_array);
    probe.is_some() || extensions.is_some_and(|all| all.iter().any(is_health_extension))
}

/// Whether an extension only says how the guest is, which this service sees by itself.
pub(super) fn is_health_extension(extension: &Value) -> bool {
    let says = |name: &str| {
        let value = extension.pointer(&format!("/properties/{name}"));
        value.and_then(Value::as_str).unwrap_or_default()
    };
    says("publisher").eq_ignore_ascii_case("Microsoft.ManagedServices")
        && ["ApplicationHealthLinux", "ApplicationHealthWindows"].contains(&says("type"))
}

/// Reads a duration of at most an hour, `PT1M30S`.
fn milliseconds(text: &str) -> Option<i64> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    let ms = i64::try_from(span.as_millis()).ok()?;
    (0..=3_600_000).contains(&ms).then_some(ms)
}

/// Returns when machines of a set get a changed model.
pub fn mode(set: &Resource) -> Mode {
    let policy = set.properties.get(POLICY);
    let word = policy.and_then(|p| p.get("mode")).and_then(Value::as_str);
    Mode::ALL
        .into_iter()
        .find(|mode| Some(mode.as_str()) == word)
        .unwrap_or(Mode::Manual)
}

/// Returns how rolling upgrades of a set go on.
pub fn rolling(set: &Resource) -> Rolling {
    let policy = set.properties.get(POLICY);
    let policy = policy.and_then(|p| p.get("rollingUpgradePolicy"));
    let percent = |name: &str| {
        let sent = policy.and_then(|p| p.get(name)).and_then(Value::as_u64);
        sent.unwrap_or(20)
    };
    let pause = policy.and_then(|p| p.get("pauseTimeBetweenBatches"));
    let pause = pause.and_then(Value::as_str).and_then(milliseconds);
    let first = policy.and_then(|p| p.get("prioritizeUnhealthyInstances"));
    Rolling {
        batch_percent: percent("maxBatchInstancePercent"),
        unhealthy_percent: percent("maxUnhealthyInstancePercent"),
        unhealthy_upgraded_percent: percent("maxUnhealthyUpgradedInstancePercent"),
        pause_ms: pause.unwrap_or(0),
        unhealthy_first: first == Some(&Value::Bool(true)),
    }
}

/// Whether machines of a set get a newer version of their image by themselves.
pub fn automatic_os_upgrade(set: &Resource) -> bool {
    let policy = set.properties.get(POLICY);
    let asked =
        policy.and_then(|p| p.pointer("/automaticOSUpgradePolicy/enableAutomaticOSUpgrade"));
    asked == Some(&Value::Bool(true))
}
