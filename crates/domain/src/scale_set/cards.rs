//! The interfaces of the model: checked, completed, and made for one machine.

use serde_json::{Value, json};

use super::member::Member;
use super::{PROFILE, addresses};
use crate::plan::text;
use crate::resource::Document;
use crate::{Error, Resource, ResourceId, Result};

/// An interface of one of a set's machines, with the public addresses that are made for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The interface.
    pub id: ResourceId,
    /// The body that makes it.
    pub body: Value,
    /// Its addresses and the bodies that make them.
    pub addresses: Vec<(ResourceId, Value)>,
}

/// Checks the interfaces of the model; their members are checked as those of an interface.
pub(super) fn check_cards(profile: &Document, flexible: bool) -> Result<()> {
    let network = profile.get("networkProfile");
    let Some(network) = network else {
        return Err(Error::required("networkProfile"));
    };
    let cards: Vec<&Document> = configurations_of(network).collect();
    if cards.is_empty() {
        return Err(Error::required("networkInterfaceConfigurations"));
    }
    let mut addresses = Vec::new();
    for card in &cards {
        if text(card, "name").unwrap_or_default().is_empty() {
            return Err(Error::required("networkInterfaceConfiguration.name"));
        }
        for configuration in ip_configurations(card) {
            let name = configuration.get("name").and_then(Value::as_str);
            if name.unwrap_or_default().is_empty() {
                return Err(Error::required("ipConfiguration.name"));
            }
            addresses::check(configuration, &mut addresses, flexible)?;
        }
    }
    let is_primary = |card: &&&Document| is_primary(card);
    if cards.len() > 1 && cards.iter().filter(is_primary).count() != 1 {
        return Err(Error::invalid_parameter(
            "networkInterfaceConfigurations",
            "The model of a scale set must have exactly one network interface configuration that is primary.",
        ));
    }
    Ok(())
}

/// Says of each interface what the service says when it was not sent. Source: recorded.
pub(super) fn complete_cards(profile: &mut Document, flexible: bool) {
    let cards = profile
        .get_mut("networkProfile")
        .and_then(|network| network.get_mut("networkInterfaceConfigurations"))
        .and_then(Value::as_array_mut);
    let complete = |held: &mut Document, usual: &[(&str, Value)]| {
        for (name, value) in usual {
            if held.get(*name).is_none_or(Value::is_null) {
                held.insert((*name).to_owned(), value.clone());
            }
        }
    };
    for card in cards.into_iter().flatten().filter_map(Value::as_object_mut) {
        let primary = is_primary(card);
        let Some(inner) = card.get_mut("properties").and_then(Value::as_object_mut) else {
            continue;
        };
        if inner.contains_key("primary") {
            // Clients send it as text, too.
            inner.insert("primary".to_owned(), json!(primary));
        }
        complete(
            inner,
            &[
                ("disableTcpStateTracking", json!(false)),
                ("enableIPForwarding", json!(false)),
                ("dnsSettings", json!({ "dnsServers": [] })),
            ],
        );
        if flexible {
            complete(
                inner,
                &[
                    ("auxiliaryMode", json!("None")),
                    ("auxiliarySku", json!("None")),
                    ("deleteOption", json!("Delete")),
                ],
            );
        }
        let all = inner
            .get_mut("ipConfigurations")
            .and_then(Value::as_array_mut);
        for configuration in all.into_iter().flatten() {
            let Some(inner) = configuration
                .get_mut("properties")
                .and_then(Value::as_object_mut)
            else {
                continue;
            };
            addresses::respell(inner);
            complete(inner, &[("privateIPAddressVersion", json!("IPv4"))]);
            if flexible {
                complete(
                    inner,
                    &[
                        ("applicationSecurityGroups", json!([])),
                        ("applicationGatewayBackendAddressPools", json!([])),
                    ],
                );
            }
        }
    }
}

pub(super) fn configurations_of(network: &Value) -> impl Iterator<Item = &Document> {
    let cards = network.get("networkInterfaceConfigurations");
    let cards = cards.and_then(Value::as_array).into_iter().flatten();
    cards.filter_map(Value::as_object)
}

fn ip_configurations(card: &Document) -> impl Iterator<Item = &Value> {
    let properties = card.get("properties");
    let all = properties.and_then(|p| p.get("ipConfigurations"));
    all.and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn is_primary(card: &Document) -> bool {
    let sent = card.get("properties").and_then(|p| p.get("primary"));
    sent == Some(&json!(true))
        || sent
            .and_then(Value::as_str)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

pub(super) fn cards<'a>(
    profile: &'a Value,
    member: &'a Member,
) -> impl Iterator<Item = (ResourceId, bool)> + 'a {
    let network = profile.get("networkProfile").unwrap_or(&Value::Null);
    let count = configurations_of(network).count();
    configurations_of(network).map(move |card| {
        let name = text(card, "name").unwrap_or_default();
        (member.card(name), is_primary(card) || count == 1)
    })
}

/// Returns the interfaces of one of a set's machines and the bodies that make them.
pub fn card_bodies(set: &Resource, member: &Member) -> Vec<Card> {
    let empty = json!({});
    let profile = set.properties.get(PROFILE).unwrap_or(&empty);
    let network = profile.get("networkProfile").unwrap_or(&empty);
    let mut out = Vec::new();
    for card in configurations_of(network) {
        let mut properties = card
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for name in ["primary", "deleteOption", "networkInterfaceConfigurations"] {
            properties.shift_remove(name);
        }
        properties.retain(|name, value| !name.starts_with("auxiliary") || value != "None");
        let id = member.card(text(card, "name").unwrap_or_default());
        let mut addresses = Vec::new();
        let configurations = properties.get_mut("ipConfigurations");
        for configuration in configurations
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = configuration.get("name").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            let inner = configuration.get_mut("properties");
            if let Some(inner) = inner.and_then(Value::as_object_mut) {
                addresses.extend(addresses::take(set, member, (&id, &name), inner));
                inner.retain(|_, value| *value != json!([]));
            }
        }
        let mut body = json!({ "location": set.location, "properties": properties });
        if let Some(tags) = &set.tags {
            body["tags"] = json!(tags);
        }
        out.push(Card {
            id,
            body,
            addresses,
        });
    }
    out
}
