//! Template deployments have the rights of who asked, when they run, and no others.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::world::{World, check, guid};

const VERSION: &str = "2025-04-01";

fn body(resources: &Value) -> Value {
    json!({ "properties": { "mode": "Incremental", "template": {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", "resources": resources,
    } } })
}

fn gallery(name: &str) -> Value {
    json!({ "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": name, "location": "eastus" })
}

#[tokio::test]
async fn a_deployment_makes_what_its_caller_may_make_and_nothing_else() {
    let world = World::new().await;
    let (group, _) = world.gallery("rg").await;
    let path = format!("{group}/providers/Microsoft.Resources/deployments/d");
    let ada = world.person("ada").await;
    let sent = body(&json!([gallery("hers")]));
    check(
        &ada.arm.send("PUT", &path, VERSION, Some(&sent)).await,
        403,
        "AuthorizationFailed",
    );
    // May deploy, and may not write galleries.
    let given = world
        .assign(
            &world.owner,
            &group,
            &guid(1),
            "Virtual Machine Contributor",
            &ada.object_id,
        )
        .await;
    check(&given, 201, "");
    for (method, path) in [
        ("PUT", path.clone()),
        ("POST", format!("{path}/validate")),
        ("POST", format!("{path}/whatIf")),
    ] {
        let refused = ada.arm.send(method, &path, VERSION, Some(&sent)).await;
        check(&refused, 403, "InvalidTemplateDeployment");
        let reason =
            "does not have permission to perform action 'Microsoft.Compute/galleries/write'";
        assert!(refused.message().contains(reason), "{}", refused.body);
    }
    let given = world
        .assign(
            &world.owner,
            &group,
            &guid(2),
            "Contributor",
            &ada.object_id,
        )
        .await;
    check(&given, 201, "");
    let (answer, status) = ada.arm.over("PUT", &path, VERSION, Some(&sent)).await;
    check(&answer, 201, "");
    assert_eq!(status.expect("a status")["status"], "Succeeded");
    // A contributor gives no roles, by a template neither.
    let role = json!([{
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": guid(3),
        "properties": {
            "roleDefinitionId": "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '8e3af657-a8ff-443c-a75c-2fe8c4bcb635')]",
            "principalId": ada.object_id,
        },
    }]);
    let refused = ada
        .arm
        .send("PUT", &path, VERSION, Some(&body(&role)))
        .await;
    check(&refused, 403, "InvalidTemplateDeployment");
    let (_, status) = world
        .owner
        .over("PUT", &path, VERSION, Some(&body(&role)))
        .await;
    assert_eq!(status.expect("a status")["status"], "Succeeded");
    // References are read with the rights of who asks, too.
    let eve = world.person("eve").await;
    let given = world
        .assign(
            &world.owner,
            &group,
            &guid(4),
            "Virtual Machine Contributor",
            &eve.object_id,
        )
        .await;
    check(&given, 201, "");
    let mut asks = body(&json!([]));
    asks["properties"]["template"]["outputs"] = json!({ "x": {
        "type": "object", "value": "[reference(resourceId('Microsoft.Compute/galleries', 'hers'), '2024-03-03')]",
    } });
    let (answer, status) = eve
        .arm
        .over("PUT", &format!("{path}2"), VERSION, Some(&asks))
        .await;
    assert!(answer.status < 300, "{}", answer.body);
    let status = status.expect("a status");
    assert_eq!(
        (&status["status"], &status["error"]["details"][0]["code"]),
        (&json!("Failed"), &json!("AuthorizationFailed")),
        "{status}"
    );
}

