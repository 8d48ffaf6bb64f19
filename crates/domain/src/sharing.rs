//! `POST …/share`: who a gallery is shared with. Source: `API.md` 9.
//!
//! Decides and stores; what sharing allows is decided where access is.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::gallery::permissions;
use crate::plan::word;
use crate::{Error, Resource, Result};

const OPERATIONS: [&str; 4] = ["Add", "Remove", "Reset", "EnableCommunity"];
/// The kinds of group, with the most ids of each.
const TYPES: [(&str, usize); 2] = [("Subscriptions", 30), ("AADTenants", 5)];
const TARGET: &str = "sharingUpdate";

/// Changes a gallery's row as the body of `share` says.
pub fn plan_share(gallery: &mut Resource, body: &Value) -> Result<()> {
    let sent = body.get("operationType").and_then(Value::as_str);
    let sent = sent.ok_or_else(|| Error::required(format!("{TARGET}.operationType")))?;
    let operation = word(sent, &OPERATIONS, &format!("{TARGET}.operationType"))?;
    match operation {
        "Reset" => {
            reset(gallery);
            Ok(())
        }
        "EnableCommunity" => enable_community(gallery),
        _ => change_groups(gallery, body, operation == "Add"),
    }
}

/// Nobody but the owner's own principals: the gallery is private again.
fn reset(gallery: &mut Resource) {
    let profile = json!({ "permissions": "Private" });
    gallery
        .properties
        .insert("sharingProfile".to_owned(), profile);
}

fn enable_community(gallery: &mut Resource) -> Result<()> {
    require(gallery, "Community", "EnableCommunity")?;
    let profile = gallery.properties.get_mut("sharingProfile");
    if let Some(info) = profile.and_then(|p| p.pointer_mut("/communityGalleryInfo")) {
        info["communityGalleryEnabled"] = json!(true);
    }
    Ok(())
}

fn require(gallery: &Resource, wanted: &str, operation: &str) -> Result<()> {
    let held = permissions(gallery);
    if held == wanted {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The sharing operation '{operation}' needs a gallery whose sharing permission is '{wanted}'. The gallery '{}' has the \
             sharing permission '{held}'.",
            gallery.id.name()
        ),
    ))
}

fn change_groups(gallery: &mut Resource, body: &Value, is_add: bool) -> Result<()> {
    require(gallery, "Groups", if is_add { "Add" } else { "Remove" })?;
    let mut held = held_groups(gallery);
    let groups = body.get("groups").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let (slot, ids) = read_group(group)?;
        for id in ids {
            held[slot].retain(|known| *known != id);
            if is_add {
                held[slot].push(id);
            }
        }
    }
    for ((name, most), ids) in TYPES.iter().zip(&held) {
        if ids.len() > *most {
            return Err(Error::invalid_parameter(
                format!("{TARGET}.groups"),
                format!(
                    "A gallery can be shared with at most {most} ids of type '{name}'; {} were asked for.",
                    ids.len()
                ),
            ));
        }
    }
    let shown: Vec<Value> = TYPES
        .iter()
        .zip(held)
        .filter(|(_, ids)| !ids.is_empty())
        .map(|((name, _), ids)| json!({ "type": name, "ids": ids }))
        .collect();
    let profile = gallery
        .properties
        .entry("sharingProfile")
        .or_insert_with(|| json!({}));
    profile["groups"] = Value::Array(shown);
    Ok(())
}

fn held_groups(gallery: &Resource) -> [Vec<String>; 2] {
    let mut held = [Vec::new(), Vec::new()];
    let groups = gallery
        .properties
        .get("sharingProfile")
        .and_then(|p| p.get("groups"));
    for group in groups.and_then(Value::as_array).into_iter().flatten() {
        let slot = TYPES.iter().position(|(name, _)| group["type"] == *name);
        let ids = group["ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        if let Some(slot) = slot {
            held[slot].extend(ids.map(str::to_owned));
        }
    }
    held
}

