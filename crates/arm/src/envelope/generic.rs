//! Resources as `GET …/resources` lists them: the envelope without `properties`.

use domain::{Kind, Resource};
use serde_json::{Map, Value};

use super::state_word;
use crate::time;

/// Returns an item of `GET …/resources`; a child is named with its parents: `gallery/definition`.
///
/// `expand` is the text of `$expand`: `createdTime,changedTime,provisioningState` in any order;
/// other words are ignored, as ARM does.
pub fn generic(resource: &Resource, expand: &str) -> Value {
    let expands = |wanted: &str| {
        expand
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let mut out = Map::new();
    let name = match resource.kind {
        Kind::ResourceGroup => resource.id.name().to_owned(),
        _ => resource.id.names().collect::<Vec<_>>().join("/"),
    };
    out.insert("id".to_owned(), resource.id.to_string().into());
    out.insert("name".to_owned(), name.into());
    out.insert("type".to_owned(), resource.kind.type_name().into());
    for member in ["sku", "kind", "managedBy"] {
        copy(&mut out, resource, member);
    }
    out.insert("location".to_owned(), resource.location.as_str().into());
    for member in ["identity", "plan", "zones", "extendedLocation"] {
        copy(&mut out, resource, member);
    }
    if let Some(tags) = &resource.tags {
        out.insert("tags".to_owned(), Value::Object(tags.clone()));
    }
    if expands("createdTime") {
        out.insert(
            "createdTime".to_owned(),
            time::format_zulu(resource.created_ms).into(),
        );
    }
    if expands("changedTime") {
        out.insert(
            "changedTime".to_owned(),
            time::format_zulu(resource.changed_ms).into(),
        );
    }
    if expands("provisioningState") {
        let word = state_word(resource.kind, resource.state);
        out.insert("provisioningState".to_owned(), word.into());
    }
    Value::Object(out)
}

fn copy(out: &mut Map<String, Value>, resource: &Resource, member: &str) {
    if let Some(value) = resource.top.get(member) {
        out.insert(member.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use domain::ResourceId;
    use serde_json::json;

    use super::*;

    #[test]
    fn items_have_the_full_name_and_only_what_was_expanded() {
        let id =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G/images/d";
        let mut definition =
            Resource::new(ResourceId::parse(id).unwrap(), Kind::Image, "westus", 0);
        definition
            .properties
            .insert("osType".to_owned(), "Linux".into());
        let plain = generic(&definition, "");
        assert_eq!(
            plain,
            json!({"id": id, "name": "G/d", "type": "Microsoft.Compute/galleries/images", "location": "westus"})
        );
        let full = generic(&definition, "createdTime, CHANGEDTIME,provisioningState,x");
        assert_eq!(full["createdTime"], "1970-01-01T00:00:00.0000000Z");
        assert_eq!(full["provisioningState"], "Creating");
        assert_eq!(full["changedTime"], full["createdTime"]);
    }
}
