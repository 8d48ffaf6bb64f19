//! Provisioning discs: how a guest learns its name, its user and what it was given.
//!
//! The disc is `NoCloud`'s, labelled `cidata`
//! (<https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>): every cloud-init
//! reads it and it needs nothing else. Azure's own source also asks a server at 168.63.129.16, for
//! minutes when there is none; the disc carries the `ovf-env.xml` of that source all the same, for
//! images and agents that read the file alone.
//!
//! As on Azure, custom data is what cloud-init gets as user data, byte for byte. What Vitrine adds
//! goes into vendor data, which user data overrides.

mod iso9660;
mod ovf_env;
pub mod password;

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::error::VmError;

/// Most custom or user data, as the service has it.
pub const DATA_BYTES_MAX: usize = 64 << 10;
/// Public keys of the first user.
pub const KEYS_MAX: usize = 64;
/// Longest public key.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// The label that cloud-init looks for.
pub const LABEL: &str = "cidata";

/// What a generalized image becomes a machine by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// Another value is another machine: cloud-init does its work again.
    pub instance_id: String,
    /// The guest's name.
    pub host_name: String,
    /// The first user.
    pub user: Account,
    /// What `osProfile.customData` held, decoded.
    pub custom_data: Option<Vec<u8>>,
    /// What `userData` held, decoded: used where there is no custom data.
    pub user_data: Option<Vec<u8>>,
    /// Interfaces, in order.
    pub interfaces: Vec<Interface>,
}

/// The user that may become root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Public keys, as they stand in `authorized_keys`.
    pub keys: Vec<String>,
    /// A hash as `/etc/shadow` has it ([`password::hash`]); it may sign in by ssh with it too.
    pub password_hash: Option<String>,
}

/// A network interface of the guest; its addresses come by DHCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The address it will get, for guests that ask before it has one.
    pub address: Ipv4Addr,
}

/// Makes the disc, an ISO 9660 image of some 60 KiB. The same input gives the same bytes.
pub fn disc(provisioning: &Provisioning) -> Result<Vec<u8>, VmError> {
    check(provisioning)?;
    let given = [&provisioning.custom_data, &provisioning.user_data];
    let user_data = given
        .into_iter()
        .flatten()
        .find(|data| !data.is_empty())
        // Without any, cloud-init would warn.
        .map_or(&b"#cloud-config\n{}\n"[..], Vec::as_slice);
    let text = |value: &Value| format!("{value:#}\n").into_bytes();
    let mut vendor_data = b"#cloud-config\n".to_vec();
    vendor_data.extend(text(&vendor(&provisioning.user)));
    iso9660::image(
        LABEL,
        &[
            ("meta-data", meta(provisioning).as_bytes()),
            ("network-config", &text(&network(&provisioning.interfaces))),
            ("ovf-env.xml", ovf_env::document(provisioning).as_bytes()),
            ("user-data", user_data),
            ("vendor-data", &vendor_data),
        ],
    )
}

fn check(provisioning: &Provisioning) -> Result<(), VmError> {
    let invalid = |text: String| Err(VmError::Invalid(text));
    for data in [&provisioning.custom_data, &provisioning.user_data]
        .into_iter()
        .flatten()
    {
        if data.len() > DATA_BYTES_MAX {
            return invalid(format!(
                "custom data has at most {DATA_BYTES_MAX} bytes, not {}",
                data.len()
            ));
        }
    }
    let user = &provisioning.user;
    if user.keys.len() > KEYS_MAX || user.keys.iter().any(|key| key.len() > KEY_BYTES_MAX) {
        return invalid(format!(
            "a user has at most {KEYS_MAX} public keys of at most {KEY_BYTES_MAX} bytes"
        ));
    }
    let words = [
        &provisioning.instance_id,
        &provisioning.host_name,
        &user.name,
    ];
    let is_word = |text: &str| {
        !text.is_empty() && text.len() <= 255 && !text.chars().any(|c| c.is_control() || c == ':')
    };
    match words.into_iter().find(|text| !is_word(text)) {
        Some(text) => invalid(format!("{text:?} cannot be the name of a host or user")),
        None => Ok(()),
    }
}

/// JSON is YAML: no quoting by hand. One member a line, for guests that read it without a parser.
fn meta(provisioning: &Provisioning) -> String {
    let keys: Vec<&str> = provisioning
        .user
        .keys
        .iter()
        .map(|key| key.trim())
        .collect();
    format!(
        "instance-id: {}\nlocal-hostname: {}\npublic-keys: {}\n",
        json!(provisioning.instance_id),
        json!(provisioning.host_name),
        json!(keys)
    )
}

fn vendor(user: &Account) -> Value {
    // Merged over the distribution's default user: its groups, shell and sudo rule stay.
    let mut account = json!({
        "name": user.name,
        "gecos": user.name,
        "lock_passwd": user.password_hash.is_none(),
    });
    if let Some(hash) = &user.password_hash {
        // Also when the image has a user of that name.
        account["hashed_passwd"] = json!(hash);
    }
    json!({
        "user": account,
        "ssh_pwauth": user.password_hash.is_some(),
        "chpasswd": {"expire": false},
        "manage_etc_hosts": "localhost",
    })
}

/// Network configuration, version 2: each interface by its address, whatever the guest calls it.
fn network(interfaces: &[Interface]) -> Value {
    let interfaces = interfaces.iter().enumerate().map(|(number, interface)| {
        let mac: Vec<String> = interface.mac.iter().map(|b| format!("{b:02x}")).collect();
        let name = format!("eth{number}");
        let configuration = json!({
            "match": {"macaddress": mac.join(":")},
            "set-name": name,
            "dhcp4": true,
            // Only the first one leads out.
            "dhcp4-overrides": {"route-metric": 100 * (number + 1)},
        });
        (name, configuration)
    });
    json!({"version": 2, "ethernets": interfaces.collect::<serde_json::Map<_, _>>()})
}

#[cfg(test)]
mod tests;
