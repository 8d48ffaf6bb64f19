//! Ids inside bodies: which there are, and which right naming each of them needs.
//!
//! Every text that is the id of a resource counts, wherever it stands and whatever its type, so a new
//! kind of resource is covered before anybody thinks of it. What differs from reading – joining a
//! subnet, using an identity, writing an attached disk – stands in one table.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scope::covers;
use crate::{Kind, ResourceId};

/// Any written type, any member.
const ANY: &str = "";

/// What naming an id needs when it is not `read`: the type that is written, the end of the path of the member,
/// the type that is named, the verb. The first row that fits counts.
const RIGHTS: [(&str, &str, &str, &str); 15] = [
    // A machine writes the disks that it has.
    (
        "Microsoft.Compute/virtualMachines",
        "managedDisk.id",
        "Microsoft.Compute/disks",
        "write",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/virtualNetworks/subnets",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/networkInterfaces",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/networkSecurityGroups",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/publicIPAddresses",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/publicIPPrefixes",
        "join/action",
    ),
    (ANY, ANY, "Microsoft.Network/natGateways", "join/action"),
    (ANY, ANY, "Microsoft.Network/routeTables", "join/action"),
    (
        ANY,
        ANY,
        "Microsoft.Network/applicationSecurityGroups",
        "joinIpConfiguration/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/loadBalancers/backendAddressPools",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/loadBalancers/inboundNatPools",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/loadBalancers/inboundNatRules",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/loadBalancers/probes",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.Network/applicationGateways/backendAddressPools",
        "join/action",
    ),
    (
        ANY,
        ANY,
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "assign/action",
    ),
];

/// Members that name nothing: what people write for themselves, and what clients send back of an answer.
const SILENT: [&str; 5] = [
    "tags",
    "properties.description",
    "managedBy",
    "managedByExtended",
    "properties.virtualMachine",
];

/// An id in a body, and the action on it that the caller must be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The resource.
    pub id: ResourceId,
    /// The action, `Microsoft.Compute/disks/read`.
    pub action: String,
}

/// Returns the ids in the body of a write to `written`, each once for each action.
///
/// Ids of `written` itself and of what is below it are covered by the right to write it.
pub fn links(written: &ResourceId, body: &Value) -> Vec<Link> {
    let mut found = Found {
        own: written.key(),
        written: written.type_name(),
        links: BTreeMap::new(),
    };
    found.walk(body, "");
    found.links.into_values().collect()
}

struct Found {
    own: String,
    written: String,
    links: BTreeMap<(String, String), Link>,
}

