//! Where distributions keep UEFI firmware.

use std::path::{Path, PathBuf};

use crate::error::VmError;
use crate::spec::Firmware;

/// The Debian package.
const PACKAGE: &str = "ovmf";

/// Code and first variables, without secure boot. First found, first used.
const PLAIN: [(&str, &str); 4] = [
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
];

/// Code that enforces secure boot, and variables with Microsoft's keys enrolled.
const SECURE: [(&str, &str); 3] = [
    (
        "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.ms.fd",
        "/usr/share/OVMF/OVMF_VARS.ms.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd",
    ),
];

/// A UEFI firmware of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFiles {
    /// Its code, the same for all machines.
    pub code: PathBuf,
    /// The variables a machine begins with; each has a copy.
    pub variables: PathBuf,
}

/// Finds the files of a firmware; `Bios` needs none.
pub(crate) fn find(firmware: Firmware) -> Result<Option<FirmwareFiles>, VmError> {
    let (places, what): (&[_], _) = match firmware {
        Firmware::Bios => return Ok(None),
        Firmware::Uefi => (&PLAIN, "UEFI firmware (OVMF)"),
        Firmware::UefiSecure => (&SECURE, "UEFI firmware with secure boot (OVMF)"),
    };
    places
        .iter()
        .find(|(code, variables)| Path::new(code).is_file() && Path::new(variables).is_file())
        .map(|(code, variables)| {
            Some(FirmwareFiles {
                code: PathBuf::from(code),
                variables: PathBuf::from(variables),
            })
        })
        .ok_or(VmError::Missing {
            what,
            package: PACKAGE,
        })
}
