//! The real Azure CLI: VM applications and in-VM access control profiles.

mod az;

use az::{Az, count, member};
use serde_json::{Value, json};
use testkit::{Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// Runs words of a command line in group `rg`.
fn run(az: &Az<'_>, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').chain(["-g", "rg"]).collect();
    az.json(&words)
}

/// A gallery `sig` and a container `packages` in the account `packages1`.
fn world(server: &Gallery) -> Az<'_> {
    let az = Az::connect(server);
    az.json(&["group", "create", "-n", "rg", "-l", "eastus"]);
    run(&az, "sig create -r sig");
    az
}

/// Uploads a small file; returns its URL.
fn upload(server: &Gallery, az: &Az<'_>) -> String {
    let account = run(
        az,
        "storage account create -n packages1 -l eastus --sku Standard_LRS",
    );
    let endpoint = member(&account, "/primaryEndpoints/blob").to_owned();
    let keys = run(az, "storage account keys list -n packages1");
    let key = member(&keys, "/0/value");
    let connection = format!(
        "DefaultEndpointsProtocol=https;AccountName=packages1;AccountKey={key};BlobEndpoint={endpoint}"
    );
    let file = server.scratch().join("app.tar.gz");
    std::fs::write(&file, b"not much of a package").unwrap_or_else(|e| panic!("{e}"));
    let file = az::text(&file);
    az.json(&[
        "storage",
        "container",
        "create",
        "-n",
        "packages",
        "--connection-string",
        &connection,
    ]);
    az.json(&[
        "storage",
        "blob",
        "upload",
        "-c",
        "packages",
        "-n",
        "app.tar.gz",
        "-f",
        &file,
        "--connection-string",
        &connection,
    ]);
    format!("{endpoint}packages/app.tar.gz")
}

#[test]
fn az_publishes_applications() {
    let server = az::start(Options::new(BINARY));
    let az = world(&server);
    let link = upload(&server, &az);
    let run = |line: &str| run(&az, line);
    let made = run("sig gallery-application create -r sig -n app --os-type linux");
    assert_eq!(member(&made, "/supportedOSType"), "Linux");
    let updated =
        run("sig gallery-application update -r sig -n app --description hello --tags a=b");
    assert_eq!(member(&updated, "/description"), "hello");
    assert_eq!(count(&run("sig gallery-application list -r sig")), 1);
    let version = run(&format!(
        "sig gallery-application version create -r sig --application-name app -n 1.0.0 --package-file-link {link} \
         --install-command ./install --remove-command ./remove --target-regions [{{name:eastus}},{{name:westus2}}] --package-file-name app.tar.gz"
    ));
    assert_eq!(member(&version, "/provisioningState"), "Succeeded");
    assert_eq!(count(&version["publishingProfile"]["targetRegions"]), 2);
    // The file is the gallery's own now.
    run("storage account delete -n packages1 --yes");
    let more = run(&format!(
        "sig gallery-application version update -r sig --application-name app -n 1.0.0 --package-file-link {link} \
         --target-regions [{{name:eastus}},{{name:westus2}},{{name:westeurope}}] --tags a=b"
    ));
    assert_eq!(member(&more, "/provisioningState"), "Succeeded");
    let shown = run(
        "sig gallery-application version show -r sig --application-name app -n 1.0.0 --expand ReplicationStatus",
    );
    let status = &shown["replicationStatus"];
    assert_eq!(member(status, "/aggregatedState"), "Completed");
    assert_eq!(count(&status["summary"]), 3);
    assert_eq!(
        member(&shown, "/publishingProfile/manageActions/install"),
        "./install"
    );
    assert_eq!(
        count(&run(
            "sig gallery-application version list -r sig --application-name app"
        )),
        1
    );
    let text = az.fails(&[
        "sig",
        "gallery-application",
        "delete",
        "-r",
        "sig",
        "-n",
        "app",
        "-g",
        "rg",
        "--yes",
    ]);
    assert!(
        text.contains("CannotDeleteResource") || text.contains("nested resources"),
        "{text}"
    );
    run("sig gallery-application version delete -r sig --application-name app -n 1.0.0 --yes");
    run("sig gallery-application delete -r sig -n app --yes");
    assert_eq!(count(&run("sig gallery-application list -r sig")), 0);
}

#[test]
fn az_keeps_access_control_profiles() {
    let server = az::start(Options::new(BINARY));
    let az = world(&server);
    let run = |line: &str| run(&az, line);
    let made = run(
        "sig in-vm-access-control-profile create --gallery-name sig -n p --location eastus --os-type Linux --applicable-host-endpoint WireServer",
    );
    assert_eq!(member(&made, "/properties/provisioningState"), "Succeeded");
    assert_eq!(
        count(&run(
            "sig in-vm-access-control-profile list --gallery-name sig"
        )),
        1
    );
    let rules = json!({
        "privileges": [{ "name": "goal", "path": "/machine" }],
        "roles": [{ "name": "reader", "privileges": ["goal"] }],
        "identities": [{ "name": "agent", "user-name": "root" }],
        "role-assignments": [{ "role": "reader", "identities": ["agent"] }],
    });
    let rules = rules.to_string();
    let version = az.json(&[
        "sig",
        "in-vm-access-control-profile-version",
        "create",
        "-g",
        "rg",
        "--gallery-name",
        "sig",
        "--profile-name",
        "p",
        "--version-name",
        "1.0.0",
        "--location",
        "eastus",
        "--mode",
        "Audit",
        "--default-access",
        "Deny",
        "--rules",
        &rules,
        "--target-regions",
        "eastus",
        "westus2",
    ]);
    assert_eq!(member(&version, "/provisioningState"), "Succeeded");
    assert_eq!(count(&version["targetLocations"]), 2);
    let at = "--gallery-name sig --profile-name p --version-name 1.0.0";
    let shown = run(&format!(
        "sig in-vm-access-control-profile-version show {at}"
    ));
    assert_eq!(member(&shown, "/mode"), "Audit");
    let enforced = run(&format!(
        "sig in-vm-access-control-profile-version update {at} --mode Enforce"
    ));
    assert_eq!(member(&enforced, "/mode"), "Enforce");
    assert_eq!(
        count(&run(
            "sig in-vm-access-control-profile-version list --gallery-name sig --profile-name p"
        )),
        1
    );
    run(&format!(
        "sig in-vm-access-control-profile-version delete {at} --yes"
    ));
    run("sig in-vm-access-control-profile delete --gallery-name sig -n p --yes");
    assert_eq!(
        count(&run(
            "sig in-vm-access-control-profile list --gallery-name sig"
        )),
        0
    );
}
