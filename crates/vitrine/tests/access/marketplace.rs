//! Images that the operator offers, seen and used from another tenant.

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION};

use crate::sharing::Market;
use crate::world::check;

const VERSION: &str = "2024-07-01";
const NAMES: &str = "Canonical:ubuntu-24_04-lts:server";
const SKU: &str = "publishers/canonical/artifacttypes/vmimage/offers/ubuntu-24_04-lts/skus/server";

/// A market in which the owner's definition is offered.
async fn offered() -> Market {
    let market = Market::new().await;
    let definition = &market.scene.definition;
    let shown = market.world.verb(&format!(
        "image offer {definition} --as {NAMES} --alias Ubuntu2404"
    ));
    assert_eq!(
        shown,
        json!({ "offeredAs": NAMES, "alias": "Ubuntu2404", "definition": definition })
    );
    market
}

/// Publishes another version of the owner's.
async fn publish(market: &Market, number: &str, regions: &[&str], is_excluded: bool) {
    let mut body = market
        .scene
        .version_body(&market.scene.disk("hiddensource"), regions);
    body["properties"]["publishingProfile"]["excludeFromLatest"] = json!(is_excluded);
    let path = market.scene.version(number);
    let owner = &market.world.owner;
    owner.done("PUT", &path, GALLERY_VERSION, Some(&body)).await;
}

fn names(answer: &Answer) -> Vec<&str> {
    check(answer, 200, "");
    let items = answer.body.as_array().expect("a bare list");
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap_or_default())
        .collect()
}

fn machine_body(region: &str, reference: &Value) -> Value {
    json!({ "location": region, "properties": {
        "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
        "storageProfile": { "imageReference": reference },
        "osProfile": { "computerName": "one", "adminUsername": "me", "adminPassword": "Secret-123-4" },
    } })
}

fn reference(version: &str) -> Value {
    json!({ "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": version })
}

impl Market {
    /// Asks for a machine; returns the first answer, once what it began has succeeded.
    async fn machine(&self, name: &str, region: &str, reference: &Value) -> Answer {
        let path = format!(
            "{}/providers/Microsoft.Compute/virtualMachines/{name}",
            self.group
        );
        let body = machine_body(region, reference);
        let arm = &self.consumer.arm;
        let (answer, status) = arm.over("PUT", &path, VERSION, Some(&body)).await;
        if answer.status < 400 {
            assert_eq!(status.expect("an operation")["status"], "Succeeded");
        }
        let owner = self.world.server.credential("subscriptionId");
        let shown = answer.body.to_string();
        assert!(
            !shown.contains(&owner) && !shown.contains("galleries"),
            "{shown}"
        );
        answer
    }

    async fn machine_shown(&self, name: &str) -> Value {
        let path = format!(
            "{}/providers/Microsoft.Compute/virtualMachines/{name}",
            self.group
        );
        self.consumer.arm.done("GET", &path, VERSION, None).await
    }
}

#[tokio::test]
async fn an_offered_image_is_read_from_the_publisher_down_to_the_version() {
    let market = offered().await;
    let id = format!(
        "/Subscriptions/{}/Providers/Microsoft.Compute/Locations/eastus",
        market.subscription_id()
    );
    let publishers = market.look("East US", "publishers").await;
    let publisher = format!("{id}/Publishers/Canonical");
    assert_eq!(
        publishers.body,
        json!([{ "location": "eastus", "name": "Canonical", "id": publisher }])
    );
    let offers = market
        .look(
            "eastus",
            "publishers/CANONICAL/artifacttypes/vmimage/offers",
        )
        .await;
    let offer = format!("{publisher}/ArtifactTypes/VMImage/Offers/ubuntu-24_04-lts");
    assert_eq!(
        offers.body,
        json!([{ "location": "eastus", "name": "ubuntu-24_04-lts", "id": offer }])
    );
    let skus = market.look("eastus", SKU.trim_end_matches("/server")).await;
    let sku = format!("{offer}/Skus/server");
    assert_eq!(
        skus.body,
        json!([{ "location": "eastus", "name": "server", "id": sku }])
    );
    let version = format!("{sku}/Versions/1.0.0");
    let item = json!({ "location": "eastus", "name": "1.0.0", "id": version });
    let versions = market.look("eastus", &format!("{SKU}/versions")).await;
    assert_eq!(versions.body, json!([item]));
    let one = market
        .look("eastus", &format!("{SKU}/versions/1.0.0"))
        .await;
    check(&one, 200, "");
    let shown = json!({
        "hyperVGeneration": "V2",
        "architecture": "x64",
        "replicaType": "Managed",
        "disallowed": { "vmDiskType": "Unmanaged" },
        "automaticOSUpgradeProperties": { "automaticOSUpgradeSupported": false },
        "imageDeprecationStatus": { "imageState": "Active" },
        "features": [{ "name": "SecurityType", "value": "Standard" }],
        "osDiskImage": { "operatingSystem": "Linux", "sizeInBytes": (1_u64 << 30) + 512 },
        "dataDiskImages": [],
    });
    assert_eq!(one.body["properties"], shown);
    let asked = format!("{SKU}/versions?$expand=properties/imageDeprecationStatus");
    let expanded = market.look("eastus", &asked).await;
    assert_eq!(expanded.body, json!([one.body]));

    for (region, local) in [
        (
            "eastus",
            "publishers/nobody/artifacttypes/vmimage/offers".to_owned(),
        ),
        ("eastus", SKU.replace("server", "desktop") + "/versions"),
        ("eastus", format!("{SKU}/versions/9.9.9")),
        ("eastus", format!("{SKU}/versions/latest")),
        ("westus2", format!("{SKU}/versions")),
        ("westus2", format!("{SKU}/versions/1.0.0")),
    ] {
        let answer = market.look(region, &local).await;
        check(&answer, 404, "NotFound");
        assert_eq!(
            answer.message(),
            "Artifact: VMImage was not found.",
            "{local}"
        );
    }
    assert_eq!(names(&market.look("westus2", "publishers").await), [""; 0]);
    for query in ["$top=0", "$orderby=size", "$expand=everything"] {
        let answer = market
            .look("eastus", &format!("{SKU}/versions?{query}"))
            .await;
        check(&answer, 400, "InvalidParameter");
    }
    check(
        &market.look("moon", "publishers").await,
        400,
        "InvalidParameter",
    );
}

