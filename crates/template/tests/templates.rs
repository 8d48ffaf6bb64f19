//! Templates: parameters, loops, names, order, bodies, outputs, nested deployments.

mod common;

use common::{GROUP, NOW_MS, bind, need, place};
use serde_json::{Value, json};
use template::{Expanded, Fault, Known, NestedFault, Planned};
use uuid::Uuid;

fn gallery(name: &str) -> Value {
    json!({ "type": "Microsoft.Compute/galleries", "apiVersion": "2024-03-03", "name": name, "location": "eastus" })
}

fn with(mut resource: Value, member: &str, value: Value) -> Value {
    resource[member] = value;
    resource
}

fn names(expanded: &Expanded) -> Vec<&str> {
    expanded.resources.iter().map(|p| p.name.as_str()).collect()
}

fn needed<'a>(expanded: &'a Expanded, planned: &Planned) -> Vec<&'a str> {
    planned
        .depends_on
        .iter()
        .map(|at| expanded.resources[*at].name.as_str())
        .collect()
}

#[test]
fn given_parameters_go_before_defaults_and_defaults_use_each_other() {
    let members = json!({ "parameters": {
        "late": { "type": "string", "defaultValue": "[concat(parameters('early'), '-', parameters('given'))]" },
        "early": { "type": "string", "defaultValue": "[resourceGroup().location]" },
        "given": { "type": "string" },
        "made": { "type": "string", "defaultValue": "[newGuid()]" },
        "when": { "type": "string", "defaultValue": "[utcNow('yyyy-MM-dd')]" },
        "secret": { "type": "securestring", "defaultValue": "x" },
        "maybe": { "type": "int", "nullable": true },
    } });
    let bound = bind(&members, &json!({ "GIVEN": { "value": "g" } })).unwrap();
    let values = bound.parameters();
    assert_eq!(values["late"], "eastus-g");
    assert_eq!(values["made"], Uuid::from_u128(1).to_string());
    assert_eq!(values["when"], "2026-01-01");
    assert_eq!(values["maybe"], Value::Null);
    let shown = bound.template().shown_parameters(values);
    assert_eq!(shown["secret"], json!({ "type": "SecureString" }));
    assert_eq!(shown["given"], json!({ "type": "String", "value": "g" }));
    assert!(bound.template().is_secure("secret") && !bound.template().is_secure("given"));
}

#[test]
fn parameters_that_are_not_right_are_refused_by_name() {
    let cases = [
        (
            json!({ "type": "string" }),
            None,
            "The value for the template parameter 'p' is not provided",
        ),
        (
            json!({ "type": "string" }),
            Some(json!(1)),
            "Template parameter JToken type is not valid. Expected 'String, Uri'. Actual 'Integer'",
        ),
        (
            json!({ "type": "int" }),
            Some(json!("1")),
            "Expected 'Integer'. Actual 'String'",
        ),
        (
            json!({ "type": "bool" }),
            Some(json!("true")),
            "Expected 'Boolean'",
        ),
        (
            json!({ "type": "array" }),
            Some(json!({})),
            "Expected 'Array'",
        ),
        (
            json!({ "type": "object" }),
            Some(json!([])),
            "Expected 'Object'",
        ),
        (
            json!({ "type": "text" }),
            Some(json!("a")),
            "The type of the template parameter 'p' is not valid",
        ),
        (
            json!({ "type": "string", "allowedValues": ["a", "b"] }),
            Some(json!("c")),
            "The value 'c' is not part of the allowed value(s): 'a,b'",
        ),
        (
            json!({ "type": "securestring", "allowedValues": ["a"] }),
            Some(json!("hidden")),
            "is not valid. 'a'",
        ),
        (
            json!({ "type": "string", "minLength": 3 }),
            Some(json!("ab")),
            "Length of the value should be greater than or equal to '3'",
        ),
        (
            json!({ "type": "array", "maxLength": 1 }),
            Some(json!([1, 2])),
            "Length of the value should be less than or equal to '1'",
        ),
        (
            json!({ "type": "int", "minValue": 3 }),
            Some(json!(2)),
            "The value should be greater than or equal to '3'",
        ),
        (
            json!({ "type": "int", "maxValue": 3 }),
            Some(json!(4)),
            "The value should be less than or equal to '3'",
        ),
        (
            json!({ "type": "string", "defaultValue": "[parameters('p')]" }),
            None,
            "Circular reference detected at template parameter 'p'",
        ),
    ];
    for (definition, value, said) in cases {
        let given = value.map_or(json!({}), |value| json!({ "p": { "value": value } }));
        let error = bind(&json!({ "parameters": { "p": definition } }), &given).unwrap_err();
        assert_eq!(error.code, "InvalidTemplate");
        assert!(
            error
                .message
                .starts_with("Deployment template validation failed: '"),
            "{}",
            error.message
        );
        assert!(
            error.message.contains(said),
            "{definition}: {}",
            error.message
        );
        assert!(!error.message.contains("hidden"), "{}", error.message);
    }
    let error = bind(&json!({}), &json!({ "x": { "value": 1 } })).unwrap_err();
    assert!(
        error
            .message
            .contains("The template parameters 'x' in the parameters file are not valid"),
        "{}",
        error.message
    );
    let vault = json!({ "p": { "reference": { "keyVault": { "id": "x" } } } });
    let error = bind(
        &json!({ "parameters": { "p": { "type": "securestring" } } }),
        &vault,
    )
    .unwrap_err();
    assert!(error.message.contains("key vault"), "{}", error.message);
}

