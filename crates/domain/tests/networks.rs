//! Rules of networks: ranges, addresses, rules, uses; parts written inline or one by one.

mod common;

use std::collections::HashSet;
use std::net::IpAddr;

use common::{GROUP, World, done};
use domain::network::address::Prefix;
use domain::network::links::{Link, attach, detach, links, users};
use domain::network::nested::{Part, plan_part, plan_removal};
use domain::network::ports::{Guard, Port, Protocol, WIDE_PORTS};
use domain::network::{network_interface, public_ip_address};
use domain::plan::PutContext;
use domain::{Resource, ResourceId, Result};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

fn id(rest: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Network/{rest}")
}

fn put(rest: &str, properties: Value, stored: Option<&Resource>) -> Result<Resource> {
    let body = json!({ "location": "eastus", "properties": properties });
    World::default().put(&id(rest), &body, stored)
}

fn network(subnets: Value) -> Result<Resource> {
    let space = json!({ "addressPrefixes": ["10.0.0.0/16", "fd00::/48"] });
    put(
        "virtualNetworks/v",
        json!({ "addressSpace": space, "subnets": subnets }),
        None,
    )
}

fn subnet(name: &str, prefix: &str) -> Value {
    json!({ "name": name, "properties": { "addressPrefix": prefix } })
}

fn interface(name: &str, config: Value) -> Resource {
    let mut config = config;
    config["subnet"] = json!({ "id": id("virtualNetworks/v/subnets/a") });
    let configs = json!([{ "name": "c", "properties": config }]);
    let made = put(
        &format!("networkInterfaces/{name}"),
        json!({ "ipConfigurations": configs }),
        None,
    );
    done(made.unwrap())
}

fn rule(name: &str, priority: i64, access: &str, port: &str, source: &str) -> Value {
    json!({ "name": name, "properties": {
        "protocol": "Tcp", "access": access, "direction": "Inbound", "priority": priority,
        "sourcePortRange": "*", "destinationPortRange": port,
        "sourceAddressPrefix": source, "destinationAddressPrefix": "*",
    } })
}

fn group(rules: Value) -> Result<Resource> {
    put(
        "networkSecurityGroups/g",
        json!({ "securityRules": rules }),
        None,
    )
}

fn code(result: Result<Resource>) -> String {
    result.map_or_else(|e| e.code.into_owned(), |_| "accepted".to_owned())
}

fn subnet_link(row: &Resource) -> Link {
    let mut all = links(row).into_iter();
    all.find(|link| link.address.is_some()).unwrap()
}

#[test]
fn ranges_of_networks_and_subnets_are_checked() {
    for (subnets, expected) in [
        (json!([]), "accepted"),
        (
            json!([subnet("a", "10.0.0.0/24"), subnet("b", "10.0.1.0/24")]),
            "accepted",
        ),
        (
            json!([subnet("a", "10.0.0.0/24"), subnet("b", "fd00::/64")]),
            "accepted",
        ),
        (
            json!([subnet("a", "10.1.0.0/24")]),
            "NetcfgSubnetRangeOutsideVnet",
        ),
        (
            json!([subnet("a", "10.0.0.0/8")]),
            "NetcfgSubnetRangeOutsideVnet",
        ),
        (
            json!([subnet("a", "10.0.0.0/24"), subnet("b", "10.0.0.128/25")]),
            "NetcfgSubnetRangesOverlap",
        ),
        (
            json!([subnet("a", "10.0.0.0/24"), subnet("A", "10.0.1.0/24")]),
            "DuplicateResourceName",
        ),
        (json!([subnet("a", "10.0.0.1/24")]), "InvalidCIDRNotation"),
        (json!([subnet("a", "ten")]), "InvalidAddressPrefixFormat"),
        (json!([subnet("a", "10.0.0.0/30")]), "NetcfgInvalidSubnet"),
        (json!([subnet("", "10.0.0.0/24")]), "InvalidResourceName"),
        (json!([{ "name": "a" }]), "InvalidRequestFormat"),
        (json!({}), "InvalidRequestFormat"),
        (json!([7]), "InvalidRequestFormat"),
    ] {
        assert_eq!(code(network(subnets.clone())), expected, "{subnets}");
    }
    for (space, expected) in [
        (json!({}), "InvalidRequestFormat"),
        (json!({ "addressPrefixes": [] }), "InvalidRequestFormat"),
        (
            json!({ "addressPrefixes": ["10.0.0.0/8", "10.1.0.0/16"] }),
            "NetcfgAddressSpaceRangesOverlap",
        ),
    ] {
        let made = put("virtualNetworks/v", json!({ "addressSpace": space }), None);
        assert_eq!(code(made), expected, "{space}");
    }
}

