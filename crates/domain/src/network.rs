//! Networks: what their kinds share.
//!
//! A network, group of rules or load balancer is one row; its subnets, rules and pools are lists in
//! it, whichever way they are written: inline or as children ([`nested`]). What is used knows its users
//! ([`links`]), so a row alone says whether it may go. Bodies are open: members that this product does
//! not know are kept and shown as sent, within [`BODY_BYTES_MAX`].

pub mod address;
pub mod links;
pub mod load_balancer;
pub mod nested;
pub mod network_interface;
pub mod network_security_group;
pub mod ports;
pub mod public_ip_address;
pub mod virtual_network;

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use crate::plan::{PutContext, properties, start, text};
use crate::resource::Document;
use crate::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};

/// The largest body of a network resource, in bytes of JSON.
pub const BODY_BYTES_MAX: usize = 512 << 10;
/// The most sub-objects of one list.
pub const ITEMS_MAX: usize = 1000;
/// Members beside `properties` that stay when a PUT leaves them out.
const TOP: [&str; 4] = ["sku", "zones", "extendedLocation", "identity"];

/// Decides a PUT; what is omitted is gone, save what each kind keeps.
pub fn plan_put(
    kind: Kind,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    match kind {
        Kind::VirtualNetwork => virtual_network::plan_put(ctx, id, body, stored),
        Kind::NetworkInterface | Kind::ScaleSetInterface => {
            network_interface::plan_put(ctx, id, body, stored)
        }
        Kind::PublicIpAddress | Kind::ScaleSetAddress => {
            public_ip_address::plan_put(ctx, id, body, stored)
        }
        Kind::NetworkSecurityGroup => network_security_group::plan_put(ctx, id, body, stored),
        Kind::LoadBalancer => load_balancer::plan_put(ctx, id, body, stored),
        _ => Err(Error::internal()),
    }
}

/// Decides a PATCH, which changes tags alone.
pub fn plan_patch(body: &Value, stored: &Resource) -> Resource {
    let mut row = stored.clone();
    row.state = ProvisioningState::Updating;
    if let Some(tags) = body.get("tags").and_then(Value::as_object) {
        row.tags = Some(tags.clone());
    }
    row
}

/// Returns the etag of a row and all its parts: it changes with every write, whichever part it was of.
pub fn etag(row: &Resource) -> String {
    let text = format!("{}/{}", row.id.key(), row.revision);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    format!("W/\"{id}\"")
}

/// Returns the name that a pool gives the address of one of its users; it follows from the user.
pub fn name_of_address(user: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, user.to_lowercase().as_bytes()).to_string()
}

/// Refuses to delete what others use.
pub fn check_delete(row: &Resource) -> Result<()> {
    match row.kind {
        Kind::VirtualNetwork => virtual_network::check_delete(row),
        Kind::NetworkInterface | Kind::ScaleSetInterface => network_interface::check_delete(row),
        Kind::PublicIpAddress | Kind::ScaleSetAddress => public_ip_address::check_delete(row),
        Kind::NetworkSecurityGroup => network_security_group::check_delete(row),
        _ => Ok(()),
    }
}

/// Starts a row: its members are those that were sent, without what only the server says.
pub(crate) fn begin(
    ctx: &mut PutContext<'_>,
    kind: Kind,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name())?;
    if body.to_string().len() > BODY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "RequestEntityTooLarge",
            format!("The body of a network resource may have at most {BODY_BYTES_MAX} bytes."),
        ));
    }
    let mut row = start(ctx, kind, id, body, stored)?;
    for name in TOP {
        if let Some(value) = body.get(name) {
            row.top.insert(name.to_owned(), value.clone());
        }
    }
    let held = stored.and_then(|s| text(&s.properties, "resourceGuid"));
    let guid = held.map_or_else(|| (ctx.fresh)().to_string(), str::to_owned);
    row.properties = Document::new();
    row.properties
        .insert("resourceGuid".to_owned(), guid.into());
    for (name, value) in properties(body) {
        if name != "provisioningState" && name != "resourceGuid" {
            row.properties.insert(name, value);
        }
    }
    Ok(row)
}

