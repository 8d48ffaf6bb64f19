//! Functions of resources, of the deployment and of the template itself.

use serde_json::Value;

use super::{Call, parameter};
use crate::fault::{Fault, Need, Result};
use crate::order::GROUPS;
use crate::scope::Evaluation;

pub(super) fn call(on: &Evaluation<'_>, name: &str, call: &Call<'_>) -> Option<Result<Value>> {
    let place = on.scope.place;
    Some(match name {
        "parameters" => call.text(0).and_then(|name| parameter(on, name)),
        "variables" => call.text(0).and_then(|name| variable(on, call, name)),
        "copyindex" => copy_index(on, call),
        "subscription" => Ok(place.subscription.clone()),
        "resourcegroup" => resource_group(on, call),
        "deployment" => Ok(place.deployment.clone()),
        "environment" => Ok(place.environment.clone()),
        "tenant" => Ok(place.tenant.clone()),
        "providers" => providers(on, call),
        "resourceid" => resource_id(on, call),
        "subscriptionresourceid" => subscription_resource_id(on, call),
        "tenantresourceid" => tail(call, 0).map(Value::String),
        "extensionresourceid" => extension_resource_id(call),
        "reference" => reference(on, call),
        "listkeys" => need(on, call, "listKeys"),
        _ => return None,
    })
}

fn resource_group(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    match &on.scope.place.group {
        // Source: the service, of templates at a subscription.
        Value::Null => Err(Fault::wrong(format!(
            "The template function '{}' is not expected at this location. Please see https://aka.ms/arm-functions for usage \
             details.",
            call.name
        ))),
        group => Ok(group.clone()),
    }
}

fn variable(on: &Evaluation<'_>, call: &Call<'_>, name: &str) -> Result<Value> {
    if on.frame.borrow().is_some() {
        return Err(Fault::wrong(format!(
            "The template function '{}' is not expected at this location: functions of a template see their parameters alone.",
            call.name
        )));
    }
    on.variable(name)
}

fn copy_index(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let loops = on.loops.borrow();
    let (name, offset) = match call.at(0) {
        Value::String(name) => (Some(name), call.at(1)),
        offset => (None, offset),
    };
    let found = match name {
        Some(name) => loops
            .iter()
            .rev()
            .find(|(known, _)| known.eq_ignore_ascii_case(name)),
        None => loops.first(),
    };
    let (_, turn) = found.ok_or_else(|| {
        Fault::wrong(format!(
            "The template function '{}' is not expected at this location. The function can only be used in a resource or a \
             property with a copy loop{}. Please see https://aka.ms/arm-resource-loops for usage details.",
            call.name,
            name.map_or_else(String::new, |name| format!(" named '{name}'"))
        ))
    })?;
    let offset = match offset {
        Value::Null => 0,
        other => other
            .as_i64()
            .ok_or_else(|| call.fail("the offset must be a whole number."))?,
    };
    let turn = i64::try_from(*turn).unwrap_or(i64::MAX);
    turn.checked_add(offset)
        .map(Value::from)
        .ok_or_else(|| call.fail("the offset is too large."))
}

fn providers(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let namespace = call.text(0)?;
    let same = |value: &Value, name: &str, wanted: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|n| n.eq_ignore_ascii_case(wanted))
    };
    let provider = on
        .scope
        .place
        .providers
        .iter()
        .find(|p| same(p, "namespace", namespace));
    let provider = provider
        .ok_or_else(|| Fault::wrong(format!("The resource namespace '{namespace}' is invalid.")))?;
    if call.count() == 1 {
        return Ok(provider.clone());
    }
    let wanted = call.text(1)?;
    let types = provider.get("resourceTypes").and_then(Value::as_array);
    let found = types
        .into_iter()
        .flatten()
        .find(|t| same(t, "resourceType", wanted));
    found.cloned().ok_or_else(|| {
        Fault::wrong(format!(
            "The resource type '{wanted}' could not be found in the namespace '{namespace}'."
        ))
    })
}

