//! Templates to try things with.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "not every binary leaves something unused"
)]

use serde_json::{Map, Value, json};
use template::{Bound, Fault, Known, Need, Place, Template};
use uuid::Uuid;

/// When every template is deployed: 2026-01-01T01:04:05Z.
pub const NOW_MS: i64 = 1_767_229_445_000;
/// The group of every template.
pub const GROUP: &str = "/subscriptions/s1/resourceGroups/rg";

/// Returns where templates are deployed.
pub fn place() -> Place {
    let versions = json!(["2024-03-03", "2023-07-03"]);
    Place {
        subscription: json!({ "id": "/subscriptions/s1", "subscriptionId": "s1", "tenantId": "t1", "displayName": "S" }),
        group: json!({ "id": GROUP, "name": "rg", "location": "eastus", "tags": { "a": "b" } }),
        deployment: json!({ "name": "d1", "properties": { "mode": "Incremental" } }),
        environment: json!({ "name": "Vitrine", "suffixes": { "storage": "h:8443" } }),
        tenant: json!({ "tenantId": "t1" }),
        providers: vec![json!({
            "namespace": "Microsoft.Compute",
            "resourceTypes": [{ "resourceType": "galleries", "locations": ["East US"], "apiVersions": versions }],
        })],
    }
}

/// Returns a whole template with these members.
pub fn whole(members: &Value) -> Value {
    let mut out = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [],
    });
    for (name, value) in members.as_object().unwrap() {
        out[name] = value.clone();
    }
    out
}

/// Returns where templates of a subscription are deployed.
pub fn subscription() -> Place {
    Place {
        group: Value::Null,
        deployment: json!({ "name": "d1", "location": "westus2", "properties": { "mode": "Incremental" } }),
        ..place()
    }
}

/// Binds a template to given parameters.
pub fn bind(members: &Value, given: &Value) -> domain::Result<Bound> {
    bind_in(place(), members, given)
}

/// Binds a template to where it is deployed and to given parameters.
pub fn bind_in(place: Place, members: &Value, given: &Value) -> domain::Result<Bound> {
    let template = Template::read(&whole(members))?;
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        Uuid::from_u128(count)
    };
    let given = given.as_object().cloned().unwrap_or_default();
    let values = template.bind(&place, &given, NOW_MS, &mut fresh)?;
    Ok(Bound::new(template, place, values))
}

/// Evaluates an expression as an output of a template with these members.
pub fn evaluate_in(members: &Value, expression: &str) -> Result<Value, Fault> {
    let mut members = members.clone();
    members["outputs"] = json!({ "out": { "type": "string", "value": expression } });
    let bound = bind(&members, &json!({})).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let expanded = bound
        .expand()
        .map_err(|error| Fault::Wrong(error.message))?;
    let outputs = bound.outputs(&expanded, &Known::default())?;
    Ok(outputs["out"]["value"].clone())
}

/// Evaluates an expression alone.
pub fn evaluate(expression: &str) -> Result<Value, Fault> {
    evaluate_in(&json!({}), expression)
}

/// Returns what a `reference` of an id asks for.
pub fn need(id: &str, api_version: Option<&str>) -> Need {
    Need {
        id: id.to_owned(),
        api_version: api_version.map(str::to_owned),
        verb: "reference".to_owned(),
    }
}

/// Returns no parameters.
pub fn none() -> Map<String, Value> {
    Map::new()
}
