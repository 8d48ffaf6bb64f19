//! No text and no value makes a reader or an evaluation panic or run on.

mod common;

use proptest::prelude::*;
use serde_json::{Value, json};
use template::{Request, Template, date, expression, jsonc};

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "[parameters('p')]",
        "[variables('copy')]",
        "[copyIndex()]",
        "[concat(variables('a'), 'x')]",
        "[reference('x')]",
        "[[x]",
        "[",
        "",
        "string",
        "1.0.0.0",
        "name",
        "Microsoft.Compute/galleries",
        "2024-03-03",
        "[range(0, 9)]",
        "serial",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..900).prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "type",
        "name",
        "apiVersion",
        "copy",
        "count",
        "input",
        "dependsOn",
        "condition",
        "resources",
        "properties",
        "parameters",
        "variables",
        "outputs",
        "value",
        "defaultValue",
        "functions",
        "namespace",
        "members",
        "output",
        "scope",
        "template",
        "mode",
        "p",
        "a",
        "allowedValues",
        "minLength",
        "existing",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|all| Value::Object(
                all.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
            )),
        ]
    })
}

const CALLS: [&str; 20] = [
    "concat",
    "format",
    "substring",
    "replace",
    "split",
    "padLeft",
    "range",
    "take",
    "skip",
    "int",
    "add",
    "div",
    "mod",
    "join",
    "json",
    "items",
    "union",
    "intersection",
    "dateTimeAdd",
    "indexOf",
];

fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "'[a-zé{}0:,-]{0,6}'",
        Just("createArray(1, 'a')".to_owned()),
        Just("createObject('a', null())".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        (
            prop::sample::select(&CALLS[..]),
            prop::collection::vec(inner, 0..4),
        )
            .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", ")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_panics_the_readers(text in "\\PC{0,60}") {
        let _ = jsonc::read(&text);
        let _ = expression::read(&text);
        let _ = expression::parse(&text);
        let _ = date::parse(&text);
        let _ = date::add(0, &text);
        let _ = date::format(0, &text);
        let _ = Request::read(&text);
    }

    #[test]
    fn near_json_is_read_or_refused(text in "[\\[\\]{}:,'\"a1/*\\\\ \\n-]{0,40}") {
        let _ = jsonc::read(&text);
    }

    #[test]
    fn json_reads_as_json_reads_it(value in any_json()) {
        prop_assert_eq!(jsonc::read(&value.to_string()).unwrap(), value.clone());
        prop_assert_eq!(jsonc::read(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn near_expressions_are_parsed_or_refused(text in "[a-c(),.\\[\\]'0-9? -]{0,40}") {
        let _ = expression::parse(&text);
    }

    #[test]
    fn no_call_panics(text in any_expression()) {
        let _ = common::evaluate(&format!("[{text}]"));
    }

    #[test]
    fn no_template_panics(parameters in any_json(), variables in any_json(), resources in prop::collection::vec(any_json(), 0..3), outputs in any_json()) {
        let members = json!({ "parameters": parameters, "variables": variables, "resources": resources, "outputs": outputs });
        let whole = common::whole(&members);
        if let Ok(template) = Template::read(&whole)
            && let Ok(values) = template.bind(&common::place(), &common::none(), 0, &mut uuid::Uuid::nil)
        {
            let bound = template::Bound::new(template, common::place(), values);
            if let Ok(expanded) = bound.expand() {
                for planned in &expanded.resources {
                    let _ = bound.body(&expanded, planned, &template::Known::default());
                }
                let _ = bound.outputs(&expanded, &template::Known::default());
            }
        }
    }
}
