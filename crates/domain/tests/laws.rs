//! Laws of all kinds: what GET shows may be sent back, immutables stay, nothing panics.

#![expect(clippy::too_many_lines, reason = "a table of rules is one list")]
#![expect(clippy::type_complexity, reason = "a row of a table")]

mod common;

use common::{COMPUTE, GROUP, NOW_MS, SUB, World, done, shown};
use domain::{Kind, Resource, ResourceId};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

const VERSIONS: [&str; 5] = [
    "2018-06-01",
    "2021-10-01",
    "2024-03-03",
    "2025-03-03",
    "2026-03-03",
];

const NETWORK: &str = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Network";
const SUBNET: &str = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/default";

fn id(kind: Kind) -> String {
    match kind {
        Kind::ResourceGroup => format!("/subscriptions/{SUB}/resourceGroups/rg"),
        Kind::Gallery => format!("{COMPUTE}/galleries/g"),
        Kind::Image => format!("{COMPUTE}/galleries/g/images/d"),
        Kind::ImageVersion => format!("{COMPUTE}/galleries/g/images/d/versions/1.0.0"),
        Kind::Disk => format!("{COMPUTE}/disks/d"),
        Kind::Snapshot => format!("{COMPUTE}/snapshots/s"),
        Kind::ManagedImage => format!("{COMPUTE}/images/i"),
        Kind::DiskEncryptionSet => format!("{COMPUTE}/diskEncryptionSets/e"),
        Kind::StorageAccount => format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"),
        Kind::GalleryApplication => format!("{COMPUTE}/galleries/g/applications/a"),
        Kind::GalleryApplicationVersion => {
            format!("{COMPUTE}/galleries/g/applications/a/versions/1.0.0")
        }
        Kind::GalleryScript => format!("{COMPUTE}/galleries/g/scripts/s"),
        Kind::GalleryScriptVersion => format!("{COMPUTE}/galleries/g/scripts/s/versions/1.0.0"),
        Kind::AccessProfile => format!("{COMPUTE}/galleries/g/inVMAccessControlProfiles/p"),
        Kind::AccessProfileVersion => {
            format!("{COMPUTE}/galleries/g/inVMAccessControlProfiles/p/versions/1.0.0")
        }
        Kind::ScaleSetMachine => format!("{COMPUTE}/virtualMachineScaleSets/ss/virtualMachines/0"),
        Kind::ScaleSetAddress => format!(
            "{COMPUTE}/virtualMachineScaleSets/ss/virtualMachines/0/networkInterfaces/n/ipConfigurations/c/publicIPAddresses/p"
        ),
        Kind::ScaleSetInterface => {
            format!("{COMPUTE}/virtualMachineScaleSets/ss/virtualMachines/0/networkInterfaces/n")
        }
        kind => format!("{GROUP}/providers/{}/n", kind.type_name()),
    }
}

/// The least that a kind accepts.
fn least(kind: Kind) -> Value {
    let properties = match kind {
        Kind::Image => {
            json!({ "osType": "Linux", "osState": "Generalized", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } })
        }
        Kind::ImageVersion => {
            json!({ "storageProfile": { "osDiskImage": { "source": { "uri": "https://a/os.vhd" } } } })
        }
        Kind::Disk | Kind::Snapshot => {
            json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 })
        }
        Kind::ManagedImage => json!({ "hyperVGeneration": "V1", "storageProfile": {
            "osDisk": { "osType": "Linux", "osState": "Generalized", "blobUri": "https://a/os.vhd" } } }),
        Kind::DiskEncryptionSet => json!({ "activeKey": { "keyUrl": "https://v/keys/k/1" } }),
        Kind::GalleryApplication | Kind::GalleryScript => json!({ "supportedOSType": "Linux" }),
        Kind::GalleryApplicationVersion => json!({ "publishingProfile": {
            "source": { "mediaLink": "https://a/p.zip?sig=1" }, "manageActions": { "install": "i", "remove": "r" } } }),
        Kind::GalleryScriptVersion => {
            json!({ "publishingProfile": { "source": { "scriptLink": "https://a/s.sh" } } })
        }
        Kind::AccessProfile => json!({ "osType": "Linux", "applicableHostEndpoint": "IMDS" }),
        Kind::AccessProfileVersion => json!({ "mode": "Audit", "defaultAccess": "Allow" }),
        Kind::VirtualNetwork => json!({ "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] } }),
        Kind::NetworkInterface | Kind::ScaleSetInterface => {
            json!({ "ipConfigurations": [{ "name": "c", "properties": { "subnet": { "id": SUBNET } } }] })
        }
        Kind::ScaleSet => json!({ "orchestrationMode": "Flexible", "platformFaultDomainCount": 1 }),
        Kind::VirtualMachine | Kind::ScaleSetMachine => json!({
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": { "imageReference": { "id": format!("{COMPUTE}/images/i") } },
        }),
        _ => json!({}),
    };
    json!({ "location": "eastus", "properties": properties })
}

