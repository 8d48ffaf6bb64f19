//! Who uses what: a user names its target in its own row, the target lists its users in `internal`.
//!
//! Both sides change in one transaction, so each row alone answers: what do I need, who needs me.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{has_item, id_of, ids_of, invalid_reference, items, refuse};
use crate::plan::text;
use crate::resource::Document;
use crate::{Kind, ProvisioningState, Resource, ResourceId, Result};

const USERS: &str = "users";
/// Parts of load balancers whose users have places.
const POOLS: [&str; 2] = ["backendaddresspools/", "inboundnatpools/"];

/// One use of a resource or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The row that is used.
    pub target: ResourceId,
    /// The part of it in lower case, `subnets/default`; empty for the whole.
    pub place: String,
    /// The id of the user: a resource or a part of one.
    pub user: String,
    /// The address that a part of a subnet gives, and how it is wanted.
    pub address: Option<Wish>,
}

/// How an address of a subnet is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// This one and no other.
    pub fixed: Option<IpAddr>,
    /// Of IPv6.
    pub is_v6: bool,
}

/// A user of a row, as the row lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The part that is used, in lower case; empty for the whole.
    pub place: String,
    /// Who uses it.
    pub user: String,
    /// The address it has from there.
    pub address: Option<IpAddr>,
    /// Its place in a pool, from 0: the ports of rules for the whole pool follow from it.
    pub number: Option<u16>,
}

/// Returns what a row uses.
pub fn links(row: &Resource) -> Vec<Link> {
    let mut all = Vec::new();
    match row.kind {
        Kind::NetworkInterface | Kind::ScaleSetInterface => {
            for (name, config) in items(&row.properties, "ipConfigurations") {
                let user = format!("{}/ipConfigurations/{name}", row.id);
                subnet(&mut all, config, &user);
                whole(&mut all, id_of(config, "publicIPAddress"), "", &user);
                for list in [
                    "loadBalancerBackendAddressPools",
                    "loadBalancerInboundNatRules",
                    "loadBalancerInboundNatPools",
                ] {
                    for id in ids_of(config, list) {
                        part(&mut all, id, &user, None);
                    }
                }
            }
            let group = id_of(&row.properties, "networkSecurityGroup");
            whole(&mut all, group, "networkinterfaces", &row.id.to_string());
        }
        Kind::VirtualNetwork => {
            for (name, members) in items(&row.properties, "subnets") {
                let user = format!("{}/subnets/{name}", row.id);
                whole(
                    &mut all,
                    id_of(members, "networkSecurityGroup"),
                    "subnets",
                    &user,
                );
            }
        }
        Kind::LoadBalancer => {
            for (name, members) in items(&row.properties, "frontendIPConfigurations") {
                let user = format!("{}/frontendIPConfigurations/{name}", row.id);
                subnet(&mut all, members, &user);
                whole(&mut all, id_of(members, "publicIPAddress"), "", &user);
            }
        }
        _ => {}
    }
    all
}

fn whole(all: &mut Vec<Link>, id: Option<&str>, place: &str, user: &str) {
    if let Some(target) = id.and_then(|id| ResourceId::parse(id).ok()) {
        all.push(Link {
            target,
            place: place.to_owned(),
            user: user.to_owned(),
            address: None,
        });
    }
}

fn part(all: &mut Vec<Link>, id: &str, user: &str, address: Option<Wish>) {
    let Some((target, collection, name)) = split(id) else {
        return;
    };
    all.push(Link {
        target,
        place: format!("{collection}/{name}").to_lowercase(),
        user: user.to_owned(),
        address,
    });
}

fn subnet(all: &mut Vec<Link>, members: &Document, user: &str) {
    let Some(id) = id_of(members, "subnet") else {
        return;
    };
    let is_static = text(members, "privateIPAllocationMethod") == Some("Static");
    let sent = text(members, "privateIPAddress").and_then(|a| a.parse().ok());
    let wish = Wish {
        fixed: sent.filter(|_| is_static),
        is_v6: text(members, "privateIPAddressVersion") == Some("IPv6"),
    };
    part(all, id, user, Some(wish));
}

