//! Who may call what: every route of the server, asked as every role, written down for people.
//!
//! Nothing here knows a rule: a cell is what the server answered. The action is the one that the
//! refusal of somebody without roles names. `golden/roles.txt` is the reviewed result; a route that
//! is new or answers otherwise fails this test until somebody writes the file anew
//! (`VITRINE_WRITE_ROLES=1`) and reads the difference.

use std::fmt::Write as _;
use std::path::Path;

use axum::http::Method;
use serde_json::{Value, json};

use crate::world::{HOST, Who, World, on_both};

/// A version that every type accepts.
const VERSION: &str = "2026-11-01";
const FILE: &str = "tests/golden/roles.txt";
/// Columns: letter, role, what it is given at.
const COLUMNS: [(char, &str); 8] = [
    ('O', "Owner"),
    ('C', "Contributor"),
    ('R', "Reader"),
    ('U', "User Access Administrator"),
    ('S', "Compute Gallery Sharing Admin"),
    ('P', "Compute Gallery Artifacts Publisher"),
    ('I', "Compute Gallery Image Reader"),
    ('V', "Virtual Machine Contributor"),
];
/// Routes that somebody without roles is not refused by an action, and why.
const WITHOUT_ACTION: [(&str, &str); 10] = [
    ("GET /tenants", "the caller's own tenant"),
    ("GET /subscriptions", "those that the caller has a role in"),
    ("GET /subscriptions/{subscription}", "any role in it"),
    (
        "GET /subscriptions/{subscription}/locations",
        "any role in it",
    ),
    (
        "GET /subscriptions/{subscription}/providers",
        "any role in it",
    ),
    (
        "GET /subscriptions/{subscription}/providers/{namespace}",
        "any role in it",
    ),
    (
        "POST /subscriptions/{subscription}/providers/{namespace}/register",
        "any role in it",
    ),
    ("GET /providers", "what this kind of server serves"),
    (
        "GET /providers/{namespace}",
        "what this kind of server serves",
    ),
    (
        "POST /providers/Microsoft.ResourceGraph/resources",
        "public galleries",
    ),
];
/// Requests of the blob plane, below an account.
const BLOBS: [(&str, &str, &str); 16] = [
    ("GET", "/?restype=service&comp=properties", ""),
    ("GET", "/?comp=list", ""),
    ("GET", "/missing?restype=container", ""),
    ("GET", "/missing?restype=container&comp=list", ""),
    ("PUT", "/Wrong?restype=container", ""),
    ("PUT", "/missing?restype=container&comp=metadata", ""),
    ("DELETE", "/missing?restype=container", ""),
    ("GET", "/missing/blob", ""),
    ("GET", "/missing/blob?comp=pagelist", ""),
    ("GET", "/missing/blob?comp=blocklist", ""),
    ("PUT", "/missing/blob", "BlockBlob"),
    ("PUT", "/missing/blob", "PageBlob"),
    ("PUT", "/missing/blob?comp=block&blockid=AAAA", ""),
    ("PUT", "/missing/blob?comp=metadata", ""),
    ("PUT", "/missing/blob?comp=properties", ""),
    ("DELETE", "/missing/blob", ""),
];

/// Returns a path with names that nothing has; the subscription and the operation are real.
fn fill(world: &World, pattern: &str, operation: &str) -> String {
    let named = |segment: &str| {
        let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        match name {
            None => segment.to_owned(),
            Some("subscription") => world
                .subscription
                .trim_start_matches("/subscriptions/")
                .to_owned(),
            Some("operation") => operation.to_owned(),
            Some("location") => "eastus".to_owned(),
            Some("namespace") => "Microsoft.Compute".to_owned(),
            Some("version") => "1.0.0".to_owned(),
            Some("artifactType") => "Images".to_owned(),
            Some("assignment" | "definition") => "00000000-0000-4000-8000-000000000001".to_owned(),
            Some(kind) => format!("missing{}", kind.to_ascii_lowercase()),
        }
    };
    let all: Vec<String> = pattern.split('/').map(named).collect();
    all.join("/")
}

