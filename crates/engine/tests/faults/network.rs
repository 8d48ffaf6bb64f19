//! Networks in the catalog: both sides of every use agree, addresses are given once and come back.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;

use domain::network::links::users;
use domain::network::nested::Part;
use domain::network::ports::Protocol;
use domain::{Resource, ResourceId};
use serde_json::{Value, json};

use super::world::World;

fn id(world: &World, rest: &str) -> ResourceId {
    let group = ResourceId::group(&world.subscription, "rg");
    ResourceId::parse(&format!("{group}/providers/Microsoft.Network/{rest}")).unwrap()
}

async fn make(world: &World, rest: &str, properties: Value) {
    let body = json!({ "location": "eastus", "properties": properties });
    world.make(&id(world, rest), &body).await.unwrap();
}

async fn refused(world: &World, rest: &str, properties: Value) -> String {
    let body = json!({ "location": "eastus", "properties": properties });
    let refused = world.put(&id(world, rest), &body).await.map(|_| ());
    refused.unwrap_err().code.into_owned()
}

async fn row(world: &World, rest: &str) -> Resource {
    world
        .engine
        .get(&world.ctx, &id(world, rest))
        .await
        .unwrap()
}

fn reference(world: &World, rest: &str) -> Value {
    json!({ "id": id(world, rest).to_string() })
}

fn rule(name: &str, priority: i64, port: &str) -> Value {
    json!({ "name": name, "properties": {
        "protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": priority,
        "sourcePortRange": "*", "destinationPortRange": port, "sourceAddressPrefix": "*", "destinationAddressPrefix": "*",
    } })
}

/// A network `v` with subnet `a`, guarded by `guard`, which lets ssh in.
async fn network(world: &World) {
    make(
        world,
        "networkSecurityGroups/guard",
        json!({ "securityRules": [rule("ssh", 100, "22")] }),
    )
    .await;
    let subnet = json!({ "name": "a", "properties": {
        "addressPrefix": "10.0.0.0/24", "networkSecurityGroup": reference(world, "networkSecurityGroups/guard") } });
    let space = json!({ "addressPrefixes": ["10.0.0.0/16"] });
    make(
        world,
        "virtualNetworks/v",
        json!({ "addressSpace": space, "subnets": [subnet] }),
    )
    .await;
}

fn config(world: &World, members: Value) -> Value {
    let mut members = members;
    members["subnet"] = reference(world, "virtualNetworks/v/subnets/a");
    json!({ "ipConfigurations": [{ "name": "c", "properties": members }] })
}

fn private(row: &Resource) -> &str {
    let shown = row.properties["ipConfigurations"][0]["properties"]["privateIPAddress"].as_str();
    shown.unwrap()
}

#[tokio::test]
async fn addresses_are_given_kept_and_given_back() {
    let world = World::new().await;
    network(&world).await;
    for name in ["n1", "n2"] {
        make(
            &world,
            &format!("networkInterfaces/{name}"),
            config(&world, json!({})),
        )
        .await;
    }
    assert_eq!(
        private(&row(&world, "networkInterfaces/n1").await),
        "10.0.0.4"
    );
    assert_eq!(
        private(&row(&world, "networkInterfaces/n2").await),
        "10.0.0.5"
    );
    let fixed = json!({ "privateIPAllocationMethod": "Static", "privateIPAddress": "10.0.0.5" });
    let code = refused(
        &world,
        "networkInterfaces/n3",
        config(&world, fixed.clone()),
    )
    .await;
    assert_eq!(code, "PrivateIPAddressIsAllocated");
    make(&world, "networkInterfaces/n2", config(&world, json!({}))).await;
    assert_eq!(
        private(&row(&world, "networkInterfaces/n2").await),
        "10.0.0.5"
    );
    world.remove(&id(&world, "networkInterfaces/n2")).await;
    make(&world, "networkInterfaces/n3", config(&world, fixed)).await;
    assert_eq!(users(&row(&world, "virtualNetworks/v").await).len(), 2);
    world.remove(&id(&world, "networkInterfaces/n1")).await;
    world.remove(&id(&world, "networkInterfaces/n3")).await;
    assert_eq!(users(&row(&world, "virtualNetworks/v").await), []);
    world.remove(&id(&world, "virtualNetworks/v")).await;
    assert_eq!(users(&row(&world, "networkSecurityGroups/guard").await), []);
}

#[tokio::test]
async fn references_to_nothing_or_elsewhere_are_refused() {
    let world = World::new().await;
    network(&world).await;
    let none = json!({ "publicIPAddress": reference(&world, "publicIPAddresses/none") });
    let code = refused(&world, "networkInterfaces/n", config(&world, none)).await;
    assert_eq!(code, "InvalidResourceReference");
    let mut wrong = config(&world, json!({}));
    wrong["ipConfigurations"][0]["properties"]["subnet"] =
        reference(&world, "virtualNetworks/v/subnets/b");
    assert_eq!(
        refused(&world, "networkInterfaces/n", wrong).await,
        "InvalidResourceReference"
    );
    let body = json!({ "location": "westus2", "properties": config(&world, json!({})) });
    let elsewhere = world
        .put(&id(&world, "networkInterfaces/n"), &body)
        .await
        .map(|_| ());
    assert_eq!(elsewhere.unwrap_err().code, "InvalidResourceReference");
    assert_eq!(users(&row(&world, "virtualNetworks/v").await), []);
}

