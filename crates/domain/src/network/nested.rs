//! Parts of a network resource as children of their own: the same truth, written one by one.
//!
//! A write of a child is a write of its parent with one item of a list replaced, so every rule of the
//! parent holds, whichever door is used.

use serde_json::{Map, Value, json};

use super::{has_item, load_balancer, network_security_group, virtual_network};
use crate::plan::{PutContext, plan_put};
use crate::{Error, Kind, Resource, ResourceId, Result};

/// A list of parts that have paths.
#[derive(Debug)]
pub struct List {
    /// The resource that holds it.
    pub kind: Kind,
    /// Its member of `properties`, and the segment of the path.
    pub name: &'static str,
    /// Whether items are written by their own path too.
    pub is_writable: bool,
}

const fn list(kind: Kind, name: &'static str, is_writable: bool) -> List {
    List {
        kind,
        name,
        is_writable,
    }
}

/// Every list of parts that have paths.
pub const LISTS: [List; 10] = [
    list(Kind::VirtualNetwork, "subnets", true),
    list(Kind::NetworkSecurityGroup, "securityRules", true),
    list(Kind::NetworkSecurityGroup, "defaultSecurityRules", false),
    list(Kind::LoadBalancer, "backendAddressPools", true),
    list(Kind::LoadBalancer, "inboundNatRules", true),
    list(Kind::LoadBalancer, "frontendIPConfigurations", false),
    list(Kind::LoadBalancer, "loadBalancingRules", false),
    list(Kind::LoadBalancer, "probes", false),
    list(Kind::LoadBalancer, "outboundRules", false),
    list(Kind::NetworkInterface, "ipConfigurations", false),
];

/// Returns the list of a kind by its name, whatever the case.
pub fn list_of(kind: Kind, name: &str) -> Option<&'static List> {
    LISTS
        .iter()
        .find(|list| list.kind == kind && list.name.eq_ignore_ascii_case(name))
}

/// A part of a resource: which row, which list, which name.
#[derive(Clone, Debug)]
pub struct Part {
    /// The row that holds it.
    pub parent: ResourceId,
    /// The list.
    pub list: &'static List,
    /// The item's name, as the client wrote it.
    pub name: String,
}

impl Part {
    /// Reads the id of a part; `None` for any other id.
    pub fn parse(id: &ResourceId) -> Option<Self> {
        let (parent, collection, name) = super::links::split(&id.to_string())?;
        let list = list_of(parent.kind()?, &collection)?;
        Some(Self { parent, list, name })
    }

    /// Returns the id as responses show it.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.parent, self.list.name, self.name)
    }

    /// Returns the ARM type.
    pub fn type_name(&self) -> String {
        format!("{}/{}", self.list.kind.type_name(), self.list.name)
    }

    /// Whether the row has the part.
    pub fn is_in(&self, parent: &Resource) -> bool {
        has_item(&parent.properties, self.list.name, &self.name)
    }

    /// 404 for a part that is not there.
    pub fn not_found(&self) -> Error {
        Error::not_found("NotFound", format!("Resource {} not found.", self.id()))
    }
}

/// Decides a PUT of a part; returns the parent as it will be.
pub fn plan_part(
    ctx: &mut PutContext<'_>,
    part: &Part,
    body: &Value,
    parent: &Resource,
) -> Result<Resource> {
    let sent = body.as_object();
    let mut item = Map::new();
    for (name, value) in sent.into_iter().flatten() {
        if !["id", "type", "etag", "location", "tags"].contains(&name.as_str()) {
            item.insert(name.clone(), value.clone());
        }
    }
    let held = list_items(parent, part).find(|held| is_named(held, &part.name));
    let held_name = held.and_then(|h| h.get("name")).cloned();
    item.insert(
        "name".to_owned(),
        held_name.unwrap_or_else(|| json!(part.name)),
    );
    let item = Value::Object(item);
    let mut items: Vec<Value> = Vec::new();
    let mut is_new = true;
    for held in list_items(parent, part) {
        if is_named(held, &part.name) {
            items.push(item.clone());
            is_new = false;
        } else {
            items.push(held.clone());
        }
    }
    if is_new {
        items.push(item);
    }
    replan(ctx, part, items, parent)
}

/// Decides the deletion of a part; returns the parent as it will be.
pub fn plan_removal(ctx: &mut PutContext<'_>, part: &Part, parent: &Resource) -> Result<Resource> {
    let items = list_items(parent, part).filter(|held| !is_named(held, &part.name));
    let items = items.cloned().collect();
    replan(ctx, part, items, parent)
}

fn replan(
    ctx: &mut PutContext<'_>,
    part: &Part,
    items: Vec<Value>,
    parent: &Resource,
) -> Result<Resource> {
    let mut properties = parent.properties.clone();
    properties.insert(part.list.name.to_owned(), Value::Array(items));
    let body = json!({ "location": parent.location, "properties": properties });
    plan_put(parent.kind, ctx, &parent.id, &body, Some(parent))
}

fn list_items<'a>(parent: &'a Resource, part: &Part) -> impl Iterator<Item = &'a Value> {
    let items = parent.properties.get(part.list.name);
    items.and_then(Value::as_array).into_iter().flatten()
}

fn is_named(item: &Value, name: &str) -> bool {
    let held = item.get("name").and_then(Value::as_str);
    held.is_some_and(|held| held.eq_ignore_ascii_case(name))
}

/// Returns what only the server says of the items of a list.
pub fn read_only(list: &str) -> &'static [&'static str] {
    match list {
        "subnets" => &virtual_network::SUBNET_READ_ONLY,
        _ => load_balancer::LISTS
            .iter()
            .find(|(held, _)| *held == list)
            .map_or(&[], |(_, read_only)| read_only),
    }
}

/// Returns the items of a list as the row shows them; default rules are the same in every group.
pub fn shown_items(parent: &Resource, list: &str) -> Vec<Value> {
    if list == "defaultSecurityRules" {
        return network_security_group::default_rules();
    }
    let items = parent.properties.get(list).and_then(Value::as_array);
    items.cloned().unwrap_or_default()
}