/// Takes the id of a part into its row, its list and its name.
pub fn split(id: &str) -> Option<(ResourceId, String, String)> {
    let id = ResourceId::parse(id).ok()?;
    let parent = id.parent()?;
    // Parsed anew: the whole id has no kind, so nothing made its types canonical.
    let parent = ResourceId::parse(&parent.to_string()).ok()?;
    let type_name = id.type_name();
    let collection = type_name.rsplit('/').next()?.to_owned();
    Some((parent, collection, id.name().to_owned()))
}

/// Checks the kinds of all ids that a row refers to.
pub(crate) fn check_kinds(row: &Resource) -> Result<()> {
    let of_kind = |id: Option<&str>, kind: Kind| -> Result<()> {
        let Some(id) = id else { return Ok(()) };
        match ResourceId::parse(id) {
            Ok(parsed) if parsed.kind() == Some(kind) => Ok(()),
            _ => Err(invalid_id(id)),
        }
    };
    let of_part = |id: Option<&str>, kind: Kind, list: &str| -> Result<()> {
        let Some(id) = id else { return Ok(()) };
        match split(id) {
            Some((target, collection, _))
                if target.kind() == Some(kind) && collection.eq_ignore_ascii_case(list) =>
            {
                Ok(())
            }
            _ => Err(invalid_id(id)),
        }
    };
    for list in ["ipConfigurations", "frontendIPConfigurations"] {
        for (_, config) in items(&row.properties, list) {
            of_part(id_of(config, "subnet"), Kind::VirtualNetwork, "subnets")?;
            let public = id_of(config, "publicIPAddress");
            if !public.is_some_and(|public| is_own_address(row, public)) {
                of_kind(public, Kind::PublicIpAddress)?;
            }
            let balancer = Kind::LoadBalancer;
            for id in ids_of(config, "loadBalancerBackendAddressPools") {
                of_part(Some(id), balancer, "backendAddressPools")?;
            }
            for id in ids_of(config, "loadBalancerInboundNatRules") {
                of_part(Some(id), balancer, "inboundNatRules")?;
            }
            for id in ids_of(config, "loadBalancerInboundNatPools") {
                of_part(Some(id), balancer, "inboundNatPools")?;
            }
        }
    }
    let group = id_of(&row.properties, "networkSecurityGroup");
    of_kind(group, Kind::NetworkSecurityGroup)?;
    for (_, members) in items(&row.properties, "subnets") {
        let group = id_of(members, "networkSecurityGroup");
        of_kind(group, Kind::NetworkSecurityGroup)?;
    }
    Ok(())
}

/// Whether an address is a child of the interface that names it: one of a scale set's machine.
fn is_own_address(card: &Resource, id: &str) -> bool {
    let below = format!("{}/", card.id.key());
    let id = ResourceId::parse(id).ok();
    id.is_some_and(|id| id.kind() == Some(Kind::ScaleSetAddress) && id.key().starts_with(&below))
}

fn invalid_id(id: &str) -> crate::Error {
    let shown: String = id.chars().take(200).collect();
    refuse(
        "InvalidResourceId",
        format!(
            "The resource id '{shown}' is invalid: it is not the id of what this property refers to."
        ),
    )
}

/// Returns the users of a row.
pub fn users(row: &Resource) -> Vec<User> {
    let list = row.internal.get(USERS).and_then(Value::as_array);
    let read = |item: &Value| -> Option<User> {
        let word = |name: &str| item.get(name).and_then(Value::as_str);
        Some(User {
            place: word("place")?.to_owned(),
            user: word("user")?.to_owned(),
            address: word("address").and_then(|a| a.parse().ok()),
            number: item
                .get("number")
                .and_then(Value::as_u64)
                .and_then(|number| number.try_into().ok()),
        })
    };
    list.into_iter().flatten().filter_map(read).collect()
}

/// Returns the users of a part of a row.
pub fn users_at(row: &Resource, place: &str) -> Vec<User> {
    let mut all = users(row);
    all.retain(|user| user.place.eq_ignore_ascii_case(place));
    all
}

