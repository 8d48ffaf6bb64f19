//! Which ports of an interface are open to callers, and where they are forwarded from.
//!
//! Machines have user-mode networks: what is not forwarded is closed. A forward is one port of one loopback
//! address, so a rule that opens everything opens the ports of [`WIDE_PORTS`] alone. The caller is a program of
//! this host: a rule that names other sources does not let it in.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::address::Prefix;
use super::network_security_group::{inbound, port_range, values};
use crate::Resource;
use crate::plan::text;
use crate::resource::Document;

/// The widest range of a rule that is forwarded port by port.
pub const RANGE_PORTS_MAX: u16 = 64;
/// The most ports of one interface that are forwarded.
pub const PORTS_MAX: usize = 256;
/// What is forwarded of a range that is wider: ssh, http, rdp, https, winrm.
pub const WIDE_PORTS: [u16; 7] = [22, 80, 443, 3389, 5985, 5986, 8080];
/// Who asks.
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a forward carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// An open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// What it carries.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

/// One port of a public address that leads to a port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// What it carries.
    pub protocol: Protocol,
    /// The loopback address to listen on.
    pub address: Ipv4Addr,
    /// The port to listen on.
    pub port: u16,
    /// The port of the guest.
    pub guest_port: u16,
}

/// What guards an interface's address.
pub struct Guard<'a> {
    /// The security groups of subnet and interface; all must let a port in.
    pub groups: Vec<&'a Resource>,
    /// The private address.
    pub address: Option<IpAddr>,
    /// Whether the public address is open where there is no group: Basic is, Standard is not.
    pub is_open_without_group: bool,
}

impl Guard<'_> {
    /// Returns the open ports, lowest first, at most [`PORTS_MAX`].
    pub fn open_ports(&self) -> Vec<Port> {
        let mut wanted = Vec::new();
        if self.groups.is_empty() {
            wanted.extend(WIDE_PORTS.map(|number| Port {
                protocol: Protocol::Tcp,
                number,
            }));
        }
        let rules = self.groups.iter().flat_map(|group| inbound(group));
        for rule in rules.filter(|rule| text(rule, "access") == Some("Allow")) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                if carries(rule, protocol) {
                    wanted.extend(named_ports(rule).map(|number| Port { protocol, number }));
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|port| self.is_open(*port));
        wanted.truncate(PORTS_MAX);
        wanted
    }

    /// Whether a caller of this host reaches a port.
    pub fn is_open(&self, port: Port) -> bool {
        if self.groups.is_empty() {
            return self.is_open_without_group;
        }
        self.groups.iter().all(|group| {
            let mut rules = inbound(group).into_iter();
            let first = rules.find(|rule| self.applies(rule, port));
            first.is_some_and(|rule| text(rule, "access") == Some("Allow"))
        })
    }

    fn applies(&self, rule: &Document, port: Port) -> bool {
        let is_named = |name: &str, number: u16| {
            let mut ranges = values(rule, name).into_iter().filter_map(port_range);
            ranges.any(|(first, last)| (first..=last).contains(&number))
        };
        let is_any_source_port = values(rule, "sourcePortRange")
            .into_iter()
            .filter_map(port_range)
            .any(|range| range == (0, u16::MAX));
        // Nobody knows the caller's port: a rule for some of them forbids, but does not allow.
        let is_deny = text(rule, "access") != Some("Allow");
        let from = values(rule, "sourceAddressPrefix");
        let to = values(rule, "destinationAddressPrefix");
        carries(rule, port.protocol)
            && is_named("destinationPortRange", port.number)
            && (is_any_source_port || is_deny)
            && from.iter().any(|from| is_from_here(from))
            && to.iter().any(|to| self.is_to_here(to))
    }

    fn is_to_here(&self, to: &str) -> bool {
        if is_any(to) || to.eq_ignore_ascii_case("VirtualNetwork") {
            return true;
        }
        let prefix = Prefix::read(to);
        matches!((prefix, self.address), (Some(prefix), Some(address)) if prefix.holds(address))
    }
}

fn is_any(text: &str) -> bool {
    text == "*" || text.eq_ignore_ascii_case("Any")
}

fn is_from_here(from: &str) -> bool {
    is_any(from)
        || from.eq_ignore_ascii_case("Internet")
        || Prefix::read(from).is_some_and(|prefix| prefix.holds(CALLER))
}

fn carries(rule: &Document, protocol: Protocol) -> bool {
    matches!(
        (text(rule, "protocol"), protocol),
        (Some("*"), _) | (Some("Tcp"), Protocol::Tcp) | (Some("Udp"), Protocol::Udp)
    )
}

/// The ports of a rule that are looked at one by one.
fn named_ports(rule: &Document) -> impl Iterator<Item = u16> {
    let ranges = values(rule, "destinationPortRange").into_iter();
    ranges.filter_map(port_range).flat_map(|(first, last)| {
        let is_narrow = last - first < RANGE_PORTS_MAX;
        let narrow = (first..=last).filter(move |_| is_narrow);
        let wide = WIDE_PORTS.into_iter();
        narrow.chain(wide.filter(move |port| !is_narrow && (first..=last).contains(port)))
    })
}

/// Returns the forwards of a public address that belongs to the interface itself.
pub fn direct(guard: &Guard<'_>, address: Ipv4Addr) -> Vec<Forward> {
    let ports = guard.open_ports().into_iter();
    ports
        .map(|port| Forward {
            protocol: port.protocol,
            address,
            port: port.number,
            guest_port: port.number,
        })
        .collect()
}

/// Returns a number of a rule that is a port.
fn port_in(rule: &Document, name: &str) -> Option<u16> {
    let sent = rule.get(name).and_then(Value::as_u64);
    sent.and_then(|port| u16::try_from(port).ok())
}

/// Returns the port of a rule's range that leads to one of a pool, by its place there.
pub fn port_of(rule: &Document, place: u16) -> Option<u16> {
    let first = port_in(rule, "frontendPortRangeStart").filter(|port| *port > 0)?;
    let last = port_in(rule, "frontendPortRangeEnd")?;
    first.checked_add(place).filter(|port| *port <= last)
}

/// Returns the forward of an inbound NAT rule of a load balancer, if the guest's port is open.
///
/// A rule for a whole pool has a port for each place in it; `place` is the guest's.
pub fn translated(
    guard: &Guard<'_>,
    rule: &Document,
    place: Option<u16>,
    address: Ipv4Addr,
) -> Option<Forward> {
    let protocol = match text(rule, "protocol")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("udp") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let guest_port = port_in(rule, "backendPort")?;
    let port = match place {
        Some(place) => port_of(rule, place)?,
        None => port_in(rule, "frontendPort").filter(|port| *port > 0)?,
    };
    let is_open = guard.is_open(Port {
        protocol,
        number: guest_port,
    });
    is_open.then_some(Forward {
        protocol,
        address,
        port,
        guest_port,
    })
}