/// A body of the right form: some are read before the question of rights.
fn body(method: &Method, pattern: &str) -> Option<Value> {
    match *method {
        Method::POST if pattern.ends_with("Microsoft.ResourceGraph/resources") => Some(json!({
            "query": "communitygalleryresources | where type == 'microsoft.compute/locations/communitygalleries'"
        })),
        Method::PUT | Method::PATCH if pattern.ends_with("/tags/default") => {
            Some(json!({ "operation": "Merge", "properties": { "tags": {} } }))
        }
        Method::PUT | Method::PATCH => Some(json!({ "location": "eastus", "tags": {} })),
        Method::POST => Some(json!({})),
        _ => None,
    }
}

/// Returns the cell of an answer: allowed, refused, or said not to exist.
fn cell(answer: &crate::world::Answer, line: &str) -> char {
    let status = answer.status();
    assert!(
        status != 401 && status != 429 && status < 500,
        "{line}: {}",
        answer.text()
    );
    match (status, answer.code()) {
        (403, "AuthorizationFailed" | "AuthorizationPermissionMismatch") => '-',
        (403, other) => panic!("{line}: 403 {other}"),
        (404, "SubscriptionNotFound") => '.',
        _ => '+',
    }
}

/// Returns the action that a refusal names.
fn action_in(message: &str) -> Option<&str> {
    let rest = message.split_once("to perform action '")?.1;
    Some(rest.split_once('\'')?.0)
}

struct People(Vec<(char, Who)>);

impl People {
    async fn new(world: &World) -> Self {
        let mut all = Vec::new();
        for (letter, role) in COLUMNS {
            all.push((
                letter,
                world.with_role(role, role, &world.subscription).await,
            ));
        }
        all.push(('n', world.person("nobody", None).await));
        all.push(('x', world.stranger("stranger").await));
        Self(all)
    }
}

async fn table(world: &World, people: &People) -> String {
    let group = world.group(&world.owner, "rg").await;
    let gallery = format!("{group}/providers/Microsoft.Compute/galleries/sig");
    let here = json!({ "location": "eastus" });
    let (made, _) = world
        .over(
            &world.owner,
            "PUT",
            &gallery,
            crate::world::GALLERY,
            Some(&here),
        )
        .await;
    let poll = made.header("azure-asyncoperation").to_owned();
    let operation = poll.split('?').next().unwrap().rsplit('/').next().unwrap();
    let mut out = heading();
    for route in api::routes::Routes::new().iter() {
        let name = format!("{} {}", route.method, route.pattern);
        let path = fill(world, &route.pattern, operation);
        let (mut cells, mut action) = (String::new(), None);
        for (letter, one) in &people.0 {
            let body = body(&route.method, &route.pattern);
            let answer = world
                .send(one, route.method.as_str(), &path, VERSION, body.as_ref())
                .await;
            cells.push(match route.method {
                // HEAD says no code.
                Method::HEAD if answer.status() == 404 && *letter == 'x' => '.',
                Method::HEAD if answer.status() == 403 => '-',
                _ => cell(&answer, &format!("{letter} {name}")),
            });
            if *letter == 'n' {
                action = action_in(answer.message()).map(str::to_owned);
            }
        }
        if route.method == Method::HEAD {
            action = Some("(as GET)".to_owned());
        }
        let open = WITHOUT_ACTION.iter().find(|(known, _)| *known == name);
        let shown = match (action, open) {
            (Some(action), None) => action,
            (None, Some((_, why))) => format!("({why})"),
            (Some(action), Some(_)) => panic!("{name} asks for {action}"),
            (None, None) => panic!("{name} asks for no action: it is open, or lacks a rule"),
        };
        let _ = writeln!(
            out,
            "{cells} {:6} {} | {shown}",
            route.method, route.pattern
        );
    }
    blobs(world, people, &group, &mut out).await;
    out
}

fn heading() -> String {
    let mut out = String::from(
        "# Who may call what, as the server itself answers. Written by crates/api/tests/attack/roles.rs; review every change.\n\
         # + allowed, - refused (403), . said not to exist (404 of another tenant). Roles are held at the subscription.\n",
    );
    for (letter, role) in COLUMNS {
        let _ = writeln!(out, "# {letter} {role}");
    }
    out.push_str("# n nobody: no role in this tenant\n# x owner of another tenant\n\n");
    out.extend(COLUMNS.iter().map(|(letter, _)| *letter));
    out.push_str("nx METHOD route | action\n");
    out
}

