//! Templates of subscriptions: groups, what lies at the subscription, deployments into groups.

mod common;

use common::{NOW_MS, bind, bind_in, subscription, whole};
use serde_json::{Value, json};
use template::{Bound, Expanded, Fault, Known, Template};
use uuid::Uuid;

fn group(name: &str) -> Value {
    json!({ "type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-11-01", "name": name, "location": "eastus" })
}

/// A deployment with these members, in which `resources` are made.
fn nested(name: &str, members: &Value, resources: &Value) -> Value {
    let mut out = json!({
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": name,
        "properties": {
            "mode": "Incremental", "expressionEvaluationOptions": { "scope": "inner" },
            "template": whole(&json!({ "resources": resources })),
        },
    });
    for (name, value) in members.as_object().unwrap() {
        out[name] = value.clone();
    }
    out
}

fn expand(members: &Value) -> (Bound, Expanded) {
    let bound = bind_in(subscription(), members, &json!({})).unwrap();
    let expanded = bound.expand().unwrap();
    (bound, expanded)
}

fn ids(expanded: &Expanded) -> Vec<&str> {
    expanded.resources.iter().map(|p| p.id.as_str()).collect()
}

fn outputs(expressions: &[(&str, &str)]) -> Result<Value, Fault> {
    let outputs = expressions.iter().map(|(name, value)| {
        (
            (*name).to_owned(),
            json!({ "type": "string", "value": value }),
        )
    });
    let members = json!({ "outputs": Value::Object(outputs.collect()) });
    let (bound, expanded) = expand(&members);
    let shown = bound.outputs(&expanded, &Known::default())?;
    let plain = shown.as_object().unwrap().iter();
    Ok(Value::Object(
        plain
            .map(|(name, v)| (name.clone(), v["value"].clone()))
            .collect(),
    ))
}

#[test]
fn groups_and_what_lies_at_the_subscription_have_ids_of_their_own() {
    let role = json!({
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "r",
    });
    let members = json!({ "resources": [
        group("g"), role, nested("at", &json!({ "location": "eastus" }), &json!([])),
        nested("in", &json!({ "resourceGroup": "g" }), &json!([])),
    ] });
    let (_, expanded) = expand(&members);
    assert_eq!(
        ids(&expanded),
        [
            "/subscriptions/s1/resourceGroups/g",
            "/subscriptions/s1/providers/Microsoft.Authorization/roleAssignments/r",
            "/subscriptions/s1/providers/Microsoft.Resources/deployments/at",
            "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Resources/deployments/in",
        ]
    );
    // What is deployed into a group waits for it, said or not.
    assert_eq!(expanded.resources[3].depends_on, [0]);
}

#[test]
fn a_group_is_found_under_each_name_that_dependencies_give_it() {
    for name in [
        "g",
        "Microsoft.Resources/resourceGroups/g",
        "[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'g')]",
        "[resourceId('Microsoft.Resources/resourceGroups/', 'g')]",
        "[concat('Microsoft.Resources/resourceGroups/', 'g')]",
    ] {
        let waits = nested(
            "d",
            &json!({ "location": "eastus", "dependsOn": [name] }),
            &json!([]),
        );
        let (_, expanded) = expand(&json!({ "resources": [group("g"), waits] }));
        assert_eq!(expanded.resources[1].depends_on, [0], "{name}");
    }
}

#[test]
fn functions_say_where_the_deployment_is() {
    let said = outputs(&[
        ("where", "[deployment().location]"),
        ("subscription", "[subscription().subscriptionId]"),
        (
            "role",
            "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'r')]",
        ),
        (
            "own",
            "[resourceId('Microsoft.Authorization/roleDefinitions', 'r')]",
        ),
        (
            "group",
            "[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'g')]",
        ),
        (
            "inGroup",
            "[resourceId('g', 'Microsoft.Compute/galleries', 'x')]",
        ),
        (
            "other",
            "[subscriptionResourceId('s2', 'Microsoft.Resources/resourceGroups', 'g')]",
        ),
    ]);
    let role = "/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/r";
    assert_eq!(
        said.unwrap(),
        json!({
            "where": "westus2", "subscription": "s1", "role": role, "own": role,
            "group": "/subscriptions/s1/resourceGroups/g",
            "inGroup": "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/galleries/x",
            "other": "/subscriptions/s2/resourceGroups/g",
        })
    );
    let refused = outputs(&[("x", "[resourceGroup().location]")]).unwrap_err();
    let said = "The template function 'resourceGroup' is not expected at this location.";
    assert!(refused.sentence().starts_with(said), "{refused:?}");
}

