//! Parameters: what was given, what is the default, what is allowed, what must not be shown.

use std::cell::RefCell;
use std::collections::HashMap;

use domain::Result;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::evaluate::{find, member};
use crate::expression::{self, Expression, Text};
use crate::fault::wrong;
use crate::functions::{show, type_name};
use crate::model::Template;
use crate::scope::{Evaluation, Known, Moment, Place, Scope};

/// The types of parameters and outputs, as responses spell them.
const TYPES: [&str; 7] = [
    "String",
    "SecureString",
    "Int",
    "Bool",
    "Object",
    "SecureObject",
    "Array",
];

/// Returns the spelling of a type's name, whatever its case.
pub(crate) fn type_word(definition: &Value) -> Option<&'static str> {
    let word = definition.get("type").and_then(Value::as_str)?;
    TYPES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(word))
}

/// Whether values of a type are secrets.
pub(crate) fn is_secure(definition: &Value) -> bool {
    matches!(type_word(definition), Some("SecureString" | "SecureObject"))
}

impl Template {
    /// Returns a value for every parameter: the given ones checked, else the defaults.
    pub fn bind(
        &self,
        place: &Place,
        given: &Map<String, Value>,
        now_ms: i64,
        fresh: &mut dyn FnMut() -> Uuid,
    ) -> Result<Map<String, Value>> {
        self.check_names(given)?;
        let mut values = Map::new();
        for (name, definition) in &self.parameters {
            if let Some(value) = given_value(given, name)? {
                values.insert(name.clone(), value);
            } else if definition.get("defaultValue").is_none() && !is_nullable(definition) {
                return Err(wrong(format!(
                    "The value for the template parameter '{name}' is not provided. Please see \
                     https://aka.ms/arm-create-parameter-file for usage details."
                )));
            }
        }
        self.defaults(place, &mut values, now_ms, fresh)?;
        for (name, definition) in &self.parameters {
            let value = values.get(name).unwrap_or(&Value::Null);
            check(name, definition, value)?;
        }
        Ok(values)
    }

    fn check_names(&self, given: &Map<String, Value>) -> Result<()> {
        let unknown: Vec<&str> = given
            .keys()
            .filter(|name| find(&self.parameters, name).is_none())
            .map(String::as_str)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        Err(wrong(format!(
            "The template parameters '{}' in the parameters file are not valid; they are not present in the original template \
             and can therefore not be provided at deployment time. The only supported parameters for this template are '{}'. \
             Please see https://aka.ms/arm-pass-parameter-values for usage details.",
            unknown.join(", "),
            known.join(", ")
        )))
    }

    /// Evaluates defaults; one may use another parameter, whichever stands first.
    fn defaults(
        &self,
        place: &Place,
        values: &mut Map<String, Value>,
        now_ms: i64,
        fresh: &mut dyn FnMut() -> Uuid,
    ) -> Result<()> {
        let (empty, names, known) = (Map::new(), HashMap::new(), Known::default());
        let fresh = RefCell::new(fresh);
        let fresh = || (fresh.borrow_mut())();
        let moment = Moment {
            now_ms,
            fresh: &fresh,
        };
        for name in self.default_order()? {
            if values.contains_key(&name) {
                continue;
            }
            let Some(raw) = self
                .parameters
                .get(&name)
                .and_then(|d| d.get("defaultValue"))
            else {
                values.insert(name, Value::Null);
                continue;
            };
            let scope = Scope {
                place,
                parameters: values,
                variables: &empty,
                functions: &self.functions,
                names: &names,
            };
            let mut evaluation = Evaluation::new(scope, &known, &[]);
            evaluation.moment = Some(moment);
            let value = evaluation.value(raw);
            let value = value
                .map_err(|fault| fault.into_expression_error(&format!("parameter '{name}'")))?;
            values.insert(name, value);
        }
        Ok(())
    }

