//! From a machine's rows to what its driver is told.

use domain::virtual_machine::{Size, disks, is_specialized, secret};
use domain::{Error, Resource, Result};
use secrecy::SecretString;
use serde_json::Value;

use super::spec::{
    Architecture, Controller, DiskSlot, DiskSpec, Firmware, MachineSpec, Provisioning, PublicKey,
};
use crate::Engine;
use crate::disk_content::layer_id;

impl Engine {
    /// Returns what the driver is told; `held` are the machine's disks, the system disk first.
    pub(super) async fn machine_spec(
        &self,
        row: &Resource,
        held: &[Resource],
    ) -> Result<MachineSpec> {
        let id = super::machine_id(row)?;
        let size = Size::of(row).ok_or_else(Error::internal)?;
        let limits = self.machine_settings();
        let mut attached = Vec::new();
        for (wanted, disk) in disks(row).iter().zip(held) {
            attached.push(DiskSpec {
                slot: match wanted.lun {
                    None => DiskSlot::Os,
                    Some(lun) => DiskSlot::Lun(u32::try_from(lun).map_err(|_| Error::internal())?),
                },
                layer: self.disk_layer(disk).await?,
                id: layer_id(disk)?,
                controller: controller(row, size),
                is_read_only: false,
            });
        }
        Ok(MachineSpec {
            id,
            name: domain::virtual_machine::name(&row.id),
            directory: self.machines_directory().join(id.to_string()),
            cpus: size.cpus.min(limits.cpus_max),
            memory_mib: size.memory_mib.min(limits.memory_mib_max),
            firmware: firmware(row),
            architecture: match row.internal.get("architecture").and_then(Value::as_str) {
                Some("Arm64") => Architecture::Arm64,
                _ => Architecture::X64,
            },
            disks: attached,
            cards: self.card_specs(row).await?,
            provisioning: {
                let mut clear = row.clone();
                self.unseal_secrets(&mut clear)?;
                provisioning(&clear)
            },
        })
    }
}

fn controller(row: &Resource, size: &Size) -> Controller {
    let asked = row.properties.get("storageProfile");
    let asked = asked.and_then(|p| p.get("diskControllerType"));
    let asked = asked.and_then(Value::as_str);
    let usual = size.family.controllers.first().copied();
    match asked.or(usual) {
        Some("NVMe") => Controller::Nvme,
        _ => Controller::Scsi,
    }
}

fn firmware(row: &Resource) -> Firmware {
    let inside = |name: &str| row.internal.get(name).and_then(Value::as_str);
    let settings = row.properties.get("securityProfile");
    let settings = settings.and_then(|p| p.get("uefiSettings"));
    let is_on = |name: &str| settings.and_then(|s| s.get(name)) == Some(&Value::Bool(true));
    match (inside("generation"), inside("security")) {
        (_, Some("TrustedLaunch")) => Firmware::TrustedLaunch {
            secure_boot: is_on("secureBootEnabled"),
            tpm: is_on("vTpmEnabled"),
        },
        (Some("V2"), _) => Firmware::Uefi,
        _ => Firmware::Bios,
    }
}

/// Nothing is put into what was specialized.
fn provisioning(row: &Resource) -> Option<Provisioning> {
    let profile = row.properties.get("osProfile")?;
    if is_specialized(row) {
        return None;
    }
    let says = |name: &str| {
        let text = profile.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let linux = profile.get("linuxConfiguration");
    let keys = linux.and_then(|l| l.pointer("/ssh/publicKeys"));
    let keys = keys.and_then(Value::as_array).into_iter().flatten();
    let text = |key: &Value, name: &str| {
        let text = key.get(name).and_then(Value::as_str);
        text.unwrap_or_default().trim().to_owned()
    };
    let kept = |name: &str| secret(row, name).map(SecretString::from);
    let user_data = row.internal.get("userData").and_then(Value::as_str);
    Some(Provisioning {
        host_name: says("computerName"),
        user: says("adminUsername"),
        password: kept("adminPassword"),
        is_password_login_off: linux.and_then(|l| l.get("disablePasswordAuthentication"))
            == Some(&Value::Bool(true)),
        keys: keys
            .map(|key| PublicKey {
                path: text(key, "path"),
                data: text(key, "keyData"),
            })
            .collect(),
        custom_data: kept("customData"),
        user_data: user_data.map(SecretString::from),
        is_windows: profile.get("windowsConfiguration").is_some(),
    })
}
