//! The one validator of URLs that this server calls: read strictly, allowed by name, never inward.
//!
//! A URL is called only when the operator named its origin, and only at addresses of the public internet
//! unless the operator said that this origin is inside. Whoever calls asks [`is_public`] of every address
//! that the name stands for, connects to exactly those, and follows no redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Where a URL leads: scheme `https`, a host in lower case, a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a URL is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none that this server reads.
    #[error(
        "it must be of the form https://host[:port]/path, without user, fragment or escapes in the host"
    )]
    Form,
    /// A number instead of a name or a dotted address.
    #[error("its host is a number that only looks like an address")]
    Number,
    /// The operator did not name its origin.
    #[error("its origin is not in outbound.allow of the configuration")]
    NotAllowed,
}

/// The origins that the operator named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Origins, and whether they may be inside.
    origins: Vec<(Origin, bool)>,
}

impl Allowed {
    /// Returns nothing but these origins; `inside` may have private addresses.
    pub fn new(public: &[String], inside: &[String]) -> Result<Self, Refusal> {
        let mut origins = Vec::new();
        for (urls, is_inside) in [(public, false), (inside, true)] {
            for url in urls {
                origins.push((origin(url)?, is_inside));
            }
        }
        Ok(Self { origins })
    }

    /// Returns where an allowed URL leads, and whether that may be inside.
    pub fn check(&self, url: &str) -> Result<(Origin, bool), Refusal> {
        let wanted = origin(url)?;
        let mut known = self.origins.iter().filter(|(known, _)| *known == wanted);
        let (_, is_inside) = known.next().ok_or(Refusal::NotAllowed)?;
        Ok((wanted, *is_inside))
    }
}

/// Reads the origin of a URL.
pub fn origin(url: &str) -> Result<Origin, Refusal> {
    let is_plain = |c: char| c.is_ascii_graphic() && !"\\\"<>^`{|}#".contains(c);
    if url.len() > URL_BYTES_MAX || !url.chars().all(is_plain) {
        return Err(Refusal::Form);
    }
    let rest = url.get(..8).filter(|s| s.eq_ignore_ascii_case("https://"));
    let rest = rest.and_then(|_| url.get(8..)).ok_or(Refusal::Form)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or(Refusal::Form)?;
            host.parse::<Ipv6Addr>().map_err(|_| Refusal::Form)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(Refusal::Form)?),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (check_name(host)?, Some(port)),
            None => (check_name(authority)?, None),
        },
    };
    let port = match port {
        None => 443,
        Some(text) if text.chars().all(|c| c.is_ascii_digit()) => {
            text.parse().map_err(|_| Refusal::Form)?
        }
        Some(_) => return Err(Refusal::Form),
    };
    let host = host.to_ascii_lowercase();
    Ok(Origin {
        host: host.trim_end_matches('.').to_owned(),
        port,
    })
}

fn check_name(host: &str) -> Result<&str, Refusal> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if host.is_empty() || !host.chars().all(is_name) || host.starts_with('.') {
        return Err(Refusal::Form);
    }
    // What ends in a number is an address, in whatever disguise: only four decimal numbers are read as one.
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or_default();
    let is_number = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.chars().all(|c| c.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err(Refusal::Number);
    }
    Ok(host)
}

/// Whether an address is of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_inside = match (a, b, c) {
        // This host, private, loopback, shared by carriers, link-local.
        (0 | 10 | 127, ..)
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        | (192, 168, _) => true,
        // Protocol assignments, documentation, benchmarks, 6to4 relays.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        // Multicast, reserved, broadcast.
        (224.., ..) => true,
        _ => false,
    };
    !is_inside
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // ::ffff:a.b.c.d and ::a.b.c.d, ::1 and :: among them.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => segments[5] == 0xffff && embedded(high, low),
        // NAT64 and 6to4 lead to the address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, ..] => false,
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..] => false,
        // Global unicast is 2000::/3; the rest is local, multicast or nobody's.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_in_one_form() {
        let read = |host: &str, port| {
            Ok(Origin {
                host: host.into(),
                port,
            })
        };
        for (url, expected) in [
            ("https://login.example", read("login.example", 443)),
            (
                "HTTPS://Login.Example.:8443/keys?x=@",
                read("login.example", 8443),
            ),
            ("https://192.0.2.1/", read("192.0.2.1", 443)),
            ("https://[2001:db8::1]:1/x", read("2001:db8::1", 1)),
            ("http://login.example", Err(Refusal::Form)),
            ("file:///etc/passwd", Err(Refusal::Form)),
            ("https://", Err(Refusal::Form)),
            ("https:///x", Err(Refusal::Form)),
            ("https://user@login.example", Err(Refusal::Form)),
            ("https://login.example@evil.example", Err(Refusal::Form)),
            ("https://login.example\\@evil.example", Err(Refusal::Form)),
            ("https://login.example#@evil.example", Err(Refusal::Form)),
            ("https://login%2eexample/", Err(Refusal::Form)),
            ("https://lоgin.example/", Err(Refusal::Form)),
            ("https://login.example:/", Err(Refusal::Form)),
            ("https://login.example:+1/", Err(Refusal::Form)),
            ("https://login.example:99999/", Err(Refusal::Form)),
            ("https://login.example /", Err(Refusal::Form)),
            ("https://[::1", Err(Refusal::Form)),
            ("https://[::1]x", Err(Refusal::Form)),
            ("https://2130706433/", Err(Refusal::Number)),
            ("https://0x7f000001/", Err(Refusal::Number)),
            ("https://017700000001/", Err(Refusal::Number)),
            ("https://127.1/", Err(Refusal::Number)),
            ("https://127.0.0.0x1/", Err(Refusal::Number)),
            ("https://0177.0.0.1/", Err(Refusal::Number)),
        ] {
            assert_eq!(origin(url), expected, "{url}");
        }
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for (address, expected) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("2606:2800:220:1::1", true),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::8.8.8.8", true),
            ("2002:808:808::1", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b:1::1", false),
            ("2002:7f00:1::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn only_what_the_operator_named_is_called() {
        let text = |urls: &[&str]| urls.iter().map(|u| (*u).to_owned()).collect::<Vec<_>>();
        let allowed = Allowed::new(
            &text(&["https://login.example"]),
            &text(&["https://id.corp:8443/"]),
        )
        .unwrap();
        for (url, expected) in [
            ("https://LOGIN.example/keys", Ok(false)),
            ("https://login.example:443/", Ok(false)),
            ("https://id.corp:8443/x", Ok(true)),
            ("https://login.example:444/", Err(Refusal::NotAllowed)),
            ("https://id.corp/", Err(Refusal::NotAllowed)),
            ("https://login.example.evil/", Err(Refusal::NotAllowed)),
            ("https://sub.login.example/", Err(Refusal::NotAllowed)),
            ("http://login.example/", Err(Refusal::Form)),
        ] {
            assert_eq!(
                allowed.check(url).map(|(_, is_inside)| is_inside),
                expected,
                "{url}"
            );
        }
        assert!(Allowed::new(&text(&["login.example"]), &[]).is_err());
    }
}
