//! Recorded exchanges: read from files, each with the polls of the operation that it started.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The subscription id that stands in recorded paths and bodies.
pub const RECORDED_SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";

/// Segments before the id of an operation.
const POLLED: [&str; 4] = [
    "capsoperations",
    "diskoperations",
    "operations",
    "operationstatuses",
];

/// What the recorder wrote into paths in place of a deployment's name; bodies kept it.
const MASKED_DEPLOYMENT: &str = "/deployments/mock-deployment";

/// The exchanges of one recorded client run, in order.
pub struct Recording {
    /// The name of the file without its ending.
    pub name: String,
    /// What was sent and answered; polls are in the exchanges that they belong to.
    pub exchanges: Vec<Exchange>,
}

/// One request and its answer.
pub struct Exchange {
    /// The line in the file, from 1.
    pub line: usize,
    /// The verb.
    pub method: String,
    /// The path as recorded.
    pub path: String,
    /// The query as recorded.
    pub query: Vec<(String, String)>,
    /// The body of the request, null when there was none.
    pub request: Value,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body of the answer, null when there was none.
    pub body: Value,
    /// The last recorded answer of the operation's status.
    pub last_status: Option<Value>,
    /// The last recorded answer of the operation's `Location`: status and body.
    pub last_result: Option<(u16, Value)>,
}

/// Reads every recording beside the repository.
pub fn load_all() -> Vec<Recording> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: the recordings of the real service lie beside the clone, in ../shared/reference/recordings",
            folder.display()
        )
    });
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no recordings", folder.display());
    files.iter().map(|path| load(path)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/recordings")
}

fn load(path: &Path) -> Recording {
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut started: HashMap<String, usize> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let mut exchange = parse(&name, at + 1, line);
        exchange.unmask();
        if let Some(id) = operation_id(&exchange.path) {
            let issuer = started
                .get(&id)
                .unwrap_or_else(|| panic!("{name}:{}: nothing started {id}", at + 1));
            exchanges[*issuer].add_poll(exchange);
            continue;
        }
        for header in ["azure-asyncoperation", "location"] {
            let url = exchange.headers.get(header);
            if let Some(id) = url.and_then(|url| operation_id(url)) {
                started.insert(id, exchanges.len());
            }
        }
        exchanges.push(exchange);
    }
    Recording { name, exchanges }
}

fn parse(name: &str, number: usize, line: &str) -> Exchange {
    let mut row: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}:{number}: {error}"));
    let word = |member: &str| {
        let text = row[member].as_str();
        text.unwrap_or_else(|| panic!("{name}:{number}: {member}"))
            .to_owned()
    };
    let (method, path) = (word("method"), word("path"));
    let status = row["status"].as_u64().and_then(|s| u16::try_from(s).ok());
    Exchange {
        line: number,
        method,
        path,
        query: texts(&row["query"]).collect(),
        request: row["request_body"].take(),
        status: status.unwrap_or_else(|| panic!("{name}:{number}: status")),
        headers: texts(&row["response_headers"]).collect(),
        body: row["response_body"].take(),
        last_status: None,
        last_result: None,
    }
}

fn texts(members: &Value) -> impl Iterator<Item = (String, String)> {
    members
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), value)
        })
}

/// Returns the id of the operation that a path or URL polls.
fn operation_id(url: &str) -> Option<String> {
    let path = url.split('?').next().unwrap_or_default();
    let mut segments = path.rsplit('/');
    let (id, family) = (segments.next()?, segments.next()?);
    POLLED
        .contains(&family.to_ascii_lowercase().as_str())
        .then(|| id.to_owned())
}

impl Exchange {
    /// Gives a deployment its own name back.
    fn unmask(&mut self) {
        if let Some(name) = self.body["name"].as_str() {
            let named = format!("/deployments/{name}");
            self.path = self.path.replace(MASKED_DEPLOYMENT, &named);
        }
    }

    fn add_poll(&mut self, poll: Self) {
        if poll.option("monitor").is_some() {
            self.last_result = Some((poll.status, poll.body));
        } else {
            self.last_status = Some(poll.body);
        }
    }

    /// Returns a query option.
    pub fn option(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the type of what the path names, `Microsoft.Compute/` left out: `galleries/images`.
    pub fn type_name(&self) -> String {
        let at = self.path.to_ascii_lowercase().rfind("/providers/");
        let tail = at.map_or(self.path.as_str(), |at| {
            &self.path[at + "/providers/".len()..]
        });
        let mut segments = tail.split('/');
        let namespace = segments.next().unwrap_or_default();
        let types: Vec<&str> = segments.step_by(2).collect();
        match namespace.eq_ignore_ascii_case("Microsoft.Compute") {
            true => types.join("/"),
            false => format!("{namespace}/{}", types.join("/")),
        }
    }

    /// Returns the name of the resource group that the path lies in.
    pub fn group(&self) -> Option<&str> {
        let mut segments = self.path.split('/');
        segments
            .find(|s| s.eq_ignore_ascii_case("resourceGroups"))
            .and_then(|_| segments.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_belongs_to_the_exchange_that_started_the_operation() {
        for recording in load_all() {
            for exchange in &recording.exchanges {
                let at = format!("{}:{}", recording.name, exchange.line);
                assert!(operation_id(&exchange.path).is_none(), "{at}");
                let is_started = exchange.headers.contains_key("azure-asyncoperation");
                assert!(is_started || exchange.last_status.is_none(), "{at}");
            }
        }
    }

    #[test]
    fn types_are_every_other_segment() {
        let line = |path: &str| {
            serde_json::json!({ "method": "GET", "path": path, "status": 200 }).to_string()
        };
        for (path, type_name) in [
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/d",
                "galleries/images",
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries",
                "galleries",
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/share",
                "galleries/share",
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Resources/deployments/x",
                "Microsoft.Resources/deployments",
            ),
        ] {
            let exchange = parse("test", 1, &line(path));
            assert_eq!(exchange.type_name(), type_name);
            assert_eq!(exchange.group(), Some("g"));
        }
    }
}
