//! From what the engine says about a machine to what an emulator is started with. Pure but for salt.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Result};
use secrecy::{ExposeSecret as _, SecretString};
use vm::seed;

use super::disks::{SOCKET, export};
use crate::machine::spec::{
    Architecture, CardSpec, DiskSlot, DiskSpec, Firmware, MachineSpec, Provisioning,
};

/// A card without an address has this one, as QEMU's own network has it.
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Longest name in a process list.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn machine(spec: &MachineSpec, has_egress: bool) -> Result<vm::Spec> {
    if spec.architecture != Architecture::X64 {
        return Err(Error::conflict(
            "OperationNotAllowed",
            "This server runs machines of the architecture x64 alone.",
        ));
    }
    let (firmware, has_tpm) = match spec.firmware {
        Firmware::Bios => (vm::Firmware::Bios, false),
        Firmware::Uefi => (vm::Firmware::Uefi, false),
        Firmware::TrustedLaunch {
            secure_boot: true,
            tpm,
        } => (vm::Firmware::UefiSecure, tpm),
        Firmware::TrustedLaunch {
            secure_boot: false,
            tpm,
        } => (vm::Firmware::Uefi, tpm),
    };
    let vcpus = u16::try_from(spec.cpus).map_err(|_| Error::internal())?;
    let memory_mib = u32::try_from(spec.memory_mib).map_err(|_| Error::internal())?;
    Ok(vm::Spec {
        id: spec.id,
        name: word(&spec.name),
        vcpus,
        memory_mib,
        firmware,
        has_tpm,
        disks: spec.disks.iter().map(disk).collect::<Result<_>>()?,
        nics: spec
            .cards
            .iter()
            .map(|card| nic(card, has_egress))
            .collect::<Result<_>>()?,
    })
}

/// Leaves out what a process list may not have.
fn word(name: &str) -> String {
    let is_word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let kept: String = name.chars().filter(is_word).take(NAME_CHARS_MAX).collect();
    if kept.is_empty() {
        "machine".to_owned()
    } else {
        kept
    }
}

pub(super) fn place(slot: DiskSlot) -> Result<vm::Place> {
    match slot {
        DiskSlot::Os => Ok(vm::Place::Os),
        DiskSlot::Lun(lun) => match u8::try_from(lun) {
            Ok(lun) => Ok(vm::Place::Lun(lun)),
            Err(_) => Err(Error::bad_request(format!("LUN {lun} is not below 64."))),
        },
    }
}

/// Both controllers are virtio's SCSI here: guests find data disks by their number.
pub(super) fn disk(disk: &DiskSpec) -> Result<vm::Disk> {
    let export = export(disk);
    let digits = export.chars().filter(char::is_ascii_alphanumeric);
    Ok(vm::Disk {
        place: place(disk.slot)?,
        socket: SOCKET.into(),
        serial: digits.take(20).collect(),
        export,
        is_read_only: disk.is_read_only,
    })
}

fn nic(card: &CardSpec, has_egress: bool) -> Result<vm::Nic> {
    let mut forwards = Vec::new();
    for forward in &card.forwards {
        let IpAddr::V4(address) = forward.address else {
            return Err(Error::conflict(
                "OperationNotAllowed",
                "Machines of this server are reached by IPv4 addresses alone.",
            ));
        };
        forwards.push(vm::Forward {
            protocol: match forward.is_udp {
                true => vm::Protocol::Udp,
                false => vm::Protocol::Tcp,
            },
            host: SocketAddrV4::new(address, forward.port),
            guest_port: forward.guest_port,
        });
    }
    Ok(vm::Nic {
        mac: card.mac,
        network: network(card.private_address.unwrap_or(GUEST)),
        is_restricted: !has_egress,
        forwards,
    })
}

