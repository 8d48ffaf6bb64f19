//! Virtual networks and their subnets: ranges that do not overlap, addresses that are given once.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::address::Prefix;
use super::links::{Link, User, Wish, check_kinds, users};
use super::{begin, default, has_item, items, items_mut, refuse, tidy};
use crate::plan::{PutContext, text};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

/// The longest prefix of a subnet of IPv4: with fewer addresses none is left to give.
const SUBNET_V4_LENGTH_MAX: u8 = 29;
/// The same for IPv6.
const SUBNET_V6_LENGTH_MAX: u8 = 125;
/// What only the server says of a subnet.
pub(crate) const SUBNET_READ_ONLY: [&str; 6] = [
    "ipConfigurations",
    "ipConfigurationProfiles",
    "privateEndpoints",
    "purpose",
    "resourceNavigationLinks",
    "serviceAssociationLinks",
];

/// Decides a PUT; a body without `subnets` keeps them, any list replaces them.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut row = begin(ctx, Kind::VirtualNetwork, id, body, stored)?;
    if !row.properties.contains_key("subnets") {
        let held = stored.and_then(|s| s.properties.get("subnets")).cloned();
        row.properties
            .insert("subnets".to_owned(), held.unwrap_or_else(|| json!([])));
    }
    tidy(&mut row, "subnets", &SUBNET_READ_ONLY)?;
    let spaces = address_space(&row)?;
    check_subnets(&row, &spaces)?;
    for (_, subnet) in items_mut(&mut row.properties, "subnets") {
        default(subnet, "delegations", json!([]));
        default(subnet, "privateEndpointNetworkPolicies", "Disabled");
        default(subnet, "privateLinkServiceNetworkPolicies", "Enabled");
    }
    default(&mut row.properties, "virtualNetworkPeerings", json!([]));
    default(&mut row.properties, "enableDdosProtection", false);
    check_kinds(&row)?;
    check_users(&row)?;
    Ok(row)
}

fn address_space(row: &Resource) -> Result<Vec<Prefix>> {
    let space = row.properties.get("addressSpace");
    let sent = space.and_then(|s| s.get("addressPrefixes"));
    let sent = sent.and_then(Value::as_array).filter(|p| !p.is_empty());
    let sent = sent.ok_or_else(|| {
        refuse(
            "InvalidRequestFormat",
            format!(
                "The virtual network '{}' needs properties.addressSpace.addressPrefixes with at least one prefix.",
                row.id.name()
            ),
        )
    })?;
    let mut all: Vec<Prefix> = Vec::new();
    for prefix in sent {
        let prefix = Prefix::parse(prefix.as_str().unwrap_or_default(), &row.id)?;
        if let Some(other) = all.iter().find(|p| p.overlaps(&prefix)) {
            return Err(refuse(
                "NetcfgAddressSpaceRangesOverlap",
                format!(
                    "The address prefix {prefix} of virtual network '{}' overlaps with its address prefix {other}.",
                    row.id.name()
                ),
            ));
        }
        all.push(prefix);
    }
    Ok(all)
}

fn check_subnets(row: &Resource, spaces: &[Prefix]) -> Result<()> {
    let network = row.id.name();
    let mut taken: Vec<Prefix> = Vec::new();
    for (name, subnet) in items(&row.properties, "subnets") {
        let owner = part_id(&row.id, name)?;
        let texts = prefix_texts(subnet);
        if texts.is_empty() {
            return Err(refuse(
                "InvalidRequestFormat",
                format!(
                    "The subnet '{name}' of virtual network '{network}' needs an address prefix."
                ),
            ));
        }
        for text in texts {
            let prefix = Prefix::parse(text, &owner)?;
            let longest = match prefix.is_v6() {
                true => SUBNET_V6_LENGTH_MAX,
                false => SUBNET_V4_LENGTH_MAX,
            };
            if prefix.length() > longest {
                return Err(refuse(
                    "NetcfgInvalidSubnet",
                    format!(
                        "Subnet '{name}' is not valid in virtual network '{network}': its prefix {prefix} is longer than /{longest}."
                    ),
                ));
            }
            if !spaces.iter().any(|space| space.covers(&prefix)) {
                return Err(refuse(
                    "NetcfgSubnetRangeOutsideVnet",
                    format!(
                        "Subnet '{name}' is not valid because its IP address range is outside the IP address range of virtual network '{network}'."
                    ),
                ));
            }
            if taken.iter().any(|other| other.overlaps(&prefix)) {
                return Err(refuse(
                    "NetcfgSubnetRangesOverlap",
                    format!(
                        "Subnet '{name}' is not valid because its IP address range overlaps with that of an existing subnet in virtual network '{network}'."
                    ),
                ));
            }
            taken.push(prefix);
        }
    }
    Ok(())
}

fn part_id(network: &ResourceId, name: &str) -> Result<ResourceId> {
    ResourceId::parse(&format!("{network}/subnets/{name}"))
}