    /// Orders parameters so that each comes after those its default uses.
    fn default_order(&self) -> Result<Vec<String>> {
        let (mut order, mut open) = (Vec::new(), Vec::new());
        for name in self.parameters.keys() {
            self.visit(name, &mut open, &mut order)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, open: &mut Vec<String>, order: &mut Vec<String>) -> Result<()> {
        if order.iter().any(|known| known == name) {
            return Ok(());
        }
        if open.iter().any(|known| known == name) {
            return Err(wrong(format!(
                "Circular reference detected at template parameter '{name}'"
            )));
        }
        open.push(name.to_owned());
        let mut used = Vec::new();
        if let Some(raw) = self
            .parameters
            .get(name)
            .and_then(|d| d.get("defaultValue"))
        {
            uses(raw, &mut used);
        }
        for used in used {
            let known = self
                .parameters
                .keys()
                .find(|known| known.eq_ignore_ascii_case(&used));
            if let Some(known) = known {
                self.visit(known, open, order)?;
            }
        }
        open.pop();
        order.push(name.to_owned());
        Ok(())
    }

    /// Returns the parameters as responses show them: `{name: {type, value}}`, secrets without a value.
    pub fn shown_parameters(&self, values: &Map<String, Value>) -> Value {
        let shown = self.parameters.iter().map(|(name, definition)| {
            let word = type_word(definition).unwrap_or("String");
            let shown = match values.get(name) {
                Some(value) if !is_secure(definition) => json!({ "type": word, "value": value }),
                _ => json!({ "type": word }),
            };
            (name.clone(), shown)
        });
        Value::Object(shown.collect())
    }

    /// Whether a parameter is a secret.
    pub fn is_secure(&self, name: &str) -> bool {
        self.parameters.get(name).is_some_and(is_secure)
    }
}

fn is_nullable(definition: &Value) -> bool {
    definition
        .get("nullable")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn given_value(given: &Map<String, Value>, name: &str) -> Result<Option<Value>> {
    let Some(found) = find(given, name) else {
        return Ok(None);
    };
    let members = found.as_object();
    if let Some(value) = members.and_then(|m| member(m, "value")) {
        return Ok(Some(value.clone()));
    }
    if members.is_some_and(|m| member(m, "reference").is_some()) {
        return Err(wrong(format!(
            "The template parameter '{name}' refers to a key vault. This server has no key vaults; give the value itself"
        )));
    }
    Ok(None)
}

/// Collects the parameters that a default names.
fn uses(value: &Value, used: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(Text::Expression(parsed)) = expression::read(text) {
                uses_in(&parsed, used);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| uses(item, used)),
        Value::Object(members) => members.values().for_each(|member| uses(member, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn uses_in(expression: &Expression, used: &mut Vec<String>) {
    match expression {
        Expression::Call(name, arguments) => {
            if let ([Expression::Text(parameter)], true) = (
                arguments.as_slice(),
                name.eq_ignore_ascii_case("parameters"),
            ) {
                used.push(parameter.clone());
            }
            arguments.iter().for_each(|one| uses_in(one, used));
        }
        Expression::Item(of, at, _) => {
            uses_in(of, used);
            uses_in(at, used);
        }
        Expression::Text(_) | Expression::Number(_) => {}
    }
}

fn check(name: &str, definition: &Value, value: &Value) -> Result<()> {
    let Some(word) = type_word(definition) else {
        return Err(wrong(format!(
            "The type of the template parameter '{name}' is not valid. The allowed types are '{}'",
            TYPES.join(", ")
        )));
    };
    if value.is_null() && is_nullable(definition) {
        return Ok(());
    }
    let (is_right, expected) = match word {
        "String" | "SecureString" => (value.is_string(), "String, Uri"),
        "Int" => (value.is_i64() || value.is_u64(), "Integer"),
        "Bool" => (value.is_boolean(), "Boolean"),
        "Array" => (value.is_array(), "Array"),
        _ => (value.is_object(), "Object"),
    };
    if !is_right {
        return Err(wrong(format!(
            "Template parameter JToken type is not valid. Expected '{expected}'. Actual '{}'. Parameter: '{name}'. Please see \
             https://aka.ms/resource-manager-parameter-files for usage details.",
            type_name(value)
        )));
    }
    check_allowed(name, definition, value)?;
    check_bounds(name, definition, value)
}

fn check_allowed(name: &str, definition: &Value, value: &Value) -> Result<()> {
    let Some(allowed) = definition.get("allowedValues").and_then(Value::as_array) else {
        return Ok(());
    };
    let same = |known: &Value| match (known, value) {
        (Value::String(a), Value::String(b)) => a.eq_ignore_ascii_case(b),
        _ => known == value,
    };
    let is_part = match value {
        // Every item of a list must be one of the allowed ones, unless the list itself is.
        Value::Array(items) => items.iter().all(|item| allowed.contains(item)),
        _ => false,
    };
    if is_part || allowed.iter().any(same) {
        return Ok(());
    }
    let known: Vec<String> = allowed.iter().map(show).collect();
    let shown = match is_secure(definition) {
        true => String::new(),
        false => format!(
            "The value '{}' is not part of the allowed value(s): ",
            show(value)
        ),
    };
    Err(wrong(format!(
        "The provided value for the template parameter '{name}' is not valid. {shown}'{}'.",
        known.join(",")
    )))
}

fn check_bounds(name: &str, definition: &Value, value: &Value) -> Result<()> {
    let bound = |bound: &str| definition.get(bound).and_then(Value::as_i64);
    let length = match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(items) => Some(items.len()),
        _ => None,
    };
    let length = length.and_then(|length| i64::try_from(length).ok());
    let cases = [
        (
            length,
            bound("minLength"),
            true,
            "Length of the value should be greater than or equal to",
        ),
        (
            length,
            bound("maxLength"),
            false,
            "Length of the value should be less than or equal to",
        ),
        (
            value.as_i64(),
            bound("minValue"),
            true,
            "The value should be greater than or equal to",
        ),
        (
            value.as_i64(),
            bound("maxValue"),
            false,
            "The value should be less than or equal to",
        ),
    ];
    for (found, bound, is_least, sentence) in cases {
        let (Some(found), Some(bound)) = (found, bound) else {
            continue;
        };
        if (is_least && found < bound) || (!is_least && found > bound) {
            return Err(wrong(format!(
                "The provided value for the template parameter '{name}' is not valid. {sentence} '{bound}'. Please see \
                 https://aka.ms/arm-create-parameter-file for usage details."
            )));
        }
    }
    Ok(())
}
