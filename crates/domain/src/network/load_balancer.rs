//! Load balancers: front ends, pools and rules, kept and shown; only inbound NAT rules are followed.

use serde_json::{Value, json};

use super::links::{check_kinds, users};
use super::network_interface::check_static;
use super::public_ip_address::plan_sku;
use super::{
    begin, default, has_item, id_of, ids_of, invalid_reference, items, items_mut, numbers, refuse,
    tidy, word,
};
use crate::plan::{PutContext, text};
use crate::{Kind, Resource, ResourceId, Result};

/// The lists of a load balancer and what only the server says of their items.
pub(crate) const LISTS: [(&str, &[&str]); 7] = [
    (
        "frontendIPConfigurations",
        &[
            "inboundNatRules",
            "inboundNatPools",
            "outboundRules",
            "loadBalancingRules",
        ],
    ),
    (
        "backendAddressPools",
        &[
            "backendIPConfigurations",
            "loadBalancingRules",
            "outboundRule",
            "outboundRules",
            "inboundNatRules",
            "loadBalancerBackendAddresses",
        ],
    ),
    ("loadBalancingRules", &[]),
    ("probes", &["loadBalancingRules"]),
    ("inboundNatRules", &["backendIPConfiguration"]),
    ("outboundRules", &[]),
    ("inboundNatPools", &[]),
];
/// Members of rules and pools that are numbers.
const NUMBERS: [&str; 5] = [
    "frontendPort",
    "backendPort",
    "frontendPortRangeStart",
    "frontendPortRangeEnd",
    "idleTimeoutInMinutes",
];
/// Members of rules that refer to another part of the same balancer, and its list.
const REFERENCES: [(&str, &str); 3] = [
    ("frontendIPConfiguration", "frontendIPConfigurations"),
    ("backendAddressPool", "backendAddressPools"),
    ("probe", "probes"),
];

/// Decides a PUT; all lists are what was sent.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut row = begin(ctx, Kind::LoadBalancer, id, body, stored)?;
    plan_sku(&mut row)?;
    for (list, read_only) in LISTS {
        default(&mut row.properties, list, json!([]));
        tidy(&mut row, list, read_only)?;
        for (_, item) in items_mut(&mut row.properties, list) {
            numbers(item, &NUMBERS);
        }
    }
    plan_front_ends(&mut row, stored)?;
    check_references(&row)?;
    check_kinds(&row)?;
    check_users(&row)?;
    Ok(row)
}

fn plan_front_ends(row: &mut Resource, stored: Option<&Resource>) -> Result<()> {
    let owner = row.id.clone();
    for (name, front) in items_mut(&mut row.properties, "frontendIPConfigurations") {
        word(front, "privateIPAllocationMethod", &["Dynamic", "Static"])?;
        word(front, "privateIPAddressVersion", &["IPv4", "IPv6"])?;
        default(front, "privateIPAllocationMethod", "Dynamic");
        if text(front, "privateIPAllocationMethod") == Some("Static") {
            check_static(front, &owner, &name)?;
            continue;
        }
        front.shift_remove("privateIPAddress");
        let held = stored.and_then(|s| {
            items(&s.properties, "frontendIPConfigurations").find(|(n, f)| {
                n.eq_ignore_ascii_case(&name) && id_of(f, "subnet") == id_of(front, "subnet")
            })
        });
        if let Some(address) = held.and_then(|(_, f)| f.get("privateIPAddress")) {
            front.insert("privateIPAddress".to_owned(), address.clone());
        }
    }
    Ok(())
}

/// What rules refer to inside the balancer is there.
fn check_references(row: &Resource) -> Result<()> {
    for (list, _) in LISTS {
        for (_, rule) in items(&row.properties, list) {
            for (member, held) in REFERENCES {
                if let Some(id) = id_of(rule, member) {
                    check_reference(row, id, held)?;
                }
            }
            if list == "loadBalancingRules" {
                for id in ids_of(rule, "backendAddressPools") {
                    check_reference(row, id, "backendAddressPools")?;
                }
            }
        }
    }
    Ok(())
}

fn check_reference(row: &Resource, id: &str, list: &str) -> Result<()> {
    match super::links::split(id) {
        Some((target, collection, name))
            if target == row.id
                && collection.eq_ignore_ascii_case(list)
                && has_item(&row.properties, list, &name) =>
        {
            Ok(())
        }
        _ => Err(invalid_reference(id, &row.id)),
    }
}

/// Pools and rules that an interface names stay.
fn check_users(row: &Resource) -> Result<()> {
    for held in users(row) {
        let Some((place, name)) = held.place.split_once('/') else {
            continue;
        };
        let list = LISTS
            .iter()
            .find(|(list, _)| list.eq_ignore_ascii_case(place));
        let is_there = list.is_some_and(|(list, _)| has_item(&row.properties, list, name));
        if !is_there {
            return Err(refuse(
                "InUseLoadBalancerSubresourceCannotBeDeleted",
                format!(
                    "{}/{} cannot be deleted because it is in use by {}. Remove the reference first.",
                    row.id, held.place, held.user
                ),
            ));
        }
    }
    Ok(())
}
