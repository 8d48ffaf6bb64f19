//! From a checked body and what is stored to what will be stored: one door for all kinds.
//!
//! The body was checked by `arm`: members are known to its api-version, have the right JSON types
//! and canonical names, nulls are gone. What is omitted keeps what is stored; read-only members are
//! ignored; immutables are refused when they differ.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::resource::Document;
use crate::{
    Error, ErrorKind, Kind, ProvisioningState, Regions, Resource, ResourceId, Result, artifact,
    disk, disk_encryption_set, gallery, image, image_version, managed_image, network,
    resource_group, scale_set, snapshot, storage_account, virtual_machine,
};

/// What a decision may look at besides the body and the stored row.
pub struct PutContext<'a> {
    /// The installation's regions.
    pub regions: &'a Regions,
    /// Milliseconds since the epoch, UTC.
    pub now_ms: i64,
    /// The api-version of the request: defaults depend on it.
    pub api_version: &'a str,
    /// Makes a new id.
    pub fresh: &'a mut (dyn FnMut() -> Uuid + Send),
    /// The resource that this one lives in, if that is not a group.
    pub parent: Option<&'a Resource>,
    /// The gallery of a version.
    pub gallery: Option<&'a Resource>,
}

/// A name that must be unique, and the error for who comes second.
pub struct Claim {
    /// Where it must be unique.
    pub scope: String,
    /// The name, in lower case.
    pub key: String,
    /// What who comes second reads.
    pub taken: Error,
}

/// Decides a PUT.
pub fn plan_put(
    kind: Kind,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    match kind {
        Kind::ResourceGroup => resource_group::plan_put(ctx, id, body, stored),
        Kind::Gallery => gallery::plan_put(ctx, id, body, stored),
        Kind::Image => image::plan_put(ctx, id, body, stored),
        Kind::ImageVersion => image_version::plan_put(ctx, id, body, stored),
        Kind::Disk => disk::plan_put(ctx, id, body, stored),
        Kind::Snapshot => snapshot::plan_put(ctx, id, body, stored),
        Kind::ManagedImage => managed_image::plan_put(ctx, id, body, stored),
        Kind::DiskEncryptionSet => disk_encryption_set::plan_put(ctx, id, body, stored),
        Kind::StorageAccount => storage_account::plan_put(ctx, id, body, stored),
        Kind::VirtualNetwork
        | Kind::NetworkInterface
        | Kind::PublicIpAddress
        | Kind::NetworkSecurityGroup
        | Kind::LoadBalancer
        | Kind::ScaleSetAddress
        | Kind::ScaleSetInterface => network::plan_put(kind, ctx, id, body, stored),
        Kind::GalleryApplication
        | Kind::GalleryApplicationVersion
        | Kind::GalleryScript
        | Kind::GalleryScriptVersion
        | Kind::AccessProfile
        | Kind::AccessProfileVersion => artifact::plan_put(kind, ctx, id, body, stored),
        Kind::VirtualMachine | Kind::ScaleSetMachine => {
            virtual_machine::plan_put(kind, ctx, id, body, stored)
        }
        Kind::ScaleSet => scale_set::plan_put(ctx, id, body, stored),
    }
}

/// Decides a PATCH: a PUT in which location and everything required may be omitted.
pub fn plan_patch(
    kind: Kind,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: &Resource,
) -> Result<Resource> {
    if kind.is_network() {
        return Ok(network::plan_patch(body, stored));
    }
    let mut body = body.clone();
    if kind == Kind::Image {
        image::check_patch(&body)?;
        image::complete_patch(&mut body, stored);
    }
    if let Some(members) = body.as_object_mut()
        && !members.contains_key("location")
    {
        members.insert(
            "location".to_owned(),
            Value::String(stored.location.clone()),
        );
    }
    plan_put(kind, ctx, id, &body, Some(stored))
}

/// Returns the names that a new resource takes.
pub fn claims(row: &Resource) -> Vec<Claim> {
    match row.kind {
        Kind::Gallery => vec![gallery::claim(row)],
        Kind::Image => vec![image::claim(row)],
        Kind::StorageAccount => vec![storage_account::claim(row)],
        _ => Vec::new(),
    }
}

/// Refuses the deletion of a resource that is in use by what its own row says.
pub fn check_delete(row: &Resource) -> Result<()> {
    match row.kind {
        Kind::Gallery => gallery::check_delete(row),
        Kind::Disk | Kind::Snapshot => disk::check_delete(row),
        _ => Ok(()),
    }
}

