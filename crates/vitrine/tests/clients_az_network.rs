//! The real Azure CLI: networks, subnets, interfaces, public addresses, security groups, load balancers.

mod az;

use az::{Az, count, member};
use serde_json::Value;
use testkit::{Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// Runs words of a command line in group `rg`.
fn run(az: &Az<'_>, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
    az.json(&words)
}

fn refused(az: &Az<'_>, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
    az.fails(&words)
}

fn world(server: &Gallery) -> Az<'_> {
    let az = Az::connect(server);
    az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    az
}

#[test]
fn az_makes_networks_and_interfaces_with_addresses() {
    let server = az::start(Options::new(BINARY));
    let az = world(&server);
    let run = |line: &str| run(&az, line);
    let made = run(
        "network vnet create -n v --address-prefixes 10.1.0.0/16 --subnet-name default --subnet-prefixes 10.1.0.0/24",
    );
    assert_eq!(member(&made, "/newVNet/subnets/0/name"), "default");
    assert_eq!(member(&made, "/newVNet/provisioningState"), "Succeeded");
    let subnet =
        run("network vnet subnet create --vnet-name v -n second --address-prefixes 10.1.1.0/24");
    assert!(member(&subnet, "/id").ends_with("/virtualNetworks/v/subnets/second"));
    assert_eq!(count(&run("network vnet subnet list --vnet-name v")), 2);
    let text = refused(
        &az,
        "network vnet subnet create --vnet-name v -n third --address-prefixes 10.1.1.0/25",
    );
    assert!(text.contains("NetcfgSubnetRangesOverlap"), "{text}");

    let group = run("network nsg create -n guard");
    assert_eq!(count(&group["NewNSG"]["defaultSecurityRules"]), 6);
    let rule = run(
        "network nsg rule create --nsg-name guard -n ssh --priority 100 --access Allow --protocol Tcp --destination-port-ranges 22",
    );
    assert_eq!(member(&rule, "/direction"), "Inbound");
    let text = refused(
        &az,
        "network nsg rule create --nsg-name guard -n web --priority 100 --access Allow --protocol Tcp --destination-port-ranges 80",
    );
    assert!(text.contains("SecurityRuleConflict"), "{text}");
    assert_eq!(count(&run("network nsg rule list --nsg-name guard")), 1);

    let address = run("network public-ip create -n p --sku Standard --dns-name web1");
    let address = member(&address, "/publicIp/ipAddress").to_owned();
    assert!(address.starts_with("127.44."), "{address}");
    let made = run(
        "network nic create -n n --vnet-name v --subnet default --network-security-group guard --public-ip-address p",
    );
    let config = &made["NewNIC"]["ipConfigurations"][0];
    assert_eq!(member(config, "/privateIPAddress"), "10.1.0.4");
    assert_eq!(member(config, "/provisioningState"), "Succeeded");
    let second = run(
        "network nic create -n n2 --vnet-name v --subnet default --private-ip-address 10.1.0.9",
    );
    assert_eq!(
        member(
            &second,
            "/NewNIC/ipConfigurations/0/privateIPAllocationMethod"
        ),
        "Static"
    );
    assert_eq!(count(&run("network nic list")), 2);
    assert_eq!(count(&run("network nic ip-config list --nic-name n")), 1);
    for (line, code) in [
        (
            "network vnet subnet delete --vnet-name v -n default",
            "InUseSubnetCannotBeDeleted",
        ),
        ("network vnet delete -n v", "InUseSubnetCannotBeDeleted"),
        (
            "network public-ip delete -n p",
            "PublicIPAddressCannotBeDeleted",
        ),
        (
            "network nsg delete -n guard",
            "InUseNetworkSecurityGroupCannotBeDeleted",
        ),
    ] {
        let text = refused(&az, line);
        assert!(text.contains(code), "{line}: {text}");
    }
    let shown = run("network public-ip show -n p");
    assert!(
        member(&shown, "/ipConfiguration/id")
            .ends_with("/networkInterfaces/n/ipConfigurations/ipconfig1"),
        "{shown}"
    );
    let tagged = run("network nic update -n n --set tags.a=b");
    assert_eq!(member(&tagged, "/tags/a"), "b");
    for line in [
        "network nic delete -n n",
        "network nic delete -n n2",
        "network vnet subnet delete --vnet-name v -n default",
        "network public-ip delete -n p",
        "network nsg rule delete --nsg-name guard -n ssh",
        "network nsg delete -n guard",
        "network vnet delete -n v",
    ] {
        run(line);
    }
    for line in [
        "network nic list",
        "network vnet list",
        "network public-ip list",
        "network nsg list",
    ] {
        assert_eq!(count(&run(line)), 0, "{line}");
    }
}

#[test]
fn az_changes_the_parts_of_a_load_balancer() {
    let server = az::start(Options::new(BINARY));
    let az = world(&server);
    let run = |line: &str| run(&az, line);
    run(
        "network vnet create -n v --address-prefixes 10.1.0.0/16 --subnet-name default --subnet-prefixes 10.1.0.0/24",
    );
    run("network public-ip create -n p --sku Standard");
    let group = member(&az.json(&["group", "show", "-n", "rg"]), "/id").to_owned();
    let network = format!("{group}/providers/Microsoft.Network");
    let body = format!(
        r#"{{"location":"eastus","sku":{{"name":"Standard"}},"properties":{{"frontendIPConfigurations":[{{"name":"front","properties":{{"publicIPAddress":{{"id":"{network}/publicIPAddresses/p"}}}}}}]}}}}"#
    );
    let uri = format!("{network}/loadBalancers/b?api-version=2022-01-01");
    az.json(&["rest", "--method", "put", "--uri", &uri, "--body", &body]);
    run("network lb wait -n b --created --interval 1");
    run("network lb address-pool create --lb-name b -n pool");
    run("network lb probe create --lb-name b -n alive --protocol Tcp --port 22");
    run(
        "network lb rule create --lb-name b -n web --frontend-ip-name front --backend-pool-name pool --probe-name alive --protocol Tcp --frontend-port 80 --backend-port 8080",
    );
    run(
        "network lb inbound-nat-rule create --lb-name b -n ssh --frontend-ip-name front --protocol Tcp --frontend-port 50022 --backend-port 22",
    );
    run(
        "network nic create -n n --vnet-name v --subnet default --lb-name b --lb-address-pools pool --lb-inbound-nat-rules ssh",
    );
    let shown = run("network lb show -n b");
    let end = "/networkInterfaces/n/ipConfigurations/ipconfig1";
    for at in [
        "/backendAddressPools/0/backendIPConfigurations/0/id",
        "/inboundNatRules/0/backendIPConfiguration/id",
    ] {
        assert!(member(&shown, at).ends_with(end), "{at} of {shown}");
    }
    assert_eq!(
        count(&shown["frontendIPConfigurations"][0]["loadBalancingRules"]),
        1
    );
    let text = refused(&az, "network lb address-pool delete --lb-name b -n pool");
    assert!(
        text.contains("CannotBeDeleted") || text.contains("InvalidResourceReference"),
        "{text}"
    );
    run("network lb delete -n b");
    let left = run("network nic show -n n");
    assert_eq!(
        count(&left["ipConfigurations"][0]["loadBalancerBackendAddressPools"]),
        0
    );
    run("network nic delete -n n");
    run("network public-ip delete -n p");
    assert_eq!(count(&run("network lb list")), 0);
    az.json(&["group", "delete", "-n", "rg", "--yes"]);
}
