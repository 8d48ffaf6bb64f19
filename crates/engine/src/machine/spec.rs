//! What a driver is told about a machine: everything it needs, in no one's row format.
//!
//! A spec is made anew from the rows for every call, so a driver keeps none of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use blocks::{Layer, LayerId};
use secrecy::SecretString;
use uuid::Uuid;

/// One machine as it should run.
#[derive(Debug)]
pub struct MachineSpec {
    /// `properties.vmId`: the machine's own, never used again, also after the name was.
    pub id: Uuid,
    /// The resource's name, for process titles and logs. Not unique.
    pub name: String,
    /// A directory that is the driver's alone, `DATA/machines/{id}`. The driver makes it (mode 0700) and
    /// removes it in [`super::Driver::remove`]. Paths of sockets in it may be too long for `bind`: the driver's care.
    pub directory: PathBuf,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How the machine boots.
    pub firmware: Firmware,
    /// The processor's architecture.
    pub architecture: Architecture,
    /// The system disk first, then data disks by lun.
    pub disks: Vec<DiskSpec>,
    /// Network cards, the primary one first.
    pub cards: Vec<CardSpec>,
    /// What a generalized image is given at its first boot; none for specialized disks, into which nothing is put.
    pub provisioning: Option<Provisioning>,
}

/// How a machine boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Generation 1.
    Bios,
    /// Generation 2 of the security type `Standard`.
    Uefi,
    /// Generation 2 of the security type `TrustedLaunch`.
    TrustedLaunch {
        /// `uefiSettings.secureBootEnabled`.
        secure_boot: bool,
        /// `uefiSettings.vTpmEnabled`.
        tpm: bool,
    },
}

/// The processor's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `x64`.
    X64,
    /// `Arm64`.
    Arm64,
}

/// One disk of a machine.
pub struct DiskSpec {
    /// Where the machine finds it.
    pub slot: DiskSlot,
    /// The disk's writable content, open. Clones share it; the driver flushes what the guest flushes.
    pub layer: Layer,
    /// The name of the content, the same at every call, for names of exports and sockets.
    pub id: LayerId,
    /// How the guest sees it.
    pub controller: Controller,
    /// Whether the guest may only read it.
    pub is_read_only: bool,
}

/// Where a machine finds a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskSlot {
    /// The disk that it boots from.
    Os,
    /// A data disk by its number, 0 to 63.
    Lun(u32),
}

/// How a guest sees a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// `SCSI`, the usual one.
    Scsi,
    /// `NVMe`.
    Nvme,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardSpec {
    /// The hardware address.
    pub mac: [u8; 6],
    /// The address from the subnet's range, if the card has one.
    pub private_address: Option<Ipv4Addr>,
    /// What reaches the guest from outside.
    pub forwards: Vec<Forward>,
}

/// A port of a public address that reaches the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The address to listen on: one of the range for public addresses.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// The port of the guest.
    pub guest_port: u16,
    /// Whether it is UDP; else TCP.
    pub is_udp: bool,
}

/// What a generalized image learns about itself. Nothing here is ever logged.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// `osProfile.computerName`.
    pub host_name: String,
    /// `osProfile.adminUsername`.
    pub user: String,
    /// `osProfile.adminPassword`.
    pub password: Option<SecretString>,
    /// `linuxConfiguration.disablePasswordAuthentication`.
    pub is_password_login_off: bool,
    /// Public keys in the format of `authorized_keys`, and the file that each goes to.
    pub keys: Vec<PublicKey>,
    /// `osProfile.customData`, base64 as it was sent.
    pub custom_data: Option<SecretString>,
    /// `properties.userData`, base64 as it was sent.
    pub user_data: Option<SecretString>,
    /// Whether the image is a Windows image.
    pub is_windows: bool,
}

/// A public key of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `/home/{user}/.ssh/authorized_keys`.
    pub path: String,
    /// `ssh-rsa AAAA… comment`.
    pub data: String,
}

impl std::fmt::Debug for DiskSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskSpec")
            .field("slot", &self.slot)
            .field("id", &self.id)
            .field("controller", &self.controller)
            .field("is_read_only", &self.is_read_only)
            .finish_non_exhaustive()
    }
}
