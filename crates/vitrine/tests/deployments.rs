//! Template deployments over HTTP: what is made, what is refused, what is shown, what survives.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, GALLERY_VERSION, GROUP_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2025-04-01";

struct World {
    server: Gallery,
    scene: Scene,
}

impl World {
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let scene = Scene::new(&server).await;
        Self { server, scene }
    }

    fn path(&self, name: &str) -> String {
        format!(
            "{}/providers/Microsoft.Resources/deployments/{name}",
            self.scene.group
        )
    }

    fn gallery(&self, name: &str) -> String {
        format!(
            "{}/providers/Microsoft.Compute/galleries/{name}",
            self.scene.group
        )
    }

    async fn get(&self, path: &str) -> Answer {
        self.scene.arm.send("GET", path, VERSION, None).await
    }

    /// Deploys and waits; returns the deployment as it then stands.
    async fn deploy(&self, name: &str, body: &Value) -> Value {
        let path = self.path(name);
        let (answer, _) = self.scene.arm.over("PUT", &path, VERSION, Some(body)).await;
        assert!(answer.status < 300, "{}", answer.body);
        self.get(&path).await.body
    }
}

fn template(members: &Value) -> Value {
    let mut out = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [],
    });
    for (name, value) in members.as_object().expect("an object") {
        out[name] = value.clone();
    }
    out
}

fn body(members: &Value, parameters: Value) -> Value {
    json!({ "properties": { "mode": "Incremental", "template": template(members), "parameters": parameters } })
}

fn gallery(name: &str) -> Value {
    json!({ "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": name, "location": "eastus" })
}

fn state(deployment: &Value) -> &str {
    deployment["properties"]["provisioningState"]
        .as_str()
        .unwrap_or_default()
}

/// The example of the documentation, as the body that `az deployment group create` sends: not JSON.
fn example(parameters: &Value) -> String {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/arm/gallery.json"
    );
    let text = std::fs::read_to_string(file).expect("the example is there");
    format!(
        "{{\"properties\": {{\"parameters\": {parameters}, \"mode\": \"Incremental\", template:{text}}}}}"
    )
}

