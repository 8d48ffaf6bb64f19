//! Whether every expression of a part can be read, before anything is evaluated.

use serde_json::Value;

use crate::expression::{self, Expression, Text};
use crate::fault::{Fault, Result};
use crate::functions;

/// Refuses expressions that are not of the language and functions that are not there.
pub(crate) fn check(value: &Value) -> Result<()> {
    match value {
        Value::String(text) => match expression::read(text)? {
            Text::Literal(_) => Ok(()),
            Text::Expression(parsed) => check_calls(&parsed),
        },
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(members) => members.values().try_for_each(check),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_calls(expression: &Expression) -> Result<()> {
    match expression {
        Expression::Call(name, arguments) => {
            if !name.contains('.') && !functions::is_known(name) {
                return Err(Fault::wrong(format!(
                    "The template function '{name}' is not valid. Please see https://aka.ms/arm-functions for usage details."
                )));
            }
            arguments.iter().try_for_each(check_calls)
        }
        Expression::Item(of, at, _) => {
            check_calls(of)?;
            check_calls(at)
        }
        Expression::Text(_) | Expression::Number(_) => Ok(()),
    }
}
