//! Every function of the language, by what it returns.

mod common;

use common::{GROUP, evaluate, evaluate_in, need};
use serde_json::{Value, json};
use template::Fault;

#[test]
fn functions_return_what_the_service_returns() {
    let cases: Vec<(&str, Value)> = vec![
        // Texts.
        ("[concat('a', 1, true())]", json!("a1True")),
        (
            "[format('{0}-{1:00}-{2}', 'a', 7, createArray(1))]",
            json!("a-07-[1]"),
        ),
        ("[format('{{{0,4}|{0,-4}}}', 'x')]", json!("{   x|x   }")),
        ("[toLower('AB')]", json!("ab")),
        ("[toUpper('ab')]", json!("AB")),
        ("[trim('  a ')]", json!("a")),
        ("[substring('one two', 4, 2)]", json!("tw")),
        ("[substring('one', 1)]", json!("ne")),
        ("[replace('a-b-c', '-', '+')]", json!("a+b+c")),
        (
            "[split('a,b;c', createArray(',', ';'))]",
            json!(["a", "b", "c"]),
        ),
        ("[split('a,b', ',')]", json!(["a", "b"])),
        ("[join(createArray('a', 1), '/')]", json!("a/1")),
        ("[startsWith('abc', 'A')]", json!(true)),
        ("[endsWith('abc', 'd')]", json!(false)),
        ("[indexOf('test', 'T')]", json!(0)),
        ("[lastIndexOf('test', 't')]", json!(3)),
        ("[indexOf('test', 'x')]", json!(-1)),
        ("[padLeft('7', 3, '0')]", json!("007")),
        ("[padLeft(123, 2)]", json!("123")),
        ("[length('añb')]", json!(3)),
        ("[string(createObject('a', 1))]", json!("{\"a\":1}")),
        ("[string(5)]", json!("5")),
        ("[base64('one, two')]", json!("b25lLCB0d28=")),
        ("[base64ToString(base64('one'))]", json!("one")),
        ("[base64ToJson(base64('{''a'':1}')).a]", json!(1)),
        ("[json('{\"a\": [1, null]}').a[0]]", json!(1)),
        ("[json('null')]", json!(null)),
        (
            "[uri('http://contoso.org/firstpath', 'myscript.sh')]",
            json!("http://contoso.org/myscript.sh"),
        ),
        (
            "[uri('http://contoso.org/firstpath/', '/x')]",
            json!("http://contoso.org/x"),
        ),
        (
            "[uri('http://contoso.org', 'x/y')]",
            json!("http://contoso.org/x/y"),
        ),
        ("[uriComponent('a b/c')]", json!("a%20b%2Fc")),
        ("[uriComponentToString('a%20b')]", json!("a b")),
        ("[dataUriToString(dataUri('Hello'))]", json!("Hello")),
        (
            "[guid('a', 'b')]",
            json!("2d796349-8c7e-55ec-9624-54ece82ed031"),
        ),
        ("[uniqueString('hello', 'world')]", json!("a7wkljktk6wne")),
        // Numbers and order.
        ("[add(2, 3)]", json!(5)),
        ("[sub(2, 3)]", json!(-1)),
        ("[mul(2, 3)]", json!(6)),
        ("[div(8, 3)]", json!(2)),
        ("[mod(-7, 3)]", json!(-1)),
        ("[int('42')]", json!(42)),
        ("[int(json('2.9'))]", json!(2)),
        ("[float('1.5')]", json!(1.5)),
        ("[bool('True')]", json!(true)),
        ("[bool(0)]", json!(false)),
        ("[min(3, 1, 2)]", json!(1)),
        ("[max(createArray(0, 3, 2))]", json!(3)),
        ("[less(1, 2)]", json!(true)),
        ("[lessOrEquals('b', 'a')]", json!(false)),
        ("[greater('b', 'a')]", json!(true)),
        ("[greaterOrEquals(2, 2)]", json!(true)),
        // Truth.
        (
            "[if(equals(1, 1), 'yes', fail('not evaluated'))]",
            json!("yes"),
        ),
        ("[and(true(), not(false()))]", json!(true)),
        ("[or(false(), true(), fail('not evaluated'))]", json!(true)),
        ("[coalesce(null(), 'a', fail('not evaluated'))]", json!("a")),
        ("[null()]", json!(null)),
        // Lists and objects.
        ("[array('a')]", json!(["a"])),
        ("[createArray()]", json!([])),
        (
            "[createObject('a', 1, 'b', createArray())]",
            json!({"a": 1, "b": []}),
        ),
        (
            "[concat(createArray(1), createArray(2, 1))]",
            json!([1, 2, 1]),
        ),
        ("[contains('OneTwo', 'one')]", json!(false)),
        ("[contains(createObject('Key', 1), 'key')]", json!(true)),
        ("[contains(createArray(1, 2), 2)]", json!(true)),
        ("[empty('')]", json!(true)),
        ("[empty(createObject('a', 1))]", json!(false)),
        ("[first('One')]", json!("O")),
        ("[last(createArray(1, 2))]", json!(2)),
        ("[first(createArray())]", json!(null)),
        ("[skip(createArray(1, 2, 3), 2)]", json!([3])),
        ("[take('one two', 3)]", json!("one")),
        ("[take(createArray(1), 9)]", json!([1])),
        ("[range(5, 3)]", json!([5, 6, 7])),
        (
            "[union(createObject('a', createObject('x', 1)), createObject('a', createObject('y', 2)))]",
            json!({"a": {"x": 1, "y": 2}}),
        ),
        (
            "[union(createArray(1, 2), createArray(2, 3))]",
            json!([1, 2, 3]),
        ),
        (
            "[intersection(createArray(1, 2, 3), createArray(3, 2))]",
            json!([2, 3]),
        ),
        (
            "[intersection(createObject('a', 1, 'b', 2), createObject('b', 2, 'a', 3))]",
            json!({"b": 2}),
        ),
        (
            "[items(createObject('b', 2, 'a', 1))]",
            json!([{"key": "a", "value": 1}, {"key": "b", "value": 2}]),
        ),
        ("[flatten(createArray(createArray(1), 2))]", json!([1, 2])),
        ("[tryGet(createObject('a', 1), 'b')]", json!(null)),
        ("[indexFromEnd(createArray(1, 2, 3), 1)]", json!(3)),
        ("[createObject('A', createArray(7)).a[0]]", json!(7)),
        ("[createObject('a', 1).?b]", json!(null)),
        // Moments.
        (
            "[dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y')]",
            json!("2023-04-07 14:53:14Z"),
        ),
        (
            "[dateTimeAdd('2020-04-07 14:53:14Z', '-PT1H', 'yyyy-MM-dd HH')]",
            json!("2020-04-07 13"),
        ),
        ("[dateTimeToEpoch('1970-01-02T00:00:00Z')]", json!(86400)),
        ("[dateTimeFromEpoch(86400)]", json!("1970-01-02T00:00:00Z")),
        // Where it runs.
        ("[subscription().subscriptionId]", json!("s1")),
        ("[resourceGroup().location]", json!("eastus")),
        ("[deployment().name]", json!("d1")),
        ("[environment().suffixes.storage]", json!("h:8443")),
        ("[tenant().tenantId]", json!("t1")),
        (
            "[providers('Microsoft.Compute', 'galleries').apiVersions[0]]",
            json!("2024-03-03"),
        ),
        (
            "[resourceId('Microsoft.Compute/galleries', 'g')]",
            json!(format!("{GROUP}/providers/Microsoft.Compute/galleries/g")),
        ),
        (
            "[resourceId('rg2', 'Microsoft.Compute/galleries/images', 'g', 'i')]",
            json!(
                "/subscriptions/s1/resourceGroups/rg2/providers/Microsoft.Compute/galleries/g/images/i"
            ),
        ),
        (
            "[resourceId('s2', 'rg2', 'Microsoft.Compute/galleries', 'g')]",
            json!("/subscriptions/s2/resourceGroups/rg2/providers/Microsoft.Compute/galleries/g"),
        ),
        (
            "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'x')]",
            json!("/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/x"),
        ),
        (
            "[tenantResourceId('Microsoft.Authorization/roleDefinitions', 'x')]",
            json!("/providers/Microsoft.Authorization/roleDefinitions/x"),
        ),
        (
            "[extensionResourceId('/subscriptions/s1', 'Microsoft.Authorization/locks', 'l')]",
            json!("/subscriptions/s1/providers/Microsoft.Authorization/locks/l"),
        ),
        // Texts that are none.
        ("[[concat('a')]", json!("[concat('a')]")),
        ("plain", json!("plain")),
    ];
    for (expression, wanted) in cases {
        assert_eq!(evaluate(expression), Ok(wanted), "{expression}");
    }
}

