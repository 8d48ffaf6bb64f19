//! Public addresses of machines in sets: one each, kept while the machine is, given back when it goes.

use serde_json::{Value, json};
use testkit::Answer;

use crate::world::{NETWORK_VERSION, VERSION, World, refused};

const IP_CONFIGURATION: &str = "/properties/virtualMachineProfile/networkProfile/networkInterfaceConfigurations/0/properties/ipConfigurations/0/properties";
const ASKS: &str = "publicIPAddressConfiguration";

/// The body of a set whose machines have public addresses of their own.
fn body(world: &World, capacity: usize) -> Value {
    let mut body = world.body(&world.scene.version("1.0.0"), capacity);
    let inner = body.pointer_mut(IP_CONFIGURATION).expect("a configuration");
    inner[ASKS] = json!({ "name": "pub", "properties": {
        "idleTimeoutInMinutes": 10, "dnsSettings": { "domainNameLabel": "mine" },
    } });
    body
}

async fn get(world: &World, id: &str) -> Answer {
    world.scene.arm.send("GET", id, NETWORK_VERSION, None).await
}

/// The addresses of a set's machines, as the set lists them.
async fn addresses(world: &World) -> Vec<Value> {
    let listed = get(world, &world.set("/publicipaddresses")).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    listed.body["value"].as_array().expect("a list").clone()
}

fn ip(address: &Value) -> &str {
    address["properties"]["ipAddress"]
        .as_str()
        .expect("an address")
}

async fn own_address(world: &World) -> Answer {
    let id = format!(
        "{}/providers/Microsoft.Network/publicIPAddresses/own",
        world.scene.group
    );
    let body = json!({ "location": "eastus" });
    world
        .scene
        .arm
        .send("PUT", &id, NETWORK_VERSION, Some(&body))
        .await
}

#[tokio::test]
async fn machines_of_a_uniform_set_have_addresses_of_their_own_and_give_them_back() {
    // There are two addresses in all.
    let world = World::with_addresses("127.44.9.0/30").await;
    world.put(&body(&world, 2)).await;
    let found = addresses(&world).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_ne!(ip(&found[0]), ip(&found[1]));
    let machine = world.set("/virtualMachines/1");
    let configuration = format!("{machine}/networkInterfaces/nic/ipConfigurations/ip");
    let id = format!("{configuration}/publicIPAddresses/pub");
    let one = get(&world, &id).await;
    assert_eq!((one.status, &one.body), (200, &found[1]));
    assert_eq!(
        (
            &one.body["id"],
            &one.body["sku"]["name"],
            &one.body["properties"]["idleTimeoutInMinutes"]
        ),
        (&json!(id), &json!("Basic"), &json!(10))
    );
    assert_eq!(
        one.body["properties"]["ipConfiguration"]["id"],
        configuration
    );
    assert_eq!(
        one.body["properties"]["dnsSettings"]["fqdn"],
        "vm1.mine.eastus.cloudapp.internal"
    );
    let listed = get(&world, &format!("{configuration}/publicipaddresses")).await;
    assert_eq!(listed.body["value"], json!([one.body]));
    let card = get(&world, &format!("{machine}/networkInterfaces/nic"))
        .await
        .body;
    let named = &card["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"];
    assert_eq!(named, &json!({ "id": id }), "{card}");
    let none = get(
        &world,
        &format!("{machine}/networkInterfaces/nic/ipConfigurations/no/publicipaddresses"),
    )
    .await;
    assert_eq!(none.status, 404, "{}", none.body);

    refused(
        &own_address(&world).await,
        400,
        "PublicIPCountLimitReached",
        "in use",
    );
    let reimage = json!({ "instanceIds": ["1"] });
    world.post("/reimage", &reimage).await;
    assert_eq!(ip(&get(&world, &id).await.body), ip(&found[1]));
    let arm = &world.scene.arm;
    arm.done("DELETE", &world.set("/virtualMachines/0"), VERSION, None)
        .await;
    assert_eq!(addresses(&world).await, [get(&world, &id).await.body]);
    assert_eq!(own_address(&world).await.status, 201);
}

#[tokio::test]
async fn addresses_come_and_go_with_the_model() {
    let world = World::new().await;
    let version = world.scene.version("1.0.0");
    world.put(&world.body(&version, 1)).await;
    assert_eq!(addresses(&world).await, [] as [Value; 0]);
    let all = json!({ "instanceIds": ["*"] });
    world.put(&body(&world, 1)).await;
    assert_eq!(
        addresses(&world).await.len(),
        0,
        "the model is given by hand"
    );
    world.post("/manualupgrade", &all).await;
    let found = addresses(&world).await;
    assert_eq!(found.len(), 1, "{found:?}");
    // Of what was sent, null takes away what is held.
    let mut without = body(&world, 1);
    *without
        .pointer_mut(&format!("{IP_CONFIGURATION}/{ASKS}"))
        .expect("it is there") = Value::Null;
    world.put(&without).await;
    world.post("/manualupgrade", &all).await;
    assert_eq!(addresses(&world).await, [] as [Value; 0]);
    let gone = get(&world, found[0]["id"].as_str().expect("an id")).await;
    assert_eq!(gone.status, 404, "{}", gone.body);
}

#[tokio::test]
async fn machines_of_a_flexible_set_have_ordinary_addresses_that_go_with_them() {
    let world = World::new().await;
    let mut body = body(&world, 2);
    body["properties"]["orchestrationMode"] = json!("Flexible");
    body["properties"]["platformFaultDomainCount"] = json!(1);
    world.put(&body).await;
    let all = format!(
        "{}/providers/Microsoft.Network/publicIPAddresses",
        world.scene.group
    );
    let listed = get(&world, &all).await.body;
    let found = listed["value"].as_array().expect("a list");
    assert_eq!(found.len(), 2, "{listed}");
    for one in found {
        assert!(
            one["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("pub-")),
            "{one}"
        );
        assert_eq!(one["sku"]["name"], "Standard");
        assert!(ip(one).starts_with("127.44."), "{one}");
    }
    let machines = world.get("/virtualMachines").await;
    let first = machines["value"][0]["id"].as_str().expect("an id");
    world.scene.arm.done("DELETE", first, VERSION, None).await;
    let listed = get(&world, &all).await.body;
    assert_eq!(
        listed["value"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    world
        .scene
        .arm
        .done("DELETE", &world.set(""), VERSION, None)
        .await;
    assert_eq!(get(&world, &all).await.body["value"], json!([]));
}

#[tokio::test]
async fn what_a_model_says_of_addresses_is_checked() {
    let world = World::new().await;
    for (member, value, code, text) in [
        ("/name", json!(""), "InvalidParameter", "'name' is missing"),
        (
            "/properties/idleTimeoutInMinutes",
            json!(99),
            "InvalidIdleTimeout",
            "between 4 and 30 minutes",
        ),
        (
            "/properties/dnsSettings/domainNameLabel",
            json!("No"),
            "InvalidDomainNameLabel",
            "domain name label",
        ),
    ] {
        let mut body = body(&world, 1);
        let place = format!("{IP_CONFIGURATION}/{ASKS}{member}");
        *body.pointer_mut(&place).expect("it is there") = value;
        let id = world.set("");
        let answer = world.scene.arm.send("PUT", &id, VERSION, Some(&body)).await;
        refused(&answer, 400, code, text);
    }
}
