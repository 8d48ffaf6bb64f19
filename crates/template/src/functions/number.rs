//! Functions of numbers and of order.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::Call;
use crate::fault::Result;

pub(super) fn call(name: &str, call: &Call<'_>) -> Option<Result<Value>> {
    Some(match name {
        "add" => two(call, i64::checked_add),
        "sub" => two(call, i64::checked_sub),
        "mul" => two(call, i64::checked_mul),
        "div" => two(call, i64::checked_div),
        "mod" => two(call, i64::checked_rem),
        "int" => int(call),
        "float" => float(call),
        "bool" => bool(call),
        "min" => extreme(call, Ordering::Less),
        "max" => extreme(call, Ordering::Greater),
        "less" => ordered(call, Ordering::is_lt),
        "lessorequals" => ordered(call, Ordering::is_le),
        "greater" => ordered(call, Ordering::is_gt),
        "greaterorequals" => ordered(call, Ordering::is_ge),
        _ => return None,
    })
}

fn two(call: &Call<'_>, of: impl Fn(i64, i64) -> Option<i64>) -> Result<Value> {
    let result = of(call.whole(0)?, call.whole(1)?);
    result
        .map(Value::from)
        .ok_or_else(|| call.fail("the result is not a whole number of 64 bits."))
}

fn int(call: &Call<'_>) -> Result<Value> {
    let wrong = || call.fail("the value is not a whole number.");
    match call.at(0) {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole.into()),
            // Texts of numbers round as the service rounds: towards zero.
            (None, Some(real)) => format!("{:.0}", real.trunc())
                .parse::<i64>()
                .map(Value::from)
                .map_err(|_| wrong()),
            (None, None) => Err(wrong()),
        },
        _ => call
            .text(0)?
            .trim()
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| wrong()),
    }
}

fn float(call: &Call<'_>) -> Result<Value> {
    let real = match call.at(0) {
        Value::Number(number) => number.as_f64(),
        _ => call.text(0)?.trim().parse().ok(),
    };
    let number = real.and_then(Number::from_f64);
    number
        .map(Value::Number)
        .ok_or_else(|| call.fail("the value is not a number."))
}

fn bool(call: &Call<'_>) -> Result<Value> {
    match call.at(0) {
        Value::Bool(truth) => Ok((*truth).into()),
        Value::Number(number) => Ok((number.as_f64() != Some(0.0)).into()),
        _ => match call.text(0)?.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true.into()),
            "false" | "0" => Ok(false.into()),
            _ => Err(call.fail("the value is neither true nor false.")),
        },
    }
}

fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<Value> {
    let all = match call.at(0) {
        Value::Array(items) if call.count() == 1 => items,
        _ => &call.arguments,
    };
    let numbers: Option<Vec<i64>> = all.iter().map(Value::as_i64).collect();
    let best = numbers.into_iter().flatten().reduce(|best, next| {
        if next.cmp(&best) == wanted {
            next
        } else {
            best
        }
    });
    let are_numbers = all.iter().all(Value::is_i64);
    best.filter(|_| are_numbers)
        .map(Value::from)
        .ok_or_else(|| call.fail("the values must be whole numbers."))
}

fn ordered(call: &Call<'_>, is_so: impl Fn(Ordering) -> bool) -> Result<Value> {
    let order = match (call.at(0), call.at(1)) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (one, other) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one
                .as_f64()
                .zip(other.as_f64())
                .and_then(|(one, other)| one.partial_cmp(&other)),
        },
    };
    let order =
        order.ok_or_else(|| call.fail("the values must be two whole numbers or two texts."))?;
    Ok(is_so(order).into())
}
