//! Security groups: rules by priority, and the rules that every group ends with.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::address::Prefix;
use super::links::users;
use super::{begin, default, items, items_mut, refuse, tidy, word};
use crate::plan::{PutContext, text};
use crate::resource::Document;
use crate::{Kind, Resource, ResourceId, Result};

const PRIORITY_MIN: i64 = 100;
const PRIORITY_MAX: i64 = 4096;
/// The most users that a refusal names.
const USERS_SHOWN_MAX: usize = 5;

/// A rule of every group: name, priority, direction, access, source, destination, description.
type DefaultRule = (
    &'static str,
    i64,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const DEFAULTS: [DefaultRule; 6] = [
    (
        "AllowVnetInBound",
        65000,
        "Inbound",
        "Allow",
        "VirtualNetwork",
        "VirtualNetwork",
        "Allow inbound traffic from all VMs in VNET",
    ),
    (
        "AllowAzureLoadBalancerInBound",
        65001,
        "Inbound",
        "Allow",
        "AzureLoadBalancer",
        "*",
        "Allow inbound traffic from azure load balancer",
    ),
    (
        "DenyAllInBound",
        65500,
        "Inbound",
        "Deny",
        "*",
        "*",
        "Deny all inbound traffic",
    ),
    (
        "AllowVnetOutBound",
        65000,
        "Outbound",
        "Allow",
        "VirtualNetwork",
        "VirtualNetwork",
        "Allow outbound traffic from all VMs to all VMs in VNET",
    ),
    (
        "AllowInternetOutBound",
        65001,
        "Outbound",
        "Allow",
        "*",
        "Internet",
        "Allow outbound traffic from all VMs to Internet",
    ),
    (
        "DenyAllOutBound",
        65500,
        "Outbound",
        "Deny",
        "*",
        "*",
        "Deny all outbound traffic",
    ),
];

/// Decides a PUT; the list of rules is what was sent.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let mut row = begin(ctx, Kind::NetworkSecurityGroup, id, body, stored)?;
    for name in [
        "defaultSecurityRules",
        "networkInterfaces",
        "subnets",
        "flowLogs",
    ] {
        row.properties.shift_remove(name);
    }
    default(&mut row.properties, "securityRules", json!([]));
    tidy(&mut row, "securityRules", &[])?;
    let mut taken: HashMap<(String, i64), String> = HashMap::new();
    for (name, rule) in items_mut(&mut row.properties, "securityRules") {
        plan_rule(&format!("{id}/securityRules/{name}"), rule)?;
        let priority = rule.get("priority").and_then(Value::as_i64);
        let direction = text(rule, "direction").unwrap_or_default().to_owned();
        let slot = (direction, priority.unwrap_or_default());
        if let Some(other) = taken.insert(slot, name.clone()) {
            return Err(refuse(
                "SecurityRuleConflict",
                format!(
                    "Security rule {name} conflicts with rule {other}. Rules cannot have the same Priority and Direction. To \
                     learn more, see aka.ms/nsgrules."
                ),
            ));
        }
    }
    Ok(row)
}

