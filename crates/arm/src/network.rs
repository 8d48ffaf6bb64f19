//! Network resources as responses show them: every part with its id, state and etag, and who uses it.
//!
//! Rows hold what was asked; ids of parts, states, users and defaults of the service are added here.

use domain::network::links::{self, User};
use domain::network::nested::{self, Part};
use domain::network::ports;
use domain::network::{etag, id_of, items, name_of_address};
use domain::resource::Document;
use domain::{Kind, Resource};
use serde_json::{Map, Value, json};

use crate::envelope::state_word;

/// The lists of parts of a kind, in the order of responses.
fn lists(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::VirtualNetwork => &["subnets"],
        Kind::NetworkSecurityGroup => &["securityRules", "defaultSecurityRules"],
        Kind::LoadBalancer => &[
            "frontendIPConfigurations",
            "backendAddressPools",
            "loadBalancingRules",
            "probes",
            "inboundNatRules",
            "outboundRules",
            "inboundNatPools",
        ],
        Kind::NetworkInterface | Kind::ScaleSetInterface => &["ipConfigurations"],
        _ => &[],
    }
}

/// Returns a network resource.
pub fn resource(row: &Resource) -> Value {
    let mut out = Map::new();
    out.insert("name".to_owned(), row.id.name().into());
    out.insert("id".to_owned(), row.id.to_string().into());
    out.insert("etag".to_owned(), etag(row).into());
    out.insert("type".to_owned(), row.kind.type_name().into());
    out.insert("location".to_owned(), row.location.as_str().into());
    if let Some(tags) = &row.tags {
        out.insert("tags".to_owned(), Value::Object(tags.clone()));
    }
    let properties = Value::Object(properties(row));
    out.insert("properties".to_owned(), properties);
    if row.kind.is_interface() {
        out.insert("kind".to_owned(), "Regular".into());
    }
    for (name, value) in &row.top {
        out.insert(name.clone(), value.clone());
    }
    Value::Object(out)
}

/// Returns a part of a network resource; `None` when there is no such part.
pub fn part(row: &Resource, part: &Part) -> Option<Value> {
    let mut all = parts(row, part.list.name).into_iter();
    all.find(|item| {
        let name = item.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case(&part.name))
    })
}

/// Returns all parts of a list.
pub fn parts(row: &Resource, list: &str) -> Vec<Value> {
    let users = links::users(row);
    let items = nested::shown_items(row, list).into_iter();
    items.map(|item| shown(row, list, item, &users)).collect()
}

fn properties(row: &Resource) -> Document {
    let users = links::users(row);
    let mut out = Document::new();
    let word = state_word(row.kind, row.state);
    out.insert("provisioningState".to_owned(), word.into());
    for (name, value) in &row.properties {
        out.insert(name.clone(), value.clone());
    }
    for list in lists(row.kind) {
        let mut all = parts(row, list);
        if *list == "inboundNatRules" {
            all.extend(rules_of_pools(row, &users));
        }
        out.insert((*list).to_owned(), Value::Array(all));
    }
    let mut add = |name: &str, value: Value| {
        out.entry(name).or_insert(value);
    };
    match row.kind {
        Kind::NetworkInterface | Kind::ScaleSetInterface => {
            add("vnetEncryptionSupported", json!(false));
            add("disableTcpStateTracking", json!(false));
            add("hostedWorkloads", json!([]));
            add("tapConfigurations", json!([]));
            add("nicType", json!("Standard"));
            add("auxiliaryMode", json!("None"));
            add("auxiliarySku", json!("None"));
        }
        Kind::PublicIpAddress | Kind::ScaleSetAddress => {
            if let Some(user) = users.first() {
                add("ipConfiguration", json!({ "id": user.user }));
            }
        }
        Kind::NetworkSecurityGroup => {
            for (name, place) in [
                ("networkInterfaces", "networkinterfaces"),
                ("subnets", "subnets"),
            ] {
                let ids = ids(&users, place);
                if !ids.is_empty() {
                    add(name, Value::Array(ids));
                }
            }
        }
        _ => {}
    }
    out
}

fn ids(users: &[User], place: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for user in users
        .iter()
        .filter(|user| user.place.eq_ignore_ascii_case(place))
    {
        let shown = json!({ "id": user.user });
        if !seen.contains(&shown) {
            seen.push(shown);
        }
    }
    seen
}

