//! What a machine is made of.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::VmError;

/// Highest logical unit number of a data disk.
pub const LUN_MAX: u8 = 63;
/// Network interfaces of one machine.
pub const NICS_MAX: usize = 8;
/// Forwarded ports of one interface.
pub const FORWARDS_MAX: usize = 64;
/// Processors of one machine (what the chipset takes without an interrupt remapper).
pub const VCPUS_MAX: u16 = 240;
/// Least memory of a machine.
pub const MEMORY_MIB_MIN: u32 = 64;
/// Most memory of a machine.
pub const MEMORY_MIB_MAX: u32 = 4 << 20;
/// Longest serial number of a disk (virtio-blk).
pub const SERIAL_CHARS_MAX: usize = 20;
/// Longest name of an export (NBD).
pub const EXPORT_BYTES_MAX: usize = 4096;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its id; the guest sees it as the system's UUID.
    pub id: Uuid,
    /// A word for process lists: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Processors.
    pub vcpus: u16,
    /// Memory.
    pub memory_mib: u32,
    /// What the guest is started by.
    pub firmware: Firmware,
    /// Whether it has a software TPM 2.0; its state lives as long as the directory.
    pub has_tpm: bool,
    /// Its disks, exactly one of them at [`Place::Os`].
    pub disks: Vec<Disk>,
    /// Its network interfaces.
    pub nics: Vec<Nic>,
}

/// What a guest is started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    /// `SeaBIOS` (generation 1).
    Bios,
    /// OVMF (generation 2).
    Uefi,
    /// OVMF that starts only what Microsoft's keys have signed.
    UefiSecure,
}

/// Where the guest sees a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// The disk it starts from (virtio-blk, `/dev/vda`).
    Os,
    /// A data disk: logical unit of the SCSI controller, target 0.
    Lun(u8),
}

/// A disk, raw, behind an NBD server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where the guest sees it.
    pub place: Place,
    /// The server's unix socket; relative to the machine's `run` directory, or absolute.
    pub socket: PathBuf,
    /// The name of its export.
    pub export: String,
    /// Whether the guest may only read it.
    pub is_read_only: bool,
    /// What the guest sees as its serial number: letters, digits, `-`.
    pub serial: String,
}

/// A network interface on a network of its own, with the host's user-mode gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Addresses.
    pub network: Network,
    /// Whether the guest reaches nothing; forwarded ports work all the same.
    pub is_restricted: bool,
    /// Ports of this host that lead to the guest.
    pub forwards: Vec<Forward>,
}

/// The addresses that a guest gets from its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// First address of the network.
    pub address: Ipv4Addr,
    /// Length of its prefix, 8 to 29.
    pub prefix: u8,
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// The name server.
    pub dns: Ipv4Addr,
    /// The guest.
    pub guest: Ipv4Addr,
}

/// What kind of packets are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of this host that leads to a port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where this host listens: a loopback address.
    pub host: SocketAddrV4,
    /// The guest's port.
    pub guest_port: u16,
}

impl Spec {
    /// Refuses what cannot be, before anything is made of it.
    pub fn check(&self) -> Result<(), VmError> {
        let invalid = |text: String| Err(VmError::Invalid(text));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(is_word) {
            return invalid(format!(
                "the name of a process is 1 to 64 letters, digits or '._-', not {:?}",
                self.name
            ));
        }
        if !(1..=VCPUS_MAX).contains(&self.vcpus) {
            return invalid(format!(
                "a machine has 1 to {VCPUS_MAX} processors, not {}",
                self.vcpus
            ));
        }
        if !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(&self.memory_mib) {
            return invalid(format!(
                "a machine has {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX} MiB of memory, not {}",
                self.memory_mib
            ));
        }
        let mut places = BTreeSet::new();
        for disk in &self.disks {
            disk.check()?;
            if !places.insert(disk.place) {
                return invalid(format!("two disks at {:?}", disk.place));
            }
        }
        if !places.contains(&Place::Os) {
            return invalid("a machine has a disk to start from".to_owned());
        }
        if self.nics.len() > NICS_MAX {
            return invalid(format!("a machine has at most {NICS_MAX} interfaces"));
        }
        let mut hosts = BTreeSet::new();
        for nic in &self.nics {
            nic.check()?;
            for forward in &nic.forwards {
                if !hosts.insert((forward.protocol, forward.host)) {
                    return invalid(format!("{} is forwarded twice", forward.host));
                }
            }
        }
        Ok(())
    }

    /// Whether a forwarded port is below `first`, the first that any user may listen on.
    pub(crate) fn needs_low_ports(&self, first: u16) -> bool {
        let mut forwards = self.nics.iter().flat_map(|nic| &nic.forwards);
        forwards.any(|forward| forward.host.port() < first)
    }
}

impl Disk {
    pub(crate) fn check(&self) -> Result<(), VmError> {
        let is_serial = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let fault = match self.place {
            Place::Lun(lun) if lun > LUN_MAX => Some(format!("a LUN is 0 to {LUN_MAX}, not {lun}")),
            _ if self.serial.len() > SERIAL_CHARS_MAX || !self.serial.chars().all(is_serial) => {
                Some(format!(
                    "a serial number has at most {SERIAL_CHARS_MAX} letters, digits or '-', not {:?}",
                    self.serial
                ))
            }
            _ if self.export.len() > EXPORT_BYTES_MAX => Some(format!(
                "the name of an export has at most {EXPORT_BYTES_MAX} bytes"
            )),
            _ if self.socket.to_str().is_none_or(str::is_empty) => {
                Some("the path of a socket is text".to_owned())
            }
            _ => None,
        };
        fault.map_or(Ok(()), |text| Err(VmError::Invalid(text)))
    }
}

impl Nic {
    fn check(&self) -> Result<(), VmError> {
        let invalid = |text: String| Err(VmError::Invalid(text));
        if self.mac[0] & 1 != 0 || self.mac == [0; 6] {
            return invalid(format!(
                "{} is no address of one interface",
                self.mac_text()
            ));
        }
        let Network {
            address,
            prefix,
            gateway,
            dns,
            guest,
        } = self.network;
        if !(8..=29).contains(&prefix) {
            return invalid(format!("a network has a prefix of 8 to 29, not {prefix}"));
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        let first = u32::from(address);
        if first & !mask != 0 {
            return invalid(format!("{address}/{prefix} is no network"));
        }
        let mut taken = BTreeSet::from([first, first | !mask]);
        for (what, given) in [("gateway", gateway), ("dns", dns), ("guest", guest)] {
            let given_bits = u32::from(given);
            if given_bits & mask != first || !taken.insert(given_bits) {
                return invalid(format!(
                    "{what} {given} is not a free address of {address}/{prefix}"
                ));
            }
        }
        if self.forwards.len() > FORWARDS_MAX {
            return invalid(format!(
                "an interface forwards at most {FORWARDS_MAX} ports"
            ));
        }
        for forward in &self.forwards {
            if !forward.host.ip().is_loopback() {
                return invalid(format!("{} is not on the loopback", forward.host));
            }
            if forward.host.port() == 0 || forward.guest_port == 0 {
                return invalid("port 0 cannot be forwarded".to_owned());
            }
        }
        Ok(())
    }

    /// Returns the hardware address as people write it.
    pub(crate) fn mac_text(&self) -> String {
        let parts: Vec<String> = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.join(":")
    }
}

#[cfg(test)]
pub(crate) mod tests;
