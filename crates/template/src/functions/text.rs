//! Functions of texts, and of moments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use super::{Call, show};
use crate::fault::{Fault, Result};
use crate::limits::PAD_CHARS_MAX;
use crate::scope::Evaluation;
use crate::{date, jsonc, unique};

/// The namespace of `guid`'s name-based ids. Source: the service's published function reference.
const GUIDS: Uuid = Uuid::from_u128(0x11fb_06fb_712d_4ddd_98c7_e71b_bd58_8830);
/// What `uriComponent` leaves as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn call(on: &Evaluation<'_>, name: &str, call: &Call<'_>) -> Option<Result<Value>> {
    Some(match name {
        "concat" if !call.at(0).is_array() => concat(on, call),
        "format" => format(on, call),
        "tolower" => call.text(0).map(|text| text.to_lowercase().into()),
        "toupper" => call.text(0).map(|text| text.to_uppercase().into()),
        "trim" => call.text(0).map(|text| text.trim().into()),
        "substring" => substring(call),
        "replace" => replace(on, call),
        "split" => split(on, call),
        "startswith" => pair(call, |text, part| text.starts_with(part)),
        "endswith" => pair(call, |text, part| text.ends_with(part)),
        "indexof" if call.at(0).is_string() => place(call, |text, part| text.find(part)),
        "lastindexof" if call.at(0).is_string() => place(call, |text, part| text.rfind(part)),
        "padleft" => pad(call),
        "string" => Ok(match call.at(0) {
            Value::String(text) => text.clone().into(),
            other @ (Value::Array(_) | Value::Object(_)) => other.to_string().into(),
            other => show(other).into(),
        }),
        "base64" => call.text(0).map(|text| STANDARD.encode(text).into()),
        "base64tostring" => decoded(call).map(Value::String),
        "base64tojson" => decoded(call).and_then(|text| json(call, &text)),
        "json" => call.text(0).and_then(|text| json(call, text)),
        "datauri" => call.text(0).map(|text| {
            format!(
                "data:text/plain;charset=utf8;base64,{}",
                STANDARD.encode(text)
            )
            .into()
        }),
        "datauritostring" => data_text(call),
        "guid" => texts(call).map(|all| {
            Uuid::new_v5(&GUIDS, all.join("-").as_bytes())
                .to_string()
                .into()
        }),
        "uniquestring" => texts(call).map(|all| unique::unique_string(all).into()),
        "uri" => uri(call),
        "uricomponent" => call
            .text(0)
            .map(|text| utf8_percent_encode(text, &PLAIN).to_string().into()),
        "uricomponenttostring" => call.text(0).map(|text| {
            percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
                .into()
        }),
        "newguid" => fresh(on, call),
        "utcnow" => now(on, call),
        "datetimeadd" => date_add(call),
        "datetimefromepoch" => call
            .whole(0)
            .and_then(|s| date::format(s.saturating_mul(1000), "yyyy-MM-ddTHH:mm:ssZ"))
            .map(Value::String),
        "datetimetoepoch" => call
            .text(0)
            .and_then(date::parse)
            .map(|ms| (ms / 1000).into()),
        "fail" => Err(Fault::wrong(call.text(0).unwrap_or_default())),
        _ => return None,
    })
}

fn texts<'a>(call: &'a Call<'_>) -> Result<Vec<&'a str>> {
    (0..call.count()).map(|index| call.text(index)).collect()
}

fn concat(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let mut out = String::new();
    for part in &call.arguments {
        if part.is_array() || part.is_object() {
            return Err(super::wrong_type(call.name, "string", part));
        }
        let part = show(part);
        on.reserve(part.len())?;
        out.push_str(&part);
    }
    Ok(out.into())
}

/// `{0}`, `{1,5}`, `{2:x}`: widths pad, forms of whole numbers are `D`, `X`, `N`.
fn format(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let wrong = || call.fail("the format text is not valid.");
    let mut out = String::new();
    let mut rest = call.text(0)?;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = found
            .strip_prefix("{{")
            .or_else(|| found.strip_prefix("}}"))
        {
            out.push_str(found.get(..1).unwrap_or_default());
            rest = after;
            continue;
        }
        let (item, after) = found
            .strip_prefix('{')
            .and_then(|f| f.split_once('}'))
            .ok_or_else(wrong)?;
        let shown = formatted(call, item).ok_or_else(wrong)?;
        on.reserve(shown.len())?;
        out.push_str(&shown);
        rest = after;
    }
    out.push_str(rest);
    Ok(out.into())
}

fn formatted(call: &Call<'_>, item: &str) -> Option<String> {
    let (place, form) = item.split_once(':').unwrap_or((item, ""));
    let (index, width) = place.split_once(',').unwrap_or((place, "0"));
    let index: usize = index.trim().parse().ok()?;
    let width: i64 = width.trim().parse().ok()?;
    let value = call.arguments.get(index.checked_add(1)?)?;
    let digits = form
        .get(1..)
        .and_then(|d| d.parse::<usize>().ok())
        .unwrap_or(0)
        .min(100);
    let shown = match (form.chars().next(), value.as_i64()) {
        (Some('d' | 'D'), Some(number)) => format!("{number:0digits$}"),
        (Some('x'), Some(number)) => format!("{number:0digits$x}"),
        (Some('X'), Some(number)) => format!("{number:0digits$X}"),
        (Some('0'), Some(number)) if form.bytes().all(|b| b == b'0') => {
            format!("{number:0width$}", width = form.len().min(100))
        }
        _ => show(value),
    };
    let room = usize::try_from(width.abs().min(PAD_CHARS_MAX)).ok()?;
    Some(if width < 0 {
        format!("{shown:<room$}")
    } else {
        format!("{shown:>room$}")
    })
}