/// Returns the row to fill in: the stored one, or a new one at a known location.
pub(crate) fn start(
    ctx: &PutContext<'_>,
    kind: Kind,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let sent = body
        .get("location")
        .and_then(Value::as_str)
        .filter(|l| !l.is_empty());
    let sent = sent.ok_or_else(|| location_required(id.name()))?;
    let region = ctx
        .regions
        .find(sent)
        .ok_or_else(|| unknown_location(ctx, kind, sent))?;
    let mut row = match stored {
        Some(stored) if stored.location != region.name && kind == Kind::ResourceGroup => {
            return Err(Error::conflict(
                "InvalidResourceGroupLocation",
                format!(
                    "Invalid resource group location '{}'. The Resource group already exists in location '{}'.",
                    region.name, stored.location
                ),
            ));
        }
        Some(stored) if stored.location != region.name => {
            return Err(Error::conflict(
                "InvalidResourceLocation",
                format!(
                    "The resource '{}' already exists in location '{}' in resource group '{}'. A resource with the same \
                     name cannot be created in location '{}'. Please select a new resource name.",
                    id.name(),
                    stored.location,
                    id.resource_group(),
                    region.name
                ),
            ));
        }
        Some(stored) => {
            let mut row = stored.clone();
            row.state = ProvisioningState::Updating;
            row
        }
        None => Resource::new(id.clone(), kind, &region.name, ctx.now_ms),
    };
    if let Some(tags) = body.get("tags").and_then(Value::as_object) {
        row.tags = Some(tags.clone());
    }
    Ok(row)
}

/// 400 for a body without a location.
pub(crate) fn location_required(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "LocationRequired",
        format!("The location property is required for this definition. Resource: '{name}'."),
    )
}

fn unknown_location(ctx: &PutContext<'_>, kind: Kind, sent: &str) -> Error {
    let known: Vec<&str> = ctx.regions.iter().map(|r| r.name.as_str()).collect();
    Error::new(
        ErrorKind::Invalid,
        "LocationNotAvailableForResourceType",
        format!(
            "The provided location '{sent}' is not available for resource type '{}'. List of available regions for the \
             resource type is '{}'.",
            kind.type_name(),
            known.join(",")
        ),
    )
}

/// Returns `properties` of a body, empty when there are none.
pub(crate) fn properties(body: &Value) -> Document {
    body.get("properties")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Returns a text member.
pub(crate) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

/// Refuses texts that portals show as links and that would run as a script there.
///
/// Browsers leave out blanks and control characters of a scheme, so this does too.
pub(crate) fn refuse_scripts(sent: &Document, names: &[&str], target: &str) -> Result<()> {
    const SCRIPTS: [&str; 3] = ["javascript:", "vbscript:", "data:"];
    for name in names {
        let shown: String = text(sent, name)
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control() && !c.is_whitespace())
            .take(16)
            .collect();
        let shown = shown.to_ascii_lowercase();
        if SCRIPTS.iter().any(|scheme| shown.starts_with(scheme)) {
            return Err(Error::invalid_parameter(
                format!("{target}.{name}"),
                format!(
                    "The value of parameter {name} is invalid: use an http or https URL, or plain text."
                ),
            ));
        }
    }
    Ok(())
}

/// Copies members that may change, when they were sent.
pub(crate) fn take(row: &mut Document, sent: &Document, names: &[&str]) {
    for name in names {
        if let Some(value) = sent.get(*name) {
            row.insert((*name).to_owned(), value.clone());
        }
    }
}

/// Copies members that may not change: set at first, then only the same value is accepted.
pub(crate) fn take_once(
    row: &mut Document,
    sent: &Document,
    names: &[&str],
    is_new: bool,
    wire: &str,
) -> Result<()> {
    for name in names {
        let Some(value) = sent.get(*name) else {
            continue;
        };
        if is_new {
            row.insert((*name).to_owned(), value.clone());
        } else if !same(row.get(*name), value) {
            return Err(Error::change_not_allowed(format!(
                "{wire}.properties.{name}"
            )));
        }
    }
    Ok(())
}

/// Whether a sent value is what is stored; words and ids compare without case.
pub(crate) fn same(stored: Option<&Value>, sent: &Value) -> bool {
    match (stored, sent) {
        (Some(Value::String(a)), Value::String(b)) => a.eq_ignore_ascii_case(b),
        (Some(Value::Array(a)), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), b))
        }
        (Some(Value::Object(a)), Value::Object(b)) => {
            b.iter().all(|(name, sent)| same(a.get(name), sent))
                && a.iter()
                    .all(|(name, stored)| b.contains_key(name) || is_nothing(stored))
        }
        (Some(stored), sent) => stored == sent,
        (None, sent) => is_nothing(sent),
    }
}

