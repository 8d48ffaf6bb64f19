//! The check never panics, whatever arrives, and what it lets through it lets through again.

use arm::schema::{Shape, check_request, check_request_bytes, project};
use domain::plan::{PutContext, plan_put};
use domain::{Kind, Regions, ResourceId};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const VERSIONS: [&str; 6] = [
    "",
    "2016-04-30-preview",
    "2018-06-01",
    "2021-10-01",
    "2026-03-03",
    "é",
];

/// Names that tables know, so that the deeper parts are reached, and some that they do not.
const NAMES: [&str; 22] = [
    "location",
    "tags",
    "properties",
    "identity",
    "sku",
    "osType",
    "publishingProfile",
    "targetRegions",
    "name",
    "encryption",
    "dataDiskImages",
    "lun",
    "storageProfile",
    "source",
    "managedImage",
    "id",
    "creationData",
    "endOfLifeDate",
    "accountType",
    "PROPERTIES",
    "value",
    "ünknown",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| json!(f64::from(n) / 8.0)),
        ".{0,12}".prop_map(Value::from),
        Just(json!("2030-12-01")),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Decides a checked body as a create and, where that works, as a change of what it made.
fn decide(kind: Kind, api_version: &str, body: &Value) {
    let network = match (kind.is_version(), kind.type_name().rsplit_once('/')) {
        (true, Some((parent, _))) => format!(
            "/providers/{}",
            parent.replacen("galleries/", "galleries/g/", 1) + "/a/versions/1.0.0"
        ),
        _ if kind.parent() == Some(Kind::Gallery) => format!(
            "/providers/{}/a",
            kind.type_name().replacen("galleries/", "galleries/g/", 1)
        ),
        _ => format!("/providers/{}/n", kind.type_name()),
    };
    let path = match kind {
        Kind::ResourceGroup => "",
        Kind::Gallery => "/providers/Microsoft.Compute/galleries/g",
        Kind::Image => "/providers/Microsoft.Compute/galleries/g/images/d",
        Kind::ImageVersion => "/providers/Microsoft.Compute/galleries/g/images/d/versions/1.0.0",
        Kind::Disk => "/providers/Microsoft.Compute/disks/d",
        Kind::Snapshot => "/providers/Microsoft.Compute/snapshots/s",
        Kind::ManagedImage => "/providers/Microsoft.Compute/images/i",
        Kind::DiskEncryptionSet => "/providers/Microsoft.Compute/diskEncryptionSets/e",
        Kind::StorageAccount => "/providers/Microsoft.Storage/storageAccounts/acc",
        Kind::VirtualMachine => "/providers/Microsoft.Compute/virtualMachines/m",
        Kind::ScaleSetMachine => {
            "/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0"
        }
        Kind::ScaleSetAddress => {
            "/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0/networkInterfaces/n/ipConfigurations/c/publicIPAddresses/p"
        }
        Kind::ScaleSetInterface => {
            "/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0/networkInterfaces/n"
        }
        _ => &network,
    };
    let id =
        ResourceId::parse(&format!("/subscriptions/s/resourceGroups/rg{path}")).expect("an id");
    let regions = Regions::new(vec![domain::region::known("eastus")]);
    let mut fresh = Uuid::nil;
    let mut ctx = PutContext {
        regions: &regions,
        now_ms: 0,
        api_version,
        fresh: &mut fresh,
        parent: None,
        gallery: None,
    };
    let mut body = body.clone();
    body["location"] = json!("eastus");
    if let Ok(row) = plan_put(kind, &mut ctx, &id, &body, None) {
        let _ = plan_put(kind, &mut ctx, &id, &body, Some(&row));
        let _ = arm::envelope::response(&row, api_version);
    }
}

proptest! {
    #[test]
    fn what_is_checked_is_decided_without_panic(body in any_json(), kind in prop::sample::select(&Kind::ALL[..]), version in prop::sample::select(&VERSIONS[..])) {
        for body in [body.clone(), json!({ "properties": body })] {
            if let Ok(checked) = check_request(kind, version, &body) {
                decide(kind, version, &checked);
            }
        }
    }

    #[test]
    fn any_value_is_checked_without_panic(body in any_json(), shape in prop::sample::select(Shape::ALL), version in prop::sample::select(&VERSIONS[..])) {
        if let Ok(checked) = check_request(shape, version, &body) {
            // Moved words of old versions are not words of that version any more: ask the newest.
            prop_assert!(!has_null(&checked));
            if version == "2026-03-03" {
                prop_assert_eq!(check_request(shape, version, &checked), Ok(checked.clone()));
            }
        }
        let mut shown = body;
        project(shape, version, &mut shown);
        let once = shown.clone();
        project(shape, version, &mut shown);
        prop_assert_eq!(shown, once);
    }

    #[test]
    fn any_bytes_are_read_without_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = check_request_bytes(Shape::Gallery, "2023-07-03", &raw);
    }

    #[test]
    fn our_reader_agrees_with_another(text in r#"[\[\]{}",:0-9a-cntrulefs\\. -]{0,24}"#) {
        let theirs = serde_json::from_str::<Value>(&text);
        let ours = check_request_bytes(Shape::ResourceGroup, "2023-07-01", format!(r#"{{"properties":{{"x":{text}}}}}"#).as_bytes());
        if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
            let theirs = without_nulls(theirs.clone());
            prop_assert_eq!(ours["properties"].get("x"), theirs.as_ref());
        }
        if theirs.is_ok() {
            let refused_more = ours.as_ref().err().is_some_and(|e| e.message.contains("already exists"));
            prop_assert!(ours.is_ok() || refused_more, "{}: {:?}", text, ours);
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

fn without_nulls(value: Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Array(items) => items.into_iter().filter_map(without_nulls).collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter_map(|(n, v)| Some((n, without_nulls(v)?)))
                .collect(),
        ),
        other => other,
    })
}