fn substring(call: &Call<'_>) -> Result<Value> {
    let units: Vec<char> = call.text(0)?.chars().collect();
    let start = usize::try_from(call.whole(1)?)
        .map_err(|_| call.fail("the start index must not be negative."))?;
    let rest = units.get(start..).ok_or_else(|| {
        call.fail("the index and length parameters must refer to a location within the string.")
    })?;
    let length = match call.count() {
        2 => rest.len(),
        _ => usize::try_from(call.whole(2)?)
            .map_err(|_| call.fail("the length must not be negative."))?,
    };
    let found = rest.get(..length).ok_or_else(|| {
        call.fail("the index and length parameters must refer to a location within the string.")
    })?;
    Ok(found.iter().collect::<String>().into())
}

fn replace(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let (text, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    if old.is_empty() {
        return Err(call.fail("the text to replace must not be empty."));
    }
    on.reserve(text.matches(old).count().saturating_mul(new.len()))?;
    Ok(text.replace(old, new).into())
}

fn split(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let text = call.text(0)?;
    let marks: Vec<&str> = match call.at(1) {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => vec![call.text(1)?],
    };
    let marks: Vec<&str> = marks.into_iter().filter(|mark| !mark.is_empty()).collect();
    on.reserve(text.len().saturating_mul(32))?;
    let mut parts = vec![text];
    for mark in marks {
        parts = parts
            .into_iter()
            .flat_map(|part| part.split(mark))
            .collect();
    }
    Ok(parts.into())
}

/// Compares without regard to case, as the service does.
fn pair(call: &Call<'_>, is_so: impl Fn(&str, &str) -> bool) -> Result<Value> {
    let (text, part) = (call.text(0)?.to_lowercase(), call.text(1)?.to_lowercase());
    Ok(is_so(&text, &part).into())
}

fn place(call: &Call<'_>, find: impl Fn(&str, &str) -> Option<usize>) -> Result<Value> {
    let (text, part) = (call.text(0)?.to_lowercase(), call.text(1)?.to_lowercase());
    let at = find(&text, &part)
        .and_then(|at| text.get(..at))
        .map(|before| before.chars().count());
    Ok(at
        .and_then(|at| i64::try_from(at).ok())
        .unwrap_or(-1)
        .into())
}

fn pad(call: &Call<'_>) -> Result<Value> {
    let text = show(call.at(0));
    let wanted = call.whole(1)?;
    let with = if call.count() == 3 {
        call.text(2)?
    } else {
        " "
    };
    let mut letters = with.chars();
    let (Some(letter), None, true) = (
        letters.next(),
        letters.next(),
        (0..=PAD_CHARS_MAX).contains(&wanted),
    ) else {
        return Err(call.fail(&format!(
            "the length must be from 0 to {PAD_CHARS_MAX}, and one character fills."
        )));
    };
    let missing = usize::try_from(wanted)
        .unwrap_or(0)
        .saturating_sub(text.chars().count());
    let mut out: String = std::iter::repeat_n(letter, missing).collect();
    out.push_str(&text);
    Ok(out.into())
}

fn decoded(call: &Call<'_>) -> Result<String> {
    let bytes = STANDARD.decode(call.text(0)?.trim());
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| call.fail("the value is not a base64 text."))
}

fn json(call: &Call<'_>, text: &str) -> Result<Value> {
    jsonc::read(text).map_err(|_| call.fail("the value is not valid JSON."))
}

fn data_text(call: &Call<'_>) -> Result<Value> {
    let (head, body) = call
        .text(0)?
        .split_once(',')
        .ok_or_else(|| call.fail("the value is not a data URI."))?;
    if !head.starts_with("data:") {
        return Err(call.fail("the value is not a data URI."));
    }
    if !head.ends_with(";base64") {
        return Ok(percent_decode_str(body)
            .decode_utf8_lossy()
            .into_owned()
            .into());
    }
    let inner = Call {
        name: call.name,
        arguments: vec![body.into()],
    };
    decoded(&inner).map(Value::String)
}

fn uri(call: &Call<'_>) -> Result<Value> {
    let (base, relative) = (call.text(0)?, call.text(1)?);
    if relative.contains("://") {
        return Ok(relative.into());
    }
    let host_end = base.find("://").map_or(0, |at| at + 3);
    let path = base.get(host_end..).unwrap_or_default();
    let kept = match (relative.starts_with('/'), path.find('/'), path.rfind('/')) {
        (true, Some(first), _) => base.get(..host_end + first).unwrap_or(base),
        (false, _, Some(last)) => base.get(..host_end + last).unwrap_or(base),
        _ => base,
    };
    Ok(format!("{kept}/{}", relative.trim_start_matches('/')).into())
}

fn fresh(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let Some(moment) = on.moment else {
        return Err(not_here(call));
    };
    Ok((moment.fresh)().to_string().into())
}

fn now(on: &Evaluation<'_>, call: &Call<'_>) -> Result<Value> {
    let Some(moment) = on.moment else {
        return Err(not_here(call));
    };
    let form = if call.count() == 1 { call.text(0)? } else { "" };
    date::format(moment.now_ms, form).map(Value::String)
}

fn not_here(call: &Call<'_>) -> Fault {
    Fault::wrong(format!(
        "The template function '{}' is not expected at this location. The function can only be used in the default value of a \
         parameter. Please see https://aka.ms/arm-functions for usage details.",
        call.name
    ))
}

fn date_add(call: &Call<'_>) -> Result<Value> {
    let moved = date::add(date::parse(call.text(0)?)?, call.text(1)?)?;
    let form = if call.count() == 3 {
        call.text(2)?
    } else {
        "u"
    };
    date::format(moved, form).map(Value::String)
}
