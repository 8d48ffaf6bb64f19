//! Template deployments of a subscription over HTTP: groups made and filled, what is refused and shown.

use serde_json::{Value, json};
use testkit::{Answer, Arm, GALLERY_VERSION, GROUP_VERSION, Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2025-04-01";

struct World {
    server: Gallery,
    arm: Arm,
}

impl World {
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let arm = server.arm().await;
        Self { server, arm }
    }

    fn subscription(&self) -> String {
        self.server.subscription()
    }

    fn path(&self, name: &str) -> String {
        format!(
            "{}/providers/Microsoft.Resources/deployments/{name}",
            self.subscription()
        )
    }

    async fn get(&self, path: &str) -> Answer {
        self.arm.send("GET", path, VERSION, None).await
    }

    /// Deploys and waits; returns the deployment as it then stands.
    async fn deploy(&self, name: &str, body: &Value) -> Value {
        let path = self.path(name);
        let (answer, _) = self.arm.over("PUT", &path, VERSION, Some(body)).await;
        assert!(answer.status < 300, "{}", answer.body);
        self.get(&path).await.body
    }

    async fn what_if(&self, name: &str, body: &Value) -> Vec<Value> {
        let path = format!("{}/whatIf", self.path(name));
        let asked = self.arm.send("POST", &path, VERSION, Some(body)).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        let answer = self
            .arm
            .monitor(asked.header("location").expect("a location"))
            .await;
        let changes = &answer.body["properties"]["changes"];
        changes
            .as_array()
            .unwrap_or_else(|| panic!("no changes: {}", answer.body))
            .clone()
    }
}

fn template(schema: &str, resources: &Value, outputs: &Value) -> Value {
    json!({
        "$schema": format!("https://schema.management.azure.com/schemas/2018-05-01/{schema}.json#"),
        "contentVersion": "1.0.0.0", "resources": resources, "outputs": outputs,
    })
}

fn body(location: &str, resources: &Value, outputs: &Value) -> Value {
    let template = template("subscriptionDeploymentTemplate", resources, outputs);
    json!({ "location": location, "properties": { "mode": "Incremental", "template": template } })
}

fn group(name: &str) -> Value {
    json!({
        "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-11-01", "name": name, "location": "westus2",
        "tags": { "made": "by template" }, "properties": {},
    })
}

/// A deployment into a group that makes a gallery where the group is.
fn gallery_in(group: &str) -> Value {
    let gallery = json!({
        "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": "sig",
        "location": "[resourceGroup().location]", "tags": "[resourceGroup().tags]",
    });
    let outputs = json!({ "id": { "type": "string", "value": "[resourceId('Microsoft.Compute/galleries', 'sig')]" } });
    json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inside", "resourceGroup": group,
        "dependsOn": [format!("[subscriptionResourceId('Microsoft.Resources/resourceGroups', '{group}')]")],
        "properties": {
            "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" },
            "template": template("deploymentTemplate", &json!([gallery]), &outputs),
        },
    })
}

fn state(deployment: &Value) -> &str {
    deployment["properties"]["provisioningState"]
        .as_str()
        .unwrap_or_default()
}

