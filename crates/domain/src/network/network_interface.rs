//! Network interfaces: addresses in subnets, public addresses, and the machine they belong to.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::links::check_kinds;
use super::{begin, default, id_of, items, items_mut, refuse, tidy, word};
use crate::plan::{PutContext, text};
use crate::{Error, Kind, Resource, ResourceId, Result};

/// What only the server says.
const READ_ONLY: [&str; 9] = [
    "macAddress",
    "virtualMachine",
    "hostedWorkloads",
    "tapConfigurations",
    "dscpConfiguration",
    "privateEndpoint",
    "privateLinkService",
    "vnetEncryptionSupported",
    "defaultOutboundConnectivityEnabled",
];
/// What stays from one write to the next.
const KEPT: [&str; 2] = ["macAddress", "virtualMachine"];

/// Decides a PUT.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let kind = id.kind().filter(|kind| kind.is_interface());
    let mut row = begin(
        ctx,
        kind.unwrap_or(Kind::NetworkInterface),
        id,
        body,
        stored,
    )?;
    for name in READ_ONLY {
        row.properties.shift_remove(name);
    }
    tidy(
        &mut row,
        "ipConfigurations",
        &["privateLinkConnectionProperties"],
    )?;
    plan_configurations(&mut row, stored)?;
    plan_name_servers(&mut row);
    default(&mut row.properties, "enableAcceleratedNetworking", false);
    default(&mut row.properties, "enableIPForwarding", false);
    for name in KEPT {
        if let Some(value) = stored.and_then(|s| s.properties.get(name)) {
            row.properties.insert(name.to_owned(), value.clone());
        }
    }
    if !row.properties.contains_key("macAddress") {
        let mac = mac_address((ctx.fresh)().as_bytes());
        row.properties.insert("macAddress".to_owned(), json!(mac));
    }
    check_kinds(&row)?;
    Ok(row)
}

fn plan_configurations(row: &mut Resource, stored: Option<&Resource>) -> Result<()> {
    let owner = row.id.clone();
    let count = items(&row.properties, "ipConfigurations").count();
    if count == 0 {
        return Err(refuse(
            "NetworkInterfaceMustHaveOneIpConfiguration",
            format!("Network interface {owner} must have one or more IP configurations."),
        ));
    }
    let primaries = items(&row.properties, "ipConfigurations")
        .filter(|(_, config)| config.get("primary") == Some(&json!(true)))
        .count();
    if primaries > 1 || (primaries == 0 && count > 1) {
        return Err(refuse(
            "NetworkInterfaceMustHaveExactlyOnePrimaryIpConfiguration",
            format!(
                "Network interface {owner} must have exactly one IP configuration with primary true."
            ),
        ));
    }
    for (name, config) in items_mut(&mut row.properties, "ipConfigurations") {
        plan_address(&owner, &name, config, stored)?;
        default(config, "primary", primaries == 0);
    }
    Ok(())
}

fn plan_address(
    owner: &ResourceId,
    name: &str,
    config: &mut crate::resource::Document,
    stored: Option<&Resource>,
) -> Result<()> {
    word(config, "privateIPAllocationMethod", &["Dynamic", "Static"])?;
    word(config, "privateIPAddressVersion", &["IPv4", "IPv6"])?;
    default(config, "privateIPAllocationMethod", "Dynamic");
    default(config, "privateIPAddressVersion", "IPv4");
    let subnet = id_of(config, "subnet").ok_or_else(|| {
        refuse(
            "SubnetNotSpecified",
            format!("IP configuration {owner}/ipConfigurations/{name} does not name a subnet."),
        )
    })?;
    if text(config, "privateIPAllocationMethod") == Some("Static") {
        return check_static(config, owner, name);
    }
    // A dynamic address is the server's: kept while the subnet is the same.
    let held = stored.and_then(|s| {
        items(&s.properties, "ipConfigurations").find(|(n, _)| n.eq_ignore_ascii_case(name))
    });
    let held =
        held.filter(|(_, c)| id_of(c, "subnet").is_some_and(|s| s.eq_ignore_ascii_case(subnet)));
    let address = held.and_then(|(_, c)| c.get("privateIPAddress")).cloned();
    match address {
        Some(address) => config.insert("privateIPAddress".to_owned(), address),
        None => config.shift_remove("privateIPAddress"),
    };
    Ok(())
}