#[test]
fn loops_are_counted_out_and_children_unfold() {
    let child = json!({
        "type": "images", "apiVersion": "2024-03-03", "name": "[concat('i', copyIndex(1))]", "location": "eastus",
        "copy": { "name": "definitions", "count": 2 },
        "dependsOn": ["[concat('g', copyIndex())]"],
    });
    let outer = with(
        with(
            gallery("[concat('g', copyIndex())]"),
            "copy",
            json!({ "name": "all", "count": 2, "mode": "serial", "batchSize": 1 }),
        ),
        "properties",
        json!({ "copy": [{ "name": "list", "count": 2, "input": "[add(mul(copyIndex('all'), 10), copyIndex('list'))]" }] }),
    );
    let last = with(gallery("last"), "dependsOn", json!(["all"]));
    let single = with(gallery("one"), "resources", json!([child]));
    let members = json!({ "resources": [outer, last] });
    let bound = bind(&members, &json!({})).unwrap();
    let expanded = bound.expand().unwrap();
    assert_eq!(names(&expanded), ["g0", "g1", "last"]);
    assert_eq!(needed(&expanded, &expanded.resources[1]), ["g0"]);
    assert_eq!(needed(&expanded, &expanded.resources[2]), ["g0", "g1"]);
    let body = bound
        .body(&expanded, &expanded.resources[1], &Known::default())
        .unwrap();
    assert_eq!(
        body,
        json!({ "location": "eastus", "properties": { "list": [10, 11] } })
    );

    let without = with(
        single,
        "resources",
        json!([{
            "type": "images", "apiVersion": "2024-03-03", "name": "[concat('i', copyIndex(1))]", "copy": { "name": "d", "count": 2 },
        }]),
    );
    let bound = bind(&json!({ "resources": [without] }), &json!({})).unwrap();
    let expanded = bound.expand().unwrap();
    assert_eq!(names(&expanded), ["one", "one/i1", "one/i2"]);
    assert_eq!(
        expanded.resources[2].id,
        format!("{GROUP}/providers/Microsoft.Compute/galleries/one/images/i2")
    );
    assert_eq!(needed(&expanded, &expanded.resources[2]), ["one"]);
}

#[test]
fn resources_are_needed_by_id_name_path_loop_and_symbol() {
    let id = format!("{GROUP}/providers/Microsoft.Compute/galleries/A");
    for wanted in [
        "A",
        "a",
        "microsoft.compute/GALLERIES/a",
        "[resourceId('Microsoft.Compute/galleries', 'a')]",
        &id.to_uppercase(),
    ] {
        let members = json!({ "resources": [gallery("A"), with(gallery("b"), "dependsOn", json!([wanted]))] });
        let expanded = bind(&members, &json!({})).unwrap().expand().unwrap();
        assert_eq!(needed(&expanded, &expanded.resources[1]), ["A"], "{wanted}");
    }
    let members = json!({ "languageVersion": "2.0", "resources": {
        "first": gallery("A"),
        "second": with(gallery("b"), "dependsOn", json!(["first"])),
        "there": with(gallery("c"), "existing", json!(true)),
    } });
    let expanded = bind(&members, &json!({})).unwrap().expand().unwrap();
    assert_eq!(needed(&expanded, &expanded.resources[1]), ["A"]);
    assert!(expanded.resources[2].is_existing);
    let none = with(
        gallery("[concat('g', copyIndex())]"),
        "copy",
        json!({ "name": "all", "count": 0 }),
    );
    let members = json!({ "resources": [none, with(gallery("b"), "dependsOn", json!(["all"]))] });
    assert_eq!(
        names(&bind(&members, &json!({})).unwrap().expand().unwrap()),
        ["b"]
    );
}