async fn blobs(world: &World, people: &People, group: &str, out: &mut String) {
    out.push_str("\n# The blob plane, with a token for storage; who may list keys may do everything with the data.\n");
    world.account(&world.owner, group, "attackacct").await;
    for (method, path, kind) in BLOBS {
        let mut cells = String::new();
        for (letter, one) in &people.0 {
            let headers = match kind {
                "" => vec![],
                "PageBlob" => vec![
                    ("x-ms-blob-type", kind),
                    ("x-ms-blob-content-length", "512"),
                ],
                _ => vec![("x-ms-blob-type", kind)],
            };
            let url = format!("https://{HOST}/blob/attackacct{path}");
            let answer = world
                .blob(&one.blob_token, method, &url, &headers, &[])
                .await;
            cells.push(cell(&answer, &format!("{letter} {method} {path}")));
        }
        let _ = writeln!(out, "{cells} {method:6} /blob/{{account}}{path} {kind}");
    }
}

on_both! { every_route_answers_every_role_as_the_reviewed_table_says }

async fn every_route_answers_every_role_as_the_reviewed_table_says(world: World) {
    let people = People::new(&world).await;
    let found = table(&world, &people).await;
    every_refusal_is_told_of(&world, &people, &found).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("VITRINE_WRITE_ROLES").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let (old, new): (Vec<&str>, Vec<&str>) = (known.lines().collect(), found.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line));
    let fresh = new.iter().filter(|line| !old.contains(line));
    let gone: Vec<String> = gone.map(|line| format!("was {line}")).collect();
    let fresh: Vec<String> = fresh.map(|line| format!("is  {line}")).collect();
    assert!(
        known == found,
        "crates/api/{FILE} is not what the server does:\n{}\n{}\nRead the difference; when it is meant, write the file with VITRINE_WRITE_ROLES=1.",
        gone.join("\n"),
        fresh.join("\n")
    );
}

/// As many refusals of nobody are told of, with his name, as the table shows, whichever routes they were.
async fn every_refusal_is_told_of(world: &World, people: &People, table: &str) {
    world.engine.flush_refusals(true).await.unwrap();
    let (_, nobody) = people.0.iter().find(|(letter, _)| *letter == 'n').unwrap();
    let mut read = world.engine.catalog().read().await.unwrap();
    let all = read.audit_after(0, 1_000_000).await.unwrap();
    let told: i64 = all
        .into_iter()
        .map(|(entry, _)| entry)
        .filter(|entry| entry.principal == nobody.object_id && !entry.code.is_empty())
        .map(|entry| 1 + entry.repeats)
        .sum();
    let refused = table.lines().filter(|line| {
        let is_route = line.contains(" | ") && !line.starts_with('#');
        is_route && line.chars().nth(COLUMNS.len()) == Some('-')
    });
    let refused = i64::try_from(refused.count()).unwrap();
    assert!(refused > 150, "only {refused} routes");
    assert!(told >= refused, "{told} of {refused} are in the audit");
}

#[test]
fn threat_41_no_cell_of_the_table_opens_anything_to_who_has_no_role() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("OCR"))
        .collect();
    assert!(rows.len() > 150, "only {} rows", rows.len());
    for row in rows {
        let cells: Vec<char> = row.chars().take(COLUMNS.len() + 2).collect();
        let (nobody, stranger) = (cells[COLUMNS.len()], cells[COLUMNS.len() + 1]);
        let is_open = WITHOUT_ACTION.iter().any(|(name, why)| {
            row.ends_with(&format!("{} | ({why})", name.split_once(' ').unwrap().1))
        });
        let is_tenant_wide = row.contains(" /providers/");
        assert!(nobody != '+' || is_open, "open to everybody: {row}");
        assert!(
            stranger != '+' || is_open || is_tenant_wide,
            "open to strangers: {row}"
        );
        // Only reading is for readers.
        let reads = row.contains(" GET ")
            || row.contains(" HEAD ")
            || row.contains("checkNameAvailability")
            || is_open;
        assert!(cells[2] != '+' || reads, "a reader may write: {row}");
    }
}