fn plan_rule(id: &str, rule: &mut Document) -> Result<()> {
    word(rule, "protocol", &["Tcp", "Udp", "Icmp", "Esp", "Ah", "*"])?;
    word(rule, "access", &["Allow", "Deny"])?;
    word(rule, "direction", &["Inbound", "Outbound"])?;
    for name in ["protocol", "access", "direction", "priority"] {
        if !rule.contains_key(name) {
            return Err(missing(id, name));
        }
    }
    let priority = rule.get("priority").cloned().unwrap_or_default();
    let is_fit = priority
        .as_i64()
        .is_some_and(|p| (PRIORITY_MIN..=PRIORITY_MAX).contains(&p));
    if !is_fit {
        return Err(refuse(
            "SecurityRuleInvalidPriority",
            format!(
                "Security rule has invalid Priority. Value provided: {priority} Allowed range {PRIORITY_MIN}-{PRIORITY_MAX}."
            ),
        ));
    }
    for side in ["source", "destination"] {
        let groups = format!("{side}ApplicationSecurityGroups");
        let prefixes = values(rule, &format!("{side}AddressPrefix"));
        if prefixes.is_empty() && rule.get(&groups).is_none() {
            return Err(missing(id, &format!("{side}AddressPrefix")));
        }
        if let Some(bad) = prefixes.iter().find(|p| !is_address(p)) {
            return Err(refuse(
                "SecurityRuleInvalidAddressPrefix",
                format!("Security rule has invalid Address prefix. Value provided: {bad}"),
            ));
        }
        let ports = values(rule, &format!("{side}PortRange"));
        if ports.is_empty() {
            return Err(missing(id, &format!("{side}PortRange")));
        }
        if let Some(bad) = ports.iter().find(|p| port_range(p).is_none()) {
            return Err(refuse(
                "SecurityRuleInvalidPortRange",
                format!(
                    "Security rule has invalid Port range. Value provided: {bad}. Value should be an integer OR integer range \
                     with '-' delimiter. Valid range 0-65535."
                ),
            ));
        }
    }
    for list in [
        "sourcePortRanges",
        "destinationPortRanges",
        "sourceAddressPrefixes",
        "destinationAddressPrefixes",
    ] {
        default(rule, list, json!([]));
    }
    Ok(())
}

fn missing(id: &str, name: &str) -> crate::Error {
    refuse(
        "SecurityRuleParameterMissing",
        format!(
            "Required security rule parameters are missing for security rule with Id: {id}. Security rule must specify {name}."
        ),
    )
}

/// Returns `name` and the items of `names` of a rule.
pub(crate) fn values<'a>(rule: &'a Document, name: &str) -> Vec<&'a str> {
    let plural = match name.strip_suffix("Prefix") {
        Some(stem) => format!("{stem}Prefixes"),
        None => format!("{name}s"),
    };
    let list = rule.get(&plural).and_then(Value::as_array);
    let one = text(rule, name).filter(|value| !value.is_empty());
    let many = list.into_iter().flatten();
    one.into_iter()
        .chain(many.map(|value| value.as_str().unwrap_or("?")))
        .collect()
}

/// Whether a text is `*`, an address, a prefix, or the name of a service tag.
fn is_address(text: &str) -> bool {
    let tag = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    text == "*"
        || Prefix::read(text).is_some()
        || (text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(tag))
}

/// Returns the first and last port of `22`, `8000-8010` or `*`.
pub(crate) fn port_range(text: &str) -> Option<(u16, u16)> {
    if text == "*" {
        return Some((0, u16::MAX));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

/// Returns the rules that every group ends with, as sub-objects.
pub fn default_rules() -> Vec<Value> {
    let shown =
        |(name, priority, direction, access, source, destination, description): DefaultRule| {
            json!({ "name": name, "properties": {
            "description": description,
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": source,
            "destinationAddressPrefix": destination,
            "access": access,
            "priority": priority,
            "direction": direction,
            "sourcePortRanges": [],
            "destinationPortRanges": [],
            "sourceAddressPrefixes": [],
            "destinationAddressPrefixes": [],
        } })
        };
    DEFAULTS.into_iter().map(shown).collect()
}

/// Refuses to delete a group that guards something.
pub fn check_delete(row: &Resource) -> Result<()> {
    let held = users(row);
    if held.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = held
        .iter()
        .take(USERS_SHOWN_MAX)
        .map(|user| user.user.as_str())
        .collect();
    Err(refuse(
        "InUseNetworkSecurityGroupCannotBeDeleted",
        format!(
            "Network security group {} cannot be deleted because it is in use by the following resources: {}. In order to \
             delete the Network security group, remove the association with the resource(s). To learn how to do this, see \
             aka.ms/deletensg.",
            row.id,
            shown.join(", ")
        ),
    ))
}

/// Returns the rules for what comes in, most important first.
pub(crate) fn inbound(row: &Resource) -> Vec<&Document> {
    let mut rules: Vec<&Document> = items(&row.properties, "securityRules")
        .map(|(_, rule)| rule)
        .filter(|rule| text(rule, "direction") == Some("Inbound"))
        .collect();
    rules.sort_by_key(|rule| rule.get("priority").and_then(Value::as_i64));
    rules
}
