//! Disk encryption sets: which key a disk is to be encrypted with. Source: `API.md` 5.3.
//!
//! A set is a resource that others name; what names it is its associated resources.

use serde_json::{Value, json};

use crate::plan::{PutContext, canonical, is_nothing, moment, properties, same, start, take, text};
use crate::{Error, Kind, Resource, ResourceId, Result, disk, image_version, managed_image};

const IDENTITIES: [&str; 4] = [
    "SystemAssigned",
    "UserAssigned",
    "SystemAssigned, UserAssigned",
    "None",
];
const TYPES: [&str; 3] = [
    "EncryptionAtRestWithCustomerKey",
    "EncryptionAtRestWithPlatformAndCustomerKeys",
    "ConfidentialVmEncryptedWithCustomerKey",
];
const TYPE: &str = "diskEncryptionSet.properties.encryptionType";
/// Members that may change as sent.
const MUTABLE: [&str; 2] = ["federatedClientId", "rotationToLatestKeyVersionEnabled"];
const NAME_CHARS_MAX: usize = 80;

/// Decides a PUT or, with `stored`, a change.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name())?;
    let mut row = start(ctx, Kind::DiskEncryptionSet, id, body, stored)?;
    let mut sent = properties(body);
    plan_identity(ctx, &mut row, body)?;
    canonical(&mut sent, "encryptionType", &TYPES, TYPE)?;
    plan_key(ctx, &mut row, sent.get("activeKey"), stored.is_none())?;
    match (sent.get("encryptionType"), stored) {
        (Some(kind), Some(stored)) if !same(stored.properties.get("encryptionType"), kind) => {
            return Err(Error::change_not_allowed(TYPE));
        }
        (kind, None) => {
            let kind = kind.cloned().unwrap_or_else(|| json!(TYPES[0]));
            row.properties.insert("encryptionType".to_owned(), kind);
        }
        _ => {}
    }
    take(&mut row.properties, &sent, &MUTABLE);
    Ok(row)
}

fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(crate::plan::invalid_entity_name("diskEncryptionSetName"))
}

/// The principal is made up: nothing here asks for it, but clients give it roles on a vault.
fn plan_identity(ctx: &mut PutContext<'_>, row: &mut Resource, body: &Value) -> Result<()> {
    let Some(mut identity) = body.get("identity").and_then(Value::as_object).cloned() else {
        return Ok(());
    };
    canonical(
        &mut identity,
        "type",
        &IDENTITIES,
        "diskEncryptionSet.identity.type",
    )?;
    let held = row.top.get("identity").and_then(Value::as_object);
    let held_principal = held.and_then(|held| held.get("principalId")).cloned();
    let held_tenant = held.and_then(|held| held.get("tenantId")).cloned();
    for name in ["principalId", "tenantId"] {
        identity.shift_remove(name);
    }
    let kind = text(&identity, "type").unwrap_or_default().to_owned();
    if kind == "None" {
        row.top.shift_remove("identity");
        return Ok(());
    }
    if kind.starts_with("SystemAssigned") {
        let principal = held_principal.unwrap_or_else(|| json!((ctx.fresh)().to_string()));
        identity.insert("principalId".to_owned(), principal);
        if let Some(tenant) = held_tenant {
            identity.insert("tenantId".to_owned(), tenant);
        }
    }
    row.top
        .insert("identity".to_owned(), Value::Object(identity));
    Ok(())
}

/// Shows the tenant of the set's principal.
pub fn set_tenant(row: &mut Resource, tenant: &str) {
    let identity = row.top.get_mut("identity").and_then(Value::as_object_mut);
    if let Some(identity) = identity.filter(|i| i.contains_key("principalId")) {
        identity.insert("tenantId".to_owned(), json!(tenant));
    }
}

/// Another key is a rotation: its time is shown.
fn plan_key(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    key: Option<&Value>,
    is_new: bool,
) -> Result<()> {
    const TARGET: &str = "diskEncryptionSet.properties.activeKey";
    let Some(key) = key.filter(|key| !is_nothing(key)) else {
        return match is_new {
            true => Err(Error::required(TARGET)),
            false => Ok(()),
        };
    };
    let url = key.get("keyUrl").and_then(Value::as_str);
    let url = url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| Error::required(format!("{TARGET}.keyUrl")))?;
    if !url.starts_with("https://") {
        return Err(Error::invalid_parameter(
            format!("{TARGET}.keyUrl"),
            format!(
                "The key URL '{url}' is invalid. It must be the https URL of a key in a vault."
            ),
        ));
    }
    if !is_new && !same(row.properties.get("activeKey"), key) {
        let now = moment(ctx.now_ms)?;
        row.properties
            .insert("lastKeyRotationTimestamp".to_owned(), now);
    }
    row.properties.insert("activeKey".to_owned(), key.clone());
    Ok(())
}

/// A set that a resource names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The set.
    pub set: ResourceId,
    /// The property that names it.
    pub target: String,
    /// The region in which its key is used.
    pub region: String,
}

/// Returns the sets that a resource names.
pub fn uses(row: &Resource, regions: &crate::Regions) -> Vec<Use> {
    match row.kind {
        Kind::Disk | Kind::Snapshot => disk::encryption_set(row)
            .into_iter()
            .map(|set| Use {
                set,
                target: format!(
                    "{}.properties.encryption.diskEncryptionSetId",
                    row.kind.wire_name()
                ),
                region: row.location.clone(),
            })
            .collect(),
        Kind::ManagedImage => managed_image::encryption_sets(row)
            .into_iter()
            .map(|set| Use {
                set,
                target: "image.properties.storageProfile.diskEncryptionSet.id".to_owned(),
                region: row.location.clone(),
            })
            .collect(),
        Kind::ImageVersion => image_version::encryption_sets(row, regions),
        _ => Vec::new(),
    }
}

/// The refusal of a set that is not there. Source: `API.md` 5.3.
pub fn not_found(used: &Use) -> Error {
    Error::not_found(
        "NotFound",
        format!("The disk encryption set {} was not found.", used.set),
    )
    .at(used.target.as_str())
}

/// Refuses a set of another subscription or region. Source: `API.md` 5.3.
pub fn check_use(row: &Resource, used: &Use, set: &Resource) -> Result<()> {
    let (mine, theirs) = (row.id.subscription(), set.id.subscription());
    let owner = match row.kind {
        Kind::ImageVersion => "gallery resource",
        kind => kind.wire_name(),
    };
    if !mine.eq_ignore_ascii_case(theirs) {
        return Err(Error::invalid_parameter(
            used.target.as_str(),
            format!(
                "The disk encryption set '{}' must be in the same subscription '{mine}' as the {owner}.",
                used.set
            ),
        ));
    }
    if set.location != used.region {
        return Err(Error::invalid_parameter(
            used.target.as_str(),
            format!(
                "The disk encryption set '{}' is in region '{}' and must be in region '{}', where it is used.",
                used.set, set.location, used.region
            ),
        ));
    }
    Ok(())
}

/// Refuses to delete a set that encrypts something.
pub fn in_use(row: &Resource, user: &str) -> Error {
    Error::conflict(
        "OperationNotAllowed",
        format!(
            "The disk encryption set '{}' cannot be deleted because it is used by '{user}'. Delete what uses it first.",
            row.id.name()
        ),
    )
}
