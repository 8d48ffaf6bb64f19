//! Deployments and their steps as responses show them.

use catalog::Deployment;
use domain::resource::Document;
use domain::{ErrorKind, Regions};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use template::{Expanded, Planned};
use uuid::Uuid;

use super::prepare::{Prepared, wanted};

const TYPE: &str = "Microsoft.Resources/deployments";
/// Where a deployment of a subscription is kept; shown beside its name.
const LOCATION: &str = "location";

/// Returns a deployment.
pub(crate) fn deployment(held: &Deployment) -> Value {
    let mut out = Map::new();
    out.insert("id".to_owned(), held.id.to_string().into());
    out.insert("name".to_owned(), held.id.name().into());
    out.insert("type".to_owned(), TYPE.into());
    if let Some(location) = location(held) {
        out.insert(LOCATION.to_owned(), location.into());
    }
    if let Some(tags) = &held.tags {
        out.insert("tags".to_owned(), Value::Object(tags.clone()));
    }
    let mut properties = Document::new();
    for (name, value) in held.shown.iter().filter(|(name, _)| *name != LOCATION) {
        properties.insert(name.clone(), value.clone());
        if name == "mode" {
            properties.insert("provisioningState".to_owned(), held.state.as_str().into());
        }
    }
    out.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(out)
}

/// Returns the region in which a deployment of a subscription is kept.
pub(super) fn location(held: &Deployment) -> Option<String> {
    held.shown.get(LOCATION)?.as_str().map(str::to_owned)
}

/// Returns the properties of a deployment that was just accepted.
pub(super) fn begun(
    prepared: &Prepared,
    correlation: Uuid,
    now_ms: i64,
    regions: &Regions,
) -> Document {
    let mut out = Document::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    if prepared.id.is_at_subscription() {
        put(LOCATION, prepared.location.as_str().into());
    }
    put(
        "templateHash",
        template_hash(&prepared.request.template).into(),
    );
    put(
        "parameters",
        prepared
            .bound
            .template()
            .shown_parameters(prepared.bound.parameters()),
    );
    put("mode", prepared.request.mode.as_str().into());
    put("timestamp", arm::time::format_zulu(now_ms).into());
    put("duration", "PT0S".into());
    put("correlationId", correlation.to_string().into());
    put("providers", providers(prepared, regions));
    put("dependencies", dependencies(&prepared.expanded));
    out
}

/// Returns a list of `{id}`.
pub(super) fn ids<'a>(ids: impl Iterator<Item = &'a str>) -> Value {
    ids.map(|id| json!({ "id": id })).collect()
}

fn template_hash(template: &Value) -> String {
    let digest = Sha256::digest(template.to_string().as_bytes());
    let head = digest
        .iter()
        .take(8)
        .fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    head.to_string()
}

/// Every type of the template, and where its resources are to be. Source: recorded.
fn providers(prepared: &Prepared, regions: &Regions) -> Value {
    type Places = Vec<String>;
    let mut spaces: Vec<(String, Vec<(&str, Places)>)> = Vec::new();
    for planned in wanted(&prepared.expanded) {
        let (space, name) = planned
            .type_name
            .split_once('/')
            .unwrap_or((&planned.type_name, ""));
        let is_space = |known: &&mut (String, _)| known.0.eq_ignore_ascii_case(space);
        if !spaces.iter_mut().any(|known| is_space(&known)) {
            spaces.push((space.to_owned(), Vec::new()));
        }
        let Some((_, types)) = spaces.iter_mut().find(is_space) else {
            continue;
        };
        let is_type = |known: &&mut (&str, _)| known.0.eq_ignore_ascii_case(name);
        if !types.iter_mut().any(|known| is_type(&known)) {
            types.push((name, Vec::new()));
        }
        let place = prepared.bound.location(&prepared.expanded, planned);
        let place = place.map(|place| match regions.find(&place) {
            Some(region) => region.name.clone(),
            None => place,
        });
        if let (Some((_, places)), Some(place)) = (types.iter_mut().find(is_type), place)
            && !places.contains(&place)
        {
            places.push(place);
        }
    }
    let shown = spaces.into_iter().map(|(space, types)| {
        let types: Vec<Value> = types
            .into_iter()
            .map(|(name, places)| json!({ "resourceType": name, "locations": places }))
            .collect();
        json!({ "namespace": space, "resourceTypes": types })
    });
    shown.collect()
}

fn dependencies(expanded: &Expanded) -> Value {
    let named = |planned: &Planned| json!({ "id": planned.id, "resourceType": planned.type_name, "resourceName": planned.name });
    let shown = wanted(expanded)
        .filter(|planned| !planned.depends_on.is_empty())
        .map(|planned| {
            let needed: Vec<Value> = planned
                .depends_on
                .iter()
                .filter_map(|at| expanded.resources.get(*at))
                .map(named)
                .collect();
            let mut out = Map::from_iter([("dependsOn".to_owned(), Value::Array(needed))]);
            out.extend(named(planned).as_object().cloned().unwrap_or_default());
            Value::Object(out)
        });
    shown.collect()
}

/// Returns the word of a status, as steps show it.
pub(super) const fn status_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "BadRequest",
        ErrorKind::Unauthenticated => "Unauthorized",
        ErrorKind::Forbidden => "Forbidden",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::MethodNotAllowed => "MethodNotAllowed",
        ErrorKind::Conflict | ErrorKind::Overtaken => "Conflict",
        ErrorKind::PreconditionFailed => "PreconditionFailed",
        ErrorKind::TooLarge => "RequestEntityTooLarge",
        ErrorKind::TooManyRequests => "TooManyRequests",
        ErrorKind::Internal => "InternalServerError",
        ErrorKind::Unavailable => "ServiceUnavailable",
    }
}
