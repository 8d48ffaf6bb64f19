//! The public addresses of the model: one for each machine and IP configuration that says so.
//!
//! Of a uniform set they are children of the machine's interface, of a flexible one addresses like others that go
//! with their machine.

use serde_json::{Value, json};

use super::is_flexible;
use super::member::Member;
use crate::plan::{is_nothing, text};
use crate::resource::Document;
use crate::{Error, Resource, ResourceId, Result};

/// The member of an IP configuration of the model that asks for an address.
const ASKS: &str = "publicIPAddressConfiguration";
/// Members of it that an address takes.
const TAKEN: [&str; 4] = [
    "idleTimeoutInMinutes",
    "ipTags",
    "publicIPPrefix",
    "publicIPAddressVersion",
];

/// Names what asks for an address as the service does: az sends `publicipaddressconfiguration`.
pub(super) fn respell(configuration: &mut Document) {
    let mut sent = configuration.keys();
    let sent = sent.find(|name| name.eq_ignore_ascii_case(ASKS)).cloned();
    if let Some(value) = sent.and_then(|name| configuration.shift_remove(&name)) {
        configuration.insert(ASKS.to_owned(), value);
    }
}

/// Checks what an IP configuration of the model says of an address; `names` are those said before.
pub(super) fn check(configuration: &Value, names: &mut Vec<String>, flexible: bool) -> Result<()> {
    let asked = configuration.pointer(&format!("/properties/{ASKS}"));
    let Some(asked) = asked.filter(|asked| !is_nothing(asked)) else {
        return Ok(());
    };
    let name = asked
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        return Err(Error::required("publicIPAddressConfiguration.name"));
    }
    let name = name.to_lowercase();
    if flexible && names.contains(&name) {
        return Err(Error::invalid_parameter(
            ASKS,
            format!(
                "Public IP address configurations of a scale set with orchestration mode 'Flexible' must have different names. \
                 '{name}' is there twice."
            ),
        ));
    }
    names.push(name);
    Ok(())
}

/// Takes what a configuration says of an address out of it, names the address in it, and returns its id and body.
pub(super) fn take(
    set: &Resource,
    member: &Member,
    (card, configuration): (&ResourceId, &str),
    inner: &mut Document,
) -> Option<(ResourceId, Value)> {
    let asked = inner
        .shift_remove(ASKS)
        .filter(|asked| !is_nothing(asked))?;
    let asked = asked.as_object()?;
    let name = text(asked, "name")?;
    let id = member.address((card, configuration), name)?;
    let mut named = json!({ "id": id.to_string() });
    let properties = asked.get("properties").and_then(Value::as_object);
    if is_flexible(set) {
        let option = properties.and_then(|p| text(p, "deleteOption"));
        named["properties"] = json!({ "deleteOption": option.unwrap_or("Delete") });
    }
    inner.insert("publicIPAddress".to_owned(), named);
    Some((id, body(set, member, asked)))
}

fn body(set: &Resource, member: &Member, asked: &Document) -> Value {
    let flexible = is_flexible(set);
    let usual = if flexible { "Standard" } else { "Basic" };
    let said = asked.get("sku").and_then(|sku| sku.get("name"));
    let sku = said.and_then(Value::as_str).unwrap_or(usual);
    let method = match sku.eq_ignore_ascii_case("Basic") {
        true => "Dynamic",
        false => "Static",
    };
    let empty = Document::new();
    let said = asked.get("properties").and_then(Value::as_object);
    let said = said.unwrap_or(&empty);
    let mut properties = Document::new();
    properties.insert("publicIPAllocationMethod".to_owned(), json!(method));
    for name in TAKEN {
        if let Some(value) = said.get(name).filter(|value| !is_nothing(value)) {
            properties.insert(name.to_owned(), value.clone());
        }
    }
    let label = said
        .get("dnsSettings")
        .and_then(|dns| dns.get("domainNameLabel"));
    if let Some(label) = label.and_then(Value::as_str) {
        // Each machine has a name of its own below that of the set. Source: documented.
        let between = if flexible { '-' } else { '.' };
        let label = format!("vm{}{between}{label}", member.number);
        properties.insert(
            "dnsSettings".to_owned(),
            json!({ "domainNameLabel": label }),
        );
    }
    let mut body =
        json!({ "location": set.location, "sku": { "name": sku }, "properties": properties });
    for name in ["tags", "zones"] {
        if let Some(value) = asked.get(name).filter(|value| !is_nothing(value)) {
            body[name] = value.clone();
        }
    }
    body
}