/// Whether what is sent adds nothing to what is stored: members that are not named may be there.
pub(crate) fn is_part(stored: Option<&Value>, sent: &Value) -> bool {
    match (stored, sent) {
        (Some(Value::Object(stored)), Value::Object(sent)) => sent
            .iter()
            .all(|(name, sent)| is_part(stored.get(name), sent)),
        _ => same(stored, sent),
    }
}

/// The same for machines and their sets: what says nothing is not sent, and an object may be repeated in part.
pub(crate) fn take_once_if_said(
    held: &mut Document,
    sent: &Document,
    names: &[&'static str],
    is_new: bool,
) -> Result<()> {
    for name in names {
        let Some(value) = sent.get(*name).filter(|value| !is_nothing(value)) else {
            continue;
        };
        if is_new {
            held.insert((*name).to_owned(), value.clone());
        } else if !is_part(held.get(*name), value) {
            return Err(Error::change_not_allowed(*name));
        }
    }
    Ok(())
}

/// Refuses identities of machines, of one or of those of a set.
pub(crate) fn refuse_identity(body: &Value) -> Result<()> {
    let kind = body.pointer("/identity/type").and_then(Value::as_str);
    if kind.is_none_or(|kind| kind.eq_ignore_ascii_case("None")) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "identity",
        "Identities of machines are not supported by this service. Leave 'identity' out.",
    ))
}

/// Takes the query off a URL: its SAS is a secret, and readers see what is stored.
pub(crate) fn drop_query(members: &mut Document, name: &str) {
    if let Some(Value::String(url)) = members.get_mut(name)
        && let Some(end) = url.find(['?', '#'])
    {
        url.truncate(end);
    }
}

/// Whether a value says nothing: an empty text, list or object, and objects of such.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Removes members that say nothing.
pub(crate) fn drop_nothing(members: &mut Document, names: &[&str]) {
    for name in names {
        if members.get(*name).is_some_and(is_nothing) {
            members.shift_remove(*name);
        }
    }
}

/// Returns the canonical spelling of an enum word.
pub(crate) fn word(value: &str, allowed: &[&'static str], target: &str) -> Result<&'static str> {
    allowed.iter().find(|known| known.eq_ignore_ascii_case(value)).copied().ok_or_else(|| {
        let name = target.rsplit('.').next().unwrap_or(target);
        Error::invalid_parameter(
            target,
            format!("The value '{value}' of parameter '{name}' is invalid. The allowed values are: {}.", allowed.join(", ")),
        )
    })
}

/// Puts an enum member of `members` into canonical spelling.
pub(crate) fn canonical(
    members: &mut Document,
    name: &str,
    allowed: &[&'static str],
    target: &str,
) -> Result<()> {
    if text(members, name) == Some("") {
        // Some clients write what they do not know as an empty text.
        members.shift_remove(name);
    }
    if let Some(value) = text(members, name) {
        let known = word(value, allowed, target)?;
        members.insert(name.to_owned(), Value::String(known.to_owned()));
    }
    Ok(())
}

/// Refuses an end of life that is over. Source: `API.md` 3.2.
pub(crate) fn check_end_of_life(members: &Document, now_ms: i64, target: &str) -> Result<()> {
    let Some(sent) = text(members, "endOfLifeDate") else {
        return Ok(());
    };
    let at: jiff::Timestamp = sent.parse().map_err(|_| {
        Error::bad_request(format!(
            "Could not convert string to DateTimeOffset: {sent}. Path '{target}'"
        ))
    })?;
    if at.as_millisecond() <= now_ms {
        return Err(Error::invalid_parameter(
            target,
            "EndOfLifeDate must be set to a future date.",
        ));
    }
    Ok(())
}

/// Returns a moment as the service writes it: seven digits of fraction and an offset. Source: `API.md` 2.4.
pub(crate) fn moment(ms: i64) -> Result<Value> {
    let at = jiff::Timestamp::from_millisecond(ms).map_err(|_| Error::internal())?;
    let text = at.strftime("%Y-%m-%dT%H:%M:%S%.7f+00:00").to_string();
    Ok(Value::String(text))
}

/// Whether `api_version` is `first` or newer; versions are dates.
pub(crate) fn since(api_version: &str, first: &str) -> bool {
    api_version.get(..10).unwrap_or(api_version) >= first
}

/// Whether a name fits `^[^_\W][\w-._]{0,79}(?<![-.])$` in ASCII.
pub(crate) fn is_entity_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=80).contains(&name.len())
        && name.chars().all(word)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with(['-', '.'])
}

/// 400 for a name that does not fit. Source: `API.md` 2.2.
pub(crate) fn invalid_entity_name(parameter: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidResourceName",
        format!(r"The entity name '{parameter}' is invalid according to its validation rule: ^[^_\W][\w-._]{{0,79}}(?<![-.])$."),
    )
    .at(parameter)
}