pub(crate) fn check_static(
    config: &crate::resource::Document,
    owner: &ResourceId,
    name: &str,
) -> Result<()> {
    let sent = text(config, "privateIPAddress").unwrap_or_default();
    let is_v6 = text(config, "privateIPAddressVersion") == Some("IPv6");
    match sent.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == is_v6 => Ok(()),
        _ => Err(refuse(
            "InvalidIPAddress",
            format!(
                "The private IP address '{sent}' of {owner} ({name}) is not valid. A static allocation needs one."
            ),
        )),
    }
}

fn plan_name_servers(row: &mut Resource) {
    let settings = row
        .properties
        .entry("dnsSettings")
        .or_insert_with(|| json!({}));
    if let Some(settings) = settings.as_object_mut() {
        default(settings, "dnsServers", json!([]));
        let applied = settings.get("dnsServers").cloned().unwrap_or_default();
        settings.insert("appliedDnsServers".to_owned(), applied);
    }
}

/// An address of the service's own maker prefix, the rest by chance.
fn mac_address(chance: &[u8; 16]) -> String {
    let [a, b, c, ..] = chance;
    format!("00-0D-3A-{a:02X}-{b:02X}-{c:02X}")
}

/// Writes the address that a subnet gave into its IP configuration, and the subnet's id in its own case.
pub fn set_address(row: &mut Resource, user: &str, address: IpAddr) {
    let list = match row.kind {
        Kind::LoadBalancer => "frontendIPConfigurations",
        _ => "ipConfigurations",
    };
    let owner = row.id.to_string();
    for (name, config) in items_mut(&mut row.properties, list) {
        if user.eq_ignore_ascii_case(&format!("{owner}/{list}/{name}")) {
            let shown = json!(address.to_string());
            config.insert("privateIPAddress".to_owned(), shown);
        }
    }
}

/// Returns the public addresses that go with the interface: those of a set's machine, and those that say so.
pub fn own_addresses(row: &Resource) -> Vec<ResourceId> {
    let configurations = items(&row.properties, "ipConfigurations");
    let named = configurations.filter_map(|(_, config)| config.get("publicIPAddress"));
    let goes = |address: &&Value| {
        let option = address.pointer("/properties/deleteOption");
        let option = option.and_then(Value::as_str).unwrap_or_default();
        option.eq_ignore_ascii_case("Delete") || row.kind == Kind::ScaleSetInterface
    };
    named
        .filter(goes)
        .filter_map(|address| ResourceId::parse(address.get("id")?.as_str()?).ok())
        .filter(|id| id.kind().is_some_and(Kind::is_address))
        .collect()
}

/// Returns the machine that has the interface.
pub fn machine(row: &Resource) -> Option<&str> {
    id_of(&row.properties, "virtualMachine")
}

/// Gives the interface to a machine; refuses one that another has.
pub fn attach_machine(row: &mut Resource, machine_id: &ResourceId, is_primary: bool) -> Result<()> {
    let held = machine(row).filter(|held| !held.eq_ignore_ascii_case(&machine_id.to_string()));
    if let Some(held) = held {
        return Err(in_use(row, held));
    }
    let shown = json!({ "id": machine_id.to_string() });
    row.properties.insert("virtualMachine".to_owned(), shown);
    row.properties
        .insert("primary".to_owned(), json!(is_primary));
    Ok(())
}

/// Takes the interface from its machine.
pub fn detach_machine(row: &mut Resource) {
    row.properties.shift_remove("virtualMachine");
    row.properties.shift_remove("primary");
}

/// Refuses to delete the interface of a machine.
pub fn check_delete(row: &Resource) -> Result<()> {
    machine(row).map_or(Ok(()), |held| Err(in_use(row, held)))
}

fn in_use(row: &Resource, machine: &str) -> Error {
    refuse(
        "NicInUse",
        format!(
            "Network Interface {} is used by existing resource {machine}. In order to delete the network interface, it must \
             be dissociated from the resource. To learn more, see aka.ms/deletenic.",
            row.id
        ),
    )
}

/// Removes what refers to parts of a load balancer that goes.
pub fn forget(row: &mut Resource, balancer: &ResourceId) {
    let below = format!("{}/", balancer.key());
    for (_, config) in items_mut(&mut row.properties, "ipConfigurations") {
        for list in [
            "loadBalancerBackendAddressPools",
            "loadBalancerInboundNatRules",
            "loadBalancerInboundNatPools",
        ] {
            let Some(held) = config.get_mut(list).and_then(Value::as_array_mut) else {
                continue;
            };
            held.retain(|item| {
                let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
                !id.to_ascii_lowercase().starts_with(&below)
            });
        }
    }
}
