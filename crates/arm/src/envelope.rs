//! Resources and lists as responses show them. Source: the recordings' member order.

use domain::resource::Document;
use domain::{Kind, ProvisioningState, Resource};
use serde_json::{Map, Value};

use crate::schema;

/// Members beside `properties`, in the order that responses have them.
const TOP: [&str; 8] = [
    "extendedLocation",
    "identity",
    "managedBy",
    "managedByExtended",
    "sku",
    "kind",
    "plan",
    "zones",
];

/// Returns a resource with every member the newest api-version knows.
pub fn resource(resource: &Resource) -> Value {
    let mut out = Map::new();
    let named = |out: &mut Map<String, Value>, names: [&str; 3]| {
        for name in names {
            let value = match name {
                "name" => resource.id.name().to_owned(),
                "id" => resource.id.to_string(),
                _ => resource.kind.type_name().to_owned(),
            };
            out.insert(name.to_owned(), value.into());
        }
    };
    match resource.kind {
        Kind::ResourceGroup => named(&mut out, ["id", "name", "type"]),
        Kind::StorageAccount => {
            copy(&mut out, &resource.top, &["sku", "kind"]);
            named(&mut out, ["id", "name", "type"]);
        }
        _ => named(&mut out, ["name", "id", "type"]),
    }
    out.insert("location".to_owned(), resource.location.as_str().into());
    if let Some(tags) = &resource.tags {
        out.insert("tags".to_owned(), Value::Object(tags.clone()));
    }
    copy(&mut out, &resource.top, &TOP);
    for (name, value) in &resource.top {
        if !out.contains_key(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out.insert("properties".to_owned(), Value::Object(properties(resource)));
    Value::Object(out)
}

/// Returns a resource as a client of an api-version sees it.
pub fn response(stored: &Resource, api_version: &str) -> Value {
    let mut body = resource(stored);
    schema::project(stored.kind, api_version, &mut body);
    body
}

/// Returns `{"value":[…],"nextLink":"…"}`; the last page has no link.
pub fn list(items: Vec<Value>, next_link: Option<String>) -> Value {
    let mut out = Map::new();
    out.insert("value".to_owned(), Value::Array(items));
    if let Some(link) = next_link {
        out.insert("nextLink".to_owned(), link.into());
    }
    Value::Object(out)
}

/// Returns the word for a state; disks know no `Creating`.
pub fn state_word(kind: Kind, state: ProvisioningState) -> &'static str {
    match (kind, state) {
        (Kind::Disk, ProvisioningState::Creating) => "Updating",
        _ => state.as_str(),
    }
}

fn copy(out: &mut Map<String, Value>, from: &Document, names: &[&str]) {
    for name in names {
        if let Some(value) = from.get(*name)
            && !out.contains_key(*name)
        {
            out.insert((*name).to_owned(), value.clone());
        }
    }
}

fn properties(resource: &Resource) -> Document {
    let mut document = resource.properties.clone();
    document.insert(
        "provisioningState".to_owned(),
        state_word(resource.kind, resource.state).into(),
    );
    crate::order::arrange(resource.kind, document)
}
