//! Resources and lists as responses show them. Source: the recordings' member order.

mod generic;

use domain::resource::Document;
use domain::{Kind, ProvisioningState, Resource};
use serde_json::{Map, Value, json};

use crate::schema::{self, Shape};
use crate::time;

pub use generic::generic;

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

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Returns a resource with every member the newest api-version knows.
pub fn resource(resource: &Resource) -> Value {
    if resource.kind.is_network() {
        return crate::network::resource(resource);
    }
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

/// Returns an item of `softDeletedArtifactTypes/Images/artifacts/{definition}/versions`.
///
/// Until `consumptionEndTime` machines can still be made of the version, until
/// `hardDeletionTargetTime` it can still be restored. Both follow from the gallery's policy as it
/// is now: the same that decides a restore and the removal for good.
pub fn soft_deleted(version: &Resource, gallery: &Resource, api_version: &str) -> Value {
    let deleted_ms = version.deleted_ms.unwrap_or(version.changed_ms);
    let policy = domain::gallery::soft_delete_policy(gallery);
    let days = |days: i64| days.saturating_mul(DAY_MS);
    let consumption_end_ms = deleted_ms.saturating_add(days(policy.retention_days));
    let removal_ms = consumption_end_ms.saturating_add(days(policy.grace_days));
    let mut body = json!({
        "name": version.id.name(),
        "id": version.id.to_string(),
        "type": version.kind.type_name(),
        "location": version.location,
        "properties": {
            "resourceArmId": version.id.to_string(),
            "softDeletedArtifactType": "Images",
            "softDeletedTime": time::format(deleted_ms),
            "consumptionEndTime": time::format(consumption_end_ms),
            "hardDeletionTargetTime": time::format(removal_ms),
        },
    });
    schema::project(Shape::SoftDeleted, api_version, &mut body);
    body
}

/// Returns the word for a state; what belongs to disks knows no `Creating`.
pub fn state_word(kind: Kind, state: ProvisioningState) -> &'static str {
    match (kind, state) {
        (Kind::Disk | Kind::Snapshot | Kind::DiskEncryptionSet, ProvisioningState::Creating) => {
            "Updating"
        }
        (kind, ProvisioningState::Creating) if kind.is_network() => "Updating",
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

#[cfg(test)]
mod tests {
    use domain::ResourceId;

    use super::*;

    fn made(id: &str, state: ProvisioningState) -> Resource {
        let id = ResourceId::parse(id).unwrap();
        let kind = id.kind().unwrap();
        let mut resource = Resource::new(id, kind, "westus", 0);
        resource.internal.insert("pin".to_owned(), "secret".into());
        resource.state = state;
        resource
    }

    #[test]
    fn groups_and_accounts_have_the_order_of_their_own_services() {
        let group = made(
            "/subscriptions/s/resourceGroups/g",
            ProvisioningState::Succeeded,
        );
        assert_eq!(
            response(&group, "2024-11-01").to_string(),
            r#"{"id":"/subscriptions/s/resourceGroups/g","name":"g","type":"Microsoft.Resources/resourceGroups","location":"westus","properties":{"provisioningState":"Succeeded"}}"#
        );
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a";
        let mut account = made(id, ProvisioningState::Succeeded);
        account.tags = Some(Document::new());
        account.top.insert("kind".to_owned(), "StorageV2".into());
        account
            .top
            .insert("sku".to_owned(), json!({"name": "Standard_LRS"}));
        assert_eq!(
            response(&account, "2025-08-01").to_string(),
            r#"{"sku":{"name":"Standard_LRS"},"kind":"StorageV2","id":"ID","name":"a","type":"Microsoft.Storage/storageAccounts","location":"westus","tags":{},"properties":{"provisioningState":"Succeeded"}}"#
                .replace("ID", id)
        );
    }

    #[test]
    fn a_new_disk_is_updating_and_a_new_gallery_creating() {
        let disk = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";
        let gallery = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/d";
        for (id, word) in [(disk, "Updating"), (gallery, "Creating")] {
            let body = response(&made(id, ProvisioningState::Creating), "2023-04-02");
            assert_eq!(body["properties"]["provisioningState"], word);
        }
    }

    #[test]
    fn soft_deleted_items_show_their_ends_to_new_clients_only() {
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G/images/d/versions/1.0.0";
        let mut version = made(id, ProvisioningState::Succeeded);
        version.deleted_ms = Some(1000);
        let mut gallery = made(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G",
            ProvisioningState::Succeeded,
        );
        let silent = soft_deleted(&version, &gallery, "2026-03-03");
        assert_eq!(
            silent["properties"]["hardDeletionTargetTime"],
            "1970-01-08T00:00:01.0000000+00:00"
        );
        let policy = json!({"isSoftDeleteEnabled": true, "retentionPeriodInDays": 30, "gracePeriodInDays": 7});
        gallery
            .properties
            .insert("softDeletePolicy".to_owned(), policy);
        let new = soft_deleted(&version, &gallery, "2026-03-03");
        assert_eq!(
            new["properties"]["consumptionEndTime"],
            "1970-01-31T00:00:01.0000000+00:00"
        );
        assert_eq!(
            new["properties"]["hardDeletionTargetTime"],
            "1970-02-07T00:00:01.0000000+00:00"
        );
        let old = soft_deleted(&version, &gallery, "2024-03-03");
        assert_eq!(old["properties"].get("consumptionEndTime"), None);
        assert_eq!(
            old["properties"]["softDeletedTime"],
            "1970-01-01T00:00:01.0000000+00:00"
        );
    }

    #[test]
    fn the_last_page_has_no_link() {
        assert_eq!(list(vec![], None), json!({"value": []}));
        let page = list(vec![json!(1)], Some("https://h/next".to_owned()));
        assert_eq!(page, json!({"value": [1], "nextLink": "https://h/next"}));
    }
}
