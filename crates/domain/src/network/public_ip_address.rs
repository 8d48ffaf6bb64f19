//! Public addresses. Each is a loopback address of the installation, given when the resource is made.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::links::{Link, users};
use super::{begin, default, refuse, word};
use crate::plan::{PutContext, text};
use crate::{Error, Kind, Resource, ResourceId, Result};

/// Where public addresses come from when nothing else is configured.
pub const RANGE_DEFAULT: &str = "127.44.0.0/16";
const READ_ONLY: [&str; 5] = [
    "ipAddress",
    "ipConfiguration",
    "natGateway",
    "servicePublicIPAddress",
    "linkedPublicIPAddress",
];
const MINUTES_MIN: i64 = 4;
const MINUTES_MAX: i64 = 30;

/// Decides a PUT; the address itself is chosen where all addresses are known.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let kind = id.kind().filter(|kind| kind.is_address());
    let kind = kind.unwrap_or(Kind::PublicIpAddress);
    let mut row = begin(ctx, kind, id, body, stored)?;
    for name in READ_ONLY {
        row.properties.shift_remove(name);
    }
    if let Some(address) = stored.and_then(|s| s.properties.get("ipAddress")) {
        row.properties
            .insert("ipAddress".to_owned(), address.clone());
    }
    plan_sku(&mut row)?;
    let members = &mut row.properties;
    word(members, "publicIPAllocationMethod", &["Dynamic", "Static"])?;
    word(members, "publicIPAddressVersion", &["IPv4", "IPv6"])?;
    default(members, "publicIPAddressVersion", "IPv4");
    default(members, "publicIPAllocationMethod", "Dynamic");
    default(members, "idleTimeoutInMinutes", MINUTES_MIN);
    default(members, "ipTags", json!([]));
    let minutes = members.get("idleTimeoutInMinutes").and_then(Value::as_i64);
    if !minutes.is_some_and(|m| (MINUTES_MIN..=MINUTES_MAX).contains(&m)) {
        return Err(refuse(
            "InvalidIdleTimeout",
            format!(
                "The idle timeout of {id} must be between {MINUTES_MIN} and {MINUTES_MAX} minutes."
            ),
        ));
    }
    let is_standard = row.top.get("sku").and_then(|s| s.get("name")) == Some(&json!("Standard"));
    if is_standard && text(members, "publicIPAllocationMethod") != Some("Static") {
        return Err(refuse(
            "StandardSkuPublicIPAddressesMustBeStatic",
            format!("Standard sku publicIp {id} must have AllocationMethod set to Static."),
        ));
    }
    plan_name(&mut row)?;
    Ok(row)
}

pub(crate) fn plan_sku(row: &mut Resource) -> Result<()> {
    let sku = row.top.entry("sku").or_insert_with(|| json!({}));
    let sku = sku
        .as_object_mut()
        .ok_or_else(|| super::cannot_parse("sku"))?;
    word(sku, "name", &["Basic", "Standard", "StandardV2", "Gateway"])?;
    word(sku, "tier", &["Regional", "Global"])?;
    default(sku, "name", "Basic");
    default(sku, "tier", "Regional");
    Ok(())
}

/// The name below a suffix that no resolver outside knows: a name of the original would be a stranger's machine.
fn plan_name(row: &mut Resource) -> Result<()> {
    let (location, kind) = (row.location.clone(), row.kind);
    let Some(settings) = row.properties.get_mut("dnsSettings") else {
        return Ok(());
    };
    let settings = settings
        .as_object_mut()
        .ok_or_else(|| super::cannot_parse("dnsSettings"))?;
    settings.shift_remove("fqdn");
    let Some(label) = text(settings, "domainNameLabel") else {
        return Ok(());
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    // A machine of a set has a name below that of the set, which is the one that was sent.
    let sent = match (kind, label.split_once('.')) {
        (Kind::ScaleSetAddress, Some((_, of_set))) => of_set,
        _ => label,
    };
    let is_label = (3..=63).contains(&sent.len())
        && sent.chars().all(fits)
        && sent.starts_with(|c: char| c.is_ascii_lowercase())
        && !sent.ends_with('-');
    if !is_label {
        let shown: String = sent.chars().take(100).collect();
        return Err(refuse(
            "InvalidDomainNameLabel",
            format!(
                "The domain name label {shown} is invalid. It must conform to the following regular expression: \
                 ^[a-z][a-z0-9-]{{1,61}}[a-z0-9]$."
            ),
        ));
    }
    let name = format!("{label}.{location}.cloudapp.internal");
    settings.insert("fqdn".to_owned(), json!(name));
    Ok(())
}

/// Whether the resource still needs its address.
pub fn needs_address(row: &Resource) -> bool {
    row.kind.is_address()
        && text(&row.properties, "publicIPAddressVersion") != Some("IPv6")
        && address(row).is_none()
}

/// Returns the address.
pub fn address(row: &Resource) -> Option<Ipv4Addr> {
    text(&row.properties, "ipAddress")?.parse().ok()
}

/// Keeps the address that was chosen.
pub fn set_address(row: &mut Resource, address: Ipv4Addr) {
    let shown = json!(address.to_string());
    row.properties.insert("ipAddress".to_owned(), shown);
}

/// 400 when the range has no free address.
pub fn none_left(range: &str) -> Error {
    refuse(
        "PublicIPCountLimitReached",
        format!(
            "All public IP addresses of this installation ({range}) are in use. Delete one that is not needed, or let the operator configure a larger range."
        ),
    )
}

/// Refuses to delete an address that something has.
pub fn check_delete(row: &Resource) -> Result<()> {
    users(row).first().map_or(Ok(()), |held| {
        Err(refuse(
            "PublicIPAddressCannotBeDeleted",
            format!(
                "Public IP address {} can not be deleted since it is still allocated to resource {}. In order to delete the \
                 public IP, disassociate/detach the Public IP address from the resource. To learn how to do this, see \
                 aka.ms/deletepublicip.",
                row.id, held.user
            ),
        ))
    })
}

/// 400 for a second user of what has one user only.
pub(crate) fn in_use(target: &Resource, link: &Link, other: &str) -> Error {
    if target.kind.is_address() {
        return refuse(
            "PublicIPAddressInUse",
            format!(
                "Resource {} is referencing public IP address {} that is already allocated to resource {other}.",
                link.user, target.id
            ),
        );
    }
    refuse(
        "InboundNatRuleInUse",
        format!(
            "Resource {} is referencing inbound NAT rule {}/{} that is already used by resource {other}.",
            link.user, target.id, link.place
        ),
    )
}