/// Makes a list of sub-objects one of `{name, …, properties}`; drops what only the server says.
pub(crate) fn tidy(row: &mut Resource, list: &str, read_only: &[&str]) -> Result<()> {
    let Some(value) = row.properties.get_mut(list) else {
        return Ok(());
    };
    let items = value.as_array_mut().ok_or_else(|| cannot_parse(list))?;
    if items.len() > ITEMS_MAX {
        return Err(Error::bad_request(format!(
            "The list '{list}' may have at most {ITEMS_MAX} items."
        )));
    }
    let mut seen = HashSet::new();
    for item in items {
        let held = item.as_object_mut().ok_or_else(|| cannot_parse(list))?;
        let name = text(held, "name").unwrap_or_default().to_owned();
        check_name(&name)?;
        if !seen.insert(name.to_lowercase()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "DuplicateResourceName",
                format!(
                    "Resource {} has two child resources with the same name ({name}).",
                    row.id
                ),
            ));
        }
        for name in ["id", "etag", "type"] {
            held.shift_remove(name);
        }
        let mut inner = match held.shift_remove("properties") {
            None => Document::new(),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(cannot_parse(list)),
        };
        inner.shift_remove("provisioningState");
        for name in read_only {
            inner.shift_remove(*name);
        }
        held.insert("properties".to_owned(), Value::Object(inner));
    }
    Ok(())
}

/// Returns names and properties of a list of sub-objects.
pub fn items<'a>(
    members: &'a Document,
    list: &str,
) -> impl Iterator<Item = (&'a str, &'a Document)> {
    let items = members.get(list).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(|item| {
        let item = item.as_object()?;
        Some((text(item, "name")?, item.get("properties")?.as_object()?))
    })
}

/// As [`items`], to change them.
pub(crate) fn items_mut<'a>(
    members: &'a mut Document,
    list: &str,
) -> impl Iterator<Item = (String, &'a mut Document)> {
    let items = members.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(|item| {
        let name = item.get("name")?.as_str()?.to_owned();
        Some((name, item.get_mut("properties")?.as_object_mut()?))
    })
}

/// Whether a list has an item of a name, whatever its case.
pub(crate) fn has_item(members: &Document, list: &str, name: &str) -> bool {
    items(members, list).any(|(held, _)| held.eq_ignore_ascii_case(name))
}

/// Returns `members.{name}.id`.
pub fn id_of<'a>(members: &'a Document, name: &str) -> Option<&'a str> {
    members.get(name)?.get("id")?.as_str()
}

/// Returns the ids in a list of `{id}`.
pub fn ids_of<'a>(members: &'a Document, name: &str) -> impl Iterator<Item = &'a str> {
    let list = members.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.get("id")?.as_str())
}

/// Sets a word that was left out.
pub(crate) fn default(members: &mut Document, name: &str, value: impl Into<Value>) {
    if !members.contains_key(name) {
        members.insert(name.to_owned(), value.into());
    }
}

/// Makes numbers of numbers that were sent as texts, as templates do.
pub(crate) fn numbers(members: &mut Document, names: &[&str]) {
    for name in names {
        let sent = text(members, name).and_then(|text| text.parse::<u64>().ok());
        if let Some(number) = sent {
            members.insert((*name).to_owned(), number.into());
        }
    }
}

/// Brings an enum's word into its own case.
pub(crate) fn word(members: &mut Document, name: &str, allowed: &[&str]) -> Result<()> {
    let Some(sent) = members.get(name) else {
        return Ok(());
    };
    let sent = sent.as_str().ok_or_else(|| cannot_parse(name))?;
    let known = allowed.iter().find(|a| a.eq_ignore_ascii_case(sent));
    let known = known.ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "InvalidRequestFormat",
            format!(
                "Cannot parse the request. The value '{sent}' of '{name}' is not one of: {}.",
                allowed.join(", ")
            ),
        )
    })?;
    members.insert(name.to_owned(), Value::String((*known).to_owned()));
    Ok(())
}

/// 400 for a member of a wrong type.
pub(crate) fn cannot_parse(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidRequestFormat",
        format!("Cannot parse the request. The member '{name}' has a wrong type."),
    )
}

/// 400 with a code of its own, as networks refuse nearly everything.
pub(crate) fn refuse(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, code, message)
}

/// 400 for a reference to nothing, or to what is elsewhere.
pub fn invalid_reference(target: &str, by: &ResourceId) -> Error {
    refuse(
        "InvalidResourceReference",
        format!(
            "Resource {target} referenced by resource {by} was not found. Please make sure that the referenced resource \
             exists, and that both resources are in the same region."
        ),
    )
}

fn check_name(name: &str) -> Result<()> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let fits = |c: char| word(c) || c == '.' || c == '-';
    let ends = name.starts_with(word) && name.ends_with(word);
    if (1..=80).contains(&name.chars().count()) && ends && name.chars().all(fits) {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    Err(refuse(
        "InvalidResourceName",
        format!(
            "Resource name {shown} is invalid. The name can be up to 80 characters long. It must begin with a word character, \
             and it must end with a word character or with '_'. The name may contain word characters or '.', '-', '_'."
        ),
    ))
}