#[test]
fn a_network_keeps_its_subnets_unless_a_list_is_sent() {
    let held = done(network(json!([subnet("a", "10.0.0.0/24")])).unwrap());
    let space = json!({ "addressPrefixes": ["10.0.0.0/16"] });
    let kept = put(
        "virtualNetworks/v",
        json!({ "addressSpace": space }),
        Some(&held),
    )
    .unwrap();
    assert_eq!(kept.properties["subnets"], held.properties["subnets"]);
    assert_eq!(
        kept.properties["resourceGuid"],
        held.properties["resourceGuid"]
    );
    let none = put(
        "virtualNetworks/v",
        json!({ "addressSpace": space, "subnets": [] }),
        Some(&held),
    );
    assert_eq!(none.unwrap().properties["subnets"], json!([]));
}

#[test]
fn addresses_are_the_lowest_free_ones_and_fixed_ones_are_checked() {
    let mut held = network(json!([subnet("a", "10.0.0.0/29")])).unwrap();
    let mut take = |name: &str, config: Value| -> Result<IpAddr> {
        let row = interface(name, config);
        attach(&mut held, &subnet_link(&row), &row).map(Option::unwrap)
    };
    let fixed = |address: &str| json!({ "privateIPAllocationMethod": "Static", "privateIPAddress": address });
    let shown =
        |taken: Result<IpAddr>| taken.map_or_else(|e| e.code.into_owned(), |a| a.to_string());
    for (name, config, expected) in [
        ("n1", json!({}), "10.0.0.4"),
        ("n2", fixed("10.0.0.5"), "10.0.0.5"),
        ("n1", json!({}), "10.0.0.4"),
        ("n3", fixed("10.0.0.5"), "PrivateIPAddressIsAllocated"),
        ("n3", fixed("10.0.0.1"), "PrivateIPAddressInReservedRange"),
        ("n3", fixed("10.0.0.7"), "PrivateIPAddressInReservedRange"),
        ("n3", fixed("10.0.1.4"), "PrivateIPAddressNotInSubnet"),
        ("n3", json!({}), "10.0.0.6"),
        ("n4", json!({}), "SubnetIsFull"),
    ] {
        assert_eq!(shown(take(name, config)), expected, "{name}");
    }
}

#[test]
fn subnets_in_use_stay_and_keep_what_they_gave() {
    let mut held = done(network(json!([subnet("a", "10.0.0.0/24")])).unwrap());
    let row = interface("n", json!({}));
    attach(&mut held, &subnet_link(&row), &row).unwrap();
    let again = |subnets: Value| {
        let space = json!({ "addressPrefixes": ["10.0.0.0/16"] });
        let sent = json!({ "addressSpace": space, "subnets": subnets });
        code(put("virtualNetworks/v", sent, Some(&held)))
    };
    assert_eq!(again(json!([])), "InUseSubnetCannotBeDeleted");
    assert_eq!(
        again(json!([subnet("a", "10.0.9.0/24")])),
        "InUsePrefixCannotBeDeleted"
    );
    assert_eq!(again(json!([subnet("a", "10.0.0.0/25")])), "accepted");
    let refused = domain::network::check_delete(&held).unwrap_err();
    assert_eq!(refused.code, "InUseSubnetCannotBeDeleted");
    assert!(
        refused
            .message
            .contains("networkInterfaces/n/ipConfigurations/c"),
        "{refused}"
    );
    detach(&mut held, &subnet_link(&row));
    assert!(users(&held).is_empty() && domain::network::check_delete(&held).is_ok());
}