#[tokio::test]
async fn public_addresses_are_of_the_range_and_of_one_resource() {
    let world = World::new().await;
    for bad in ["10.0.0.0/8", "127.0.0.1/32", "127.0.0.5/24", "localhost"] {
        assert!(
            world.engine.set_public_addresses(bad).await.is_err(),
            "{bad}"
        );
    }
    world
        .engine
        .set_public_addresses("127.50.0.0/29")
        .await
        .unwrap();
    let mut given = HashSet::new();
    for number in 0..6 {
        let name = format!("publicIPAddresses/p{number}");
        make(&world, &name, json!({})).await;
        let address = row(&world, &name).await.properties["ipAddress"].clone();
        let text = address.as_str().unwrap().to_owned();
        assert!(
            text.starts_with("127.50.0.") && !text.ends_with(".0") && !text.ends_with(".7"),
            "{text}"
        );
        assert!(given.insert(text));
    }
    let full = refused(&world, "publicIPAddresses/more", json!({})).await;
    assert_eq!(full, "PublicIPCountLimitReached");
    world.remove(&id(&world, "publicIPAddresses/p3")).await;
    make(&world, "publicIPAddresses/more", json!({})).await;
}

#[tokio::test]
async fn a_machine_hears_which_ports_lead_to_it() {
    let world = World::new().await;
    network(&world).await;
    make(&world, "publicIPAddresses/p", json!({})).await;
    make(&world, "publicIPAddresses/front", json!({})).await;
    let front = json!({ "name": "f", "properties": { "publicIPAddress": reference(&world, "publicIPAddresses/front") } });
    let nat = json!({ "name": "ssh", "properties": { "protocol": "Tcp", "frontendPort": 50022, "backendPort": 22,
        "frontendIPConfiguration": reference(&world, "loadBalancers/b/frontendIPConfigurations/f") } });
    make(
        &world,
        "loadBalancers/b",
        json!({ "frontendIPConfigurations": [front], "inboundNatRules": [nat] }),
    )
    .await;
    let members = json!({
        "publicIPAddress": reference(&world, "publicIPAddresses/p"),
        "loadBalancerInboundNatRules": [reference(&world, "loadBalancers/b/inboundNatRules/ssh")],
    });
    make(&world, "networkInterfaces/n", config(&world, members)).await;
    let interface = id(&world, "networkInterfaces/n");
    let ask = || async {
        let all = world.engine.forwards(&interface).await.unwrap();
        assert!(all.iter().all(|f| f.protocol == Protocol::Tcp));
        let shown = all
            .iter()
            .map(|f| format!("{}:{}->{}", f.address, f.port, f.guest_port));
        shown.collect::<HashSet<_>>()
    };
    let p = row(&world, "publicIPAddresses/p").await.properties["ipAddress"]
        .as_str()
        .unwrap()
        .to_owned();
    let front = row(&world, "publicIPAddresses/front").await.properties["ipAddress"]
        .as_str()
        .unwrap()
        .to_owned();
    let ssh = [format!("{p}:22->22"), format!("{front}:50022->22")];
    assert_eq!(ask().await, HashSet::from(ssh.clone()));
    // A rule that is added by its own path opens its port.
    let part = id(&world, "networkSecurityGroups/guard/securityRules/web").to_string();
    let part = Part::parse(&ResourceId::parse(&part).unwrap()).unwrap();
    let made = world
        .engine
        .put_part(&world.ctx, &part, &rule("web", 110, "8080"))
        .await
        .unwrap();
    assert!(made.is_created && made.operation.is_some());
    world.settle().await;
    let mut more = HashSet::from(ssh);
    more.insert(format!("{p}:8080->8080"));
    assert_eq!(ask().await, more);
    for name in ["web", "ssh"] {
        let part = id(
            &world,
            &format!("networkSecurityGroups/guard/securityRules/{name}"),
        )
        .to_string();
        let part = Part::parse(&ResourceId::parse(&part).unwrap()).unwrap();
        assert!(
            world
                .engine
                .delete_part(&world.ctx, &part)
                .await
                .unwrap()
                .is_some()
        );
        world.settle().await;
        assert!(
            world
                .engine
                .delete_part(&world.ctx, &part)
                .await
                .unwrap()
                .is_none()
        );
    }
    assert_eq!(ask().await, HashSet::new());
    world.remove(&id(&world, "loadBalancers/b")).await;
    let left = row(&world, "networkInterfaces/n").await;
    let rules =
        &left.properties["ipConfigurations"][0]["properties"]["loadBalancerInboundNatRules"];
    assert_eq!(rules, &json!([]));
}

#[tokio::test]
async fn a_group_goes_with_its_network_unless_others_use_it() {
    let world = World::new().await;
    network(&world).await;
    let other = ResourceId::group(&world.subscription, "other");
    world
        .put(&other, &json!({ "location": "eastus" }))
        .await
        .unwrap();
    let name = format!("{other}/providers/Microsoft.Network/networkInterfaces/n");
    let interface = ResourceId::parse(&name).unwrap();
    let body = json!({ "location": "eastus", "properties": config(&world, json!({})) });
    world.make(&interface, &body).await.unwrap();
    let group = ResourceId::group(&world.subscription, "rg");
    let asked = world.delete(&group).await.unwrap().unwrap();
    world.settle().await;
    let ended = world.operation(&asked.operation.unwrap()).await;
    assert_eq!(ended.error.unwrap().code, "InUseSubnetCannotBeDeleted");
    world.remove(&interface).await;
    world.remove(&group).await;
    let left = world.engine.get(&world.ctx, &group).await.map(|_| ());
    assert_eq!(left.unwrap_err().code, "ResourceGroupNotFound");
}
