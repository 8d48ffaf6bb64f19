//! Whose program is at the other end of a connection from this machine.
//!
//! The kernel lists every TCP socket with its owner (`/proc/net/tcp`, proc(5)); the peer of a
//! loopback connection is one of them. So a token that needs no secret goes to the server's own
//! user and to root, not to everybody who has an account on the machine.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

/// Whether the peer is known to be another user's program.
pub(super) fn is_other_user(peer: SocketAddr) -> bool {
    let own = std::fs::metadata("/proc/self").map(|meta| meta.uid()).ok();
    match (owner(peer), own) {
        (Some(uid), Some(own)) => uid != own && uid != 0,
        // Nothing that could have connected is missing from the list.
        _ => false,
    }
}

/// Returns the user of the socket whose own address is `address`.
fn owner(address: SocketAddr) -> Option<u32> {
    let forms = [
        (
            "/proc/net/tcp",
            Some(address.ip().to_canonical()).filter(IpAddr::is_ipv4),
        ),
        ("/proc/net/tcp6", Some(address.ip())),
        ("/proc/net/tcp6", mapped(address.ip())),
    ];
    forms.into_iter().find_map(|(list, ip)| {
        let wanted = format!("{}:{:04X}", hex(ip?), address.port());
        let text = std::fs::read_to_string(list).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_it = fields.get(1) == Some(&wanted.as_str());
            fields.get(7).filter(|_| is_it)?.parse().ok()
        })
    })
}

fn mapped(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    }
}

/// Returns an address as the kernel lists it: words of four bytes, each in the machine's order.
fn hex(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes.chunks_exact(4).fold(String::new(), |mut out, word| {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        // Writing into a String cannot fail.
        let _ = write!(out, "{word:08X}");
        out
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_peer_of_a_connection_is_found_with_its_user() {
        let own = std::fs::metadata("/proc/self").unwrap().uid();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_server, peer) = listener.accept().unwrap();
            assert_eq!(owner(peer), Some(own), "{peer}");
            assert!(!is_other_user(peer));
        }
        assert_eq!(owner("127.0.0.1:1".parse().unwrap()), None);
    }
}