#[tokio::test]
async fn a_deployment_of_a_subscription_needs_rights_there_and_gives_roles_there() {
    let world = World::new().await;
    let (group, _) = world.gallery("rg").await;
    let subscription = world.server.subscription();
    let path = format!("{subscription}/providers/Microsoft.Resources/deployments/d");
    let ada = world.person("ada").await;
    let role = guid(7);
    let custom = json!({
        "type": "Microsoft.Authorization/roleDefinitions", "apiVersion": "2022-04-01", "name": role,
        "properties": {
            "roleName": "Gallery watcher", "type": "customRole", "assignableScopes": ["[subscription().id]"],
            "permissions": [{ "actions": ["Microsoft.Compute/galleries/read"], "notActions": [] }],
        },
    });
    let assignment = json!({
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01",
        "name": "[guid(subscription().id, 'watcher')]", "dependsOn": [role],
        "properties": {
            "roleDefinitionId": format!("[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]"),
            "principalId": ada.object_id, "principalType": "ServicePrincipal",
        },
    });
    let at_subscription = |resources: &Value| {
        let mut sent = body(resources);
        sent["location"] = json!("eastus");
        sent
    };
    let sent = at_subscription(&json!([assignment, custom]));
    // Who may do everything in a group may do nothing above it.
    let given = world
        .assign(&world.owner, &group, &guid(1), "Owner", &ada.object_id)
        .await;
    check(&given, 201, "");
    for (method, verb) in [
        ("PUT", ""),
        ("POST", "/validate"),
        ("POST", "/whatIf"),
        ("GET", ""),
    ] {
        let path = format!("{path}{verb}");
        let sent = Some(&sent).filter(|_| method != "GET");
        let refused = ada.arm.send(method, &path, VERSION, sent).await;
        check(&refused, 403, "AuthorizationFailed");
    }
    // A contributor makes groups, and gives no roles.
    let given = world
        .assign(
            &world.owner,
            &subscription,
            &guid(2),
            "Contributor",
            &ada.object_id,
        )
        .await;
    check(&given, 201, "");
    let refused = ada.arm.send("PUT", &path, VERSION, Some(&sent)).await;
    check(&refused, 403, "InvalidTemplateDeployment");
    let made = json!([{
        "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-11-01", "name": "hers", "location": "eastus",
    }]);
    let made = at_subscription(&made);
    let (answer, status) = ada.arm.over("PUT", &path, VERSION, Some(&made)).await;
    check(&answer, 201, "");
    assert_eq!(status.expect("a status")["status"], "Succeeded");
    let (_, status) = world.owner.over("PUT", &path, VERSION, Some(&sent)).await;
    let status = status.expect("a status");
    assert_eq!(status["status"], "Succeeded", "{status}");
    let all = world
        .access(&world.owner, "GET", &subscription, "roleAssignments", None)
        .await;
    let given = all.body["value"].as_array().expect("a list").iter();
    let given = given.filter(|a| {
        let id = a["properties"]["roleDefinitionId"].as_str();
        id.is_some_and(|id| id.ends_with(&role))
    });
    let given: Vec<&Value> = given.map(|a| &a["properties"]["principalId"]).collect();
    assert_eq!(given, [&json!(ada.object_id)], "{}", all.body);
}

#[tokio::test]
async fn rights_that_end_while_a_deployment_runs_end_for_it_too() {
    let world = World::new().await;
    let (group, _) = world.gallery("rg").await;
    let path = format!("{group}/providers/Microsoft.Resources/deployments/d");
    let ada = world.person("ada").await;
    check(
        &world
            .assign(
                &world.owner,
                &group,
                &guid(1),
                "Contributor",
                &ada.object_id,
            )
            .await,
        201,
        "",
    );
    let mut many = gallery("[concat('g', copyIndex())]");
    many["copy"] = json!({ "name": "many", "count": 90, "mode": "serial" });
    let answer = ada
        .arm
        .send("PUT", &path, VERSION, Some(&body(&json!([many]))))
        .await;
    check(&answer, 201, "");
    let local = format!("roleAssignments/{}", guid(1));
    check(
        &world
            .access(&world.owner, "DELETE", &group, &local, None)
            .await,
        200,
        "",
    );
    let poll = answer.header("azure-asyncoperation").expect("a URL");
    check(
        &ada.arm.send_url("GET", poll, None).await,
        403,
        "AuthorizationFailed",
    );
    let status = world.owner.poll(poll).await;
    let code = &status["error"]["details"][0]["code"];
    assert_eq!(
        (&status["status"], code),
        (&json!("Failed"), &json!("AuthorizationFailed")),
        "{status}"
    );
    let last = format!("{group}/providers/Microsoft.Compute/galleries/g89");
    check(
        &world.owner.send("GET", &last, GALLERY_VERSION, None).await,
        404,
        "ResourceNotFound",
    );
}
