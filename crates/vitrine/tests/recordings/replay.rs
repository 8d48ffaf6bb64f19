//! One recording, replayed against one fresh server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testkit::{Answer, Arm, Gallery};

use crate::compare::{ABSENT, Bindings, Difference, compare, show};
use crate::exchange::{Exchange, RECORDED_SUBSCRIPTION, Recording};
use crate::marketplace;
use crate::stand_in::StandIns;

/// The subscription id that stands in recorded unique names.
const RECORDED_REAL_SUBSCRIPTION: &str = "0b1f6471-1bf0-4dda-aec3-cb9272f09590";
const GROUP_VERSION: &str = "2024-11-01";
/// The headers that hold URLs of operations; they are compared whether they were recorded or not.
const POLL_HEADERS: [&str; 2] = ["azure-asyncoperation", "location"];
/// What follows from the body, and the service's own signature of a poll's URL.
const NOT_COMPARED: [&str; 1] = ["content-length"];
const SIGNATURE: [&str; 4] = ["t", "c", "s", "h"];

/// A difference and where it was found.
pub struct Found {
    /// File and line.
    pub at: String,
    /// `METHOD TYPE PLACE`.
    pub place: String,
    /// What was recorded there.
    pub recorded: String,
    /// What is there now.
    pub ours: String,
}

struct Replay<'a> {
    server: &'a Gallery,
    arm: Arm,
    bindings: Bindings,
    stand_ins: StandIns<'a>,
    /// Unique names of galleries: as recorded, and ours.
    unique_names: Vec<(String, String)>,
}

/// Replays a recording and returns where ours is not as recorded.
pub async fn replay(server: &Gallery, recording: &Recording) -> Vec<Found> {
    let arm = server.arm().await;
    let mut replay = Replay {
        server,
        stand_ins: StandIns::new(server, &arm),
        arm,
        bindings: Bindings::default(),
        unique_names: Vec::new(),
    };
    let subscription = server.credential("subscriptionId");
    replay.bindings.bind(RECORDED_SUBSCRIPTION, &subscription);
    replay
        .bindings
        .bind(RECORDED_REAL_SUBSCRIPTION, &subscription);
    marketplace::offer(server, &replay.arm, recording).await;
    replay.make_groups(recording).await;
    let mut all = Vec::new();
    for exchange in &recording.exchanges {
        let found = replay.one(exchange).await;
        all.extend(found.into_iter().map(|d| Found {
            at: format!("{}:{}", recording.name, exchange.line),
            place: format!("{} {} {}", exchange.method, exchange.type_name(), d.place),
            recorded: d.recorded,
            ours: d.ours,
        }));
    }
    all
}