fn shown(row: &Resource, list: &str, item: Value, users: &[User]) -> Value {
    let Value::Object(mut held) = item else {
        return item;
    };
    let name = held.shift_remove("name").unwrap_or_default();
    let name_text = name.as_str().unwrap_or_default().to_owned();
    let id = format!("{}/{list}/{name_text}", row.id);
    let mut inner = Document::new();
    let word = state_word(row.kind, row.state);
    inner.insert("provisioningState".to_owned(), word.into());
    if let Some(Value::Object(members)) = held.shift_remove("properties") {
        inner.extend(members);
    }
    for (name, value) in used_by(row, list, &name_text, &id, users) {
        inner.insert(name, value);
    }
    let mut out = Map::new();
    out.insert("name".to_owned(), name);
    out.insert("id".to_owned(), id.into());
    out.insert("etag".to_owned(), etag(row).into());
    let type_name = format!("{}/{list}", row.kind.type_name());
    out.insert("type".to_owned(), type_name.into());
    out.insert("properties".to_owned(), Value::Object(inner));
    out.extend(held);
    Value::Object(out)
}

/// Returns the rules that pools of NAT ports make, one for each machine that is in one.
fn rules_of_pools(row: &Resource, users: &[User]) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, pool) in items(&row.properties, "inboundNatPools") {
        let place = format!("inboundNatPools/{name}");
        for user in users
            .iter()
            .filter(|user| user.place.eq_ignore_ascii_case(&place))
        {
            let Some(port) = user.number.and_then(|number| ports::port_of(pool, number)) else {
                continue;
            };
            let rule = format!("{name}.{}", user.number.unwrap_or_default());
            out.push(json!({
                "name": rule,
                "id": format!("{}/inboundNatRules/{rule}", row.id),
                "etag": etag(row),
                "type": format!("{}/inboundNatRules", row.kind.type_name()),
                "properties": {
                    "provisioningState": state_word(row.kind, row.state),
                    "frontendIPConfiguration": pool.get("frontendIPConfiguration"),
                    "frontendPort": port,
                    "backendPort": pool.get("backendPort"),
                    "protocol": pool.get("protocol"),
                    "backendIPConfiguration": { "id": user.user },
                },
            }));
        }
    }
    out
}

/// Returns who is in a pool, with the ports that rules for the whole pool give each of them.
fn pool_addresses(row: &Resource, name: &str, id: &str, users: &[User]) -> Vec<Value> {
    let place = format!("backendAddressPools/{name}");
    let here = users
        .iter()
        .filter(|user| user.place.eq_ignore_ascii_case(&place));
    here.map(|user| {
        let rules = items(&row.properties, "inboundNatRules").filter(|(_, rule)| {
            id_of(rule, "backendAddressPool").is_some_and(|held| held.eq_ignore_ascii_case(id))
        });
        let ports: Vec<Value> = rules
            .filter_map(|(rule_name, rule)| {
                let port = ports::port_of(rule, user.number?)?;
                Some(json!({
                    "inboundNatRuleName": rule_name,
                    "protocol": rule.get("protocol"),
                    "frontendPort": port,
                    "backendPort": rule.get("backendPort"),
                }))
            })
            .collect();
        json!({
            "name": name_of_address(&user.user),
            "properties": {
                "networkInterfaceIPConfiguration": { "id": user.user },
                "inboundNatRulesPortMapping": ports,
            },
        })
    })
    .collect()
}

/// Returns the members that say who uses a part: other resources, and rules of the same balancer.
fn used_by(
    row: &Resource,
    list: &str,
    name: &str,
    id: &str,
    users: &[User],
) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    let mut held = ids(users, &format!("{list}/{name}"));
    match list {
        "subnets" if !held.is_empty() => {
            out.push(("ipConfigurations".to_owned(), Value::Array(held)))
        }
        "backendAddressPools" if !held.is_empty() => {
            out.push(("backendIPConfigurations".to_owned(), Value::Array(held)));
            let addresses = Value::Array(pool_addresses(row, name, id, users));
            out.push(("loadBalancerBackendAddresses".to_owned(), addresses));
        }
        "inboundNatRules" if !held.is_empty() => {
            out.push(("backendIPConfiguration".to_owned(), held.swap_remove(0)));
        }
        _ => {}
    }
    let member = match list {
        "frontendIPConfigurations" => "frontendIPConfiguration",
        "backendAddressPools" => "backendAddressPool",
        "probes" => "probe",
        _ => return out,
    };
    for rules in [
        "loadBalancingRules",
        "inboundNatRules",
        "outboundRules",
        "inboundNatPools",
    ] {
        let named = items(&row.properties, rules).filter(|(_, rule)| {
            id_of(rule, member).is_some_and(|held| held.eq_ignore_ascii_case(id))
        });
        let named: Vec<Value> = named
            .map(|(rule, _)| json!({ "id": format!("{}/{rules}/{rule}", row.id) }))
            .collect();
        if !named.is_empty() {
            out.push((rules.to_owned(), Value::Array(named)));
        }
    }
    out
}
