//! Direct sharing and public galleries, seen from another tenant.

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, GROUP_VERSION, Scene};

use crate::world::{Person, World, check};

/// The owner's version in one region, and a consumer of another tenant with a group of his own.
pub struct Market {
    pub world: World,
    pub scene: Scene,
    pub consumer: Person,
    pub subscription: String,
    pub group: String,
}

impl Market {
    pub async fn new() -> Self {
        let world = World::new().await;
        let scene = Scene::new(&world.server).await;
        let disk = scene.disk("hiddensource");
        let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
        world
            .owner
            .done("PUT", &disk, DISK_VERSION, Some(&empty))
            .await;
        let body = scene.version_body(&disk, &["eastus"]);
        world
            .owner
            .done("PUT", &scene.version("1.0.0"), GALLERY_VERSION, Some(&body))
            .await;
        let (consumer, subscription) = world.stranger().await;
        let group = format!("{subscription}/resourceGroups/theirs");
        let here = json!({ "location": "eastus" });
        consumer
            .arm
            .done("PUT", &group, GROUP_VERSION, Some(&here))
            .await;
        Self {
            world,
            scene,
            consumer,
            subscription,
            group,
        }
    }

    pub async fn profile(&self, profile: Value) -> Value {
        let body = json!({ "location": "eastus", "tags": { "hidden": "tag" }, "properties": { "sharingProfile": profile } });
        self.world
            .owner
            .done("PUT", &self.scene.gallery, GALLERY_VERSION, Some(&body))
            .await
    }

    pub async fn share(&self, operation: &str, kind: &str, id: &str) {
        let groups = match kind {
            "" => json!([]),
            _ => json!([{ "type": kind, "ids": [id] }]),
        };
        let body = json!({ "operationType": operation, "groups": groups });
        let path = format!("{}/share", self.scene.gallery);
        self.world
            .owner
            .done("POST", &path, GALLERY_VERSION, Some(&body))
            .await;
    }

    pub async fn look(&self, region: &str, local: &str) -> Answer {
        let path = format!(
            "{}/providers/Microsoft.Compute/locations/{region}/{local}",
            self.subscription
        );
        let answer = self
            .consumer
            .arm
            .send("GET", &path, GALLERY_VERSION, None)
            .await;
        let text = answer.body.to_string();
        assert!(
            !text.contains("hidden") && !text.contains("resourceGroups"),
            "{text}"
        );
        answer
    }

    /// Tries to make a disk of an image of others; returns the first answer.
    pub async fn deploy(&self, name: &str, region: &str, member: &str, id: &str) -> Answer {
        let path = format!("{}/providers/Microsoft.Compute/disks/{name}", self.group);
        let creation =
            json!({ "createOption": "FromImage", "galleryImageReference": { member: id } });
        let body = json!({ "location": region, "properties": { "creationData": creation } });
        let (answer, status) = self
            .consumer
            .arm
            .over("PUT", &path, DISK_VERSION, Some(&body))
            .await;
        if answer.status < 400 {
            assert_eq!(status.expect("an operation")["status"], "Succeeded");
            let made = self
                .consumer
                .arm
                .done("GET", &path, DISK_VERSION, None)
                .await;
            let text = made.to_string();
            assert!(text.contains(id) && !text.contains("/rg/"), "{text}");
        } else {
            // Who names the owner's subscription knows it; nobody else learns it.
            let owner = self.world.server.credential("subscriptionId");
            let shown = answer.body.to_string();
            assert!(id.contains(&owner) || !shown.contains(&owner), "{shown}");
        }
        answer
    }

    pub fn subscription_id(&self) -> &str {
        self.subscription.rsplit('/').next().unwrap()
    }
}