#[test]
fn mistakes_are_said_in_the_words_of_the_service() {
    for (expression, said) in [
        (
            "[nothing()]",
            "The template function 'nothing' is not valid.",
        ),
        (
            "[toLower()]",
            "Unable to evaluate template language function 'toLower': function requires '1' argument(s) while '0' were provided.",
        ),
        (
            "[toLower(1)]",
            "The template language function 'toLower' expects its parameter to be of type 'string'. The provided value is of type 'Integer'.",
        ),
        (
            "[createObject('a', 1).b]",
            "The language expression property 'b' doesn't exist, available properties are 'a'.",
        ),
        (
            "[createArray(1)[3]]",
            "The language expression property array index '3' is out of bounds.",
        ),
        (
            "[parameters('p')]",
            "The template parameter 'p' is not found.",
        ),
        (
            "[variables('v')]",
            "The template variable 'v' is not found.",
        ),
        (
            "[copyIndex()]",
            "The template function 'copyIndex' is not expected at this location.",
        ),
        (
            "[newGuid()]",
            "The function can only be used in the default value of a parameter.",
        ),
        (
            "[utcNow()]",
            "The function can only be used in the default value of a parameter.",
        ),
        ("[div(1, 0)]", "not a whole number of 64 bits"),
        (
            "[add(9223372036854775807, 1)]",
            "not a whole number of 64 bits",
        ),
        ("[range(0, 10001)]", "from 0 to 10000"),
        ("[padLeft('a', 100000)]", "from 0 to 4096"),
        (
            "[reference('x')]",
            "The resource 'x' is not defined in the template.",
        ),
        (
            "[resourceId('Microsoft.Compute/galleries/images', 'g')]",
            "requires '2' resource name argument(s)",
        ),
        (
            "[providers('Microsoft.Sql')]",
            "The resource namespace 'Microsoft.Sql' is invalid.",
        ),
        ("[json('{')]", "not valid JSON"),
        ("[concat(", "[concat("),
    ] {
        match evaluate(expression) {
            Err(fault) => assert!(
                fault.sentence().contains(said),
                "{expression}: {}",
                fault.sentence()
            ),
            Ok(value) => assert_eq!(value, said, "{expression}"),
        }
    }
}

