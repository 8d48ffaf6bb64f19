//! The real Azure CLI: template deployments.

mod az;

use az::{Az, count, member, text};
use serde_json::{Value, json};
use testkit::{Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/arm/gallery.json"
);

/// A server with group `rg`, gallery `sig` and the disk `source`.
fn world() -> (Gallery, String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        let source = scene.upload("source", &random_disk(2 << 20, 17)).await;
        (server, source)
    })
}

fn words<'a>(line: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    line.split(' ')
        .chain(["-g", "rg"])
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn az_validates_previews_creates_and_shows_the_example() {
    let (server, source) = world();
    let az = Az::connect(&server);
    let given = format!("sourceId={source}");
    let with = ["--template-file", EXAMPLE, "--parameters", &given];
    let valid = az.json(&words("deployment group validate", &with));
    assert_eq!(member(&valid, "/properties/provisioningState"), "Succeeded");
    assert_eq!(count(&valid["properties"]["validatedResources"]), 3);

    let shown = az.json(&words("deployment group what-if --no-pretty-print", &with));
    assert_eq!(member(&shown, "/status"), "Succeeded");
    let changes = shown["changes"].as_array().expect("changes");
    let creates = changes
        .iter()
        .filter(|c| c["changeType"] == "Create")
        .count();
    assert_eq!(creates, 3, "{shown}");
    let pretty = az.shell(&format!(
        "az deployment group what-if -g rg --template-file {EXAMPLE} --parameters {given}"
    ));
    assert!(pretty.contains("3 to create"), "{pretty}");

    let made = az.json(&words("deployment group create", &with));
    assert_eq!(member(&made, "/name"), "gallery");
    assert_eq!(member(&made, "/properties/provisioningState"), "Succeeded");
    let version = member(&made, "/properties/outputs/versionId/value").to_owned();
    let found = az.json(&["sig", "image-version", "show", "--ids", &version]);
    assert_eq!(member(&found, "/provisioningState"), "Succeeded");

    let again = az.json(&words("deployment group what-if --no-pretty-print", &with));
    let changes = again["changes"].as_array().expect("changes");
    assert!(
        changes
            .iter()
            .all(|c| c["changeType"] == "NoChange" || c["changeType"] == "Ignore"),
        "{again}"
    );
    assert_eq!(count(&az.json(&words("deployment group list", &[]))), 1);
    let steps = az.json(&words(
        "deployment operation group list --name gallery",
        &[],
    ));
    assert_eq!(count(&steps), 3);
    let exported = az.json(&words("deployment group export --name gallery", &[]));
    assert_eq!(member(&exported, "/contentVersion"), "1.0.0.0");
    az.json(&words("deployment group delete --name gallery", &[]));
    assert_eq!(count(&az.json(&words("deployment group list", &[]))), 0);
    az.json(&["sig", "image-version", "show", "--ids", &version]);
}