#[test]
fn templates_that_cannot_be_deployed_are_refused() {
    let wants = |name: &str, wanted: &str| with(gallery(name), "dependsOn", json!([wanted]));
    let cases = [
        (
            json!([wants("a", "b"), wants("b", "a")]),
            "Circular dependency detected on resource",
        ),
        (
            json!([wants("a", "a")]),
            "Circular dependency detected on resource",
        ),
        (
            json!([wants("a", "x")]),
            "The resource 'x' is not defined in the template",
        ),
        (
            json!([gallery("a"), gallery("A")]),
            "is defined multiple times in a template",
        ),
        (json!([gallery("a/b")]), "has incorrect segment lengths"),
        (
            json!([with(gallery("a"), "apiVersion", json!(""))]),
            "has no 'apiVersion'",
        ),
        (
            json!([with(gallery("a"), "condition", json!("yes"))]),
            "must be a boolean",
        ),
        (
            json!([with(
                gallery("a[0]"),
                "copy",
                json!({ "name": "l", "count": 801 })
            )]),
            "The copy count '801'",
        ),
        (
            json!([with(
                gallery("a"),
                "copy",
                json!({ "name": "l", "count": -1 })
            )]),
            "The copy count '-1'",
        ),
        (
            json!([with(gallery("a"), "tags", json!({ "x": "[nothing()]" }))]),
            "The template function 'nothing' is not valid",
        ),
        (
            json!([with(gallery("a"), "tags", json!({ "x": "[concat(]" }))]),
            "Unable to parse language expression",
        ),
        (
            json!([with(gallery("a"), "tags", json!("[variables('v')]"))]),
            "The template variable 'v' is not found",
        ),
        (
            json!([with(gallery("[reference('a').x]"), "x", json!(1))]),
            "The resource 'a' is not defined in the template",
        ),
        (json!([1]), "is not an object"),
    ];
    for (resources, said) in cases {
        let refused =
            bind(&json!({ "resources": resources }), &json!({})).and_then(|bound| bound.expand());
        let error = refused.unwrap_err();
        assert_eq!(error.code, "InvalidTemplate", "{resources}");
        assert!(
            error.message.contains(said),
            "{resources}: {}",
            error.message
        );
    }
    for (template, said) in [
        (json!([]), "The template must be an object"),
        (
            json!({ "contentVersion": "1.0.0.0", "resources": [] }),
            "'$schema' not found",
        ),
        (
            json!({ "$schema": "https://h/managementGroupDeploymentTemplate.json#", "contentVersion": "1", "resources": [] }),
            "is not supported",
        ),
        (
            json!({ "$schema": "https://h/deploymentTemplate.json#", "contentVersion": "1" }),
            "'resources' not found",
        ),
    ] {
        let error = template::Template::read(&template).unwrap_err();
        assert!(
            error.message.contains(said),
            "{template}: {}",
            error.message
        );
    }
}

#[test]
fn what_a_condition_refuses_is_not_wanted_and_needed_by_nobody() {
    let members = json!({
        "parameters": { "yes": { "type": "bool", "defaultValue": false } },
        "resources": [with(with(gallery("a"), "condition", json!("[parameters('yes')]")), "tags", json!({ "x": "y" })),
                      with(gallery("b"), "dependsOn", json!(["a"]))],
    });
    let expanded = bind(&members, &json!({})).unwrap().expand().unwrap();
    assert!(!expanded.resources[0].is_wanted && expanded.resources[1].is_wanted);
}

#[test]
fn extensions_lie_at_their_scope() {
    let guid = "11111111-1111-1111-1111-111111111111";
    let gallery_id = format!("{GROUP}/providers/Microsoft.Compute/galleries/g");
    let by_scope = json!({
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": guid,
        "scope": "Microsoft.Compute/galleries/g", "properties": {},
    });
    let by_name = json!({
        "type": "Microsoft.Compute/galleries/providers/roleAssignments", "apiVersion": "2022-04-01",
        "name": format!("g/Microsoft.Authorization/{guid}"), "properties": {},
    });
    for resource in [by_scope, by_name] {
        let expanded = bind(
            &json!({ "resources": [gallery("g"), resource] }),
            &json!({}),
        )
        .unwrap()
        .expand()
        .unwrap();
        let planned = &expanded.resources[1];
        assert_eq!(
            planned.id,
            format!("{gallery_id}/providers/Microsoft.Authorization/roleAssignments/{guid}")
        );
        assert_eq!(needed(&expanded, planned), ["g"]);
    }
}