fn kinds(changes: &[Value]) -> Vec<(&str, &str)> {
    changes
        .iter()
        .map(|c| {
            let id = c["resourceId"].as_str().unwrap_or_default();
            (
                c["changeType"].as_str().unwrap_or_default(),
                id.rsplit('/').next().unwrap_or_default(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_group_is_made_and_filled_and_the_deployment_shown_with_its_place() {
    let world = World::new().await;
    let outputs = json!({
        "gallery": { "type": "string", "value": "[reference('inside').outputs.id.value]" },
        "where": { "type": "string", "value": "[deployment().location]" },
        "group": { "type": "string", "value": "[reference(subscriptionResourceId('Microsoft.Resources/resourceGroups', 'made'), '2024-11-01', 'Full').location]" },
    });
    let sent = body(
        "East US",
        &json!([gallery_in("made"), group("made")]),
        &outputs,
    );
    let valid = world
        .arm
        .send(
            "POST",
            &format!("{}/validate", world.path("all")),
            VERSION,
            Some(&sent),
        )
        .await;
    assert_eq!(
        (valid.status, state(&valid.body)),
        (200, "Succeeded"),
        "{}",
        valid.body
    );
    let asked = world.what_if("all", &sent).await;
    assert_eq!(
        kinds(&asked),
        [("Deploy", "inside"), ("Create", "made"), ("Create", "sig")]
    );
    // Neither has made anything.
    let made_group = format!("{}/resourceGroups/made", world.subscription());
    let gone = world
        .arm
        .send("GET", &made_group, GROUP_VERSION, None)
        .await;
    assert_eq!((gone.status, gone.code()), (404, "ResourceGroupNotFound"));

    let made = world.deploy("all", &sent).await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    assert_eq!(
        (
            &made["id"],
            &made["location"],
            &made["properties"]["location"]
        ),
        (&json!(world.path("all")), &json!("eastus"), &Value::Null)
    );
    let gallery = format!("{made_group}/providers/Microsoft.Compute/galleries/sig");
    let said = &made["properties"]["outputs"];
    assert_eq!(said["gallery"]["value"], gallery);
    assert_eq!(
        (&said["where"]["value"], &said["group"]["value"]),
        (&json!("eastus"), &json!("westus2"))
    );
    let shown = world
        .arm
        .send("GET", &gallery, GALLERY_VERSION, None)
        .await
        .body;
    assert_eq!(
        (&shown["location"], &shown["tags"]["made"]),
        (&json!("westus2"), &json!("by template"))
    );
    // Each deployment stands where it was made.
    let listed = world.get(world.path("").trim_end_matches('/')).await.body;
    let names: Vec<&Value> = listed["value"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|d| &d["name"])
        .collect();
    assert_eq!(names, ["all"], "{listed}");
    let inside = format!("{made_group}/providers/Microsoft.Resources/deployments/inside");
    let inside = world.get(&inside).await.body;
    assert_eq!(
        (state(&inside), &inside["location"]),
        ("Succeeded", &Value::Null),
        "{inside}"
    );
    let steps = world
        .get(&format!("{}/operations", world.path("all")))
        .await
        .body;
    let steps = steps["value"].as_array().expect("steps").clone();
    assert_eq!(steps.len(), 2, "{steps:?}");
    for step in &steps {
        let one = world.get(step["id"].as_str().expect("an id")).await;
        assert_eq!((one.status, &one.body), (200, step));
    }
    let again = world.what_if("all", &sent).await;
    assert_eq!(
        kinds(&again),
        [
            ("Deploy", "inside"),
            ("NoChange", "made"),
            ("NoChange", "sig")
        ],
        "{again:?}"
    );
    // Forgotten, its resources stay.
    let gone = world
        .arm
        .send("DELETE", &world.path("all"), VERSION, None)
        .await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    let gone = world.get(&world.path("all")).await;
    assert_eq!((gone.status, gone.code()), (404, "DeploymentNotFound"));
    let shown = world.arm.send("GET", &gallery, GALLERY_VERSION, None).await;
    assert_eq!(shown.status, 200);
}

#[tokio::test]
async fn what_does_not_fit_a_subscription_is_refused_as_the_service_says_it() {
    let world = World::new().await;
    let here = "Please see https://aka.ms/arm-deployment-subscription for usage details.";
    let nothing = || body("eastus", &json!([]), &json!({}));
    let without = |member: &str| {
        let mut sent = nothing();
        sent.as_object_mut().expect("an object").remove(member);
        sent
    };
    let with = |resource: Value| body("eastus", &json!([resource]), &json!({}));
    let mut complete = nothing();
    complete["properties"]["mode"] = json!("Complete");
    let mut nowhere = gallery_in("nowhere");
    nowhere["dependsOn"] = json!([]);
    let mut placeless = gallery_in("made");
    placeless
        .as_object_mut()
        .expect("an object")
        .remove("resourceGroup");
    placeless["dependsOn"] = json!([]);
    placeless["properties"]["template"]["resources"] = json!([]);
    placeless["properties"]["template"]["outputs"] = json!({});
    let gallery = json!({ "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": "g", "location": "eastus" });
    let cases = [
        (without("location"), "InvalidDeployment", format!("The 'location' property must be specified for 'bad'. {here}")),
        (complete, "InvalidDeployment", "Specified deployment mode 'Complete' is not supported for deployment at the current scope.".to_owned()),
        (body("mars", &json!([]), &json!({})), "LocationNotAvailableForDeployment", "The provided location 'mars' is not available for deployment. List of available regions is 'eastus,".to_owned()),
        (with(gallery), "InvalidTemplateDeployment", "The resource 'g' of type 'Microsoft.Compute/galleries' does not lie at a subscription.".to_owned()),
        (with(nowhere), "InvalidTemplateDeployment", "Resource group 'nowhere' could not be found.".to_owned()),
        (with(placeless), "InvalidTemplateDeployment", format!("The 'location' property must be specified for 'inside'. {here}")),
    ];
    for (sent, code, said) in cases {
        for (method, verb) in [("PUT", ""), ("POST", "/validate"), ("POST", "/whatIf")] {
            let path = format!("{}{verb}", world.path("bad"));
            let answer = world.arm.send(method, &path, VERSION, Some(&sent)).await;
            assert_eq!(
                (answer.status, answer.code()),
                (400, code),
                "{sent}: {}",
                answer.body
            );
            assert!(
                answer.body.to_string().contains(&said),
                "{said}: {}",
                answer.body
            );
        }
    }
    assert_eq!(world.get(&world.path("bad")).await.status, 404);

    // A name stays where it was used first.
    let made = world.deploy("here", &nothing()).await;
    assert_eq!(state(&made), "Succeeded", "{made}");
    let moved = body("westus2", &json!([]), &json!({}));
    for (method, verb) in [("PUT", ""), ("POST", "/validate"), ("POST", "/whatIf")] {
        let path = format!("{}{verb}", world.path("here"));
        let answer = world.arm.send(method, &path, VERSION, Some(&moved)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (409, "InvalidDeploymentLocation")
        );
        assert_eq!(
            answer.message(),
            "Invalid deployment location 'westus2'. The deployment 'here' already exists in location 'eastus'."
        );
    }
    let made = world
        .deploy("here", &body("EastUS", &json!([]), &json!({})))
        .await;
    assert_eq!(made["location"], "eastus");

    // A deployment of a group is kept with its group.
    let group = format!("{}/resourceGroups/rg", world.subscription());
    world
        .arm
        .done(
            "PUT",
            &group,
            GROUP_VERSION,
            Some(&json!({ "location": "eastus" })),
        )
        .await;
    let path = format!("{group}/providers/Microsoft.Resources/deployments/placed");
    let answer = world
        .arm
        .send("PUT", &path, VERSION, Some(&nothing()))
        .await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidDeployment"));
    assert_eq!(
        answer.message(),
        format!(
            "The 'location' property is not allowed for 'placed' at resource group scope. {here}"
        )
    );
}
