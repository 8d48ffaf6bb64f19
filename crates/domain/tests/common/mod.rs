//! What every table of rules needs: a context, and a row's expectation checked.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "not every binary leaves something unused"
)]

use domain::plan::{PutContext, plan_patch, plan_put};
use domain::region::known;
use domain::{ErrorKind, ProvisioningState, Region, Regions, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

/// 2026-09-21T14:13:20Z.
pub const NOW_MS: i64 = 1_790_000_000_000;
pub const SUB: &str = "11111111-1111-1111-1111-111111111111";
pub const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";
pub const COMPUTE: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute";

/// Three regions of the original, one without zones, one with a display name of its own.
pub fn regions() -> Regions {
    let mut all: Vec<Region> = ["eastus", "westus2", "westeurope"].map(known).into();
    all.push(Region {
        has_zones: false,
        ..known("northcentralus")
    });
    all.push(Region {
        name: "lab1".to_owned(),
        display_name: "The Lab (Berlin)".to_owned(),
        has_zones: true,
    });
    Regions::new(all)
}

/// A request with its surroundings.
pub struct World<'a> {
    pub api_version: &'a str,
    pub now_ms: i64,
    pub parent: Option<&'a Resource>,
    pub gallery: Option<&'a Resource>,
}

impl Default for World<'_> {
    fn default() -> Self {
        Self {
            api_version: "2024-03-03",
            now_ms: NOW_MS,
            parent: None,
            gallery: None,
        }
    }
}

impl World<'_> {
    fn decide(
        &self,
        id: &str,
        decide: impl FnOnce(&mut PutContext<'_>, &ResourceId) -> Result<Resource>,
    ) -> Result<Resource> {
        let regions = regions();
        let mut count = 0_u128;
        let mut fresh = || {
            count += 1;
            Uuid::from_u128(count)
        };
        let mut ctx = PutContext {
            regions: &regions,
            now_ms: self.now_ms,
            api_version: self.api_version,
            fresh: &mut fresh,
            parent: self.parent,
            gallery: self.gallery,
        };
        decide(&mut ctx, &ResourceId::parse(id).unwrap())
    }

    pub fn put(&self, id: &str, body: &Value, stored: Option<&Resource>) -> Result<Resource> {
        self.decide(id, |ctx, id| {
            plan_put(id.kind().unwrap(), ctx, id, body, stored)
        })
    }

    pub fn patch(&self, id: &str, body: &Value, stored: &Resource) -> Result<Resource> {
        self.decide(id, |ctx, id| {
            plan_patch(id.kind().unwrap(), ctx, id, body, stored)
        })
    }
}

/// The row once its worker is done.
pub fn done(mut row: Resource) -> Resource {
    row.state = ProvisioningState::Succeeded;
    row
}

/// What a row of a table expects.
#[derive(Clone)]
pub enum Expect {
    /// Kind, code, the beginning of the message, target.
    Refused(ErrorKind, &'static str, String, Option<String>),
    /// Pointers below `properties` and their values; null means absent.
    Stored(Vec<(&'static str, Value)>),
}

/// 400 `InvalidParameter` at a target.
pub fn invalid(target: &str, text: &str) -> Expect {
    Expect::Refused(
        ErrorKind::Invalid,
        "InvalidParameter",
        text.to_owned(),
        Some(target.to_owned()),
    )
}

/// 400 for a required parameter.
pub fn missing(target: &str) -> Expect {
    let name = target.rsplit('.').next().unwrap();
    invalid(
        target,
        &format!("Required parameter '{name}' is missing (null)."),
    )
}

/// 409 `PropertyChangeNotAllowed`.
pub fn fixed(target: &str) -> Expect {
    Expect::Refused(
        ErrorKind::Conflict,
        "PropertyChangeNotAllowed",
        format!("Changing property '{target}' is not allowed."),
        Some(target.to_owned()),
    )
}

/// Any refusal.
pub fn refused(kind: ErrorKind, code: &'static str, text: &str, target: Option<&str>) -> Expect {
    Expect::Refused(kind, code, text.to_owned(), target.map(str::to_owned))
}

/// Values below `properties`.
pub fn stored(members: Value) -> Expect {
    let Value::Object(members) = members else {
        panic!("a table names members")
    };
    let leak = |name: String| -> &'static str { name.leak() };
    Expect::Stored(members.into_iter().map(|(n, v)| (leak(n), v)).collect())
}

/// Checks one row of a table.
pub fn check(name: &str, result: Result<Resource>, expected: &Expect) {
    match (result, expected) {
        (Err(error), Expect::Refused(kind, code, text, target)) => {
            assert_eq!(error.code, *code, "{name}: {error}");
            assert_eq!(error.kind, *kind, "{name}: {error}");
            assert!(error.message.starts_with(text), "{name}: {error}");
            assert_eq!(error.target, *target, "{name}: {error}");
        }
        (Ok(row), Expect::Stored(members)) => {
            let mut shown = Value::Object(row.properties.clone());
            shown["@tags"] = json!(row.tags);
            shown["@top"] = Value::Object(row.top.clone());
            for (at, wanted) in members {
                let found = shown.pointer(at).unwrap_or(&Value::Null);
                assert_eq!(found, wanted, "{name}: {at} of {shown}");
            }
        }
        (Ok(row), Expect::Refused(_, code, ..)) => {
            panic!("{name}: accepted, expected {code}: {:?}", row.properties)
        }
        (Err(error), Expect::Stored(_)) => panic!("{name}: refused: {error} at {:?}", error.target),
    }
}

/// What GET shows of a row: what a client sends back.
pub fn shown(row: &Resource) -> Value {
    let mut body = json!({
        "id": row.id.to_string(),
        "name": row.id.name(),
        "type": row.kind.type_name(),
        "location": row.location,
    });
    for (name, value) in &row.top {
        body[name] = value.clone();
    }
    if let Some(tags) = &row.tags {
        body["tags"] = Value::Object(tags.clone());
    }
    let mut properties = row.properties.clone();
    properties.insert("provisioningState".to_owned(), json!(row.state.as_str()));
    body["properties"] = Value::Object(properties);
    body
}