/// Members that a client may add, by kind: pointer below the body, value.
fn members(kind: Kind) -> Vec<(&'static str, Value)> {
    let info = json!({ "publisherUri": "u", "publisherContact": "c", "eula": "e", "publicNamePrefix": "prefix" });
    let mut all = vec![
        ("/tags", json!({})),
        ("/tags", json!({ "a": "b" })),
        ("/location", json!("East US")),
        ("/location", json!("westus2")),
        ("/properties/provisioningState", json!("Failed")),
    ];
    all.extend(match kind {
        Kind::ResourceGroup => vec![("/managedBy", json!("/x"))],
        Kind::StorageAccount => vec![("/kind", json!("Storage")), ("/sku", json!({ "name": "Premium_LRS" })), ("/properties/accessTier", json!("Cool"))],
        Kind::ScaleSet => vec![
            ("/sku", json!({ "name": "Standard_B1s", "capacity": 0 })),
            ("/zones", json!(["1", "2"])),
            ("/plan", json!({ "name": "n", "publisher": "p", "product": "o" })),
            ("/properties/orchestrationMode", json!("uniform")),
            ("/properties/upgradePolicy", json!({ "mode": "automatic", "rollingUpgradePolicy": { "maxBatchInstancePercent": 30 } })),
            ("/properties/overprovision", json!(false)),
            ("/properties/platformFaultDomainCount", json!(2)),
            ("/properties/scaleInPolicy", json!({ "rules": ["OldestVM"] })),
            ("/properties/virtualMachineProfile", json!({
                "storageProfile": { "imageReference": { "id": format!("{COMPUTE}/galleries/g/images/d"), "exactVersion": "1.0.0" } },
                "osProfile": { "adminUsername": "me", "adminPassword": "Passw0rd!" },
                "userData": "aGk=",
                "networkProfile": { "networkInterfaceConfigurations": [{ "name": "n", "properties": { "ipConfigurations": [] } }] },
            })),
        ],
        Kind::ScaleSetMachine | Kind::ScaleSetInterface | Kind::ScaleSetAddress => Vec::new(),
        Kind::VirtualMachine => vec![
            ("/plan", json!({ "name": "n", "publisher": "p", "product": "o" })),
            ("/properties/hardwareProfile", json!({ "vmSize": "standard_b2s" })),
            ("/properties/storageProfile", json!({ "imageReference": { "id": format!("{COMPUTE}/images/j") } })),
            ("/properties/storageProfile", json!({ "dataDisks": [] })),
            ("/properties/storageProfile", json!({ "dataDisks": [{ "lun": 1, "createOption": "Empty", "diskSizeGB": 1 }] })),
            ("/properties/osProfile", json!({ "computerName": "m", "adminUsername": "me", "adminPassword": "Passw0rd!" })),
            ("/properties/securityProfile", json!({ "securityType": "TrustedLaunch" })),
            ("/properties/licenseType", json!("None")),
            ("/properties/priority", json!("regular")),
            ("/properties/userData", json!("aGk=")),
            ("/properties/vmId", json!("x")),
        ],
        Kind::Gallery => vec![
            ("/identity", json!({ "type": "SystemAssigned" })),
            ("/properties/description", json!("d")),
            ("/properties/identifier", json!({})),
            ("/properties/sharingProfile", json!({ "permissions": "Groups" })),
            ("/properties/sharingProfile", json!({ "permissions": "Community", "communityGalleryInfo": info })),
            ("/properties/softDeletePolicy", json!({ "isSoftDeleteEnabled": true })),
            ("/properties/softDeletePolicy", json!({ "isSoftDeleteEnabled": false, "retentionPeriodInDays": 9 })),
        ],
        Kind::Image => vec![
            ("/properties/osType", json!("windows")),
            ("/properties/osState", json!("Specialized")),
            ("/properties/hyperVGeneration", json!("V2")),
            ("/properties/hyperVGeneration", json!("V1")),
            ("/properties/architecture", json!("Arm64")),
            ("/properties/description", json!("d")),
            ("/properties/endOfLifeDate", json!("2030-01-01T00:00:00+00:00")),
            ("/properties/recommended", json!({ "vCPUs": { "min": 1, "max": 4 } })),
            ("/properties/recommended", json!({ "memory": { "max": 4 } })),
            ("/properties/disallowed", json!({})),
            ("/properties/disallowed", json!({ "diskTypes": ["standard_lrs"] })),
            ("/properties/purchasePlan", json!({ "name": "n", "publisher": "p", "product": "q" })),
            ("/properties/features", json!([{ "name": "SecurityType", "value": "Standard" }])),
            ("/properties/features", json!([{ "name": "securitytype", "value": "trustedlaunch" }, { "name": "IsHibernateSupported", "value": "true", "startsAtVersion": "2.0.0" }])),
            ("/properties/allowUpdateImage", json!(true)),
            ("/properties/identifier", json!({ "publisher": "P", "offer": "O", "sku": "other" })),
        ],
        Kind::ImageVersion => vec![
            ("/properties/publishingProfile/targetRegions", json!([{ "name": "eastus" }])),
            ("/properties/publishingProfile/targetRegions", json!([{ "name": "westus2", "regionalReplicaCount": 2, "excludeFromLatest": true }, { "name": "East US" }])),
            ("/properties/publishingProfile/targetRegions", json!([{ "name": "lab1", "additionalReplicaSets": [{ "regionalReplicaCount": 1 }] }, { "name": "East US", "storageAccountType": "Premium_LRS" }])),
            ("/properties/publishingProfile/replicaCount", json!(3)),
            ("/properties/publishingProfile/replicationMode", json!("Shallow")),
            ("/properties/publishingProfile/replicationMode", json!("full")),
            ("/properties/publishingProfile/storageAccountType", json!("standard_zrs")),
            ("/properties/publishingProfile/storageAccountStrategy", json!("DefaultStandard_LRS")),
            ("/properties/publishingProfile/excludeFromLatest", json!(true)),
            ("/properties/publishingProfile/endOfLifeDate", json!("2030-01-01T00:00:00+00:00")),
            ("/properties/safetyProfile", json!({ "allowDeletionOfReplicatedLocations": true })),
            ("/properties/safetyProfile", json!({ "blockDeletionBeforeEndOfLife": true })),
            ("/properties/securityProfile", json!({ "uefiSettings": { "signatureTemplateNames": ["NoSignatureTemplate"] } })),
            ("/properties/storageProfile/dataDiskImages", json!([{ "lun": 0, "source": { "uri": "https://a/d.vhd" } }])),
            ("/properties/storageProfile", json!({ "source": { "id": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/images/i" } })),
        ],
        Kind::Disk => vec![
            ("/sku", json!({ "name": "premium_lrs" })),
            ("/sku", json!({ "name": "PremiumV2_LRS" })),
            ("/zones", json!(["1"])),
            ("/properties/osType", json!("")),
            ("/properties/osType", json!("Linux")),
            ("/properties/hyperVGeneration", json!("V2")),
            ("/properties/diskSizeGB", json!(64)),
            ("/properties/diskSizeGB", json!(2)),
            ("/properties/networkAccessPolicy", json!("DenyAll")),
            ("/properties/creationData", json!({ "createOption": "Upload", "uploadSizeBytes": 20_972_032 })),
            ("/properties/diskIOPSReadWrite", json!(7)),
            ("/properties/securityProfile", json!({ "securityType": "TrustedLaunch" })),
            ("/properties/supportedCapabilities", json!({ "architecture": "x64" })),
            ("/properties/tier", json!("P30")),
            ("/properties/encryption", json!({ "diskEncryptionSetId": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/diskEncryptionSets/e" })),
            ("/properties/encryption", json!({ "type": "EncryptionAtRestWithPlatformKey" })),
        ],
        Kind::ManagedImage => vec![
            ("/properties/hyperVGeneration", json!("v2")),
            ("/properties/storageProfile/osDisk/caching", json!("readonly")),
            ("/properties/storageProfile/osDisk/diskSizeGB", json!(4)),
            ("/properties/storageProfile/zoneResilient", json!(true)),
            ("/properties/storageProfile/dataDisks", json!([{ "lun": 0, "blobUri": "https://a/d.vhd?sig=1" }])),
            ("/properties/storageProfile/osDisk", json!({ "osType": "Linux", "osState": "Generalized", "snapshot": { "id": format!("{COMPUTE}/snapshots/s") } })),
        ],
        Kind::DiskEncryptionSet => vec![
            ("/identity", json!({ "type": "systemassigned" })),
            ("/identity", json!({ "type": "None" })),
            ("/properties/activeKey/keyUrl", json!("https://v/keys/k/2")),
            ("/properties/encryptionType", json!("EncryptionAtRestWithPlatformAndCustomerKeys")),
            ("/properties/rotationToLatestKeyVersionEnabled", json!(true)),
        ],
        Kind::GalleryApplication => vec![
            ("/properties/supportedOSType", json!("windows")),
            ("/properties/description", json!("d")),
            ("/properties/endOfLifeDate", json!("2030-01-01T00:00:00+00:00")),
            ("/properties/customActions", json!([{ "name": "a", "script": "s", "parameters": [{ "name": "p", "type": "string" }] }])),
        ],
        Kind::GalleryApplicationVersion => vec![
            ("/properties/publishingProfile/source/defaultConfigurationLink", json!("https://a/c")),
            ("/properties/publishingProfile/source/mediaLink", json!("https://a/other.zip")),
            ("/properties/publishingProfile/manageActions/install", json!("other")),
            ("/properties/publishingProfile/settings", json!({ "packageFileName": "p", "scriptBehaviorAfterReboot": "rerun" })),
            ("/properties/publishingProfile/enableHealthCheck", json!(true)),
            ("/properties/publishingProfile/advancedSettings", json!({ "a": "b" })),
            ("/properties/publishingProfile/targetRegions", json!([{ "name": "westus2", "regionalReplicaCount": 2 }, { "name": "East US" }])),
            ("/properties/publishingProfile/replicaCount", json!(3)),
            ("/properties/publishingProfile/customActions", json!([{ "name": "a", "script": "s" }])),
            ("/properties/safetyProfile", json!({ "allowDeletionOfReplicatedLocations": true })),
        ],
        Kind::GalleryScript => vec![
            ("/properties/supportedOSType", json!("Windows")),
            ("/properties/eula", json!("e")),
        ],
        Kind::GalleryScriptVersion => vec![
            ("/properties/publishingProfile/source/parameters", json!([{ "name": "p", "type": "enum", "enumValues": ["a"] }])),
            ("/properties/publishingProfile/targetRegions", json!([{ "name": "eastus" }, { "name": "lab1" }])),
            ("/properties/publishingProfile/excludeFromLatest", json!(true)),
        ],
        Kind::AccessProfile => vec![
            ("/properties/description", json!("d")),
            ("/properties/applicableHostEndpoint", json!("wireserver")),
        ],
        Kind::AccessProfileVersion => vec![
            ("/properties/mode", json!("enforce")),
            ("/properties/targetLocations", json!([{ "name": "westus2" }, { "name": "eastus", "regionalReplicaCount": 2 }])),
            ("/properties/excludeFromLatest", json!(true)),
            ("/properties/rules", json!({ "privileges": [{ "name": "p", "path": "/x" }], "roles": [{ "name": "r", "privileges": ["p"] }] })),
        ],
        Kind::VirtualNetwork => vec![
            ("/properties/addressSpace/addressPrefixes", json!(["10.0.0.0/16", "fd00::/48"])),
            ("/properties/subnets", json!([{ "name": "a", "properties": { "addressPrefix": "10.0.1.0/24" } }])),
            ("/properties/subnets", json!([{ "name": "b", "properties": { "addressPrefixes": ["10.0.2.0/24"], "networkSecurityGroup": { "id": format!("{NETWORK}/networkSecurityGroups/g") } } }])),
            ("/properties/dhcpOptions", json!({ "dnsServers": ["10.0.0.9"] })),
            ("/properties/subnets", json!([])),
        ],
        Kind::NetworkInterface => vec![
            ("/properties/ipConfigurations", json!([{ "name": "d", "properties": { "privateIPAllocationMethod": "static", "privateIPAddress": "10.0.0.7", "subnet": { "id": SUBNET } } }])),
            ("/properties/networkSecurityGroup", json!({ "id": format!("{NETWORK}/networkSecurityGroups/g") })),
            ("/properties/dnsSettings", json!({ "dnsServers": ["1.1.1.1"], "internalDnsNameLabel": "x" })),
            ("/properties/enableIPForwarding", json!(true)),
            ("/properties/macAddress", json!("00-00-00-00-00-00")),
        ],
        Kind::PublicIpAddress => vec![
            ("/sku", json!({ "name": "standard" })),
            ("/zones", json!(["1", "2"])),
            ("/properties/publicIPAllocationMethod", json!("static")),
            ("/properties/publicIPAddressVersion", json!("IPv6")),
            ("/properties/dnsSettings", json!({ "domainNameLabel": "web-1" })),
            ("/properties/idleTimeoutInMinutes", json!(10)),
            ("/properties/ipAddress", json!("9.9.9.9")),
        ],
        Kind::NetworkSecurityGroup => vec![
            ("/properties/securityRules", json!([{ "name": "ssh", "properties": { "protocol": "tcp", "sourcePortRange": "*", "destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*", "access": "allow", "priority": 100, "direction": "inbound" } }])),
            ("/properties/flushConnection", json!(true)),
        ],
        Kind::LoadBalancer => vec![
            ("/sku", json!({ "name": "Standard" })),
            ("/properties/frontendIPConfigurations", json!([{ "name": "f", "zones": ["1"], "properties": { "publicIPAddress": { "id": format!("{NETWORK}/publicIPAddresses/p") } } }])),
            ("/properties/frontendIPConfigurations", json!([{ "name": "f", "properties": { "subnet": { "id": SUBNET } } }])),
            ("/properties/backendAddressPools", json!([{ "name": "p" }])),
            ("/properties/probes", json!([{ "name": "h", "properties": { "protocol": "Tcp", "port": 22 } }])),
        ],
        Kind::Snapshot => vec![
            ("/sku", json!({ "name": "standard_zrs" })),
            ("/properties/osType", json!("Linux")),
            ("/properties/hyperVGeneration", json!("V2")),
            ("/properties/diskSizeGB", json!(64)),
            ("/properties/incremental", json!(true)),
            ("/properties/incremental", json!(false)),
            ("/properties/networkAccessPolicy", json!("DenyAll")),
            ("/properties/creationData", json!({ "createOption": "Copy", "sourceUri": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Compute/disks/d" })),
            ("/properties/supportedCapabilities", json!({ "architecture": "x64" })),
        ],
    });
    all
}

fn set(body: &mut Value, at: &str, value: Value) {
    let mut place = body;
    for step in at.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[step];
    }
    *place = value;
}

fn changed(mut body: Value, changes: &[(&'static str, Value)]) -> Value {
    for (at, value) in changes {
        set(&mut body, at, value.clone());
    }
    body
}

fn changes(kind: Kind, most: usize) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    prop::collection::vec(select(members(kind)), 0..most)
}

/// A kind with two lists of changes.
fn kind_and_changes()
-> impl Strategy<Value = (Kind, Vec<(&'static str, Value)>, Vec<(&'static str, Value)>)> {
    select(&Kind::ALL[..]).prop_flat_map(|kind| (Just(kind), changes(kind, 6), changes(kind, 4)))
}

/// What never changes once it is there, by kind.
fn immutables(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Gallery => &["/identifier"],
        Kind::Image => &[
            "/osType",
            "/osState",
            "/hyperVGeneration",
            "/architecture",
            "/identifier",
            "/purchasePlan",
        ],
        Kind::ImageVersion => &[
            "/storageProfile",
            "/securityProfile",
            "/publishingProfile/storageAccountType",
            "/publishingProfile/storageAccountStrategy",
            "/publishingProfile/publishedDate",
        ],
        Kind::Disk => &[
            "/creationData",
            "/uniqueId",
            "/timeCreated",
            "/hyperVGeneration",
            "/securityProfile",
        ],
        Kind::ManagedImage => &["/hyperVGeneration", "/storageProfile"],
        Kind::VirtualMachine => &[
            "/vmId",
            "/timeCreated",
            "/storageProfile/imageReference",
            "/storageProfile/osDisk/name",
            "/osProfile",
            "/priority",
        ],
        Kind::ScaleSet => &[
            "/orchestrationMode",
            "/platformFaultDomainCount",
            "/uniqueId",
            "/timeCreated",
            "/virtualMachineProfile/osProfile/adminUsername",
        ],
        Kind::DiskEncryptionSet => &["/encryptionType"],
        Kind::GalleryApplication | Kind::GalleryScript => &["/supportedOSType"],
        Kind::GalleryApplicationVersion | Kind::GalleryScriptVersion => &[
            "/publishingProfile/source",
            "/publishingProfile/manageActions",
            "/publishingProfile/settings",
            "/publishingProfile/publishedDate",
        ],
        Kind::AccessProfile => &["/osType", "/applicableHostEndpoint"],
        Kind::AccessProfileVersion => &["/publishedDate"],
        Kind::Snapshot => &[
            "/creationData",
            "/uniqueId",
            "/timeCreated",
            "/hyperVGeneration",
            "/incremental",
        ],
        _ => &[],
    }
}

fn visible(row: &Resource) -> (Value, Value, Value) {
    (json!(row.properties), json!(row.top), json!(row.tags))
}

fn check_immutables(before: &Resource, after: &Resource) -> Result<(), TestCaseError> {
    prop_assert_eq!(&before.id, &after.id);
    prop_assert_eq!(&before.location, &after.location);
    let (old, new) = (json!(before.properties), json!(after.properties));
    for at in immutables(before.kind) {
        if let Some(held) = old.pointer(at) {
            prop_assert_eq!(Some(held), new.pointer(at), "{}", at);
        }
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        select(vec![
            "eastus",
            "Linux",
            "V2",
            "Empty",
            "Upload",
            "Community",
            "2030-13-01",
            "/subscriptions/s"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    let known = Kind::ALL
        .into_iter()
        .flat_map(members)
        .flat_map(|(at, _)| at.split('/').skip(1));
    let mut names: Vec<&str> = known.collect();
    names.extend([
        "name",
        "id",
        "source",
        "uri",
        "lun",
        "osDiskImage",
        "encryption",
        "diskEncryptionSetId",
        "min",
        "max",
        "publisher",
        "createOption",
        "galleryImageReference",
        "uploadSizeBytes",
        "value",
        "permissions",
    ]);
    prop_oneof![8 => select(names).prop_map(str::to_owned), 1 => ".{0,6}"]
}

proptest! {
    #[test]
    fn what_get_shows_may_be_sent_back_and_changes_nothing((kind, first, _) in kind_and_changes(), version in select(&VERSIONS[..]), later in select(&VERSIONS[..])) {
        let world = World { api_version: version, ..World::default() };
        if let Ok(row) = world.put(&id(kind), &changed(least(kind), &first), None) {
            let row = done(row);
            let world = World { api_version: later, now_ms: NOW_MS + 1_000_000_000_000, ..World::default() };
            for again in [world.put(&id(kind), &shown(&row), Some(&row)), world.patch(&id(kind), &shown(&row), &row)] {
                let again = again.unwrap_or_else(|error| panic!("{kind:?} {}: {error}", shown(&row)));
                prop_assert_eq!(visible(&again), visible(&row));
                prop_assert_eq!(&again.internal, &row.internal);
            }
        }
    }

    #[test]
    fn a_second_put_never_changes_immutables((kind, first, second) in kind_and_changes(), version in select(&VERSIONS[..])) {
        let world = World { api_version: version, ..World::default() };
        if let Ok(row) = world.put(&id(kind), &changed(least(kind), &first), None) {
            let row = done(row);
            for body in [changed(least(kind), &second), changed(shown(&row), &second)] {
                if let Ok(after) = world.put(&id(kind), &body, Some(&row)) {
                    check_immutables(&row, &after)?;
                }
            }
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_alone((kind, first, second) in kind_and_changes()) {
        let world = World::default();
        if let Ok(row) = world.put(&id(kind), &changed(least(kind), &first), None) {
            let row = done(row);
            let mut body = changed(json!({}), &second);
            if kind == Kind::Image && body.get("properties").is_some() {
                set(&mut body, "/properties/osType", row.properties["osType"].clone());
            }
            if let Ok(after) = world.patch(&id(kind), &body, &row) {
                check_immutables(&row, &after)?;
                let follows = ["tier", "diskIOPSReadWrite", "diskMBpsReadWrite", "diskSizeBytes", "diskSizeGB", "lastKeyRotationTimestamp"];
                for (name, value) in &row.properties {
                    let is_named = body.pointer(&format!("/properties/{name}")).is_some() || (matches!(kind, Kind::Disk | Kind::Snapshot | Kind::DiskEncryptionSet) && follows.contains(&name.as_str()));
                    prop_assert!(is_named || after.properties.get(name) == Some(value), "{}", name);
                }
                if body.get("tags").is_none() {
                    prop_assert_eq!(&after.tags, &row.tags);
                }
            }
        }
    }

    #[test]
    fn no_body_panics(kind in select(&Kind::ALL[..]), body in any_json(), at in select(vec!["", "/properties", "/properties/publishingProfile", "/properties/publishingProfile/targetRegions", "/properties/storageProfile", "/properties/sharingProfile", "/properties/creationData", "/properties/features"])) {
        let mut whole = least(kind);
        if at.is_empty() {
            whole = body;
        } else {
            set(&mut whole, at, body);
        }
        let row = done(World::default().put(&id(kind), &least(kind), None).unwrap());
        let _ = World::default().put(&id(kind), &whole, None);
        let _ = World::default().put(&id(kind), &whole, Some(&row));
        let _ = World::default().patch(&id(kind), &whole, &row);
        let _ = domain::image_version::put_kind(&whole);
        let _ = domain::image_version::plan_restore(NOW_MS, &whole, &row, None);
        let _ = domain::disk::AccessRequest::parse(&whole);
    }

    #[test]
    fn no_stored_row_panics(kind in select(&Kind::ALL[..]), properties in any_json()) {
        let mut row = Resource::new(ResourceId::parse(&id(kind)).unwrap(), kind, "eastus", 0);
        row.properties = properties.as_object().cloned().unwrap_or_default();
        let _ = World::default().put(&id(kind), &least(kind), Some(&row));
        let _ = domain::plan::claims(&row);
        let _ = domain::plan::check_delete(&row);
        let _ = domain::image_version::check_delete(&row, NOW_MS);
        let _ = domain::image_version::source_ids(&row);
        let _ = domain::gallery::soft_delete_policy(&row);
        let _ = domain::network::check_delete(&row);
        let _ = domain::network::links::links(&row);
    }
}