#[tokio::test]
async fn the_example_makes_gallery_definition_and_version() {
    let world = World::new().await;
    let source = world.scene.upload("source", &random_disk(2 << 20, 5)).await;
    let text = example(
        &json!({ "sourceId": { "value": source }, "regions": { "value": ["eastus", "westus2"] } }),
    );
    let path = world.path("example");
    let answer = world.scene.arm.send_text("PUT", &path, VERSION, text).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let poll = answer
        .header("azure-asyncoperation")
        .expect("a URL")
        .to_owned();
    assert!(
        poll.contains("/deployments/example/operationStatuses/"),
        "{poll}"
    );
    assert_eq!(
        (state(&answer.body), &answer.body["name"]),
        ("Accepted", &json!("example"))
    );
    let status = world.scene.arm.poll(&poll).await;
    assert_eq!(status["status"], "Succeeded", "{status}");

    let made = world.get(&path).await.body;
    let properties = &made["properties"];
    assert_eq!(state(&made), "Succeeded", "{made}");
    let version = format!(
        "{}/images/debian/versions/1.0.0",
        world.gallery("templated")
    );
    assert_eq!(
        properties["outputs"]["versionId"],
        json!({ "type": "String", "value": version })
    );
    assert!(
        properties["outputs"]["uniqueName"]["value"]
            .as_str()
            .is_some_and(|name| name.ends_with("-TEMPLATED")),
        "{properties}"
    );
    assert_eq!(
        properties["outputResources"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        properties["parameters"]["osType"],
        json!({ "type": "String", "value": "Linux" })
    );
    assert_eq!(properties["dependencies"].as_array().map(Vec::len), Some(2));
    assert_eq!(properties["providers"][0]["namespace"], "Microsoft.Compute");
    assert_eq!(properties["mode"], "Incremental");
    for member in ["correlationId", "duration", "timestamp", "templateHash"] {
        assert!(properties[member].is_string(), "{member}: {properties}");
    }
    let shown = world
        .scene
        .arm
        .send("GET", &version, GALLERY_VERSION, None)
        .await
        .body;
    assert_eq!(
        shown["properties"]["provisioningState"], "Succeeded",
        "{shown}"
    );
    assert_eq!(
        shown["properties"]["publishingProfile"]["targetRegions"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    let steps = world.get(&format!("{path}/operations")).await.body;
    let steps = steps["value"].as_array().expect("steps");
    assert_eq!(steps.len(), 3);
    for step in steps {
        assert_eq!(
            step["properties"]["provisioningState"], "Succeeded",
            "{step}"
        );
        let one = world.get(step["id"].as_str().expect("an id")).await;
        assert_eq!((one.status, &one.body), (200, step));
    }
    let exported = world
        .scene
        .arm
        .send("POST", &format!("{path}/exportTemplate"), VERSION, None)
        .await
        .body;
    assert_eq!(exported["template"]["contentVersion"], "1.0.0.0");
    assert_eq!(
        world
            .scene
            .arm
            .send("HEAD", &path, VERSION, None)
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let with = |member: &str, value: Value| {
        let mut one = gallery("never");
        one[member] = value;
        json!({ "resources": [one] })
    };
    let unknown =
        json!({ "type": "Microsoft.Sql/servers", "apiVersion": "2024-03-03", "name": "x" });
    let cases = [
        (
            json!({ "resources": [gallery("a/b")] }),
            "InvalidTemplate",
            "incorrect segment lengths",
        ),
        (
            json!({ "parameters": { "p": { "type": "string" } } }),
            "InvalidTemplate",
            "The value for the template parameter 'p'",
        ),
        (
            with("tags", json!("[nothing()]")),
            "InvalidTemplate",
            "The template function 'nothing' is not valid",
        ),
        (
            with("dependsOn", json!(["x"])),
            "InvalidTemplate",
            "The resource 'x' is not defined in the template",
        ),
        (
            with("apiVersion", json!("2001-01-01")),
            "InvalidTemplateDeployment",
            "No registered resource provider found",
        ),
        (
            with("properties", json!({ "wrong": 1 })),
            "InvalidTemplateDeployment",
            "Could not find member 'wrong'",
        ),
        (
            json!({ "resources": [unknown] }),
            "InvalidTemplateDeployment",
            "The resource type 'servers' could not be found",
        ),
    ];
    for (members, code, said) in cases {
        let sent = body(&members, json!({}));
        for (method, path) in [
            ("PUT", world.path("bad")),
            ("POST", format!("{}/validate", world.path("bad"))),
        ] {
            let answer = world
                .scene
                .arm
                .send(method, &path, VERSION, Some(&sent))
                .await;
            assert_eq!(
                (answer.status, answer.code()),
                (400, code),
                "{members}: {}",
                answer.body
            );
            assert!(
                answer.body.to_string().contains(said),
                "{members}: {}",
                answer.body
            );
        }
    }
    assert_eq!(
        world.get(&world.path("bad")).await.code(),
        "DeploymentNotFound"
    );
    assert_eq!(
        world
            .scene
            .arm
            .send("GET", &world.gallery("never"), GALLERY_VERSION, None)
            .await
            .status,
        404
    );
    let elsewhere = world.path("x").replace("/rg/", "/nowhere/");
    let sent = body(&json!({}), json!({}));
    let answer = world
        .scene
        .arm
        .send("PUT", &elsewhere, VERSION, Some(&sent))
        .await;
    assert_eq!(
        (answer.status, answer.code()),
        (404, "ResourceGroupNotFound")
    );
    let long = world
        .scene
        .arm
        .send("PUT", &world.path(&"n".repeat(65)), VERSION, Some(&sent))
        .await;
    assert_eq!((long.status, long.code()), (400, "InvalidDeploymentName"));
    let valid = world
        .scene
        .arm
        .send(
            "POST",
            &format!("{}/validate", world.path("v")),
            VERSION,
            Some(&body(&json!({ "resources": [gallery("v")] }), json!({}))),
        )
        .await;
    assert_eq!(
        (valid.status, state(&valid.body)),
        (200, "Succeeded"),
        "{}",
        valid.body
    );
    assert_eq!(
        valid.body["properties"]["validatedResources"],
        json!([{ "id": world.gallery("v") }])
    );
}

#[tokio::test]
async fn what_fails_says_why_and_what_does_not_wait_for_it_is_made() {
    let world = World::new().await;
    let mut image = json!({
        "type": "Microsoft.Compute/galleries/images", "apiVersion": "2024-03-03", "name": "good/image", "location": "eastus",
        "dependsOn": ["good", "bad"],
    });
    image["properties"] = json!({ "osType": "Linux", "osState": "Generalized", "identifier": { "publisher": "p", "offer": "o", "sku": "s" } });
    let disk = json!({
        "type": "Microsoft.Compute/disks", "apiVersion": "2024-03-02", "name": "bad", "location": "eastus",
        "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": "[resourceId('Microsoft.Compute/disks', 'nothing')]" } },
    });
    let made = world
        .deploy(
            "fails",
            &body(
                &json!({ "resources": [image, disk, gallery("good")] }),
                json!({}),
            ),
        )
        .await;
    assert_eq!(state(&made), "Failed", "{made}");
    let error = &made["properties"]["error"];
    assert_eq!(error["code"], "DeploymentFailed", "{made}");
    assert_eq!(error["details"].as_array().map(Vec::len), Some(1), "{made}");
    assert!(
        error["details"][0]["message"]
            .as_str()
            .is_some_and(|m| m.contains("nothing")),
        "{made}"
    );
    assert_eq!(
        world
            .scene
            .arm
            .send("GET", &world.gallery("good"), GALLERY_VERSION, None)
            .await
            .status,
        200
    );
    let steps = world
        .get(&format!("{}/operations", world.path("fails")))
        .await
        .body;
    let failed: Vec<&Value> = steps["value"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|s| s["properties"]["provisioningState"] == "Failed")
        .collect();
    assert_eq!(failed.len(), 1, "{steps}");
    assert_eq!(
        failed[0]["properties"]["targetResource"]["resourceName"],
        "bad"
    );
    assert!(
        failed[0]["properties"]["statusMessage"]["error"]["code"].is_string(),
        "{steps}"
    );
    let listed = world.get(&format!("{}/providers/Microsoft.Resources/deployments?$filter=provisioningState%20eq%20'Failed'", world.scene.group)).await.body;
    assert_eq!(
        listed["value"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
}

#[tokio::test]
async fn secrets_are_used_and_shown_nowhere() {
    const SECRET: &str = "Xy7-very-hidden-value";
    let world = World::new().await;
    let mut one = gallery("secretive");
    one["tags"] = json!({ "length": "[string(length(parameters('secret')))]" });
    let members = json!({
        "parameters": { "secret": { "type": "secureString" }, "open": { "type": "string" } },
        "resources": [one],
        "outputs": { "secret": { "type": "securestring", "value": "[parameters('secret')]" } },
    });
    let made = world
        .deploy(
            "secret",
            &body(
                &members,
                json!({ "secret": { "value": SECRET }, "open": { "value": "seen" } }),
            ),
        )
        .await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    assert_eq!(
        made["properties"]["parameters"],
        json!({ "secret": { "type": "SecureString" }, "open": { "type": "String", "value": "seen" } })
    );
    assert_eq!(
        made["properties"]["outputs"],
        json!({ "secret": { "type": "SecureString" } })
    );
    let shown = world
        .scene
        .arm
        .send("GET", &world.gallery("secretive"), GALLERY_VERSION, None)
        .await
        .body;
    assert_eq!(shown["tags"]["length"], SECRET.len().to_string());
    let mut files = vec![world.server.data()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else if let Ok(bytes) = std::fs::read(&path) {
            let is_there = bytes
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!is_there, "the secret lies in {}", path.display());
        }
    }
    assert!(!world.server.log_text().contains(SECRET));
}

#[tokio::test]
async fn complete_deletes_what_is_not_named_and_what_if_says_so_before() {
    let world = World::new().await;
    world
        .deploy(
            "first",
            &body(
                &json!({ "resources": [gallery("kept"), gallery("gone")] }),
                json!({}),
            ),
        )
        .await;
    let mut kept = gallery("kept");
    kept["properties"] = json!({ "description": "changed" });
    let mut sent = body(&json!({ "resources": [kept, gallery("new")] }), json!({}));
    sent["properties"]["mode"] = json!("Complete");
    let asked = world
        .scene
        .arm
        .send(
            "POST",
            &format!("{}/whatIf", world.path("second")),
            VERSION,
            Some(&sent),
        )
        .await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let answer = world
        .scene
        .arm
        .monitor(asked.header("location").expect("a location"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let changes = answer.body["properties"]["changes"]
        .as_array()
        .expect("changes")
        .clone();
    let said = |id: &str| {
        let found = changes.iter().find(|c| {
            c["resourceId"]
                .as_str()
                .is_some_and(|i| i.eq_ignore_ascii_case(id))
        });
        found
            .map(|c| c["changeType"].as_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    };
    assert_eq!(said(&world.gallery("kept")), "Modify", "{changes:?}");
    assert_eq!(said(&world.gallery("new")), "Create");
    assert_eq!(said(&world.gallery("gone")), "Delete");
    assert_eq!(said(&world.scene.definition), "Delete");
    let changed = changes
        .iter()
        .find(|c| c["changeType"] == "Modify")
        .expect("a change");
    assert_eq!(
        changed["delta"],
        json!([{ "path": "properties.description", "propertyChangeType": "Create", "after": "changed" }])
    );
    assert_eq!(
        world
            .scene
            .arm
            .send("GET", &world.gallery("gone"), GALLERY_VERSION, None)
            .await
            .status,
        200
    );

    let made = world.deploy("second", &sent).await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    let left = world
        .scene
        .arm
        .send(
            "GET",
            &format!("{}/resources", world.scene.group),
            GROUP_VERSION,
            None,
        )
        .await
        .body;
    let mut names: Vec<&str> = left["value"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["kept", "new"]);
    let again = world
        .scene
        .arm
        .send(
            "POST",
            &format!("{}/whatIf", world.path("third")),
            VERSION,
            Some(&sent),
        )
        .await;
    let answer = world
        .scene
        .arm
        .monitor(again.header("location").expect("a location"))
        .await;
    assert!(
        answer.body["properties"]["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .all(|c| c["changeType"] == "NoChange"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn nested_deployments_loops_and_references_work_together() {
    let world = World::new().await;
    let inner = template(&json!({
        "parameters": { "name": { "type": "string" } },
        "resources": [gallery("[parameters('name')]")],
        "outputs": { "id": { "type": "string", "value": "[resourceId('Microsoft.Compute/galleries', parameters('name'))]" } },
    }));
    let nested = json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "[concat('inner', copyIndex())]",
        "copy": { "name": "inners", "count": 2 },
        "properties": {
            "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" }, "template": inner,
            "parameters": { "name": { "value": "[concat('nested', copyIndex())]" } },
        },
    });
    let mut last = gallery("last");
    last["tags"] = json!({ "before": "[reference('inner1').outputs.id.value]" });
    let lock = json!({
        "type": "Microsoft.Authorization/locks", "apiVersion": "2016-09-01", "name": "keep", "scope": "Microsoft.Compute/galleries/last",
        "dependsOn": ["last"], "properties": { "level": "CanNotDelete" },
    });
    let members = json!({
        "resources": [last, nested, lock],
        "outputs": { "all": { "type": "array", "copy": { "count": 2, "input": "[reference(concat('inner', copyIndex())).outputs.id.value]" } } },
    });
    let made = world.deploy("outer", &body(&members, json!({}))).await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    assert_eq!(
        made["properties"]["outputs"]["all"]["value"],
        json!([world.gallery("nested0"), world.gallery("nested1")])
    );
    let shown = world
        .scene
        .arm
        .send("GET", &world.gallery("last"), GALLERY_VERSION, None)
        .await
        .body;
    assert_eq!(shown["tags"]["before"], world.gallery("nested1"));
    let refused = world
        .scene
        .arm
        .send("DELETE", &world.gallery("last"), GALLERY_VERSION, None)
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "ScopeLocked"),
        "{}",
        refused.body
    );
    let inner = world.get(&world.path("inner0")).await.body;
    assert_eq!(state(&inner), "Succeeded", "{inner}");
    let mut asked = body(&members, json!({}));
    asked["properties"]["mode"] = json!("Complete");
    let what_if = format!("{}/whatIf", world.path("outer"));
    let asked = world
        .scene
        .arm
        .send("POST", &what_if, VERSION, Some(&asked))
        .await;
    let answer = world
        .scene
        .arm
        .monitor(asked.header("location").expect("a location"))
        .await;
    let changes = answer.body["properties"]["changes"]
        .as_array()
        .expect("changes");
    let deleted: Vec<&str> = changes
        .iter()
        .filter(|c| c["changeType"] == "Delete")
        .filter_map(|c| c["resourceId"].as_str())
        .collect();
    assert_eq!(
        deleted.len(),
        2,
        "nested resources are named too: {deleted:?}"
    );
    assert!(
        deleted.iter().all(|id| id.contains("/galleries/sig")),
        "{deleted:?}"
    );
    // The same again: everything is there, nothing is skipped because of an earlier run.
    world
        .scene
        .arm
        .done("DELETE", &world.gallery("nested0"), GALLERY_VERSION, None)
        .await;
    let made = world.deploy("outer", &body(&members, json!({}))).await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    assert_eq!(
        world
            .scene
            .arm
            .send("GET", &world.gallery("nested0"), GALLERY_VERSION, None)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_deployment_survives_kills_and_makes_each_resource_once() {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let source = scene.upload("source", &random_disk(8 << 20, 9)).await;
    let version = json!({
        "type": "Microsoft.Compute/galleries/images/versions", "apiVersion": "2024-03-03", "location": "eastus",
        "name": "[concat('sig/debian/', copyIndex(1), '.0.0')]",
        "copy": { "name": "versions", "count": 6, "mode": "serial", "batchSize": 2 },
        "properties": scene.version_body(&source, &["eastus", "westus2"])["properties"],
    });
    let path = format!(
        "{}/providers/Microsoft.Resources/deployments/killed",
        scene.group
    );
    let members = json!({ "parameters": { "p": { "type": "securestring" } }, "resources": [version, gallery("also")] });
    let sent = body(&members, json!({ "p": { "value": "hidden" } }));
    let answer = scene.arm.send("PUT", &path, VERSION, Some(&sent)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let busy = scene.arm.send("PUT", &path, VERSION, Some(&sent)).await;
    if busy.status != 200 {
        assert_eq!(
            (busy.status, busy.code()),
            (409, "DeploymentActive"),
            "{}",
            busy.body
        );
    }
    let poll = answer
        .header("azure-asyncoperation")
        .expect("a URL")
        .to_owned();
    for kill in 0..12_u64 {
        tokio::time::sleep(Duration::from_millis(20 + (kill * 53) % 200)).await;
        server.kill();
        server.resume().await;
    }
    let status = scene.arm.poll(&poll).await;
    assert_eq!(status["status"], "Succeeded", "{status}");
    let made = scene.arm.send("GET", &path, VERSION, None).await.body;
    assert_eq!(
        made["properties"]["outputResources"]
            .as_array()
            .map(Vec::len),
        Some(7),
        "{made}"
    );
    let listed = scene
        .arm
        .send(
            "GET",
            &format!("{}/versions", scene.definition),
            GALLERY_VERSION,
            None,
        )
        .await
        .body;
    let listed = listed["value"].as_array().expect("versions");
    assert_eq!(listed.len(), 6);
    assert!(
        listed
            .iter()
            .all(|v| v["properties"]["provisioningState"] == "Succeeded"),
        "{listed:?}"
    );
}

#[tokio::test]
async fn a_canceled_deployment_begins_nothing_more() {
    let world = World::new().await;
    let source = world
        .scene
        .upload("source", &random_disk(16 << 20, 4))
        .await;
    let version = json!({
        "type": "Microsoft.Compute/galleries/images/versions", "apiVersion": "2024-03-03", "location": "eastus",
        "name": "[concat('sig/debian/', copyIndex(1), '.0.0')]",
        "copy": { "name": "versions", "count": 40, "mode": "serial" },
        "properties": world.scene.version_body(&source, &["eastus", "westus2", "westeurope"])["properties"],
    });
    let path = world.path("canceled");
    let sent = body(&json!({ "resources": [version] }), json!({}));
    let answer = world
        .scene
        .arm
        .send("PUT", &path, VERSION, Some(&sent))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let canceled = world
        .scene
        .arm
        .send("POST", &format!("{path}/cancel"), VERSION, None)
        .await;
    assert_eq!(canceled.status, 204, "{}", canceled.body);
    assert_eq!(state(&world.get(&path).await.body), "Canceled");
    let status = world
        .scene
        .arm
        .poll(answer.header("azure-asyncoperation").expect("a URL"))
        .await;
    assert_eq!(status["status"], "Canceled", "{status}");
    let again = world
        .scene
        .arm
        .send("POST", &format!("{path}/cancel"), VERSION, None)
        .await;
    assert_eq!(
        (again.status, again.code()),
        (409, "DeploymentCannotBeCancelled")
    );
    assert_eq!(
        world
            .scene
            .arm
            .send("DELETE", &path, VERSION, None)
            .await
            .status,
        204
    );
    assert_eq!(world.get(&path).await.status, 404);
}