impl Found {
    fn walk(&mut self, value: &Value, path: &str) {
        if SILENT
            .iter()
            .any(|silent| silent.eq_ignore_ascii_case(path))
        {
            return;
        }
        match value {
            Value::String(text) => self.take(text, path),
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, path)),
            Value::Object(members) => {
                for (name, member) in members {
                    // Identities are named by members: `userAssignedIdentities: { "{id}": {} }`.
                    self.take(name, path);
                    let below = match path {
                        "" => name.clone(),
                        _ => format!("{path}.{name}"),
                    };
                    self.walk(member, &below);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn take(&mut self, text: &str, path: &str) {
        let Ok(id) = ResourceId::parse(text.trim()) else {
            return;
        };
        let key = id.key();
        if covers(&self.own, &key) {
            return;
        }
        let type_name = match id.kind() {
            Some(Kind::ResourceGroup) => {
                "Microsoft.Resources/subscriptions/resourceGroups".to_owned()
            }
            _ => id.type_name(),
        };
        let action = format!("{type_name}/{}", self.verb(path, &type_name));
        let link = Link {
            id,
            action: action.clone(),
        };
        self.links.insert((key, action), link);
    }

    fn verb(&self, path: &str, type_name: &str) -> &'static str {
        let is = |wanted: &str, held: &str| wanted == ANY || wanted.eq_ignore_ascii_case(held);
        let ends = |member: &str| {
            let start = path.len().checked_sub(member.len());
            start
                .and_then(|start| path.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(member))
        };
        RIGHTS
            .iter()
            .find(|(written, member, linked, _)| {
                is(written, &self.written) && ends(member) && is(linked, type_name)
            })
            .map_or("read", |(.., verb)| verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GROUP: &str = "/subscriptions/s/resourceGroups/g/providers";

    fn actions(written: &str, body: &Value) -> Vec<String> {
        let written = ResourceId::parse(&format!("{GROUP}/{written}")).unwrap();
        links(&written, body)
            .into_iter()
            .map(|link| link.action)
            .collect()
    }

    #[test]
    fn naming_a_resource_needs_a_right_on_it() {
        const VM: &str = "Microsoft.Compute/virtualMachines/m";
        const NIC: &str = "Microsoft.Network/networkInterfaces/n";
        const DISK: &str = "Microsoft.Compute/disks/d";
        const VERSION: &str = "Microsoft.Compute/galleries/x/images/d/versions/1.0.0";
        let at = |local: &str| json!({ "id": format!("{GROUP}/{local}") });
        for (written, member, linked, action) in [
            (
                VERSION,
                "source",
                "Microsoft.Compute/images/i",
                "Microsoft.Compute/images/read",
            ),
            (
                VERSION,
                "source",
                VM,
                "Microsoft.Compute/virtualMachines/read",
            ),
            (
                VERSION,
                "source",
                "Microsoft.Compute/galleries/y/images/e/versions/1.0.0",
                "Microsoft.Compute/galleries/images/versions/read",
            ),
            (
                VERSION,
                "diskEncryptionSet",
                "Microsoft.Compute/diskEncryptionSets/s",
                "Microsoft.Compute/diskEncryptionSets/read",
            ),
            (
                DISK,
                "galleryImageReference",
                "Microsoft.Compute/galleries/y/images/e",
                "Microsoft.Compute/galleries/images/read",
            ),
            (
                DISK,
                "source",
                "Microsoft.Compute/snapshots/s",
                "Microsoft.Compute/snapshots/read",
            ),
            (
                VM,
                "imageReference",
                VERSION,
                "Microsoft.Compute/galleries/images/versions/read",
            ),
            (VM, "managedDisk", DISK, "Microsoft.Compute/disks/write"),
            (
                "Microsoft.Compute/images/i",
                "managedDisk",
                DISK,
                "Microsoft.Compute/disks/read",
            ),
            (
                VM,
                "networkInterfaces",
                NIC,
                "Microsoft.Network/networkInterfaces/join/action",
            ),
            (
                NIC,
                "subnet",
                "Microsoft.Network/virtualNetworks/v/subnets/s",
                "Microsoft.Network/virtualNetworks/subnets/join/action",
            ),
            (
                NIC,
                "networkSecurityGroup",
                "Microsoft.Network/networkSecurityGroups/s",
                "Microsoft.Network/networkSecurityGroups/join/action",
            ),
            (
                NIC,
                "publicIPAddress",
                "microsoft.network/PUBLICIPADDRESSES/p",
                "Microsoft.Network/publicIPAddresses/join/action",
            ),
            // A kind that nobody has built yet.
            (
                VM,
                "thing",
                "Microsoft.Future/things/t",
                "Microsoft.Future/things/read",
            ),
        ] {
            let body = json!({ "properties": { "deep": [{ member: at(linked) }] } });
            assert_eq!(
                actions(written, &body),
                [action],
                "{written} {member} {linked}"
            );
        }
    }

    #[test]
    fn ids_are_found_wherever_they_stand_and_however_they_are_written() {
        let own = "Microsoft.Compute/galleries/x/images/d/versions/1.0.0";
        let other = "/SUBSCRIPTIONS/t//resourcegroups/g/providers/microsoft.compute/DISKS/d";
        let identity = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/i");
        let body = json!({
            "id": format!("{GROUP}/{own}").to_uppercase(),
            "deep": [{ "source": { "id": other } }, { "again": format!(" {} ", other.to_lowercase()) }],
            "tags": { "note": other },
            "managedBy": other,
            "properties": { "description": other },
            "identity": { "userAssignedIdentities": { identity.as_str(): {} } },
            "group": "/subscriptions/t/resourceGroups/g",
            "note": "/subscriptions/s",
            "url": "https://h/subscriptions/t/resourceGroups/g/providers/Microsoft.Compute/disks/d",
        });
        let written = ResourceId::parse(&format!("{GROUP}/{own}")).unwrap();
        let found: Vec<(String, String)> = links(&written, &body)
            .into_iter()
            .map(|link| (link.id.key(), link.action))
            .collect();
        let expected = [
            (
                identity.to_lowercase(),
                "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action".to_owned(),
            ),
            (
                "/subscriptions/t/resourcegroups/g".to_owned(),
                "Microsoft.Resources/subscriptions/resourceGroups/read".to_owned(),
            ),
            (
                "/subscriptions/t/resourcegroups/g/providers/microsoft.compute/disks/d".to_owned(),
                "Microsoft.Compute/disks/read".to_owned(),
            ),
        ];
        assert_eq!(found, expected);
    }
}