fn prefix_texts(subnet: &Document) -> Vec<&str> {
    match subnet.get("addressPrefixes").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => list
            .iter()
            .map(|prefix| prefix.as_str().unwrap_or_default())
            .collect(),
        _ => text(subnet, "addressPrefix").into_iter().collect(),
    }
}

/// Subnets in use stay, with a range that holds the addresses they gave.
fn check_users(row: &Resource) -> Result<()> {
    for held in users(row) {
        let Some(name) = held.place.strip_prefix("subnets/") else {
            continue;
        };
        if !has_item(&row.properties, "subnets", name) {
            return Err(in_use(name, &held.user));
        }
        let Some(address) = held.address else {
            continue;
        };
        let prefixes = prefixes(row, name);
        if !prefixes.iter().any(|prefix| prefix.holds(address)) {
            return Err(refuse(
                "InUsePrefixCannotBeDeleted",
                format!(
                    "The address range of subnet {name} cannot leave out {address}, which is allocated to {}.",
                    held.user
                ),
            ));
        }
    }
    Ok(())
}

fn prefixes(network: &Resource, name: &str) -> Vec<Prefix> {
    items(&network.properties, "subnets")
        .filter(|(held, _)| held.eq_ignore_ascii_case(name))
        .flat_map(|(_, subnet)| prefix_texts(subnet))
        .filter_map(Prefix::read)
        .collect()
}

fn in_use(name: &str, user: &str) -> Error {
    refuse(
        "InUseSubnetCannotBeDeleted",
        format!(
            "Subnet {name} is in use by {user} and cannot be deleted. In order to delete the subnet, delete all the \
             resources within the subnet. See aka.ms/deletesubnet."
        ),
    )
}

/// Refuses to delete a network in whose subnets something is.
pub fn check_delete(row: &Resource) -> Result<()> {
    let held = users(row);
    let held = held.iter().find(|user| user.place.starts_with("subnets/"));
    held.map_or(Ok(()), |user| {
        let name = user.place.trim_start_matches("subnets/");
        Err(in_use(name, &user.user))
    })
}

/// Chooses the address of a user of a subnet: the fixed one, else the one it has, else the lowest free.
///
/// The first four addresses and the last of every range are the network's own.
pub fn choose_address(
    network: &Resource,
    link: &Link,
    wish: &Wish,
    before: Option<IpAddr>,
    all: &[User],
) -> Result<IpAddr> {
    let name = link.place.trim_start_matches("subnets/");
    let mut ranges = prefixes(network, name);
    ranges.retain(|prefix| prefix.is_v6() == wish.is_v6);
    let others = all
        .iter()
        .filter(|held| !held.user.eq_ignore_ascii_case(&link.user));
    if let Some(fixed) = wish.fixed {
        let mut others = others;
        let taken = others.find(|held| held.address == Some(fixed));
        return check_fixed(&ranges, link, fixed, taken);
    }
    let taken: HashSet<IpAddr> = others.filter_map(|held| held.address).collect();
    let is_free = |address: &IpAddr| {
        !taken.contains(address)
            && ranges
                .iter()
                .any(|r| r.holds(*address) && !r.is_reserved(*address))
    };
    if let Some(before) = before.filter(is_free) {
        return Ok(before);
    }
    // A range holds more addresses than are taken, or it ends: both end the search.
    let mut usable = ranges.iter().flat_map(Prefix::usable);
    usable.find(|address| !taken.contains(address)).ok_or_else(|| {
        let shown: Vec<String> = ranges.iter().map(Prefix::to_string).collect();
        refuse(
            "SubnetIsFull",
            format!(
                "Subnet {name} with address prefix {} does not have enough capacity for 1 IP addresses.",
                shown.join(",")
            ),
        )
    })
}

fn check_fixed(
    ranges: &[Prefix],
    link: &Link,
    fixed: IpAddr,
    taken: Option<&User>,
) -> Result<IpAddr> {
    let shown: Vec<String> = ranges.iter().map(Prefix::to_string).collect();
    let shown = shown.join(",");
    let Some(range) = ranges.iter().find(|range| range.holds(fixed)) else {
        return Err(refuse(
            "PrivateIPAddressNotInSubnet",
            format!(
                "Private static IP address {fixed} does not belong to the range of subnet prefix {shown}."
            ),
        ));
    };
    if range.is_reserved(fixed) {
        return Err(refuse(
            "PrivateIPAddressInReservedRange",
            format!(
                "Private static IP address {fixed} falls within reserved IP range of subnet prefix {range}."
            ),
        ));
    }
    match taken {
        Some(other) => Err(refuse(
            "PrivateIPAddressIsAllocated",
            format!(
                "IP configuration {} is using the private IP address {fixed} which is already allocated to resource {}.",
                link.user, other.user
            ),
        )),
        None => Ok(fixed),
    }
}

/// Returns the id of the security group of a subnet.
pub fn subnet_group<'a>(network: &'a Resource, name: &str) -> Option<&'a str> {
    items(&network.properties, "subnets")
        .find(|(held, _)| held.eq_ignore_ascii_case(name))
        .and_then(|(_, subnet)| super::id_of(subnet, "networkSecurityGroup"))
}
