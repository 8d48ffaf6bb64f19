//! Tenants, subscriptions and their regions: what a client asks before it asks for resources.
//! Source: `WIRE.md` 2.

use domain::{Region, Regions};
use serde_json::{Value, json};

/// Returns a tenant as `GET /tenants` lists it.
pub fn tenant(id: &str, name: &str, domain: &str) -> Value {
    json!({
        "id": format!("/tenants/{id}"),
        "tenantId": id,
        "displayName": name,
        "defaultDomain": domain,
        "tenantCategory": "Home",
        "domains": [domain],
    })
}

/// Returns a subscription as `GET /subscriptions[/{id}]` shows it.
pub fn subscription(id: &str, tenant: &str, name: &str, state: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{id}"),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": tenant,
        "displayName": name,
        "state": state,
    })
}

/// Returns the items of `GET /subscriptions/{id}/locations`.
pub fn locations(subscription: &str, regions: &Regions) -> Vec<Value> {
    regions
        .iter()
        .map(|region| location(subscription, region))
        .collect()
}

fn location(subscription: &str, region: &Region) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}/locations/{}", region.name),
        "name": region.name,
        "type": "Region",
        "displayName": region.display_name,
        "regionalDisplayName": region.display_name,
        "metadata": { "regionType": "Physical", "regionCategory": "Recommended", "pairedRegion": [] },
    })
}

#[cfg(test)]
mod tests {
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
    fn clients_find_the_members_they_read() {
        let tenant = tenant("T", "Home", "home.test");
        assert_eq!(
            (&tenant["tenantId"], &tenant["defaultDomain"]),
            (&json!("T"), &json!("home.test"))
        );
        let subscription = subscription("S", "T", "Main", "Enabled");
        assert_eq!(subscription["id"], "/subscriptions/S");
        assert_eq!(subscription["managedByTenants"], json!([]));
        let locations = locations("S", &regions());
        assert_eq!(locations[0]["displayName"], "East US 2");
        assert_eq!(locations[1]["id"], "/subscriptions/S/locations/westus");
    }
}
