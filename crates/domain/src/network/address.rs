//! Address prefixes and the addresses in them, IPv4 and IPv6 alike.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refuse;
use crate::{ResourceId, Result};

/// Addresses at the beginning of a subnet that nobody gets: network, gateway, two name servers.
const RESERVED_FIRST: u128 = 4;

/// A range of addresses in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    first: u128,
    length: u8,
    is_v6: bool,
}

impl Prefix {
    /// Reads `10.0.0.0/24`; refuses what is no CIDR and what has bits beyond its length.
    pub fn parse(text: &str, owner: &ResourceId) -> Result<Self> {
        let read = |text: &str| -> Option<Self> {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            let prefix = Self {
                first: number(address),
                length,
                is_v6: address.is_ipv6(),
            };
            (length <= prefix.width()).then_some(prefix)
        };
        let shown: String = text.chars().take(100).collect();
        let Some(prefix) = read(text) else {
            return Err(refuse(
                "InvalidAddressPrefixFormat",
                format!(
                    "Address prefix {shown} of resource {owner} is not formatted correctly. It should follow CIDR notation, \
                     for example 10.0.0.0/24."
                ),
            ));
        };
        let clean = Self {
            first: prefix.first & !prefix.rest(),
            ..prefix
        };
        if clean != prefix {
            return Err(refuse(
                "InvalidCIDRNotation",
                format!(
                    "The address prefix {shown} in resource {owner} has an invalid CIDR notation. For the given prefix length, \
                     the address prefix should be {clean}."
                ),
            ));
        }
        Ok(prefix)
    }

    /// Reads a prefix that was checked when it was stored, or the single address of a rule.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let mut prefix = Self {
            first: number(address),
            length: if address.is_ipv6() { 128 } else { 32 },
            is_v6: address.is_ipv6(),
        };
        if !length.is_empty() {
            prefix.length = length.parse().ok().filter(|l| *l <= prefix.width())?;
        }
        prefix.first &= !prefix.rest();
        Some(prefix)
    }

    /// Whether it is of IPv6.
    pub fn is_v6(&self) -> bool {
        self.is_v6
    }

    /// Returns the number of bits that are the same in all its addresses.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether another range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last() <= self.last()
    }

    /// Whether two ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.last() && other.first <= self.last()
    }

    /// Whether an address lies in the range.
    pub fn holds(&self, address: IpAddr) -> bool {
        let at = number(address);
        self.is_v6 == address.is_ipv6() && self.first <= at && at <= self.last()
    }

    /// Whether an address of the range is kept for the network itself.
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        let at = number(address);
        at < self.first.saturating_add(RESERVED_FIRST) || at == self.last()
    }

    /// Returns the addresses that can be given out, lowest first.
    pub fn usable(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let is_v6 = self.is_v6;
        let first = self.first.saturating_add(RESERVED_FIRST);
        (first..self.last()).map(move |at| address(at, is_v6))
    }

    /// Returns how many addresses there are between the first and the last, both left out.
    pub fn inner_count(&self) -> u128 {
        self.rest().saturating_sub(1)
    }

    /// Returns the address `index` places after the first, which is 0.
    pub fn at(&self, index: u128) -> IpAddr {
        address(self.first.saturating_add(index), self.is_v6)
    }

    fn width(&self) -> u8 {
        if self.is_v6 { 128 } else { 32 }
    }

    /// The bits that differ between its addresses, all set.
    fn rest(&self) -> u128 {
        let bits = u32::from(self.width().saturating_sub(self.length));
        1_u128.checked_shl(bits).map_or(u128::MAX, |one| one - 1)
    }

    fn last(&self) -> u128 {
        self.first | self.rest()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", address(self.first, self.is_v6), self.length)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(at: u128, is_v6: bool) -> IpAddr {
    match u32::try_from(at) {
        Ok(at) if !is_v6 => IpAddr::V4(Ipv4Addr::from(at)),
        _ => IpAddr::V6(Ipv6Addr::from(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> ResourceId {
        ResourceId::group("s", "g")
    }

    #[test]
    fn only_clean_prefixes_are_read() {
        for good in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.1.2.3/32",
            "fd00::/64",
            "::/0",
        ] {
            assert_eq!(Prefix::parse(good, &owner()).unwrap().to_string(), good);
        }
        for (bad, code) in [
            ("", "InvalidAddressPrefixFormat"),
            ("10.0.0.0", "InvalidAddressPrefixFormat"),
            ("10.0.0.0/33", "InvalidAddressPrefixFormat"),
            ("10.0.0/24", "InvalidAddressPrefixFormat"),
            ("10.0.0.0/-1", "InvalidAddressPrefixFormat"),
            ("10.0.0.1/24", "InvalidCIDRNotation"),
            ("fd00::1/64", "InvalidCIDRNotation"),
        ] {
            assert_eq!(
                Prefix::parse(bad, &owner()).unwrap_err().code,
                code,
                "{bad}"
            );
        }
        let error = Prefix::parse("10.0.0.1/24", &owner()).unwrap_err();
        assert!(error.message.ends_with("should be 10.0.0.0/24."), "{error}");
    }

    #[test]
    fn ranges_know_what_lies_in_them() {
        let wide = Prefix::read("10.0.0.0/16").unwrap();
        let inside = Prefix::read("10.0.255.0/24").unwrap();
        let beside = Prefix::read("10.1.0.0/16").unwrap();
        assert!(wide.covers(&inside) && !inside.covers(&wide) && wide.overlaps(&inside));
        assert!(!wide.overlaps(&beside) && !wide.covers(&beside));
        assert!(!wide.covers(&Prefix::read("::a00:0/120").unwrap()));
        assert!(
            Prefix::read("::/0")
                .unwrap()
                .covers(&Prefix::read("ff::/8").unwrap())
        );
        let small = Prefix::read("10.0.0.0/29").unwrap();
        let usable: Vec<String> = small.usable().map(|a| a.to_string()).collect();
        assert_eq!(usable, ["10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(Prefix::read("10.0.0.0/32").unwrap().usable().count(), 0);
    }
}
