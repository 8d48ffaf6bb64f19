//! Hides what an older client does not know.

use serde_json::Value;

use super::check::visible;
use super::table::{self, Object, Type};
use super::{Shape, legacy};

/// Removes the members that an api-version does not know, and those that are never shown.
///
/// A list (`{"value": […]}`) is projected item by item.
pub fn project(shape: impl Into<Shape>, api_version: &str, body: &mut Value) {
    let shape = shape.into();
    if let Some(Value::Array(items)) = body.get_mut("value") {
        for item in items {
            project(shape, api_version, item);
        }
        return;
    }
    let table = table::table(shape.type_name());
    let version = table.resolve(api_version);
    legacy::to_version(shape, version, body);
    hide(&table.root, version, body);
}

fn hide(object: &Object, version: &str, body: &mut Value) {
    let Value::Object(members) = body else { return };
    if !object.is_open {
        members.retain(|name, _| visible(object, name, version).is_some());
    }
    for (name, value) in members {
        if let Some(member) = object.find(name) {
            hide_in(&member.value, version, value);
        }
    }
}

fn hide_in(kind: &Type, version: &str, value: &mut Value) {
    match (kind, value) {
        (Type::Object(object), value) => hide(object, version, value),
        (Type::List(item), Value::Array(values)) => {
            values
                .iter_mut()
                .for_each(|value| hide_in(item, version, value));
        }
        (Type::Map(item), Value::Object(values)) => {
            values
                .values_mut()
                .for_each(|value| hide_in(item, version, value));
        }
        _ => {}
    }
}