#[test]
fn outputs_are_typed_conditional_looped_and_never_show_secrets() {
    let members = json!({
        "resources": [gallery("g")],
        "outputs": {
            "state": { "type": "object", "value": "[reference('g')]" },
            "all": { "type": "string", "value": "[reference(resourceId('Microsoft.Compute/galleries', 'g'), '2024-03-03', 'Full').location]" },
            "secret": { "type": "secureString", "value": "x" },
            "none": { "type": "string", "condition": false, "value": "x" },
            "loop": { "type": "array", "copy": { "count": 2, "input": "[copyIndex()]" } },
        },
    });
    let bound = bind(&members, &json!({})).unwrap();
    let expanded = bound.expand().unwrap();
    let id = format!("{GROUP}/providers/Microsoft.Compute/galleries/g");
    let mut known = Known::default();
    let asked = bound.outputs(&expanded, &known).unwrap_err();
    assert_eq!(asked, Fault::Needs(need(&id, None)));
    let state = json!({ "location": "eastus", "properties": { "x": 1 } });
    known.insert(need(&id, None), state.clone());
    known.insert(need(&id, Some("2024-03-03")), state);
    assert_eq!(
        bound.outputs(&expanded, &known).unwrap(),
        json!({
            "state": { "type": "Object", "value": { "x": 1 } },
            "all": { "type": "String", "value": "eastus" },
            "secret": { "type": "SecureString" },
            "loop": { "type": "Array", "value": [0, 1] },
        })
    );
}

#[test]
fn names_of_outputs_are_shown_in_camel_case() {
    for (name, shown) in [
        ("name", "name"),
        ("VMSS", "vmss"),
        ("StorageName", "storageName"),
        ("VMName", "vmName"),
        ("TRANS_Test", "tranS_Test"),
        ("A", "a"),
        ("_Under", "_Under"),
    ] {
        let members =
            json!({ "resources": [], "outputs": { name: { "type": "int", "value": 1 } } });
        let bound = bind(&members, &json!({})).unwrap();
        let expanded = bound.expand().unwrap();
        let outputs = bound.outputs(&expanded, &Known::default()).unwrap();
        assert_eq!(outputs, json!({ shown: { "type": "Int", "value": 1 } }));
    }
}

#[test]
fn nested_deployments_see_the_outer_or_their_own_parameters() {
    let inside = |scope: &str, parameters: Value, name: &str| {
        json!({
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "n",
            "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": { "scope": scope }, "parameters": parameters,
                "template": common::whole(&json!({
                    "parameters": { "name": { "type": "string", "defaultValue": "own" } },
                    "resources": [gallery(name)],
                })),
            },
        })
    };
    let outer_value = json!({ "name": { "type": "string", "defaultValue": "outer" } });
    for (scope, parameters, wanted) in [
        ("outer", json!({}), "outer"),
        ("inner", json!({}), "own"),
        (
            "Inner",
            json!({ "name": { "value": "[concat(parameters('name'), '2')]" } }),
            "outer2",
        ),
    ] {
        let members = json!({ "parameters": outer_value, "resources": [inside(scope, parameters, "[parameters('name')]")] });
        let bound = bind(&members, &json!({})).unwrap();
        let expanded = bound.expand().unwrap();
        let planned = &expanded.resources[0];
        assert!(planned.is_deployment());
        let moment = (place().group, NOW_MS, Uuid::nil());
        let (inner, request) = bound
            .nested(&expanded, planned, &Known::default(), moment)
            .unwrap();
        assert_eq!(request.is_inner, scope.eq_ignore_ascii_case("inner"));
        assert_eq!(names(&inner.expand().unwrap()), [wanted], "{scope}");
    }
    let members = json!({ "parameters": outer_value, "resources": [inside("outer", json!({ "name": { "value": "x" } }), "g")] });
    let bound = bind(&members, &json!({})).unwrap();
    let expanded = bound.expand().unwrap();
    let refused = bound.nested(
        &expanded,
        &expanded.resources[0],
        &Known::default(),
        (Value::Null, NOW_MS, Uuid::nil()),
    );
    assert!(
        matches!(refused, Err(NestedFault::Error(error)) if error.message.contains("outer scope"))
    );
}