#[test]
fn az_deploys_to_a_subscription() {
    let (server, _) = world();
    let az = Az::connect(&server);
    let inner = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [{
            "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": "inside",
            "location": "[resourceGroup().location]",
        }],
    });
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": { "group": { "type": "string" } },
        "resources": [
            {
                "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "[parameters('group')]",
                "location": "[deployment().location]",
            },
            {
                "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "fill",
                "resourceGroup": "[parameters('group')]",
                "dependsOn": ["[subscriptionResourceId('Microsoft.Resources/resourceGroups', parameters('group'))]"],
                "properties": {
                    "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" }, "template": inner,
                },
            },
        ],
        "outputs": { "group": {
            "type": "string",
            "value": "[subscriptionResourceId('Microsoft.Resources/resourceGroups', parameters('group'))]",
        } },
    });
    let file = server.scratch().join("whole.json");
    std::fs::write(&file, template.to_string()).expect("a file");
    let file = text(&file);
    let line = |verb: &str| {
        let line = format!(
            "deployment sub {verb} --location westus2 --template-file {file} --parameters group=made"
        );
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |verb: &str| {
        let words = line(verb);
        az.json(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(
        member(&run("validate"), "/properties/provisioningState"),
        "Succeeded"
    );
    let shown = run("what-if --no-pretty-print");
    let creates = shown["changes"].as_array().expect("changes").iter();
    assert_eq!(
        creates.filter(|c| c["changeType"] == "Create").count(),
        2,
        "{shown}"
    );
    let pretty = az.shell(&format!("az {}", line("what-if").join(" ")));
    assert!(pretty.contains("2 to create"), "{pretty}");
    let made = run("create");
    assert_eq!(
        (
            member(&made, "/location"),
            member(&made, "/properties/provisioningState")
        ),
        ("westus2", "Succeeded")
    );
    let group = member(&made, "/properties/outputs/group/value");
    assert!(group.ends_with("/resourceGroups/made"), "{made}");
    let gallery = az.json(&["sig", "show", "-g", "made", "-r", "inside"]);
    assert_eq!(member(&gallery, "/location"), "westus2");
    assert_eq!(count(&az.json(&["deployment", "sub", "list"])), 1);
    let steps = az.json(&["deployment", "operation", "sub", "list", "--name", "whole"]);
    assert_eq!(count(&steps), 2);
    let exported = az.json(&["deployment", "sub", "export", "--name", "whole"]);
    assert_eq!(member(&exported, "/contentVersion"), "1.0.0.0");
    let moved = az.fails(&[
        "deployment",
        "sub",
        "create",
        "--location",
        "eastus",
        "--template-file",
        &file,
        "--parameters",
        "group=made",
    ]);
    assert!(
        moved.contains("InvalidDeploymentLocation")
            && moved.contains("already exists in location 'westus2'"),
        "{moved}"
    );
    az.json(&["deployment", "sub", "delete", "--name", "whole"]);
    assert_eq!(count(&az.json(&["deployment", "sub", "list"])), 0);
}

#[test]
fn az_shows_what_is_wrong_with_a_template() {
    let (server, source) = world();
    let az = Az::connect(&server);
    let missing = az.fails(&words(
        "deployment group create --no-prompt true",
        &["--template-file", EXAMPLE],
    ));
    assert!(missing.contains("sourceId"), "{missing}");
    let given = format!("sourceId={source}");
    let wrong = [
        "--template-file",
        EXAMPLE,
        "--parameters",
        &given,
        "osType=Plan9",
    ];
    let refused = az.fails(&words("deployment group validate", &wrong));
    assert!(
        refused.contains("InvalidTemplate") && refused.contains("'Linux,Windows'"),
        "{refused}"
    );
    let nothing = source.replace("/disks/source", "/disks/nothing");
    let given = format!("sourceId={nothing}");
    let failed = az.fails(&words(
        "deployment group create",
        &["--template-file", EXAMPLE, "--parameters", &given],
    ));
    assert!(
        failed.contains("DeploymentFailed") && failed.contains("nothing"),
        "{failed}"
    );
    let shown = az.json(&words("deployment group show --name gallery", &[]));
    assert_eq!(member(&shown, "/properties/provisioningState"), "Failed");
    let listed = az.json(&words(
        "deployment group list",
        &["--filter", "provisioningState eq 'Failed'"],
    ));
    assert_eq!(count(&listed), 1);
}

#[test]
fn az_deploys_in_complete_mode_and_keeps_secrets() {
    let (server, _) = world();
    let az = Az::connect(&server);
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": { "secret": { "type": "securestring" } },
        "resources": [{
            "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": "only", "location": "eastus",
            "tags": { "length": "[string(length(parameters('secret')))]" },
        }],
    });
    let file = server.scratch().join("only.json");
    std::fs::write(&file, template.to_string()).expect("a file");
    let file = text(&file);
    let with = [
        "--template-file",
        &file,
        "--parameters",
        "secret=hidden-word",
    ];
    let made = az.json(&words("deployment group create --mode Complete", &with));
    assert_eq!(member(&made, "/properties/provisioningState"), "Succeeded");
    assert!(!made.to_string().contains("hidden-word"), "{made}");
    let left = az.json(&words("resource list", &[]));
    let names: Vec<&Value> = left
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["only"]);
}
