//! `vitrine usage`: what a subscription is charged for, by day.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::metering::Days;
use serde_json::{Value, json};

use crate::client::Client;
use crate::commands::care::API_VERSION;
use crate::data_dir::DataDir;

/// Which gallery, subscription and days.
#[derive(clap::Args)]
pub struct Args {
    /// First day, as 2026-11-01; the first of this month when left out
    #[arg(long)]
    from: Option<String>,
    /// Last day; today when left out
    #[arg(long)]
    to: Option<String>,
    /// Subscription; the one of the credentials when left out
    #[arg(long)]
    subscription: Option<String>,
    /// Add up the days: one line a meter and region
    #[arg(long)]
    total: bool,
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

/// Runs the verb.
pub async fn run(args: Args) -> anyhow::Result<Value> {
    let rows = match Client::login(&args.data).await {
        Ok(client) => from_server(&client, &args).await?,
        Err(_) => from_directory(&args).await?,
    };
    Ok(if args.total { total(&rows) } else { rows })
}

async fn from_server(client: &Client, args: &Args) -> anyhow::Result<Value> {
    let subscription = args.subscription.as_deref();
    let mut path = format!(
        "/subscriptions/{}/providers/Vitrine.Gallery/usage?",
        subscription.unwrap_or(client.subscription())
    );
    for (name, day) in [("from", &args.from), ("to", &args.to)] {
        if let Some(day) = day {
            let is_plain = day.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            anyhow::ensure!(is_plain, "'{day}' is not a day; write it as 2026-11-25");
            path.push_str(&format!("{name}={day}&"));
        }
    }
    let path = path.trim_end_matches(['?', '&']);
    let answer = client.get(path, API_VERSION).await?;
    Ok(answer["value"].clone())
}

async fn from_directory(args: &Args) -> anyhow::Result<Value> {
    let data = DataDir::from(&args.data);
    let engine = data.open_engine().await?;
    let subscription = match &args.subscription {
        Some(subscription) => subscription.clone(),
        None => {
            let path = data.join("credentials.json");
            crate::credentials::Credentials::load(&path)?.subscription_id
        }
    };
    let days = Days::parse(args.from.as_deref(), args.to.as_deref(), engine.now_ms())?;
    let rows = engine.usage_now(&subscription, &days).await?;
    Ok(serde_json::to_value(rows)?)
}

/// Adds up days and resources: a bill has a line for each meter and region.
fn total(rows: &Value) -> Value {
    let mut sums: BTreeMap<[String; 4], f64> = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let key = ["subscription", "meter", "region", "target"].map(text);
        *sums.entry(key).or_default() += row["quantity"].as_f64().unwrap_or(0.0);
    }
    let lines = sums
        .into_iter()
        .map(|([subscription, meter, region, target], quantity)| {
            let unit = match meter.as_str() {
                "replication" | "download" => "GiB",
                _ => "GiB-days",
            };
            let quantity = (quantity * 1e6).round() / 1e6;
            json!({ "subscription": subscription, "meter": meter, "region": region, "target": target, "quantity": quantity, "unit": unit })
        });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_has_a_line_for_each_meter_and_region() {
        let row = |day: &str, meter: &str, quantity: f64| json!({ "day": day, "subscription": "s", "meter": meter, "region": "eastus", "target": "", "quantity": quantity, "bytes": 1 });
        let rows = json!([
            row("2026-11-01", "storage", 1.5),
            row("2026-11-02", "storage", 0.25),
            row("2026-11-02", "disks", 3.0),
            row("2026-11-02", "download", 2.0),
        ]);
        let lines = total(&rows);
        let shown: Vec<(&str, f64, &str)> = lines
            .as_array()
            .unwrap()
            .iter()
            .map(|l| {
                let text = |name: &str| l[name].as_str().unwrap();
                (text("meter"), l["quantity"].as_f64().unwrap(), text("unit"))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("disks", 3.0, "GiB-days"),
                ("download", 2.0, "GiB"),
                ("storage", 1.75, "GiB-days")
            ]
        );
    }
}
