//! Recorded traffic of the real service: every request must pass, every response must stay as it is.

use arm::schema::{Shape, check_request_bytes, project};
use domain::{ProvisioningState, Resource, ResourceId};
use serde_json::Value;

struct Recorded {
    from: String,
    method: String,
    path: String,
    api_version: String,
    status: u64,
    request: Value,
    response: Value,
}

fn recordings() -> Vec<Recorded> {
    let text = include_str!("data/recordings.jsonl");
    let read = |line: &str| {
        let mut row: Value = serde_json::from_str(line).expect("a recording is JSON");
        let word = |name: &str| row[name].as_str().expect(name).to_owned();
        Recorded {
            from: word("from"),
            method: word("method"),
            path: word("path"),
            api_version: word("api-version"),
            status: row["status"].as_u64().expect("status"),
            request: row["request"].take(),
            response: row["response"].take(),
        }
    };
    text.lines().map(read).collect()
}

/// Returns the shape that a recorded path answers with; `None` for what has no table of its own.
fn shape_of(path: &str) -> Option<Shape> {
    let local = path.split("/Microsoft.Compute/").nth(1)?.to_lowercase();
    let types: Vec<&str> = local.split('/').step_by(2).collect();
    Some(match types.as_slice() {
        ["galleries"] => Shape::Gallery,
        ["galleries", "share"] => Shape::SharingUpdate,
        ["galleries", "images"] => Shape::Image,
        ["galleries", "images", "versions"] => Shape::ImageVersion,
        ["disks"] => Shape::Disk,
        ["snapshots"] => Shape::Snapshot,
        ["images"] => Shape::ManagedImage,
        ["locations", "sharedgalleries"] => Shape::SharedGallery,
        ["locations", "sharedgalleries", "images"] => Shape::SharedImage,
        ["locations", "sharedgalleries", "images", "versions"] => Shape::SharedImageVersion,
        _ => return None,
    })
}

#[test]
fn every_recorded_request_passes_its_own_api_version() {
    let mut checked = 0;
    for row in recordings() {
        let Some(shape) = shape_of(&row.path).filter(|_| row.request.is_object()) else {
            continue;
        };
        let out = check_request_bytes(shape, &row.api_version, row.request.to_string().as_bytes());
        assert_eq!(
            out.unwrap_or_else(|e| panic!("{} {}: {e}", row.from, row.method)),
            row.request,
            "{}",
            row.from
        );
        checked += 1;
    }
    assert!(checked >= 30, "{checked}");
}

#[test]
fn every_recorded_response_stays_as_it_is_at_its_own_api_version() {
    let mut checked = 0;
    for row in recordings() {
        let is_resource = row.status < 300 && row.response.is_object();
        let Some(shape) = shape_of(&row.path).filter(|_| is_resource) else {
            continue;
        };
        let mut shown = row.response.clone();
        project(shape, &row.api_version, &mut shown);
        assert_eq!(shown.to_string(), row.response.to_string(), "{}", row.from);
        checked += 1;
    }
    assert!(checked >= 50, "{checked}");
}

/// Returns what the catalog would hold of a recorded resource, its members in another order.
fn stored(body: &Value) -> Option<Resource> {
    let id = ResourceId::parse(body["id"].as_str()?).ok()?;
    let mut resource = Resource::new(id.clone(), id.kind()?, body["location"].as_str()?, 0);
    resource.tags = body["tags"].as_object().cloned();
    for (name, value) in body.as_object()?.iter().rev() {
        if !["name", "id", "type", "location", "tags", "properties"].contains(&name.as_str()) {
            resource.top.insert(name.clone(), value.clone());
        }
    }
    let Value::Object(properties) = reversed(&body["properties"]) else {
        return None;
    };
    resource.properties = properties;
    let state = resource.properties.shift_remove("provisioningState")?;
    resource.state = ProvisioningState::parse(state.as_str()?)?;
    Some(resource)
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .rev()
            .map(|(n, v)| (n.clone(), reversed(v)))
            .collect(),
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_stored_resource_is_answered_in_the_recorded_order() {
    let mut seen = std::collections::BTreeMap::new();
    for row in recordings().into_iter().filter(|row| row.status < 300) {
        let Some(resource) = stored(&row.response) else {
            continue;
        };
        let shown = arm::envelope::response(&resource, &row.api_version);
        assert_eq!(shown.to_string(), row.response.to_string(), "{}", row.from);
        *seen.entry(resource.kind.type_name()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn recorded_polls_have_the_members_of_ours() {
    let mut checked = 0;
    for row in recordings()
        .into_iter()
        .filter(|row| row.path.contains("Operations/"))
    {
        let names: Vec<&String> = row.response.as_object().unwrap().keys().collect();
        let allowed = ["startTime", "endTime", "status", "properties", "name"];
        let places: Vec<usize> = names
            .iter()
            .map(|n| allowed.iter().position(|a| a == n).unwrap())
            .collect();
        assert!(places.is_sorted(), "{}: {names:?}", row.from);
        assert!(arm::time::parse(row.response["startTime"].as_str().unwrap()).is_some());
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}

#[test]
fn every_recorded_resource_may_be_sent_back_whole() {
    let mut checked = 0;
    for row in recordings().into_iter().filter(|row| row.status < 300) {
        let Some(shape) = shape_of(&row.path).filter(|_| row.response["id"].is_string()) else {
            continue;
        };
        let out = check_request_bytes(shape, &row.api_version, row.response.to_string().as_bytes());
        let sent_back = out.unwrap_or_else(|e| panic!("{}: {e}", row.from));
        let names = |body: &Value| {
            body["properties"]
                .as_object()
                .map(|p| p.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(names(&sent_back), names(&row.response), "{}", row.from);
        checked += 1;
    }
    assert!(checked >= 40, "{checked}");
}
