//! Resource providers: which types are served where, at which api-versions. Source: `WIRE.md` 4.1.

use domain::Regions;
use serde_json::{Value, json};

use crate::versions;

/// A type that a provider serves, its local name and whether it lives in a region.
struct Served {
    namespace: &'static str,
    name: &'static str,
    is_regional: bool,
}

const SERVED: &[Served] = &[
    regional("Microsoft.Compute", "diskEncryptionSets"),
    regional("Microsoft.Compute", "disks"),
    regional("Microsoft.Compute", "galleries"),
    regional("Microsoft.Compute", "galleries/applications"),
    regional("Microsoft.Compute", "galleries/applications/versions"),
    regional("Microsoft.Compute", "galleries/images"),
    regional("Microsoft.Compute", "galleries/images/versions"),
    regional("Microsoft.Compute", "galleries/inVMAccessControlProfiles"),
    regional(
        "Microsoft.Compute",
        "galleries/inVMAccessControlProfiles/versions",
    ),
    regional("Microsoft.Compute", "galleries/scripts"),
    regional("Microsoft.Compute", "galleries/scripts/versions"),
    regional("Microsoft.Compute", "images"),
    global("Microsoft.Compute", "locations"),
    regional("Microsoft.Compute", "locations/capsOperations"),
    regional("Microsoft.Compute", "locations/DiskOperations"),
    regional("Microsoft.Compute", "locations/operations"),
    regional("Microsoft.Compute", "skus"),
    regional("Microsoft.Compute", "snapshots"),
    regional("Microsoft.Network", "loadBalancers"),
    global("Microsoft.Network", "locations"),
    regional("Microsoft.Network", "locations/operations"),
    regional("Microsoft.Network", "networkInterfaces"),
    regional("Microsoft.Network", "networkSecurityGroups"),
    regional("Microsoft.Network", "publicIPAddresses"),
    regional("Microsoft.Network", "virtualNetworks"),
    regional("Microsoft.Compute", "virtualMachines"),
    regional("Microsoft.Compute", "virtualMachineScaleSets"),
    regional(
        "Microsoft.Compute",
        "virtualMachineScaleSets/virtualMachines",
    ),
    regional(
        "Microsoft.Compute",
        "virtualMachineScaleSets/virtualMachines/networkInterfaces",
    ),
    regional(
        "Microsoft.Compute",
        "virtualMachineScaleSets/virtualMachines/networkInterfaces/ipConfigurations/publicIPAddresses",
    ),
    global("Microsoft.Storage", "checkNameAvailability"),
    global("Microsoft.Storage", "operations"),
    regional("Microsoft.Storage", "storageAccounts"),
    global("Microsoft.Resources", "deployments"),
    global("Microsoft.Resources", "deployments/operations"),
    global("Microsoft.Resources", "locations"),
    global("Microsoft.Resources", "providers"),
    global("Microsoft.Resources", "resourceGroups"),
    global("Microsoft.Resources", "resources"),
    global("Microsoft.Resources", "subscriptions"),
    global("Microsoft.Resources", "subscriptions/resourceGroups"),
    global("Microsoft.Resources", "tags"),
    global("Microsoft.Resources", "tenants"),
    global("Microsoft.Authorization", "locks"),
    global("Microsoft.Authorization", "roleAssignments"),
    global("Microsoft.Authorization", "roleDefinitions"),
];

const fn regional(namespace: &'static str, name: &'static str) -> Served {
    Served {
        namespace,
        name,
        is_regional: true,
    }
}

const fn global(namespace: &'static str, name: &'static str) -> Served {
    Served {
        namespace,
        name,
        is_regional: false,
    }
}

/// The namespaces that are served.
pub const NAMESPACES: [&str; 5] = [
    "Microsoft.Authorization",
    "Microsoft.Compute",
    "Microsoft.Network",
    "Microsoft.Resources",
    "Microsoft.Storage",
];

/// Returns every provider as `GET …/providers` lists them.
pub fn all(subscription: Option<&str>, regions: &Regions) -> Vec<Value> {
    NAMESPACES
        .iter()
        .filter_map(|namespace| one(namespace, subscription, regions))
        .collect()
}

/// Returns a provider as `GET …/providers/{namespace}` shows it, of a subscription or of the
/// tenant; `None` for a namespace that is not served.
pub fn one(namespace: &str, subscription: Option<&str>, regions: &Regions) -> Option<Value> {
    let namespace = NAMESPACES
        .into_iter()
        .find(|served| served.eq_ignore_ascii_case(namespace))?;
    let types = SERVED.iter().filter(|served| served.namespace == namespace);
    let types: Vec<Value> = types.map(|served| resource_type(served, regions)).collect();
    Some(match subscription {
        Some(subscription) => json!({
            "id": format!("/subscriptions/{subscription}/providers/{namespace}"),
            "namespace": namespace,
            "registrationPolicy": "RegistrationFree",
            "registrationState": "Registered",
            "resourceTypes": types,
        }),
        None => json!({
            "id": format!("/providers/{namespace}"),
            "namespace": namespace,
            "resourceTypes": types,
        }),
    })
}

fn resource_type(served: &Served, regions: &Regions) -> Value {
    let places: Vec<&str> = match served.is_regional {
        true => regions
            .iter()
            .map(|region| region.display_name.as_str())
            .collect(),
        false => Vec::new(),
    };
    let type_name = format!("{}/{}", served.namespace, served.name);
    let newest_first: Vec<&str> = versions::supported_type(&type_name)
        .iter()
        .rev()
        .copied()
        .collect();
    let is_tracked = domain::Kind::from_type(&type_name).is_some();
    json!({
        "resourceType": served.name,
        "locations": places,
        "apiVersions": newest_first,
        "capabilities": if is_tracked { "SupportsTags, SupportsLocation" } else { "None" },
    })
}

#[cfg(test)]
mod tests {
    use domain::Region;

    use super::*;

    fn regions() -> Regions {
        let region = |name: &str, display: &str| Region {
            name: name.into(),
            display_name: display.into(),
            has_zones: false,
        };
        Regions::new(vec![
            region("eastus2", "East US 2"),
            region("westus", "West US"),
        ])
    }

    #[test]
    fn a_provider_lists_its_types_newest_version_first() {
        let provider = one("microsoft.compute", Some("S"), &regions()).unwrap();
        assert_eq!(provider["namespace"], "Microsoft.Compute");
        let types = provider["resourceTypes"].as_array().unwrap();
        let galleries = types
            .iter()
            .find(|t| t["resourceType"] == "galleries")
            .unwrap();
        assert_eq!(galleries["apiVersions"][0], "2026-03-03");
        assert_eq!(galleries["locations"], json!(["East US 2", "West US"]));
        assert!(
            types
                .iter()
                .all(|t| !t["apiVersions"].as_array().unwrap().is_empty())
        );
        assert_eq!(one("Microsoft.Sql", None, &regions()), None);
    }

    #[test]
    fn every_namespace_serves_types_and_every_kind_is_served() {
        assert_eq!(all(None, &regions()).len(), NAMESPACES.len());
        for namespace in NAMESPACES {
            assert!(SERVED.iter().any(|served| served.namespace == namespace));
        }
        for kind in domain::Kind::ALL {
            let is_served = SERVED
                .iter()
                .any(|s| format!("{}/{}", s.namespace, s.name) == kind.type_name());
            assert!(is_served, "{kind:?}");
        }
    }
}
