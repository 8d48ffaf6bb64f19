//! Recorded traffic of the real service: every request must pass, every response must stay as it is.

use arm::schema::{Shape, check_request_bytes, project};
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
        let mut row: Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| row[name].as_str().unwrap().to_owned();
        Recorded {
            from: word("from"),
            method: word("method"),
            path: word("path"),
            api_version: word("api-version"),
            status: row["status"].as_u64().unwrap(),
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