/// Returns a network around a guest's address: its last byte's 256, or more when that is an end.
fn network(guest: Ipv4Addr) -> vm::Network {
    let bits = u32::from(guest);
    let is_end = |prefix: u8| {
        let host = u32::MAX >> prefix;
        bits & host == 0 || bits & host == host
    };
    let prefix = [24, 16, 8]
        .into_iter()
        .find(|prefix| !is_end(*prefix))
        .unwrap_or(8);
    let first = bits & !(u32::MAX >> prefix);
    // As the service has them: the gateway first, then the name server.
    let mut free = (1..=4)
        .map(|at| first + at)
        .filter(|at| *at != bits)
        .map(Ipv4Addr::from);
    vm::Network {
        address: first.into(),
        prefix,
        gateway: free.next().unwrap_or(guest),
        dns: free.next().unwrap_or(guest),
        guest,
    }
}

/// Makes the provisioning disc; none for what was specialized.
pub(super) fn seed(spec: &MachineSpec) -> Result<Option<Vec<u8>>> {
    let Some(told) = &spec.provisioning else {
        return Ok(None);
    };
    let interfaces = spec.cards.iter().map(|card| seed::Interface {
        mac: card.mac,
        address: card.private_address.unwrap_or(GUEST),
    });
    let disc = seed::disc(&seed::Provisioning {
        instance_id: spec.id.to_string(),
        host_name: told.host_name.clone(),
        user: seed::Account {
            name: told.user.clone(),
            keys: keys(told),
            password_hash: password_hash(told)?,
        },
        custom_data: decoded(told.custom_data.as_ref())?,
        user_data: decoded(told.user_data.as_ref())?,
        interfaces: interfaces.collect(),
    });
    disc.map(Some).map_err(|error| {
        Error::invalid_parameter(
            "osProfile",
            format!("The machine cannot be set up: {error}."),
        )
    })
}

fn keys(told: &Provisioning) -> Vec<String> {
    let keys: BTreeSet<&str> = told.keys.iter().map(|key| key.data.trim()).collect();
    keys.into_iter()
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect()
}

fn password_hash(told: &Provisioning) -> Result<Option<String>> {
    let password = told
        .password
        .as_ref()
        .filter(|_| !told.is_password_login_off);
    let Some(password) = password else {
        return Ok(None);
    };
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Error::internal()
    })?;
    Ok(Some(seed::password::hash(password.expose_secret(), random)))
}

fn decoded(data: Option<&SecretString>) -> Result<Option<Vec<u8>>> {
    let decode = |data: &SecretString| {
        let text = data.expose_secret();
        STANDARD.decode(text.trim()).map_err(|_| {
            Error::invalid_parameter(
                "osProfile.customData",
                "Custom data in OSProfile must be in Base64 encoding.",
            )
        })
    };
    data.map(decode).transpose()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{network, word};

    #[test]
    fn every_address_has_a_network_with_a_gateway_and_a_name_server_beside_it() {
        for (guest, first, prefix, gateway, dns) in [
            ("10.0.0.4", "10.0.0.0", 24, "10.0.0.1", "10.0.0.2"),
            ("10.0.7.1", "10.0.7.0", 24, "10.0.7.2", "10.0.7.3"),
            ("10.0.7.2", "10.0.7.0", 24, "10.0.7.1", "10.0.7.3"),
            ("10.0.7.0", "10.0.0.0", 16, "10.0.0.1", "10.0.0.2"),
            ("10.0.7.255", "10.0.0.0", 16, "10.0.0.1", "10.0.0.2"),
            ("10.1.255.255", "10.0.0.0", 8, "10.0.0.1", "10.0.0.2"),
        ] {
            let address = |text: &str| text.parse::<Ipv4Addr>().expect("an address");
            let made = network(address(guest));
            assert_eq!(made.address, address(first), "{guest}");
            assert_eq!(made.prefix, prefix, "{guest}");
            assert_eq!(
                (made.gateway, made.dns),
                (address(gateway), address(dns)),
                "{guest}"
            );
        }
    }

    #[test]
    fn a_process_has_a_name_whatever_its_machine_is_called() {
        for (name, shown) in [("web-1", "web-1"), ("a,b c", "abc"), ("\u{fc}", "machine")] {
            assert_eq!(word(name), shown, "{name}");
        }
        assert_eq!(word(&"x".repeat(100)).len(), 64);
    }
}