#[tokio::test]
async fn versions_are_listed_by_number_and_latest_is_what_the_list_shows_first() {
    let market = offered().await;
    publish(&market, "1.10.0", &["eastus"], false).await;
    publish(&market, "1.9.0", &["eastus", "westus2"], false).await;
    publish(&market, "2.0.0", &["eastus"], true).await;
    let list = async |region: &str, query: &str| {
        let answer = market
            .look(region, &format!("{SKU}/versions?{query}"))
            .await;
        names(&answer).join(" ")
    };
    assert_eq!(list("eastus", "").await, "1.0.0 1.9.0 1.10.0");
    assert_eq!(
        list("eastus", "$orderby=name desc").await,
        "1.10.0 1.9.0 1.0.0"
    );
    assert_eq!(list("eastus", "$top=1&$orderby=name desc").await, "1.10.0");
    assert_eq!(list("eastus", "$top=2").await, "1.0.0 1.9.0");
    assert_eq!(
        list("westus2", "$top=1&$orderby=name%20desc").await,
        "1.9.0"
    );

    // The size is the disk's, also where the copy had nothing to move.
    let copied = market
        .look("westus2", &format!("{SKU}/versions/1.9.0"))
        .await;
    let size = &copied.body["properties"]["osDiskImage"]["sizeInBytes"];
    assert_eq!(*size, (1_u64 << 30) + 512, "{}", copied.body);

    for (name, region, asked, meant) in [
        ("newest", "eastus", "latest", Some("1.10.0")),
        ("far", "westus2", "Latest", Some("1.9.0")),
        ("old", "eastus", "1.0.0", Some("1.0.0")),
        ("excluded", "eastus", "2.0.0", Some("2.0.0")),
        ("elsewhere", "westus2", "1.10.0", None),
        ("unknown", "eastus", "3.0.0", None),
    ] {
        let answer = market.machine(name, region, &reference(asked)).await;
        let Some(meant) = meant else {
            check(&answer, 404, "PlatformImageNotFound");
            let text = format!(
                "The platform image '{NAMES}:{asked}' is not available. Verify that all fields in the storage profile are correct. \
                 For more details about storage profile information, please refer to https://aka.ms/storageprofile"
            );
            assert_eq!(answer.message(), text);
            assert_eq!(answer.body["error"]["target"], "imageReference");
            continue;
        };
        check(&answer, 201, "");
        let machine = market.machine_shown(name).await;
        let mut shown = reference(asked);
        shown["exactVersion"] = json!(meant);
        let profile = &machine["properties"]["storageProfile"];
        assert_eq!(profile["imageReference"], shown);
        assert_eq!(profile["osDisk"]["diskSizeGB"], 1);
        let disk = profile["osDisk"]["managedDisk"]["id"].as_str().unwrap();
        let disk = market
            .consumer
            .arm
            .done("GET", disk, DISK_VERSION, None)
            .await;
        let image = format!(
            "/Subscriptions/{}/Providers/Microsoft.Compute/Locations/{region}/Publishers/Canonical/ArtifactTypes/VMImage/Offers/\
             ubuntu-24_04-lts/Skus/server/Versions/{meant}",
            market.subscription_id()
        );
        assert_eq!(
            disk["properties"]["creationData"],
            json!({ "createOption": "FromImage", "imageReference": { "id": image } })
        );
        assert!(!disk.to_string().contains("galleries"), "{disk}");

        // The id that a disk shows makes another.
        let path = format!(
            "{}/providers/Microsoft.Compute/disks/of-{name}",
            market.group
        );
        let body = json!({ "location": region, "properties": { "creationData": disk["properties"]["creationData"] } });
        let arm = &market.consumer.arm;
        let made = arm.done("PUT", &path, DISK_VERSION, Some(&body)).await;
        assert_eq!(made["properties"]["osType"], "Linux", "{made}");
    }
    for missing in ["publisher", "offer", "sku", "version"] {
        let mut body = reference("latest");
        body.as_object_mut().unwrap().remove(missing);
        let answer = market.machine("none", "eastus", &body).await;
        check(&answer, 400, "InvalidParameter");
        assert_eq!(
            answer.message(),
            format!("Required parameter '{missing}' is missing (null).")
        );
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_gone_for_new_machines_and_stays_for_those_that_are_there() {
    let market = offered().await;
    check(
        &market.machine("one", "eastus", &reference("latest")).await,
        201,
        "",
    );
    let definition = market.scene.definition.clone();
    let refused = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let output = market.world.server.vitrine(&words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // A name does not change its meaning on the way, nor has an alias two.
    let other = format!("{}/images/other", market.scene.gallery);
    let body = testkit::definition_body("acme", "debian", "13");
    let owner = &market.world.owner;
    owner
        .done("PUT", &other, GALLERY_VERSION, Some(&body))
        .await;
    let said = refused(&format!(
        "image offer {other} --as {}",
        NAMES.to_uppercase()
    ));
    assert!(said.contains("Withdraw it first"), "{said}");
    let said = refused(&format!(
        "image offer {other} --as a:b:c --alias ubuntu2404"
    ));
    assert!(said.contains("alias"), "{said}");
    let said = refused(&format!("image offer {definition}x --as a:b:c"));
    assert!(said.contains("is not an image definition"), "{said}");
    let said = refused("image withdraw a:b:c");
    assert!(said.contains("Nothing is offered as 'a:b:c'"), "{said}");

    market
        .world
        .verb(&format!("image offer {other} --as Acme:debian:13"));
    let all = market.world.verb("image list");
    let listed: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["offeredAs"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["Acme:debian:13", NAMES]);
    market
        .world
        .verb(&format!("image withdraw {}", NAMES.to_lowercase()));
    assert_eq!(names(&market.look("eastus", "publishers").await), [""; 0]);
    check(
        &market.machine("two", "eastus", &reference("latest")).await,
        404,
        "PlatformImageNotFound",
    );
    let kept = market.machine_shown("one").await;
    assert_eq!(
        kept["properties"]["storageProfile"]["imageReference"]["exactVersion"],
        "1.0.0"
    );

    // An offer goes with its definition: one of the same name is another one.
    owner.done("DELETE", &other, GALLERY_VERSION, None).await;
    assert_eq!(market.world.verb("image list"), json!([]));
    let scope = market.world.server.credential("subscriptionId");
    let log =
        format!("/subscriptions/{scope}/providers/Microsoft.Insights/eventtypes/management/values");
    let log = owner.send("GET", &log, "2015-04-01", None).await;
    let actions = log.body.to_string();
    for action in ["write", "delete"] {
        assert!(
            actions.contains(&format!("Vitrine.Gallery/platformImages/{action}")),
            "{actions}"
        );
    }
}

#[tokio::test]
async fn a_list_of_allowed_images_knows_publishers_of_the_marketplace() {
    let market = offered().await;
    let list = format!(
        "{}/providers/Vitrine.Gallery/allowedImages/default",
        market.subscription
    );
    for (name, publishers, status) in [
        ("refused", json!(["Debian"]), 403),
        ("allowed", json!(["canonical"]), 201),
    ] {
        let body = json!({ "properties": { "mode": "Enforce", "publishers": publishers } });
        let arm = &market.consumer.arm;
        arm.done("PUT", &list, "2026-11-01", Some(&body)).await;
        let answer = market.machine(name, "eastus", &reference("latest")).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        if status == 403 {
            check(&answer, 403, "RequestDisallowedByPolicy");
            assert!(
                answer.message().contains(&format!("'{NAMES}:latest'")),
                "{}",
                answer.body
            );
        }
    }
    // The name of a verified publisher is not for the images of others.
    let (theirs, own) = (market.subscription_id(), &market.scene.definition);
    market
        .world
        .verb(&format!("publisher verify {theirs} --name Debian"));
    let offer = format!("image offer {own} --as debian:debian:12");
    let words: Vec<&str> = offer.split(' ').collect();
    let output = market.world.server.vitrine(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("verified"), "{said}");
}

#[tokio::test]
async fn words_for_images_are_told_to_whoever_asks_and_hold_nothing_else() {
    let market = offered().await;
    let own = &market.scene.definition;
    market
        .world
        .verb(&format!("image offer {own} --as Quiet:linux:one"));
    let endpoint = market.world.server.endpoint();
    let url = format!("{endpoint}/metadata/endpoints?api-version=2022-09-01");
    let http = market.world.owner.http();
    let cloud: Value = http.get(&url).send().await.unwrap().json().await.unwrap();
    let url = cloud["vmImageAliasDoc"].as_str().expect("az is told where");
    let answer = http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let document: Value = answer.json().await.unwrap();
    let ubuntu = json!({ "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest", "architecture": "x64" });
    assert_eq!(
        document["outputs"]["aliases"]["value"],
        json!({ "Linux": { "Ubuntu2404": ubuntu }, "Windows": {} })
    );
}
