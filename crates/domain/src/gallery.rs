//! Galleries. Source: `API.md` 3.1, 5.1.

use serde_json::{Value, json};

use crate::plan::{
    Claim, PutContext, canonical, invalid_entity_name, is_entity_name, properties, same, start,
    take, text,
};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

const IDENTITIES: [&str; 4] = [
    "SystemAssigned",
    "UserAssigned",
    "SystemAssigned, UserAssigned",
    "None",
];
const PERMISSIONS: [&str; 3] = ["Private", "Groups", "Community"];
const INFO: [&str; 4] = [
    "publisherUri",
    "publisherContact",
    "eula",
    "publicNamePrefix",
];
/// Days that a deleted version can be restored when the policy does not say. Source: `API.md` 3.1.
const RETENTION_DAYS: i64 = 7;

/// What happens to deleted versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftDeletePolicy {
    /// Whether they are kept for a while.
    pub is_enabled: bool,
    /// How long they are kept and can be used, in days.
    pub retention_days: i64,
    /// How long after that they can still be restored, in days.
    pub grace_days: i64,
}

/// Returns a gallery's policy.
pub fn soft_delete_policy(gallery: &Resource) -> SoftDeletePolicy {
    let policy = gallery.properties.get("softDeletePolicy");
    let days = |name: &str| policy.and_then(|p| p.get(name)).and_then(Value::as_i64);
    SoftDeletePolicy {
        is_enabled: policy
            .and_then(|p| p.get("isSoftDeleteEnabled"))
            .and_then(Value::as_bool)
            .unwrap_or(false),
        retention_days: days("retentionPeriodInDays").unwrap_or(RETENTION_DAYS),
        grace_days: days("gracePeriodInDays").unwrap_or(0),
    }
}

/// Returns who a gallery is shared with: `Private`, `Groups` or `Community`.
pub fn permissions(gallery: &Resource) -> &str {
    gallery
        .properties
        .get("sharingProfile")
        .and_then(|p| p.get("permissions"))
        .and_then(Value::as_str)
        .unwrap_or("Private")
}

/// Returns the words by which consumers tell whose a public gallery is: the prefix of its public name, and the
/// labels of its publisher's site.
pub fn public_words(gallery: &Resource) -> Vec<&str> {
    let info = gallery.properties.get("sharingProfile");
    let info = info.and_then(|profile| profile.get("communityGalleryInfo"));
    let text = |name: &str| info.and_then(|info| info.get(name)?.as_str());
    let site = text("publisherUri").unwrap_or_default();
    let site = site.split_once("://").map_or(site, |(_, rest)| rest);
    let host = site.split(['/', '?', '#']).next().unwrap_or_default();
    text("publicNamePrefix")
        .into_iter()
        .chain(host.split(['.', ':', '@']))
        .collect()
}

/// Decides a PUT.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name())?;
    let mut row = start(ctx, Kind::Gallery, id, body, stored)?;
    let sent = properties(body);
    take(&mut row.properties, &sent, &["description"]);
    plan_identity(&mut row, body)?;
    if stored.is_none() {
        let unique = format!("{}-{}", id.subscription(), id.name().to_ascii_uppercase());
        row.properties
            .insert("identifier".to_owned(), json!({ "uniqueName": unique }));
    }
    if let Some(profile) = sent.get("sharingProfile").and_then(Value::as_object) {
        plan_sharing(ctx, &mut row, profile)?;
    }
    let policy = sent.get("softDeletePolicy").and_then(Value::as_object);
    if let Some(policy) = policy.filter(|p| !p.is_empty()) {
        let kept = row
            .properties
            .entry("softDeletePolicy")
            .or_insert_with(|| json!({}));
        if let Some(kept) = kept.as_object_mut() {
            take(
                kept,
                policy,
                &[
                    "isSoftDeleteEnabled",
                    "retentionPeriodInDays",
                    "gracePeriodInDays",
                ],
            );
            check_days(kept)?;
        }
    }
    Ok(row)
}

