//! Scale sets of a consumer, from images of others: made, changed, and what unsharing takes away.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::consumers::{publish, share};
use crate::sharing::Market;
use crate::world::check;

const VERSION: &str = "2024-11-01";
const NETWORK_VERSION: &str = "2024-05-01";

/// A set of the consumer's.
struct Set<'a> {
    market: &'a Market,
    member: &'static str,
    mode: &'static str,
}

impl Set<'_> {
    fn id(&self, tail: &str) -> String {
        let group = &self.market.group;
        format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets/ss{tail}")
    }

    fn body(&self, image: &str, capacity: usize) -> Value {
        let net = network(self.market);
        let subnet = format!("{net}/subnets/default");
        let config = json!({ "name": "ip", "properties": { "subnet": { "id": subnet } } });
        let card = json!({ "name": "nic", "properties": { "primary": true, "ipConfigurations": [config] } });
        json!({
            "location": "eastus",
            "sku": { "name": "Standard_B1s", "capacity": capacity },
            "properties": {
                "orchestrationMode": self.mode,
                "platformFaultDomainCount": 1,
                "upgradePolicy": { "mode": "Manual" },
                "virtualMachineProfile": {
                    "storageProfile": { "imageReference": { self.member: image } },
                    "osProfile": { "computerNamePrefix": "ss", "adminUsername": "me", "adminPassword": "Hidden-Word-2026" },
                    "networkProfile": { "networkApiVersion": "2020-11-01", "networkInterfaceConfigurations": [card] },
                },
            },
        })
    }

    /// Sends, waits and returns the status and code of how it ended; nobody learns whose image it is.
    async fn ask(&self, method: &str, tail: &str, body: &Value) -> (u16, String) {
        let arm = &self.market.consumer.arm;
        let (answer, status) = arm.over(method, &self.id(tail), VERSION, Some(body)).await;
        self.is_silent(&answer.body);
        let ended = status.unwrap_or_default();
        self.is_silent(&ended);
        let code = ended.pointer("/error/code").and_then(Value::as_str);
        let code = code.unwrap_or_else(|| answer.code());
        (answer.status, code.to_owned())
    }

    async fn get(&self, tail: &str) -> Value {
        let arm = &self.market.consumer.arm;
        let answer = arm.send("GET", &self.id(tail), VERSION, None).await;
        check(&answer, 200, "");
        self.is_silent(&answer.body);
        answer.body
    }

    fn is_silent(&self, shown: &Value) {
        // The name of a shared gallery begins with the subscription's number; nothing else tells of it.
        let owner = self.market.world.server.subscription();
        let text = shown.to_string();
        assert!(!text.contains(&owner) && !text.contains("hidden"), "{text}");
    }

    /// What each machine says it was made of, and whether it runs.
    async fn machines(&self) -> Vec<(Value, bool)> {
        let listed = self.get("/virtualMachines").await;
        let mut found = Vec::new();
        for one in listed["value"].as_array().unwrap() {
            let number = one["instanceId"].as_str().unwrap();
            let view = format!("/virtualMachines/{number}/instanceView");
            let view = self.get(&view).await.to_string();
            let image = one["properties"]["storageProfile"]["imageReference"].clone();
            found.push((image, view.contains("PowerState/running")));
        }
        found
    }
}

fn network(market: &Market) -> String {
    let group = &market.group;
    format!("{group}/providers/Microsoft.Network/virtualNetworks/net")
}

/// Publishes another version of the owner's image.
async fn newer(market: &Market, number: &str) {
    let disk = market.scene.disk("hiddensource");
    let body = market.scene.version_body(&disk, &["eastus"]);
    let version = market.scene.version(number);
    let owner = &market.world.owner;
    owner
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
}