#[test]
fn a_reference_asks_for_the_state_of_a_resource() {
    let id = format!("{GROUP}/providers/Microsoft.Compute/galleries/g");
    let asked =
        evaluate("[reference(resourceId('Microsoft.Compute/galleries', 'g'), '2024-03-03').x]");
    assert_eq!(asked, Err(Fault::Needs(need(&id, Some("2024-03-03")))));
}

#[test]
fn variables_count_loops_and_are_evaluated_once() {
    let members = json!({ "variables": {
        "a": "[concat(variables('b'), '!')]",
        "b": "x",
        "copy": [{ "name": "list", "count": 3, "input": "[copyIndex('list', 1)]" }],
        "inner": { "copy": [{ "name": "list", "count": 2, "input": { "at": "[copyIndex('list')]" } }] },
        "circle": "[variables('round')]", "round": "[variables('circle')]",
    } });
    for (expression, wanted) in [
        ("[variables('A')]", json!("x!")),
        ("[variables('list')]", json!([1, 2, 3])),
        ("[variables('inner').list[1].at]", json!(1)),
    ] {
        assert_eq!(
            evaluate_in(&members, expression),
            Ok(wanted),
            "{expression}"
        );
    }
    let circle = evaluate_in(&members, "[variables('circle')]").unwrap_err();
    assert!(
        circle.sentence().contains("Circular reference"),
        "{}",
        circle.sentence()
    );
}

#[test]
fn functions_of_the_template_see_their_own_parameters() {
    let members = json!({ "functions": [{
        "namespace": "contoso",
        "members": { "name": {
            "parameters": [{ "name": "prefix", "type": "string" }],
            "output": { "type": "string", "value": "[concat(toLower(parameters('prefix')), uniqueString(resourceGroup().id))]" },
        } },
    }] });
    let found = evaluate_in(&members, "[contoso.name('AB')]").unwrap();
    assert!(found.as_str().unwrap().starts_with("ab"), "{found}");
    for wrong in ["[contoso.other()]", "[contoso.name()]"] {
        assert!(
            matches!(evaluate_in(&members, wrong), Err(Fault::Wrong(_))),
            "{wrong}"
        );
    }
}

#[test]
fn what_one_part_builds_is_limited() {
    let wide = "[concat(variables('a'), variables('a'), variables('a'), variables('a'))]";
    let mut variables = json!({ "a0": "x".repeat(20_000) });
    for step in 0..12 {
        variables[format!("a{}", step + 1)] = json!(wide.replace("'a'", &format!("'a{step}'")));
    }
    let fault = evaluate_in(&json!({ "variables": variables }), "[variables('a12')]").unwrap_err();
    assert!(
        fault.sentence().contains("builds more than"),
        "{}",
        fault.sentence()
    );
}