impl Replay<'_> {
    /// Recordings start in groups that somebody else had made.
    async fn make_groups(&self, recording: &Recording) {
        let groups: BTreeSet<&str> = recording
            .exchanges
            .iter()
            .filter_map(Exchange::group)
            .collect();
        for group in groups {
            let path = format!("{}/resourceGroups/{group}", self.server.subscription());
            let body = json!({ "location": "westus" });
            self.arm
                .done("PUT", &path, GROUP_VERSION, Some(&body))
                .await;
        }
    }

    async fn one(&mut self, exchange: &Exchange) -> Vec<Difference> {
        let path = self.bindings.ours(&self.with_our_names(&exchange.path));
        let query: Vec<String> = exchange
            .query
            .iter()
            .map(|(name, value)| format!("{}={value}", name.replace('$', "%24")))
            .collect();
        let body = match exchange.request.is_null() {
            true => None,
            false => {
                let body = self.bindings.ours(&exchange.request.to_string());
                let body = serde_json::from_str(&body).expect("still JSON");
                Some(self.stand_ins.request(exchange, body).await)
            }
        };
        let url = format!("{path}?{}", query.join("&"));
        let answer = self
            .arm
            .send(&exchange.method, &url, "", body.as_ref())
            .await;
        let mut out = Vec::new();
        if answer.status != exchange.status {
            self.stand_ins.remember(exchange);
            out.push(Difference {
                place: "status".to_owned(),
                recorded: exchange.status.to_string(),
                ours: format!("{} {}", answer.status, show(&answer.body)),
            });
            return out;
        }
        self.learn_name(&exchange.body, &answer.body);
        self.compare_headers(exchange, &answer, &mut out);
        let ours = self.with_recorded_names(self.stand_ins.turned_back(answer.body.clone()));
        compare(&mut self.bindings, "body", &exchange.body, &ours, &mut out);
        self.follow(exchange, &answer, &mut out).await;
        out
    }

    /// Remembers the unique name of a gallery that an answer shows.
    fn learn_name(&mut self, recorded: &Value, ours: &Value) {
        let name = |body: &Value| {
            let found = body.pointer("/properties/identifier/uniqueName");
            found.and_then(Value::as_str).map(str::to_owned)
        };
        if let (Some(recorded), Some(ours)) = (name(recorded), name(ours)) {
            self.unique_names.push((recorded, ours));
        }
    }

    fn with_our_names(&self, path: &str) -> String {
        let pairs = self.unique_names.iter();
        pairs.fold(path.to_owned(), |path, (recorded, ours)| {
            path.replace(recorded, ours)
        })
    }

    /// The id in a unique name is compared as an id; what follows it was made up by each service.
    fn with_recorded_names(&self, body: Value) -> Value {
        let tail = |name: &str| name.get(36..).unwrap_or_default().to_owned();
        let text = self
            .unique_names
            .iter()
            .fold(body.to_string(), |text, (recorded, ours)| {
                let named = format!("{}{}", &ours[..36.min(ours.len())], tail(recorded));
                text.replace(
                    &format!("/SharedGalleries/{ours}"),
                    &format!("/SharedGalleries/{named}"),
                )
                .replace(
                    &format!("\"name\":\"{ours}\""),
                    &format!("\"name\":\"{named}\""),
                )
            });
        serde_json::from_str(&text).expect("still JSON")
    }

    fn compare_headers(&mut self, exchange: &Exchange, answer: &Answer, out: &mut Vec<Difference>) {
        let mut names: BTreeSet<&str> = exchange.headers.keys().map(String::as_str).collect();
        names.extend(POLL_HEADERS);
        for name in names {
            if NOT_COMPARED.contains(&name) {
                continue;
            }
            let (recorded, ours) = (exchange.headers.get(name), answer.header(name));
            let place = format!("header {name}");
            match (recorded, ours) {
                (Some(recorded), Some(ours)) if POLL_HEADERS.contains(&name) => {
                    self.compare_urls(&place, recorded, ours, out);
                }
                (recorded, ours) if recorded.map(String::as_str) == ours => {}
                (recorded, ours) => out.push(Difference {
                    place,
                    recorded: recorded.map_or(ABSENT, String::as_str).to_owned(),
                    ours: ours.unwrap_or(ABSENT).to_owned(),
                }),
            }
        }
    }

    /// Compares the path and the options of a poll's URL; the host must be ours.
    fn compare_urls(&mut self, place: &str, recorded: &str, ours: &str, out: &mut Vec<Difference>) {
        let recorded = url_parts(recorded.strip_prefix("https://management.azure.com"));
        let ours = url_parts(ours.strip_prefix(self.server.endpoint()));
        compare(&mut self.bindings, place, &recorded, &ours, out);
    }

    /// Waits until the operation is over, as the recorded client did.
    async fn follow(&mut self, exchange: &Exchange, answer: &Answer, out: &mut Vec<Difference>) {
        if let Some(url) = answer.header("azure-asyncoperation") {
            let status = self.arm.poll(url).await;
            let recorded = exchange.last_status.as_ref();
            assert!(
                recorded.is_some() || status["status"] == "Succeeded",
                "{url}: {status}"
            );
            if let Some(recorded) = recorded {
                let status = self.stand_ins.turned_back(status);
                compare(&mut self.bindings, "poll", recorded, &status, out);
            }
        }
        if let Some(url) = answer.header("location") {
            let result = self.arm.monitor(url).await;
            if let Some((status, body)) = &exchange.last_result {
                let ours = self.stand_ins.turned_back(result.body);
                compare(&mut self.bindings, "result", body, &ours, out);
                assert_eq!(result.status, *status, "{url}");
            }
        }
    }
}

/// Returns path and options of what follows the host; options that sign the URL or route it are left out.
fn url_parts(rest: Option<&str>) -> Value {
    let Some(rest) = rest else {
        return json!("another host");
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut options: BTreeMap<&str, &str> = BTreeMap::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !SIGNATURE.contains(&name) {
            options.insert(name, if name == "p" { "" } else { value });
        }
    }
    json!({ "path": path, "options": options })
}