/// The kinds of identity are kept as asked; ids of principals are the server's to say.
fn plan_identity(row: &mut Resource, body: &Value) -> Result<()> {
    let Some(mut identity) = body.get("identity").and_then(Value::as_object).cloned() else {
        return Ok(());
    };
    canonical(&mut identity, "type", &IDENTITIES, "gallery.identity.type")?;
    for name in ["principalId", "tenantId"] {
        identity.shift_remove(name);
    }
    match text(&identity, "type") {
        Some("None") => {
            row.top.shift_remove("identity");
        }
        Some(_) => {
            row.top
                .insert("identity".to_owned(), Value::Object(identity));
        }
        None => {}
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    if name.contains('-') && is_entity_name(name) {
        return Err(Error::invalid_parameter(
            "galleryName",
            "Gallery name is invalid. Allowed characters are English alphanumeric characters, with underscores, and \
             periods allowed in the middle, up to 80 characters total. All other special characters, including dashes, \
             are disallowed.",
        ));
    }
    if is_entity_name(name) {
        Ok(())
    } else {
        Err(invalid_entity_name("galleryName"))
    }
}

fn check_days(policy: &Document) -> Result<()> {
    for (name, least, most) in [
        ("retentionPeriodInDays", 1, 365),
        ("gracePeriodInDays", 0, 365),
    ] {
        if let Some(days) = policy.get(name).and_then(Value::as_i64)
            && !(least..=most).contains(&days)
        {
            return Err(Error::invalid_parameter(
                format!("gallery.properties.softDeletePolicy.{name}"),
                format!(
                    "The value {days} of parameter {name} is out of range. The value must be between {least} and {most}, inclusive."
                ),
            ));
        }
    }
    Ok(())
}

/// Sharing is stored here; `share` changes groups. Source: `API.md` 3.1, "Note on conversion".
fn plan_sharing(ctx: &mut PutContext<'_>, row: &mut Resource, sent: &Document) -> Result<()> {
    const TARGET: &str = "gallery.properties.sharingProfile";
    let mut sent = sent.clone();
    canonical(
        &mut sent,
        "permissions",
        &PERMISSIONS,
        &format!("{TARGET}.permissions"),
    )?;
    let mut kept = row
        .properties
        .get("sharingProfile")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let was_public = text(&kept, "permissions") == Some("Community");
    if let Some(wanted) = sent.get("permissions") {
        let is_free = matches!(text(&kept, "permissions"), None | Some("Private"));
        if !is_free && !same(kept.get("permissions"), wanted) {
            return Err(Error::change_not_allowed(format!("{TARGET}.permissions")));
        }
        kept.insert("permissions".to_owned(), wanted.clone());
    }
    if text(&kept, "permissions") == Some("Community") {
        let info = sent
            .get("communityGalleryInfo")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        // After a reset the gallery becomes public under a new name.
        let old = kept
            .get("communityGalleryInfo")
            .and_then(Value::as_object)
            .filter(|_| was_public)
            .cloned();
        kept.insert(
            "communityGalleryInfo".to_owned(),
            Value::Object(plan_community(ctx, old, &info)?),
        );
    }
    if !kept.is_empty() {
        row.properties
            .insert("sharingProfile".to_owned(), Value::Object(kept));
    }
    Ok(())
}

fn plan_community(
    ctx: &mut PutContext<'_>,
    old: Option<Document>,
    sent: &Document,
) -> Result<Document> {
    const TARGET: &str = "gallery.properties.sharingProfile.communityGalleryInfo";
    let is_new = old.is_none();
    let mut info = old.unwrap_or_default();
    let old_prefix = text(&info, "publicNamePrefix").map(str::to_owned);
    crate::plan::refuse_scripts(sent, &INFO, TARGET)?;
    take(&mut info, sent, &INFO);
    for name in INFO {
        if text(&info, name).is_none_or(str::is_empty) {
            return Err(Error::required(format!("{TARGET}.{name}")));
        }
    }
    let prefix = text(&info, "publicNamePrefix")
        .unwrap_or_default()
        .to_owned();
    if !(5..=16).contains(&prefix.len()) || !prefix.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Error::invalid_parameter(
            format!("{TARGET}.publicNamePrefix"),
            "The public name prefix must have 5 to 16 letters and digits.",
        ));
    }
    if !is_new && old_prefix.as_deref() != Some(prefix.as_str()) {
        return Err(Error::change_not_allowed(format!(
            "{TARGET}.publicNamePrefix"
        )));
    }
    if is_new {
        info.insert("communityGalleryEnabled".to_owned(), json!(false));
        info.insert(
            "publicNames".to_owned(),
            json!([format!("{prefix}-{}", (ctx.fresh)())]),
        );
    }
    Ok(info)
}

/// Gallery names are unique in their subscription.
pub(crate) fn claim(row: &Resource) -> Claim {
    let (name, subscription) = (row.id.name(), row.id.subscription());
    Claim {
        scope: format!("gallery:{}", subscription.to_ascii_lowercase()),
        key: name.to_ascii_lowercase(),
        taken: Error::conflict(
            "Conflict",
            format!("The gallery name {name} is not unique within the subscription {subscription}. Please pick another gallery name"),
        )
        .at("galleryName"),
    }
}

/// A shared gallery is reset before it is deleted. Source: `API.md` 3.1.
pub(crate) fn check_delete(row: &Resource) -> Result<()> {
    let profile = row.properties.get("sharingProfile");
    let has_groups = profile
        .and_then(|p| p.get("groups"))
        .and_then(Value::as_array)
        .is_some_and(|g| !g.is_empty());
    let is_public = profile
        .and_then(|p| p.pointer("/communityGalleryInfo/communityGalleryEnabled"))
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if has_groups || is_public {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The gallery '{}' is shared. Reset its sharing profile before deleting it.",
                row.id.name()
            ),
        ));
    }
    Ok(())
}
