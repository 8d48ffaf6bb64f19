//! In-VM access control profiles and their versions: rules that guests are to follow. Source: `API.md` 3.5.

use serde_json::{Value, json};

use super::{Words, begin_version, check_names, plan_definition, reword};
use crate::plan::{PutContext, canonical, take, text};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result, image_version};

const WORDS: Words = Words {
    name: "inVMAccessControlProfileName",
    fixed: &["osType", "applicableHostEndpoint"],
    free: &["description"],
    system: "osType",
};
const ENDPOINTS: [&str; 2] = ["WireServer", "IMDS"];
const MODES: [&str; 3] = ["Audit", "Enforce", "Disabled"];
const ACCESS: [&str; 2] = ["Allow", "Deny"];
const AT: &str = "galleryInVMAccessControlProfileVersion.properties";

/// Decides a PUT of a profile.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut body = body.clone();
    if let Some(sent) = body.get_mut("properties").and_then(Value::as_object_mut) {
        let target = "galleryInVMAccessControlProfile.properties.applicableHostEndpoint";
        canonical(sent, "applicableHostEndpoint", &ENDPOINTS, target)?;
    }
    plan_definition(ctx, Kind::AccessProfile, &WORDS, id, &body, stored)
}

/// Decides a PUT of a version; its rules may change.
pub fn plan_version(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let kind = Kind::AccessProfileVersion;
    let (mut row, mut sent, _) = begin_version(ctx, kind, id, body, stored)?;
    let is_new = stored.is_none();
    canonical(&mut sent, "mode", &MODES, &format!("{AT}.mode"))?;
    canonical(
        &mut sent,
        "defaultAccess",
        &ACCESS,
        &format!("{AT}.defaultAccess"),
    )?;
    if is_new {
        for name in ["mode", "defaultAccess"] {
            let said = text(&sent, name).filter(|word| !word.is_empty());
            said.ok_or_else(|| Error::required(format!("{AT}.{name}")))?;
        }
    }
    if let Some(rules) = sent.get("rules") {
        check_rules(rules)?;
    }
    take(
        &mut row.properties,
        &sent,
        &["mode", "defaultAccess", "rules"],
    );
    plan_locations(ctx, &mut row, &sent, is_new)?;
    Ok(row)
}

/// Locations follow the rules of target regions; they may go, for a profile is read from its row.
fn plan_locations(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let names = [
        ("targetLocations", "targetRegions"),
        ("excludeFromLatest", "excludeFromLatest"),
        ("publishedDate", "publishedDate"),
    ];
    let as_profile = |members: &Document, count: usize| {
        let mut profile = Document::new();
        for (ours, theirs) in names.iter().take(count) {
            if let Some(value) = members.get(*ours) {
                profile.insert((*theirs).to_owned(), value.clone());
            }
        }
        Value::Object(profile)
    };
    let mut asked = Document::new();
    asked.insert("publishingProfile".to_owned(), as_profile(sent, 2));
    let safety = json!({ "allowDeletionOfReplicatedLocations": true });
    asked.insert("safetyProfile".to_owned(), safety);
    if !is_new {
        let held = as_profile(&row.properties, 3);
        row.properties.insert("publishingProfile".to_owned(), held);
    }
    let planned = image_version::plan_publishing(ctx, row, &asked, is_new);
    planned.map_err(|error| {
        let mut error = reword(error, row.kind);
        let of_locations = |text: &str| {
            text.replace("publishingProfile.targetRegions", "targetLocations")
                .replace("publishingProfile.", "")
        };
        error.target = error.target.as_deref().map(of_locations);
        error.message = of_locations(&error.message);
        error
    })?;
    let Some(Value::Object(profile)) = row.properties.shift_remove("publishingProfile") else {
        return Err(Error::internal());
    };
    for (ours, theirs) in names {
        if let Some(value) = profile.get(theirs) {
            row.properties.insert(ours.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// Roles name privileges that are there, assignments name roles and identities that are there.
fn check_rules(rules: &Value) -> Result<()> {
    for list in ["privileges", "roles", "identities"] {
        check_names(rules.get(list), &format!("{AT}.rules.{list}"))?;
    }
    let items = |list: &str| {
        let items = rules.get(list).and_then(Value::as_array);
        items.into_iter().flatten()
    };
    let is_there = |list: &str, name: &str| {
        items(list).any(|item| {
            let held = item.get("name").and_then(Value::as_str);
            held.is_some_and(|held| held.eq_ignore_ascii_case(name))
        })
    };
    let check_all = |from: &Value, member: &str, list: &str, at: &str| -> Result<()> {
        let names = from.get(member).and_then(Value::as_array);
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            if !is_there(list, name) {
                return Err(unknown(&format!("{AT}.rules.{at}.{member}"), name, list));
            }
        }
        Ok(())
    };
    for role in items("roles") {
        check_all(role, "privileges", "privileges", "roles")?;
    }
    for assignment in items("roleAssignments") {
        let role = assignment.get("role").and_then(Value::as_str);
        let target = format!("{AT}.rules.roleAssignments.role");
        let role = role.ok_or_else(|| Error::required(target.clone()))?;
        if !is_there("roles", role) {
            return Err(unknown(&target, role, "roles"));
        }
        check_all(assignment, "identities", "identities", "roleAssignments")?;
    }
    Ok(())
}

fn unknown(target: &str, name: &str, list: &str) -> Error {
    Error::invalid_parameter(
        target,
        format!(
            "The name '{name}' is not among the {list} of the rules. Add it there, or take it out here."
        ),
    )
}
