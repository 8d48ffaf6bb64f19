//! The rules of image versions as one table: what is sent, what the user reads. Source: `API.md` 5.3.

use domain::plan::{PutContext, plan_put};
use domain::region::known;
use domain::{Kind, ProvisioningState, Regions, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

const NOW_MS: i64 = 1_790_000_000_000;
const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute";

fn put(name: &str, properties: Value, stored: Option<&Resource>) -> Result<Resource> {
    let regions = Regions::new(["eastus", "westus2", "westeurope"].map(known).into());
    let id = ResourceId::parse(&format!("{GROUP}/galleries/g/images/d/versions/{name}")).unwrap();
    let mut fresh = Uuid::nil;
    let mut ctx = PutContext {
        regions: &regions,
        now_ms: NOW_MS,
        api_version: "2024-03-03",
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    plan_put(
        Kind::ImageVersion,
        &mut ctx,
        &id,
        &json!({ "location": "eastus", "properties": properties }),
        stored,
    )
}

fn blob(name: &str) -> Value {
    json!({ "uri": format!("https://localhost/a/c/{name}.vhd") })
}

fn profile(publishing: Value) -> Value {
    json!({ "publishingProfile": publishing, "storageProfile": { "osDiskImage": { "source": blob("os") } } })
}

fn stored() -> Resource {
    let regions = json!([{ "name": "eastus" }, { "name": "West US 2", "regionalReplicaCount": 2 }]);
    let mut row = put("1.0.0", profile(json!({ "targetRegions": regions })), None).unwrap();
    row.state = ProvisioningState::Succeeded;
    row
}

#[test]
fn defaults_are_shown_as_recorded() {
    let row = stored();
    let publishing = &row.properties["publishingProfile"];
    let expected = json!([
        { "name": "East US", "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS" },
        { "name": "West US 2", "regionalReplicaCount": 2, "storageAccountType": "Standard_LRS" },
    ]);
    assert_eq!(publishing["targetRegions"], expected);
    assert_eq!(publishing["replicaCount"], 1);
    assert_eq!(publishing["excludeFromLatest"], false);
    assert_eq!(
        row.properties["storageProfile"]["osDiskImage"]["hostCaching"],
        "ReadWrite"
    );
    assert_eq!(
        row.properties["safetyProfile"]["allowDeletionOfReplicatedLocations"],
        false
    );
}

#[test]
fn a_count_that_was_not_said_follows_the_version() {
    let changed = put(
        "1.0.0",
        json!({ "publishingProfile": { "replicaCount": 3 } }),
        Some(&stored()),
    )
    .unwrap();
    let regions = &changed.properties["publishingProfile"]["targetRegions"];
    assert_eq!(
        (
            &regions[0]["regionalReplicaCount"],
            &regions[1]["regionalReplicaCount"]
        ),
        (&json!(3), &json!(2))
    );
}

#[test]
fn wrong_creates_are_refused_in_the_services_words() {
    let disk = format!("{GROUP}/disks/x");
    let data = |luns: [i64; 2], names: [&str; 2]| {
        let disks: Vec<Value> = (0..2)
            .map(|i| json!({ "lun": luns[i], "source": blob(names[i]) }))
            .collect();
        json!({ "storageProfile": { "osDiskImage": { "source": blob("os") }, "dataDiskImages": disks } })
    };
    let past = "2020-01-01T00:00:00Z";
    let table: Vec<(&str, Value, &str, &str)> = vec![
        (
            "1.0",
            profile(json!({})),
            "InvalidParameter",
            "The image version name is invalid.",
        ),
        (
            "1.0.0",
            json!({}),
            "InvalidParameter",
            "Required parameter 'storageProfile' is missing (null).",
        ),
        (
            "1.0.0",
            json!({ "storageProfile": {} }),
            "InvalidParameter",
            "The gallery artifact version source can only be specified",
        ),
        (
            "1.0.0",
            json!({ "storageProfile": { "source": { "id": disk } } }),
            "InvalidParameter",
            "The source id: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.Compute/disks/x must either be",
        ),
        (
            "1.0.0",
            json!({ "storageProfile": { "source": { "id": "x" } } }),
            "LinkedInvalidPropertyId",
            "Property id 'x' at path",
        ),
        (
            "1.0.0",
            profile(json!({ "targetRegions": [{ "name": "westus2" }] })),
            "InvalidParameter",
            "Gallery image version publishing profile regions West US 2 must contain the location of image version East US",
        ),
        (
            "1.0.0",
            profile(json!({ "targetRegions": [{ "name": "eastus" }, { "name": "East US" }] })),
            "InvalidParameter",
            "Duplicate regions are not allowed",
        ),
        (
            "1.0.0",
            profile(json!({ "replicaCount": 0 })),
            "InvalidParameter",
            "The value 0 of parameter replicaCount is out of range. The value must be between 1 and 100, inclusive.",
        ),
        (
            "1.0.0",
            profile(
                json!({ "targetRegions": [{ "name": "eastus", "regionalReplicaCount": 101 }] }),
            ),
            "InvalidParameter",
            "The value 101 of parameter regionalReplicaCount is out of range.",
        ),
        (
            "1.0.0",
            profile(json!({ "endOfLifeDate": past })),
            "InvalidParameter",
            "EndOfLifeDate must be set to a future date.",
        ),
        (
            "1.0.0",
            profile(json!({ "targetRegions": [{ "name": "mars" }] })),
            "InvalidParameter",
            "The target region 'mars' is not available.",
        ),
        (
            "1.0.0",
            data([0, 0], ["a", "b"]),
            "InvalidParameter",
            "Duplicated lun numbers have been detected",
        ),
        (
            "1.0.0",
            data([0, 1], ["a", "a"]),
            "InvalidParameter",
            "Duplicated source ids are found",
        ),
        (
            "1.0.0",
            data([0, 1], ["a", "os"]),
            "InvalidParameter",
            "OSDiskImage and DataDiskImage cannot point to same blob",
        ),
    ];
    for (name, properties, code, message) in table {
        let error = put(name, properties, None).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
}

#[test]
fn wrong_updates_are_refused_and_empty_regions_change_nothing() {
    let row = stored();
    let table = [
        (
            profile(json!({ "targetRegions": [{ "name": "eastus" }] })),
            "BadRequest",
        ),
        (
            profile(json!({ "storageAccountType": "Premium_LRS" })),
            "PropertyChangeNotAllowed",
        ),
        (
            profile(json!({ "replicationMode": "Shallow" })),
            "PropertyChangeNotAllowed",
        ),
        (
            json!({ "storageProfile": { "osDiskImage": { "source": blob("other") } } }),
            "PropertyChangeNotAllowed",
        ),
        (
            json!({ "storageProfile": { "dataDiskImages": [{ "lun": 1 }] } }),
            "PropertyChangeNotAllowed",
        ),
    ];
    for (properties, code) in table {
        assert_eq!(
            put("1.0.0", properties.clone(), Some(&row))
                .unwrap_err()
                .code,
            code,
            "{properties}"
        );
    }
    let same = put(
        "1.0.0",
        json!({ "publishingProfile": { "targetRegions": [] } }),
        Some(&row),
    )
    .unwrap();
    assert_eq!(same.properties, row.properties);
    let allowed = json!({
        "publishingProfile": { "targetRegions": [{ "name": "eastus" }] },
        "safetyProfile": { "allowDeletionOfReplicatedLocations": true },
    });
    let smaller = put("1.0.0", allowed, Some(&row)).unwrap();
    assert_eq!(
        smaller.properties["publishingProfile"]["targetRegions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