#[test]
fn a_part_written_alone_is_the_part_written_inline() {
    let regions = common::regions();
    let mut fresh = Uuid::nil;
    let mut ctx = PutContext {
        regions: &regions,
        now_ms: 0,
        api_version: "2024-07-01",
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    let part = |name: &str| {
        let text = id(&format!("virtualNetworks/v/SUBNETS/{name}"));
        Part::parse(&ResourceId::parse(&text).unwrap()).unwrap()
    };
    let empty = done(network(json!([])).unwrap());
    let body = json!({ "name": "other", "properties": { "addressPrefix": "10.0.3.0/24" } });
    let one = done(plan_part(&mut ctx, &part("s"), &body, &empty).unwrap());
    let inline = network(json!([subnet("s", "10.0.3.0/24")])).unwrap();
    assert_eq!(one.properties["subnets"], inline.properties["subnets"]);
    assert!(part("S").is_in(&one) && !part("t").is_in(&one));
    let wide = json!({ "properties": { "addressPrefix": "10.0.0.0/16" } });
    assert_eq!(
        code(plan_part(&mut ctx, &part("t"), &wide, &one)),
        "NetcfgSubnetRangesOverlap"
    );
    let replaced = plan_part(&mut ctx, &part("S"), &wide, &one).unwrap();
    assert_eq!(replaced.properties["subnets"][0]["name"], "s");
    let gone = plan_removal(&mut ctx, &part("S"), &one).unwrap();
    assert_eq!(gone.properties["subnets"], json!([]));
    assert!(
        Part::parse(&ResourceId::parse(&id("virtualNetworks/v/peerings/p")).unwrap()).is_none()
    );
    assert!(Part::parse(&ResourceId::parse(&id("virtualNetworks/v")).unwrap()).is_none());
}

#[test]
fn security_rules_are_checked() {
    for (change, expected) in [
        (json!({}), "accepted"),
        (json!({ "protocol": "udp" }), "accepted"),
        (json!({ "destinationPortRange": "1-65535" }), "accepted"),
        (
            json!({ "sourceAddressPrefix": "Storage.EastUS" }),
            "accepted",
        ),
        (json!({ "sourceAddressPrefix": "10.0.0.4" }), "accepted"),
        (json!({ "priority": 99 }), "SecurityRuleInvalidPriority"),
        (json!({ "priority": 4097 }), "SecurityRuleInvalidPriority"),
        (json!({ "priority": "high" }), "SecurityRuleInvalidPriority"),
        (json!({ "protocol": "sctp" }), "InvalidRequestFormat"),
        (
            json!({ "destinationPortRange": "70000" }),
            "SecurityRuleInvalidPortRange",
        ),
        (
            json!({ "destinationPortRange": "9-8" }),
            "SecurityRuleInvalidPortRange",
        ),
        (
            json!({ "destinationPortRange": "" }),
            "SecurityRuleParameterMissing",
        ),
        (
            json!({ "sourceAddressPrefix": "300.0.0.0/8" }),
            "SecurityRuleInvalidAddressPrefix",
        ),
        (json!({ "direction": null }), "InvalidRequestFormat"),
    ] {
        let mut one = rule("r", 100, "Allow", "22", "*");
        for (name, value) in change.as_object().unwrap() {
            one["properties"][name] = value.clone();
        }
        assert_eq!(code(group(json!([one]))), expected, "{change}");
    }
    let two = [
        rule("a", 100, "Allow", "22", "*"),
        rule("b", 100, "Deny", "23", "*"),
    ];
    assert_eq!(code(group(json!(two))), "SecurityRuleConflict");
}

#[test]
fn a_port_is_open_when_every_group_lets_it_in() {
    let tcp = |number| Port {
        protocol: Protocol::Tcp,
        number,
    };
    let open = |groups: &[&Resource], is_basic: bool| -> Vec<u16> {
        let guard = Guard {
            groups: groups.to_vec(),
            address: "10.0.0.4".parse().ok(),
            is_open_without_group: is_basic,
        };
        guard.open_ports().iter().map(|port| port.number).collect()
    };
    let of = |rules: Value| group(rules).unwrap();
    let ssh = of(json!([rule("a", 100, "Allow", "22", "*")]));
    let web = of(json!([
        rule("a", 100, "Allow", "80", "Internet"),
        rule("b", 110, "Allow", "22", "0.0.0.0/0")
    ]));
    let closed = of(json!([]));
    let denied = of(json!([
        rule("a", 200, "Allow", "20-25", "*"),
        rule("b", 100, "Deny", "22", "*")
    ]));
    let elsewhere = of(json!([rule("a", 100, "Allow", "22", "203.0.113.5/32")]));
    let wide = of(json!([rule("a", 100, "Allow", "*", "*")]));
    for (groups, is_basic, expected) in [
        (vec![&ssh], false, vec![22]),
        (vec![&ssh, &web], false, vec![22]),
        (vec![&web], true, vec![22, 80]),
        (vec![&closed], true, vec![]),
        (vec![&ssh, &closed], true, vec![]),
        (vec![&denied], true, vec![20, 21, 23, 24, 25]),
        (vec![&elsewhere], true, vec![]),
        (vec![], false, vec![]),
        (vec![], true, WIDE_PORTS.to_vec()),
        (vec![&wide], false, WIDE_PORTS.to_vec()),
    ] {
        let mut expected = expected;
        expected.sort_unstable();
        let names: Vec<_> = groups
            .iter()
            .map(|g| &g.properties["securityRules"])
            .collect();
        assert_eq!(open(&groups, is_basic), expected, "{names:?} {is_basic}");
    }
    let guard = Guard {
        groups: vec![&wide],
        address: None,
        is_open_without_group: false,
    };
    assert!(
        guard.is_open(tcp(9)),
        "a NAT rule may lead to any open port"
    );
}

#[test]
fn an_interface_belongs_to_one_machine_and_needs_one_primary_address() {
    let machine = |name: &str| {
        ResourceId::parse(&format!(
            "{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}"
        ))
        .unwrap()
    };
    let mut row = interface("n", json!({}));
    network_interface::attach_machine(&mut row, &machine("vm"), true).unwrap();
    network_interface::attach_machine(&mut row, &machine("VM"), true).unwrap();
    let second = network_interface::attach_machine(&mut row, &machine("other"), true);
    assert_eq!(second.unwrap_err().code, "NicInUse");
    assert_eq!(
        domain::network::check_delete(&row).unwrap_err().code,
        "NicInUse"
    );
    let sent = json!({ "ipConfigurations": row.properties["ipConfigurations"] });
    let again = put("networkInterfaces/n", sent, Some(&row)).unwrap();
    assert_eq!(
        again.properties["virtualMachine"],
        row.properties["virtualMachine"]
    );
    assert_eq!(again.properties["macAddress"], row.properties["macAddress"]);
    network_interface::detach_machine(&mut row);
    assert!(domain::network::check_delete(&row).is_ok());
    let config = |name: &str, is_primary: bool| {
        json!({ "name": name, "properties": {
        "primary": is_primary, "subnet": { "id": id("virtualNetworks/v/subnets/a") } } })
    };
    for (configs, expected) in [
        (json!([]), "NetworkInterfaceMustHaveOneIpConfiguration"),
        (
            json!([config("a", true), config("b", true)]),
            "NetworkInterfaceMustHaveExactlyOnePrimaryIpConfiguration",
        ),
        (json!([config("a", true), config("b", false)]), "accepted"),
        (json!([{ "name": "a" }]), "SubnetNotSpecified"),
        (
            json!([{ "name": "a", "properties": { "subnet": { "id": id("virtualNetworks/v") } } }]),
            "InvalidResourceId",
        ),
    ] {
        let made = put(
            "networkInterfaces/n",
            json!({ "ipConfigurations": configs }),
            None,
        );
        assert_eq!(code(made), expected, "{configs}");
    }
}

#[test]
fn a_public_address_has_one_user_and_a_name_that_leads_nowhere_else() {
    let mut held = done(
        put(
            "publicIPAddresses/p",
            json!({ "dnsSettings": { "domainNameLabel": "web" } }),
            None,
        )
        .unwrap(),
    );
    assert_eq!(
        held.properties["dnsSettings"]["fqdn"],
        "web.eastus.cloudapp.internal"
    );
    assert!(public_ip_address::needs_address(&held));
    public_ip_address::set_address(&mut held, "127.44.0.9".parse().unwrap());
    let with = |name: &str| {
        interface(
            name,
            json!({ "publicIPAddress": { "id": id("publicIPAddresses/p") } }),
        )
    };
    let link = |row: &Resource| {
        links(row)
            .into_iter()
            .find(|l| l.address.is_none())
            .unwrap()
    };
    let (first, second) = (with("n1"), with("n2"));
    attach(&mut held, &link(&first), &first).unwrap();
    attach(&mut held, &link(&first), &first).unwrap();
    let refused = attach(&mut held, &link(&second), &second).unwrap_err();
    assert_eq!(refused.code, "PublicIPAddressInUse");
    assert_eq!(
        domain::network::check_delete(&held).unwrap_err().code,
        "PublicIPAddressCannotBeDeleted"
    );
    for (properties, expected) in [
        (
            json!({ "dnsSettings": { "domainNameLabel": "Web" } }),
            "InvalidDomainNameLabel",
        ),
        (json!({ "idleTimeoutInMinutes": 3 }), "InvalidIdleTimeout"),
        (
            json!({ "publicIPAllocationMethod": "none" }),
            "InvalidRequestFormat",
        ),
    ] {
        assert_eq!(
            code(put("publicIPAddresses/q", properties.clone(), None)),
            expected,
            "{properties}"
        );
    }
    let body = json!({ "location": "eastus", "sku": { "name": "Standard" } });
    let made = World::default().put(&id("publicIPAddresses/q"), &body, None);
    assert_eq!(code(made), "StandardSkuPublicIPAddressesMustBeStatic");
}

#[test]
fn a_balancer_refers_to_its_own_parts() {
    let rules = |front: &str| {
        json!({
            "frontendIPConfigurations": [{ "name": "f", "properties": {} }],
            "inboundNatRules": [{ "name": "ssh", "properties": {
                "frontendIPConfiguration": { "id": id(&format!("loadBalancers/{front}")) }, "frontendPort": 50022, "backendPort": 22 } }],
        })
    };
    for (front, expected) in [
        ("b/frontendIPConfigurations/F", "accepted"),
        (
            "b/frontendIPConfigurations/other",
            "InvalidResourceReference",
        ),
        (
            "other/frontendIPConfigurations/f",
            "InvalidResourceReference",
        ),
        ("b/probes/f", "InvalidResourceReference"),
    ] {
        assert_eq!(
            code(put("loadBalancers/b", rules(front), None)),
            expected,
            "{front}"
        );
    }
}

#[test]
fn bodies_have_limits() {
    let long = "x".repeat(domain::network::BODY_BYTES_MAX);
    let made = put("publicIPAddresses/p", json!({ "unknown": long }), None);
    assert_eq!(code(made), "RequestEntityTooLarge");
    let kept = put(
        "publicIPAddresses/p",
        json!({ "unknown": { "a": [1] } }),
        None,
    );
    assert_eq!(kept.unwrap().properties["unknown"], json!({ "a": [1] }));
    let many: Vec<Value> = (0..1001)
        .map(|n| json!({ "name": format!("p{n}") }))
        .collect();
    let made = put("loadBalancers/b", json!({ "probes": many }), None);
    assert_eq!(code(made), "BadRequest");
}

proptest! {
    #[test]
    fn an_address_has_one_holder_whatever_comes_and_goes(steps in prop::collection::vec((0..9_u8, any::<bool>(), 0..9_u8), 0..60)) {
        let mut held = network(json!([subnet("a", "10.0.0.0/29")])).unwrap();
        let range = Prefix::read("10.0.0.0/29").unwrap();
        for (who, is_leaving, wanted) in steps {
            let config = match wanted {
                8 => json!({}),
                last => json!({ "privateIPAllocationMethod": "Static", "privateIPAddress": format!("10.0.0.{last}") }),
            };
            let row = interface(&format!("n{who}"), config);
            let link = subnet_link(&row);
            let before = users(&held);
            if is_leaving {
                detach(&mut held, &link);
            } else if let Err(refused) = attach(&mut held, &link, &row) {
                let is_full = users(&held).len() == 3;
                prop_assert!(refused.code != "SubnetIsFull" || is_full, "{}", refused);
                prop_assert_eq!(users(&held), before);
            }
            let all = users(&held);
            let addresses: HashSet<IpAddr> = all.iter().filter_map(|u| u.address).collect();
            prop_assert_eq!(addresses.len(), all.len());
            prop_assert!(addresses.iter().all(|a| range.holds(*a) && !range.is_reserved(*a)));
        }
    }
}