fn count(answer: &Answer) -> usize {
    check(answer, 200, "");
    answer.body["value"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_shared_gallery_is_seen_and_used_where_its_versions_are_until_it_is_unshared() {
    let market = Market::new().await;
    let shown = market.profile(json!({ "permissions": "Groups" })).await;
    let name = shown["properties"]["identifier"]["uniqueName"]
        .as_str()
        .unwrap()
        .to_owned();
    let gallery = format!("sharedGalleries/{name}");
    let id = format!("/SharedGalleries/{name}/Images/debian/Versions/latest");
    let member = "sharedGalleryImageId";
    assert_eq!(count(&market.look("eastus", "sharedGalleries").await), 0);
    check(
        &market.look("eastus", &gallery).await,
        404,
        "ResourceNotFound",
    );
    check(
        &market.deploy("before", "eastus", member, &id).await,
        404,
        "GalleryImageNotFound",
    );

    market
        .share("Add", "Subscriptions", market.subscription_id())
        .await;
    let listed = market.look("eastus", "sharedGalleries").await;
    let unique = format!("/SharedGalleries/{name}");
    assert_eq!(
        listed.body["value"],
        json!([{ "location": "eastus", "name": name, "identifier": { "uniqueId": unique } }])
    );
    assert_eq!(
        count(
            &market
                .look("eastus", "sharedGalleries?sharedTo=tenant")
                .await
        ),
        0
    );
    assert_eq!(count(&market.look("westus2", "sharedGalleries").await), 0);
    check(
        &market.look("westus2", &gallery).await,
        404,
        "ResourceNotFound",
    );
    let one = market.look("East US", &gallery.to_lowercase()).await;
    assert_eq!(
        one.body,
        json!({ "properties": {}, "location": "eastus", "name": name, "identifier": { "uniqueId": unique } })
    );
    assert_eq!(
        count(&market.look("eastus", &format!("{gallery}/images")).await),
        1
    );
    let image = market
        .look("eastus", &format!("{gallery}/images/debian"))
        .await;
    assert_eq!(
        image.body["properties"]["identifier"]["publisher"], "acme",
        "{}",
        image.body
    );
    let versions = market
        .look("eastus", &format!("{gallery}/images/debian/versions"))
        .await;
    assert_eq!(count(&versions), 1);
    let version = market
        .look("eastus", &format!("{gallery}/images/debian/versions/1.0.0"))
        .await;
    assert_eq!(versions.body["value"][0], version.body);
    assert_eq!(
        version.body["identifier"]["uniqueId"],
        format!("{unique}/Images/debian/Versions/1.0.0")
    );
    assert_eq!(
        version.body["properties"]["storageProfile"]["osDiskImage"]["diskSizeGB"],
        1
    );

    check(&market.deploy("made", "eastus", member, &id).await, 202, "");
    let exact = id.replace("latest", "1.0.0");
    check(
        &market.deploy("exact", "eastus", member, &exact).await,
        202,
        "",
    );
    check(
        &market.deploy("far", "westus2", member, &id).await,
        404,
        "GalleryImageNotFound",
    );
    check(
        &market
            .deploy("door", "eastus", "communityGalleryImageId", &id)
            .await,
        400,
        "InvalidParameter",
    );
    let owned = market.scene.version("1.0.0");
    check(
        &market.deploy("owned", "eastus", "id", &owned).await,
        403,
        "LinkedAuthorizationFailed",
    );

    market
        .share("Remove", "Subscriptions", market.subscription_id())
        .await;
    assert_eq!(count(&market.look("eastus", "sharedGalleries").await), 0);
    check(
        &market
            .look("eastus", &format!("{gallery}/images/debian/versions/1.0.0"))
            .await,
        404,
        "ResourceNotFound",
    );
    check(
        &market.deploy("after", "eastus", member, &exact).await,
        404,
        "GalleryImageNotFound",
    );
    let made = format!("{}/providers/Microsoft.Compute/disks/made", market.group);
    let kept = market
        .consumer
        .arm
        .done("GET", &made, DISK_VERSION, None)
        .await;
    assert_eq!(kept["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn a_gallery_that_is_shared_with_a_tenant_is_listed_for_tenants() {
    let market = Market::new().await;
    market.profile(json!({ "permissions": "Groups" })).await;
    let tenants = market
        .consumer
        .arm
        .send("GET", "/tenants", "2022-12-01", None)
        .await;
    let tenant = tenants.body["value"][0]["tenantId"].as_str().unwrap();
    market.share("Add", "AADTenants", tenant).await;
    assert_eq!(count(&market.look("eastus", "sharedGalleries").await), 0);
    let listed = market
        .look("eastus", "sharedGalleries?sharedTo=tenant")
        .await;
    assert_eq!(count(&listed), 1);
    let name = listed.body["value"][0]["name"].as_str().unwrap();
    let id = format!("/SharedGalleries/{name}/Images/debian");
    check(
        &market
            .deploy("made", "eastus", "sharedGalleryImageId", &id)
            .await,
        202,
        "",
    );
}

#[tokio::test]
async fn a_public_gallery_is_for_everybody_and_says_nothing_of_its_owner() {
    let market = Market::new().await;
    let info = json!({ "publisherUri": "https://acme.example", "publisherContact": "a@acme.example", "eula": "none", "publicNamePrefix": "acmeinc" });
    let shown = market
        .profile(json!({ "permissions": "Community", "communityGalleryInfo": info }))
        .await;
    let name = shown["properties"]["sharingProfile"]["communityGalleryInfo"]["publicNames"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let gallery = format!("communityGalleries/{name}");
    let id = format!("/CommunityGalleries/{name}/Images/debian");
    let query = json!({
        "query": "communitygalleryresources| where type == 'microsoft.compute/locations/communitygalleries' | where location == 'eastus' ",
        "options": { "$top": 30 },
    });
    let ask = async || {
        let path = "/providers/Microsoft.ResourceGraph/resources";
        let answer = market
            .consumer
            .arm
            .send("POST", path, "2021-03-01", Some(&query))
            .await;
        check(&answer, 200, "");
        answer.body
    };
    check(
        &market.look("eastus", &gallery).await,
        404,
        "ResourceNotFound",
    );
    assert_eq!(ask().await["data"], json!([]));
    market.share("EnableCommunity", "", "").await;
    let owner = market.world.server.credential("subscriptionId");
    let listed = ask().await;
    assert_eq!(listed["data"][0]["name"], name.as_str(), "{listed}");
    assert!(!listed.to_string().contains(&owner), "{listed}");
    for local in [
        "",
        "/images",
        "/images/debian",
        "/images/debian/versions",
        "/images/debian/versions/1.0.0",
    ] {
        let answer = market.look("eastus", &format!("{gallery}{local}")).await;
        check(&answer, 200, "");
        assert!(
            !answer.body.to_string().contains(&owner),
            "{local}: {}",
            answer.body
        );
    }
    let one = market.look("eastus", &gallery).await;
    assert_eq!(
        one.body["properties"]["communityMetadata"]["publisherUri"],
        "https://acme.example"
    );
    check(
        &market
            .deploy("made", "eastus", "communityGalleryImageId", &id)
            .await,
        202,
        "",
    );
    market.share("Reset", "", "").await;
    assert_eq!(ask().await["data"], json!([]));
    check(
        &market
            .deploy("after", "eastus", "communityGalleryImageId", &id)
            .await,
        404,
        "GalleryImageNotFound",
    );
    let bad = json!({ "query": "resources | project name" });
    let path = "/providers/Microsoft.ResourceGraph/resources";
    let refused = market
        .consumer
        .arm
        .send("POST", path, "2021-03-01", Some(&bad))
        .await;
    check(&refused, 400, "InvalidQuery");
}