/// `[subscription,] [group,] type, name…`: the first argument with a slash is the type. At a subscription
/// there is no group of one's own, so what is named without one lies at the subscription.
fn resource_id(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let at = type_at(call, 2)?;
    if at == 0 && on.scope.place.group_name().is_empty() {
        return subscription_resource_id(on, call);
    }
    let tail = tail(call, at)?;
    let place = on.scope.place;
    let (subscription, group) = match at {
        0 => (place.subscription_id(), place.group_name()),
        1 => (place.subscription_id(), call.text(0)?),
        _ => (call.text(0)?, call.text(1)?),
    };
    Ok(format!("/subscriptions/{subscription}/resourceGroups/{group}{tail}").into())
}

fn subscription_resource_id(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let at = type_at(call, 1)?;
    let subscription = if at == 0 {
        on.scope.place.subscription_id()
    } else {
        call.text(0)?
    };
    // A group is what the id of a resource in it says, not a resource of a provider.
    let is_group = call
        .text(at)?
        .trim_end_matches('/')
        .eq_ignore_ascii_case(GROUPS);
    let tail = match (is_group, call.count() - at) {
        (true, 2) => format!("/resourceGroups/{}", call.text(at + 1)?),
        _ => tail(call, at)?,
    };
    Ok(format!("/subscriptions/{subscription}{tail}").into())
}

fn extension_resource_id(call: &Call<'_>) -> Result<Value> {
    let base = call.text(0)?.trim_end_matches('/');
    Ok(format!("{base}{}", tail(call, 1)?).into())
}

fn type_at(call: &Call<'_>, latest: usize) -> Result<usize> {
    let is_type = |index: &usize| {
        call.at(*index)
            .as_str()
            .is_some_and(|text| text.contains('/'))
    };
    (0..=latest).find(is_type).ok_or_else(|| {
        call.fail("function requires fully qualified resource type as one of first arguments.")
    })
}

/// Returns `/providers/ns/type/name…` of the type at an argument and the names behind it.
fn tail(call: &Call<'_>, at: usize) -> Result<String> {
    let type_name = call.text(at)?;
    let mut parts = type_name.split('/');
    let namespace = parts.next().unwrap_or_default();
    let types: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let names: Result<Vec<&str>> = (at + 1..call.count())
        .map(|index| call.text(index))
        .collect();
    let names = names?;
    let names: Vec<&str> = names.iter().flat_map(|name| name.split('/')).collect();
    if types.is_empty() || types.len() != names.len() {
        return Err(call.fail(&format!(
            "the type '{type_name}' requires '{}' resource name argument(s).",
            types.len()
        )));
    }
    let mut out = format!("/providers/{namespace}");
    for (kind, name) in types.iter().zip(names) {
        out.push('/');
        out.push_str(kind);
        out.push('/');
        out.push_str(name);
    }
    Ok(out)
}

/// Returns the id that a text means: an id, a symbolic name, or the name of a resource of the template.
fn id_of(on: &Evaluation<'_>, text: &str) -> Result<String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let names = on.scope.names;
    let found = names
        .get(text)
        .or_else(|| names.get(&text.to_ascii_lowercase()));
    found.cloned().ok_or_else(|| {
        Fault::wrong(format!(
            "The resource '{text}' is not defined in the template. Please see https://aka.ms/arm-syntax for usage details."
        ))
    })
}

fn reference(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let whole = need(on, call, "reference")?;
    if call
        .at(2)
        .as_str()
        .is_some_and(|word| word.eq_ignore_ascii_case("full"))
    {
        return Ok(whole);
    }
    Ok(whole.get("properties").cloned().unwrap_or(Value::Null))
}

fn need(on: &Evaluation<'_>, call: &Call<'_>, verb: &str) -> Result<Value> {
    let api_version = match call.at(1) {
        Value::Null => None,
        _ => Some(call.text(1)?.to_owned()),
    };
    on.know(Need {
        id: id_of(on, call.text(0)?)?,
        api_version,
        verb: verb.to_owned(),
    })
}
