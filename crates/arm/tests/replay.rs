//! Recorded writes, decided by our rules: the answers are the recorded ones, member by member.
//!
//! Left out of the comparison is what only the service knows: its dates, its subscription, the
//! progress of its worker.

use std::collections::HashMap;

use arm::envelope::response;
use arm::schema::check_request;
use domain::plan::{PutContext, plan_patch, plan_put};
use domain::region::known;
use domain::{Kind, ProvisioningState, Regions, Resource, ResourceId};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The recordings begin in 2021.
const NOW_MS: i64 = 1_600_000_000_000;
const REGIONS: [&str; 8] = [
    "eastus",
    "eastus2",
    "westus",
    "westus2",
    "westus3",
    "centralus",
    "westeurope",
    "centraluseuap",
];

#[derive(Default)]
struct Replay {
    rows: HashMap<String, Resource>,
    compared: HashMap<&'static str, usize>,
}

impl Replay {
    fn step(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let Ok(id) = ResourceId::parse(text("path")) else {
            return;
        };
        let Some(kind) = id
            .kind()
            .filter(|kind| matches!(kind, Kind::Gallery | Kind::Image | Kind::ImageVersion))
        else {
            return;
        };
        let is_answer = line["status"].as_u64().is_some_and(|s| s < 300)
            && line["response"]["properties"].is_object();
        match text("method") {
            "PUT" | "PATCH" if is_answer => self.write(&id, kind, line),
            "GET" if is_answer => self.read_back(&id, line),
            _ => {}
        }
    }

    /// A worker has gone on: what it added is there.
    fn read_back(&mut self, id: &ResourceId, line: &Value) {
        let Some(row) = self.rows.get_mut(&key(line, id)) else {
            return;
        };
        let mut found = line["response"]["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        found.shift_remove("provisioningState");
        for (name, value) in found {
            row.properties.insert(name, value);
        }
        row.state = ProvisioningState::Succeeded;
    }

    fn write(&mut self, id: &ResourceId, kind: Kind, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let (from, api_version) = (text("from"), text("api-version"));
        let body = check_request(kind, api_version, &line["request"])
            .unwrap_or_else(|error| panic!("{from}: {error}"));
        if line["request"].to_string().contains("diskEncryptionSet") {
            // There are none here.
            return;
        }
        let stored = self.rows.get(&key(line, id)).cloned();
        if stored.is_none() && line["status"] != 201 {
            // The recording begins in the middle of this resource's life.
            return;
        }
        let regions = Regions::new(REGIONS.map(known).into());
        let mut fresh = Uuid::nil;
        let mut ctx = PutContext {
            regions: &regions,
            now_ms: NOW_MS,
            api_version,
            fresh: &mut fresh,
            parent: None,
            gallery: None,
        };
        let planned = match (text("method"), &stored) {
            ("PATCH", Some(stored)) => plan_patch(kind, &mut ctx, id, &body, stored),
            _ => plan_put(kind, &mut ctx, id, &body, stored.as_ref()),
        };
        let row = planned.unwrap_or_else(|error| panic!("{from} {id}: {error}"));
        let mut ours = response(&row, api_version);
        hide_groups(&mut ours);
        let ours = comparable(ours);
        let theirs = comparable(line["response"].clone());
        assert_eq!(
            ours,
            theirs,
            "{from} {} {id} at {api_version}",
            text("method")
        );
        *self.compared.entry(kind.wire_name()).or_insert(0) += 1;
        self.rows.insert(key(line, id), row);
    }
}

fn key(line: &Value, id: &ResourceId) -> String {
    let recording = line["from"]
        .as_str()
        .and_then(|from| from.split(':').next());
    format!("{} {}", recording.unwrap_or_default(), id.key())
}

/// Groups are shown when asked for.
fn hide_groups(body: &mut Value) {
    if let Some(profile) = body
        .pointer_mut("/properties/sharingProfile")
        .and_then(Value::as_object_mut)
    {
        profile.shift_remove("groups");
    }
}

/// What both sides can know, as text: the order of members counts.
fn comparable(mut body: Value) -> String {
    for (at, name) in [
        ("/properties", "provisioningState"),
        ("/properties/publishingProfile", "publishedDate"),
        ("/properties/identifier", "uniqueName"),
        (
            "/properties/sharingProfile/communityGalleryInfo",
            "publicNames",
        ),
    ] {
        if let Some(members) = body.pointer_mut(at).and_then(Value::as_object_mut)
            && members.contains_key(name)
        {
            members.insert(name.to_owned(), json!("…"));
        }
    }
    let members: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    let kept = members.into_iter().filter(|(name, _)| name != "id");
    Value::Object(kept.collect()).to_string()
}

#[test]
fn recorded_writes_are_answered_as_recorded() {
    let mut replay = Replay::default();
    for line in include_str!("data/recordings.jsonl").lines() {
        replay.step(&serde_json::from_str(line).expect("a recording is JSON"));
    }
    let total: usize = replay.compared.values().sum();
    assert!(
        replay.compared.len() == 3 && total >= 20,
        "{:?}",
        replay.compared
    );
}
