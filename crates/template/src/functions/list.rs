//! Functions of lists and objects, and those that take texts as well.

use serde_json::{Map, Value};

use super::Call;
use crate::evaluate::{find, item};
use crate::fault::Result;
use crate::limits::RANGE_ITEMS_MAX;
use crate::scope::Evaluation;

pub(super) fn call(on: &Evaluation<'_>, name: &str, call: &Call<'_>) -> Option<Result<Value>> {
    Some(match name {
        "concat" => concat(call),
        "createarray" => Ok(call.arguments.clone().into()),
        "createobject" => create_object(call),
        "array" => Ok(match call.at(0) {
            list @ Value::Array(_) => list.clone(),
            other => vec![other.clone()].into(),
        }),
        "contains" => contains(call),
        "empty" => Ok(is_empty(call.at(0)).into()),
        "equals" => Ok(equal(call.at(0), call.at(1)).into()),
        "first" => end(call, true),
        "last" => end(call, false),
        "length" => length(call),
        "skip" => cut(call, |items, count| {
            items.get(count..).unwrap_or_default().to_vec()
        }),
        "take" => cut(call, |items, count| {
            items.get(..count).unwrap_or(items).to_vec()
        }),
        "range" => range(call),
        "join" => join(call),
        "flatten" => call.list(0).map(|items| flatten(items).into()),
        "union" => union(on, call),
        "intersection" => intersection(on, call),
        "items" => items(call),
        "objectkeys" => call.object(0).map(|o| {
            o.keys()
                .cloned()
                .map(Value::String)
                .collect::<Vec<_>>()
                .into()
        }),
        "shallowmerge" => shallow_merge(call),
        "tryget" => Ok(try_get(call)),
        "indexfromend" => {
            from_end(call).and_then(|f| f.ok_or_else(|| call.fail("the index is out of bounds.")))
        }
        "tryindexfromend" => from_end(call).map(|found| found.unwrap_or(Value::Null)),
        "indexof" => position(call, |items, wanted| {
            items.iter().position(|i| equal(i, wanted))
        }),
        "lastindexof" => position(call, |items, wanted| {
            items.iter().rposition(|i| equal(i, wanted))
        }),
        _ => return None,
    })
}

fn concat(call: &Call<'_>) -> Result<Value> {
    let mut out = Vec::new();
    for index in 0..call.count() {
        out.extend_from_slice(call.list(index)?);
    }
    Ok(out.into())
}

fn create_object(call: &Call<'_>) -> Result<Value> {
    if !call.count().is_multiple_of(2) {
        return Err(call.fail("names and values must come in pairs."));
    }
    let mut out = Map::new();
    for (index, pair) in call.arguments.chunks_exact(2).enumerate() {
        let name = call.text(index * 2)?.to_owned();
        out.insert(name, pair.get(1).cloned().unwrap_or_default());
    }
    Ok(out.into())
}