#[test]
fn a_scope_says_where_a_deployment_goes_and_others_are_refused() {
    let at = |members: Value| {
        let members = json!({ "resources": [nested("d", &members, &json!([]))] });
        let expanded = bind(&members, &json!({})).unwrap().expand();
        expanded.map(|expanded| expanded.resources[0].id.clone())
    };
    let subscription = "/subscriptions/s1/providers/Microsoft.Resources/deployments/d";
    let group = "/subscriptions/s1/resourceGroups/o/providers/Microsoft.Resources/deployments/d";
    for (members, id) in [
        (json!({ "scope": "[subscription().id]" }), subscription),
        (json!({ "subscriptionId": "s1" }), subscription),
        (
            json!({ "subscriptionId": "s1", "resourceGroup": "o" }),
            group,
        ),
        (
            json!({ "scope": "/subscriptions/s1/resourceGroups/o" }),
            group,
        ),
    ] {
        assert_eq!(at(members.clone()).unwrap(), id, "{members}");
    }
    for scope in [
        "/",
        "Microsoft.Management/managementGroups/m",
        "/subscriptions/s2",
    ] {
        let refused = at(json!({ "scope": scope })).unwrap_err();
        assert_eq!(refused.code, "InvalidTemplate");
        assert!(
            refused
                .message
                .contains(&format!("has the scope '{scope}'")),
            "{refused}"
        );
    }
}

#[test]
fn deployments_inside_see_their_own_group_and_place() {
    let gallery = json!([{
        "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": "x",
        "location": "[resourceGroup().location]",
    }]);
    let members = json!({ "resources": [
        nested("in", &json!({ "resourceGroup": "g" }), &gallery),
        nested("at", &json!({ "location": "[deployment().location]" }), &json!([group("later")])),
    ] });
    let (bound, expanded) = expand(&members);
    let known = Known::default();
    let inside = |at: usize, shown: Value| {
        let planned = &expanded.resources[at];
        let (inner, request) = bound
            .nested(&expanded, planned, &known, (shown, NOW_MS, Uuid::nil()))
            .unwrap();
        let inside = inner.expand().unwrap();
        let made = &inside.resources[0];
        let body = inner.body(&inside, made, &known).unwrap();
        (made.id.clone(), body["location"].clone(), request.location)
    };
    let shown = json!({ "name": "g", "location": "northeurope" });
    assert_eq!(
        inside(0, shown),
        (
            "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/galleries/x".to_owned(),
            json!("northeurope"),
            None
        )
    );
    assert_eq!(
        inside(1, Value::Null),
        (
            "/subscriptions/s1/resourceGroups/later".to_owned(),
            json!("eastus"),
            Some("westus2".to_owned())
        )
    );
}

#[test]
fn schemas_of_groups_and_subscriptions_are_read_and_no_others() {
    let read = |name: &str| {
        let schema = format!("https://schema.management.azure.com/schemas/2018-05-01/{name}.json#");
        Template::read(&json!({ "$schema": schema, "contentVersion": "1.0.0.0", "resources": [] }))
    };
    read("subscriptionDeploymentTemplate").unwrap();
    read("deploymentTemplate").unwrap();
    for name in [
        "managementGroupDeploymentTemplate",
        "tenantDeploymentTemplate",
    ] {
        let refused = read(name).unwrap_err();
        assert!(refused.message.contains("is not supported"), "{refused}");
    }
}
