use std::net::SocketAddrV4;

use uuid::Uuid;

use super::{Disk, Firmware, Forward, Network, Nic, Place, Protocol, Spec};

pub(crate) fn disk(place: Place) -> Disk {
    Disk {
        place,
        socket: "nbd.sock".into(),
        export: format!("{place:?}"),
        is_read_only: false,
        serial: "5f2c-0001".to_owned(),
    }
}

pub(crate) fn spec() -> Spec {
    Spec {
        id: Uuid::from_u128(0x6f1f_6a52_7469_4e79_8d79_7469_6e79_0001),
        name: "web-1".to_owned(),
        vcpus: 2,
        memory_mib: 1024,
        firmware: Firmware::Bios,
        has_tpm: false,
        disks: vec![disk(Place::Os), disk(Place::Lun(7))],
        nics: vec![Nic {
            mac: [0, 0x0d, 0x3a, 1, 2, 3],
            network: Network {
                address: [10, 0, 0, 0].into(),
                prefix: 24,
                gateway: [10, 0, 0, 1].into(),
                dns: [10, 0, 0, 3].into(),
                guest: [10, 0, 0, 4].into(),
            },
            is_restricted: true,
            forwards: vec![Forward {
                protocol: Protocol::Tcp,
                host: SocketAddrV4::new([127, 44, 0, 4].into(), 2222),
                guest_port: 22,
            }],
        }],
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_is_wrong() {
    assert!(spec().check().is_ok());
    type Change = fn(&mut Spec);
    let changes: [(Change, &str); 18] = [
        (|s| s.name = String::new(), "1 to 64 letters"),
        (|s| s.name = "a,b".to_owned(), "\"a,b\""),
        (|s| s.vcpus = 0, "processors, not 0"),
        (|s| s.memory_mib = 1, "memory, not 1"),
        (|s| s.disks.clear(), "to start from"),
        (|s| s.disks.push(disk(Place::Os)), "two disks at Os"),
        (|s| s.disks.push(disk(Place::Lun(64))), "0 to 63, not 64"),
        (|s| s.disks[0].serial = "a,b".to_owned(), "serial number"),
        (|s| s.disks[0].serial = "x".repeat(21), "serial number"),
        (|s| s.disks[0].socket = "".into(), "socket"),
        (|s| s.disks[0].export = "x".repeat(4097), "4096"),
        (|s| s.nics[0].mac = [1, 2, 3, 4, 5, 6], "01:02:03:04:05:06"),
        (|s| s.nics[0].network.prefix = 30, "prefix"),
        (
            |s| s.nics[0].network.address = [10, 0, 0, 1].into(),
            "no network",
        ),
        (
            |s| s.nics[0].network.guest = [10, 0, 1, 4].into(),
            "guest 10.0.1.4",
        ),
        (
            |s| s.nics[0].network.guest = [10, 0, 0, 1].into(),
            "guest 10.0.0.1",
        ),
        (
            |s| s.nics[0].forwards[0].host = SocketAddrV4::new([0, 0, 0, 0].into(), 22),
            "loopback",
        ),
        (
            |s| {
                let again = s.nics[0].forwards[0];
                s.nics[0].forwards.push(again);
            },
            "twice",
        ),
    ];
    for (change, says) in changes {
        let mut changed = spec();
        change(&mut changed);
        let error = changed.check().expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn low_ports_are_those_that_the_kernel_keeps() {
    let spec = spec();
    assert!(spec.needs_low_ports(2223));
    assert!(!spec.needs_low_ports(2222));
}