async fn lives_until_it_is_unshared(set: &Set<'_>, images: &str, close: impl AsyncFn()) {
    let (market, member) = (set.market, set.member);
    let subnet = json!({ "name": "default", "properties": { "addressPrefix": "10.0.0.0/24" } });
    let net = json!({ "location": "eastus", "properties": {
        "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet],
    } });
    let arm = &market.consumer.arm;
    arm.done("PUT", &network(market), NETWORK_VERSION, Some(&net))
        .await;
    // A definition stands for its newest version; the name by which it was found is what is shown.
    let image = format!("{images}/debian");
    let made = set.ask("PUT", "", &set.body(&image, 1)).await;
    assert_eq!(made, (201, String::new()));
    let of = |id: &str, exact: &str| json!({ member: id, "exactVersion": exact });
    let shown = set.get("").await;
    let profile = &shown["properties"]["virtualMachineProfile"]["storageProfile"];
    assert_eq!(profile["imageReference"], of(&image, "1.0.0"), "{shown}");
    assert_eq!(set.machines().await, [(of(&image, "1.0.0"), true)]);

    // Another version by its number: for who is told, and for new machines.
    newer(market, "1.1.0").await;
    let exact = format!("{image}/Versions/1.1.0");
    let change = set.body(&exact, 2);
    assert_eq!(set.ask("PUT", "", &change).await, (200, String::new()));
    let (old, new) = (of(&image, "1.0.0"), of(&exact, "1.1.0"));
    assert_eq!(
        set.machines().await,
        [(old.clone(), true), (new.clone(), true)]
    );
    let first = set.get("/virtualMachines").await["value"][0]["instanceId"].clone();
    let one = json!({ "instanceIds": [first] });
    let updated = set.ask("POST", "/manualupgrade", &one).await;
    assert_eq!(updated.1, "");
    assert_eq!(
        set.machines().await,
        [(new.clone(), true), (new.clone(), true)]
    );

    close().await;
    // Who runs goes on, and starts again; nothing new is made, and the set says why.
    let grown = json!({ "sku": { "name": "Standard_B1s", "capacity": 3 } });
    let (_, code) = set.ask("PATCH", "", &grown).await;
    assert_eq!(code, "GalleryImageNotFound");
    let all = [(new.clone(), true), (new.clone(), true)];
    assert_eq!(set.machines().await, all);
    let every = json!({ "instanceIds": ["*"] });
    for verb in ["/deallocate", "/start"] {
        assert_eq!(set.ask("POST", verb, &every).await.1, "", "{verb}");
    }
    assert_eq!(set.machines().await, all);
    let (_, code) = set.ask("POST", "/reimage", &every).await;
    assert_eq!(code, "GalleryImageNotFound");
    assert_eq!(set.machines().await, all, "a refusal changes nothing");
    let fewer = json!({ "sku": { "name": "Standard_B1s", "capacity": 1 } });
    assert_eq!(set.ask("PATCH", "", &fewer).await, (200, String::new()));
    assert_eq!(set.machines().await.len(), 1);
    // The model cannot name what is not to be had.
    let (status, code) = set.ask("PUT", "", &set.body(&image, 1)).await;
    assert_eq!((status, code.as_str()), (404, "GalleryImageNotFound"));
    arm.done("DELETE", &set.id(""), VERSION, None).await;
}

#[tokio::test]
async fn a_set_of_a_shared_image_lives_on_and_grows_no_more_when_it_is_unshared() {
    let market = Market::new().await;
    let name = share(&market).await;
    let set = Set {
        market: &market,
        member: "sharedGalleryImageId",
        mode: "Uniform",
    };
    let images = format!("/SharedGalleries/{name}/Images");
    lives_until_it_is_unshared(&set, &images, async || {
        let who = market.subscription_id();
        market.share("Remove", "Subscriptions", who).await;
    })
    .await;
}

#[tokio::test]
async fn a_set_of_a_public_image_lives_on_and_grows_no_more_when_it_is_private_again() {
    let market = Market::new().await;
    let name = publish(&market, "acmeinc").await;
    let set = Set {
        market: &market,
        member: "communityGalleryImageId",
        mode: "Flexible",
    };
    let images = format!("/CommunityGalleries/{name}/Images");
    lives_until_it_is_unshared(&set, &images, async || {
        market.share("Reset", "", "").await;
    })
    .await;
}
