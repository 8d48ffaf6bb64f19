//! `vitrine schedule`: what the gallery does for itself, when, and what it found.

use std::path::PathBuf;

use anyhow::Context as _;
use engine::care::CareSettings;
use serde_json::{Value, json};

use crate::data_dir::DataDir;
use crate::output::Format;

/// Which gallery, and what changes.
#[derive(clap::Args)]
pub struct Args {
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
    /// Change a setting, as in scrubMibPerSecond=32 (can be repeated); a running gallery follows at once
    #[arg(long, value_name = "NAME=NUMBER")]
    set: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, format: Format) -> anyhow::Result<Value> {
    let engine = DataDir::from(&args.data).open_engine().await?;
    if !args.set.is_empty() {
        let settings = changed(&engine.care_settings().await?, &args.set)?;
        engine.set_care_settings(&settings).await?;
    }
    let schedule = engine.schedule_now().await?;
    if format == Format::Json {
        return Ok(serde_json::to_value(schedule)?);
    }
    let rows = schedule.runs.into_iter().map(|run| {
        let findings = run.result.get("findings").and_then(Value::as_array);
        json!({
            "task": run.task,
            "region": run.region,
            "ended": run.ended,
            "due": run.due,
            "findings": findings.map(Vec::len),
            "error": run.error,
        })
    });
    Ok(rows.collect())
}

fn changed(settings: &CareSettings, set: &[String]) -> anyhow::Result<CareSettings> {
    let mut value = serde_json::to_value(settings)?;
    for text in set {
        let (name, number) = text
            .split_once('=')
            .with_context(|| format!("'{text}' is not NAME=NUMBER"))?;
        let number: i64 = number
            .parse()
            .with_context(|| format!("'{number}' in --set {text} is not a whole number"))?;
        let known = value.as_object().map(|members| {
            let names: Vec<&str> = members.keys().map(String::as_str).collect();
            names.join(", ")
        });
        let slot = value.get_mut(name).with_context(|| {
            format!(
                "there is no setting '{name}'; there are {}",
                known.unwrap_or_default()
            )
        })?;
        *slot = json!(number);
    }
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_changed_by_its_name_and_no_other() {
        let old = CareSettings::default();
        let set = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
            changed(&old, &texts)
        };
        let new = set(&["scrubMibPerSecond=32", "checkEveryHours=1"]).unwrap();
        let wanted = CareSettings {
            scrub_mib_per_second: 32,
            check_every_hours: 1,
            ..old.clone()
        };
        assert_eq!(new, wanted);
        for bad in ["scrub=1", "scrubMibPerSecond", "scrubMibPerSecond=fast"] {
            assert!(set(&[bad]).is_err(), "{bad}");
        }
    }
}
