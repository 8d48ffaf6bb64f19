//! Tables of scale sets: what is asked, what changes the model, which image may follow which, who goes first.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{COMPUTE, GROUP, World, done};
use domain::scale_set::{
    self as rules, Member, check_image_change, check_instances, machine_body, next_member, rolling,
    surplus,
};
use domain::virtual_machine::BootFacts;
use domain::{Kind, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m3m me@here";

fn id() -> String {
    format!("{COMPUTE}/virtualMachineScaleSets/ss")
}

fn network(local: &str) -> Value {
    json!({ "id": format!("{GROUP}/providers/Microsoft.Network/{local}") })
}

fn body() -> Value {
    json!({
        "location": "eastus",
        "sku": { "name": "Standard_B1s", "capacity": 2 },
        "properties": {
            "orchestrationMode": "Uniform",
            "upgradePolicy": { "mode": "manual" },
            "virtualMachineProfile": {
                "storageProfile": {
                    "imageReference": { "id": format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0") },
                    "osDisk": { "createOption": "FromImage" },
                },
                "osProfile": {
                    "computerNamePrefix": "ss",
                    "adminUsername": "me",
                    "adminPassword": "Passw0rd!",
                    "linuxConfiguration": {
                        "disablePasswordAuthentication": false,
                        "ssh": { "publicKeys": [{ "path": "/home/me/.ssh/authorized_keys", "keyData": KEY }] },
                    },
                },
                "networkProfile": { "networkInterfaceConfigurations": [{
                    "name": "nic",
                    "properties": { "primary": "true", "ipConfigurations": [{
                        "name": "ip",
                        "properties": {
                            "subnet": network("virtualNetworks/v/subnets/s"),
                            "loadBalancerBackendAddressPools": [network("loadBalancers/lb/backendAddressPools/p")],
                        },
                    }] },
                }] },
            },
        },
    })
}

/// The body with one member changed; `null` takes it out.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        members.shift_remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    body
}

fn put(body: &Value, held: Option<&Resource>) -> Result<Resource> {
    World::default().put(&id(), body, held)
}

fn set() -> Resource {
    done(put(&body(), None).unwrap())
}

#[test]
fn what_is_asked_is_checked() {
    const PROFILE: &str = "/properties/virtualMachineProfile";
    let at = |tail: &str| format!("{PROFILE}{tail}");
    let health = |kind: &str| json!({ "extensions": [{ "name": "x", "properties": { "publisher": "Microsoft.ManagedServices", "type": kind } }] });
    for (pointer, value, code, text) in [
        (
            "/sku".to_owned(),
            json!(null),
            "InvalidParameter",
            "Required parameter 'sku' is missing",
        ),
        (
            "/sku/capacity".to_owned(),
            json!(101),
            "InvalidParameter",
            "between 0 and 100",
        ),
        (
            "/sku/capacity".to_owned(),
            json!(-1),
            "InvalidParameter",
            "between 0 and 100",
        ),
        (
            "/properties/orchestrationMode".to_owned(),
            json!("Both"),
            "InvalidParameter",
            "Uniform, Flexible",
        ),
        (
            "/properties/upgradePolicy".to_owned(),
            json!(null),
            "InvalidParameter",
            "Required parameter 'upgradePolicy'",
        ),
        (
            "/properties/upgradePolicy/mode".to_owned(),
            json!("Sometimes"),
            "InvalidParameter",
            "Manual, Automatic, Rolling",
        ),
        (
            "/properties/upgradePolicy/mode".to_owned(),
            json!("Rolling"),
            "BadRequest",
            "health extension was not provided",
        ),
        (
            "/properties/upgradePolicy/rollingUpgradePolicy".to_owned(),
            json!({ "maxBatchInstancePercent": 4 }),
            "InvalidParameter",
            "between 5 and 100",
        ),
        (
            "/properties/upgradePolicy/rollingUpgradePolicy".to_owned(),
            json!({ "pauseTimeBetweenBatches": "soon" }),
            "InvalidParameter",
            "duration",
        ),
        (
            "/properties/upgradePolicy/automaticOSUpgradePolicy".to_owned(),
            json!({ "enableAutomaticOSUpgrade": true }),
            "BadRequest",
            "must use Platform or Gallery Image with version set to 'latest'.",
        ),
        (
            PROFILE.to_owned(),
            json!(null),
            "InvalidParameter",
            "'virtualMachineProfile' is missing",
        ),
        (
            at("/networkProfile"),
            json!(null),
            "InvalidParameter",
            "'networkProfile' is missing",
        ),
        (
            at("/networkProfile/networkInterfaceConfigurations"),
            json!([]),
            "InvalidParameter",
            "is missing",
        ),
        (
            at("/osProfile/computerNamePrefix"),
            json!("a b"),
            "InvalidParameter",
            "prefix",
        ),
        (
            at("/extensionProfile"),
            health("CustomScript"),
            "InvalidParameter",
            "cannot be installed",
        ),
        (
            "/identity".to_owned(),
            json!({ "type": "SystemAssigned" }),
            "InvalidParameter",
            "not supported",
        ),
    ] {
        let error = put(&with(&pointer, value.clone()), None).unwrap_err();
        assert_eq!(error.code, code, "{pointer} {value}: {error}");
        assert!(error.message.contains(text), "{pointer} {value}: {error}");
    }
    put(
        &with(&at("/extensionProfile"), health("ApplicationHealthLinux")),
        None,
    )
    .unwrap();
}

#[test]
fn what_az_spells_in_a_way_of_its_own_is_kept_as_the_service_spells_it() {
    let place = "/virtualMachineProfile/networkProfile/networkInterfaceConfigurations/0/properties/ipConfigurations/0/properties";
    let asked = json!({ "name": "instancepublicip" });
    let sent = format!("/properties{place}/publicipaddressconfiguration");
    let set = put(&with(&sent, asked.clone()), None).unwrap();
    let kept = json!(set.properties).pointer(place).cloned().unwrap();
    assert_eq!(kept.get("publicIPAddressConfiguration"), Some(&asked));
    assert_eq!(kept.get("publicipaddressconfiguration"), None);
    let nameless = put(
        &with(
            &sent,
            json!({ "properties": { "idleTimeoutInMinutes": 4 } }),
        ),
        None,
    )
    .unwrap_err();
    let target = Some("publicIPAddressConfiguration.name");
    assert_eq!(nameless.target.as_deref(), target);
}

#[test]
fn the_newest_version_can_be_followed() {
    for (reference, follows) in [
        (
            json!({ "id": format!("{COMPUTE}/galleries/g/images/d") }),
            true,
        ),
        (
            json!({ "id": format!("{COMPUTE}/galleries/g/images/d/versions/latest") }),
            true,
        ),
        (
            json!({ "id": format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0") }),
            false,
        ),
        (json!({ "id": format!("{COMPUTE}/images/i") }), false),
        (
            json!({ "sharedGalleryImageId": "/SharedGalleries/g/Images/d" }),
            true,
        ),
        (
            json!({ "sharedGalleryImageId": "/SharedGalleries/g/Images/d/Versions/latest" }),
            true,
        ),
        (
            json!({ "communityGalleryImageId": "/CommunityGalleries/g/Images/d/Versions/1.0.0" }),
            false,
        ),
        (
            json!({ "publisher": "p", "offer": "o", "sku": "s", "version": "latest" }),
            true,
        ),
        (
            json!({ "publisher": "p", "offer": "o", "sku": "s", "version": "1.0.0" }),
            false,
        ),
    ] {
        let mut body = with(
            "/properties/upgradePolicy/automaticOSUpgradePolicy",
            json!({ "enableAutomaticOSUpgrade": true }),
        );
        body["properties"]["virtualMachineProfile"]["storageProfile"]["imageReference"] =
            reference.clone();
        assert_eq!(put(&body, None).is_ok(), follows, "{reference}");
    }
}

#[test]
fn what_is_said_once_stays_and_what_is_omitted_stays() {
    let held = set();
    for (pointer, value, target) in [
        (
            "/properties/orchestrationMode",
            json!("Flexible"),
            "orchestrationMode",
        ),
        (
            "/properties/virtualMachineProfile/osProfile/adminUsername",
            json!("you"),
            "osProfile.adminUsername",
        ),
        (
            "/properties/virtualMachineProfile/osProfile/computerNamePrefix",
            json!("xy"),
            "osProfile.computerNamePrefix",
        ),
        ("/zones", json!(["1"]), "zones"),
    ] {
        let error = put(&with(pointer, value), Some(&held)).unwrap_err();
        assert_eq!(error.code, "PropertyChangeNotAllowed", "{pointer}");
        assert_eq!(error.target.as_deref(), Some(target));
    }
    // What `az vmss scale` sends.
    let scaled = json!({ "location": "eastus", "sku": { "name": "Standard_B1s", "capacity": 5, "tier": "Standard" } });
    let row = put(&scaled, Some(&held)).unwrap();
    assert_eq!((rules::capacity(&row), rules::model_of(&row)), (5, 1));
    assert_eq!(row.properties, held.properties);
}

#[test]
fn only_what_machines_are_made_of_makes_another_model() {
    let held = set();
    for (pointer, value, is_other) in [
        ("/sku/capacity", json!(7), false),
        ("/properties/upgradePolicy/mode", json!("Automatic"), false),
        ("/tags", json!({ "a": "b" }), false),
        ("/sku/name", json!("Standard_B2s"), true),
        (
            "/properties/virtualMachineProfile/osProfile/adminPassword",
            json!("0ther-Word"),
            true,
        ),
        (
            "/properties/virtualMachineProfile/userData",
            json!("aGk="),
            true,
        ),
        (
            "/properties/virtualMachineProfile/storageProfile/imageReference",
            json!({ "id": format!("{COMPUTE}/galleries/g/images/d/versions/2.0.0") }),
            true,
        ),
    ] {
        let row = put(&with(pointer, value.clone()), Some(&held)).unwrap();
        let is = rules::model_of(&row) != rules::model_of(&held);
        assert_eq!(is, is_other, "{pointer} {value}");
    }
}

#[test]
fn secrets_stand_in_no_view() {
    let row = set();
    assert!(!json!(row.properties).to_string().contains("Passw0rd"));
    let body = machine_body(&row, &next_member(&mut row.clone(), Uuid::nil()));
    assert_eq!(
        body["properties"]["osProfile"]["adminPassword"],
        "Passw0rd!"
    );
}

#[test]
fn numbers_are_never_given_twice_and_names_follow_from_them() {
    let mut uniform = set();
    let first = next_member(&mut uniform, Uuid::nil());
    let second = next_member(&mut uniform, Uuid::nil());
    assert_eq!(first.id.to_string(), format!("{}/virtualMachines/0", id()));
    assert_eq!(second.id.name(), "1");
    assert_eq!(domain::virtual_machine::name(&second.id), "ss_1");
    let card = second.card("nic");
    assert_eq!(
        card.to_string(),
        format!("{}/virtualMachines/1/networkInterfaces/nic", id())
    );
    let mut body = with("/properties/orchestrationMode", json!("Flexible"));
    let missing = put(&body, None).unwrap_err();
    assert_eq!(missing.target.as_deref(), Some("platformFaultDomainCount"));
    assert_eq!(
        missing.message,
        "Required parameter 'platformFaultDomainCount' is missing (null)."
    );
    body["properties"]["platformFaultDomainCount"] = json!(1);
    let mut flexible = done(put(&body, None).unwrap());
    let member = next_member(&mut flexible, Uuid::from_u128(0xabcd_ef01 << 96));
    assert_eq!(
        member.id.to_string(),
        format!("{COMPUTE}/virtualMachines/ss_abcdef01")
    );
    assert_eq!(member.card("nic").name(), "nic-abcdef01");
    let body = machine_body(&flexible, &member);
    assert_eq!(
        body["properties"]["virtualMachineScaleSet"]["id"],
        json!(id())
    );
    for (number, name) in [
        (0, "ss000000"),
        (35, "ss00000Z"),
        (36, "ss000010"),
        (36_u64.pow(6) - 1, "ssZZZZZZ"),
    ] {
        let member = Member {
            number,
            ..first.clone()
        };
        assert_eq!(member.computer_name("ss"), name);
    }
}

/// A machine of a uniform set by its number and age.
fn machine(number: u64, created_ms: i64) -> Resource {
    let set = ResourceId::parse(&id()).unwrap();
    let id = set.child(Kind::ScaleSetMachine, &number.to_string());
    let mut row = Resource::new(id, Kind::ScaleSetMachine, "eastus", created_ms);
    row.internal.insert("number".to_owned(), json!(number));
    row
}

#[test]
fn who_goes_first_is_said_by_the_policy() {
    let machines = [machine(0, 10), machine(1, 10), machine(2, 5)];
    for (policy, expected) in [
        (json!(null), ["1", "0"]),
        (json!({ "rules": ["Default"] }), ["1", "0"]),
        (json!({ "rules": ["NewestVM"] }), ["1", "0"]),
        (json!({ "rules": ["OldestVM"] }), ["2", "0"]),
    ] {
        let row = put(&with("/properties/scaleInPolicy", policy), None).unwrap();
        let gone = surplus(&row, &machines, 2);
        let names: Vec<&str> = gone.iter().map(ResourceId::name).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn instances_are_named_by_their_ids() {
    let machines = [machine(0, 1), machine(10, 1)];
    for (body, expected) in [
        (json!({}), Ok((2, false))),
        (json!({ "instanceIds": [] }), Ok((2, false))),
        (json!({ "instanceIds": ["*"] }), Ok((2, false))),
        (json!({ "instanceIds": ["10", "10"] }), Ok((1, true))),
        (
            json!({ "instanceIds": ["0", "1"] }),
            Err("The provided instanceId 1 is not an active"),
        ),
    ] {
        let found = check_instances(&body, &machines);
        match expected {
            Ok((count, is_named)) => {
                let (chosen, named) = found.unwrap();
                assert_eq!((chosen.len(), named), (count, is_named), "{body}");
            }
            Err(text) => {
                let error = found.unwrap_err();
                assert_eq!(error.target.as_deref(), Some("instanceIds"));
                assert!(error.message.contains(text), "{error}");
            }
        }
    }
}

#[test]
fn only_an_image_like_the_one_before_may_follow_it() {
    let managed = json!({ "id": format!("{COMPUTE}/images/i") });
    let version = json!({ "id": format!("{COMPUTE}/galleries/g/images/d/versions/2.0.0") });
    let facts = |specialized: bool, os: &str, generation: &str, luns: &[i64]| BootFacts {
        is_specialized: specialized,
        os_type: Some(os.to_owned()),
        generation: Some(generation.to_owned()),
        data: luns.iter().map(|lun| (*lun, 1)).collect(),
        ..BootFacts::default()
    };
    for (from, to, facts, text) in [
        (&managed, &version, facts(false, "Linux", "V1", &[0]), ""),
        (
            &managed,
            &version,
            facts(false, "Linux", "V2", &[0]),
            "current Hyper-V generation of the VM Scale Set is V1",
        ),
        (
            &managed,
            &version,
            facts(false, "Linux", "V1", &[]),
            "data disk layout",
        ),
        (
            &managed,
            &version,
            facts(false, "Windows", "V1", &[0]),
            "OS type",
        ),
        (&version, &version, facts(false, "Linux", "V2", &[3]), ""),
        (&version, &managed, facts(false, "Linux", "V1", &[]), ""),
        (
            &version,
            &version,
            facts(true, "Linux", "V1", &[0]),
            "Cannot update Virtual Machine Scale Set ss as the current OS state of the VM Scale Set is Generalized which is \
             different from the updated gallery image OS state which is Specialized.",
        ),
    ] {
        let at = "/properties/virtualMachineProfile/storageProfile/imageReference";
        let mut stored = done(put(&with(at, from.clone()), None).unwrap());
        stored
            .internal
            .insert("isSpecialized".to_owned(), json!(false));
        stored.internal.insert("osType".to_owned(), json!("Linux"));
        stored.internal.insert("generation".to_owned(), json!("V1"));
        stored.internal.insert("imageLuns".to_owned(), json!([0]));
        let row = put(&with(at, to.clone()), Some(&stored)).unwrap();
        let found = check_image_change(&row, &stored, &facts);
        match found {
            Ok(()) => assert_eq!(text, "", "{from} {to} {facts:?}"),
            Err(error) => {
                assert!(!text.is_empty() && error.message.contains(text), "{error}");
                assert_eq!(error.code, "OperationNotAllowed");
            }
        }
    }
}

#[test]
fn a_rolling_upgrade_stops_when_too_many_are_unwell() {
    let policy = rolling(&set());
    assert_eq!((policy.batch_percent, policy.unhealthy_percent), (20, 20));
    for (all, batch) in [(1, 1), (4, 1), (10, 2), (100, 20)] {
        assert_eq!(policy.batch(all), batch);
    }
    for (all, unhealthy, is_fine) in [(10, 0, true), (10, 2, true), (10, 3, false), (1, 1, false)] {
        assert_eq!(policy.check(all, unhealthy, true).is_ok(), is_fine);
        assert_eq!(policy.check_upgraded(all, unhealthy).is_ok(), is_fine);
    }
    let error = policy.check(2, 2, false).unwrap_err();
    assert_eq!(
        error.code,
        "MaxUnhealthyInstancePercentExceededBeforeRollingUpgrade"
    );
    let error = policy.check_upgraded(2, 2).unwrap_err();
    assert_eq!(
        error.code,
        "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"
    );
}