fn contains(call: &Call<'_>) -> Result<Value> {
    let wanted = call.at(1);
    Ok(match call.at(0) {
        Value::Array(items) => items.iter().any(|item| equal(item, wanted)).into(),
        Value::Object(members) => find(members, call.text(1)?).is_some().into(),
        // As the service does it: with regard to case.
        _ => call.text(0)?.contains(call.text(1)?).into(),
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two values are the same; numbers by their worth, texts with regard to case.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

fn end(call: &Call<'_>, is_first: bool) -> Result<Value> {
    match call.at(0) {
        Value::Array(items) => {
            let found = if is_first {
                items.first()
            } else {
                items.last()
            };
            Ok(found.cloned().unwrap_or(Value::Null))
        }
        _ => {
            let text = call.text(0)?;
            let found = if is_first {
                text.chars().next()
            } else {
                text.chars().next_back()
            };
            Ok(found.map(String::from).unwrap_or_default().into())
        }
    }
}

fn length(call: &Call<'_>) -> Result<Value> {
    let count = match call.at(0) {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => call.text(0)?.chars().count(),
    };
    Ok(count.into())
}

fn cut(call: &Call<'_>, of: impl Fn(&[Value], usize) -> Vec<Value>) -> Result<Value> {
    let count = usize::try_from(call.whole(1)?.max(0)).unwrap_or(usize::MAX);
    match call.at(0) {
        Value::Array(items) => Ok(of(items, count).into()),
        _ => {
            let letters: Vec<Value> = call
                .text(0)?
                .chars()
                .map(|c| c.to_string().into())
                .collect();
            let kept = of(&letters, count);
            Ok(kept
                .iter()
                .filter_map(Value::as_str)
                .collect::<String>()
                .into())
        }
    }
}

fn range(call: &Call<'_>) -> Result<Value> {
    let (start, count) = (call.whole(0)?, call.whole(1)?);
    let is_right = (0..=RANGE_ITEMS_MAX).contains(&count);
    let last = start
        .checked_add(count)
        .filter(|_| is_right)
        .ok_or_else(|| call.fail(&format!("the count must be from 0 to {RANGE_ITEMS_MAX}.")))?;
    Ok((start..last).map(Value::from).collect::<Vec<_>>().into())
}

fn join(call: &Call<'_>) -> Result<Value> {
    let parts: Vec<String> = call.list(0)?.iter().map(super::show).collect();
    Ok(parts.join(call.text(1)?).into())
}

fn flatten(items: &[Value]) -> Vec<Value> {
    let inner = |item: &Value| match item {
        Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    };
    items.iter().flat_map(inner).collect()
}

fn union(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    if call.at(0).is_object() {
        let mut out = call.object(0)?.clone();
        for index in 1..call.count() {
            merge(&mut out, call.object(index)?);
        }
        return Ok(out.into());
    }
    let mut out: Vec<Value> = Vec::new();
    for index in 0..call.count() {
        for item in call.list(index)? {
            compared(on, out.len())?;
            if !out.iter().any(|known| equal(known, item)) {
                out.push(item.clone());
            }
        }
    }
    Ok(out.into())
}

/// Every comparison costs: lists that are compared item by item must not take for ever.
fn compared(on: &Evaluation<'_>, items: usize) -> Result<()> {
    on.reserve(items)
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(added)) => merge(inner, added),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

fn intersection(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    if call.at(0).is_object() {
        let mut out = call.object(0)?.clone();
        for index in 1..call.count() {
            let other = call.object(index)?;
            out.retain(|name, value| other.get(name).is_some_and(|o| equal(o, value)));
        }
        return Ok(out.into());
    }
    let mut out: Vec<Value> = Vec::new();
    for item in call.list(0)? {
        if !out.iter().any(|known| equal(known, item)) {
            out.push(item.clone());
        }
    }
    for index in 1..call.count() {
        let other = call.list(index)?;
        compared(on, out.len().saturating_mul(other.len()))?;
        out.retain(|item| other.iter().any(|o| equal(o, item)));
    }
    Ok(out.into())
}

fn items(call: &Call<'_>) -> Result<Value> {
    let mut pairs: Vec<(&String, &Value)> = call.object(0)?.iter().collect();
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    let shown = pairs
        .into_iter()
        .map(|(key, value)| serde_json::json!({ "key": key, "value": value }));
    Ok(shown.collect::<Vec<_>>().into())
}

fn shallow_merge(call: &Call<'_>) -> Result<Value> {
    let mut out = Map::new();
    for item in call.list(0)? {
        if let Value::Object(members) = item {
            out.extend(members.clone());
        }
    }
    Ok(out.into())
}

fn try_get(call: &Call<'_>) -> Value {
    let mut found = call.at(0);
    for at in call.arguments.iter().skip(1) {
        match item(found, at) {
            Ok(next) => found = next,
            Err(_) => return Value::Null,
        }
    }
    found.clone()
}

fn from_end(call: &Call<'_>) -> Result<Option<Value>> {
    let items = call.list(0)?;
    let back = usize::try_from(call.whole(1)?)
        .ok()
        .filter(|back| *back > 0);
    let at = back.and_then(|back| items.len().checked_sub(back));
    Ok(at.and_then(|at| items.get(at)).cloned())
}

fn position(call: &Call<'_>, find: impl Fn(&[Value], &Value) -> Option<usize>) -> Result<Value> {
    let at = find(call.list(0)?, call.at(1));
    Ok(at
        .and_then(|at| i64::try_from(at).ok())
        .unwrap_or(-1)
        .into())
}