/// Returns which kind of group it is, and its ids in lower case.
fn read_group(group: &Value) -> Result<(usize, Vec<String>)> {
    let names: Vec<&'static str> = TYPES.iter().map(|(name, _)| *name).collect();
    let target = format!("{TARGET}.groups.type");
    let sent = group
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::required(&*target))?;
    let known = word(sent, &names, &target)?;
    let slot = names.iter().position(|name| *name == known).unwrap_or(0);
    let mut ids = Vec::new();
    for id in group
        .get("ids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = id.as_str().unwrap_or_default();
        let id = Uuid::parse_str(text).map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            Error::invalid_parameter(
                format!("{TARGET}.groups.ids"),
                format!("The id '{shown}' is not a GUID."),
            )
        })?;
        ids.push(id.to_string());
    }
    Ok((slot, ids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, ResourceId};

    const ID: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G";

    fn gallery(profile: Value) -> Resource {
        let id = ResourceId::parse(ID).unwrap();
        let mut row = Resource::new(id, Kind::Gallery, "eastus", 0);
        row.properties.insert("sharingProfile".to_owned(), profile);
        row
    }

    fn guid(n: usize) -> String {
        format!("00000000-0000-0000-0000-{n:012}")
    }

    #[test]
    fn groups_merge_by_type_and_empty_ones_vanish() {
        let mut row = gallery(json!({ "permissions": "Groups" }));
        let add = |ids: &[usize], kind: &str| json!({ "operationType": "add", "groups": [{ "type": kind, "ids": ids.iter().map(|n| guid(*n)).collect::<Vec<_>>() }] });
        plan_share(&mut row, &add(&[1, 2], "subscriptions")).unwrap();
        plan_share(&mut row, &add(&[2, 3], "Subscriptions")).unwrap();
        plan_share(&mut row, &add(&[9], "AADTenants")).unwrap();
        let remove = json!({ "operationType": "Remove", "groups": [{ "type": "AADTenants", "ids": [guid(9)] }] });
        plan_share(&mut row, &remove).unwrap();
        assert_eq!(
            row.properties["sharingProfile"]["groups"],
            json!([{ "type": "Subscriptions", "ids": [guid(1), guid(2), guid(3)] }])
        );
        plan_share(&mut row, &json!({ "operationType": "Reset" })).unwrap();
        assert_eq!(
            row.properties["sharingProfile"],
            json!({ "permissions": "Private" })
        );
    }

    #[test]
    fn thirty_subscriptions_and_five_tenants_are_the_most_however_they_come() {
        for (kind, most) in [("Subscriptions", 30), ("AADTenants", 5)] {
            let mut row = gallery(json!({ "permissions": "Groups" }));
            let mut change = |operation: &str, ids: Vec<String>| {
                let groups = json!([{ "type": kind, "ids": ids }]);
                let body = json!({ "operationType": operation, "groups": groups });
                plan_share(&mut row, &body).map_err(|error| error.code.to_string())
            };
            assert_eq!(change("Add", (0..most - 1).map(guid).collect()), Ok(()));
            assert_eq!(change("Add", vec![guid(most - 1)]), Ok(()));
            // Who is in it already takes no place.
            assert_eq!(change("Add", vec![guid(0)]), Ok(()));
            let refused = change("Add", vec![guid(most)]);
            assert_eq!(refused, Err("InvalidParameter".to_owned()), "{kind}");
            assert_eq!(change("Remove", vec![guid(0)]), Ok(()));
            assert_eq!(change("Add", vec![guid(most)]), Ok(()));
            let groups = &row.properties["sharingProfile"]["groups"];
            assert_eq!(
                groups[0]["ids"].as_array().map(Vec::len),
                Some(most),
                "{groups}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let many: Vec<String> = (0..31).map(guid).collect();
        for (profile, body, code) in [
            (
                json!({ "permissions": "Private" }),
                json!({ "operationType": "Add", "groups": [] }),
                "OperationNotAllowed",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({ "operationType": "EnableCommunity" }),
                "OperationNotAllowed",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({ "operationType": "Give" }),
                "InvalidParameter",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({}),
                "InvalidParameter",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({ "operationType": "Add", "groups": [{ "type": "Subscriptions", "ids": ["x"] }] }),
                "InvalidParameter",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({ "operationType": "Add", "groups": [{ "type": "Users", "ids": [] }] }),
                "InvalidParameter",
            ),
            (
                json!({ "permissions": "Groups" }),
                json!({ "operationType": "Add", "groups": [{ "type": "Subscriptions", "ids": many }] }),
                "InvalidParameter",
            ),
        ] {
            let mut row = gallery(profile.clone());
            assert_eq!(
                plan_share(&mut row, &body).unwrap_err().code,
                code,
                "{body}"
            );
            assert_eq!(row.properties["sharingProfile"], profile, "{body}");
        }
    }

    #[test]
    fn a_community_gallery_is_enabled_once_its_information_is_there() {
        let mut row = gallery(
            json!({ "permissions": "Community", "communityGalleryInfo": { "communityGalleryEnabled": false } }),
        );
        plan_share(
            &mut row,
            &json!({ "operationType": "EnableCommunity", "groups": [] }),
        )
        .unwrap();
        assert_eq!(
            row.properties["sharingProfile"]["communityGalleryInfo"]["communityGalleryEnabled"],
            true
        );
    }
}