/// Lets go of a use.
pub fn detach(target: &mut Resource, link: &Link) {
    let mut all = users(target);
    all.retain(|held| !is_of(held, link));
    write(target, &all);
}

/// Holds a use; returns the address that a subnet gives for it.
///
/// `by` is the row of the user, for errors and for the region.
pub fn attach(target: &mut Resource, link: &Link, by: &Resource) -> Result<Option<IpAddr>> {
    check_target(target, link, by)?;
    let mut all = users(target);
    let held = all.iter().position(|held| is_of(held, link));
    let before = held.and_then(|at| all.get(at).and_then(|user| user.address));
    let is_alone = target.kind.is_address() || link.place.starts_with("inboundnatrules/");
    let other = all
        .iter()
        .find(|u| u.place == link.place && !is_of(u, link));
    if let Some(other) = other.filter(|_| is_alone) {
        return Err(super::public_ip_address::in_use(target, link, &other.user));
    }
    let address = match &link.address {
        Some(wish) => Some(super::virtual_network::choose_address(
            target, link, wish, before, &all,
        )?),
        None => None,
    };
    let before = held.and_then(|at| all.get(at).and_then(|user| user.number));
    let user = User {
        place: link.place.clone(),
        user: link.user.clone(),
        address,
        number: before.or_else(|| free_number(&link.place, &all)),
    };
    match held.and_then(|at| all.get_mut(at)) {
        Some(held) => *held = user,
        None => all.push(user),
    }
    write(target, &all);
    Ok(address)
}

/// Returns the place of a user in a pool of a load balancer.
pub fn place_in(balancer: &Resource, list: &str, name: &str, user: &str) -> Option<u16> {
    let place = format!("{list}/{name}").to_lowercase();
    let all = users_at(balancer, &place);
    let held = all.iter().find(|held| held.user.eq_ignore_ascii_case(user));
    held.and_then(|held| held.number)
}

/// Returns the lowest place of a pool that nobody has.
fn free_number(place: &str, all: &[User]) -> Option<u16> {
    if !POOLS.iter().any(|pool| place.starts_with(pool)) {
        return None;
    }
    let taken: HashSet<u16> = all
        .iter()
        .filter(|held| held.place == place)
        .filter_map(|held| held.number)
        .collect();
    (0..u16::MAX).find(|number| !taken.contains(number))
}

/// Whether using what a link names would be refused; nothing is changed.
pub fn check(target: &Resource, link: &Link, by: &Resource) -> Result<()> {
    attach(&mut target.clone(), link, by).map(drop)
}

fn check_target(target: &Resource, link: &Link, by: &Resource) -> Result<()> {
    let is_there = match link.place.split_once('/') {
        Some(("inboundnatpools", name)) => has_item(&target.properties, "inboundNatPools", name),
        Some((collection, name)) => super::nested::list_of(target.kind, collection)
            .is_some_and(|list| has_item(&target.properties, list.name, name)),
        None => true,
    };
    let is_going = target.state == ProvisioningState::Deleting;
    if is_there && !is_going && target.location == by.location {
        return Ok(());
    }
    let id = link.target.to_string();
    let shown = match link.place.contains('/') {
        true => format!("{id}/{}", link.place),
        false => id,
    };
    Err(invalid_reference(&shown, &by.id))
}

fn is_of(held: &User, link: &Link) -> bool {
    held.place == link.place && held.user.eq_ignore_ascii_case(&link.user)
}

fn write(target: &mut Resource, all: &[User]) {
    if all.is_empty() {
        target.internal.shift_remove(USERS);
        return;
    }
    let shown: Vec<Value> = all
        .iter()
        .map(|held| {
            let mut shown = json!({ "place": held.place, "user": held.user });
            if let Some(address) = held.address {
                shown["address"] = json!(address.to_string());
            }
            if let Some(number) = held.number {
                shown["number"] = json!(number);
            }
            shown
        })
        .collect();
    target
        .internal
        .insert(USERS.to_owned(), Value::Array(shown));
}
